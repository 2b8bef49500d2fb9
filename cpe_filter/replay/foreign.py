"""Names what an input is that replay cannot read, and says how to make a capture of it.

Knows how other formats begin (Wireshark's wiretap, file(1)). Must not read them.
"""

from __future__ import annotations

from typing import NamedTuple

#: So many bytes of an input are looked at.
HEAD = 4096

_EDITCAP = "convert it: editcap -F pcapng FILE NEW"
_PIPED = "unpack it: {} | cpe-filter replay -"
_EXPORT = "export the packets themselves as pcapng"


class Format(NamedTuple):
    """magics: one of these stands at byte `at`. remedy: what to do. packets: whether packets may be in it."""

    name: str
    magics: tuple[bytes, ...]
    remedy: str | None = None
    at: int = 0
    packets: bool = True


class Described(NamedTuple):
    """text: what it is, and what to do. holds_packets: whether packets may be in it."""

    text: str
    holds_packets: bool


FORMATS = (
    Format("a snoop capture", (b"snoop\0\0\0",), _EDITCAP),
    Format("a Bluetooth snoop capture", (b"btsnoop\0",)),
    Format("a capture of Microsoft Network Monitor", (b"RTSS", b"GMBU"), _EDITCAP),
    Format("a capture of Sniffer", (b"TRSNIFF data    \x1a", b"XCP\0"), _EDITCAP),
    Format("a capture of Observer", (b"ObserverPktBuffe",), _EDITCAP),
    Format("a capture of EtherPeek or OmniPeek", (b"\x7fver",), _EDITCAP),
    Format("a capture of AIX iptrace", (b"iptrace 1.0", b"iptrace 2.0"), _EDITCAP),
    Format("a capture of Visual Networks", (b"\x05VNF",), _EDITCAP),
    Format("a capture of 5View", (b"\xaa\xaa\xaa\xaa",), _EDITCAP),
    Format(
        "a capture of IXIA",
        (b"\x1c\x00\x01\xac", b"\x1c\x00\x01\xab", b"\xac\x01\x00\x1c", b"\xab\x01\x00\x1c"),
        _EDITCAP,
    ),
    Format("a zip archive", (b"PK\x03\x04", b"PK\x05\x06"), _PIPED.format("unzip -p FILE")),
    Format("a 7z archive", (b"7z\xbc\xaf\x27\x1c",), _PIPED.format("7z x -so FILE")),
    Format("a rar archive", (b"Rar!\x1a\x07",), _PIPED.format("unrar p -inul FILE")),
    Format("a tar archive", (b"ustar",), _PIPED.format("tar -xOf FILE"), 257),
    Format("an ar archive or a Debian package", (b"!<arch>\n",)),
    Format("compressed with compress", (b"\x1f\x9d",), _PIPED.format("gzip -dc FILE")),
    Format("compressed with lzip", (b"LZIP",), _PIPED.format("lzip -dc FILE")),
    Format("compressed with lzop", (b"\x89LZO\0\r\n\x1a\n",), _PIPED.format("lzop -dc FILE")),
    Format("compressed with snappy", (b"\xff\x06\0\0sNaPpY",), _PIPED.format("snzip -dc FILE")),
    Format("compressed with lz4 in its legacy format", (b"\x02\x21\x4c\x18",), _PIPED.format("lz4 -dc FILE")),
    Format("a SQLite database", (b"SQLite format 3\0",), packets=False),
    Format("a PDF document", (b"%PDF-",), packets=False),
    Format("a program", (b"\x7fELF", b"MZ\x90\0"), packets=False),
    Format("a picture", (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8"), packets=False),
)
_TEXTS = (
    ("an HTML page", (b"<!doctype html", b"<html"), "download the capture itself"),
    ("XML, such as PDML of Wireshark", (b"<?xml", b"<pdml", b"<psml"), _EXPORT),
    ("JSON, such as Wireshark exports", (b"{", b"["), _EXPORT),
)


def described(head: bytes) -> Described | None:
    """What an input is that begins with `head`; None if nothing is known of it."""
    for form in FORMATS:
        if head.startswith(form.magics, form.at):
            return Described(f"{form.name}; {form.remedy}" if form.remedy else form.name, form.packets)
    if _is_etl(head):
        text = "an event trace of Windows (.etl); convert it: etl2pcapng FILE NEW, or pktmon etl2pcap FILE"
        return Described(text, True)
    if _is_erf(head):
        return Described(f"an ERF capture of a DAG card; {_EDITCAP}", True)
    known = _text(head)
    return Described(known, False) if known else None


def _text(head: bytes) -> str | None:
    for order, mark in (("utf-8-sig", b"\xef\xbb\xbf"), ("utf-16", b"\xff\xfe"), ("utf-16", b"\xfe\xff")):
        if head.startswith(mark):
            head = head[: len(head) & ~1].decode(order, "replace").encode()
            break
    start = head.lstrip().lower()
    for name, beginnings, remedy in _TEXTS:
        if start.startswith(beginnings):
            return f"{name}; {remedy}"
    if len(head) >= 16 and all(byte >= 32 or byte in b"\t\n\r\f\x1b" for byte in head) and _is_utf8(head):
        return "text, such as tcpdump prints; make a capture: tcpdump -w FILE"
    return None


def _is_utf8(head: bytes) -> bool:
    """Whether it is UTF-8, but for a character that is cut off at its end."""
    for cut in range(4):
        try:
            head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return True
    return False


def _is_etl(head: bytes) -> bool:
    """A buffer's header (its size, a multiple of 1 KiB), and at byte 72 the header of the log file's own event."""
    size = int.from_bytes(head[:4], "little")
    return len(head) > 76 and 0 < size <= 1 << 25 and size % 1024 == 0 and head[74] in (1, 2) and head[75] == 0xC0


def _is_erf(head: bytes) -> bool:
    """Records whose lengths fit, two where that many are here; ERF has no magic.

    Time (its seconds are bytes 4 to 8), type, flags, length of the record, losses, length on the wire.
    """
    at = 0
    for _ in range(2):
        if at and at + 16 > len(head):
            break
        kind, length = head[at + 8 : at + 9], int.from_bytes(head[at + 10 : at + 12], "big")
        seconds = int.from_bytes(head[at + 4 : at + 8], "little")
        if not kind or not 0 < kind[0] & 0x7F <= 48 or not 18 <= length <= 10240 or length % 8:
            return False
        if not 0x30000000 < seconds < 0x80000000:
            return False
        at += length
    return True
