"""The table of indicators is whole, and says to subscribers what they can understand."""

from __future__ import annotations

import math
import re

import pytest

from cpe_filter.detect import evidence, replies
from cpe_filter.detect.evidence import (
    ANY,
    CLIP,
    FROM_NAME,
    FROM_QUIRK,
    FROM_REPLY,
    FROM_VIOLATION,
    INDICATORS,
    JUDGEMENT,
    LEGITIMATE,
    SENDER_PROFILES,
    SHARES,
    SIMULATED,
    UNSPOKEN,
)
from cpe_filter.detect.names import kind_of_name
from cpe_filter.detect.score import CONVICT_AT, FAMILY_MINIMUM, SESSION_CLIP, SUSPECT_AT
from cpe_filter.replay.violations import VIOLATIONS
from tests.detect.test_detector import FIRES, SILENT
from tests.lab.net import PROJECT

FAMILIES = {
    value for name, value in vars(evidence).items() if name.isupper() and isinstance(value, str)
} - {SIMULATED, JUDGEMENT}  # fmt: skip
#: What people who are not of the trade do not know.
JARGON = re.compile(
    r"\b(HELO|EHLO|RCPT|MAIL FROM|DATA|QUIT|AUTH|TLS|STARTTLS|SMTP|MX|DNS|DNSBL|SYN|RST|TCP|IP|PBL|XBL|CBL|URL|rDNS|"
    r"PTR|NAT|CPE|WAN|LAN|port 25|[45]yz|[245]xx|\d+\.\d+\.\d+|localhost|reverse.path|resolver)\b",
    re.IGNORECASE,
)
ROWS = list(INDICATORS.items())


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_rates_and_weights(name: str, row: evidence.Indicator) -> None:
    assert row.family in FAMILIES
    assert 0 < row.bot < 1
    assert len(row.usual) == len(row.weights) == len(SENDER_PROFILES)
    assert all(0 <= bound < 1 for bound in row.usual)
    assert 0 <= row.repeat <= 1
    assert row.basis in (SIMULATED, JUDGEMENT)
    for bound, weight in zip(row.usual, row.weights, strict=True):
        if bound == ANY:
            assert weight == 0
        elif row.family == LEGITIMATE:
            assert weight == pytest.approx(max(-CLIP, min(0.0, math.log(row.bot / bound))))
        else:
            assert weight == pytest.approx(min(CLIP, max(0.0, math.log(row.bot / bound))))


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_only_legitimate_evidence_speaks_for_a_sender(name: str, row: evidence.Indicator) -> None:
    if row.family == LEGITIMATE:
        assert max(row.weights) <= 0, "it would count against somebody"
    else:
        assert min(row.weights) >= 0


def test_what_every_home_line_hears_is_no_evidence() -> None:
    """PBL and the like prove a home line, and greylisting meets everyone."""
    assert not any(INDICATORS["residential-line"].weights)
    assert not any(INDICATORS["deferred"].weights)


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_texts(name: str, row: evidence.Indicator) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
    for text in (row.source, row.when, row.meaning, row.subscriber, row.desk):
        assert text
        assert text == text.strip()
        assert "  " not in text
    # After the device's name: no sentence. To people: whole sentences.
    assert row.meaning[0].islower()
    assert not row.meaning.endswith(".")
    for text in (row.subscriber, row.desk):
        assert text.endswith(".")
        assert text[0].isupper() or text[0].isdigit()
    assert not (found := JARGON.search(row.subscriber)), found
    assert len(row.subscriber) <= 100


def test_jargon_is_found() -> None:
    for text in ("It says HELO.", "A 5yz reply.", "RCPT refused.", "On port 25.", "Your IP is listed."):
        assert JARGON.search(text), text


def test_no_two_rows_say_the_same() -> None:
    for texts in ([row.when for _, row in ROWS], [row.desk for _, row in ROWS], [row.meaning for _, row in ROWS]):
        assert len(set(texts)) == len(texts)


def test_what_is_found_elsewhere_has_its_row() -> None:
    assert {*FROM_NAME.values(), *FROM_REPLY.values(), *FROM_QUIRK.values(), *FROM_VIOLATION} <= set(INDICATORS)
    classes = {evidence for _, evidence, _ in replies.KINDS.values()} | {replies.DEFERRED}
    assert set(FROM_REPLY) == classes - {replies.NONE}
    assert set(VIOLATIONS) >= FROM_VIOLATION
    kinds = {kind_of_name(name) for name in ("", "[10.1.1.1]", "10.1.1.1", "localhost", "pc", "dsl-1.a.example")}
    assert kinds == set(FROM_NAME)
    for name in ("mail.a.example", "[192.0.2.1]"):
        assert kind_of_name(name) not in FROM_NAME


def test_every_indicator_is_shown_to_fire_and_not_to() -> None:
    assert set(FIRES) == set(INDICATORS)
    assert set(SILENT) == set(INDICATORS)


def test_senders_and_their_shares() -> None:
    assert len(SHARES) == len(SENDER_PROFILES) == len(set(SENDER_PROFILES))
    assert all(0 < share <= 1 for share in SHARES)
    assert SHARES[0] == 1


def test_thresholds_can_be_reached_and_not_by_one_finding() -> None:
    heaviest = max(max(row.weights) for _, row in ROWS)
    assert heaviest <= CLIP < SESSION_CLIP < CONVICT_AT
    assert SUSPECT_AT < CONVICT_AT
    # What any sender needs is more than a session may add to a family's worth of doubt.
    assert all(CONVICT_AT + math.log(share) > CLIP for share in SHARES)
    assert FAMILY_MINIMUM > 0


def test_families_seen_without_a_word() -> None:
    assert UNSPOKEN < FAMILIES
    assert LEGITIMATE not in UNSPOKEN
    assert all(INDICATORS[name].family not in UNSPOKEN for name in (*FROM_REPLY.values(), *FROM_NAME.values()))


def test_renamed_codes_are_documented_and_lead_to_codes_of_today() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| `([a-z-]+)` \|$", (PROJECT / "docs" / "report.md").read_text(), re.MULTILINE)
    assert dict(rows) == evidence.RENAMED
    assert not set(evidence.RENAMED) & set(INDICATORS)
    assert set(evidence.RENAMED.values()) <= set(INDICATORS)
    assert len(set(evidence.RENAMED.values())) == len(evidence.RENAMED)
    assert evidence.current("took-leave") == "quit"
    assert evidence.current("of-a-newer-version") == "of-a-newer-version"


def test_each_row_of_numbers_has_its_words() -> None:
    assert list(evidence._RATES) == list(evidence._WORDS) == list(INDICATORS)
