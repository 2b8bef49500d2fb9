"""The folder between `run` and `send`: who may do what in it, and what hostile or torn files come to."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cpe_filter.lean.checksum import CorruptStateError
from cpe_filter.report.spool import Spool
from cpe_filter.report.spool_dir import INCIDENTS, SENT, SPOOL, SpoolWriter, folder, listed, seqs_of
from cpe_filter.report.spool_reader import SpoolReader
from tests.report.test_spool import BOOT, event

NOBODY = 65534
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Place:
    """A folder with both sides."""

    def __init__(self, path: Path, user: str = "nobody") -> None:
        self.path = path / "run" / "report"
        self.log: list[str] = []
        self.writer = SpoolWriter(str(self.path), user, self.log.append)
        self.writer.make()
        self.reader = SpoolReader(str(self.path))
        self.spool = Spool(BOOT, 1)

    def leave(self, *kinds: str) -> None:
        for number, kind in enumerate(kinds):
            self.spool.add(event(kind, number))
        self.writer.write(SPOOL, self.spool.encode("", "1"), 0o640)

    def waiting(self) -> list[int]:
        found = self.reader.spool(BOOT)
        assert found is not None
        return [one.seq for one in found[1]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def as_nobody(work: Callable[[], object]) -> int:
    """0, or the error number with which it fails."""
    child = os.fork()
    if not child:
        code = 99
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            work()
            code = 0
        except OSError as error:
            code = error.errno or 98
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# ── handing over ────────────────────────────────────────────────────────────────────────────────────


def test_from_one_to_the_other_and_back(place: Place) -> None:
    place.leave("opened", "raised", "heartbeat")
    assert place.waiting() == [1, 2, 3]
    place.reader.note(BOOT, [1, 3])
    assert place.waiting() == [2]
    assert place.writer.arrived(BOOT) == {1, 3}
    assert place.writer.arrived(BOOT) == set()  # nothing new
    place.spool.arrived({1, 3})
    place.leave("updated")
    assert place.waiting() == [2, 4]
    place.reader.note(BOOT, [4])
    assert place.writer.arrived(BOOT) == {4}  # 1 and 3 never come back


def test_a_writer_that_starts_again_reads_what_has_arrived(place: Place) -> None:
    place.leave("opened")
    place.reader.note(BOOT, [1])
    assert place.writer.arrived(BOOT) == {1}
    assert SpoolWriter(str(place.path), "nobody", place.log.append).arrived(BOOT) == {1}


def test_of_another_boot_is_nothing(place: Place) -> None:
    place.leave("opened")
    place.reader.note(BOOT, [1])
    other = BOOT.replace("5", "6")
    assert place.reader.spool(other) is None
    assert SpoolWriter(str(place.path), "nobody", place.log.append).arrived(other) == set()


def test_while_one_reads_the_other_replaces(place: Place) -> None:
    place.leave("opened")
    with (place.path / SPOOL).open("rb") as file:
        place.leave("raised")
        assert len(file.read().splitlines()) == 3
    assert place.waiting() == [1, 2]


def test_only_one_sends(place: Place) -> None:
    other = SpoolReader(str(place.path))
    assert place.reader.lock()
    assert not other.lock()
    place.reader.close()
    assert other.lock()


def test_where_the_folder_is() -> None:
    assert folder("/var/run/cpe-filter/status.json") == "/var/run/cpe-filter/report"


# ── permissions ─────────────────────────────────────────────────────────────────────────────────────


@root
def test_owners_and_modes(place: Place) -> None:
    place.leave("opened")
    place.writer.write(INCIDENTS, b"x")
    found = {
        str(path.relative_to(place.path)): (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o7777)
        for path in (place.path, *place.path.iterdir())
    }
    assert found == {
        ".": (0, NOBODY, 0o750),
        SPOOL: (0, NOBODY, 0o640),
        INCIDENTS: (0, 0, 0o600),
        SENT: (NOBODY, NOBODY, 0o700),
    }


@root
def test_the_sender_reads_the_spool_and_changes_nothing_but_its_own(place: Place) -> None:
    place.leave("opened")
    place.writer.write(INCIDENTS, b"x")
    reader, spool = place.reader, str(place.path / SPOOL)
    assert as_nobody(lambda: reader.note(BOOT, [1])) == 0
    assert as_nobody(lambda: reader.write("plan", [1])) == 0
    assert place.writer.arrived(BOOT) == {1}
    for forbidden in (
        lambda: os.unlink(spool),
        lambda: os.open(spool, os.O_WRONLY),
        lambda: os.open(str(place.path / INCIDENTS), os.O_RDONLY),
        reader.incidents,
        lambda: os.rename(str(place.path / SENT), str(place.path / "x")),
        lambda: os.symlink("/etc/passwd", str(place.path / "spool.new")),
    ):
        assert as_nobody(forbidden) == errno.EACCES


@root
def test_another_user_sees_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, "daemon")
    place.leave("opened")
    tmp_path.chmod(0o755)
    assert as_nobody(lambda: SpoolReader(str(place.path))) == errno.EACCES


@root
def test_a_user_that_there_is_not(tmp_path: Path) -> None:
    place = Place(tmp_path, "nosuchuser")
    assert "there is no such user" in place.log[0]
    assert (place.path.stat().st_mode & 0o777, place.path.stat().st_uid) == (0o750, 0)


@root
def test_another_user_of_a_later_policy_takes_over(tmp_path: Path) -> None:
    place = Place(tmp_path, "daemon")
    place.leave("opened")
    place = Place(tmp_path, "nobody")
    place.leave("opened")
    assert as_nobody(lambda: place.reader.note(BOOT, [1])) == 0


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("/etc/shadow"),
        os.mkfifo,
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b"\xff" * 100_000),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text(BOOT),
        lambda path: path.write_text(f"{BOOT}\n-1\n1e5\n0x7\n\n99999999999999999999\n١\n"),
        lambda path: path.write_text(f"{BOOT}\n1\n2"),  # torn
    ],
)
def test_whatever_stands_in_the_place_of_what_has_arrived(place: Place, make: Callable[[Path], object]) -> None:
    make(place.path / SENT / "arrived")
    assert place.writer.arrived(BOOT) == set()
    assert place.reader.arrived(BOOT) == set()


def test_what_has_arrived_is_bounded() -> None:
    data = listed(BOOT, range(100_000))
    assert seqs_of(data, BOOT) == set(range(100_000 - 4096, 100_000))
    assert len(data) < 64 << 10


def test_a_torn_spool_is_told_and_harms_nothing(place: Place) -> None:
    place.leave("opened", "raised")
    path = place.path / SPOOL
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptStateError):
        place.reader.spool(BOOT)
    place.reader.note(BOOT, [1])  # of what has just been answered nothing is lost
    assert place.reader.arrived(BOOT) == {1}


def test_temporary_files_of_one_that_was_killed_are_replaced(place: Place) -> None:
    (place.path / "spool.new").write_bytes(b"torn")
    (place.path / SENT / "arrived.new").write_bytes(b"torn")
    place.leave("opened")
    place.reader.note(BOOT, [1])
    assert place.waiting() == []


def fill(path: Path) -> None:
    """Takes all the room there is."""

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    with pytest.raises(OSError, match="No space"):
        write()


@root
def test_a_full_tmpfs_keeps_the_old_files(tmp_path: Path) -> None:
    mount = tmp_path / "run"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "full", str(mount)], check=True)
    try:
        place = Place(tmp_path)
        place.leave("opened")
        fill(mount / "filler")
        with pytest.raises(OSError, match="No space"):
            place.leave("raised")
        with pytest.raises(OSError, match="No space"):
            place.reader.write("last", ["x"])
        assert place.waiting() == [1]
        (mount / "filler").unlink()
        place.leave("updated")
        assert place.waiting() == [1, 2, 3]
        place.reader.close()
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)
