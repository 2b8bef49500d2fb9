"""Replay reads what tshark reads, and each difference has an explanation that holds."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance import dissection, recorded
from tests.conformance.differences import compare
from tests.conformance.dissection import address_of, of_tshark
from tests.conformance.readings import FIELDS, Reading, of_replay
from tests.conformance.rules import LATE, RULES

RECORDED = recorded.read()
needs_tshark = pytest.mark.skipif(not dissection.available(), reason="tshark is not installed")


def reading(**values: object) -> Reading:
    return Reading(("192.0.2.1", 4000), ("198.51.100.1", 25), 0.0, **values)  # type: ignore[arg-type]


def rule_of(ours: Reading, theirs: Reading) -> list[str | None]:
    return [item.rule and item.rule.name for item in compare([ours], [theirs]).differences]


@pytest.mark.parametrize("name", recorded.NAMES)
def test_replay_agrees_with_what_tshark_has_read(name: str) -> None:
    comparison = compare(of_replay(str(recorded.PCAPS / f"{name}.pcap")), RECORDED[name])
    assert comparison.fields == comparison.sessions * len(FIELDS) > 0
    assert not [item for item in comparison.differences if item.rule is None]


@needs_tshark
@pytest.mark.parametrize("name", ["peer-swaks-to-exim-pipelining", "peer-postfix-to-exim-large", "bot-starttls"])
def test_tshark_reads_what_is_recorded(name: str) -> None:
    for read, known in zip(of_tshark(str(recorded.PCAPS / f"{name}.pcap")), RECORDED[name], strict=True):
        assert [getattr(read, field) for field in FIELDS] == [getattr(known, field) for field in FIELDS]


@needs_tshark
def test_the_command_counts_what_has_no_explanation(tmp_path: Path) -> None:
    capture = str(recorded.PCAPS / "legit-laptop.pcap")
    command = [sys.executable, "-m", "tests.conformance", capture]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].split() == ["0", "unexplained"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_wrong_value_has_no_explanation(field: str) -> None:
    """Whatever replay would get wrong of an ordinary session is a difference that no rule takes."""
    name = "peer-swaks-to-exim-pipelining"
    ours = of_replay(str(recorded.PCAPS / f"{name}.pcap"))
    wrong = copy.deepcopy(ours)
    value = getattr(wrong[0], field)
    setattr(wrong[0], field, not value if field == "tls" else [value[0] * 2, *value[1:]])
    differences = compare(wrong, RECORDED[name]).differences
    assert [(item.field, item.rule) for item in differences if item.field == field] == [(field, None)]


def test_a_missing_session_has_no_explanation() -> None:
    readings = RECORDED["bot-starttls"]
    found = compare(readings[1:], readings).differences
    assert [(item.field, item.rule) for item in found] == [("session", None)]


def test_commands_in_the_content_must_be_there() -> None:
    ours = reading(commands=["EHLO", "DATA", "QUIT"], lines=["EHLO a", "DATA", "QUIT"])
    theirs = reading(commands=["EHLO"], lines=["EHLO a"])
    assert rule_of(ours, theirs) == [None]
    theirs.taken = ["DATA", "QUIT"]
    assert rule_of(ours, theirs) == ["pipelined"]
    ours.bytes, theirs.bytes = [10], [10 + len("DATA\r\nQUIT\r\n")]
    assert rule_of(ours, theirs) == ["pipelined", "pipelined"]
    theirs.bytes = [40]
    assert rule_of(ours, theirs) == ["pipelined", None]


def test_bytes_of_disordered_segments_must_agree_with_the_acknowledgements() -> None:
    ours, theirs = reading(bytes=[100], octets=150), reading(bytes=[90], octets=151, notes={"retransmission (client)"})
    assert rule_of(ours, theirs) == ["octets"]
    theirs.octets = 140
    assert rule_of(ours, theirs) == [None]


def test_a_session_more_is_explained_only_as_a_late_segment() -> None:
    first, late = reading(replies=[220]), reading(replies=[550], notes={"midway"})
    late.start = 100.0
    theirs = reading(replies=[220])
    assert [item.rule for item in compare([first, late], [theirs]).differences] == [None]
    theirs.notes = {"spurious_retransmission (server)"}
    assert [item.rule for item in compare([first, late], [theirs]).differences] == [LATE]


def test_rules_have_names_of_their_own() -> None:
    names = [rule.name for rule in (*RULES, LATE)]
    assert len(names) == len(set(names))
    assert all(rule.text and not rule.text.endswith(".") for rule in RULES)


@pytest.mark.parametrize(
    ("parameter", "address"),
    [
        (b"FROM:<a@b.example> SIZE=3", "a@b.example"),
        (b"FROM: <a@b.example>", "a@b.example"),
        (b"FROM:a@b.example", "a@b.example"),
        (b"FROM:<>", "<>"),
        (b'TO:<"a>b"@c.example>', '"a>b"@c.example'),
    ],
)
def test_addresses_of_tshark(parameter: bytes, address: str) -> None:
    assert address_of(parameter) == address
