"""Programs of the system, each run to its end: nft.

Knows where programs are, how to start one without a shell, give it input, read its output, and kill it after its time
limit. Must not know what any of them does. subprocess does this and much more, but its import takes 0.7 MB, and it
forks; posix_spawn starts a program without a copy of this process's page tables.
"""

from __future__ import annotations

import errno
import os
import select
import time

from cpe_filter.lean import plain_signal as signal
from cpe_filter.lean.named_tuple import NamedTuple

#: Seconds that a program has; then it is killed.
TIMEOUT_S = 20.0
#: The most bytes that are kept of each of a program's outputs. The rest is read and dropped.
LONGEST = 1 << 20
#: Seconds between two checks whether a program that has closed its outputs has ended: the first, and the longest.
_FIRST_S, _LAST_S = 0.0005, 0.05
_CHUNK = 1 << 16
#: Signals that Python ignores are reset for the programs it starts.
_AS_IT_WAS = (signal.SIGPIPE, signal.SIGXFSZ)


class Done(NamedTuple):
    """A program has ended. code: its exit status, or minus the signal that ended it."""

    code: int
    out: bytes
    errors: bytes


def find(name: str) -> str | None:
    """The path of a program; looks also where administrators' programs are."""
    for folder in (*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin"):
        path = os.path.join(folder, name)
        if folder and os.access(path, os.X_OK):
            return path
    return None


def run(name: str, *arguments: str, given: bytes = b"", timeout_s: float = TIMEOUT_S) -> Done:
    """Runs a program with `given` on its standard input, and waits until it ends.

    Raises OSError: FileNotFoundError if there is no such program, TimeoutError if it took too long.
    """
    path = find(name)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    end = time.monotonic() + timeout_s
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for writes in (True, False, False):
            read, write = os.pipe()  # not inherited, but for the three that are made standard streams
            ours.append(write if writes else read)
            theirs.append(read if writes else write)
        streams = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(theirs)]
        process = os.posix_spawn(path, [path, *arguments], os.environ, file_actions=streams, setsigdef=_AS_IT_WAS)
        _close(theirs)
        try:
            out, errors = _converse(ours, given, end)
            _close(ours)
            return Done(_wait(process, end), out, errors)
        except BaseException:
            _kill(process)
            raise
    finally:
        _close(ours)
        _close(theirs)


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _converse(ours: list[int], given: bytes, end: float) -> tuple[bytes, bytes]:
    """Writes the program's input and reads both its outputs until it has closed them. ours: these three descriptors."""
    to_program, out, errors = ours
    os.set_blocking(to_program, False)
    poll = select.poll()
    poll.register(to_program, select.POLLOUT)
    read = {out: bytearray(), errors: bytearray()}
    for fd in read:
        poll.register(fd, select.POLLIN)
    left, reading = memoryview(given), len(read)
    while reading:
        seconds = end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "not done in time, ended")
        for fd, _ in poll.poll(seconds * 1000):
            if fd == to_program:
                left = _write(fd, left)
                if not left:  # end of input: the program has all of it
                    poll.unregister(fd)
                    ours.remove(fd)
                    os.close(fd)
                continue
            data = os.read(fd, _CHUNK)
            if not data:
                poll.unregister(fd)
                reading -= 1
            read[fd] += data[: LONGEST - len(read[fd])]
    return bytes(read[out]), bytes(read[errors])


def _write(fd: int, left: memoryview) -> memoryview:
    """What is left to write; nothing if the program reads no more."""
    try:
        return left[os.write(fd, left) :] if left else left
    except BlockingIOError:
        return left
    except BrokenPipeError:
        return left[:0]


def _wait(process: int, end: float) -> int:
    """The exit code of a program that has closed its outputs, which is not its end yet."""
    pause = _FIRST_S
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            raise TimeoutError(errno.ETIMEDOUT, "not done in time, ended")
        time.sleep(pause)
        pause = min(2 * pause, _LAST_S)


def _kill(process: int) -> None:
    """Ends a program, and reaps it, so that it does not stay as a zombie."""
    try:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
