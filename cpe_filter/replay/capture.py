"""Capture files -> frames.

Knows pcap and pcapng. Must not know link layers (`layers` does), TCP or SMTP. dpkt reads pcap's headers. The walk from
block to block and pcapng's options are read here, for three reasons: a damaged file must give what can be read, several
interfaces of one pcapng must be distinguished, and no length field may decide how much memory or time is taken.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal, NamedTuple, cast

MAX_RECORD = 1 << 20

Warn = Callable[[str], None]


class CaptureError(ValueError):
    """A file that cannot be used as a capture at all."""


class Frame(NamedTuple):
    """time: POSIX seconds. link: LINKTYPE number. data: what was kept of the frame. length: on the wire."""

    time: float
    link: int
    data: bytes
    length: int


def frames(path: str, warn: Warn) -> Iterator[Frame]:
    """Reads a pcap or pcapng file (also gzip'd). Damage after the first packets is a warning, then the end.

    Raises `CaptureError` for a file that is not a capture, `OSError` for one that cannot be read.
    """
    with open(path, "rb") as plain:
        head = plain.read(4)
        plain.seek(0)
        file: BinaryIO = cast(BinaryIO, gzip.GzipFile(fileobj=plain)) if head[:2] == b"\x1f\x8b" else plain
        usable = False
        try:
            if file is not plain:
                head = file.read(4)
                file.seek(0)
            if not head:
                raise CaptureError("the file is empty")
            for frame in (_pcapng if head == b"\x0a\x0d\x0d\x0a" else _pcap)(file, warn):
                usable = True
                yield frame
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            if not usable:
                raise CaptureError(f"damaged gzip data: {error}") from None
            warn(f"damaged gzip data: {error}")


def _pcap(file: BinaryIO, warn: Warn) -> Iterator[Frame]:
    from dpkt import pcap

    head = file.read(24)
    if len(head) < 24:
        raise CaptureError("not a capture: too short for a pcap or pcapng header")
    header = pcap.FileHdr(head)
    if header.magic not in pcap.MAGIC_TO_PKT_HDR:
        raise CaptureError("not a capture: neither pcap nor pcapng")
    record = pcap.MAGIC_TO_PKT_HDR[header.magic]
    nano = header.magic in (pcap.TCPDUMP_MAGIC_NANO, pcap.PMUDPCT_MAGIC_NANO)
    if header.magic in (pcap.PMUDPCT_MAGIC, pcap.PMUDPCT_MAGIC_NANO, pcap.PACPDOM_MAGIC):
        header = pcap.LEFileHdr(head)
    link = header.linktype & 0x03FFFFFF  # the upper bits describe a frame check sequence
    scale = 1e9 if nano else 1e6
    size = record.__hdr_len__
    number = 0
    while head := file.read(size):
        number += 1
        if len(head) < size:
            return warn(f"cut off in the header of packet {number}")
        fields = record(head)
        if fields.caplen > MAX_RECORD:
            return warn(f"damaged at packet {number}: a length of {fields.caplen} bytes")
        data = file.read(fields.caplen)
        yield Frame(fields.tv_sec + fields.tv_usec / scale, link, data, max(fields.len, fields.caplen))
        if len(data) < fields.caplen:
            return warn(f"cut off within packet {number}")


_END_OF_OPTIONS, _IF_TSRESOL, _IF_TSOFFSET = 0, 9, 14


class _Interface(NamedTuple):
    link: int
    scale: float
    offset: int
    snaplen: int


def _pcapng(file: BinaryIO, warn: Warn) -> Iterator[Frame]:
    little = True
    interfaces: list[_Interface | None] = []  # None: described, but unreadable
    at = 0
    while head := file.read(8):
        if len(head) < 8 and at:
            return warn(f"cut off at byte {at}")
        kind = int.from_bytes(head[:4], "little" if little else "big")
        if head[:4] == b"\x0a\x0d\x0d\x0a":
            kind = 0x0A0D0D0A
            order = file.read(4)
            if order not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
                if at:
                    return warn(f"damaged at byte {at}: a section without byte order")
                raise CaptureError("not a capture: a pcapng header without byte order")
            little = order[0] == 0x4D
            head += order
            interfaces = []
        block = _block(file, head, at, "little" if little else "big", warn)
        if block is None:
            return
        try:
            if kind == 1:
                interfaces.append(None)
                interfaces[-1] = _interface(block, little)
            elif kind in (2, 3, 6):
                yield _packet(kind, block, little, interfaces)
        except _BlockError as error:
            warn(f"damaged block at byte {at} left out: {error}")
        at += len(block)


def _block(file: BinaryIO, head: bytes, at: int, order: Literal["little", "big"], warn: Warn) -> bytes | None:
    """The whole block that begins with `head` at byte `at`. None, after a warning, if it is damaged or cut off.

    In the first block, which tells what file this is, that raises `CaptureError`.
    """
    length = int.from_bytes(head[4:8], order)
    if length < 12 or length % 4 or length > MAX_RECORD:
        if not at:
            raise CaptureError(f"not a capture: a pcapng header of {length} bytes")
        warn(f"damaged at byte {at}: a block of {length} bytes")
        return None
    block = head + file.read(length - len(head))
    if len(block) < length:
        if not at:
            raise CaptureError("not a capture: a pcapng file cut off in its header")
        warn(f"cut off within the block at byte {at}")
        return None
    return block


class _BlockError(ValueError):
    pass


def _interface(block: bytes, little: bool) -> _Interface:
    def number(at: int, size: int) -> int:
        return int.from_bytes(block[at : at + size], "little" if little else "big")

    at, end = 16, len(block) - 4
    if end < at:
        raise _BlockError("too short for an interface")
    scale, offset = 1e6, 0
    while at + 4 <= end:
        code, size = number(at, 2), number(at + 2, 2)
        data = block[at + 4 : min(at + 4 + size, end)]
        if code == _END_OF_OPTIONS:
            break
        if code == _IF_TSRESOL and data:
            scale = float((2 if data[0] & 0x80 else 10) ** min(data[0] & 0x7F, 60))
        elif code == _IF_TSOFFSET and len(data) == 8:
            offset = int.from_bytes(data, "little" if little else "big", signed=True)
        at += 4 + (size + 3) // 4 * 4
    return _Interface(number(8, 2), scale, offset, number(12, 4))


def _packet(kind: int, block: bytes, little: bool, interfaces: list[_Interface | None]) -> Frame:
    order = "little" if little else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(block[at : at + size], "little" if order == "little" else "big")

    start = {2: 28, 3: 12, 6: 28}[kind]
    if len(block) < start + 4:
        raise _BlockError("too short for a packet")
    index = 0 if kind == 3 else number(8, 4 if kind == 6 else 2)
    interface = interfaces[index] if index < len(interfaces) else None
    if interface is None:
        raise _BlockError(f"a packet of interface {index}, which is not described")
    if kind == 3:  # no time, no captured length
        length = number(8, 4)
        kept = min(length, len(block) - start - 4, interface.snaplen or MAX_RECORD)
        return Frame(0.0, interface.link, block[start : start + kept], length)
    ticks = number(12, 4) << 32 | number(16, 4)
    kept, length = number(20, 4), number(24, 4)
    if kept > len(block) - start - 4:
        raise _BlockError(f"a packet of {kept} bytes in a block of {len(block)}")
    time = interface.offset + ticks / interface.scale
    if not 0 <= time < 1e11:
        time = 0.0
    return Frame(time, interface.link, block[start : start + kept], max(length, kept))
