"""Reads .ipk files as strictly as the strictest of their readers, and unpacks them.

Knows the format from what opkg accepts: a gzip'd GNU tar of ./debian-binary, ./data.tar.gz and ./control.tar.gz. Reads
headers by hand: a library would forgive what a router does not. Has nothing of the code under test.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

_FOLDER, _FILE = b"5", b"0"


class PackageError(Exception):
    """The text says what a router would not take."""


class Member(NamedTuple):
    """As a header has it. content: None for a folder."""

    name: str
    mode: int
    time: int
    content: bytes | None


class Ipk(NamedTuple):
    control: dict[str, str]
    files: dict[str, Member]
    scripts: dict[str, str]
    conffiles: list[str]
    time: int

    def unpack(self, root: Path) -> None:
        """As opkg does into an offline root, scripts apart."""
        for name, member in self.files.items():
            path = root / name.lstrip("/")
            if member.content is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.write_bytes(member.content)
            path.chmod(member.mode)


def read(data: bytes) -> Ipk:
    """Raises `PackageError`."""
    outer = _members(_gunzip(data, "the package"))
    names = [member.name for member in outer]
    if names != ["./debian-binary", "./data.tar.gz", "./control.tar.gz"]:
        raise PackageError(f"its members are {names}")
    version, packed, about = (member.content or b"" for member in outer)
    if version != b"2.0\n":
        raise PackageError(f"debian-binary is {version!r}")
    files = _tree(_members(_gunzip(packed, "data.tar.gz")), "data.tar.gz")
    inner = _tree(_members(_gunzip(about, "control.tar.gz")), "control.tar.gz")
    texts = {name[1:]: (member.content or b"").decode() for name, member in inner.items() if member.content is not None}
    control = _control(texts.pop("control", ""))
    conffiles = texts.pop("conffiles", "").splitlines()
    for path in conffiles:
        if path not in files or files[path].content is None:
            raise PackageError(f"conffiles names {path}, which is not there")
    for name, text in texts.items():
        if not text.startswith("#!/bin/sh\n") or inner["/" + name].mode != 0o755:
            raise PackageError(f"{name} is no script that can be run")
    times = {member.time for member in (*outer, *files.values(), *inner.values())}
    if len(times) != 1:
        raise PackageError(f"its members are of {len(times)} times")
    if len(_gunzip(packed, "data.tar.gz")) != int(control["Installed-Size"]):
        raise PackageError("Installed-Size is not the size of data.tar")
    return Ipk(control, files, texts, conffiles, times.pop())


def _gunzip(data: bytes, what: str) -> bytes:
    if data[:4] != b"\x1f\x8b\x08\0":
        raise PackageError(f"{what} is not gzip without a name")
    if data[4:8] != bytes(4):
        raise PackageError(f"{what} has a time in its gzip header")
    packer = zlib.decompressobj(31)
    out = packer.decompress(data) + packer.flush()
    if not packer.eof or packer.unused_data:
        raise PackageError(f"{what} is cut short, or something follows it")
    return out


def _members(data: bytes) -> list[Member]:
    """The members of a GNU tar: plain files and folders with short names, root's, without extensions of any kind."""
    found, at = [], 0
    while data[at : at + 512] != bytes(512):
        header = data[at : at + 512]
        if len(header) != 512:
            raise PackageError("the archive has no end")
        member, size = _header(header)
        content = data[at + 512 : at + 512 + size]
        if len(content) != size:
            raise PackageError(f"{member.name} is cut short")
        found.append(member._replace(content=None if member.content is None else content))
        at += 512 + -(-size // 512) * 512
    if data[at:].strip(b"\0") or len(data) - at < 1024:
        raise PackageError("the archive's end is not two empty blocks")
    return found


def _header(header: bytes) -> tuple[Member, int]:
    name, mode, uid, gid, size, time, checksum, kind, link, magic, user, group = struct.unpack_from(
        "100s8s8s8s12s12s8s1s100s8s32s32s", header
    )
    if magic != b"ustar  \0":
        raise PackageError("not a GNU tar")
    text = name.rstrip(b"\0").decode("ascii")
    if kind not in (_FILE, _FOLDER):
        raise PackageError(f"{text}: a member of type {kind!r}: PAX headers, long names and links are refused")
    if sum(header) - sum(checksum) + 8 * 32 != int(checksum.rstrip(b"\0 "), 8):
        raise PackageError(f"{text}: its checksum is wrong")
    if int(uid.rstrip(b"\0 "), 8) or int(gid.rstrip(b"\0 "), 8):
        raise PackageError(f"{text} is not root's")
    if user.rstrip(b"\0") not in (b"", b"root") or group.rstrip(b"\0") not in (b"", b"root") or link.strip(b"\0"):
        raise PackageError(f"{text} has a name of whoever built it")
    if header[345:].strip(b"\0"):
        raise PackageError(f"{text}: something is behind its header")
    folder = kind == _FOLDER
    if folder != text.endswith("/") or not text.startswith("./") or ".." in text.split("/"):
        raise PackageError(f"{text} is no name for a {'folder' if folder else 'file'}")
    octal = time.rstrip(b"\0 ")
    if not octal.isdigit():
        raise PackageError(f"{text}: its time is no integer")
    member = Member(text, int(mode.rstrip(b"\0 "), 8), int(octal, 8), None if folder else b"")
    return member, int(size.rstrip(b"\0 "), 8)


def _tree(members: list[Member], what: str) -> dict[str, Member]:
    """By path, "/" first. Each folder is there, before what is in it."""
    found: dict[str, Member] = {}
    for member in members:
        path = "/" + member.name[2:].rstrip("/")
        if path in found:
            raise PackageError(f"{what}: {path} is there twice")
        above = path.rpartition("/")[0] or "/"
        if path != "/" and (above not in found or found[above].content is not None):
            raise PackageError(f"{what}: {above} is no member before {path}")
        if member.mode not in ((0o755,) if member.content is None else (0o600, 0o644, 0o755)):
            raise PackageError(f"{what}: {path} has the mode {member.mode:o}")
        found[path] = member
    if list(found) != sorted(found, key=lambda path: path.split("/")):
        raise PackageError(f"{what}: its members are not in order")
    return found


def _control(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        if line.startswith(" ") and last:
            fields[last] += "\n" + line[1:]
            continue
        last, colon, value = line.partition(": ")
        if not colon or last in fields or not value.strip():
            raise PackageError(f"control: {line!r}")
        fields[last] = value
    for name in (
        "Package",
        "Version",
        "Depends",
        "License",
        "Section",
        "Architecture",
        "Installed-Size",
        "Description",
    ):
        if name not in fields:
            raise PackageError(f"control has no {name}")
    return fields
