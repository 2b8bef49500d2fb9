"""Replay of the recorded captures gives the JSON next to them; and the recorder itself works."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from typing import Any

import dpkt
import pytest

from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED
from tests.build import TYPE_A, TYPE_AAAA, TYPE_MX
from tests.lab import devices, record, resolver, servers
from tests.lab.net import RELAY4, RELAY6, mx4, mx6
from tests.lab.turnaround.measure import of_capture

NAMES = sorted(path.stem for path in record.PCAPS.glob("*.pcap"))


#: What a recording of legitimate devices may be, where that is more than clear: a program of one's own that writes to
#: many strangers at once may be suspected. Never compromised.
MAY_BE = {name: {CLEAR, SUSPECTED} for name in devices.SCENARIOS if name.startswith("legit-")}
#: Bots that need not be convicted: by STARTTLS, with every second message delivered, little of it is to be seen.
EVADES = {"bot-starttls"}


def sessions_of(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((record.PCAPS / f"{name}.json").read_text())["sessions"]
    return found


def test_every_scenario_is_recorded() -> None:
    assert sorted(record.SCENARIOS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_replay_says_what_is_expected(name: str) -> None:
    expected = json.loads((record.PCAPS / f"{name}.json").read_text())
    assert record.expected(record.PCAPS / f"{name}.pcap") == expected


@pytest.mark.parametrize("name", NAMES)
def test_standings(name: str) -> None:
    expected = json.loads((record.PCAPS / f"{name}.json").read_text())
    standings = {device["device"]: device["standing"] for device in expected["devices"]}
    if "bot" in name:
        assert standings.pop("02:00:00:00:01:02") == COMPROMISED or name in EVADES
    assert set(standings.values()) <= MAY_BE.get(name, {CLEAR})


# ── networks that take their time ───────────────────────────────────────────────────────────────────


def test_turnaround_of_a_relay() -> None:
    seen = of_capture(record.PCAPS / "relayed.pcap")
    assert [session.turns for session in seen] == [5, 5, 3, 3]  # what TLS hides is not seen
    assert {session.ahead for session in seen} == {3}
    assert all(60 <= session.ms <= 70 for session in seen)


def test_turnaround_of_wifi_that_sleeps() -> None:
    """A connection may be slow; its device acknowledges no sooner than its program answers."""
    seen = of_capture(record.PCAPS / "legit-power-saving.pcap")
    assert [session.turns for session in seen][2:] == [3, 3]
    assert {session.ahead for session in seen} == {0}
    assert sorted(session.ms for session in seen)[1] < 10


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("peer-", "bot-"))])
def test_turnaround_of_programs_on_the_device(name: str) -> None:
    assert all(session.ms < 5 for session in of_capture(record.PCAPS / f"{name}.pcap"))


# ── whole devices: the recordings show what they are named after ────────────────────────────────────


def test_postfix_queue_flush_is_a_burst_with_greylisting_by_both_families() -> None:
    seen = sessions_of("legit-postfix-queue-flush")
    sent = [t for session in seen for t in session["transactions"]]
    accepted = {to for t in sent if t["outcome"] == "accepted" for to in t["rcpt_to"]}
    assert len(accepted) == 57
    assert {":" in session["server"] for session in seen} == {False, True}
    grey = {to for to in accepted if to.startswith("new@")}
    assert len(grey) == 6
    assert sum(t["outcome"] == "rejected" and set(t["rcpt_to"]) <= grey for t in sent) >= 6
    first = min(session["start"] for session in seen)
    assert sum(session["start"] < first + 2 for session in seen) >= 40


def test_php_says_localhost() -> None:
    seen = sessions_of("legit-php-localhost")
    assert {session["helo"] for session in seen} == {"localhost"}
    assert len({to.rpartition("@")[2] for session in seen for t in session["transactions"] for to in t["rcpt_to"]}) == 4


def test_exim_newsletter_uses_starttls_where_it_is_offered() -> None:
    seen = sessions_of("legit-exim-newsletter")
    assert len({session["server"] for session in seen}) == len(seen) == 46
    assert all(session["tls"] == bool((servers.number_of(session["server"]) or 0) % 4) for session in seen)


def test_appliance_is_refused_each_time() -> None:
    seen = sessions_of("legit-appliance-refused")
    assert [t["outcome"] for session in seen for t in session["transactions"]] == ["rejected"] * 30
    assert {session["server"] for session in seen} == {mx4(1)}


def test_bot_starttls_shows_no_envelope() -> None:
    seen = sessions_of("bot-starttls")
    assert [session["tls"] for session in seen] == [True] * 16
    assert not any(session["transactions"] for session in seen)


@pytest.mark.parametrize("name", ["legit-postfix-queue-flush", "legit-exim-newsletter"])
def test_mtas_look_up_mail_servers(name: str) -> None:
    (device,) = json.loads((record.PCAPS / f"{name}.json").read_text())["devices"]
    assert device["mx_queries"] >= 40


# ── the lab's own parts of it ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        ("stranger7.example", TYPE_MX, "mx.stranger7.example"),
        ("Stranger7.Example", TYPE_MX, "mx.Stranger7.Example"),
        ("mx.stranger7.example", TYPE_A, socket.inet_pton(socket.AF_INET, mx4(7))),
        ("mx.stranger7.example", TYPE_AAAA, socket.inet_pton(socket.AF_INET6, mx6(7))),
        ("stranger7.example", TYPE_A, None),
        ("stranger256.example", TYPE_MX, ""),
        ("example", TYPE_MX, ""),
    ],
)
def test_the_resolver_answers_as_dpkt_reads_it(name: str, kind: int, data: str | bytes | None) -> None:
    """data: of the answer; None where the name has none of this type, "" where there is no such name."""
    read = dpkt.dns.DNS(resolver.answer(bytes(dpkt.dns.DNS(id=9, qd=[dpkt.dns.DNS.Q(name=name, type=kind)]))))
    assert (read.id, read.qr, read.rcode) == (9, 1, 3 if data == "" else 0)
    assert [rr.mxname if kind == TYPE_MX else rr.rdata for rr in read.an] == ([data] if data else [])


@pytest.mark.parametrize("query", [b"", b"\0" * 12, b"\0" * 4 + b"\0\1" + b"\0" * 6 + b"\x09cut"])
def test_the_resolver_does_not_answer_rubbish(query: bytes) -> None:
    with pytest.raises((ValueError, IndexError, struct.error)):
        resolver.answer(query)


def test_numbers_of_the_strangers() -> None:
    for number in (0, 8, 200):
        assert servers.number_of(mx4(number)) == servers.number_of(mx6(number)) == number
        assert servers.number_of(f"::ffff:{mx4(number)}") == number
    assert servers.number_of(RELAY4) is servers.number_of(RELAY6) is None


# ── recorded again ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.live
@pytest.mark.parametrize("name", ["legit-php-localhost", "bot-starttls"])
def test_recording_devices_again_agrees_with_the_servers_logs(live: None, name: str, tmp_path: Path) -> None:
    lacking = record.needs(name)
    if lacking:
        pytest.skip(f"{', '.join(lacking)}: make peers gets it")
    assert record.record(name, tmp_path) == []


@pytest.mark.live
def test_recording_again_agrees_with_the_servers_logs(live: None, tmp_path: Path) -> None:
    for name in ("legit-laptop", "bot-sprayer"):
        assert record.record(name, tmp_path) == []
