"""The reader of .ipk files refuses what a router would: or it would prove nothing."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.openwrt import ipk
from tools.ipk import archive
from tools.ipk.archive import Member
from tools.ipk.error import RecipeError
from tools.ipk.recipe import Package

CONTROL = (
    "Package: p\nVersion: 1\nDepends: libc\nLicense: MIT\nSection: net\nArchitecture: all\n"
    "Installed-Size: 10240\nDescription: P\n"
)
FILES = [Member("", 0o755, None), Member("etc", 0o755, None), Member("etc/p", 0o644, b"x")]


def packed(
    files: list[Member] = FILES,
    about: tuple[Member, ...] = (),
    control: str = CONTROL,
    names: tuple[str, ...] = ("debian-binary", "data.tar.gz", "control.tar.gz"),
    tar: Callable[[list[Member]], bytes] = lambda members: archive.tar(members, 0),
) -> bytes:
    inside = sorted([Member("", 0o755, None), Member("control", 0o644, control.encode()), *about])
    parts = {
        "debian-binary": b"2.0\n",
        "data.tar.gz": archive.gzip(tar(files)),
        "control.tar.gz": archive.gzip(tar(inside)),
    }
    return archive.gzip(tar([Member(name, 0o644, parts[name]) for name in names]))


def pax(members: list[Member]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as opened:
        for member in members:
            info = tarfile.TarInfo(f"./{member.path}")
            info.pax_headers = {"comment": "more than a header holds"}
            info.size = len(member.content or b"")
            info.type = tarfile.DIRTYPE if member.content is None else tarfile.REGTYPE
            opened.addfile(info, io.BytesIO(member.content or b""))
    return out.getvalue()


def owned(members: list[Member]) -> bytes:
    data = archive.tar(members, 0)
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as new,
    ):
        for info in old:
            info.uid, info.name = 1000, info.name if info.name.startswith(".") else f"./{info.name}"
            new.addfile(info, old.extractfile(info))
    return out.getvalue()


def test_it_reads_what_is_right() -> None:
    package = ipk.read(packed())
    assert (package.files["/etc/p"].content, package.control["Package"]) == (b"x", "p")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: b"!<arch>\ndebian-binary", "not gzip"),
        (lambda: packed()[:-9], "cut short"),
        (lambda: gzip.compress(gzip.decompress(packed()), mtime=5), "a time in its gzip header"),
        (lambda: packed(names=("debian-binary", "control.tar.gz", "data.tar.gz")), "its members are"),
        (lambda: packed(tar=pax), "not a GNU tar"),
        (lambda: packed(tar=owned), "is not root's"),
        (lambda: packed([FILES[0], FILES[2]]), "/etc is no member before /etc/p"),
        (lambda: packed([FILES[0], FILES[1], FILES[1]]), "is there twice"),
        (lambda: packed([*FILES, Member("a", 0o644, b"")]), "not in order"),
        (lambda: packed([*FILES[:2], Member("etc/p", 0o666, b"x")]), "has the mode 666"),
        (lambda: packed(about=(Member("conffiles", 0o644, b"/etc/q\n"),)), "conffiles names /etc/q"),
        (lambda: packed(about=(Member("postinst", 0o644, b"#!/bin/sh\n"),)), "postinst is no script"),
        (lambda: packed(control=CONTROL.replace("Version: 1\n", "")), "control has no Version"),
        (lambda: packed(control=CONTROL.replace("10240", "1")), "Installed-Size"),
        (lambda: packed(control=CONTROL + "nonsense\n"), "control: 'nonsense'"),
        (lambda: packed([*FILES, Member("etc/" + "q" * 120, 0o644, b"")]), "long names"),
    ],
)
def test_it_refuses_what_is_wrong(data: Callable[[], bytes], says: str) -> None:
    with pytest.raises(ipk.PackageError, match=says.replace("(", r"\(")):
        ipk.read(data())


def test_links_are_not_packed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    package = Package("p", "1-r1", "all", (), (), (), "net", "P", "", "MIT", "", "x", {}, tmp_path)
    with pytest.raises(RecipeError, match="only files and folders can be packed"):
        archive.ipk(package, 0)
