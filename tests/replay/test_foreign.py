"""Other files are named, with what to do about them; captures are not taken for others."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zipfile

import pytest

from cpe_filter.replay import foreign
from tests import build


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.pcap", b"x")
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("a.pcap")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"data"))
    return file.getvalue()


def _erf(kind: int = 2, count: int = 3) -> bytes:
    record = struct.pack("<II", 0, 1_790_000_000) + struct.pack(">BBHHH", kind, 4, 88, 0, 70) + bytes(72)
    return record * count


#: An event trace's first buffer: its size, and at byte 72 the header of the first event.
_ETL = struct.pack("<I", 65536) + bytes(68) + b"\x02\x00\x02\xc0" + bytes(4000)

KNOWN = {
    "snoop": (b"snoop\0\0\0\0\0\0\2\0\0\0\4", "snoop", "editcap"),
    "netmon 1": (b"RTSS" + bytes(60), "Network Monitor", "editcap"),
    "netmon 2": (b"GMBU" + bytes(60), "Network Monitor", "editcap"),
    "sniffer": (b"TRSNIFF data    \x1a" + bytes(60), "Sniffer", "editcap"),
    "etl": (_ETL, "event trace of Windows", "etl2pcapng"),
    "erf": (_erf(), "ERF", "editcap"),
    "erf, one record": (_erf(count=1), "ERF", "editcap"),
    "zip": (_zip(), "zip", "unzip -p"),
    "tar": (_tar(), "tar", "tar -xOf"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(60), "7z", "7z x -so"),
    "rar": (b"Rar!\x1a\x07\x01\0" + bytes(60), "rar", "unrar"),
    "compress": (b"\x1f\x9d\x90" + bytes(60), "compress", "gzip -dc"),
    "lzop": (b"\x89LZO\0\r\n\x1a\n" + bytes(60), "lzop", "lzop -dc"),
    "html": (b"\n<!DOCTYPE html><html>", "HTML", "download"),
    "html, utf-8 with a mark": (b"\xef\xbb\xbf<html>", "HTML", "download"),
    "xml": (b'<?xml version="1.0"?><pdml>', "XML", "pcapng"),
    "json": (b' [{"_index": "packets"}]', "JSON", "pcapng"),
    "text": (b"12:00:00.000000 IP 192.0.2.1.40000 > 198.51.100.25.25: Flags [S]", "text", "tcpdump -w"),
    "text, cut in a character": ("12:00 größere Übung ü".encode()[:-1], "text", "tcpdump -w"),
    "utf-16": ("Time,Source,Destination".encode("utf-16"), "text", "tcpdump -w"),
    "sqlite": (b"SQLite format 3\0" + bytes(60), "SQLite", ""),
    "elf": (b"\x7fELF" + bytes(60), "program", ""),
}


@pytest.mark.parametrize("name", KNOWN)
def test_other_formats_are_named_with_a_remedy(name: str) -> None:
    data, says, remedy = KNOWN[name]
    found = foreign.described(data[: foreign.HEAD])
    assert found is not None
    assert says in found.text
    assert remedy in found.text
    assert "\n" not in found.text
    assert found.holds_packets == bool(remedy and "-w" not in remedy and remedy not in ("download", "pcapng"))


def test_what_is_nothing_is_not_named() -> None:
    chance = random.Random(1)
    named = [foreign.described(chance.randbytes(foreign.HEAD)) for _ in range(5000)]
    assert sum(text is not None for text in named) < 50
    assert foreign.described(b"") is None
    assert foreign.described(bytes(4096)) is None


def test_captures_are_not_taken_for_others() -> None:
    for kind in build.PCAP_KINDS:
        for order in "<>":
            assert foreign.described(build.pcap(build.frames(build.session()), kind=kind, order=order)) is None


def test_heads_of_any_length_are_looked_at() -> None:
    for data, *_ in KNOWN.values():
        for size in range(120):
            foreign.described(data[:size])
