"""The status for people, at several widths; `--watch` on a terminal and into a pipe."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.status import show
from cpe_filter.status.overview import describe
from cpe_filter.status.status import pid_namespace
from tests.lab.net import DEADLINE_S, PROJECT
from tests.status.statuses import UPDATED, device, status

HOME = status(
    device("02:00:00:00:01:01", name="laptop"),
    device("02:00:00:00:01:02", "compromised", name="android-tv-box-of-the-living-room"),
    device("02:00:00:00:01:03 2001:db8:1:2:3:4:5:6", "suspected"),
    device("02:00:00:00:01:04", "unusual"),
)


def shown(content: dict[str, Any], width: int | None = None) -> str:
    return "\n".join(describe(content, UPDATED + 2, width))


def test_what_a_person_reads() -> None:
    text = shown(HOME)
    for words in (
        "up 1:01:01",
        "as of 2 s ago",
        "kernel: 118 observed, 5 refused, 2000000 blocked, 1 new_one (packets)",
        "queue: 3 packets wait, 13 lost; memory 18.5 MB",
        "rules: restored 2 times after other programs had changed them",
        "not watched: IPv4 and IPv6 leave by wg0, since 2026-11-23 11:51:00 UTC; mail left there: 12 connections, last "
        "2026-11-23 12:00:00 UTC; a default route leads there (IPv6)",
        "not watched: IPv4 can leave by wwan0, since 2026-11-23 11:51:00 UTC; "
        "a default route of lower priority leads there (IPv4)",
        "exempt: device 02:00:00:00:01:09 to 192.0.2.0/24 until 2026-11-24 12:01:00 UTC (its own mail server)",
        "devices: 1 compromised, 1 unusual, 1 suspected, 1 clear",
        "02:00:00:00:01:02 (android-tv-box-of-the-living-room, 192.168.1.7, 2001:db8:1::7) is compromised since",
    ):
        assert words in text


@pytest.mark.parametrize("width", [20, 40, 80, 100, 120, 200])
def test_fits_the_terminal(width: int) -> None:
    lines = describe(HOME, UPDATED, width)
    assert max(map(len, lines)) <= width
    assert "is compromised since" in " ".join(" ".join(lines).split())
    assert all(line == line.rstrip() for line in lines)


def test_a_word_longer_than_the_line_is_broken() -> None:
    text = shown(status(handoff="x" * 300), 80)
    assert text.count("x") >= 300
    assert max(map(len, text.split("\n"))) <= 80


def test_of_a_suspected_device_there_is_only_the_score() -> None:
    text = shown(HOME)
    assert "is suspected" not in text
    assert text.count("02:00:00:00:01:03") == 1
    assert "8.4/11.3" in text


def test_a_device_that_looks_like_a_mail_server_is_asked_about() -> None:
    text = shown(HOME)
    assert "02:00:00:00:01:04 (192.168.1.7, 2001:db8:1::7) is unusual since 2026-11-23 12:00:30 UTC" in text
    assert "Is this your mail server? Then exempt it: cpe-filter exempt add --device 02:00:00:00:01:04" in text


def test_narrow_table_has_names() -> None:
    narrow, wide = shown(HOME, 80), shown(HOME, 200)
    assert "android-tv-box...  compromised  block" in narrow
    assert re.search(r"^02:00:00:00:01:02 +android-tv-box-of-the-living-room  compromised  block", wide, re.MULTILINE)


def test_refused_reload_and_many_exemptions() -> None:
    policy = {**HOME["policy"], "refused": "policy.toml: not TOML"}
    text = shown({**HOME, "policy": policy, "exempt": HOME["exempt"] * 32, "exempt_count": 100})
    assert "a reload was refused: policy.toml: not TOML" in text
    assert text.count("exempt: device") == 8
    assert "exempt: 92 more (cpe-filter exempt list)" in text


def test_the_notice_is_there_by_device() -> None:
    one = {"device": "02:00:00:00:01:02", "leads": True, "times_shown": 0, "answer": None}
    one |= {"shown_at": None, "answered_at": None}
    other = {**one, "leads": False, "times_shown": 2, "answer": "mistake", "shown_at": UPDATED, "answered_at": UPDATED}
    text = shown({**HOME, "notice": {"served": True, "led": 1, "counts": {}, "devices": [one, other]}})
    assert "notice: device 02:00:00:00:01:02: not opened, not answered, its HTTP leads there" in text
    assert "opened 2 times, last 2026-11-23 12:01:00 UTC, answered 2026-11-23 12:01:00 UTC: mistake" in text
    assert "notice: not served" in shown({**HOME, "notice": {"served": False, "devices": []}})


def test_networks_that_are_not_watched_are_named() -> None:
    network = {"families": [4, 6], "connections": 7, "since": UPDATED - 60, "last": UPDATED}
    text = shown({**HOME, "unlisted": [{"interface": "br-guest", **network}]})
    assert "not watched: IPv4 and IPv6 mail of br-guest, since 2026-11-23 12:00:00 UTC; 7 connections, last" in text


def test_the_worst_stand_first() -> None:
    text = shown(HOME, 80)
    assert [text.index(standing) for standing in ("  compromised", "  unusual", "  suspected", "  clear")] == sorted(
        text.index(standing) for standing in ("  compromised", "  unusual", "  suspected", "  clear")
    )


def test_nobody_has_sent_mail() -> None:
    assert "No device has sent mail" in shown(status())


# ── a configuration that cannot be used ─────────────────────────────────────────────────────────────

WRONG = "cpe-filter.limits.connections_burst is 0; allowed: a whole number from 1 to 100000 (connections)"


def test_a_configuration_that_cannot_be_used_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "status.json"
    path.write_text(json.dumps({**HOME, "pid": os.getpid()}))
    assert show.once(str(path), True) == 0
    assert "config_error" not in json.loads(capsys.readouterr().out)
    (tmp_path / "config-error").write_text(f"{WRONG}\x1b[2J\nmore\n")
    assert show.once(str(path), True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {**HOME, "pid": os.getpid(), "config_error": f"{WRONG}?[2J"}
    assert show.once(str(path), False) == 0
    assert f"\nconfiguration: not used, the policy is an earlier one: {WRONG}?[2J\n" in capsys.readouterr().out
    path.unlink()
    assert show.once(str(path), False) == 1
    assert f"; the configuration cannot be used: {WRONG}" in capsys.readouterr().err
    (tmp_path / "notes").write_text("the filter is not started: waiting for the interface wan\n")
    assert show.once(str(path), False) == 1
    assert f": {WRONG}?[2J; the filter is not started: waiting for the interface wan\n" in capsys.readouterr().err


def test_what_the_service_notes_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "status.json"
    path.write_text(json.dumps({**HOME, "pid": os.getpid()}))
    (tmp_path / "notes").write_text("mode is monitor\n\nnot in a jail: \x1b[2J\n")
    assert show.once(str(path), True) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == ["mode is monitor", "not in a jail: ?[2J"]
    assert show.once(str(path), False) == 0
    assert "\nnote: mode is monitor\nnote: not in a jail: ?[2J\n" in capsys.readouterr().out


def test_a_filter_in_a_jail_is_known_by_the_services_pid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It takes itself for process 1, and some process 1 always runs."""
    path = tmp_path / "status.json"
    path.write_text(json.dumps({**HOME, "pid": 1, "pid_namespace": 4026530000}))
    assert show.once(str(path), True) == 1
    (tmp_path / "run.pid").write_text(f"{os.getpid()}\n")
    assert show.once(str(path), True) == 0
    for text in ("4194305\n", "x", "", "-1", "0", "9" * 40):
        (tmp_path / "run.pid").write_text(text)
        assert show.once(str(path), True) == 1, text
    (tmp_path / "run.pid").unlink()
    path.write_text(json.dumps({**HOME, "pid": os.getpid(), "pid_namespace": pid_namespace()}))
    assert show.once(str(path), True) == 0
    capsys.readouterr()


# ── watching ────────────────────────────────────────────────────────────────────────────────────────


class Watched:
    """A running `status --watch`; `read` takes what it has written, to the last `until` of it."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.process = process
        self._output = output
        self._rest = b""

    def read(self, until: str, timeout_s: float = DEADLINE_S) -> str:
        end = time.monotonic() + timeout_s
        while until.encode() not in self._rest and time.monotonic() < end:
            if select.select([self._output], [], [], 0.1)[0]:
                try:
                    piece = os.read(self._output, 65536)
                except OSError:  # the terminal's other end has gone
                    break
                if not piece:
                    break
                self._rest += piece
        assert until.encode() in self._rest, self._rest
        end_of_it = self._rest.rindex(until.encode()) + len(until)
        taken, self._rest = self._rest[:end_of_it].decode(), self._rest[end_of_it:]
        return taken

    def interrupted(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE_S)


def heed_interrupts() -> None:
    """A shell's background job ignores SIGINT, and so does what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def command(path: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "cpe_filter", "status", "--file", str(path), "--watch", "0.1", *options]


def write(path: Path, content: dict[str, Any]) -> None:
    new = path.with_suffix(".tmp")
    new.write_text(json.dumps(content) + "\n")
    new.rename(path)


def in_pipe(path: Path, *options: str) -> Watched:
    process = subprocess.Popen(command(path, *options), stdout=subprocess.PIPE, cwd=PROJECT, preexec_fn=heed_interrupts)
    assert process.stdout is not None
    return Watched(process, process.stdout.fileno())


def test_a_pipe_gets_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    watched = in_pipe(path)
    assert watched.read("\n") == f"cpe-filter: no filter is running (there is no {path})\n"
    write(path, HOME)
    first = watched.read("living-room")
    assert "\x1b" not in first
    time.sleep(0.5)  # nothing new, nothing said
    write(path, {**HOME, "updated": UPDATED + 5, "mail_packets": 119})
    second = watched.read("119 packets")
    assert second.count("cpe-filter is running") == 1
    path.unlink()
    assert "no filter is running" in watched.read("there is no")
    assert watched.interrupted() == 0


def test_json_is_one_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    watched = in_pipe(path, "--json")
    lines = [watched.read("\n")]
    for packets in (1, 2):
        write(path, {**HOME, "updated": UPDATED + packets, "mail_packets": packets})
        lines.append(watched.read("\n"))
    write(path, {**HOME, "pid": 2**22 + 1})
    lines.append(watched.read("\n"))
    gone, one, two, dead = (json.loads(line) for line in lines)
    assert gone == {"running": False, "why": f"no filter is running (there is no {path})"}
    assert (one["mail_packets"], two["mail_packets"]) == (1, 2)
    assert dead["running"] is False
    assert "does not run any more" in dead["why"]
    assert watched.interrupted() == 0


def test_a_reader_that_goes_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write(path, HOME)
    process = subprocess.Popen(command(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    write(path, {**HOME, "updated": UPDATED + 5})
    assert process.wait(DEADLINE_S) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


class Screen:
    """As much of a terminal as the watch uses: home, clear to the line's or the screen's end, newline, wrapping."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines = [""] * rows
        self.x = self.y = 0
        self.scrolled = 0

    def feed(self, text: str) -> None:
        for part in re.findall(r"\x1b\[[HKJ]|\r|\n|[^\x1b\r\n]", text):
            if part == "\x1b[H":
                self.x = self.y = 0
            elif part == "\x1b[K":
                self.lines[self.y] = self.lines[self.y][: self.x]
            elif part == "\x1b[J":
                self.lines[self.y] = self.lines[self.y][: self.x]
                self.lines[self.y + 1 :] = [""] * (self.rows - self.y - 1)
            elif part == "\r":
                self.x = 0
            elif part == "\n":
                self._down()
            else:
                if self.x == self.columns:
                    self.x = 0
                    self._down()
                line = self.lines[self.y].ljust(self.x)
                self.lines[self.y] = line[: self.x] + part + line[self.x + 1 :]
                self.x += 1

    def _down(self) -> None:
        if self.y + 1 < self.rows:
            self.y += 1
        else:
            self.lines = [*self.lines[1:], ""]
            self.scrolled += 1


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (40, 10)])
def test_a_terminal_is_redrawn_in_place(tmp_path: Path, columns: int, rows: int) -> None:
    path = tmp_path / "status.json"
    write(path, HOME)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        command(path),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=PROJECT,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    os.close(theirs)
    watched, screen = Watched(process, ours), Screen(columns, rows)
    try:
        screen.feed(watched.read("\x1b[J"))
        assert screen.lines[0].startswith("cpe-filter is running")
        assert screen.scrolled == 0
        full = [line for line in screen.lines if line]
        assert len(full) <= rows - 1
        if rows < 24:
            assert "lines more" in full[-1]
        # Shorter, longer, gone and back: nothing of the old picture stays.
        for content, first in ((status(), "cpe-filter is running"), (None, "cpe-filter: no filter"), (HOME, full[0])):
            write(path, content) if content else path.unlink()
            # The first picture may be an old one, and the second have been under way.
            for _ in range(3):
                text = watched.read("\x1b[J")
                screen.feed(text)
            fresh = Screen(columns, rows)
            fresh.feed(text[text.rindex("\x1b[H") :])
            assert screen.lines == fresh.lines
            assert screen.lines[0].startswith(first[:20])
            assert screen.scrolled == 0
            if content is None:
                assert not any(screen.lines[4:])
        assert rows < 24 or "compromised" in "".join(screen.lines)
        os.write(ours, b"\x03")  # no controlling terminal: the signal itself
        assert watched.interrupted() == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize("lines", range(1, 30))
def test_no_length_scrolls_the_screen(lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(20, 24)
    for _ in range(2):
        show._redraw("\n".join(f"line {n}" for n in range(lines)), 20, 24)
        screen.feed(capsys.readouterr().out.replace("\n", "\r\n"))  # as a terminal does
    assert screen.scrolled == 0
    assert screen.lines[0] == "line 0"
    assert ("lines more" in "".join(screen.lines)) is (lines > 23)


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "inf", "1e9", ""])
def test_seconds_out_of_range(seconds: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cpe_filter", "status", f"--watch={seconds}"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    assert done.returncode == 2
    assert done.stderr == f'cpe-filter: --watch is "{seconds}"; allowed: 0.1 to 3600 seconds\n'
