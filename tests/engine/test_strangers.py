"""Whoever takes a new MAC, address or prefix for each connection, packet by packet through the engine."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from cpe_filter.detect import saved
from cpe_filter.detect.detector import StandingChanged
from cpe_filter.detect.device import DEVICES, HOME
from cpe_filter.detect.mac_rotation import Lease
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED
from cpe_filter.engine import FORWARD, Engine
from cpe_filter.engine.verdicts import ACCEPT, BYPASS, INSPECT_ALL, REDIRECT, RESET_FLOW, SKIP_CONTENT, SKIP_TO_FIN
from cpe_filter.lean.clocks import PacketTime, Posix
from cpe_filter.policy.model import Policy
from tests.build import LEGITIMATE, START, Conversation, session
from tests.policies import make_policy

PASSES = {ACCEPT, INSPECT_ALL, SKIP_CONTENT, SKIP_TO_FIN, BYPASS}
ROUTER_MAC, KNOWN = b"\2\0\0\0\0\xfe", b"\2\0\0\0\0\1"
LEASE = Lease(KNOWN, (bytes((192, 168, 1, 7)),), "", b"", 0.0)
COUNT = 48

TALK = """
S: 220 mx.example.net ESMTP
C: HELO 10-1-2-3.dyn.pool.example.net
S: 250 mx.example.net
C: MAIL FROM: <x@d{n}.example>
S: 250 2.1.0 Ok
C: RCPT TO:<ben@friends.example>
S: {rcpt}
"""
DELIVERED = "C: DATA\nS: 354 go\nC: Subject: x\nC:\nC: hi\nC: .\nS: 250 2.0.0 Ok\n"
LEAVE = "C: RSET\nS: 250 Ok\n"
#: How many of these a new MAC for each gets: a home's, which is a device's.
BURST = Policy().limits.destinations_burst


def text(n: int, refused: bool) -> str:
    """What it says; refused: every other recipient is unknown."""
    no = refused and n % 2 == 0
    return TALK.format(n=n, rcpt="550 5.1.1 User unknown" if no else "250 2.1.5 Ok") + (LEAVE if no else DELIVERED)


def server(n: int, six: bool) -> str:
    return f"2001:db8:{n + 256:x}::25" if six else f"198.18.{n % 256}.25"


#: By what changes: of each connection, (MAC, client's address).
ROTATIONS: dict[str, Callable[[int], tuple[bytes | None, str]]] = {
    "MAC": lambda n: (bytes((6, 0, 0, 0, 2, n)), "192.168.1.77"),
    "MAC and address": lambda n: (bytes((6, 0, 0, 0, 2, n)), f"192.168.1.{100 + n}"),
    "routed address": lambda n: (b"\6\0\0\0\2\0", f"192.168.7.{1 + n}"),
    "MAC, IPv6": lambda n: (bytes((6, 0, 0, 0, 2, n)), "2001:db8:1::77"),
    "MAC and IPv6 address": lambda n: (bytes((6, 0, 0, 0, 2, n)), f"2001:db8:1::{n + 16:x}"),
    "delegated /64": lambda n: (b"\6\0\0\0\2\0", f"2001:db8:1:{n + 1:x}::77"),
    "delegated /64 of a known MAC": lambda n: (KNOWN, f"2001:db8:1:{n + 1:x}::77"),
    "no MAC": lambda n: (None, f"10.64.0.{1 + n}"),
}


class Line:
    """A home with its engine: who rotates in it, and who has a lease."""

    def __init__(self, mode: str = "limit", **options: str) -> None:
        self.engine = Engine(make_policy(mode=mode, refusal=options.get("refusal", "reset")))
        self.engine.on_link([ip_network("192.168.1.0/24"), ip_network("2001:db8:1::/64")])
        self.engine.leases([LEASE], PacketTime(START), Posix(START))

    def play(self, mac: bytes | None, client: str, n: int, said: str, time: float) -> bool:
        """A connection; whether all of it passed. What is refused says no more."""
        for packet in session(said, client, server(n, ":" in client), sport=30000 + n, time=time, step=0.01):
            verdict = self.engine.packet(
                PacketTime(packet.time), FORWARD, mac if packet.from_client else ROUTER_MAC, packet.data
            )
            if verdict not in PASSES:
                return False
        return True

    def rotate(self, how: str, refused: bool, count: int = COUNT, every: float = 1.0) -> int:
        """How many connections passed."""
        return sum(
            self.play(*ROTATIONS[how](n), n, text(n, refused), START + 60.0 + n * every) for n in range(count)
        )  # fmt: skip

    def syn(self, mac: bytes, n: int = 200, client: str = "192.168.1.7", time: float = START + 5000.0) -> str:
        packet = Conversation(client, server(n, ":" in client), sport=40000 + n, time=time).syn()
        return self.engine.packet(PacketTime(time), FORWARD, mac, packet.data)

    @property
    def standing(self) -> str:
        return self.engine.devices.home.score.standing


@pytest.mark.parametrize("refused", [False, True], ids=["taken", "half refused"])
@pytest.mark.parametrize("how", ROTATIONS)
def test_mode_limit_gives_them_one_device_s_limit_and_judges_the_home(how: str, refused: bool) -> None:
    line = Line("limit")
    assert line.rotate(how, refused) <= BURST
    assert line.standing != CLEAR


@pytest.mark.parametrize("how", ROTATIONS)
def test_mode_monitor_convicts_the_home(how: str) -> None:
    line = Line("monitor")
    passed = line.rotate(how, refused=True)
    assert line.standing == COMPROMISED
    # Until it is suspected all passes, then a limit's, then nothing.
    assert passed <= 16
    # More hosts behind one MAC than are told apart are that MAC's own device, which is judged itself.
    behind = {KNOWN, b"\6\0\0\0\2\0"} if "routed" in how or "delegated" in how else set()
    assert {device.key for device in line.engine.devices if device.score.standing != CLEAR} <= {HOME} | behind
    told = [event for event in line.engine.events if isinstance(event, StandingChanged)]
    assert [event.after for event in told if event.device.key == HOME] == [SUSPECTED, COMPROMISED]


def test_the_limit_holds_over_hours() -> None:
    line = Line("limit")
    hours = 3
    passed = line.rotate("MAC", refused=False, count=240, every=hours * 3600 / 240)
    assert passed <= BURST + hours * Policy().limits.destinations_per_hour


@pytest.mark.parametrize("mode", ["monitor", "limit", "block"])
def test_known_devices_go_on_when_the_home_is_convicted(mode: str) -> None:
    line = Line(mode)
    stranger = b"\6\0\0\0\3\1"
    before = line.syn(KNOWN, time=START + 1.0)
    line.engine.devices.home.score.standing = COMPROMISED
    assert (
        line.syn(KNOWN, 201)
        == before
        == (RESET_FLOW if mode == "block" else INSPECT_ALL if before == INSPECT_ALL else ACCEPT)
    )
    assert line.syn(stranger, 202) == RESET_FLOW
    assert line.engine.home_blocked
    assert line.engine.familiar() == {KNOWN}


def test_strangers_of_a_convicted_home_are_told_why() -> None:
    line = Line("monitor", refusal="explain")
    line.engine.devices.home.score.standing = COMPROMISED
    assert line.syn(b"\6\0\0\0\3\1") == REDIRECT


def test_a_stranger_s_session_ends_when_the_home_is_convicted_in_it() -> None:
    line = Line("monitor")
    n = 0
    while line.standing != COMPROMISED:
        mac, client = ROTATIONS["MAC"](n)
        passed = line.play(mac, client, n, text(n, True), START + n)
        n += 1
    assert not passed


def test_the_policy_may_leave_standings_without_effect() -> None:
    line = Line("monitor")
    line.engine.reload(make_policy(mode="monitor", escalate=False))
    line.engine.devices.home.score.standing = COMPROMISED
    assert line.syn(b"\6\0\0\0\3\1") in PASSES
    assert not line.engine.home_blocked
    assert not line.engine.home_limited


@pytest.mark.parametrize("word", ["home", HOME, "an unknown device of this home"])
def test_the_home_is_released_by_name(word: str | bytes) -> None:
    line = Line("monitor")
    line.rotate("MAC", refused=True)
    assert line.engine.home_blocked
    assert line.engine.release(word, PacketTime(START + 100.0))
    assert line.standing == SUSPECTED
    assert not line.engine.home_blocked
    assert line.engine.home_limited
    assert line.syn(b"\6\0\0\0\3\1") in PASSES
    assert not line.engine.release(word, START + 100.0)


def test_a_restart_keeps_the_home_s_standing_and_sums() -> None:
    for count in (3, COUNT):
        line, again = Line("monitor"), Line("monitor")
        line.rotate("MAC", refused=True, count=count)
        data = saved.encode(line.engine.devices.known(), START + 100.0, 1)
        again.engine.restore(saved.decode(data, START + 100.0).devices)
        before, after = line.engine.devices.home, again.engine.devices.home
        assert after is not before
        assert after.score.sums == before.score.sums
        assert any(after.score.sums)
        assert (after.score.standing, after.connections) == (before.score.standing, before.connections)
        assert after.compromised_at == before.compromised_at
        assert again.engine.home_blocked == (count == COUNT)
        assert again.syn(b"\6\0\0\0\3\1") == (RESET_FLOW if count == COUNT else line.syn(b"\6\0\0\0\3\1"))


def test_guests_that_send_ordinary_mail_leave_the_home_clear() -> None:
    line = Line("monitor")
    for n in range(30):
        said = LEGITIMATE.replace("example.org", f"guest{n}.example")
        assert line.play(bytes((6, 0, 0, 0, 4, n)), f"192.168.1.{100 + n}", n, said, START + n * 1200)
    assert line.standing == CLEAR
    assert HOME not in {device.key for device in line.engine.devices}


def test_a_flood_of_made_up_macs_leaves_devices_and_the_home_s_score() -> None:
    line = Line("monitor")
    line.play(KNOWN, "192.168.1.7", 0, LEGITIMATE, START)
    line.rotate("MAC", refused=True, count=3)
    talked = {device.key for device in line.engine.devices}
    heard = line.engine.devices.home.networks
    for n in range(4 * DEVICES):
        line.syn(b"\6\1" + n.to_bytes(4, "big"), n, time=START + 1000.0 + n / 100)
    assert talked <= {device.key for device in line.engine.devices}
    assert len(line.engine.devices) == DEVICES
    assert line.engine.devices.home.networks >= heard
    assert line.standing != COMPROMISED  # SYNs alone convict nobody
