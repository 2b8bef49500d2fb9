"""Work in a child process, whose memory is freed when it ends.

Knows processes, pipes and marshal. Must not know the work. TOML's parser and its imports take 2400 kB. They are needed
for a moment and would stay in memory, because Python never unloads a module. A small router has 64 MB in all. Work that
would delay packets also runs in a child: a slow disk, the program nft.

The child is a copy of this process, so the work may use everything here; its changes are lost. The child keeps only the
standard streams of the parent's descriptors, and leads a process group, so programs that it started end with it. It
ends without an interpreter's shutdown: it flushes and removes nothing of the parent's.
"""

from __future__ import annotations

import gc
import marshal
import os
import select
import time
from collections.abc import Callable

from cpe_filter.lean import plain_signal as signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: Seconds that work may take. A policy of a megabyte takes half a second on a PC, and 20 times that on a small router.
WAIT_S = 20.0
#: Bytes of a result.
LONGEST = 16 << 20
#: Bytes read at once, and how often in a turn.
_CHUNK, _CHUNKS = 1 << 16, 16
#: No descriptor of the filter has so high a number. If libc has no close_range each is closed by a separate call.
_DESCRIPTORS = 1024
_DONE, _REFUSED, _FAILED = range(3)


class CallFailedError(RuntimeError):
    """The call has failed; the text says why."""


def call(work: Callable[[], Any], refusal: type[Exception], wait_s: float = WAIT_S) -> Any:
    """Waits for what `work` returns: None, booleans, numbers, texts, bytes, and tuples, lists and dicts of these.

    No subclasses. If `work` raises a `refusal`, so does this, with the same text. Raises `CallFailedError` for
    everything else that goes wrong.
    """
    background = BackgroundCall(work, refusal, wait_s)
    try:
        while not background.poll(wait_s):
            pass
        return background.result()
    finally:
        background.stop()


class BackgroundCall:
    """Work whose result is not waited for: its child runs next to this process. Call `poll` now and then, or `stop`.

    The work returns and refuses as with `call`. fd: readable when `poll` has something to do; -1 once it is done.
    Raises `CallFailedError` if no process could be started.
    """

    __slots__ = ("_child", "_data", "_end", "_failure", "_given_up", "_refusal", "_value", "done", "fd")

    def __init__(self, work: Callable[[], Any], refusal: type[Exception], wait_s: float = WAIT_S) -> None:
        self._end = time.monotonic() + wait_s
        self._given_up = ""
        self._data = bytearray()
        self._refusal = refusal
        self._value: Any = None
        self._failure: Exception | None = None
        self.done = False
        self._child, self.fd = _fork(work, refusal, wait_s)

    def poll(self, wait_s: float = 0.0) -> bool:
        """Whether it is done; then `result` has its result.

        wait_s: the longest time to wait. A child that the kernel holds, for a slow disk, is not waited for any longer,
        even after it was killed.
        """
        if not self.done and self._advance(wait_s):
            self.done = True
        return self.done

    def result(self) -> Any:
        """What the work returned, once it is done. Raises its refusal, or `CallFailedError`."""
        if self._failure is not None:
            raise self._failure
        return self._value

    def _advance(self, wait_s: float) -> bool:
        if not self._given_up:
            left = max(0.0, min(wait_s, self._end - time.monotonic()))
            for _ in range(_CHUNKS):
                if not _ready(self.fd, left):
                    break
                data = os.read(self.fd, _CHUNK)
                if not data:
                    self._answered()
                    return True
                self._data += data
                if len(self._data) > LONGEST:
                    self._give_up("its result is too long")
                    break
                left = 0.0
            if not self._given_up:
                if time.monotonic() < self._end:
                    return False
                self._give_up("it took too long")
        if not _has_ended(self._child, wait_s):
            return False
        self._child = 0
        return True

    def _answered(self) -> None:
        os.close(self.fd)
        self.fd = -1
        code = _end(self._child, kill=not self._data)
        self._child = 0
        kind, value = _answer(bytes(self._data), code)
        self._data.clear()
        if kind == _DONE:
            self._value = value
        else:
            self._failure = (self._refusal if kind == _REFUSED else CallFailedError)(str(value))

    def _give_up(self, reason: str) -> None:
        self._given_up = reason
        self._failure = CallFailedError(reason)
        self._data.clear()
        os.close(self.fd)
        self.fd = -1
        _kill(self._child)

    def stop(self, patience_s: float = 0.0) -> None:
        """Waits for so long, then ends it if it is not done. Does nothing once it is done."""
        if self.fd >= 0:
            _ready(self.fd, patience_s)
            os.close(self.fd)
            self.fd = -1
        if self._child:
            _end(self._child, kill=True)
            self._child = 0
        self.done = True


def _ready(fd: int, wait_s: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


def _fork(work: Callable[[], Any], refusal: type[Exception], wait_s: float) -> tuple[int, int]:
    """The child's number, and what to read its answer from. Raises `CallFailedError`."""
    try:
        read, write = os.pipe()
        try:
            child = os.fork()
        except OSError:
            os.close(read)
            os.close(write)
            raise
    except OSError as error:
        raise CallFailedError(f"no process for it: {error.strerror}") from None
    if not child:
        _be_child(work, refusal, write, wait_s)
    os.close(write)
    return child, read


def _be_child(work: Callable[[], Any], refusal: type[Exception], write: int, wait_s: float) -> NoReturn:
    code = 1
    try:
        os.setpgid(0, 0)
        gc.disable()  # it would only copy pages, and might close what belongs to the parent
        signal.alarm(int(wait_s) + 2)  # in case the parent is gone
        _let_go(write)
        try:
            answer = _DONE, work()
        except refusal as error:
            answer = _REFUSED, str(error)
        except Exception as error:
            answer = _FAILED, f"{type(error).__name__}: {error}"
        left = memoryview(marshal.dumps(answer))
        while left:
            left = left[os.write(write, left) :]
        code = 0
    finally:
        os._exit(code)


def _let_go(kept: int) -> None:
    """Closes the parent's descriptors. Otherwise a killed parent would still hold its queue through the child."""
    signal.set_wakeup_fd(-1)
    os.closerange(3, kept)
    os.closerange(kept + 1, _DESCRIPTORS)


def _answer(data: bytes, code: int) -> tuple[int, Any]:
    """The answer that `_be_child` has written. If it is missing or incomplete the exit code says why."""
    try:
        kind, value = marshal.loads(data)  # noqa: S302 - of our own making
    except (EOFError, ValueError, TypeError):
        return _FAILED, f"its process ended with {code}"
    return kind, value


def _end(child: int, kill: bool) -> int:
    """Waits for the child's end; its exit code, or minus the signal that ended it."""
    if kill:
        _kill(child)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except ChildProcessError:  # SIGCHLD is ignored, so the exit code is unknown
        return 0


def _kill(child: int) -> None:
    """Kills the child, and the programs that it may have started."""
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _has_ended(child: int, wait_s: float) -> bool:
    """Whether it has ended; if so, it has been reaped."""
    end = time.monotonic() + min(wait_s, 1.0)
    while True:
        try:
            if os.waitpid(child, os.WNOHANG)[0]:
                return True
        except ChildProcessError:
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.005)
