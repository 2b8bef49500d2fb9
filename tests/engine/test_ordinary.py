"""The engine's short way for ordinary packets (`Engine._ordinary`): it must come to what the long way comes to.

Two engines get the same packets, one without the short way. They must give the same verdicts, and all that can be
reached from them must be the same. The packets are every transcript in every way that its bytes may travel, with right
checksums, and dialogues of which some packets are changed, left out, sent twice or in another place.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any, NamedTuple

import pytest

from cpe_filter.engine import DOUBTED, FORWARD, IGNORED, REQUIRED, Engine, Flow
from cpe_filter.inspect.facts import Limits
from cpe_filter.inspect.packet import ACK, FIN, RIGHT, RST, SYN, checksum
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.policy.model import Policy
from tests.bench.dialogue_cost import LIMITS, LINES
from tests.build import START
from tests.inspect.transcript import WAYS, Transcript, read_all, segments
from tests.policies import make_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.engine.verdicts import Verdict

MAC, ROUTER_MAC = b"\2\0\0\0\0\1", b"\2\0\0\0\0\xfe"
#: Addresses of a device and of a stranger's server.
PEERS = {
    4: (bytes((192, 168, 1, 2)), bytes((198, 51, 100, 25))),
    6: (bytes.fromhex("20010db8000000010000000000000002"), bytes.fromhex("20010db8002500000000000000000025")),
}
TRANSCRIPTS = read_all()
POLICIES = {
    "monitor": make_policy(mode="monitor"),
    "limit": make_policy(
        mode="limit",
        refusal="reset",
        messages_burst=2,
        recipients_burst=3,
        connections_burst=1000,
        destinations_burst=1000,
    ),
    "block": make_policy(mode="block"),
    "two ports": make_policy(mode="monitor", ports=(25, 587)),
}


class Shown(NamedTuple):
    """A packet as it comes to the engine."""

    time: float
    from_client: bool
    data: bytes


class Short(Engine):
    """Counts what takes the short way."""

    short = 0

    def _ordinary(self, time: PacketTime, data: bytes) -> Verdict | None:
        verdict = super()._ordinary(time, data)
        self.short += bool(verdict)
        return verdict


class Long(Engine):
    def _ordinary(self, time: PacketTime, data: bytes) -> Verdict | None:
        return None


def state(thing: Any, seen: dict[int, int] | None = None) -> Any:
    """All that can be reached from an object, comparable."""
    seen = {} if seen is None else seen
    if thing is None or isinstance(thing, int | float | str | bytes | bytearray):
        return thing
    if id(thing) in seen:
        return ("seen", seen[id(thing)])
    seen[id(thing)] = len(seen)
    if isinstance(thing, dict):
        return [(state(key, seen), state(value, seen)) for key, value in thing.items()]
    if isinstance(thing, set | frozenset):
        return sorted(map(repr, thing))
    if isinstance(thing, list | tuple):
        attributes = {name: getattr(thing, name) for name in ("bytes", "lost") if hasattr(thing, name)}
        return [type(thing).__name__, [state(one, seen) for one in thing], attributes]
    if callable(thing):
        return "function"
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    names = sorted({*slots, *getattr(thing, "__dict__", ())} - {"__dict__", "short", "_answers"})
    return [(name, state(getattr(thing, name), seen)) for name in names if hasattr(thing, name)]


def _noting(ended: list[Any]) -> Callable[[Flow], None]:
    return lambda flow: ended.append(state(flow))


def compare(packets: Iterable[Shown], policy: Policy, each: bool = False, **options: Any) -> int:
    """Gives the packets to both engines. Returns how many took the short way. each: all is compared after each."""
    limits = options.pop("limits", LIMITS)
    ended: list[list[Any]] = []
    engines: list[Engine] = []
    for kind in (Short, Long):
        ended.append([])
        engines.append(kind(policy, limits, ended=_noting(ended[-1]), **options))
    short, long = engines
    for engine in engines:
        engine.on_link([ip_network("192.168.1.0/24"), ip_network("2001:db8:0:1::/64")])
    last = START
    for number, (time, from_client, data) in enumerate(packets):
        last = max(last, time)
        verdicts = [
            engine.packet(PacketTime(last), FORWARD, MAC if from_client else ROUTER_MAC, data) for engine in engines
        ]
        assert verdicts[0] == verdicts[1]
        assert (short.key, short.skipped is None) == (long.key, long.skipped is None)
        assert (short.flow is None) == (long.flow is None)
        if each or number % 16 == 15:
            assert state(short) == state(long)
    assert state(short) == state(long)
    for engine in engines:
        engine.finish(PacketTime(last + 1))
    assert state(short) == state(long)
    assert ended[0] == ended[1]
    assert isinstance(short, Short)
    return short.short


def packet(
    family: int,
    from_client: bool,
    seq: int,
    ack: int,
    flags: int,
    payload: bytes = b"",
    sport: int = 40025,
    server: bytes = b"",
    dport: int = 25,
    options: bytes = b"\1\1\x08\x0a" + bytes(8),
) -> bytes:
    """With the timestamps that most stacks send, and the right checksum."""
    client, usual = PEERS[family]
    server = server or usual
    src, dst = (client, server) if from_client else (server, client)
    ports = (sport, dport) if from_client else (dport, sport)
    numbers = seq & 0xFFFFFFFF, ack & 0xFFFFFFFF
    tcp = struct.pack("!HHIIBBHHH", *ports, *numbers, (20 + len(options)) << 2, flags, 65535, 0, 0) + options + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 63, 6, 0)
    if family == 6:
        head = struct.pack("!IHBB", 6 << 28, len(tcp), 6, 63)
    return with_sum(head + src + dst + tcp)


def with_sum(data: bytes) -> bytes:
    """With the TCP checksum that is right for the rest, where the IP header has no options."""
    start, addresses = (20, 12) if data[0] >> 4 == 4 else (40, 8)
    blank = data[: start + 16] + b"\0\0" + data[start + 18 :]
    summed = blank[addresses:] + bytes(len(blank) % 2)
    total: int = 6 + len(data) - start + sum(part for (part,) in struct.iter_unpack("!H", summed))
    return data[: start + 16] + (-total % 0xFFFF).to_bytes(2, "big") + data[start + 18 :]


def played(transcript: Transcript, way: str, seed: int, family: int) -> list[Shown]:
    """A transcript as packets, the client's acknowledgement of the handshake among them."""
    shown: list[Shown] = []
    for from_client, one in segments(transcript, WAYS[way], random.Random(seed)):
        data = packet(family, from_client, one.seq, one.ack, one.flags, one.payload)
        shown.append(Shown(START + 0.01 * len(shown), from_client, data))
        if one.flags == SYN | ACK:
            shown.append(Shown(START + 0.01 * len(shown), True, packet(family, True, one.ack, one.seq + 1, ACK)))
    return shown


@pytest.mark.parametrize("way", WAYS)
def test_transcripts(way: str) -> None:
    short = total = 0
    for number, transcript in enumerate(TRANSCRIPTS):
        shown = played(transcript, way, number, 4 + 2 * (number % 2))
        total += len(shown)
        policy = list(POLICIES.values())[number % len(POLICIES)]
        short += compare(shown, policy, checksums=(REQUIRED, DOUBTED, IGNORED)[number % 3])
    assert short > total / 20  # else nothing is shown here


def dialogue(number: int, family: int, start: float, dport: int = 25) -> list[Shown]:
    """The number-th one-message dialogue, with a server of its own."""
    usual = PEERS[family][1]
    server = usual[:-3] + bytes((number & 0xFF, 1, 25))
    sent = {True: 1000 * number, False: 0xFFFFFFFF - 40 * number}
    shown: list[Shown] = []

    def say(from_client: bool, flags: int, payload: bytes = b"") -> None:
        seq, ack = sent[from_client], sent[not from_client] if flags & ACK else 0
        data = packet(family, from_client, seq, ack, flags, payload, 40000 + number, server, dport)
        shown.append(Shown(start + 0.01 * len(shown), from_client, data))
        sent[from_client] = seq + len(payload) + bool(flags & (SYN | FIN)) & 0xFFFFFFFF

    say(True, SYN)
    say(False, SYN | ACK)
    for from_client, payload in LINES:
        say(from_client, ACK, payload)
    say(True, FIN | ACK)
    say(False, FIN | ACK)
    return shown


@pytest.mark.parametrize("family", PEERS)
@pytest.mark.parametrize("checksums", [REQUIRED, DOUBTED, IGNORED])
@pytest.mark.parametrize("policy", POLICIES)
def test_dialogues_as_they_come(family: int, checksums: str, policy: str) -> None:
    shown = [one for number in range(4) for one in dialogue(number, family, START + number)]
    short = compare(shown, POLICIES[policy], each=True, checksums=checksums)
    # All but SYN and SYN-ACK, the banner and the first line of the client, whose number shows that it got an answer.
    assert short == {"monitor": 4 * 13, "two ports": 4 * 13}.get(policy, short)


def test_the_other_port() -> None:
    """Both ports may be mail's: then which end is the server depends on who began."""
    shown = [
        one._replace(
            data=with_sum(
                one.data.replace(b"\x9c\x41\0\x19", b"\x02\x4b\0\x19").replace(b"\0\x19\x9c\x41", b"\0\x19\x02\x4b")
            )
        )
        for one in dialogue(1, 4, START)
    ]
    assert compare(shown, POLICIES["monitor"], each=True) == 13
    assert compare(shown, POLICIES["two ports"], each=True) == 0


def mutated(shown: list[Shown], rng: random.Random) -> list[Shown]:
    """Some packets changed, doubled, left out, swapped."""
    shown = list(shown)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(shown))
        one = shown[at]
        kind = rng.randrange(9)
        data = bytearray(one.data)
        start = 20 if one.data[:1] < b"\x50" else 40
        if kind == 0:
            del shown[at]
            if not shown:
                return []
        elif kind == 1:
            shown.insert(rng.randrange(len(shown)), one)
        elif kind == 2:
            other = rng.randrange(len(shown))
            shown[at], shown[other] = shown[other], one
        elif kind == 3 and data:  # any byte
            data[rng.randrange(len(data))] = rng.randrange(256)
        elif len(data) < start + 20:
            continue
        elif kind == 4:  # flags
            data[start + 13] ^= rng.choice((FIN, SYN, RST, ACK, 0x20, 0x08))
        elif kind == 5:  # TTL
            data[8 if start == 20 else 7] = rng.choice((1, 62, 64, 255))
        elif kind == 6:  # numbers, somewhat off
            field = start + rng.choice((4, 8))
            number = int.from_bytes(data[field : field + 4], "big") + rng.choice((-1, 1, -20, 20, 70000, 1 << 31))
            data[field : field + 4] = (number & 0xFFFFFFFF).to_bytes(4, "big")
        elif kind == 7:  # cut, or with more behind it
            data = data[: rng.randrange(len(data))] if rng.random() < 0.5 else data + bytes(rng.randint(1, 8))
        else:  # another first byte, another protocol
            field = rng.choice((0, 6, 9))
            data[field] = rng.choice((0x45, 0x46, 0x60, 6, 17, 0))
        if kind > 2:
            changed = bytes(data)
            if rng.random() < 0.7 and len(changed) >= start + 20 and changed[0] in (0x45, 0x60):
                changed = with_sum(changed)
            shown[at] = one._replace(data=changed)
    return shown


@pytest.mark.parametrize("seed", range(24))
def test_changed_dialogues(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(12):
        policy = POLICIES[rng.choice(list(POLICIES))]
        family = rng.choice((4, 6))
        shown = [
            one
            for number in range(3)
            for one in mutated(dialogue(rng.randrange(2), family, START + rng.choice((1, 30, 400)) * number), rng)
        ]
        if rng.random() < 0.3:  # interleaved
            shown.sort(key=lambda one: (rng.random(), one.time))
        compare(shown, policy, checksums=rng.choice((REQUIRED, DOUBTED, IGNORED)))


def test_built_packets_are_as_the_wire_has_them() -> None:
    for family in PEERS:
        for payload in (b"", b"x", b"xy"):
            assert checksum(packet(family, True, 1, 2, ACK, payload)) == RIGHT
    assert isinstance(LIMITS, Limits)
