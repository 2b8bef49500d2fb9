"""A document on a router whose file system is full, for real: tmpfs of a few pages, in a mount namespace of its own.

At each number of free pages: the last good policy stays, or the new one is in force, with one clear line; and once
there is room the document is taken.
"""

from __future__ import annotations

import ctypes
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from cpe_filter.outcome import UsageError
from cpe_filter.provision import command
from tests.lab.net import why_not
from tests.provision.test_command import Router, router
from tests.provision.test_disk_faults import CONTENTS, whole

__all__ = ["router"]
OLD, NEW = CONTENTS["policy"]
pytestmark = [pytest.mark.live, pytest.mark.skipif(bool(why_not()), reason=why_not())]
PAGE = os.sysconf("SC_PAGE_SIZE")
_NEWNS, _PRIVATE = 0x20000, 0x44000  # MS_REC | MS_PRIVATE


def apart(work: Callable[[], None], log: Path) -> None:
    """Does the work in a process with a mount namespace of its own, which ends with it; fails as it does."""
    child = os.fork()
    if not child:
        code = 1
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.unshare(_NEWNS) == 0
            assert libc.mount(b"none", b"/", None, _PRIVATE, None) == 0
            work()
            code = 0
        except BaseException:
            log.write_text(traceback.format_exc())
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 0, log.read_text() if log.exists() else f"ended with {code}"


def mount(folder: Path, options: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, f"mode=0755,{options}".encode())
    assert done == 0, os.strerror(ctypes.get_errno())


def unmount(folder: Path) -> None:
    ctypes.CDLL(None, use_errno=True).umount2(str(folder).encode(), 2)


def fill(folder: Path, pages: int) -> None:
    """Leaves so many pages free."""
    state = os.statvfs(folder)
    free = state.f_bfree * state.f_frsize // PAGE
    (folder / "filler").write_bytes(bytes(max(0, free - pages) * PAGE))
    state = os.statvfs(folder)
    assert state.f_bfree * state.f_frsize // PAGE == min(free, pages)


class Said:
    """What is written to stderr, by file descriptor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        sys.stderr = open(path, "w")

    def lines(self) -> list[str]:
        """Since the last call."""
        sys.stderr.flush()
        found = self.path.read_text().splitlines()
        os.truncate(self.path, 0)
        sys.stderr.seek(0)
        return found


@pytest.mark.parametrize("which", ["documents", "policy", "both"])
@pytest.mark.parametrize("size", [1, 20_000], ids=["page", "pages"])
def test_full_at_each_number_of_pages(router: Router, tmp_path: Path, which: str, size: int) -> None:
    """documents: the flash; policy: the file system of what `run` reads, memory on a router."""
    comment = f"# {'x' * 98}\n" * (size // 100)
    old = router.document(OLD + comment, sequence=3)
    new, later = router.document(NEW + comment, sequence=4), router.document(NEW + comment, sequence=5)

    def work() -> None:
        said = Said(tmp_path / "said")
        taken = 0
        for pages in range(80):
            flash, memory = tmp_path / f"{pages}f", tmp_path / f"{pages}m"
            if which == "both":
                memory = flash
            for folder in {flash, memory}:
                mount(folder, "size=2M")
            router.place = router.place._replace(folder=str(flash / "provision"), out=str(memory / "run" / "policy"))
            assert router.apply(old) == 0
            assert said.lines() == []
            full = memory if which == "policy" else flash
            fill(full, pages)
            code = router.apply(new)
            lines = said.lines()
            check(pages, code, lines)
            (full / "filler").unlink()
            assert command.make(router.place) == 0
            assert router.mode == ("limit" if code == 0 else "monitor")
            assert router.apply(new) == 0, (pages, said.lines())
            assert router.mode == router.reloads[-1] == "limit"
            assert router.apply(later) == 0
            whole(router)
            for folder in {flash, memory}:
                unmount(folder)
            taken = taken + 1 if code == 0 and not lines else 0
            if taken == 3:
                break
        assert taken == 3
        assert pages >= 3

    def check(pages: int, code: int, lines: list[str]) -> None:
        assert code in (0, 2, 4), (pages, lines)
        assert len(lines) <= 1, (pages, lines)
        assert router.mode == router.reloads[-1] == ("limit" if code == 0 else "monitor"), (pages, code, lines)
        if code == 0:
            assert not lines or lines[0].startswith("cpe-filter: policy 4 is in force, but "), lines
            return
        assert "No space left on device" in lines[0]
        assert lines[0].endswith("; the policy stays as it was") or "policy 4 was taken back: " in lines[0]

    apart(work, tmp_path / "log")


def test_no_inodes(router: Router, tmp_path: Path) -> None:
    """Room for bytes and none for files."""
    old, new = router.document(OLD, sequence=3), router.document(NEW, sequence=4)

    def work() -> None:
        said = Said(tmp_path / "said")
        for left in range(8):
            flash = tmp_path / str(left)
            mount(flash, "size=2M,nr_inodes=40")
            router.place = router.place._replace(folder=str(flash / "provision"))
            assert router.apply(old) == 0
            free = os.statvfs(flash).f_ffree
            for number in range(free - left):
                (flash / str(number)).touch()
            code = router.apply(new)
            lines = said.lines()
            assert router.mode == router.reloads[-1] == ("limit" if code == 0 else "monitor"), (left, code, lines)
            assert len(lines) == (code != 0), lines
            for number in range(free - left):
                (flash / str(number)).unlink()
            assert router.apply(new) == 0
            unmount(flash)

    apart(work, tmp_path / "log")


def test_the_first_document_on_a_full_flash(router: Router, tmp_path: Path) -> None:
    """Not even the folder can be made."""
    new = router.document(NEW, sequence=4)

    def work() -> None:
        said = Said(tmp_path / "said")
        for pages, inodes in ((0, 0), (0, 9), (1, 9), (2, 9)):
            flash = tmp_path / f"{pages}-{inodes}"
            mount(flash, "size=64k,nr_inodes=12")
            router.place = router.place._replace(folder=str(flash / "provision"))
            fill(flash, pages)
            files = 0
            while os.statvfs(flash).f_ffree > inodes:
                (flash / str(files)).touch()
                files += 1
            command.make(router.place)
            code = router.apply(new)
            lines = said.lines()
            assert router.mode == ("limit" if code == 0 else "block")
            assert len(lines) == (code != 0), lines
            try:
                assert command.roll_back(router.place, router.reload) == 2
            except UsageError:
                pass
            assert len(said.lines()) <= 1
            (flash / "filler").unlink()
            for number in range(files):
                (flash / str(number)).unlink()
            assert router.apply(new) == 0
            assert router.mode == "limit"
            unmount(flash)

    apart(work, tmp_path / "log")


def test_a_rollback_on_a_full_flash(router: Router, tmp_path: Path) -> None:
    old, new = router.document(OLD, sequence=3), router.document(NEW, sequence=4)

    def work() -> None:
        said = Said(tmp_path / "said")
        for pages in range(8):
            flash = tmp_path / str(pages)
            mount(flash, "size=2M")
            router.place = router.place._replace(folder=str(flash / "provision"))
            assert router.apply(old) == router.apply(new) == 0
            said.lines()
            fill(flash, pages)
            code = command.roll_back(router.place, router.reload)
            lines = said.lines()
            assert len(lines) == (code != 0), lines
            assert router.mode == ("limit" if code else "monitor")
            (flash / "filler").unlink()
            assert command.make(router.place) == 0
            assert router.mode == ("limit" if code else "monitor"), pages
            assert router.apply(new) == (0 if code else 2)
            assert code or "(" in said.lines()[0]
            unmount(flash)

    apart(work, tmp_path / "log")
