"""Bytes with their CRC-32, as files of the router have them, and the error for files that cannot be used.

Knows nothing of what the bytes mean. A file is read completely or not at all.
"""

from __future__ import annotations

from binascii import crc32


class CorruptStateError(ValueError):
    """These bytes cannot be used. The text says what is wrong with them."""


def with_crc(content: bytes) -> bytes:
    """Adds a line with the CRC-32 of all before it."""
    return content + b"%08x\n" % crc32(content)


def without_crc(data: bytes) -> bytes:
    """What `with_crc` was given. Raises `CorruptStateError`."""
    content, line = data[:-9], data[-9:]
    if line != b"%08x\n" % crc32(content):
        raise CorruptStateError("cut short or damaged")
    return content
