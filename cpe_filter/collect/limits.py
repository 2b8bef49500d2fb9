"""What a body and a router may cost. Pure: bytes and times come in.

`Gunzip` unpacks as bytes arrive and stops at the first that is too much, so a bomb costs no more than its bound.
`Buckets` holds one token bucket a router, for reports or for events.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict

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


class Gunzip:
    """A gzip body (RFC 1952, one member): `feed` its bytes, then `end`. Raises `TooLarge` and `NotGzip`."""

    def __init__(self) -> None:
        self._taken = 0
        self._parts = bytearray()
        self._unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def feed(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > MAX_BODY:
            raise TooLarge(f"body over {MAX_BODY} bytes")
        # Unpacks no further than to the first byte too many; what it has not looked at is then left in the tail.
        room = min(MAX_UNPACKED, max(_SMALL, self._taken * MAX_RATIO)) - len(self._parts) + 1
        try:
            self._parts += self._unpacker.decompress(data, room)
        except zlib.error:
            raise NotGzip("not gzip") from None
        if self._unpacker.unused_data:
            raise NotGzip("bytes behind the gzip member")
        if len(self._parts) > MAX_UNPACKED:
            raise TooLarge(f"over {MAX_UNPACKED} bytes unpacked")
        if len(self._parts) > max(_SMALL, self._taken * MAX_RATIO):
            raise TooLarge(f"unpacks more than {MAX_RATIO}:1")

    def end(self) -> bytes:
        if not self._unpacker.eof:
            raise NotGzip("gzip cut off")
        return bytes(self._parts)


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

    def __len__(self) -> int:
        return len(self._buckets)
