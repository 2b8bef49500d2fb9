"""Work in a child process: its result, its refusals, everything that can end it, and that nothing is left of it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.lean.forked import LONGEST, Errand, Unfinished, result
from tests.lab.net import PROJECT


class Refused(ValueError):
    pass


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No descriptor, and no process that nobody has waited for."""
    before = descriptors()
    yield
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def raising(error: BaseException) -> Callable[[], Any]:
    def work() -> Any:
        raise error

    return work


VALUE: Any = (None, True, -(1 << 99), 1.5, "ü\udcff", b"\0\xff", [1, (2,)], {"a": {}}, float("inf"))


def test_the_result() -> None:
    assert result(lambda: VALUE, Refused) == VALUE
    assert result(lambda: None, Refused) is None
    long = os.urandom(3_000_000)  # more than a pipe holds
    assert result(lambda: long, Refused) == long


def test_memory_is_not_shared() -> None:
    seen: list[int] = []

    def work() -> int:
        import quopri

        seen.append(1)
        return len(seen) + len(quopri.encodestring(b"x"))

    sys.modules.pop("quopri", None)
    assert result(work, Refused) == 2
    assert seen == []
    assert "quopri" not in sys.modules


def test_a_refusal_is_raised_here() -> None:
    with pytest.raises(Refused, match=r"^wrong: ü\udcff$"):
        result(raising(Refused("wrong: ü\udcff")), Refused)
    with pytest.raises(Unfinished, match=r"^ValueError: 5$"):
        result(raising(ValueError(5)), Refused)


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (raising(RecursionError("deep")), "RecursionError: deep"),
        (raising(KeyboardInterrupt()), "ended with 1"),
        (raising(SystemExit(0)), "ended with 1"),
        (object, "ended with 1"),
        (lambda: os._exit(0), "ended with 0"),
        (lambda: os._exit(7), "ended with 7"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "ended with -9"),
        (lambda: b"x" * (LONGEST + 1), "too long"),
    ],
)
def test_no_result(work: Callable[[], Any], says: str) -> None:
    with pytest.raises(Unfinished, match=says):
        result(work, Refused)


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    child = tmp_path / "child"

    def work() -> None:
        child.write_text(str(os.getpid()))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)

    begun = time.monotonic()
    with pytest.raises(Unfinished, match="too long"):
        result(work, Refused, 0.3)
    assert time.monotonic() - begun < 2
    with pytest.raises(ProcessLookupError):
        os.kill(int(child.read_text()), 0)


def test_it_ends_by_itself_where_nobody_waits() -> None:
    """A child whose parent was killed."""
    program = (
        "import os, signal, sys, time\n"
        "from cpe_filter.lean import forked as apart\n"
        "def work():\n"
        "    print('begun', flush=True)\n"
        "    os.kill(os.getppid(), signal.SIGKILL)\n"
        "    while True: pass\n"
        "apart.result(work, ValueError, 0.9)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=PROJECT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    assert process.wait() == -signal.SIGKILL
    # Its end can be read once all who could write have gone.
    assert select.select([process.stdout], [], [], 5)[0]
    assert process.stdout.read() == b""
    process.stdout.close()


def test_signals_are_the_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes meanwhile is handled, and wakes the loop, while the work goes on."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    seen: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, frame: seen.append(number))
    signal.set_wakeup_fd(write)
    try:

        def work() -> int:
            os.kill(os.getppid(), signal.SIGHUP)
            time.sleep(0.1)
            return 5

        assert result(work, Refused) == 5
        assert seen == [signal.SIGHUP]
        assert os.read(read, 9) == bytes([signal.SIGHUP])
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGHUP, before)
        os.close(read)
        os.close(write)


def test_where_children_are_not_waited_for() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert result(lambda: VALUE, Refused) == VALUE
        with pytest.raises(Unfinished):
            result(lambda: os._exit(3), Refused)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_where_there_can_be_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(Unfinished, match=r"^no process for it: Resource"):
        result(lambda: 1, Refused)


# ── work that nobody waits for ──────────────────────────────────────────────────────────────────────


def over(errand: Errand, seconds: float = 10) -> str:
    end = time.monotonic() + seconds
    while (said := errand.over()) is None:
        assert time.monotonic() < end
        time.sleep(0.005)
    return said


def test_an_errand_does_not_hold_us_up(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def work() -> None:
        time.sleep(0.3)
        mark.write_text("done")

    began = time.monotonic()
    errand = Errand(work, Refused)
    assert errand.over() is None
    assert time.monotonic() - began < 0.2
    assert over(errand) == ""
    assert mark.read_text() == "done"


def test_an_errand_brings_back_what_it_was_for() -> None:
    for value in (VALUE, None, os.urandom(3_000_000)):  # more than a pipe holds
        errand = Errand(lambda value=value: value, Refused)  # type: ignore[misc]
        assert over(errand) == ""
        assert (errand.value, errand.refused, errand.fd) == (value, False, -1)
        errand.stop()  # does nothing


def test_a_refusal_is_told_from_what_goes_wrong() -> None:
    for error, refused in ((Refused("x"), True), (KeyError("x"), False)):
        errand = Errand(raising(error), Refused)
        assert over(errand)
        assert errand.refused is refused


def test_an_errand_is_readable_when_there_is_something_to_do() -> None:
    errand = Errand(lambda: time.sleep(0.2), Refused)
    assert not select.select([errand.fd], [], [], 0)[0]
    assert select.select([errand.fd], [], [], 5)[0]
    assert over(errand) == ""


def test_a_child_that_the_kernel_holds_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, it ends when the disk lets it go."""
    errand = Errand(lambda: time.sleep(60), Refused, wait_s=0.05)
    time.sleep(0.1)
    with monkeypatch.context() as patch:
        patch.setattr("cpe_filter.lean.forked.os.waitpid", lambda child, options: (0, 0))
        begun = time.monotonic()
        assert [errand.over() for _ in range(5)] == [None] * 5
        assert time.monotonic() - begun < 0.2
        assert errand.fd == -1
    assert over(errand) == "it took too long"


@pytest.mark.parametrize(
    ("error", "says"),
    [(Refused("not this"), "not this"), (KeyError("x"), "KeyError: 'x'"), (SystemExit(3), "its process ended with 1")],
)
def test_what_goes_wrong_on_an_errand_is_said(error: BaseException, says: str) -> None:
    assert over(Errand(raising(error), Refused)) == says


def test_an_errand_that_takes_too_long_is_ended() -> None:
    assert over(Errand(lambda: time.sleep(60), Refused, wait_s=0.2)) == "it took too long"


def test_an_errand_is_stopped() -> None:
    Errand(lambda: time.sleep(60), Refused).stop()
    errand = Errand(lambda: time.sleep(0.2), Refused)
    began = time.monotonic()
    errand.stop(5)  # it is waited for, and no longer than it takes
    assert 0.1 < time.monotonic() - began < 4


def test_an_errand_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(Unfinished, match="no process for it: Resource temporarily unavailable"):
        Errand(lambda: None, Refused)


def test_a_child_holds_nothing_open_that_is_its_parent_s() -> None:
    # A filter that is killed would else hold its queue for as long as its child works.
    read, write = os.pipe()
    errand = Errand(lambda: time.sleep(60), Refused)
    time.sleep(0.2)
    os.close(write)
    assert os.read(read, 1) == b""  # the other end is closed everywhere
    os.close(read)
    errand.stop()
