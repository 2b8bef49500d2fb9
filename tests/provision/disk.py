"""A disk that fails under a real process: at the n-th call that changes it, the process is killed, or the call fails.

`run` works in a fork of the test's own process, so that SIGKILL is a real one, and Python need not start again for each
of a hundred points. Knows the calls of `os` that change files. Must not know what is written.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What may become of a call. `before`, `after`, `half`: the process is killed then; `half` of a write is on the disk.
KILLS = ("before", "half", "after")
ERRORS = {"eio": errno.EIO, "full": errno.ENOSPC, "read-only": errno.EROFS}
_CALLS = ("open", "write", "fsync", "replace", "rename", "unlink", "mkdir")


class Ended:
    """How the process ended. code: its exit code, minus the signal. changes: how many calls there were."""

    def __init__(self, code: int, out: str, err: str, changes: list[str]) -> None:
        self.code, self.out, self.err, self.changes = code, out, err, changes

    @property
    def reached(self) -> bool:
        """Whether there was a call with the number that was to fail."""
        return "failed" in self.changes


def run(work: Callable[[], int], at: int, how: str, folder: Path, ever: bool = False) -> Ended:
    """Does the work in a process of its own whose call number `at` fails. ever: all later ones fail, too.

    folder: for what it prints. how: one of `KILLS`, or of `ERRORS`, which cannot fail a removal of what is written.
    """
    names = [folder / name for name in ("out", "err", "changes")]
    child = os.fork()
    if not child:
        _be_child(work, _Hook(at, how, ever, names[2]), names)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    out, err, changes = (path.read_text() for path in names)
    return Ended(code, out, err, changes.splitlines())


def _be_child(work: Callable[[], int], hook: _Hook, names: list[Path]) -> None:
    code = 70
    try:
        for path, stream in zip(names, (1, 2), strict=False):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        hook.begin()
        code = work()
    except BaseException as error:
        sys.stderr.write(f"Traceback: {type(error).__name__}: {error}\n")
        code = 71
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Hook:
    """In place of the calls. A descriptor that was opened to read is left alone."""

    def __init__(self, at: int, how: str, ever: bool, log: Path) -> None:
        self.at, self.how, self.ever = at, how, ever
        self.count = 0
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        self.real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in _CALLS}

    def begin(self) -> None:
        for name in _CALLS:
            setattr(os, name, self._of(name))

    def _of(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if not _changes(name, arguments):
                return self.real[name](*arguments, **more)
            self.count += 1
            self._note(name)
            if self.count != self.at and not (self.ever and self.count > self.at):
                return self.real[name](*arguments, **more)
            self._note("failed")
            if self.how in ERRORS:
                if name == "unlink" and self.how != "read-only":
                    return self.real[name](*arguments, **more)  # a full disk, too, removes files
                raise OSError(ERRORS[self.how], os.strerror(ERRORS[self.how]))
            if self.how == "half" and name == "write":
                self.real[name](arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            if self.how == "after":
                self.real[name](*arguments, **more)
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        return call

    def _note(self, text: str) -> None:
        self.real["write"](self.log, f"{text}\n".encode())


def _changes(name: str, arguments: tuple[Any, ...]) -> bool:
    if name == "open":
        return bool(arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if name == "write":
        return int(arguments[0]) > 2
    return True
