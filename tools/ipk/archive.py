"""Packages -> .ipk: a gzip'd GNU tar of ./debian-binary, ./data.tar.gz and ./control.tar.gz, in this order.

Knows the format that opkg reads. Must not know recipes, or where files come from. The same files and the same
description give the same bytes, without names, numbers or times of the builder.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tools.ipk.error import RecipeError
from tools.ipk.recipe import Package

#: The time of every member unless SOURCE_DATE_EPOCH gives one: 1980-01-01, the oldest that all archive formats know.
EPOCH = 315532800
#: The scripts of every package: base-files' functions do the work, with the package's own scripts among it.
_POSTINST = """\
#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
default_postinst "$0" "$@"
"""
_PRERM = """\
#!/bin/sh
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
default_prerm "$0" "$@"
"""


class Member(NamedTuple):
    """path: from the root, "etc/config/x"; "" is the root itself. content: None for a folder."""

    path: str
    mode: int
    content: bytes | None


def epoch() -> int:
    """Raises `RecipeError` if SOURCE_DATE_EPOCH is not a time."""
    text = os.environ.get("SOURCE_DATE_EPOCH", str(EPOCH))
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 33):
        raise RecipeError(f"SOURCE_DATE_EPOCH={text}: seconds since 1970 are wanted")
    return int(text)


def members(root: Path) -> list[Member]:
    """What is below a folder, the folder first, by name. Modes are what a package has, whatever umask made them."""
    found = [Member("", 0o755, None)]
    for path in sorted(root.rglob("*")):
        name, mode = str(path.relative_to(root)), path.lstat().st_mode
        if stat.S_ISDIR(mode):
            found.append(Member(name, 0o755, None))
        elif stat.S_ISREG(mode):
            found.append(Member(name, _mode(mode), path.read_bytes()))
        else:
            raise RecipeError(f"{path}: only files and folders can be packed")
    return found


def _mode(mode: int) -> int:
    if mode & 0o111:
        return 0o755
    return 0o644 if mode & 0o044 else 0o600


def tar(these: Iterable[Member], time: int, top: str = "./") -> bytes:
    """A GNU tar, with `top` before each name. Folders are members of their own: opkg loses files whose folder is not
    there."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member in these:
            info = tarfile.TarInfo(f"{top}{member.path}")
            info.mode, info.mtime = member.mode, time
            if member.content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(member.content)
                archive.addfile(info, io.BytesIO(member.content))
    return out.getvalue()


def gzip(data: bytes) -> bytes:
    """RFC 1952, without a name or a time."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    head = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03"
    end = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return head + packer.compress(data) + packer.flush() + end


def control(package: Package, installed: int) -> str:
    """The file `control`; a field without a value is left out. installed: bytes."""
    fields = {
        "Package": package.name,
        "Version": package.version,
        "Depends": ", ".join(package.depends),
        "Conflicts": ", ".join(package.conflicts),
        "Provides": ", ".join(package.provides),
        "Source": package.source,
        "License": package.license,
        "Section": package.section,
        "Require-User": package.user,
        "URL": package.url,
        "Architecture": package.architecture,
        "Installed-Size": str(installed),
        "Description": description(package),
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def description(package: Package) -> str:
    """Its lines; all but the first begin with a space."""
    lines = [line.strip() for line in package.texts.get("description", package.title).strip().splitlines()]
    return "\n ".join(line or "." for line in lines)


def scripts(package: Package) -> dict[str, str]:
    """The maintainer scripts, by their names in control.tar.gz."""
    own = {"preinst": "preinst", "postinst": "postinst-pkg", "prerm": "prerm-pkg", "postrm": "postrm"}
    found = {name: package.texts[text] for text, name in own.items() if text in package.texts}
    return {"postinst": _POSTINST, "prerm": _PRERM} | {name: text.strip() + "\n" for name, text in found.items()}


def conffiles(package: Package, files: Iterable[Member]) -> list[str]:
    """Raises `RecipeError` where one is not in the package."""
    there = {f"/{member.path}" for member in files if member.content is not None}
    for path in package.conffiles:
        if path not in there:
            raise RecipeError(f"{package.name}: conffiles names {path}, which it does not have")
    return package.conffiles


def installed_size(package: Package, time: int) -> int:
    """Bytes, as OpenWrt counts them for `control`: those of the archive of files. A flash file system compresses."""
    return len(tar(members(package.root), time))


def ipk(package: Package, time: int) -> bytes:
    """The whole package. Raises `RecipeError`."""
    files = members(package.root)
    data = tar(files, time)
    kept = conffiles(package, files)
    about = [Member("", 0o755, None), Member("control", 0o644, control(package, len(data)).encode())]
    if kept:
        about.append(Member("conffiles", 0o644, "".join(f"{path}\n" for path in kept).encode()))
    about += [Member(name, 0o755, text.encode()) for name, text in scripts(package).items()]
    about.sort()
    parts = [
        Member("debian-binary", 0o644, b"2.0\n"),
        Member("data.tar.gz", 0o644, gzip(data)),
        Member("control.tar.gz", 0o644, gzip(tar(about, time))),
    ]
    return gzip(tar(parts, time))


def file_name(package: Package) -> str:
    return f"{package.name}_{package.version}_{package.architecture}.ipk"
