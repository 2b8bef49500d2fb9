"""Limits of request bodies and of routers. Pure: bytes and times come in.

Knows sizes and rates. Must not know HTTP or what a report says. `Gunzip` holds a body compressed until it is complete,
and stops decompressing at the first byte beyond the limit: neither a gzip bomb nor any number of bodies that never end
cost more than their limits. `Buckets` holds one token bucket for each router, for reports or for events.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from ipaddress import IPv4Address, ip_address

from cpe_filter.lean import token_bucket
from cpe_filter.send.protocol import MAX_BODY

#: Bytes of a decompressed body: `MAX_EVENTS` events of the longest kind are 0.9 MB.
MAX_UNPACKED = 1024 * 1024
#: `MAX_EVENTS` similar events compress 60:1; only a gzip bomb compresses 200:1.
MAX_RATIO = 200
#: Bytes below which the ratio is not checked.
_SMALL = 64 * 1024


class TooLargeError(ValueError):
    """Over a limit; the text says which."""


class GzipError(ValueError):
    """Bytes that are not one complete gzip member."""


class Plain:
    """A body as it is: `feed` its bytes, then `end`. Raises `TooLargeError`."""

    def __init__(self) -> None:
        self._parts = bytearray()

    def feed(self, data: bytes) -> None:
        if len(self._parts) + len(data) > MAX_BODY:
            raise TooLargeError(f"body over {MAX_BODY} bytes")
        self._parts += data

    def end(self) -> bytes:
        return bytes(self._parts)


class Discard:
    """A body that is discarded: counted, not kept. Raises `TooLargeError`."""

    def __init__(self) -> None:
        self._taken = 0

    def feed(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > MAX_BODY:
            raise TooLargeError(f"body over {MAX_BODY} bytes")


class Gunzip:
    """A gzip body (RFC 1952, one member): `feed` its bytes, then `end`. Raises `TooLargeError` and `GzipError`."""

    def __init__(self) -> None:
        self._packed = bytearray()

    def feed(self, data: bytes) -> None:
        if len(self._packed) + len(data) > MAX_BODY:
            raise TooLargeError(f"body over {MAX_BODY} bytes")
        self._packed += data

    def end(self) -> bytes:
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        most = min(MAX_UNPACKED, max(_SMALL, len(self._packed) * MAX_RATIO))
        try:
            # One byte beyond the limit shows that it is exceeded.
            text = unpacker.decompress(self._packed, most + 1)
        except zlib.error:
            raise GzipError("not gzip") from None
        if len(text) > MAX_UNPACKED:
            raise TooLargeError(f"over {MAX_UNPACKED} bytes decompressed")
        if len(text) > most:
            raise TooLargeError(f"decompresses more than {MAX_RATIO}:1")
        if not unpacker.eof:
            raise GzipError("gzip data is incomplete")
        if unpacker.unused_data:
            raise GzipError("bytes after the gzip member")
        return text


class Buckets:
    """A token bucket for each key: `burst` at once, `per_hour` in the long run; at most `most` keys are remembered.

    The least recently used key is forgotten first; its bucket is full again then, which is in its favour.
    """

    def __init__(self, per_hour: int, burst: int, most: int = 1 << 18) -> None:
        self._per_hour = per_hour
        self._burst = float(burst)
        self._most = most
        self._buckets: OrderedDict[str, token_bucket.Bucket] = OrderedDict()

    def take(self, key: str, count: int, now: float) -> float:
        """Takes `count` tokens: 0 if they were there; else none is taken, and the seconds until they are there.

        now: monotonic seconds. More tokens than a bucket holds are taken from a full one.
        """
        tokens = token_bucket.level(self._buckets.pop(key, None), self._burst, self._per_hour, now)
        missing = min(count, self._burst) - tokens
        self._buckets[key] = (tokens if missing > 0 else tokens - min(count, self._burst), now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return missing * 3600 / self._per_hour if missing > 0 else 0.0

    def give_back(self, key: str, count: int) -> None:
        """Returns tokens that were taken for something that does not count."""
        if key in self._buckets:
            tokens, then = self._buckets[key]
            self._buckets[key] = min(self._burst, tokens + count), then

    def __len__(self) -> int:
        return len(self._buckets)


def source(address: str) -> str:
    """What limits count as one source: an IPv4 address, or an IPv6 /64. "unix" for anything else."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "unix"
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or int(parsed) >> 64)
