"""A file that replaces another in one step, so that a reader sees the complete old file or the complete new one.

Knows files. Must not know what is in them. Saves 1320 kB, which tempfile takes with `shutil` and `random`. Until
`finish` the bytes are in a temporary file next to it. A process that is killed earlier leaves the temporary file, and
the next writer removes it.

Every file that another program or a later start reads is written with this. Only what has to survive a power cut is
`durable`, since each sync wears the router's flash and may take seconds:

    state, open incidents, exemptions, key of the pseudonyms    durable: on flash, and cannot be made again
    exports of the collector, pages of `replay --html`          durable: people have asked for them, and keep them
    status, metrics, spool, `arrived`, plan, recent state       not: in tmpfs, gone with a reboot anyway
    the notice's page                                           not: it is made again after a start

`files.replace` is the durable way for the router's own files, and looks at who can write to the folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

#: Seconds that a slice takes. Where a machine is so slow that one piece takes longer, a slice is one piece.
SLICE_S = 0.002


class AtomicFile:
    """Call `write` or `write_slice` as often as necessary, then `finish`, `publish` or `abandon`.

    A call that raises OSError has abandoned the new file: the old one stays. mode: permissions as for chmod, whatever
    the umask; masked: less what the umask takes away. temporary: another name in the folder, for files that several
    processes write, or whose folder is watched. group: who may read it besides, -1: as it comes. folder: a descriptor
    that paths start from, for a process that cannot reach the folder by its name. `fd`: to read what was written; -1
    when it is closed.
    """

    __slots__ = ("_folder", "_path", "_temporary", "fd")

    def __init__(
        self,
        path: str,
        mode: int = 0o600,
        temporary: str = "",
        masked: bool = False,
        group: int = -1,
        folder: int | None = None,
    ) -> None:
        """Raises OSError, also where the folder does not exist."""
        self._path = path
        self._temporary = temporary or f"{path}.new"
        self._folder = folder
        try:
            os.unlink(self._temporary, dir_fd=folder)  # of a process that was killed; a link is not followed
        except FileNotFoundError:
            pass
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self.fd = os.open(self._temporary, flags, mode if masked else 0o600, dir_fd=folder)
        if mode != 0o600 and not masked:
            try:
                os.fchown(self.fd, -1, group)
                os.fchmod(self.fd, mode)
            except OSError:
                self.abandon()
                raise

    def write(self, content: bytes) -> None:
        """Adds bytes. Raises OSError."""
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(self.fd, left) :]
        except OSError:
            self.abandon()
            raise

    def write_slice(self, pieces: Iterator[bytes]) -> bool:
        """Adds the pieces that are made within `SLICE_S`, at least one. False at the end. Raises OSError."""
        end = time.perf_counter() + SLICE_S
        for piece in pieces:
            self.write(piece)  # one by one: Python would not give back the memory of a collected slice
            if time.perf_counter() >= end:
                return True
        return False

    def publish(self) -> None:
        """Puts the file in its place; `fd` stays open. Raises OSError."""
        try:
            os.replace(self._temporary, self._path, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            self.abandon()
            raise

    def finish(self, durable: bool = False) -> None:
        """Puts the file in its place. durable: syncs it to the disk, however long that takes. Raises OSError."""
        if durable:
            try:
                os.fsync(self.fd)
            except OSError:
                self.abandon()
                raise
        self.publish()
        self.close()
        if durable:  # the rename, too, is only on the disk when the folder is
            handle = os.open(os.path.dirname(self._path) or ".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._folder)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def close(self) -> None:
        """After `publish`."""
        fd, self.fd = self.fd, -1
        os.close(fd)

    def abandon(self) -> None:
        """Leaves the old file as it is. May be called twice."""
        if self.fd < 0:
            return
        self.close()
        try:
            os.unlink(self._temporary, dir_fd=self._folder)
        except OSError:
            pass
