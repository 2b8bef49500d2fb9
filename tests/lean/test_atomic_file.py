"""A file that replaces another in one step: permissions, and the name of the temporary file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpe_filter.lean.atomic_file import AtomicFile


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize(("masked", "mode"), [(False, 0o640), (True, 0o600)])
@pytest.mark.usefixtures("umask")
def test_permissions_and_the_umask(tmp_path: Path, masked: bool, mode: int) -> None:
    path = tmp_path / "file"
    file = AtomicFile(str(path), 0o640, masked=masked)
    file.write(b"new")
    file.finish(durable=True)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)


def test_a_temporary_file_of_another_name(tmp_path: Path) -> None:
    path, temporary = tmp_path / "file", tmp_path / ".file.7.new"
    temporary.write_bytes(b"of a run that was killed")
    file = AtomicFile(str(path), temporary=str(temporary))
    file.write(b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == [".file.7.new"]
    file.finish()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"new"


def test_a_file_in_a_folder_that_is_held_open(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    folder = os.open(tmp_path / "a", os.O_RDONLY)
    (tmp_path / "a").rename(tmp_path / "b")
    for finish in (True, False):
        file = AtomicFile("file", folder=folder)
        file.write(b"new")
        if finish:
            file.finish(durable=True)
        else:
            file.abandon()
        assert [entry.name for entry in (tmp_path / "b").iterdir()] == ["file"]
    os.close(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_the_group_that_may_read(tmp_path: Path) -> None:
    file = AtomicFile(str(tmp_path / "file"), 0o640, group=65534)
    file.finish()
    about = (tmp_path / "file").stat()
    assert (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) == (0, 65534, 0o640)
