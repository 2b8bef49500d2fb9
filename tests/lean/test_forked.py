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

from cpe_filter.lean.forked import LONGEST, BackgroundCall, CallFailedError, call
from tests.lab.net import DEADLINE_S, PROJECT
from tests.processes import nothing_left


class RefusalError(ValueError):
    pass


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with nothing_left():
        yield


def raising(error: BaseException) -> Callable[[], Any]:
    def work() -> Any:
        raise error

    return work


VALUE: Any = (None, True, -(1 << 99), 1.5, "ü\udcff", b"\0\xff", [1, (2,)], {"a": {}}, float("inf"))


def test_the_call() -> None:
    assert call(lambda: VALUE, RefusalError) == VALUE
    assert call(lambda: None, RefusalError) is None
    long = os.urandom(3_000_000)  # more than a pipe holds
    assert call(lambda: long, RefusalError) == long


def test_memory_is_not_shared() -> None:
    seen: list[int] = []

    def work() -> int:
        import quopri

        seen.append(1)
        return len(seen) + len(quopri.encodestring(b"x"))

    sys.modules.pop("quopri", None)
    assert call(work, RefusalError) == 2
    assert seen == []
    assert "quopri" not in sys.modules


def test_a_refusal_is_raised_here() -> None:
    with pytest.raises(RefusalError, match=r"^wrong: ü\udcff$"):
        call(raising(RefusalError("wrong: ü\udcff")), RefusalError)
    with pytest.raises(CallFailedError, match=r"^ValueError: 5$"):
        call(raising(ValueError(5)), RefusalError)


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
def test_no_call(work: Callable[[], Any], says: str) -> None:
    with pytest.raises(CallFailedError, match=says):
        call(work, RefusalError)


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    child = tmp_path / "child"

    def work() -> None:
        child.write_text(str(os.getpid()))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)

    begun = time.monotonic()
    with pytest.raises(CallFailedError, match="too long"):
        call(work, RefusalError, 0.3)
    assert time.monotonic() - begun < 30  # and not 60
    with pytest.raises(ProcessLookupError):
        os.kill(int(child.read_text()), 0)


def test_it_ends_by_itself_where_nobody_waits() -> None:
    """A child whose parent was killed."""
    program = (
        "import os, signal, sys, time\n"
        "from cpe_filter.lean.forked import call\n"
        "def work():\n"
        "    print('begun', flush=True)\n"
        "    os.kill(os.getppid(), signal.SIGKILL)\n"
        "    while True: pass\n"
        "call(work, ValueError, 0.9)\n"
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

        assert call(work, RefusalError) == 5
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
        assert call(lambda: VALUE, RefusalError) == VALUE
        with pytest.raises(CallFailedError):
            call(lambda: os._exit(3), RefusalError)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_where_there_can_be_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(CallFailedError, match=r"^no process for it: Resource"):
        call(lambda: 1, RefusalError)


# ── work that nobody waits for ──────────────────────────────────────────────────────────────────────


def outcome(background: BackgroundCall, seconds: float = DEADLINE_S) -> Any:
    """The result, waited for."""
    end = time.monotonic() + seconds
    while not background.poll():
        assert time.monotonic() < end
        time.sleep(0.005)
    return background.result()


def test_a_background_call_does_not_hold_us_up(tmp_path: Path) -> None:
    mark, go = tmp_path / "mark", tmp_path / "go"

    def work() -> None:
        while not go.exists():
            time.sleep(0.01)
        mark.write_text("done")

    background = BackgroundCall(work, RefusalError)
    assert not background.poll()
    go.touch()
    assert outcome(background) is None
    assert mark.read_text() == "done"


def test_a_background_call_brings_back_its_result() -> None:
    for value in (VALUE, None, os.urandom(3_000_000)):  # more than a pipe holds
        background = BackgroundCall(lambda value=value: value, RefusalError)  # type: ignore[misc]
        assert outcome(background) == value
        assert background.fd == -1
        assert background.poll()  # as often as somebody asks
        assert background.result() == value
        background.stop()  # does nothing
        assert background.result() == value


def test_a_refusal_is_told_from_what_goes_wrong() -> None:
    with pytest.raises(RefusalError, match=r"^x$"):
        outcome(BackgroundCall(raising(RefusalError("x")), RefusalError))
    with pytest.raises(CallFailedError, match=r"^KeyError: 'x'$"):
        outcome(BackgroundCall(raising(KeyError("x")), RefusalError))


def test_a_background_call_is_readable_when_there_is_something_to_do() -> None:
    background = BackgroundCall(lambda: time.sleep(0.2), RefusalError)
    assert not select.select([background.fd], [], [], 0)[0]
    assert select.select([background.fd], [], [], DEADLINE_S)[0]
    assert outcome(background) is None


def test_programs_that_the_work_started_end_with_it(tmp_path: Path) -> None:
    """Else nft would change the ruleset after everybody thought that it had been given up."""
    mark = tmp_path / "pid"

    def work() -> None:
        program = subprocess.Popen(["sleep", "60"])
        mark.write_text(str(program.pid))
        program.wait()

    background = BackgroundCall(work, RefusalError, wait_s=0.7)
    with pytest.raises(CallFailedError, match="too long"):
        outcome(background)
    end = time.monotonic() + DEADLINE_S
    while Path(f"/proc/{mark.read_text()}/stat").exists() and time.monotonic() < end:
        if Path(f"/proc/{mark.read_text()}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.01)
    assert time.monotonic() < end


def test_a_child_that_the_kernel_holds_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, it ends when the disk lets it go."""
    background = BackgroundCall(lambda: time.sleep(60), RefusalError, wait_s=0.05)
    time.sleep(0.1)
    with monkeypatch.context() as patch:
        patch.setattr("cpe_filter.lean.forked.os.waitpid", lambda child, options: (0, 0))
        begun = time.monotonic()
        assert [background.poll() for _ in range(5)] == [False] * 5
        assert time.monotonic() - begun < 30  # and not 60
        assert background.fd == -1
    with pytest.raises(CallFailedError, match=r"^it took too long$"):
        outcome(background)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RefusalError("not this"), "not this"),
        (KeyError("x"), "KeyError: 'x'"),
        (SystemExit(3), "its process ended with 1"),
    ],
)
def test_what_goes_wrong_in_a_background_call_is_said(error: BaseException, says: str) -> None:
    with pytest.raises((RefusalError, CallFailedError)) as caught:
        outcome(BackgroundCall(raising(error), RefusalError))
    assert str(caught.value) == says


def test_a_background_call_that_takes_too_long_is_ended() -> None:
    with pytest.raises(CallFailedError, match=r"^it took too long$"):
        outcome(BackgroundCall(lambda: time.sleep(60), RefusalError, wait_s=0.2))


def test_a_background_call_is_stopped() -> None:
    BackgroundCall(lambda: time.sleep(60), RefusalError).stop()
    background = BackgroundCall(lambda: time.sleep(0.2), RefusalError)
    began = time.monotonic()
    background.stop(DEADLINE_S)  # it is waited for, and no longer than it takes
    assert 0.1 < time.monotonic() - began < DEADLINE_S / 2


def test_a_background_call_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(CallFailedError, match="no process for it: Resource temporarily unavailable"):
        BackgroundCall(lambda: None, RefusalError)


def test_a_child_holds_nothing_open_that_is_its_parent_s() -> None:
    # A filter that is killed would else hold its queue for as long as its child works.
    read, write = os.pipe()
    background = BackgroundCall(lambda: time.sleep(60), RefusalError)
    time.sleep(0.2)
    os.close(write)
    assert os.read(read, 1) == b""  # the other end is closed everywhere
    os.close(read)
    background.stop()
