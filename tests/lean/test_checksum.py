"""The checksum of a router's files: in pieces as in one, and different for what happens to files."""

from __future__ import annotations

import random
from binascii import crc32

import pytest

from cpe_filter.lean.checksum import CorruptStateError, checksum, with_checksum, without_checksum

CONTENT = random.Random(4).randbytes(5000)


def test_pieces_have_the_checksum_of_the_whole() -> None:
    found = 0
    for at in (0, 1, 1, 700, 4096, 5000):
        found = checksum(CONTENT[:at], 0)
        assert checksum(CONTENT[at:], found) == checksum(CONTENT) < 1 << 30
    assert checksum(b"", found) == found


def test_it_is_the_same_in_every_process() -> None:
    """Files outlive the process that wrote them: unlike hash()."""
    assert checksum(b"cpe-filter state") == int.from_bytes(b"cpe-filter state", "big") % (2**30 - 35) == 528373821


def damaged() -> dict[str, bytes]:
    bits = bytearray(CONTENT)
    bits[4321] ^= 4
    swapped = CONTENT[512:1024] + CONTENT[:512] + CONTENT[1024:]
    return {
        "a bit": bytes(bits),
        "cut": CONTENT[:-1],
        "longer": CONTENT + b"\0",
        "blocks swapped": swapped,
        "a block of zeros": CONTENT[:512] + bytes(512) + CONTENT[1024:],
    }


@pytest.mark.parametrize("what", damaged())
def test_damage_is_found(what: str) -> None:
    line = with_checksum(CONTENT)[-9:]
    with pytest.raises(CorruptStateError, match="cut short or damaged"):
        without_checksum(damaged()[what] + line)


def test_each_bit_counts() -> None:
    content = CONTENT[:300]
    wanted = checksum(content)
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        assert checksum(bytes(changed)) != wanted


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_what_was_written_is_read(content: bytes) -> None:
    assert without_checksum(with_checksum(content)) == content


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_what_an_earlier_version_wrote_is_read(content: bytes) -> None:
    """With CRC-32: an upgrade keeps the files."""
    data = content + b"%08x\n" % crc32(content)
    assert without_checksum(data) == content
    if content:
        with pytest.raises(CorruptStateError, match="cut short or damaged"):
            without_checksum(content[:-1] + b"\xff" + data[-9:])


@pytest.mark.parametrize("data", [b"", b"\n", b"0000000\n", b"00000001\n", b"zzzzzzzz\n", b"-0000001\n", b"0_000000\n"])
def test_what_has_no_checksum_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptStateError):
        without_checksum(data)
