"""Where lines go: syslog's socket, the journal, stderr; what happens when nobody takes them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpe_filter.lean import log_output
from cpe_filter.lean.log_output import ERROR, GIVE_UP_S, INFO, MAX_BYTES, MAX_WAITING, NOTICE, WARNING, Output, one_line
from tests.lab.net import DEADLINE_S, PROJECT


class Syslog:
    """A syslog that only reads when it is asked to."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def read(self) -> list[str]:
        lines = []
        try:
            while True:
                lines.append(self.socket.recv(2048).decode())
        except BlockingIOError:
            return lines

    def texts(self) -> list[str]:
        return [line.partition(f"cpe-filter[{os.getpid()}]: ")[2] for line in self.read()]

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def syslog(path: Path) -> Iterator[Syslog]:
    made = Syslog(path)
    yield made
    made.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @staticmethod
    def strftime(form: str) -> str:
        return time.strftime(form, time.gmtime(1790043200))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(log_output, "time", made)
    monkeypatch.setattr(log_output, "_kind_of_stderr", lambda: "syslog")
    return made


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []

    def kept(line: str) -> bool:
        lines.append(line)
        return True

    monkeypatch.setattr(log_output, "_to_stderr", kept)
    return lines


def test_a_line_as_syslog_reads_it(path: Path, syslog: Syslog, clock: Clock) -> None:
    output = Output(str(path))
    for severity in (ERROR, WARNING, NOTICE, INFO):
        output.write(severity, "a line")
    pid = os.getpid()
    assert syslog.read() == [f"<{24 + n}>Sep 22 02:13:20 cpe-filter[{pid}]: a line" for n in (3, 4, 5, 6)]
    assert not output.is_waiting


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("caf\xe9 \u4e2d", "caf\xe9 \u4e2d"),
        ("a\nb\r\n\tc", "a\\x0ab\\x0d\\x0a\\x09c"),
        ("\x1b[31mred\x07\x7f\x9b", "\\x1b[31mred\\x07\\x7f\\x9b"),
        ("\udcff\u202e\u2028", "\\udcff\\u202e\\u2028"),
        ("\U000e0001", "\\U000e0001"),
        ("\0", "\\x00"),
        ("", ""),
        ("x" * 5000, "x" * (MAX_BYTES - 3) + "..."),
        ("\n" * 5000, ("\\x0a" * MAX_BYTES)[: MAX_BYTES - 3] + "..."),
        ("\u4e2d" * 500, "\u4e2d" * 319 + "..."),
        ("x" * MAX_BYTES, "x" * MAX_BYTES),
    ],
)
def test_one_line_of_bounded_length(text: str, line: str) -> None:
    assert one_line(text) == line
    assert len(line.encode()) <= MAX_BYTES


def test_a_datagram_fits_into_logd_s_buffer(path: Path, syslog: Syslog, clock: Clock) -> None:
    Output(str(path)).write(ERROR, "\U0001f600" * 3000)
    (line,) = syslog.read()
    assert len(line.encode()) < 1023


def test_a_restart_of_syslog_loses_nothing(path: Path, syslog: Syslog, clock: Clock, stderr: list[str]) -> None:
    output = Output(str(path))
    output.write(INFO, "before")
    assert syslog.texts() == ["before"]
    syslog.close()
    output.write(INFO, "its socket is still there")
    path.unlink()
    output.write(INFO, "and now not")
    assert output.is_waiting
    again = Syslog(path)
    output.write(INFO, "after")
    assert again.texts() == ["its socket is still there", "and now not", "after"]
    assert not output.is_waiting
    assert stderr == []
    again.close()


def test_a_restart_between_two_lines_is_not_noticed(path: Path, syslog: Syslog, clock: Clock) -> None:
    output = Output(str(path))
    output.write(INFO, "before")
    syslog.close()
    again = Syslog(path)
    output.write(INFO, "after")
    assert again.texts() == ["after"]
    again.close()


def test_a_syslog_that_hangs_holds_up_nothing(path: Path, syslog: Syslog, clock: Clock, stderr: list[str]) -> None:
    """What fits neither the kernel's buffer nor the queue is counted, and said when it reads again."""
    output = Output(str(path))
    for n in range(1000):
        output.write(INFO, f"line {n}")
    clock.now += 10 * GIVE_UP_S  # it is there, so stderr is not tried
    output.flush()
    taken = syslog.texts()
    for _ in range(100):
        output.flush()
        taken += syslog.texts()
    assert not output.is_waiting
    lost = 1000 - len(taken) + 1
    assert lost > 500
    assert taken == [*(f"line {n}" for n in range(1000 - lost)), f"{lost} lines lost: the log did not take them"]
    assert stderr == []


def test_without_syslog_lines_go_to_stderr_until_it_comes(path: Path, clock: Clock, stderr: list[str]) -> None:
    output = Output(str(path))
    output.write(ERROR, "at boot")
    assert stderr == ["cpe-filter: at boot"]
    syslog = Syslog(path)
    output.write(ERROR, "later")
    assert syslog.texts() == ["later"]
    assert len(stderr) == 1
    syslog.close()


def test_a_socket_that_does_not_come_back(path: Path, syslog: Syslog, clock: Clock, stderr: list[str]) -> None:
    """As in a jail, after a restart of logd: the mount is of the old one."""
    output = Output(str(path))
    output.write(INFO, "before")
    syslog.read()
    syslog.close()
    for n in range(3):
        output.write(INFO, f"line {n}")
    clock.now += GIVE_UP_S - 1
    output.flush()
    assert stderr == []
    clock.now += 1
    output.flush()
    output.write(INFO, "line 3")
    assert stderr == [f"cpe-filter: line {n}" for n in range(4)]
    again = Syslog(path)
    output.write(INFO, "line 4")
    assert again.read() == []  # not looked for with each line
    clock.now += log_output.LOOK_S
    output.write(INFO, "line 5")
    assert again.texts() == ["line 5"]
    again.close()


def test_the_end_waits_a_moment_and_then_uses_stderr(
    path: Path, syslog: Syslog, clock: Clock, stderr: list[str]
) -> None:
    output = Output(str(path))
    for n in range(2 * MAX_WAITING):
        output.write(INFO, f"line {n}")
    in_buffer = len(syslog.texts())
    syslog.close()
    output.finish()
    assert clock.now < 1000.0 + log_output.FINISH_S + 0.1
    assert stderr[0] == f"cpe-filter: line {in_buffer}"
    assert len(stderr) == MAX_WAITING + 1
    assert stderr[-1].endswith("lines lost: the log did not take them")
    assert not output.is_waiting


# ── what stderr is ──────────────────────────────────────────────────────────────────────────────────

PROGRAM = """
import sys
from cpe_filter.lean.log_output import Output, WARNING
output = Output(sys.argv[1])
for n in range(int(sys.argv[2])):
    output.write(WARNING, f"line {n}" + " " * 500)
output.finish()
"""


def program(path: Path, lines: int = 1) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(path), str(lines)]


def environment(**more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(PROJECT), "PATH": os.environ["PATH"], **more}


def test_under_a_supervisor_it_is_syslog(path: Path, syslog: Syslog) -> None:
    done = subprocess.run(
        program(path), stdin=subprocess.DEVNULL, capture_output=True, env=environment(), timeout=DEADLINE_S
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    (line,) = syslog.read()
    assert line.startswith("<28>")


def test_stderr_that_is_closed_or_null_is_no_reason_to_lose_lines(path: Path, syslog: Syslog) -> None:
    for stderr in ("2>&-", "2>/dev/null"):
        subprocess.run(
            ["sh", "-c", f'exec "$@" </dev/null >/dev/null {stderr}', "sh", *program(path)],
            env=environment(),
            timeout=DEADLINE_S,
            check=True,
        )
        assert len(syslog.read()) == 1


def test_a_file_a_terminal_and_the_variable_mean_stderr(path: Path, syslog: Syslog, tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("w") as stderr:
        subprocess.run(program(path), stdin=subprocess.DEVNULL, stderr=stderr, env=environment(), timeout=DEADLINE_S)
    assert file.read_text().startswith("cpe-filter: line 0")
    chosen = environment(CPE_FILTER_LOG="stderr")
    done = subprocess.run(
        program(path), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=chosen, timeout=DEADLINE_S
    )
    assert done.stderr.startswith("cpe-filter: line 0")
    leader, follower = os.openpty()
    subprocess.run(program(path), stdin=follower, capture_output=True, env=environment(), timeout=DEADLINE_S)
    subprocess.run(program(path), stdin=subprocess.DEVNULL, stderr=follower, env=environment(), timeout=DEADLINE_S)
    assert os.read(leader, 100).startswith(b"cpe-filter: line 0")
    os.close(leader)
    os.close(follower)
    assert syslog.read() == []


def test_the_journal_gets_severities(path: Path, syslog: Syslog) -> None:
    ours, its = socket.socketpair()
    about = os.fstat(its.fileno())
    stream = environment(JOURNAL_STREAM=f"{about.st_dev}:{about.st_ino}")
    subprocess.run(program(path), stdin=subprocess.DEVNULL, stderr=its.fileno(), env=stream, timeout=DEADLINE_S)
    assert ours.recv(100).startswith(b"<4>line 0")
    ours.close()
    its.close()
    assert syslog.read() == []


def test_a_reader_of_stderr_that_hangs_holds_up_nothing(path: Path) -> None:
    """procd, where there is no syslog: the pipe takes 64 kB."""
    read, write = os.pipe()
    process = subprocess.Popen(program(path, 1000), stdin=subprocess.DEVNULL, stderr=write, env=environment())
    os.close(write)
    assert process.wait(timeout=DEADLINE_S) == 0
    assert 30_000 < len(os.read(read, 1 << 20)) <= 1 << 16
    os.close(read)
