"""The folder in tmpfs through which `run` passes reports to `send`: two processes, two users, no lock between them.

Knows files and permissions. Must not know what a report says. Each side writes only where the other cannot, and each
file is replaced in one step, so neither can corrupt, block or mislead the other beyond what it writes itself:

    report/           root and the group of [report] user, 0750
      spool           0640, written by run: what waits to be sent
      incidents       0600, written by run: what it knows itself again by (see report.persistence)
      sent/           0700, the user's: run only reads there
        arrived       which events the collector has; run takes them out of the spool
        plan          when to send next
        last          the last requests, for `cpe-filter report show`
        instructions  signed documents of the collector, for run to judge

After the collector's answer `send` writes which events have arrived, and run removes them later. If `send` is killed in
between it sends them again, and the collector recognises them by their seq. `arrived` names only events in the spool. A
seq is never used twice in a boot, so an event that has left the spool never returns.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable

from cpe_filter.lean.atomic_file import AtomicFile
from cpe_filter.lean.clocks import Uptime
from cpe_filter.lean.log import Log, warning
from cpe_filter.report.spool import MOST_BYTES

SPOOL, INCIDENTS, SENT = "spool", "incidents", "sent"
ARRIVED, PLAN, LAST, INSTRUCTIONS = "arrived", "plan", "last", "instructions"
#: Bytes of a file in `sent`.
MOST_SENT = 160 << 10
#: Seqs that `arrived` may name: no more events fit into a spool.
MOST_SEQS = 4096


def folder(status_file: str) -> str:
    """Where the folder is: next to the status file."""
    return os.path.join(os.path.dirname(status_file), "report")


def boot_id() -> str:
    """The kernel's name for this boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read(64).strip()


def uptime() -> Uptime:
    """Seconds since boot, including sleep."""
    return Uptime(time.clock_gettime(time.CLOCK_BOOTTIME))


class SpoolWriter:
    """The side of `run`. Methods that say so raise OSError."""

    def __init__(self, path: str, user: str, log: Log) -> None:
        self._path = path
        self._log = log
        self._stamp: tuple[int, int] | None = None
        self._uid, self._gid = self._who(user)

    def _who(self, user: str) -> tuple[int, int]:
        """(-1, -1) if there is no such user, or if this process may not change owners."""
        if os.geteuid() != 0:
            return -1, -1
        import pwd

        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            self._log(warning(f"reports wait for root alone: [report] user names {user}, and there is no such user"))
            return -1, -1
        return entry.pw_uid, entry.pw_gid

    def make(self) -> None:
        """The folder, with the right owners. Raises OSError."""
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        for path, mode, uid in ((self._path, 0o750, -1), (os.path.join(self._path, SENT), 0o700, self._uid)):
            try:
                os.mkdir(path, mode)
            except FileExistsError:
                pass
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                os.fchown(handle, uid, self._gid)
                os.fchmod(handle, mode)
            finally:
                os.close(handle)

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Replaces a file of ours. Raises OSError; the old one then stays."""
        file = AtomicFile(os.path.join(self._path, name), mode, group=self._gid)
        file.write(data)
        file.finish()

    def read(self, name: str) -> bytes | None:
        """A file that `run` has written; None if there is none that can be used."""
        try:
            return read(os.path.join(self._path, name), 2 * MOST_BYTES)
        except OSError:
            return None

    def instructions(self) -> str:
        """The path of the signed documents that `send` has left."""
        return os.path.join(self._path, SENT, INSTRUCTIONS)

    def arrived(self, boot: str) -> set[int]:
        """The seqs that have arrived, if that has changed since the last call. Their writer is not trusted."""
        path = os.path.join(self._path, SENT, ARRIVED)
        try:
            status = os.stat(path, follow_symlinks=False)
            stamp = status.st_mtime_ns, status.st_ino
            if stamp == self._stamp:
                return set()
            self._stamp = stamp
            return seqs_of(read(path, MOST_SENT), boot)
        except OSError:
            return set()


def read(path: str, most: int, folder: int | None = None) -> bytes:
    """A regular file, at most so many bytes of it. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        return file.read(most)


def listed(boot: str, seqs: Iterable[int]) -> bytes:
    """The file `arrived`: the boot, and a seq on each line. The newest, if there are too many."""
    return "\n".join((boot, *map(str, sorted(seqs)[-MOST_SEQS:]), "")).encode()


def seqs_of(data: bytes, boot: str) -> set[int]:
    """What `listed` was given; of another boot, or of anything else, nothing."""
    first, *lines = data.split(b"\n")
    if first != boot.encode() or not lines or lines.pop():
        return set()
    return {int(line) for line in lines[:MOST_SEQS] if line.isdigit() and len(line) <= 10}
