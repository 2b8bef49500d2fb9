"""Fuzz targets: arbitrary bytes -> a run of a part of the code, with what must hold afterwards.

Each target takes bytes, plays them, and raises where something is wrong: any exception of the code, a bound exceeded,
bytes that came out and never went in. Knows nothing of where the bytes come from (see `run`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from cpe_filter.detect import rates, replies, saved, score
from cpe_filter.detect.detector import Detector
from cpe_filter.detect.device import DEVICES
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.detect.score import CLEAR, COMPROMISED, MOST, SUSPECTED
from cpe_filter.engine import DOUBTED, FORWARD, IGNORED, LOCAL_OUT, REQUIRED, Engine
from cpe_filter.engine.verdicts import ACCEPT, BY_VISIBILITY, REFUSALS
from cpe_filter.home import lease_file
from cpe_filter.inspect import dns, packet, states, stream
from cpe_filter.inspect.facts import Limits, Reply
from cpe_filter.inspect.session import LOST
from cpe_filter.inspect.smtp import Dialogue
from cpe_filter.lean.checksum import CorruptStateError, checksum
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.policy import signed_table
from cpe_filter.policy.model import PolicyError
from cpe_filter.replay.capture import Frame
from cpe_filter.replay.copies import Copies
from cpe_filter.replay.layers import DEEPEST, Layers
from cpe_filter.replay.links import LINK_TYPES
from cpe_filter.replay.reasons import meaning
from cpe_filter.replay.violations import VIOLATIONS
from cpe_filter.status.devices import device_facts
from tests.policies import make_policy

Target = Callable[[bytes], None]

#: What one dialogue may hold, all Python objects counted, with the router's limits. Stated in `inspect/smtp`.
DIALOGUE_BYTES = 256 * 1024


class WrongResultError(AssertionError):
    """An invariant does not hold."""


def deep_size(thing: object, seen: set[int] | None = None) -> int:
    """Bytes of an object and all that it alone refers to."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, type):
        return 0
    seen.add(id(thing))
    size = sys.getsizeof(thing)
    if isinstance(thing, dict):
        size += sum(deep_size(k, seen) + deep_size(v, seen) for k, v in thing.items())
    elif isinstance(thing, (list, tuple, set, frozenset)):
        size += sum(deep_size(item, seen) for item in thing)
    for name in getattr(type(thing), "__slots__", ()):
        size += deep_size(getattr(thing, name, None), seen)
    return size


def fuzz_packet(data: bytes) -> None:
    """`packet.parse`: a Segment within the packet, or a named reason."""
    found = packet.parse(data)
    if isinstance(found, str):
        if found not in packet.REFUSALS:
            raise WrongResultError(f"reason {found!r} is not in the table")
        return
    if len(found.payload) > len(data) or found.cut < 0 or found.payload not in data:
        raise WrongResultError(f"payload is not of this packet: {found!r}")


def fuzz_dns(data: bytes) -> None:
    """`dns.mx_question`: nothing, or who asked whom, as the packet has it."""
    found = dns.mx_question(data)
    if found is None:
        return
    both = found.client + found.resolver
    if len(found.client) not in (4, 16) or both not in data[:40] or b"\0\x0f\0\1" not in data[40:]:
        raise WrongResultError(f"not in this packet: {found!r}")
    dns.is_local(found.resolver)


def fuzz_stream(data: bytes) -> None:
    """`stream.Stream`: bytes that come out stand where they went in; positions add up; nothing piles up.

    Every 4 bytes of `data` are an operation on a stream of 4096 known bytes that begins just below 2**32.
    """
    origin = 0xFFFFF800
    truth = bytes((i * 7 + i // 256) & 0xFF for i in range(8192))
    one = stream.Stream()
    one.syn(origin - 1)
    position = 0
    operations = [data[i : i + 4] for i in range(0, min(len(data), 800), 4)]
    for op in operations:
        op = op.ljust(4, b"\0")
        at, size, kind = (op[0] << 8 | op[1]) & 0xFFF, op[2] & 0x7F, op[3] & 7
        seq = (origin + at) & 0xFFFFFFFF
        if kind == 7:
            chunks = one.acknowledged(seq)
        else:
            chunks = one.feed(seq, truth[at : at + size], size & 3 if kind == 5 else 0)
        position = _check_chunks(chunks, truth, position)
        if position != one.position:
            raise WrongResultError(f"position {one.position}, delivered {position}")
        if len(one._pending) > stream.PENDING_SEGMENTS or one.waiting > stream.PENDING_BYTES:
            raise WrongResultError("too much pending")
    position = _check_chunks(one.flush(), truth, position)
    if one._pending or one.waiting:
        raise WrongResultError("flush left something")
    if one.conflict:
        raise WrongResultError("a conflict where no byte ever changed")


def _check_chunks(chunks: list[bytes | int], truth: bytes, position: int) -> int:
    for chunk in chunks:
        if isinstance(chunk, int):
            if chunk <= 0:
                raise WrongResultError(f"a gap of {chunk}")
            position += chunk
        else:
            if not chunk or truth[position : position + len(chunk)] != chunk:
                raise WrongResultError(f"wrong bytes at {position}")
            position += len(chunk)
    return position


def fuzz_smtp(data: bytes) -> None:
    """`smtp.Dialogue`: both sides' bytes. The first byte of each piece says whose it is and how long."""
    play(Dialogue(), data)


def play(dialogue: Dialogue, data: bytes) -> None:
    """Feeds `data` to a dialogue and checks what must always hold."""
    limits = Limits()
    at = 0
    dialogue.server_seen = not data[:1] < b"\x20"
    while at < len(data):
        head = data[at]
        size = (head & 0x3F) * 4
        piece = data[at + 1 : at + 1 + size]
        at += 1 + size
        side = head >> 6
        if side < 2:
            dialogue.client(piece)
        elif side == 2:
            dialogue.server(piece)
        elif head & 1:
            dialogue.client_gap(size + 1)
        else:
            dialogue.server_gap(size + 1)
        dialogue.events.clear()
    dialogue.close(closed=bool(len(data) & 1))
    check_dialogue(dialogue, limits)


def check_dialogue(dialogue: Dialogue, limits: Limits) -> None:
    """Bounds and sense."""
    for name in dialogue.facts.violations:
        if name not in VIOLATIONS:
            raise WrongResultError(f"violation {name!r} is not in the table")
    if len(set(dialogue.facts.violations)) != len(dialogue.facts.violations):
        raise WrongResultError("a violation twice")
    if len(dialogue.transactions) > limits.transactions:
        raise WrongResultError("too many transactions kept")
    for transaction in dialogue.transactions:
        if transaction.outcome not in ("accepted", "rejected", "aborted", "open") or transaction.size < 0:
            raise WrongResultError(f"outcome {transaction.outcome}, size {transaction.size}")
        if len(transaction.rcpt_to) > limits.recipients or transaction.accepted > transaction.recipients:
            raise WrongResultError("recipients do not add up")
    if (dialogue.mode == states.OPAQUE) != bool(dialogue.facts.opaque_reason):
        raise WrongResultError("opaque without a reason, or a reason without being opaque")
    dialogue.events.clear()
    if deep_size(dialogue) > DIALOGUE_BYTES:
        raise WrongResultError(f"a dialogue of {deep_size(dialogue)} bytes")


def fuzz_saved(data: bytes) -> None:
    """`saved.decode`: as it is, it is refused; with a good checksum it is refused, or devices that make sense."""
    try:
        saved.decode(data, 1e9)
    except CorruptStateError:
        pass
    body = data[:-4]
    try:
        found = saved.decode(body + checksum(body).to_bytes(4, "big"), 1e9)
    except CorruptStateError:
        return
    if len(found.devices) > DEVICES:
        raise WrongResultError("too many devices")
    for device in found.devices:
        score = device.score
        if score.standing not in (CLEAR, SUSPECTED, COMPROMISED) or not 0 <= score.value <= MOST:
            raise WrongResultError(f"standing {score.standing}, score {score.value}")
        if not device.first_seen <= device.last_seen <= 1e9 or len(device.addresses) > saved.ADDRESSES:
            raise WrongResultError("times or addresses out of bounds")
        device_facts(device)
        once = saved.encode([device], 1e9, 1)
        if saved.encode(saved.decode(once, 1e9).devices, 1e9, 1) != once:
            raise WrongResultError("it does not come back the same")
        connection = Detector().opened(device, bytes(4), 1e9)
        Detector().ended(connection, LOST, False, 1e9)


_ENGINE_POLICY = make_policy(mode="limit", connections_per_hour=1000, connections_burst=1000)


def fuzz_engine(data: bytes) -> None:
    """`engine.Engine`: a sequence of packets, each with a length byte pair; small tables so that they overflow."""
    checksums = (IGNORED, DOUBTED, REQUIRED)[len(data) % 3]
    engine = Engine(_ENGINE_POLICY, flows=8, known=lambda mac: mac[5] > 3, checksums=checksums)
    engine.devices.limit = 4
    at, time = 0, 1000.0
    while at + 4 <= len(data):
        size = data[at] << 8 | data[at + 1]
        kind, mac = data[at + 2], data[at + 3]
        piece = data[at + 4 : at + 4 + size]
        at += 4 + size
        time += (kind & 0x3F) ** 2 / 100
        hwaddr = bytes([2, 0, 0, 0, 0, mac & 7]) if mac & 8 else None
        verdict = engine.packet(PacketTime(time), LOCAL_OUT if kind & 0x80 else FORWARD, hwaddr, piece)
        if verdict not in (ACCEPT, *BY_VISIBILITY.values(), *REFUSALS):
            raise WrongResultError(f"verdict {verdict!r}")
        if engine.flow_count > 8 or len(engine.devices) > 4:
            raise WrongResultError("a table overflows")
        engine.events.clear()
    engine.finish(PacketTime(time + 1))
    if engine.flow_count:
        raise WrongResultError("flows remain")


def _odhcpd_line(name: bytes, number: int) -> bytes:
    mark = b"" if name.isalnum() else b"broken\\x20"
    return (
        b"# br-lan 0200000009%02x ipv4 " % number
        + (mark + name)
        + (b" 1790043200 c0a801%02x 32 192.168.1.%d/32\n" % (number, number))
    )


#: More bytes than a name has, of leases.
_OTHER_LEASES = [_odhcpd_line(b"host", number) for number in range(20, 30)]


def fuzz_leases(data: bytes) -> None:
    """`lease_file.parse`: as a file, leases that make sense; as a client's name, leases of others stay as they are."""
    for lease in lease_file.parse(data):
        if len(lease.hwaddr) not in (0, 6) or any(len(address) not in (4, 16) for address in lease.addresses):
            raise WrongResultError(f"not a MAC or an address: {lease}")
        if len(lease.name) > lease_file.NAME_LENGTH or lease_file.clean(lease.name) != lease.name.replace("*", "?"):
            raise WrongResultError(f"name {lease.name!r}")
        if not (0 <= lease.expires < 1e13 and 0 <= lease.length < 1e9) or len(lease.client_id) > 195:
            raise WrongResultError(f"times or identifier out of bounds: {lease}")
    name = data.partition(b"\0")[0][:255]
    before, after = _odhcpd_line(b"first", 2), _odhcpd_line(b"last", 200)
    found = lease_file.parse(before + _odhcpd_line(name, 3) + b"".join(_OTHER_LEASES) + after)
    for line in (before, after):
        if lease_file.parse(line)[0] not in found:
            raise WrongResultError(f"a name takes the lease away: {line!r}")
    for lease in found:
        if lease.hwaddr[:5] != bytes((2, 0, 0, 0, 9)) and name.count(b"# ") < 1:
            raise WrongResultError(f"a name without the beginning of a line makes a lease: {lease}")


LINKS = sorted((*LINK_TYPES, 220))


def fuzz_layers(data: bytes) -> None:
    """`layers.Layers` and `copies.Copies`: frames with link type and length; each is read or counted, copies too."""
    layers, copies = Layers(), Copies((25,))
    count = packets = passed = at = 0
    while at + 3 <= len(data):
        link, size = LINKS[data[at] % len(LINKS)], data[at + 1] << 8 | data[at + 2]
        frame = data[at + 3 : at + 3 + size]
        at += 3 + size
        count += 1
        found = layers.packet(Frame(count / 64, link, frame, size))
        if found is None:
            continue
        if len(found.path) > DEEPEST or not found.data:
            raise WrongResultError(f"{len(found.path)} layers, {len(found.data)} bytes")
        packets += 1
        passed += sum(1 for _ in copies.originals(found, count / 64))
    layers.finish()
    copies.finish()
    if layers.read + sum(layers.unread.values()) != count:
        raise WrongResultError(f"{count} frames, {layers.read} read, {layers.unread}")
    if passed + copies.count != packets:
        raise WrongResultError(f"{packets} packets, {passed} passed on, {copies.count} copies")
    for reason in layers.unread:
        meaning(reason)


def fuzz_data(data: bytes) -> None:
    """The detector's data of signed documents: as a table it is refused, or weighs no more than what is built in; as
    wordings, one a line, it is refused by one line, or the rows make no refusal of 250 and accuse nobody anew."""
    own = {name: (row, score._WEIGHTS.get(name), score._BOUNDS.get(name)) for name, row in INDICATORS.items()}
    try:
        rates.use(data.decode("latin-1"))
    except rates.TableError as error:
        _check_line(str(error))
    for name, (row, _, bounds) in own.items():
        if any(new > old for new, old in zip(INDICATORS[name].weights, row.weights, strict=True)):
            raise WrongResultError(f"{name} weighs more")
        for new, old in zip(score._BOUNDS.get(name, ()), bounds or (), strict=True):
            if new[:2] + new[3:] != old[:2] + old[3:] or new[2] < old[2] - 1e-9:
                raise WrongResultError(f"{name}: {new} in place of {old}")
    rates.use("")
    if own != {name: (row, score._WEIGHTS.get(name), score._BOUNDS.get(name)) for name, row in INDICATORS.items()}:
        raise WrongResultError("something is left of a table")
    try:
        rows = signed_table.wordings(data.decode("latin-1").split("\n"), "wordings")
    except PolicyError as error:
        _check_line(str(error))
        return
    for code, text in REFUSALS_READ:
        before, after = (replies.read(Reply(code, f"{code} {text}"), "", "recipient", signed) for signed in ("", rows))
        if code < 400 and after != before:
            raise WrongResultError(f"{code} is {after}")
        if before[0] != "unread" and after[2] > before[2]:
            raise WrongResultError(f"{text} is {after}, was {before}")


def _check_line(text: str) -> None:
    if not text.isprintable() or len(text) > 400:
        raise WrongResultError(f"{text[:500]!a} is not one line")


#: Replies that wordings of a fuzzed document are tried on.
REFUSALS_READ = (
    (250, "2.1.5 quota exhausted blocked by our own sensors"),
    (550, "5.1.1 user unknown"),
    (554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.spamcop.net"),
    (550, "quota exhausted blocked by our own sensors"),
    (450, "4.2.0 Greylisted for 300 seconds"),
)

TARGETS: dict[str, Target] = {
    "data": fuzz_data,
    "packet": fuzz_packet,
    "dns": fuzz_dns,
    "stream": fuzz_stream,
    "smtp": fuzz_smtp,
    "engine": fuzz_engine,
    "saved": fuzz_saved,
    "leases": fuzz_leases,
    "layers": fuzz_layers,
}
