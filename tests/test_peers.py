"""Real mail programs: their recordings show what they are named after, and playing some again agrees with the logs."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.replay.replay import Options, replay
from cpe_filter.replay.text import show
from tests.lab import boxes, clients, mtas, peers, record
from tests.lab.net import Lab

#: What a capture must have on the wire to be named after its feature.
ON_THE_WIRE = {
    "starttls": b"STARTTLS\r\n",
    "smtputf8": b" SMTPUTF8",
    "null-sender": b"MAIL FROM:<>",
    "auth-plain": b"AUTH PLAIN",
    "auth-login": b"AUTH LOGIN",
    "auth-cram-md5": b"AUTH CRAM-MD5\r\n",
}
_PLAIN = f"\0{clients.USER}\0{clients.PASSWORD}"
SECRETS = (clients.PASSWORD, *(b64encode(text.encode()).decode() for text in (clients.PASSWORD, _PLAIN)))


def session(**facts: Any) -> dict[str, Any]:
    transaction = {**mtas.transaction("ann@home.example"), "rcpt_to": ["ben@friends.example"], "recipients_accepted": 1}
    transaction.update({"outcome": "accepted", "bytes": 100, **facts.pop("transaction", {})})
    return {"server": "198.18.10.25", "helo": "a.example", "tls": False, "transactions": [transaction], **facts}


# ── the comparison itself ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "chunked", "size"),
    [
        (b"", False, 0),
        (b"one\n", False, 5),
        (b"no end", False, 8),
        (b".\n..a\n", False, 4 + 6),
        (b".\n..a\n", True, 3 + 5),
        (b"\n\n", True, 4),
    ],
)
def test_bytes_on_the_wire(content: bytes, chunked: bool, size: int) -> None:
    assert mtas.wire_bytes(content, chunked) == size


def test_trace_of_the_last_server_only_is_taken_away() -> None:
    delivered = b"Return-Path: <>\nReceived: from a\n\tby b id 1\nReceived: from c\nSubject: x\n\nReceived: no\n"
    assert mtas.without_trace(delivered) == b"Received: from c\nSubject: x\n\nReceived: no\n"


@pytest.mark.parametrize(
    "other",
    [
        {"helo": "b.example"},
        {"server": "198.18.20.25"},
        {"tls": True},
        {"transactions": []},
        {"transaction": {"bytes": 101}},
        {"transaction": {"outcome": "rejected"}},
        {"transaction": {"mail_from": "<>"}},
        {"transaction": {"rcpt_to": ["cid@friends.example"]}},
        {"transaction": {"recipients_accepted": 0}},
    ],
)
def test_every_difference_is_found(other: dict[str, Any]) -> None:
    assert record.compare([session()], [session()]) == []
    assert len(record.compare([session()], [session(**other)])) == 2
    assert len(record.compare([session(), session()], [session()])) == 1


def test_what_a_server_does_not_know_is_not_compared() -> None:
    unknown = {"transaction": {"bytes": None, "rcpt_to": None}}
    assert record.compare([session()], [session(**unknown)]) == []
    assert record.compare([session(tls=True, transactions=[])], [session(tls=True)]) == []


# ── the recordings ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", peers.SCENARIOS)
def test_recording_shows_its_feature(name: str) -> None:
    wire = (record.PCAPS / f"{name}.pcap").read_bytes().upper()
    for feature, token in ON_THE_WIRE.items():
        if name.endswith(feature):
            assert token in wire
    if name.startswith(("peer-exim-to-postfix", "peer-exim-to-exim")) and not name.endswith("starttls"):
        assert b"BDAT " in wire
    seen = json.loads((record.PCAPS / f"{name}.json").read_text())["sessions"]
    assert {":" in one["server"] for one in seen} == {name.endswith("ipv6")}
    assert {one["tls"] for one in seen} == {name.endswith("starttls")}


@pytest.mark.parametrize("name", [name for name in peers.SCENARIOS if "-auth-" in name])
def test_credentials_are_in_no_output(name: str) -> None:
    path = record.PCAPS / f"{name}.pcap"
    lines: list[str] = []
    for options in (Options(sessions=True, addresses=True), Options(sessions=True)):
        result = replay(str(path), options, lines.append)
        lines.append(json.dumps(result))
        show(result, lines.append)
    text = "\n".join([*lines, path.with_suffix(".json").read_text()])
    assert "accepted" in text
    for secret in SECRETS:
        assert secret not in text
    if not name.endswith("cram-md5"):
        assert any(secret.encode() in path.read_bytes() for secret in SECRETS)


# ── played again ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.live
@pytest.mark.parametrize(
    "name",
    [
        "peer-exim-to-postfix",  # BDAT, a bounce
        "peer-postfix-to-exim-starttls",
        "peer-smtplib-to-opensmtpd-ipv6",
        "peer-swaks-to-exim-pipelining",
        "peer-smtplib-to-aiosmtpd-auth-cram-md5",
    ],
)
def test_playing_it_again_agrees_with_the_servers_log(live: None, name: str, tmp_path: Path) -> None:
    lacking = peers.needs(name)
    if lacking:
        pytest.skip(f"{', '.join(lacking)}: make peers gets it")
    assert record.record(name, tmp_path) == []


@pytest.mark.live
def test_a_box_leaves_nothing_behind(live: None) -> None:
    if not (boxes.UNPACKED / "exim").is_dir():
        pytest.skip("exim is not unpacked: make peers gets it")
    with Lab(devices=1) as lab:
        with boxes.Box(lab, "device1", "exim") as box:
            box.write("etc/left-behind", "")
            sleeper = box.start(["sleep", "60"])
            assert box.run(["cat", "/etc/left-behind"]) == ""
        assert sleeper.wait(5) != 0
        assert not list(lab.folder.rglob("left-behind"))
    assert not lab.folder.exists()
