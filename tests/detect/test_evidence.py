"""The table of indicators is whole, and says to subscribers what they can understand."""

from __future__ import annotations

import math
import re

import pytest

from cpe_filter.detect import evidence, replies
from cpe_filter.detect.evidence import (
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
    assert all(0 < rate < 1 for rate in row.usual)
    assert 0 < row.repeat_discount <= 1
    assert row.basis in (SIMULATED, JUDGEMENT)
    for rate, weight in zip(row.usual, row.weights, strict=True):
        assert weight == pytest.approx(max(-CLIP, min(CLIP, math.log(row.bot / rate))))


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_only_legitimate_evidence_speaks_for_an_ordinary_mail_server(name: str, row: evidence.Indicator) -> None:
    """But what PBL and greylisting say, which bots hear no more often."""
    if row.family == LEGITIMATE:
        assert row.weights[0] < 0
        assert max(row.weights) <= 0, "it would count against somebody"
    elif name not in ("residential-line", "deferred"):
        assert row.weights[0] >= 0


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


def test_a_home_line_s_refusal_is_never_evidence_against_it() -> None:
    """Nor is the contact that it ends: every server may be new, and refuse, to a mail server behind a home line."""
    line, new = INDICATORS["residential-line"].weights, INDICATORS["new-destination"].weights
    assert all(weight <= 0 and weight + other <= 1e-9 for weight, other in zip(line, new, strict=True))


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
