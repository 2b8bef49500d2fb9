"""Files of ours on a router: read only where nobody else can have written them, replaced whole, folders locked.

Knows files and permissions. Must not know what is in them.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from cpe_filter.lean.atomic_file import AtomicFile


def read(path: str, most: int) -> bytes:
    """At most so many bytes of a regular file that only its owner, we or root, can have written. Raises OSError."""
    # Not blocking: a pipe in its place must not hold us up.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        if about.st_uid not in (0, os.geteuid()) or about.st_mode & 0o022:
            raise OSError(errno.EPERM, "Others can write to it")
        return file.read(most)


def replace(path: str, content: bytes) -> None:
    """Puts a file in its place, whole, on the disk and for its owner alone, or leaves the old one. Raises OSError."""
    make_folder(path)
    file = AtomicFile(path)
    file.write(content)
    file.finish(durable=True)


def make_folder(path: str) -> None:
    """The folder of the file `path`. Raises OSError, also where others can write to it."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    about = os.stat(folder)
    foreign = about.st_uid not in (0, os.geteuid())
    if foreign or (about.st_mode & 0o022 and not about.st_mode & stat.S_ISVTX):
        raise OSError(errno.EPERM, "Others can write to its folder")


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
