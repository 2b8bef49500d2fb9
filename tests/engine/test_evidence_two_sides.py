"""Nothing counts but what two ends show: packets in a neighbour's name, and copies that no server takes."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from cpe_filter.detect.device import Device
from cpe_filter.detect.score import CLEAR, COMPROMISED
from cpe_filter.engine import FORWARD, IDLE_S, LOST_AFTER_S, REQUIRED, Engine, Flow
from cpe_filter.engine.verdicts import ACCEPT
from cpe_filter.inspect.packet import PARTIAL, RIGHT, UNSEEN, WRONG, checksum
from cpe_filter.lean.clocks import PacketTime
from tests.build import ACK, CLIENT, CLIENT6, FIN, LEGITIMATE, PSH, RST, START, SYN, packed
from tests.policies import changed_policy, make_policy

VICTIM, ROUTER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\xfe"
MODES = ("monitor", "limit", "block")
FAMILIES = (4, 6)
SPAM = (
    b"HELO 10-1-2-3.pool.example.net\r\nMAIL FROM: <x%d@d%d.example>\r\nRCPT TO: <a@b.example>\r\nDATA\r\n",
    b"HELO 10-1-2-3.pool.example.net\r\n",
    b"QUIT\r\n",
)


def sum16(data: bytes) -> int:
    """RFC 1071, as the RFC has it, two bytes at a time."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Wire:
    """Packets of one connection, with everything in them at will."""

    def __init__(self, number: int, family: int = 4, sport: int = 40000) -> None:
        self.family = family
        self.client = packed(CLIENT if family == 4 else CLIENT6)
        self.server = packed(f"198.51.{number}.25" if family == 4 else f"2001:db8:{number + 16:x}::25")
        self.sport = sport + number
        self.seq, self.ack = 1000, 500000

    def packet(
        self,
        from_client: bool,
        flags: int,
        payload: bytes = b"",
        seq: int | None = None,
        ack: int | None = None,
        ttl: int = 63,
        how: str = "right",
    ) -> bytes:
        src, dst = (self.client, self.server) if from_client else (self.server, self.client)
        sport, dport = (self.sport, 25) if from_client else (25, self.sport)
        mine, other = (self.seq, self.ack) if from_client else (self.ack, self.seq)
        mine, other = mine if seq is None else seq, other if ack is None else ack
        numbers = mine & 0xFFFFFFFF, (other & 0xFFFFFFFF) * bool(flags & ACK)
        tcp = bytearray(struct.pack("!HHIIBBHHH", sport, dport, *numbers, 0x50, flags, 65535, 0, 0) + payload)
        pseudo = src + dst + struct.pack("!II", len(tcp), 6)
        right = ~sum16(pseudo + tcp) & 0xFFFF
        value = {"right": right, "partial": sum16(pseudo), "wrong": right ^ 0x5555, "none": 0}[how]
        tcp[16:18] = value.to_bytes(2, "big")
        if self.family == 6:
            return struct.pack("!IHBB", 6 << 28, len(tcp), 6, ttl) + src + dst + tcp
        return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, ttl, 6, 0) + src + dst + tcp


class Home:
    """An engine as it stands on the router, and a wire to it."""

    def __init__(self, mode: str = "monitor", **options: Any) -> None:
        self.time = START
        self.ended: list[Flow] = []
        options = {"checksums": REQUIRED, "known": lambda mac: True, **options}
        policy = make_policy(mode=mode, refusal="reset", connections_burst=1000, destinations_burst=1000)
        self.engine = Engine(policy, ended=self.ended.append, **options)

    def give(self, data: bytes, from_client: bool = True, mac: bytes = VICTIM) -> str:
        self.time += 0.001
        return self.engine.packet(PacketTime(self.time), FORWARD, mac if from_client else None, data)

    def later(self, seconds: float = LOST_AFTER_S + 1) -> None:
        self.time += seconds
        for _ in range(3):
            self.time += 1
            self.engine.tick(PacketTime(self.time))

    def say(self, wire: Wire, from_client: bool, payload: bytes, flags: int = PSH | ACK, **more: Any) -> str:
        """What really travels: the numbers go on."""
        verdict = self.give(wire.packet(from_client, flags, payload, **more), from_client)
        size = len(payload) + bool(flags & (SYN | FIN))
        if from_client:
            wire.seq += size
        else:
            wire.ack += size
        return verdict

    def open(self, wire: Wire, how: str = "right") -> None:
        self.say(wire, True, b"", SYN, how=how)
        self.say(wire, False, b"", SYN | ACK)

    def dialogue(self, wire: Wire, text: str, decoy: Any = None, **more: Any) -> None:
        """Line by line; `decoy` is called with each of the client's before it is sent."""
        for line in text.strip().splitlines():
            payload = line[3:].encode() + b"\r\n"
            if line[0] == "C" and decoy is not None:
                decoy(payload)
            self.say(wire, line[0] == "C", payload, **(more if line[0] == "C" else {}))

    @property
    def victim(self) -> Device | None:
        return self.engine.devices.find(VICTIM)


def unjudged(home: Home) -> None:
    """Nothing about the neighbour has changed, but for how many connections were begun in its name."""
    home.later(IDLE_S + 100)
    home.later()
    home.engine.finish(PacketTime(home.time))
    device = home.victim
    if device is None:
        return
    assert device.score.standing == CLEAR
    assert device.score.value == 0
    assert not device.score.tallies
    assert not device.addresses
    assert (device.sessions, device.messages, device.recipients, device.networks) == (0, 0, 0, 0)
    assert set(device.buckets) <= {"connections", "destinations"}
    assert len(device.server_networks) == 0


# ── in a neighbour's name ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("payload", SPAM)
def test_lone_data_leaves_no_trace(mode: str, family: int, payload: bytes) -> None:
    home = Home(mode)
    for number in range(30):
        home.give(Wire(number, family).packet(True, PSH | ACK, payload.replace(b"%d", b"%d" % number), ack=1))
    assert home.victim is None
    assert not home.engine.events or mode == "block"
    unjudged(home)


@pytest.mark.parametrize("mode", MODES)
def test_a_neighbour_that_is_known_is_not_touched_by_it(mode: str) -> None:
    home = Home("monitor")
    real = Wire(200)
    home.open(real)
    home.dialogue(real, LEGITIMATE)
    home.engine.reload(changed_policy(home.engine.policy, mode=mode))
    device = home.victim
    assert device is not None
    before = device.connections, device.sessions, device.messages, list(device.score.sums), list(device.addresses)
    for number in range(30):
        wire = Wire(number)
        wire.client = packed("192.0.2.77")
        home.give(wire.packet(True, PSH | ACK, SPAM[0], ack=1))
        home.give(wire.packet(True, PSH | ACK, SPAM[0], ack=1, seq=1000 + len(SPAM[0])))
    home.later(IDLE_S + 100)
    assert (device.connections, device.sessions, device.messages, device.score.sums, device.addresses) == before
    assert device.score.standing == CLEAR


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("answer", ["none", "syn-ack", "owner resets", "greeting", "unasked"])
@pytest.mark.parametrize("ack", ["none", "guessed", "zero", "syn", "beyond", "too far"])
def test_guessed_numbers_count_for_nothing(mode: str, family: int, answer: str, ack: str) -> None:
    home = Home(mode, known=lambda mac: False)
    rng = random.Random(ack)
    for number in range(30):
        wire = Wire(number, family)
        home.say(wire, True, b"", SYN)
        isn = wire.ack
        if answer == "unasked":
            home.give(wire.packet(False, SYN | ACK, ack=wire.seq + 7), False)
        elif answer != "none":
            home.say(wire, False, b"", SYN | ACK)
        if answer == "owner resets":
            home.give(wire.packet(True, RST))
        if answer == "greeting":
            home.say(wire, False, b"220 mx\r\n")
        guess = {"guessed": rng.getrandbits(32), "zero": 0, "syn": isn, "beyond": wire.ack + 1, "too far": isn + 2**20}
        for _ in range(3):
            flags = PSH | (ACK if ack != "none" else 0)
            home.give(wire.packet(True, flags, SPAM[0], ack=guess.get(ack)))
        home.give(wire.packet(True, RST, seq=5))
        home.give(wire.packet(True, FIN | ACK, seq=wire.seq + len(SPAM[0]), ack=guess.get(ack, 1)))
    unjudged(home)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_data_in_a_syn_counts_for_nothing(family: int, known: bool) -> None:
    home = Home(known=lambda mac: known)
    for number in range(30):
        wire = Wire(number, family)
        home.give(wire.packet(True, SYN, SPAM[0]))
        home.give(wire.packet(False, SYN | ACK, ack=wire.seq + 1), False)
        home.give(wire.packet(True, RST, seq=wire.seq + 1))
    unjudged(home)


@pytest.mark.parametrize("answer", ["nothing", "reset", "wrong reset", "reset without number"])
@pytest.mark.parametrize("known", [False, True, None])
@pytest.mark.parametrize("family", FAMILIES)
def test_syns_that_nobody_answers_never_convict(family: int, known: bool | None, answer: str) -> None:
    home = Home(known=None if known is None else lambda mac: bool(known))
    for number in range(250):
        wire = Wire(number, family)
        home.say(wire, True, b"", SYN)
        if answer != "nothing":
            flags, ack = {"reset": (RST | ACK, 0), "wrong reset": (RST | ACK, 9)}.get(answer, (RST, 0))
            home.give(wire.packet(False, flags, ack=wire.seq + ack), False)
        home.time += 5
    if known is False:
        unjudged(home)
        return
    home.later()
    device = home.victim
    assert device is not None
    assert device.score.standing == CLEAR  # SYNs alone look like a list's first run
    assert max(device.score.sums) == 0
    assert ("connect-refused" in device.score.tallies) == (answer == "reset")
    # Nor do they help to: an innocent session after them says what it says without them.
    alone = Home()
    for one in (home, alone):
        wire = Wire(250, family)
        one.open(wire)
        one.dialogue(wire, LEGITIMATE.replace("250 2.1.5 Ok", "550 5.1.1 User unknown").split("C: DATA")[0])
    assert device.score.standing == CLEAR
    assert alone.victim is not None
    assert device.score.sums == pytest.approx(alone.victim.score.sums, abs=1.0)


def test_spoofed_syns_drive_out_little_of_what_a_device_knows() -> None:
    home = Home()
    for number in range(60):
        wire = Wire(number)
        home.open(wire)
        home.dialogue(wire, LEGITIMATE)
        home.time += 60
    device = home.victim
    assert device is not None
    networks = device.networks
    for number in range(2000):
        wire = Wire(0, sport=20000 + number)
        wire.server = bytes((203, number // 250, number % 250, 25))
        home.say(wire, True, b"", SYN)
        home.time += 0.1
    home.later()
    before = device.networks
    assert before > networks
    for number in range(60):
        wire = Wire(number, sport=50000)
        home.open(wire)
        home.dialogue(wire, LEGITIMATE)
    assert device.networks - before <= 25


def test_lookups_count_once_a_handshake_is_completed() -> None:
    from tests.build import dns_query, udp

    home = Home()
    question = udp(CLIENT, "203.0.113.53", 40000, 53, dns_query())
    home.engine.on_mx_query(PacketTime(home.time), VICTIM, question)
    home.say(Wire(1), True, b"", SYN)
    home.engine.on_mx_query(PacketTime(home.time), VICTIM, question)
    assert home.victim is not None
    assert not home.victim.score.tallies
    wire = Wire(2)
    home.open(wire)
    home.dialogue(wire, "S: 220 mx\nC: EHLO a.example")
    assert home.victim.mx_queries == 2


# ── both ends are there ─────────────────────────────────────────────────────────────────────────────


def bot(home: Home, number: int, family: int = 4, **more: Any) -> Wire:
    wire = Wire(number, family)
    home.open(wire, more.get("how", "right"))
    text = LEGITIMATE.replace("EHLO mail.example.org", "HELO 7-0-2-198.dynamic.example.net")
    text = text.replace("250 2.1.5 Ok", "550 5.1.1 User unknown").split("C: DATA")[0]
    home.dialogue(wire, text + "C: QUIT\nS: 221 Bye", **more)
    return wire


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["right", "partial"])
def test_a_bot_is_convicted_as_ever(family: int, how: str) -> None:
    home = Home(known=lambda mac: False)
    for number in range(12):
        bot(home, number, family, how=how)
    assert home.victim is not None
    assert home.victim.score.standing == COMPROMISED
    assert home.victim.compromised_at is not None
    assert home.victim.compromised_at[1] <= 9


def test_a_banner_is_evidence_once_the_client_has_answered_it() -> None:
    home = Home()
    wire = Wire(0)
    home.open(wire)
    home.say(wire, False, b"554 5.7.1 go away\r\n")
    assert home.victim is not None
    assert "banner-refused" not in home.victim.score.tallies
    home.say(wire, True, b"", FIN | ACK)
    assert "banner-refused" in home.victim.score.tallies


def test_what_runs_already_is_limited_once_the_client_answers() -> None:
    home = Home("limit")
    home.engine.reload(changed_policy(home.engine.policy, messages_burst=2, messages_per_hour=1))
    wire = Wire(0)
    text = "C: MAIL FROM:<a@a.example>\nS: 250 ok\nC: RSET\nS: 250 ok\n" * 4
    home.dialogue(wire, "S: 250 ok\n" + text)
    (flow,) = home.engine._flows.values()
    assert flow.decision.action == "refuse"
    assert not flow.device.score.tallies
    assert flow.device.sessions == 0


# ── copies that no server takes ─────────────────────────────────────────────────────────────────────

DECOYS = (b"NOOP\r\n", b"EHLO mail.home.example\r\n", b"QUIT\r\n", b"RSET\r\n")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "kind",
    [
        {"ttl": 1},
        {"ttl": 2},
        {"ttl": 62},
        {"how": "wrong"},
        {"how": "partial"},
        {"how": "none"},
        {"flags": PSH},
        {"flags": SYN},
        {"flags": SYN | ACK | PSH},
        {"flags": RST, "ttl": 1},
        {"flags": RST | ACK, "how": "wrong"},
        {"flags": FIN | ACK, "ttl": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("after", [False, True])
def test_decoys_hide_nothing(family: int, kind: dict[str, Any], after: bool) -> None:
    plain, hidden = Home(), Home()
    for number in range(8):
        bot(plain, number, family)
        wire = Wire(number, family)
        more = {"flags": PSH | ACK, **kind}

        def decoy(payload: bytes, wire: Wire = wire, more: dict[str, Any] = more) -> None:
            other = DECOYS[len(payload) % 4]
            fake = other[:-2].ljust(len(payload) - 2)[: len(payload) - 2] + b"\r\n"
            hidden.give(wire.packet(True, payload=fake, **more))

        hidden.open(wire)
        text = LEGITIMATE.replace("EHLO mail.example.org", "HELO 7-0-2-198.dynamic.example.net")
        text = text.replace("250 2.1.5 Ok", "550 5.1.1 User unknown").split("C: DATA")[0] + "C: QUIT\nS: 221 Bye"
        hidden.dialogue(wire, text, decoy=None if after else decoy)
    assert plain.victim is not None
    assert hidden.victim is not None
    assert hidden.victim.score.standing == plain.victim.score.standing == COMPROMISED
    if kind.get("flags") == SYN:  # each is an attempt, which is refused once the bot is convicted
        return
    assert hidden.victim.score.sums == pytest.approx(plain.victim.score.sums)
    assert hidden.victim.recipients == plain.victim.recipients


@pytest.mark.parametrize("first", [63, 255, 1])
@pytest.mark.parametrize("rest", [60, 40])
def test_a_client_that_sends_all_with_a_lower_ttl_is_read(first: int, rest: int) -> None:
    """After a SYN that goes farther. Then decoys with one lower still."""
    home = Home()
    for number in range(12):
        wire = Wire(number)
        if first == 1:
            home.give(wire.packet(True, SYN, ttl=1))
        home.say(wire, True, b"", SYN, ttl=max(first, 63))
        home.say(wire, False, b"", SYN | ACK)
        text = LEGITIMATE.replace("EHLO mail.example.org", "HELO 7-0-2-198.dynamic.example.net")
        text = text.replace("250 2.1.5 Ok", "550 5.1.1 User unknown").split("C: DATA")[0]

        def decoy(payload: bytes, wire: Wire = wire) -> None:
            home.give(wire.packet(True, PSH | ACK, b"NOOP".ljust(len(payload) - 2) + b"\r\n", ttl=rest - 30))

        home.dialogue(wire, text, decoy, ttl=rest)
    # Its answers to the server's first bytes count for the handshake, too, once they are believed.
    home.later()
    flow = next(iter(home.engine._flows.values()))
    assert flow.session.dialogue.facts.helo == "7-0-2-198.dynamic.example.net"
    assert home.victim is not None
    assert home.victim.recipients > 0


def test_another_syn_while_a_connection_runs_does_not_hide_the_rest() -> None:
    home = Home(known=lambda mac: False)
    for number in range(12):
        wire = Wire(number)
        home.open(wire)
        home.dialogue(wire, "S: 220 mx\nC: HELO 7-0-2-198.dynamic.example.net")
        home.give(wire.packet(True, SYN, seq=77))
        text = "S: 250 mx\nC: MAIL FROM: <a@a.example>\nS: 250 ok\nC: RCPT TO: <b@b.example>\nS: 550 5.1.1 unknown user"
        home.dialogue(wire, text)
    assert home.victim is not None
    assert home.victim.score.standing == COMPROMISED


def test_a_server_that_has_forgotten_takes_the_other_syn() -> None:
    home = Home()
    wire = Wire(0)
    home.open(wire)
    home.dialogue(wire, "S: 220 mx\nC: EHLO a.example\nS: 250 mx")
    wire.seq, wire.ack = 90000, 800000
    home.open(wire)
    home.dialogue(wire, LEGITIMATE)
    assert home.victim is not None
    assert (home.victim.connections, home.victim.sessions, home.victim.messages) == (2, 2, 1)


def test_a_reset_that_the_server_does_not_take_does_not_hide_the_rest() -> None:
    home = Home()
    wire = Wire(0)
    home.open(wire)
    home.dialogue(wire, "S: 220 mx\nC: EHLO a.example\nS: 250 mx")
    home.give(wire.packet(True, RST, seq=wire.seq + 1000))
    home.later(IDLE_S / 2)
    home.give(wire.packet(True, SYN, seq=77))
    home.give(wire.packet(True, SYN, seq=1000))
    home.dialogue(wire, "C: MAIL FROM:<a@a.example>\nS: 250 ok\nC: RCPT TO:<b@b.example>\nS: 250 ok")
    assert home.victim is not None
    assert home.victim.recipients == 1


# ── checksums ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [0, 1, 2, 29, 30, 1399, 1400, 1401])
def test_checksums_of_single_packets(family: int, size: int) -> None:
    rng = random.Random(size)
    for _ in range(50):
        wire = Wire(rng.randrange(200), family)
        payload = rng.randbytes(size)
        found = {how: checksum(wire.packet(True, PSH | ACK, payload, how=how)) for how in ("right", "partial", "wrong")}
        assert found == {"right": RIGHT, "partial": PARTIAL, "wrong": WRONG}


@pytest.mark.parametrize("family", FAMILIES)
def test_checksums_of_merged_and_cut_packets(family: int) -> None:
    wire = Wire(0, family)
    big = b"x" * 2896
    assert checksum(wire.packet(True, ACK, big, how="partial")) == RIGHT
    assert checksum(wire.packet(True, ACK, big, how="right")) == RIGHT
    assert checksum(wire.packet(True, ACK, big, how="wrong")) == WRONG
    assert checksum(wire.packet(True, ACK, big)[:-1]) == UNSEEN
    # Behind what the packet's own length says there may be padding.
    assert checksum(wire.packet(True, ACK, b"x") + bytes(6)) == RIGHT


@pytest.mark.parametrize("family", FAMILIES)
def test_a_syn_with_a_wrong_checksum_begins_nothing(family: int) -> None:
    home = Home("limit")
    assert home.give(Wire(0, family).packet(True, SYN, how="wrong")) == ACCEPT
    assert home.engine.flow_count == 0
    assert home.victim is None
    assert home.engine.unfit == 1
