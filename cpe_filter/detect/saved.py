"""What is known of the devices <-> bytes that survive a restart.

Knows devices, scores and the form of the bytes. Must not know files or clocks. The bytes are read completely or not at
all; then `CorruptStateError` says why. The detector continues as it would without a restart, except for what is not
saved: which names a device has used (their hashes have a new key with every start), the last minute's and hours' new
servers, the token buckets of mode limit, and connections that were running.

    "cpe-filter state", version (1 byte), serial (varint), written (float64)
    names of the senders, names of the indicators: a count (1 byte), then each with its length (1 byte)
    a count of devices (varint), then each: see `_device`
    checksum of all that

A varint has seven bits a byte, the least significant first, the top bit where more follow. Floats are IEEE 754, big
end first. The file contains names, so that a version with another table of indicators can read it: it drops indicators
that it does not know, and a new sender begins at 0. Times are ages in ms before `written`; no age is negative, whatever
happened to the clock.

A file of version 1 was written for another table of senders and by other weights: its standings and counts are taken
over, and the scores begin at nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Sized

from cpe_filter.detect.device import BEHIND, DEVICES, HOME, RESERVED, Collective, Device
from cpe_filter.detect.evidence import FAMILIES, INDICATORS, SENDER_PROFILES, current
from cpe_filter.detect.score import CLEAR, COMPROMISED, FADE, MANY, SUSPECTED, UNUSUAL, Tally
from cpe_filter.detect.server_networks import BUCKETS, SIZE, WAYS, ServerNetworks
from cpe_filter.detect.unusual import is_record
from cpe_filter.lean.checksum import CorruptStateError, checksum, is_checksum
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.lean.named_tuple import NamedTuple

_MAGIC = b"cpe-filter state"
VERSION = 2
_FORMER_VERSION = 1
#: Longer files are not read. A device takes at most 2,000 bytes, so a full table of devices fits.
MOST_BYTES = 512 * 1024
#: How many of each device's addresses are saved, the newest ones: no more are shown.
ADDRESSES = 4
#: A file that is older than this, or from the future, was written or is read with a wrong clock: it counts as new.
BELIEVED_S = 366 * 86400.0

_STANDINGS = (CLEAR, SUSPECTED, COMPROMISED, UNUSUAL)  # in the order of their numbers on flash
_SUSPECTED_AT, _COMPROMISED_AT, _WHOLE_TABLE, _OPERATORS, _UNUSUAL_AT, _CREDITS = 4, 8, 16, 32, 64, 128
_KEYS = (4, 6, *BEHIND, 16)
_OLDEST_MS = 100 * 366 * 86400 * 1000
_MOST_COUNT = (1 << 56) - 1
#: A tally's weight is saved in parts of a nat, because it is only shown. The sums are exact.
_WEIGHT = 256
#: A family's credit is a byte, in parts of a nat: it is only compared with 1 nat.
_CREDIT = 12
_float = struct.Struct(">d")
#: A table of neighbours, a number for each bucket of four (`WAYS`).
_buckets = struct.Struct(f">{BUCKETS}Q")


class Saved(NamedTuple):
    """serial: later ones are higher, on any clock. devices: their times are on the reader's clock."""

    serial: int
    devices: list[Device]


def encode(devices: Iterable[Device], time: PacketTime, serial: int) -> bytes:
    """All devices (at most `DEVICES`, and the home's collective one) as bytes. time: now, seconds of the engine's."""
    return b"".join(pieces(devices, time, serial))


def pieces(devices: Iterable[Device], time: PacketTime, serial: int) -> Iterator[bytes]:
    """The same in pieces: the part before the devices, each device, the part behind them.

    The devices and their keys are fixed at once; what is known of each is read when its piece is made. So a file is
    valid whatever happens to the devices while it is written: a key that moves to another device is in it once.
    """
    return _pieces([(device.key, device) for device in devices], time, serial)


def _pieces(known: list[tuple[bytes, Device]], time: PacketTime, serial: int) -> Iterator[bytes]:
    head = [_MAGIC, bytes((VERSION,)), _varint(serial), _float.pack(time), _names(SENDER_PROFILES), _names(INDICATORS)]
    piece = b"".join((*head, _varint(len(known))))
    check = checksum(piece)
    yield piece
    for key, device in known:
        piece = _device(device, time, key)
        check = checksum(piece, check)
        yield piece
    yield check.to_bytes(4, "big")


def decode(data: bytes, now: PacketTime) -> Saved:
    """What was encoded. now: seconds of the current clock. Raises `CorruptStateError`."""
    if len(data) > MOST_BYTES:
        raise CorruptStateError("too large")
    if not data.startswith(_MAGIC) or len(data) <= len(_MAGIC):
        raise CorruptStateError("not a state of cpe-filter")
    version = data[len(_MAGIC)]
    if version not in (VERSION, _FORMER_VERSION):
        raise CorruptStateError(f"version {version}; expected version {VERSION}")
    if len(data) < 5 or not is_checksum(int.from_bytes(data[-4:], "big"), data[:-4]):
        raise CorruptStateError("cut short or damaged")
    reader = _Reader(data[len(_MAGIC) + 1 : -4])
    serial, written = reader.varint(), reader.number()
    # If the clock was wrong, the time between writing and reading is unknown.
    base = PacketTime(written) if 0 <= now - written <= BELIEVED_S else now
    senders = list(reader.names())
    indicators = [current(name) for name in reader.names()]
    count = reader.varint()
    if count > DEVICES + 1:  # and the home's collective one
        raise CorruptStateError("too many devices")
    devices: dict[bytes, Device] = {}
    for _ in range(count):
        device = _read_device(reader, base, senders, indicators, version)
        if device.key in devices:
            raise CorruptStateError("duplicate device")
        devices[device.key] = device
    if len(devices) - (HOME in devices) > DEVICES:
        raise CorruptStateError("too many devices")
    if not reader.at_end:
        raise CorruptStateError("trailing bytes")
    return Saved(serial, list(devices.values()))


def _device(device: Device, time: PacketTime, key: bytes = b"") -> bytes:
    """A device: key, standing and flags, ages, counts, sums, tallies, addresses, neighbours, operators and credits.

    Tallies begin with a bit for each indicator, whether it is there. A weight has its sign in the lowest bit,
    and in the next whether a rate's hits and chances follow.
    key: the key that is written, if the device has another one by now.
    """
    score = device.score
    table = _packed_table(device.server_networks.table)
    flags = _STANDINGS.index(score.standing)
    flags |= _SUSPECTED_AT if device.suspected_at else 0
    flags |= _COMPROMISED_AT if device.compromised_at else 0
    flags |= _WHOLE_TABLE if len(table) == SIZE else 0
    flags |= _OPERATORS if device.operators else 0
    flags |= _UNUSUAL_AT if device.unusual_at else 0
    credits = bytes(min(255, int(credit * _CREDIT)) for credit in score.credits)
    flags |= _CREDITS if any(credits) else 0
    out = [_short(key or device.key), bytes((flags,)), _age(time, device.last_seen), _age(time, device.first_seen)]
    for when in (device.suspected_at, device.compromised_at, device.unusual_at):
        if when:
            out += (_age(time, when[0]), _varint(when[1]))
    out += map(
        _varint,
        (
            device.connections,
            device.sessions,
            device.messages,
            device.mx_queries,
            device.recipients,
            device.refused,
            device.networks,
        ),
    )
    out += map(_float.pack, (device.rejections_for_cause, device.rejections_for_line_type, *score.sums))
    fired = sum(1 << number for number, name in enumerate(INDICATORS) if name in score.tallies)
    out.append(fired.to_bytes(_bytes_of(INDICATORS), "big"))
    for name in INDICATORS:
        if name in score.tallies:
            tally = score.tallies[name]
            weight = round((tally.weight - tally.loose) * _WEIGHT)
            out += (_varint(tally.count), _varint(abs(weight) * 4 + (tally.chances > 0) * 2 + (weight < 0)))
            if tally.chances > 0:
                out += (_float.pack(tally.chances), _float.pack(tally.hits))
    addresses = device.addresses[-ADDRESSES:]
    out += (bytes((len(addresses),)), *map(_short, addresses), table)
    if device.operators:
        out.append(_short(device.operators))
    if any(credits):
        out.append(_short(credits))
    return b"".join(out)


def _read_tallies(reader: _Reader, indicators: list[str], version: int) -> dict[str, Tally]:
    tallies = {}
    fired = int.from_bytes(reader.take(_bytes_of(indicators)), "big")
    for number, name in enumerate(indicators):
        if fired >> number & 1:
            count, weight = reader.varint(), reader.varint()
            if version == _FORMER_VERSION:
                continue
            tally = Tally(min(count, MANY), (-(weight >> 2) if weight & 1 else weight >> 2) / _WEIGHT)
            if weight & 2:
                tally.chances = min(1 / (1 - FADE), reader.number())
                tally.hits = min(tally.chances, reader.number())
            if name in INDICATORS:
                tallies[name] = tally
    return tallies


def _read_addresses(reader: _Reader) -> list[bytes]:
    addresses = [reader.short() for _ in range(reader.byte())]
    if any(len(address) not in (4, 16) for address in addresses):
        raise CorruptStateError("address of a wrong length")
    return addresses[-ADDRESSES:]


def _read_device(
    reader: _Reader, base: PacketTime, senders: list[str], indicators: list[str], version: int = VERSION
) -> Device:
    key = reader.short()
    if len(key) not in _KEYS and key not in RESERVED:
        raise CorruptStateError("device without a key")
    flags = reader.byte()
    device = Collective(base) if key == HOME else Device(key, base)
    device.last_seen = reader.time(base)
    device.first_seen = min(reader.time(base), device.last_seen)
    if flags & _SUSPECTED_AT:
        device.suspected_at = (reader.time(base), reader.varint())
    if flags & _COMPROMISED_AT:
        device.compromised_at = (reader.time(base), reader.varint())
    if flags & _UNUSUAL_AT:
        device.unusual_at = (reader.time(base), reader.varint())
    device.connections = reader.varint()
    device.sessions = reader.varint()
    device.messages = reader.varint()
    device.mx_queries = reader.varint()
    device.recipients = reader.varint()
    device.refused = reader.varint()
    device.networks = reader.varint()
    device.rejections_for_cause, device.rejections_for_line_type = reader.number(), reader.number()
    sums = {name: reader.number() for name in senders}
    if version == _FORMER_VERSION:
        sums.clear()
    tallies = _read_tallies(reader, indicators, version)
    device.score.restore(_STANDINGS[flags & 3], [sums.get(name, 0.0) for name in SENDER_PROFILES], tallies)
    device.addresses = _read_addresses(reader)
    device.server_networks = ServerNetworks(reader.take(SIZE) if flags & _WHOLE_TABLE else reader.table())
    if flags & _OPERATORS:
        device.operators = reader.short()
        if not is_record(device.operators):
            raise CorruptStateError("operators of a wrong length")
    if flags & _CREDITS and version != _FORMER_VERSION:
        credits = [credit / _CREDIT for credit in reader.short()] + [0.0] * len(FAMILIES)
        device.score.credits = credits[: len(FAMILIES)]  # of a version with more or fewer
    return device


# ── pieces ──────────────────────────────────────────────────────────────────────────────────────────


def _varint(value: int) -> bytes:
    value = min(value, _MOST_COUNT)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes_of(names: Sized) -> int:
    """How many bytes hold a bit for each of these."""
    return (len(names) + 7) // 8


def _short(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _names(names: Iterable[str]) -> bytes:
    packed = [_short(name.encode()) for name in names]
    return bytes((len(packed),)) + b"".join(packed)


def _age(time: PacketTime, then: float) -> bytes:
    return _varint(min(_OLDEST_MS, max(0, round((time - then) * 1000))))


def _packed_table(table: bytearray) -> bytes:
    """A table of server networks: how many are in each bucket, four bits each, then these; all of it if that is less.

    A bucket is filled from its head, so its entries are contiguous.
    """
    counts, places = bytearray(BUCKETS // 2), []
    for bucket, entries in enumerate(_buckets.unpack(table)):
        if entries:
            # Find the last entry that is not 0. Comparisons instead of a loop: this runs for each device.
            count = 4 if entries & 0xFFFF else 3 if entries & 0xFFFFFFFF else 2 if entries & 0xFFFFFFFFFFFF else 1
            counts[bucket // 2] |= count << 4 * (bucket % 2)
            at = bucket * 2 * WAYS
            places.append(bytes(table[at : at + 2 * count]))
    packed = bytes(counts) + b"".join(places)
    return packed if len(packed) < SIZE else bytes(table)


class _Reader:
    """Takes pieces off the front. Everything raises `CorruptStateError` if too little is left."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise CorruptStateError("truncated")
        self._at += size
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def short(self) -> bytes:
        return self.take(self.byte())

    def varint(self) -> int:
        value = 0
        for shift in range(0, 56, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise CorruptStateError("unterminated number")

    def number(self) -> float:
        value: float = _float.unpack(self.take(8))[0]
        if not math.isfinite(value) or value < 0:
            raise CorruptStateError("not a number")
        return value

    def time(self, base: PacketTime) -> PacketTime:
        age = self.varint()
        if age > _OLDEST_MS:
            raise CorruptStateError("older than a hundred years")
        return PacketTime(base - age / 1000)

    def names(self) -> list[str]:
        return [self.short().decode("ascii", "replace") for _ in range(self.byte())]

    def table(self) -> bytes:
        """A table of server networks from its occupied entries."""
        counts = self.take(BUCKETS // 2)
        out = []
        for bucket in range(BUCKETS):
            count = counts[bucket // 2] >> 4 * (bucket % 2) & 15
            if count > WAYS:
                raise CorruptStateError("bucket overflow")
            out.append(self.take(2 * count).ljust(2 * WAYS, b"\0"))
        return b"".join(out)
