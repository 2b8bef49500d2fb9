"""Work done apart: in a child process, which takes the memory that it needed along when it ends.

Knows processes, pipes and marshal. Must not know what is worked on. TOML's parser and what it imports take 1.5 MB, are
wanted for a moment, and would stay for good: Python forgets no module. A small router has 64 MB in all.

The child is a copy of this process, so the work may use all that is here; what it changes is lost. Of what the parent
has open it has the standard streams alone. It ends without an interpreter's end: nothing of ours is flushed or removed
by it.
"""

from __future__ import annotations

import gc
import marshal
import os
import select
import time
from collections.abc import Callable

from cpe_filter import plain_signal as signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: Seconds that work may take. A policy of a megabyte takes half a second here, and 20 times that on a small router.
WAIT_S = 20.0
#: Bytes of a result.
LONGEST = 16 << 20
_CHUNK = 1 << 16
#: No descriptor of the filter has so high a number. Where libc has no close_range each is closed by a call of its own.
_DESCRIPTORS = 1024
_DONE, _REFUSED, _FAILED = range(3)


class Unfinished(RuntimeError):
    """There is no result; the text says why."""


def result(work: Callable[[], Any], refusal: type[Exception], wait_s: float = WAIT_S) -> Any:
    """What `work` returns: None, booleans, numbers, texts, bytes, and tuples, lists and dicts of these, no subclasses.

    A `refusal` that it raises is raised here, too, made of its text. Raises `Unfinished` for all that goes wrong else.
    """
    end = time.monotonic() + wait_s
    child, read = _fork(work, refusal, wait_s)
    data, code = b"", 0
    try:
        data = _read(read, end)
    finally:
        os.close(read)
        code = _end(child, kill=not data)
    kind, value = _answer(data, code)
    if kind == _REFUSED:
        raise refusal(value)
    if kind == _FAILED:
        raise Unfinished(value)
    return value


class Errand:
    """Work that nobody waits for: its child runs beside us. Ask `over` now and then, or `stop` it.

    Raises `Unfinished` where there is no process for it.
    """

    def __init__(self, work: Callable[[], None], refusal: type[Exception], wait_s: float = WAIT_S) -> None:
        self._end = time.monotonic() + wait_s
        self._child, self._read = _fork(work, refusal, wait_s)

    def over(self) -> str | None:
        """None while it goes on; then, once, "" or what went wrong."""
        if not _ready(self._read):
            if time.monotonic() < self._end:
                return None
            self.stop()
            return "it took too long"
        try:
            # A word or a line: it came whole, since it is less than PIPE_BUF.
            data = os.read(self._read, _CHUNK)
        finally:
            os.close(self._read)
        code = _end(self._child, kill=not data)
        kind, value = _answer(data, code)
        return "" if kind == _DONE else str(value)

    def stop(self, patience_s: float = 0.0) -> None:
        """Ends it; wherever it is then, when it has been waited for."""
        _ready(self._read, patience_s)
        os.close(self._read)
        _end(self._child, kill=True)


def _ready(fd: int, wait_s: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


def _fork(work: Callable[[], Any], refusal: type[Exception], wait_s: float) -> tuple[int, int]:
    """The child's number, and what to read its answer from. Raises `Unfinished`."""
    try:
        read, write = os.pipe()
        try:
            child = os.fork()
        except OSError:
            os.close(read)
            os.close(write)
            raise
    except OSError as error:
        raise Unfinished(f"no process for it: {error.strerror}") from None
    if not child:
        _be_child(work, refusal, write, wait_s)
    os.close(write)
    return child, read


def _be_child(work: Callable[[], Any], refusal: type[Exception], write: int, wait_s: float) -> NoReturn:
    code = 1
    try:
        gc.disable()  # it would only copy pages, and might close what is the parent's
        signal.alarm(int(wait_s) + 2)  # where nobody is left to end us
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
    """Closes what the parent has open: killed, it would else hold its queue through us."""
    signal.set_wakeup_fd(-1)
    os.closerange(3, kept)
    os.closerange(kept + 1, _DESCRIPTORS)


def _read(read: int, end: float) -> bytes:
    """All that the child writes. Raises `Unfinished`."""
    poll = select.poll()
    poll.register(read, select.POLLIN)
    data = bytearray()
    while len(data) <= LONGEST:
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            raise Unfinished("it took too long")
        chunk = os.read(read, _CHUNK)
        if not chunk:
            return bytes(data)
        data += chunk
    raise Unfinished("its result is too long")


def _answer(data: bytes, code: int) -> tuple[int, Any]:
    """What the child has written, as `_be_child` wrote it; its exit code tells where that is nothing, or not whole."""
    try:
        kind, value = marshal.loads(data)  # noqa: S302 - of our own making
    except (EOFError, ValueError, TypeError):
        return _FAILED, f"its process ended with {code}"
    return kind, value


def _end(child: int, kill: bool) -> int:
    """Waits for the child's end; its exit code, or minus the signal that ended it."""
    try:
        if kill:
            os.kill(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except (ProcessLookupError, ChildProcessError):  # SIGCHLD is ignored: nobody can tell
        return 0
