"""The state that survives restarts: two files, and when they are written.

Knows files and the times of writing. Must not know what is in them (see detect.saved). Flash wears out, so the file on
flash is written only after a standing has changed: a minute later (a conviction often follows a suspicion within it),
at most once an hour, and when the filter stops. The other file is in memory (tmpfs), next to the status. It is written
every few minutes, at once on a conviction, and at the end. It survives the filter but not the router. At start the file
that was written last counts. Neither ever stops the filter: a failure is logged once, and the filter goes on without.

No packet waits for either. The file in memory is written in slices, a few devices in each turn of the loop. Writing to
flash may take seconds, so a child process does it (see lean.forked); it has a copy of all that it writes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator

from cpe_filter.detect import saved
from cpe_filter.detect.device import Device
from cpe_filter.detect.score import CLEAR, COMPROMISED
from cpe_filter.lean.atomic_file import AtomicFile
from cpe_filter.lean.checksum import CorruptStateError
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.lean.files import make_folder, read, replace
from cpe_filter.lean.forked import BackgroundCall, CallFailedError
from cpe_filter.lean.log import Log, LogOnce, err, info

#: Seconds from a change of standing to its writing on flash, and between two writings there.
SETTLE_S, FLASH_S = 60.0, 3600.0
#: Seconds between two writings of the file in memory.
RECENT_S = 180.0
#: Seconds that flash may take; and when the filter stops, because the supervisor does not wait much longer.
FLASH_WAIT_S, CLOSE_S = 120.0, 3.0


class State:
    """flash, recent: paths, which may be the same. log: takes a line. Times are seconds of the engine's clock."""

    def __init__(self, flash: str, recent: str, log: Log) -> None:
        self._flash = flash
        self._recent = recent
        self._log = log
        self._log_once = LogOnce(log)
        self._serial = 0
        self._changed_at: PacketTime | None = None  # when the first standing changed that is not on flash yet
        self._flash_after = self._recent_after = float("-inf")
        self._file: AtomicFile | None = None  # the recent one, while it is written
        self._pieces: Iterator[bytes] = iter(())
        self._call: BackgroundCall | None = None  # to flash
        self._call_for: PacketTime | None = None  # the `_changed_at` that it takes there
        #: Other files on flash that are written together with this one: the suffix of the name, and a function that
        #: returns the content for a time. The child calls it.
        self.companions: dict[str, Callable[[PacketTime], bytes]] = {}

    def load(self, now: PacketTime) -> list[Device]:
        """The devices as they were last written; none if no file can be used."""
        on_flash, recent = self._read(self._flash, now), self._read(self._recent, now)
        found = [(content, path) for content, path in ((on_flash, self._flash), (recent, self._recent)) if content]
        if not found:
            return []
        newest, path = max(found, key=lambda item: item[0].serial)
        self._serial = newest.serial
        standings = _standings(newest.devices)
        if standings != _standings(on_flash.devices if on_flash else ()):
            self._changed_at = now
        if newest.devices:
            compromised = sum(1 for standing in standings.values() if standing == COMPROMISED)
            self._log(info(f"{len(newest.devices)} devices known from {path}, {compromised} of them compromised"))
        return newest.devices

    def changed(self, device: Device, now: PacketTime) -> None:
        """The device's standing has changed, or the key of a device that is not clear."""
        if self._changed_at is None:
            self._changed_at = now
        if device.score.standing == COMPROMISED:
            self._recent_after = float("-inf")  # once a device, so that no device can make us write all the time

    def companion_changed(self, now: PacketTime) -> None:
        """Another file has changed in a way that a reboot must not lose: all go to flash, with the usual delay."""
        if self._changed_at is None:
            self._changed_at = now

    def at_once(self, now: PacketTime) -> None:
        """A person has changed a standing: both files are written from the next tick on, without the usual delay."""
        self._changed_at = PacketTime(now - SETTLE_S)
        self._flash_after = self._recent_after = float("-inf")

    def tick(self, devices: Iterable[Device], now: PacketTime) -> bool:
        """Does a slice of what is due. True: there is more; call it again as soon as waiting packets are served."""
        if self._call is not None:
            self._look_for_call()
        if self._file is None and self._is_recent_due(now):
            self._begin_recent(devices, now)
        if self._file is not None:
            self._write_slice()
        elif self._is_flash_due(now):  # last, because a child takes its share of a small machine
            self._send_to_flash(devices, now)
        return self._file is not None or self._is_recent_due(now) or self._is_flash_due(now)

    def _is_recent_due(self, now: PacketTime) -> bool:
        # If both are one file, only one process may write it.
        return now >= self._recent_after and not (self._call and self._flash == self._recent)

    def _is_flash_due(self, now: PacketTime) -> bool:
        since = self._changed_at
        return since is not None and self._call is None and now >= max(since + SETTLE_S, self._flash_after)

    def close(self, devices: Iterable[Device], now: PacketTime) -> None:
        """The filter stops: writes what is not written yet."""
        devices = list(devices)  # for both files: they may come from an iterator
        if self._file is not None:
            self._file.abandon()
            self._file = None
        end = time.monotonic() + CLOSE_S
        while self._call is not None and time.monotonic() < end:
            self._look_for_call(0.1)
        if self._call is not None:
            self._call.stop()
            self._call, self._changed_at = None, self._call_for
        self._begin_recent(devices, now)
        while self._file is not None:
            self._write_slice()
        if self._changed_at is not None:
            changed_at, self._changed_at = self._changed_at, None
            self._flash_written(self._write_flash(devices, now, self._next_serial()), changed_at)

    # ── in memory ───────────────────────────────────────────────────────────────────────────────

    def _begin_recent(self, devices: Iterable[Device], now: PacketTime) -> None:
        self._recent_after = now + RECENT_S
        try:
            make_folder(self._recent)
            self._file = AtomicFile(self._recent)
        except OSError as error:
            self._log_once.changed(self._recent, err(f"state not written: {self._recent}: {error.strerror}"))
            return
        self._pieces = saved.pieces(devices, now, self._next_serial())

    def _write_slice(self) -> None:
        """After the last slice the file is in its place. It is not synced: there is no disk below tmpfs."""
        file = self._file
        if file is None:
            return
        try:
            if file.write_slice(self._pieces):
                return
            file.finish()
            self._log_once.clear(self._recent)
        except OSError as error:
            self._log_once.changed(self._recent, err(f"state not written: {self._recent}: {error.strerror}"))
        self._file, self._pieces = None, iter(())

    # ── on flash ────────────────────────────────────────────────────────────────────────────────

    def _send_to_flash(self, devices: Iterable[Device], now: PacketTime) -> None:
        self._flash_after = now + FLASH_S  # also after a failure: trying again does not help a full file system
        serial = self._next_serial()

        def work() -> list[tuple[str, str]]:
            os.nice(19)  # packets first
            return self._write_flash(devices, now, serial)

        try:
            self._call = BackgroundCall(work, OSError, FLASH_WAIT_S)
        except CallFailedError as error:
            self._flash_after = now + SETTLE_S
            self._log_once.changed(self._flash, err(f"state not written: {self._flash}: {error}"))
            return
        self._call_for, self._changed_at = self._changed_at, None

    def _look_for_call(self, wait_s: float = 0.0) -> None:
        if self._call is None or not self._call.poll(wait_s):
            return
        call, self._call = self._call, None
        try:
            failed = call.result()
        except (OSError, CallFailedError) as error:
            failed = [(self._flash, f"state not written: {self._flash}: {error}")]
        self._flash_written(failed, self._call_for)

    def _write_flash(self, devices: Iterable[Device], now: PacketTime, serial: int) -> list[tuple[str, str]]:
        """Writes all files on flash, in a child or at the end. Returns the paths that failed, and why."""
        failed = []
        contents = {"": lambda now: saved.encode(devices, now, serial), **self.companions}
        for ending, content in contents.items():
            path = self._flash + ending
            try:
                replace(path, content(now))
            except OSError as error:
                what = "not written" if ending else "state not written"
                failed.append((path, f"{what}: {path}: {error.strerror}"))
        return failed

    def _flash_written(self, failed: list[tuple[str, str]], changed_at: PacketTime | None) -> None:
        """Logs failures. changed_at: of the standings that were written, or have to be written again."""
        paths = [path for path, _ in failed]
        for ending in ("", *self.companions):
            if self._flash + ending not in paths:
                self._log_once.clear(self._flash + ending)
        for path, text in failed:
            self._log_once.changed(path, err(text))
        if self._flash in paths:
            self._changed_at = changed_at

    def _next_serial(self) -> int:
        # The wall clock makes it higher than the serials of unreadable files; counting on, than those of readable ones.
        self._serial = max(self._serial + 1, int(time.time()))
        return self._serial

    # ── reading, and the log ────────────────────────────────────────────────────────────────────

    def _read(self, path: str, now: PacketTime) -> saved.Saved | None:
        try:
            return saved.decode(read(path, saved.MOST_BYTES + 1), now)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._log_once.changed(path, err(f"state not read: {path}: {error.strerror}"))
        except CorruptStateError as error:
            aside = f"{path}.bad"
            try:
                os.replace(path, aside)
                where = f"kept as {aside}"
            except OSError as why:
                where = f"it stays there: {why.strerror}"
            self._log(err(f"state not used: {path}: {error}; {where}"))
        return None


def _standings(devices: Iterable[Device]) -> dict[bytes, str]:
    return {device.key: device.score.standing for device in devices if device.score.standing != CLEAR}
