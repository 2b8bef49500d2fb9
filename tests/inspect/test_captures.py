"""Sessions that other projects recorded and described: replay finds what they describe.

`index.jsonl` in the captures folder (see `captures.py`) lists files, each with assertions taken from the test suites
of Zeek and Suricata:

    transactions   how many there are in the file
    envelope       helo, mail_from, rcpt_to of a transaction (or, without mail_from, the helo of a session)
    last_reply, tls  of the session that this envelope is in
    count          how many such there are; one by default
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from cpe_filter.replay.replay import Options, replay
from tests.inspect import captures

#: Assertions that we hold to be wrong: file -> (the assertion's key, what we find instead, why).
EXCEPTIONS: dict[str, tuple[str, int, str]] = {
    "edge/smtp-rset-starttls.pcap": (
        "transactions",
        0,
        "There is no MAIL, DATA or BDAT in it, so RFC 5321 section 3.3 knows no mail transaction; Suricata counts the "
        "commands before the first RSET as one.",
    ),
}


def _assertions() -> list[tuple[str, dict[str, Any]]]:
    if not captures.INDEX.exists():
        return []
    entries = [json.loads(line) for line in captures.INDEX.read_text("utf-8").splitlines()]
    return [(entry["file"], asserted) for entry in entries for asserted in entry.get("asserts", [])]


ASSERTIONS = _assertions()


def _sessions(file: str) -> list[dict[str, Any]]:
    result = replay(str(captures.FOLDER / file), Options(addresses=True, sessions=True), lambda warning: None)
    sessions: list[dict[str, Any]] = result["sessions"]
    return sessions


def _matches(asserted: dict[str, Any], session: dict[str, Any]) -> int:
    """How often what is asserted is found in a session."""
    if any(key in asserted and session[key] != asserted[key] for key in ("last_reply", "tls")):
        return 0
    envelope = asserted["envelope"]
    if "helo" in envelope and session["helo"] != envelope["helo"]:
        return 0
    if envelope.get("mail_from") is None:
        return 1
    return sum(
        transaction["mail_from"] == envelope["mail_from"]
        # Zeek logs recipients as a set.
        and ("rcpt_to" not in envelope or sorted(transaction["rcpt_to"]) == sorted(envelope["rcpt_to"]))
        for transaction in session["transactions"]
    )


@captures.needed
@pytest.mark.parametrize(("file", "asserted"), ASSERTIONS, ids=[file for file, _ in ASSERTIONS])
def test_what_others_say_of_a_capture(file: str, asserted: dict[str, Any]) -> None:
    sessions = _sessions(file)
    exception, instead, _ = EXCEPTIONS.get(file, ("", 0, ""))
    known = {"source", "transactions", "envelope", "last_reply", "tls", "count"}
    assert set(asserted) <= known
    assert {"transactions", "envelope"} & set(asserted), "nothing is asserted"
    if "transactions" in asserted:
        count = sum(len(session["transactions"]) for session in sessions)
        if exception == "transactions":
            assert (count, asserted["transactions"] != count) == (instead, True)
        else:
            assert count == asserted["transactions"]
    if "envelope" in asserted:
        assert sum(_matches(asserted, session) for session in sessions) == asserted.get("count", 1)


@captures.needed
def test_exceptions_are_still_needed() -> None:
    asserted_of = dict.fromkeys(file for file, _ in ASSERTIONS)
    assert set(EXCEPTIONS) <= set(asserted_of)


@captures.needed
def test_without_mail_or_data_there_is_no_transaction() -> None:
    """The reasoning behind the exception, seen in the bytes."""
    raw = (captures.FOLDER / "edge/smtp-rset-starttls.pcap").read_bytes().upper()
    assert b"RSET" in raw
    assert not any(word in raw for word in (b"MAIL", b"DATA", b"BDAT"))
