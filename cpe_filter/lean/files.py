"""The filter's own files on a router: read if no other user can have written them, replaced in one step; folder locks.

Knows files and permissions. Must not know what is in them.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from cpe_filter.lean.atomic_file import AtomicFile


def read(path: str, most: int) -> bytes:
    """Reads at most so many bytes of a regular file that only this user or root can have written. Raises OSError."""
    # Not blocking: a pipe in its place must not hold us up.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            raise OSError(errno.EPERM, "Others can write to it", path)
        return file.read(most)


def replace(path: str, content: bytes) -> None:
    """Replaces a file: synced to disk, readable by its owner alone. On failure the old file stays. Raises OSError."""
    make_folder(path)
    file = AtomicFile(path)
    file.write(content)
    file.finish(durable=True)


def make_folder(path: str) -> None:
    """The folder of the file `path`. Raises OSError, also if other users can write to the folder."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    status = os.stat(folder)
    foreign = status.st_uid not in (0, os.geteuid())
    if foreign or (status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX):
        raise OSError(errno.EPERM, "Others can write to its folder", path)


def lock_holder(handle: int) -> int:
    """The process that has flock's lock of an open file; -1 if that is not known (proc_locks(5))."""
    status = os.fstat(handle)
    place = b"%02x:%02x:%d" % (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)
    try:
        with open("/proc/locks", "rb") as locks:
            for line in locks:
                words = line.split()
                if words[1:2] == [b"FLOCK"] and place in words:
                    return int(words[4])
    except (OSError, ValueError, IndexError):
        pass
    return -1


def already_running(pid: int) -> str:
    """The one wording for this. pid: -1 if it is not known."""
    return "already running" + (f" (pid {pid})" if pid > 0 else "")


def lock_folder(folder: str, wait_s: float) -> int:
    """A descriptor that holds the folder's lock until it is closed; -1 if another process holds it. Raises OSError.

    The folder itself is locked. Otherwise each file that is replaced would need a lock file next to it.
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
