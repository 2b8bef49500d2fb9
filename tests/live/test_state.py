"""The two state files: when they are written, what is taken at start, and what goes wrong with files."""

from __future__ import annotations

import errno
import itertools
import os
import random
import signal
import subprocess
import sys
import time as clock
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.detect import saved
from cpe_filter.detect.device import Device, Devices
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED
from cpe_filter.engine.verdicts import BLOCK_DEVICE, RESET_FLOW
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.lean.files import lock_folder, read, replace
from cpe_filter.live.state import FLASH_S, RECENT_S, SETTLE_S, State
from tests.build import START, session
from tests.engine.test_engine import Home, bot_session
from tests.lab.net import PROJECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing


class Kept:
    """A state in a folder, its devices and its log."""

    def __init__(self, folder: Path) -> None:
        self.flash, self.recent = folder / "flash" / "state", folder / "run" / "state"
        self.log: list[str] = []
        self.devices: list[Device] = []
        self.state = State(str(self.flash), str(self.recent), self.log.append)

    def start(self, now: float) -> list[Device]:
        """The filter starts again."""
        self.log.clear()
        self.state = State(str(self.flash), str(self.recent), self.log.append)
        self.devices = self.state.load(now)
        return self.devices

    def device(self, standing: Standing, number: int = 1, time: float = START) -> Device:
        device = Device(bytes((2, 0, 0, 0, 0, number)), time)
        device.score.standing = standing
        self.devices.append(device)
        return device

    def changes(self, device: Device, standing: Standing, now: float) -> None:
        device.score.standing = standing
        self.state.changed(device, now)

    def tick(self, now: float) -> tuple[bool, bool]:
        """Time passes, and what is begun then is finished; which of (flash, recent) was replaced?"""
        before = [self._identity(path) for path in (self.flash, self.recent)]
        while self.state.tick(self.devices, now) or self.state._call is not None:
            if self.state._call is not None:
                clock.sleep(0.001)
        flash, recent = (self._identity(path) for path in (self.flash, self.recent))
        return flash != before[0], recent != before[1]

    @staticmethod
    def _identity(path: Path) -> bytes:
        return path.read_bytes() if path.exists() else b""


def failing(error: int, path: str = "") -> Callable[..., Any]:
    """A function of os that raises OSError; path: only there."""
    real = os.open, os.replace

    def fails(*arguments: Any, **more: Any) -> Any:
        if path and not str(arguments[-1] if len(arguments) == 2 else arguments[0]).startswith(path):
            return real[len(arguments) == 2](*arguments, **more)
        raise OSError(error, os.strerror(error))

    return fails


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


# ── when ────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_change_of_standing_flash_is_never_written(kept: Kept) -> None:
    kept.device(CLEAR)
    written = [kept.tick(START + minute * 60) for minute in range(3 * 24 * 60)]
    assert not any(flash for flash, _ in written)
    assert sum(recent for _, recent in written) == pytest.approx(3 * 86400 / RECENT_S, abs=1)
    kept.state.close(kept.devices, START + 1e6)
    assert not kept.flash.exists()


def test_flash_is_written_after_a_change_and_at_most_once_an_hour(kept: Kept) -> None:
    device = kept.device(CLEAR)
    times = []
    for second in range(6 * 3600):
        now = START + second
        if second >= 100:
            kept.changes(device, SUSPECTED if second % 2 else CLEAR, now)  # all the time
        if kept.tick(now)[0]:
            times.append(second)
    assert times[0] == 100 + SETTLE_S
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps
    assert all(FLASH_S <= gap <= FLASH_S + SETTLE_S for gap in gaps)


def test_another_file_that_a_reboot_must_not_lose(kept: Kept) -> None:
    kept.state.companions[".more"] = lambda now: b"more"
    assert kept.tick(START + FLASH_S) == (False, True)
    kept.state.companion_changed(PacketTime(START + FLASH_S))
    assert not kept.tick(START + FLASH_S + SETTLE_S - 1)[0]
    assert kept.tick(START + FLASH_S + SETTLE_S)[0]
    assert kept.flash.with_name("state.more").read_bytes() == b"more"


def test_suspicion_and_conviction_go_in_one_write(kept: Kept) -> None:
    device = kept.device(CLEAR)
    kept.changes(device, SUSPECTED, START)
    kept.changes(device, COMPROMISED, START + 20)
    assert [kept.tick(START + second)[0] for second in range(0, 3600, 10)].count(True) == 1
    assert saved.decode(kept.flash.read_bytes(), START).devices[0].score.standing == COMPROMISED


def test_a_conviction_is_in_the_recent_file_at_once(kept: Kept) -> None:
    device = kept.device(CLEAR)
    kept.tick(START)
    kept.changes(device, SUSPECTED, START + 1)
    assert kept.tick(START + 1) == (False, False)
    kept.changes(device, COMPROMISED, START + 2)
    assert kept.tick(START + 2) == (False, True)


def test_the_end_writes_what_the_hour_held_back(kept: Kept) -> None:
    device = kept.device(CLEAR)
    kept.changes(device, SUSPECTED, START)
    assert kept.tick(START + SETTLE_S)[0]
    kept.changes(device, COMPROMISED, START + 100)
    assert not kept.tick(START + 1000)[0]
    kept.state.close(kept.devices, START + 1001)
    assert kept.start(START + 1002)[0].score.standing == COMPROMISED
    kept.recent.unlink()
    assert kept.start(START + 1003)[0].score.standing == COMPROMISED


def test_the_end_writes_both_files_from_an_iterator(kept: Kept) -> None:
    """The engine gives one, which can be gone through once."""
    device = kept.device(CLEAR)
    kept.changes(device, COMPROMISED, START)
    kept.state.close(iter(kept.devices), START + 1)
    kept.recent.unlink()
    (found,) = kept.start(START + 2)
    assert found.score.standing == COMPROMISED


# ── which ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("jump", [0.0, 10 * 365 * 86400.0, -10 * 365 * 86400.0])
def test_the_one_written_last_counts_whatever_the_clock_says(kept: Kept, jump: float) -> None:
    device = kept.device(SUSPECTED)
    kept.changes(device, SUSPECTED, START)
    kept.tick(START + SETTLE_S)
    device.connections = 77
    kept.state.close(kept.devices, START + jump)  # no change of standing since: only the recent one is written
    (found,) = kept.start(START + jump + 5)
    assert found.connections == 77
    assert str(kept.recent) in kept.log[0]
    kept.recent.unlink()  # the router was switched off
    (found,) = kept.start(START + jump + 5)
    assert found.connections == 0
    assert found.last_seen <= START + jump + 5


def test_a_killed_filter_s_conviction_reaches_flash_after_all(kept: Kept) -> None:
    device = kept.device(CLEAR)
    kept.changes(device, COMPROMISED, START)
    kept.tick(START + 1)
    assert not kept.flash.exists()
    kept.start(START + 5)
    assert kept.tick(START + 5 + SETTLE_S)[0]


def test_a_filter_without_files_starts_empty(kept: Kept) -> None:
    assert kept.start(START) == []
    assert kept.log == []


def test_a_convicted_device_is_blocked_from_its_first_packet_on(kept: Kept) -> None:
    before = Home()
    for n in range(12):
        before.play(bot_session(n, START + n))
    assert before.device().score.standing == COMPROMISED
    kept.devices = list(before.engine.devices)
    kept.state.close(kept.devices, START + 20)
    after = Home()
    after.engine.restore(kept.start(START + 30))
    assert set(after.play(bot_session(99, START + 31))) == {BLOCK_DEVICE}
    assert len(after.engine.devices) == 1


def test_release_by_key_or_name_and_the_kernel_is_not_told_to_block_again() -> None:
    for name in (False, True):
        home = Home()
        sessions = [bot_session(n, START + n) for n in range(12)]
        for packets in sessions:
            home.play(packets)
        device = home.device()
        home.engine.events.clear()
        assert home.engine.release(device.name if name else device.key, PacketTime(START + 20))
        (event,) = home.engine.events
        assert isinstance(event, tuple)
        assert device.score.standing == SUSPECTED
        assert home.give(sessions[-1][-1]) == RESET_FLOW  # a straggler of a refused connection
        assert BLOCK_DEVICE not in home.play(session(sport=50000, time=START + 21))
        assert not home.engine.release("02:00:00:00:00:99", PacketTime(START + 22))
        # What is still infected is found again.
        for n in range(20, 40):
            home.play(bot_session(n, START + n + 10))
        assert device.score.standing == COMPROMISED


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "version", "text", "huge"])
def test_a_bad_file_is_kept_aside_and_the_filter_starts_empty(kept: Kept, damage: str) -> None:
    kept.changes(kept.device(COMPROMISED), COMPROMISED, START)
    kept.state.close(kept.devices, START)
    good = kept.flash.read_bytes()
    bad = {
        "empty": b"",
        "cut": good[:-9],
        "changed": good[:40] + b"?" + good[41:],
        "version": good[:16] + b"\7" + good[17:],
        "text": b"hello\n",
        "huge": good + bytes(saved.MOST_BYTES),
    }[damage]
    kept.flash.write_bytes(bad)
    kept.recent.unlink()
    assert kept.start(START + 1) == []
    assert len(kept.log) == 1
    assert kept.log[0].startswith(f"state not used: {kept.flash}: ")
    assert kept.log[0].endswith(f"; kept as {kept.flash}.bad")
    assert not kept.flash.exists()
    assert Path(f"{kept.flash}.bad").stat().st_size == len(bad)
    assert kept.start(START + 2) == []
    assert kept.log == []


def test_one_bad_file_leaves_the_other(kept: Kept) -> None:
    kept.changes(kept.device(COMPROMISED), COMPROMISED, START)
    kept.state.close(kept.devices, START)
    kept.recent.write_bytes(b"x")
    (found,) = kept.start(START + 1)
    assert found.score.standing == COMPROMISED


def test_files_of_others_are_not_used(kept: Kept, tmp_path: Path) -> None:
    kept.changes(kept.device(COMPROMISED), COMPROMISED, START)
    kept.state.close(kept.devices, START)
    kept.recent.unlink()
    kept.flash.chmod(0o666)
    assert kept.start(START) == []
    assert "Others can write to it" in kept.log[0]
    kept.flash.chmod(0o600)
    elsewhere = tmp_path / "elsewhere"
    kept.flash.rename(elsewhere)
    kept.flash.symlink_to(elsewhere)
    assert kept.start(START) == []
    assert len(kept.log) == 1
    kept.flash.unlink()
    os.mkfifo(kept.flash)
    assert kept.start(START) == []
    assert "Not a regular file" in kept.log[0]
    kept.flash.unlink()
    kept.flash.mkdir()
    assert kept.start(START) == []
    kept.state.close([], START)


def test_writing_never_follows_a_link(kept: Kept, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    kept.recent.parent.mkdir()
    kept.recent.symlink_to(victim)
    Path(f"{kept.recent}.new").symlink_to(victim)
    kept.tick(START)
    assert victim.read_text() == "precious"
    assert kept.recent.is_file()
    assert not kept.recent.is_symlink()
    assert kept.recent.stat().st_mode & 0o7777 == 0o600


def test_a_folder_that_others_can_write_to(kept: Kept) -> None:
    kept.recent.parent.mkdir()
    kept.recent.parent.chmod(0o777)
    kept.tick(START)
    assert kept.log == [f"state not written: {kept.recent}: Others can write to its folder"]
    kept.recent.parent.chmod(0o1777)  # as /tmp: they cannot take our files away
    assert kept.tick(START + RECENT_S) == (False, True)


@pytest.mark.parametrize("at", ["open", "write", "replace"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_file_system_is_told_once(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, at: str, error: int
) -> None:
    kept.tick(START)
    good = kept.recent.read_bytes()
    kept.device(COMPROMISED)
    with monkeypatch.context() as patch:
        patch.setattr(f"cpe_filter.lean.atomic_file.os.{at}", failing(error))
        for n in range(1, 9):
            kept.tick(START + n * RECENT_S)
    assert kept.log == [f"state not written: {kept.recent}: {os.strerror(error)}"]
    assert kept.recent.read_bytes() == good
    assert not Path(f"{kept.recent}.new").exists()
    assert kept.tick(START + 99 * RECENT_S) == (False, True)


@pytest.mark.parametrize("at", ["open", "fsync", "replace"])
def test_flash_that_fails_is_told_once_and_tried_again_after_an_hour(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    kept.changes(kept.device(SUSPECTED), SUSPECTED, START)
    assert kept.tick(START + SETTLE_S) == (True, True)
    good = kept.flash.read_bytes()
    # Only what is on flash: the child alone ever gets so far.
    broken = failing(errno.EROFS, str(kept.flash)) if at != "fsync" else failing(errno.EROFS)
    kept.state.companions[".more"] = lambda now: b"more"
    with monkeypatch.context() as patch:
        patch.setattr(f"cpe_filter.lean.atomic_file.os.{at}", broken)
        for n in range(1, 4):
            kept.changes(kept.devices[0], COMPROMISED, START + n * FLASH_S)
            assert not kept.tick(START + n * FLASH_S + SETTLE_S)[0]
    assert kept.log[0] == f"state not written: {kept.flash}: {os.strerror(errno.EROFS)}"
    assert len(kept.log) == 2  # and what is beside it
    assert kept.flash.read_bytes() == good
    assert sorted(os.listdir(kept.flash.parent)) == ["state"]
    assert not kept.tick(START + 4 * FLASH_S)[0]
    assert kept.tick(START + 5 * FLASH_S)[0]
    assert saved.decode(kept.flash.read_bytes(), START).devices[0].score.standing == COMPROMISED
    assert Path(f"{kept.flash}.more").read_bytes() == b"more"


# ── while packets go on ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def one_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine on which a device takes longer than a slice should."""
    monkeypatch.setattr("cpe_filter.lean.atomic_file.SLICE_S", 0.0)


@pytest.mark.usefixtures("one_a_slice")
def test_a_file_is_written_in_slices_and_the_old_one_stays_meanwhile(kept: Kept) -> None:
    kept.tick(START)
    good = kept.recent.read_bytes()
    for n in range(1, 21):
        kept.device(SUSPECTED, n)
    turns = 0
    while kept.state.tick(kept.devices, START + RECENT_S):
        assert kept.recent.read_bytes() == good
        turns += 1
    assert turns == 22  # what stands before them, each of them, and the sum
    assert len(saved.decode(kept.recent.read_bytes(), START + RECENT_S).devices) == 20
    assert kept.tick(START + RECENT_S) == (False, False)


@pytest.mark.usefixtures("one_a_slice")
def test_whatever_becomes_of_the_devices_between_slices_the_file_is_good(kept: Kept) -> None:
    rng = random.Random(7)
    for number in range(40):
        known = Devices(limit=12)
        for n in range(12):
            known.get(bytes((2, 0, 0, 0, number, n)), START).connections = n
        while kept.state.tick(known, START + number * RECENT_S):
            key = bytes((2, 0, 0, 0, number, rng.randrange(40)))
            match rng.randrange(3):
                case 0 if known.find(key) is not None:  # in another one's place, too
                    known.rekey(key, bytes((2, 0, 0, 0, number, rng.randrange(12))))
                case 1:
                    known.get(key, START + 1)  # another one is forgotten for it
                case _:
                    next(iter(known)).connections += 1
        written = saved.decode(kept.recent.read_bytes(), START + number * RECENT_S).devices
        assert [device.key[5] for device in written] == list(range(12))
    assert kept.log == []


@pytest.mark.usefixtures("one_a_slice")
def test_a_conviction_in_the_middle_is_written_right_after(kept: Kept) -> None:
    devices = [kept.device(CLEAR, n) for n in range(1, 9)]
    for _ in range(6):
        assert kept.state.tick(kept.devices, START)
    kept.changes(devices[0], COMPROMISED, START)  # its piece is written already
    assert kept.tick(START) == (False, True)
    written = saved.decode(kept.recent.read_bytes(), START).devices
    assert [device.score.standing for device in written].count(COMPROMISED) == 1


@pytest.mark.usefixtures("one_a_slice")
def test_a_disk_that_gets_full_in_the_middle(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.tick(START)
    good = kept.recent.read_bytes()
    for n in range(1, 9):
        kept.device(CLEAR, n)
    for _ in range(5):
        assert kept.state.tick(kept.devices, START + RECENT_S)
    with monkeypatch.context() as patch:
        patch.setattr("cpe_filter.lean.atomic_file.os.write", failing(errno.ENOSPC))
        assert not kept.state.tick(kept.devices, START + RECENT_S)
    assert kept.log == [f"state not written: {kept.recent}: {os.strerror(errno.ENOSPC)}"]
    assert kept.recent.read_bytes() == good
    assert os.listdir(kept.recent.parent) == ["state"]
    assert kept.tick(START + 2 * RECENT_S) == (False, True)


@pytest.mark.usefixtures("one_a_slice")
def test_the_end_in_the_middle_of_both_files(kept: Kept) -> None:
    """Of what was begun nothing is left, and all is written."""
    device = kept.device(CLEAR)
    kept.changes(device, SUSPECTED, START)

    def slow(now: float) -> bytes:
        clock.sleep(0.3)
        return b"slow"

    kept.state.companions[".slow"] = slow
    while kept.state._call is None:
        kept.state.tick(kept.devices, START + SETTLE_S)
    kept.changes(device, COMPROMISED, START + SETTLE_S)
    assert kept.state.tick(kept.devices, START + SETTLE_S)
    assert Path(f"{kept.recent}.new").exists()
    kept.state.close(kept.devices, START + SETTLE_S + 1)
    for path in (kept.recent, kept.flash):
        assert saved.decode(path.read_bytes(), START).devices[0].score.standing == COMPROMISED
    assert sorted(os.listdir(kept.flash.parent)) == ["state", "state.slow"]
    assert os.listdir(kept.recent.parent) == ["state"]


def test_flash_that_hangs_holds_up_nothing_but_the_end_for_a_while(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpe_filter.live.state.CLOSE_S", 0.3)
    ours = os.getpid()
    kept.changes(kept.device(SUSPECTED), SUSPECTED, START)

    def content(now: float) -> bytes:
        if os.getpid() != ours:
            clock.sleep(60)
        return b"more"

    kept.state.companions[".more"] = content
    begun = clock.monotonic()
    for second in range(600):
        kept.state.tick(kept.devices, START + SETTLE_S + second)
    assert clock.monotonic() - begun < 20.0  # and not 60
    kept.state.close(kept.devices, START + 900)
    assert clock.monotonic() - begun < 40.0
    assert saved.decode(kept.flash.read_bytes(), START).devices[0].score.standing == SUSPECTED
    assert Path(f"{kept.flash}.more").read_bytes() == b"more"


def test_where_no_process_can_be_had_flash_is_written_at_the_end(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.changes(kept.device(SUSPECTED), SUSPECTED, START)
    monkeypatch.setattr("cpe_filter.lean.forked.os.fork", failing(errno.EAGAIN))
    for minute in range(9):
        kept.tick(START + SETTLE_S * (1 + minute))
    assert kept.log == [f"state not written: {kept.flash}: no process for it: {os.strerror(errno.EAGAIN)}"]
    kept.state.close(kept.devices, START + 900)
    assert kept.flash.exists()


@pytest.mark.parametrize("order", ["flash", "recent"])
def test_both_may_be_one_file(tmp_path: Path, order: str) -> None:
    path = tmp_path / "state"
    log: list[str] = []
    state = State(str(path), str(path), log.append)
    device = Device(b"\2\0\0\0\0\1", START)
    device.score.standing = COMPROMISED
    for second in range(0, 1000, 20):
        if second % 200 == (0 if order == "recent" else 20):
            state.changed(device, START + second)
            state.at_once(START + second)
        while state.tick([device], START + second) or state._call is not None:
            assert {*os.listdir(tmp_path)} <= {"state", "state.new"}
        assert saved.decode(path.read_bytes(), START + second).devices[0].score.standing == COMPROMISED
    state.close([device], START + 2000)
    assert log == []
    assert os.listdir(tmp_path) == ["state"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_a_really_full_file_system(kept: Kept) -> None:
    kept.flash.parent.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", kept.flash.parent], capture_output=True)
    if done.returncode:
        pytest.skip(f"no mounting here: {done.stderr.decode().strip()}")
    try:
        (kept.flash.parent / "other").write_bytes(bytes(4096))
        for n in range(200):
            kept.device(SUSPECTED, n)
        kept.changes(kept.devices[0], SUSPECTED, START)
        kept.state.close(kept.devices, START)
        assert kept.log == [f"state not written: {kept.flash}: {os.strerror(errno.ENOSPC)}"]
        assert os.listdir(kept.flash.parent) == ["other"]
        subprocess.run(["mount", "-o", "remount,ro", kept.flash.parent], check=True)
        kept.state.close(kept.devices, START)
        assert kept.log[1:] == [f"state not written: {kept.flash}: {os.strerror(errno.EROFS)}"]
    finally:
        subprocess.run(["umount", kept.flash.parent], check=True)


def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "state"
    program = (
        "import sys\n"
        "from cpe_filter.lean.files import replace\n"
        "print('go', flush=True)\n"
        "while True:\n"
        "    for letter in b'abcdef':\n"
        "        replace(sys.argv[1], bytes((letter,)) * 200000)\n"
    )
    rng = random.Random(1)
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, cwd=PROJECT
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            clock.sleep(rng.uniform(0.005, 0.05))
            process.send_signal(signal.SIGKILL)
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 200000
            assert len(set(content)) == 1
    replace(str(path), b"end")
    assert read(str(path), 10) == b"end"
    assert os.listdir(tmp_path) == ["state"]


def test_what_a_person_has_changed_is_written_at_once(kept: Kept) -> None:
    device = kept.device(CLEAR)
    kept.changes(device, COMPROMISED, START)
    assert kept.tick(START + SETTLE_S) == (True, True)
    device.score.standing = SUSPECTED
    assert kept.tick(START + SETTLE_S + 1) == (False, False)
    kept.state.at_once(START + SETTLE_S + 1)
    assert kept.tick(START + SETTLE_S + 1) == (True, True)
    (found,) = kept.start(START + SETTLE_S + 2)
    assert found.score.standing == SUSPECTED


def test_a_folder_s_lock(tmp_path: Path) -> None:
    first = lock_folder(str(tmp_path), 0.0)
    assert first >= 0
    begun = clock.monotonic()
    assert lock_folder(str(tmp_path), 0.1) == -1
    assert clock.monotonic() - begun >= 0.1
    os.close(first)
    second = lock_folder(str(tmp_path), 0.0)
    os.close(second)
    with pytest.raises(NotADirectoryError):
        lock_folder("/etc/passwd", 0.0)
