"""What the stand-ins for the SDK's rules have done."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tools.ipk import steps


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("lib/a.py", "lib/b.py", "lib/c/d.py", "bin/x"):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "source"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("filespec", "there"),
    [
        ("+|/lib", ["lib/a.py", "lib/b.py", "lib/c/d.py"]),
        ("\n+|/lib\n\n  -|/lib/c \n", ["lib/a.py", "lib/b.py"]),
        ("+|/lib\n-|/lib/[ab].py", ["lib/c/d.py"]),
        ("+|/lib/a.py\n+|/bin/x", ["bin/x", "lib/a.py"]),
    ],
)
def test_files_are_picked_in_turn(source: Path, tmp_path: Path, filespec: str, there: list[str]) -> None:
    steps.pick(filespec, source, tmp_path / "target")
    assert files(tmp_path / "target") == there


@pytest.mark.parametrize(
    ("filespec", "says"),
    [
        ("+|/gone", "filespec: +|/gone: there is no such file\n"),
        ("+|/lib\n-|/lib/gone", "filespec: -|/lib/gone: there is no such file\n"),
        ("=|/lib|0644|0755", "filespec: =|/lib|0644|0755: only + and - are known here\n"),
    ],
)
def test_what_matches_nothing_is_an_error(
    source: Path, tmp_path: Path, filespec: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        steps.pick(filespec, source, tmp_path / "target")
    assert capsys.readouterr().err == says


def archive(path: Path) -> str:
    """Writes a source archive; its SHA-256."""
    with tarfile.open(path, "w:gz") as opened:
        info = tarfile.TarInfo("p-1/p.py")
        info.size = 2
        opened.addfile(info, io.BytesIO(b"x\n"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_archive_is_unpacked_if_it_is_the_one_that_is_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sha256 = archive(tmp_path / "p-1.tar.gz")
    steps.unpack("p==1", tmp_path / "p-1.tar.gz", sha256, tmp_path / "out")
    assert files(tmp_path / "out") == ["p-1/p.py"]
    with pytest.raises(SystemExit, match="1"):
        steps.unpack("p==1", tmp_path / "p-1.tar.gz", "0" * 64, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert capsys.readouterr().err == f"p-1.tar.gz is not what the recipe means: its SHA-256 is {sha256}\n"
