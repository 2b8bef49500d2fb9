"""The folder of reports (see spool_dir), on the side of `send`.

Knows files. Must not know what a report says. Not loaded by the running filter.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from typing import Any

from cpe_filter.lean.atomic_file import AtomicFile
from cpe_filter.lean.checksum import CorruptStateError
from cpe_filter.lean.files import lock_holder
from cpe_filter.report.spool import MOST_BYTES, SpoolHeader, Waiting
from cpe_filter.report.spool_dir import ARRIVED, INCIDENTS, MOST_SENT, SENT, SPOOL, listed, read, seqs_of
from cpe_filter.report.spool_file import decode


class SpoolReader:
    """The side of `send`. It opens the folders at once, while it may be root, because later it may not reach them.

    Methods that say so raise OSError.
    """

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            self._sent = os.open(SENT, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._folder)
        except OSError:
            os.close(self._folder)
            raise

    def close(self) -> None:
        os.close(self._sent)
        os.close(self._folder)

    def lock(self) -> bool:
        """Takes the lock until `close`. False if another `send` is running. Raises OSError."""
        try:
            fcntl.flock(self._sent, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def holder(self) -> int:
        """The process that has the lock; -1 if that is not known."""
        return lock_holder(self._sent)

    def stamp(self) -> tuple[int, int]:
        """Changes when the spool does."""
        try:
            status = os.stat(SPOOL, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return 0, 0
        return status.st_mtime_ns, status.st_ino

    def spool(self, boot: str) -> tuple[SpoolHeader, list[Waiting]] | None:
        """What waits to be sent and has not arrived; None if nothing was written in this boot.

        Raises OSError, `CorruptStateError`.
        """
        try:
            header, events = decode(read(SPOOL, 2 * MOST_BYTES, self._folder))
        except FileNotFoundError:
            return None
        if header.boot != boot:
            return None
        have = self.arrived(boot)
        return header, [event for event in events if event.seq not in have]

    def incidents(self) -> bytes:
        """The file by which `run` continues after a restart; only for root. Raises OSError."""
        return read(INCIDENTS, 2 * MOST_BYTES, self._folder)

    def arrived(self, boot: str) -> set[int]:
        """The seqs that have arrived."""
        try:
            return seqs_of(read(ARRIVED, MOST_SENT, self._sent), boot)
        except OSError:
            return set()

    def note(self, boot: str, seqs: Iterable[int]) -> None:
        """Adds seqs that have arrived. Raises OSError."""
        have = {*self.arrived(boot), *seqs}
        try:
            _, events = decode(read(SPOOL, 2 * MOST_BYTES, self._folder))
            have &= {event.seq for event in events}
        except (OSError, CorruptStateError):
            pass
        # Events that run has removed meanwhile never return.
        self._replace(ARRIVED, listed(boot, have))

    def read(self, name: str) -> Any:
        """The JSON in a file of `send`; None if there is none that can be used."""
        try:
            return json.loads(read(name, MOST_SENT, self._sent))
        except (OSError, ValueError, RecursionError):
            return None

    def write(self, name: str, content: Any) -> None:
        """Replaces a file of `send` by one with this JSON. Raises OSError."""
        self._replace(name, json.dumps(content, separators=(",", ":")).encode())

    def _replace(self, name: str, data: bytes) -> None:
        file = AtomicFile(name, folder=self._sent)
        file.write(data)
        file.finish()
