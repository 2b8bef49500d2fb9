"""What the filter knows across restarts: two files, and when they are written.

Knows files and the times of writing. Must not know what is in them (see detect.saved). Flash wears, so the file there
is written only after a standing has changed, a minute later (a conviction often follows a suspicion within it), at most
once an hour, and when the filter stops. The other file is in memory (tmpfs), beside the status: written every few
minutes, at once on a conviction, and at the end; it outlives the filter but not the router. At start the one that was
written last counts. Neither ever stops the filter: what fails is logged once, and it goes on without.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable

from cpe_filter.detect import saved
from cpe_filter.detect.device import Device
from cpe_filter.detect.score import CLEAR, COMPROMISED

#: Seconds from a change of standing to its writing on flash, and between two writings there.
SETTLE_S, FLASH_S = 60.0, 3600.0
#: Seconds between two writings of the file in memory.
RECENT_S = 180.0


class State:
    """flash, recent: paths, which may be the same. log: takes a line. Times are seconds of the engine's clock."""

    def __init__(self, flash: str, recent: str, log: Callable[[str], None]) -> None:
        self._flash = flash
        self._recent = recent
        self._log = log
        self._serial = 0
        self._changed_at: float | None = None  # of the first standing that is not on flash yet
        self._flash_after = self._recent_after = float("-inf")
        self._told: dict[str, str] = {}
        #: What else is kept on flash, each in a file beside ours and written with it: what its name ends in, and what
        #: gives its content at a time.
        self.beside: dict[str, Callable[[float], bytes]] = {}

    def load(self, now: float) -> list[Device]:
        """The devices as they were last written; none where nothing can be used."""
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
            self._log(f"{len(newest.devices)} devices known from {path}, {compromised} of them compromised")
        return newest.devices

    def changed(self, device: Device, now: float) -> None:
        """The device's standing, or the key of one that is not clear, is another."""
        if self._changed_at is None:
            self._changed_at = now
        if device.score.standing == COMPROMISED:
            self._recent_after = float("-inf")  # once a device: nobody can make us write all the time

    def at_once(self, now: float) -> None:
        """A person has changed a standing: both files are written at the next tick, whatever was written last."""
        self._changed_at = now - SETTLE_S
        self._flash_after = self._recent_after = float("-inf")

    def tick(self, devices: Iterable[Device], now: float) -> None:
        """Writes what is due."""
        if now >= self._recent_after:
            self._recent_after = now + RECENT_S
            self._write(self._recent, devices, now)
        if self._changed_at is not None and now >= max(self._changed_at + SETTLE_S, self._flash_after):
            self._write_flash(devices, now)

    def close(self, devices: Iterable[Device], now: float) -> None:
        """The filter stops."""
        self._write(self._recent, devices, now)
        if self._changed_at is not None:
            self._write_flash(devices, now)

    def _write_flash(self, devices: Iterable[Device], now: float) -> None:
        self._flash_after = now + FLASH_S  # also where it fails: a full file system is not helped by trying
        if self._write(self._flash, devices, now):
            self._changed_at = None
        for ending, content in self.beside.items():
            path = self._flash + ending
            try:
                replace(path, content(now))
            except OSError as error:
                self._tell_once(path, f"not written: {path}: {error.strerror}")

    def _write(self, path: str, devices: Iterable[Device], now: float) -> bool:
        # By the wall's clock it is higher than those of files that could not be read; by itself, than those that could.
        self._serial = max(self._serial + 1, int(time.time()))
        try:
            replace(path, saved.encode(devices, now, self._serial))
        except OSError as error:
            self._tell_once(path, f"state not written: {path}: {error.strerror}")
            return False
        self._told.pop(path, None)
        return True

    def _read(self, path: str, now: float) -> saved.Saved | None:
        try:
            return saved.decode(read(path), now)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._tell_once(path, f"state not read: {path}: {error.strerror}")
        except saved.Broken as error:
            aside = f"{path}.bad"
            try:
                os.replace(path, aside)
                where = f"kept as {aside}"
            except OSError as why:
                where = f"it stays there: {why.strerror}"
            self._log(f"state not used: {path} is {error}; {where}")
        return None

    def _tell_once(self, path: str, text: str) -> None:
        if self._told.get(path) != text:
            self._told[path] = text
            self._log(text)


def _standings(devices: Iterable[Device]) -> dict[bytes, str]:
    return {device.key: device.score.standing for device in devices if device.score.standing != CLEAR}


def read(path: str) -> bytes:
    """A regular file that only its owner, we or root, can have written. Raises OSError.

    At most one byte more than a state may have.
    """
    # Not blocking: a pipe in its place must not hold us up.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        if about.st_uid not in (0, os.geteuid()) or about.st_mode & 0o022:
            raise OSError(errno.EPERM, "Others can write to it")
        return file.read(saved.MOST_BYTES + 1)


def replace(path: str, content: bytes) -> None:
    """Puts a file in its place, whole, on the disk and for its owner alone, or leaves the old one. Raises OSError."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    about = os.stat(folder)
    foreign = about.st_uid not in (0, os.geteuid())
    if foreign or (about.st_mode & 0o022 and not about.st_mode & stat.S_ISVTX):
        raise OSError(errno.EPERM, "Others can write to its folder")
    temporary = f"{path}.new"
    try:
        os.unlink(temporary)  # left behind where the power failed
    except FileNotFoundError:
        pass
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    # The rename, too, is only on the disk when the folder is.
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock_folder(folder: str, wait_s: float) -> int:
    """A descriptor that holds the folder's lock until it is closed; -1 where somebody else holds it. Raises OSError.

    The folder's own: a file to lock would have to be kept beside each file that is replaced.
    """
    import fcntl

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(handle)
                return -1
            time.sleep(0.02)
        except OSError:
            os.close(handle)
            raise
