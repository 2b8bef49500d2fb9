"""Bytes with their checksum, as files of the router have them, and the error for files that cannot be used.

Knows sums of bytes. Must not know what the bytes mean. A file is read completely or not at all. The checksum is the
bytes, as one number, modulo a prime: 30 bits, in one pass of C. Saves 130 kB: zlib's library, which CRC-32 comes with.
"""

from __future__ import annotations

#: The largest prime below 2**30: one digit of Python's integers (CPython: PyLong_SHIFT), so the division is one pass.
_PRIME = (1 << 30) - 35


class CorruptStateError(ValueError):
    """These bytes cannot be used. The text says what is wrong with them."""


def checksum(content: bytes | bytearray, before: int = 0) -> int:
    """Of bytes that follow those whose checksum is `before`. Four bytes hold it."""
    return (before * pow(256, len(content), _PRIME) + int.from_bytes(content, "big")) % _PRIME


def is_checksum(number: int, content: bytes) -> bool:
    """Whether a file with this number is whole. Earlier versions wrote the CRC-32, and an upgrade keeps files."""
    if number == checksum(content):
        return True
    from binascii import crc32  # for such a file, and a damaged one

    return number == crc32(content)


def with_checksum(content: bytes) -> bytes:
    """Adds a line with the checksum of all before it."""
    return content + b"%08x\n" % checksum(content)


def without_checksum(data: bytes) -> bytes:
    """What `with_checksum` was given. Raises `CorruptStateError`."""
    content, line = data[:-9], data[-9:]
    try:
        number = int(line, 16)
    except ValueError:
        number = -1
    if line != b"%08x\n" % number or not is_checksum(number, content):
        raise CorruptStateError("cut short or damaged")
    return content
