"""Work in steps. Slow steps run in child processes while packets go on.

Knows when a step is done. Must not know what is done. A job is a generator: it yields a call that runs in the
background and gets the call's result, or its error, when that is done. What it returns is the answer.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, Protocol, TypeVar

    _Result = TypeVar("_Result")

    class Call(Protocol):
        """What a job waits for, as lean.forked.BackgroundCall is."""

        @property
        def fd(self) -> int:
            """Readable when `poll` has something to do; -1 if there is no descriptor."""

        def poll(self) -> bool:
            """Whether it is done."""

        def result(self) -> Any:
            """Its result. May raise."""

        def stop(self, patience_s: float = 0.0) -> None:
            """Ends it."""

    Steps = Generator[Call, Any, _Result]
    Answer = dict[str, Any]


class Job:
    """For the control socket (control_socket.Later): an answer that comes later."""

    __slots__ = ("_call", "_steps", "is_done")

    def __init__(self, steps: Steps[Answer]) -> None:
        self._steps = steps
        self._call: Call | None = None
        self.is_done = False

    @property
    def fd(self) -> int:
        return self._call.fd if self._call is not None else -1

    def advance(self) -> Answer | None:
        """The answer, or None if it is not ready. Raises what the generator raises."""
        while self._call is None or self._call.poll():
            try:
                self._call = self._continue()
            except StopIteration as end:
                self.is_done = True
                answer: Answer = end.value
                return answer
            except BaseException:
                self.is_done = True
                raise
        return None

    def _continue(self) -> Call:
        if self._call is None:
            return next(self._steps)
        try:
            value = self._call.result()
        except Exception as error:
            return self._steps.throw(error)
        return self._steps.send(value)

    def stop(self, patience_s: float = 0.0) -> None:
        """Ends it at its current step; waits for so long for a running step."""
        self.is_done = True
        if self._call is not None:
            self._call.stop(patience_s)
        self._steps.close()


class Until:
    """A call that is done when a condition holds; checked each second."""

    __slots__ = ("_is_so",)
    fd = -1

    def __init__(self, is_so: Callable[[], bool]) -> None:
        self._is_so = is_so

    def poll(self) -> bool:
        return self._is_so()

    def result(self) -> None:
        return None

    def stop(self, patience_s: float = 0.0) -> None:
        """There is nothing to end."""
