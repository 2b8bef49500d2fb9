"""Inputs as streams of bytes: files, pipes and standard input, with whatever compresses them undone on the way.

Knows file descriptors and compression. Must not know capture formats. Nothing seeks, so a pipe is as good as a file.
No length in an input decides how much memory is taken: data is unpacked in pieces, as the reader asks for it.
"""

from __future__ import annotations

import bz2
import lzma
import os
import select
import stat
import time
import zlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

from cpe_filter.replay.interrupt import Interrupt

#: Bytes that are read at once, from a file and from compressed data.
CHUNK, PACKED = 1 << 16, 1 << 13
#: How often an input may be compressed: `.pcap.gz` in `.xz` is two.
LAYERS = 4
#: What an xz or zstd input may ask for, bytes: the highest preset of xz takes 65 MiB, zstd without --ultra 8 MiB.
WINDOW = 1 << 27
#: How often a file that is followed is looked at, seconds.
_POLL_S = 0.2

Read = Callable[[int], bytes]


class InputError(ValueError):
    """An input that cannot be read as a stream; the text says why."""


class Stream:
    """Bytes in order, with a look ahead. `data[at:]` is what is ahead; hot loops use it and put `at` back.

    read_some: gives up to so many bytes, at least one unless it has ended.
    """

    __slots__ = ("_base", "_read_some", "at", "data")

    def __init__(self, read_some: Read) -> None:
        self._read_some = read_some
        self._base = 0
        self.data = b""
        self.at = 0

    @property
    def position(self) -> int:
        """How many bytes have been taken."""
        return self._base + self.at

    def fill(self, size: int) -> int:
        """Looks ahead for `size` bytes; returns how many are ahead: fewer only at the end. Changes `data` and `at`."""
        have = len(self.data) - self.at
        if have >= size:
            return have
        pieces = [self.data[self.at :]]
        while have < size:
            piece = self._read_some(CHUNK)
            if not piece:
                break
            pieces.append(piece)
            have += len(piece)
        self._base += self.at
        self.data, self.at = b"".join(pieces), 0
        return have

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end. They stay ahead."""
        self.fill(size)
        return self.data[self.at : self.at + size]

    def read(self, size: int) -> bytes:
        """Takes `size` bytes, fewer at the end."""
        found = self.peek(size)
        self.at += len(found)
        return found

    def read_some(self, size: int) -> bytes:
        """Takes what is there, at most `size` bytes; nothing only at the end. Waits for one byte at most."""
        self.fill(1)
        found = self.data[self.at : self.at + size]
        self.at += len(found)
        return found

    def skip(self, size: int) -> int:
        """Steps over `size` bytes in pieces; returns how many there were."""
        left = size
        while left and self.fill(1):
            step = min(left, len(self.data) - self.at)
            self.at += step
            left -= step
        return size - left


class _Decompressor(Protocol):
    """What bz2, lzma, zstd and lz4 have in common (PEP 784)."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib in the same shape."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


class Compression(NamedTuple):
    """magic: how it begins. unpack: the command that undoes it. make: its decompressor, or ImportError."""

    name: str
    magic: bytes
    unpack: str
    make: Callable[[], _Decompressor]


def _zstd() -> _Decompressor:
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        from backports import zstd
    option = {zstd.DecompressionParameter.window_log_max: WINDOW.bit_length() - 1}
    made: _Decompressor = zstd.ZstdDecompressor(options=option)
    return made


def _lz4() -> _Decompressor:
    from lz4.frame import LZ4FrameDecompressor

    made: _Decompressor = LZ4FrameDecompressor()
    return made


COMPRESSIONS = (
    Compression("gzip", b"\x1f\x8b", "gzip -dc", _Gzip),
    Compression("xz", b"\xfd7zXZ\0", "xz -dc", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, WINDOW)),
    Compression("lzma", b"\x5d\0\0", "xz -dc", lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, WINDOW)),
    Compression("bzip2", b"BZh", "bzip2 -dc", bz2.BZ2Decompressor),
    Compression("zstd", b"\x28\xb5\x2f\xfd", "zstd -dc", _zstd),
    Compression("lz4", b"\x04\x22\x4d\x18", "lz4 -dc", _lz4),
)


class _Unpacked:
    """A compressed stream, member by member. What is wrong with it goes to `warn`, and ends it."""

    def __init__(self, packed: Stream, how: Compression, warn: Callable[[str], None]) -> None:
        self._packed, self._how, self._warn = packed, how, warn
        self._member: _Decompressor | None = how.make()
        self._ended = False

    def read_some(self, size: int) -> bytes:
        while not self._ended:
            if self._member is None and not self._begin():
                break
            piece = self._unpack(size)
            if piece:
                return piece
        return b""

    def _begin(self) -> bool:
        """Begins with the next member, if there is one."""
        packed = self._packed
        step_over_skippable(packed)
        if packed.peek(len(self._how.magic)) == self._how.magic:
            self._member = self._how.make()
            return True
        while packed.fill(1) and not packed.data[packed.at :].strip(b"\0"):
            packed.skip(len(packed.data) - packed.at)  # padding, as tapes and xz have it
        if packed.fill(1):
            self._end(f"what follows byte {packed.position} is something else and was left out")
        self._ended = True
        return False

    def _unpack(self, size: int) -> bytes:
        member, packed = self._member, self._packed
        assert member is not None  # noqa: S101
        try:
            data = packed.read_some(PACKED) if member.needs_input else b""
            if member.needs_input and not data:
                self._end("it is cut off")
                return b""
            piece = member.decompress(data, max_length=size)
        except Exception as error:  # each library has its own, and they have no base in common
            self._end(str(error) or type(error).__name__)
            return b""
        if member.eof:
            packed.at -= len(member.unused_data or b"")
            self._member = None
        return piece

    def _end(self, reason: str) -> None:
        self._ended = True
        self._warn(f"damaged {self._how.name} data: {reason}")


def step_over_skippable(stream: Stream) -> None:
    """Steps over frames of zstd and lz4 that have no data (RFC 8878 section 3.1.2)."""
    while (head := stream.peek(8))[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50 and len(head) == 8:
        stream.skip(8 + int.from_bytes(head[4:], "little"))


def unpacked(stream: Stream, warn: Callable[[str], None]) -> Stream:
    """What is in a stream, whatever compresses it. Raises `InputError` for a missing library or too many layers."""
    for _ in range(LAYERS + 1):
        step_over_skippable(stream)
        head = stream.peek(6)
        how = next((how for how in COMPRESSIONS if head.startswith(how.magic)), None)
        if how is None:
            return stream
        try:
            stream = Stream(_Unpacked(stream, how, warn).read_some)
        except ImportError:
            raise InputError(
                f"compressed with {how.name}, which needs pip install 'cpe-filter[replay]'; "
                f"or unpack it: {how.unpack} FILE | cpe-filter replay -"
            ) from None
    raise InputError(f"compressed more than {LAYERS} times")


class Reading(NamedTuple):
    """How inputs are read.

    follow: at the end of a file more is waited for, as in `tail -F`. interrupt: ends it. progress: called for each
    piece that was read.
    """

    follow: bool = False
    interrupt: Interrupt | None = None
    progress: Callable[[Input], None] | None = None


class Input:
    """An open input. stream: its bytes, as they are. size: of the file in bytes, None for a pipe. taken: read so far.

    replaced: it was followed, and its name is another file's by now.
    Raises `OSError`, and `InputError` for a terminal.
    """

    def __init__(self, path: str, reading: Reading = Reading()) -> None:  # noqa: B008
        self.path = path
        self._file = open(0, "rb", 0, closefd=False) if path == "-" else open(path, "rb", 0)  # noqa: SIM115
        if self._file.isatty():
            self.close()
            raise InputError("it is a terminal; pipe a capture into it, as in `tcpdump -U -w - | cpe-filter replay -`")
        status = os.fstat(self._file.fileno())
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._reading = reading
        self._follow = reading.follow and self.size is not None
        if reading.follow:
            self.size = None
        self.taken = 0
        self.replaced = False
        self.stream = Stream(self._read_some)

    @property
    def interrupted(self) -> bool:
        return self._reading.interrupt is not None and self._reading.interrupt.happened

    def close(self) -> None:
        self._file.close()

    def _read_some(self, size: int) -> bytes:
        interrupt = self._reading.interrupt
        piece = interrupt.waiting(lambda: self._wait(size)) if interrupt else self._wait(size)
        if self._reading.progress:
            self._reading.progress(self)
        return piece

    def _wait(self, size: int) -> bytes:
        while True:
            piece = self._file.read(size)
            if piece:
                self.taken += len(piece)
                return piece
            if piece is None:  # whoever has started us left the pipe non-blocking
                select.select([self._file], [], [])
            elif self._follow and not self._is_replaced():
                time.sleep(_POLL_S)
            else:
                return b""

    def _is_replaced(self) -> bool:
        """Whether the name is another file's by now, or the file was cut to its beginning: this one has ended."""
        ours = os.fstat(self._file.fileno())
        try:
            there = os.stat(self.path)
        except OSError:
            return False  # between two names
        self.replaced = (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino) or ours.st_size < self.taken
        return self.replaced


def label(path: str) -> str:
    """An input's name for people."""
    return "standard input" if path == "-" else path
