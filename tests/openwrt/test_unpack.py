"""Source archives, with the tarfile of each Python: nothing of them lands outside the folder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tools.ipk.unpack import UnpackError, unpack


def made(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as out:
        for member in members:
            member.size = 3 if member.isreg() else 0
            out.addfile(member, io.BytesIO(b"abc") if member.isreg() else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.uid = kind, mode, target, 12345
    return info


def test_files_and_folders(tmp_path: Path) -> None:
    archive = made(tmp_path / "a.tgz", member("x", tarfile.DIRTYPE, 0o700), member("x/y", mode=0o6777), member("x/z"))
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "x" / "y").read_bytes() == b"abc"
    assert (tmp_path / "out" / "x" / "y").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "out" / "x" / "z").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "out" / "x" / "z").stat().st_uid != 12345


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/x"),
        member("../x"),
        member("a/../../x"),
        member("l", tarfile.SYMTYPE, target="/etc"),
        member("l", tarfile.LNKTYPE, target="../x"),
        member("f", tarfile.FIFOTYPE),
        member("d", tarfile.CHRTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.type!r}",
)
def test_what_a_source_archive_does_not_have(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    archive = made(tmp_path / "a.tgz", member("good"), bad)
    with pytest.raises(UnpackError, match=r"^a\.tgz: '.*' is not a file or folder below it$"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "x").exists()
