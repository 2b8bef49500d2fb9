"""Programs run to their end: what goes in and comes out, how they end, and that nothing is left of them."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpe_filter.enforce.process import LONGEST, Done, find, run
from tests.processes import descriptors, nothing_left


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with nothing_left():
        yield


def sh(script: str, given: bytes = b"", timeout_s: float = 10) -> Done:
    return run("sh", "-c", script, given=given, timeout_s=timeout_s)


def python(program: str, given: bytes = b"") -> Done:
    return run(sys.executable, "-c", program, given=given)


def test_input_output_and_errors() -> None:
    assert sh("cat; echo no >&2; exit 3", b"a\0b") == Done(3, b"a\0b", b"no\n")
    assert sh("exit 0") == Done(0, b"", b"")
    assert run("printf", "%s|", "a b", "$HOME", "") == Done(0, b"a b|$HOME||", b"")  # no shell


def test_more_than_pipes_hold_in_all_directions_at_once() -> None:
    """A caller that writes all input before it reads, or the other way round, would never return."""
    given = os.urandom(600_000)
    program = "import os, sys\nwhile data := os.read(0, 1000): os.write(1, data); os.write(2, data)\n"
    assert python(program, given) == Done(0, given, given)


def test_a_program_that_does_not_read_its_input() -> None:
    assert sh("exec <&-; sleep 0.05; echo done", b"x" * 300_000) == Done(0, b"done\n", b"")
    assert sh("exit 4", b"x" * 300_000).code == 4


def test_of_a_long_output_the_beginning_is_kept() -> None:
    done = sh(f"head -c {LONGEST + 100_000} /dev/zero; echo end >&2")
    assert (len(done.out), done.errors, done.code) == (LONGEST, b"end\n", 0)


@pytest.mark.parametrize(
    "script",
    [
        "exec sleep 60",
        "exec >&- 2>&-; exec sleep 60",
        "trap '' TERM; while :; do sleep 1; done",
        "while :; do echo x; done",
    ],
)
def test_what_takes_too_long_is_ended(script: str) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="not done in time"):
        sh(f"echo $$ > /tmp/{os.getpid()}.pid; {script}", timeout_s=0.3)
    assert time.monotonic() - begun < 30  # and not 60
    path = Path(f"/tmp/{os.getpid()}.pid")
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)
    path.unlink()


def test_a_program_that_closes_its_outputs_is_waited_for() -> None:
    assert sh("exec >&- 2>&-; sleep 0.2; exit 5") == Done(5, b"", b"")


def test_ended_by_a_signal() -> None:
    assert sh("kill -9 $$").code == -signal.SIGKILL


def test_not_there_or_not_to_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        run("no-such-program")
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"\0\1\2")
    nothing.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="Exec format error"):
        run("nothing")
    nothing.write_text("#!/no/such/interpreter\n")
    with pytest.raises(FileNotFoundError):
        run("nothing")


def test_where_programs_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one").touch(0o755 if folder == "b" else 0o644)
    monkeypatch.setenv("PATH", f"{tmp_path}/a::{tmp_path}/b")
    assert find("one") == f"{tmp_path}/b/one"
    assert find("two") is None
    monkeypatch.delenv("PATH")
    assert find("one") is None
    assert find("nft") == next((f"{d}/nft" for d in ("/usr/sbin", "/sbin") if os.access(f"{d}/nft", os.X_OK)), None)


def test_the_program_gets_none_of_our_descriptors_but_its_streams() -> None:
    meant = {int(fd) for fd in descriptors() if Path(f"/proc/self/fd/{fd}").exists() and os.get_inheritable(int(fd))}
    ours = os.pipe()
    try:
        done = run("sh", "-c", "ls /proc/$$/fd")
    finally:
        for fd in ours:
            os.close(fd)
    assert {int(fd) for fd in done.out.split()} <= meant | {0, 1, 2}


def test_the_program_does_not_ignore_what_python_ignores() -> None:
    ignored = int(run("grep", "SigIgn", "/proc/self/status").out.split()[1], 16)
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    assert not ignored & 1 << signal.SIGPIPE - 1


def test_where_no_descriptors_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []

    def pipe() -> tuple[int, int]:
        if len(made) == 2:
            raise OSError(24, "Too many open files")
        made.append(real())
        return made[-1]

    real = os.pipe
    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(OSError, match="Too many open files"):
        sh("true")
