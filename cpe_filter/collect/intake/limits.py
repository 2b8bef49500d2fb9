"""What a body and a router may cost. Pure: bytes and times come in.

`Gunzip` holds a body packed until it is whole, and stops unpacking at the first byte that is too much: neither a bomb
nor any number of bodies that never end cost more than their bounds.
`Buckets` holds one token bucket a router, for reports or for events.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from ipaddress import IPv4Address, ip_address

#: As the wire format has it: bytes on the way, and unpacked. 256 events of the longest sort are 0.9 MB.
MAX_BODY = 64 * 1024
MAX_UNPACKED = 1024 * 1024
#: 256 alike events pack 60:1; nothing but a bomb packs 200:1.
MAX_RATIO = 200
#: Below this the ratio says nothing.
_SMALL = 64 * 1024


class TooLarge(ValueError):
    """More than is allowed; the text says of what."""


class NotGzip(ValueError):
    """Bytes that are no whole gzip member."""


class Plain:
    """A body as it is: `feed` its bytes, then `end`. Raises `TooLarge`."""

    def __init__(self) -> None:
        self._parts = bytearray()

    def feed(self, data: bytes) -> None:
        if len(self._parts) + len(data) > MAX_BODY:
            raise TooLarge(f"body over {MAX_BODY} bytes")
        self._parts += data

    def end(self) -> bytes:
        return bytes(self._parts)


class Waste:
    """A body that nobody wants: counted, not kept. Raises `TooLarge`."""

    def __init__(self) -> None:
        self._taken = 0

    def feed(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > MAX_BODY:
            raise TooLarge(f"body over {MAX_BODY} bytes")


class Gunzip:
    """A gzip body (RFC 1952, one member): `feed` its bytes, then `end`. Raises `TooLarge` and `NotGzip`."""

    def __init__(self) -> None:
        self._packed = bytearray()

    def feed(self, data: bytes) -> None:
        if len(self._packed) + len(data) > MAX_BODY:
            raise TooLarge(f"body over {MAX_BODY} bytes")
        self._packed += data

    def end(self) -> bytes:
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        most = min(MAX_UNPACKED, max(_SMALL, len(self._packed) * MAX_RATIO))
        try:
            # No further than to the first byte too many.
            text = unpacker.decompress(self._packed, most + 1)
        except zlib.error:
            raise NotGzip("not gzip") from None
        if len(text) > MAX_UNPACKED:
            raise TooLarge(f"over {MAX_UNPACKED} bytes unpacked")
        if len(text) > most:
            raise TooLarge(f"unpacks more than {MAX_RATIO}:1")
        if not unpacker.eof:
            raise NotGzip("gzip cut off")
        if unpacker.unused_data:
            raise NotGzip("bytes behind the gzip member")
        return text


class Buckets:
    """A token bucket for each key: `burst` at once, `per_hour` in the long run; at most `most` keys are remembered.

    The one not asked for longest is forgotten first; its bucket is full again then, which errs on its side.
    """

    def __init__(self, per_hour: int, burst: int, most: int = 1 << 18) -> None:
        self._rate = per_hour / 3600
        self._burst = float(burst)
        self._most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, count: int, now: float) -> float:
        """Takes `count` tokens: 0 if they were there; else none is taken, and it is the seconds until they are.

        now: monotonic seconds. More than a whole bucket is taken from a full one.
        """
        tokens, then = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + max(0.0, now - then) * self._rate)
        missing = min(count, self._burst) - tokens
        self._buckets[key] = (tokens if missing > 0 else tokens - min(count, self._burst), now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return missing / self._rate if missing > 0 else 0.0

    def give(self, key: str, count: int) -> None:
        """Gives back what was taken for nothing."""
        if key in self._buckets:
            tokens, then = self._buckets[key]
            self._buckets[key] = min(self._burst, tokens + count), then

    def __len__(self) -> int:
        return len(self._buckets)


def home(address: str) -> str:
    """What one subscriber has of an address: all of an IPv4 one, of IPv6 the /64. "unix" for what is no address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "unix"
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or int(parsed) >> 64)
