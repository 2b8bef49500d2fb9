"""`cpe-filter replay` as a shell sees it: pipes, folders, files as one, verdicts while it runs, forms of output."""

from __future__ import annotations

import csv
import gzip
import html
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.replay.output import DEVICE_COLUMNS, SESSION_COLUMNS
from tests import build
from tests.build import Conversation
from tests.cli.test_cli import ROOT, Ran, cli
from tests.lab.net import DEADLINE_S

BOT = ROOT / "pcaps" / "bot-sprayer.pcap"
CAPTURE = build.pcap(build.frames(build.session()))


def records(path: Path = BOT) -> tuple[bytes, list[bytes]]:
    """A pcap file's header and packets."""
    data = path.read_bytes()
    at, found = 24, []
    while at < len(data):
        size = 16 + int.from_bytes(data[at + 8 : at + 12], "little")
        found.append(data[at : at + size])
        at += size
    return data[:24], found


def rotated(folder: Path, count: int = 8, name: str = "rot{:02}.pcap") -> list[Path]:
    """The bot's capture in several files, in order."""
    head, packets = records()
    size = -(-len(packets) // count)
    paths = []
    for number in range(count):
        paths.append(folder / name.format(number))
        paths[-1].write_bytes(head + b"".join(packets[number * size : (number + 1) * size]))
    return paths


def device(ran: Ran) -> dict[str, Any]:
    """The only device of the only object."""
    (result,) = ran.lines
    (found,) = result["devices"]
    found.pop("timeline", None)
    return dict(found)


def judged(*arguments: str | Path, **more: Any) -> dict[str, Any]:
    ran = cli("replay", "--json", *arguments, **more)
    assert (ran.code, ran.err) == (0, "")
    return device(ran)


WHOLE = judged(BOT)


# ── pipes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0"])
@pytest.mark.parametrize("packed", [False, True])
def test_standard_input(name: str, packed: bool) -> None:
    data = BOT.read_bytes()
    assert judged(name, input=gzip.compress(data) if packed else data) == WHOLE


def test_standard_input_is_named_in_errors() -> None:
    ran = cli("replay", "-", input=b"nothing that is a capture")
    assert ran.code == 2
    assert ran.err.startswith("cpe-filter: standard input: not a capture")
    assert cli("replay", "-", input=b"").err == "cpe-filter: standard input: the input is empty\n"
    assert "only once" in cli("replay", "-", "-", input=CAPTURE).err


def test_process_substitution() -> None:
    command = f"{sys.executable} -m cpe_filter replay --json <(cat {BOT}) <(gzip -c {BOT})"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, timeout=DEADLINE_S)
    results = Ran(done).lines
    assert [result["devices"] for result in results] == [[WHOLE], [WHOLE]]


def test_a_terminal_as_standard_input() -> None:
    ours, theirs = pty.openpty()
    ran = cli("replay", "-", stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert ran.code == 2
    assert ran.err.startswith("cpe-filter: standard input: it is a terminal")
    assert ran.err.count("\n") == 1


# ── several files as one ────────────────────────────────────────────────────────────────────────


def test_rotated_files_are_one_capture(tmp_path: Path) -> None:
    paths = rotated(tmp_path)
    assert judged("--join", *paths) == WHOLE
    alone = [one["devices"][0]["standing"] for one in cli("replay", "--json", *paths).lines if one["devices"]]
    assert "suspected" in alone or "clear" in alone  # which is why there is --join


def test_their_order_is_that_of_their_first_packets(tmp_path: Path) -> None:
    paths = rotated(tmp_path)
    ran = cli("replay", "--json", "--join", *reversed(paths))
    assert (ran.code, device(ran)) == (0, WHOLE)
    assert ran.err.count("\n") == 1
    assert f"taken in the order of their first packets: {paths[0].name}, {paths[1].name}" in ran.err


def test_files_of_different_sorts_are_joined(tmp_path: Path) -> None:
    """pcap, pcapng with another link type, compressed, from a pipe."""
    packets = Conversation().open().say(build.LEGITIMATE).close().packets
    cuts = [packets[:4], packets[4:9], packets[9:]]
    (tmp_path / "a.pcap").write_bytes(build.pcap(build.frames(cuts[0])))
    (tmp_path / "b.pcapng.gz").write_bytes(gzip.compress(build.pcapng(build.frames(cuts[1], "vlan"), 1)))
    last = build.pcap(build.frames(cuts[2], "cooked2"), 276)
    ran = cli("replay", "--json", "--join", tmp_path / "a.pcap", "-", tmp_path / "b.pcapng.gz", input=last)
    (result,) = ran.lines
    assert result["packets"] == result["smtp_packets"] == len(packets)
    assert result["devices"][0]["messages"] == 1
    assert "taken in the order of their first packets: a.pcap, b.pcapng.gz, -" in ran.err


def test_files_that_overlap_are_put_in_order_of_time(tmp_path: Path) -> None:
    """As of two interfaces that were captured at once."""
    head, packets = records()
    (tmp_path / "even.pcap").write_bytes(head + b"".join(packets[::2]))
    (tmp_path / "odd.pcap").write_bytes(head + b"".join(packets[1::2]))
    ran = cli("replay", "--json", "--join", tmp_path / "even.pcap", tmp_path / "odd.pcap")
    assert (ran.code, device(ran)) == (0, WHOLE)
    assert "odd.pcap begins before" in ran.err


def test_gaps_between_files_are_said(tmp_path: Path) -> None:
    for number, start in enumerate((build.START, build.START + 7200)):
        path = tmp_path / f"{number}.pcap"
        path.write_bytes(build.pcap(build.frames(build.session(time=start, sport=40000 + number))))
    ran = cli("replay", "--join", tmp_path / "0.pcap", tmp_path / "1.pcap")
    assert ran.code == 0
    assert "no packets for 1 h 59 min from 2026-11-23 12:00:" in ran.err


def test_a_file_that_is_cut_or_unusable_does_not_end_the_others(tmp_path: Path) -> None:
    paths = rotated(tmp_path)
    paths[3].write_bytes(paths[3].read_bytes()[:-7])
    ran = cli("replay", "--json", "--join", *paths)
    assert ran.code == 3
    assert f"{paths[3]}: cut off within packet" in ran.err
    assert device(ran)["standing"] == "compromised"
    paths[2].write_bytes(b"no capture, but a text of some length")
    ran = cli("replay", "--json", "--join", *paths)
    assert ran.code == 2
    assert f"cpe-filter: {paths[2]}: not a capture" in ran.err
    assert device(ran)["standing"] == "compromised"
    assert cli("replay", "--join", paths[2]).code == 2


def test_many_files_are_not_open_at_once(tmp_path: Path) -> None:
    head, packets = records()
    paths = []
    for number, packet in enumerate(packets):
        paths.append(tmp_path / f"{number}.pcap")
        paths[-1].write_bytes(head + packet)
    command = [sys.executable, "-m", "cpe_filter", "replay", "--json", "--join", *paths]
    limited = ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh", *map(str, command)]
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, timeout=DEADLINE_S)
    assert device(Ran(done)) == WHOLE


# ── folders ─────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_is_its_captures(tmp_path: Path) -> None:
    rotated(tmp_path, 11, "x{}.pcap")
    (tmp_path / "README.md").write_text("What these captures are, in a text of some length.\n")
    (tmp_path / "empty.pcap").write_bytes(b"")
    (tmp_path / "more").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    ran = cli("replay", "--json", tmp_path)
    assert ran.code == 0
    assert [Path(one["capture"]).name for one in ran.lines] == [f"x{number}.pcap" for number in range(11)]
    assert f"{tmp_path}/README.md: skipped: not a capture" in ran.err
    assert f"{tmp_path}/empty.pcap: skipped: the input is empty" in ran.err
    assert f"{tmp_path}/more: skipped: a link to a folder" in ran.err
    assert f"{tmp_path}/fifo: skipped: not a file" in ran.err
    ran = cli("replay", "--json", "--join", tmp_path)
    assert (ran.code, device(ran)) == (0, WHOLE)


def test_what_may_hold_packets_is_not_just_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(CAPTURE)
    (tmp_path / "b.snoop").write_bytes(b"snoop\0\0\0\0\0\0\2\0\0\0\4")
    ran = cli("replay", "--json", tmp_path)
    assert ran.code == 2
    assert "b.snoop: not a capture that replay reads: this is a snoop capture; convert it" in ran.err
    assert len(ran.lines) == 1


def test_the_folders_in_a_folder(tmp_path: Path) -> None:
    rotated(tmp_path, 3, "x{}.pcap")
    (tmp_path / "old").mkdir()
    (tmp_path / "x0.pcap").rename(tmp_path / "old" / "x0.pcap")
    ran = cli("replay", "--json", tmp_path)
    assert [Path(one["capture"]).name for one in ran.lines] == ["x1.pcap", "x2.pcap", "x0.pcap"]
    ran = cli("replay", "--json", "--join", tmp_path)
    assert (ran.code, device(ran)) == (0, WHOLE)


def test_a_folder_without_captures_is_not_an_all_clear(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("What these captures are, in a text of some length.\n")
    ran = cli("replay", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "none of the files is a capture" in ran.err


def test_an_empty_folder(tmp_path: Path) -> None:
    ran = cli("replay", tmp_path)
    assert (ran.code, ran.err) == (2, f"cpe-filter: {tmp_path}: no files in this folder\n")


# ── verdicts as they come ───────────────────────────────────────────────────────────────────────


class Following:
    """`replay --follow` that reads a pipe."""

    def __init__(self, *arguments: str, source: str = "-") -> None:
        command = [sys.executable, "-m", "cpe_filter", "replay", "--follow", *arguments, source]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode()

    def end(self, interrupt: bool = False) -> Ran:
        if interrupt:
            self.process.send_signal(signal.SIGINT)
            out, err = self.process.stdout, self.process.stderr
            assert out is not None
            assert err is not None
            done = out.read(), err.read()
            self.process.wait(DEADLINE_S)
        else:
            done = self.process.communicate(timeout=DEADLINE_S)
        return Ran(subprocess.CompletedProcess([], self.process.returncode, *done))


def test_verdicts_come_while_the_pipe_is_open() -> None:
    following = Following("--json")
    head, packets = records()
    following.send(head + b"".join(packets[: len(packets) // 2]))
    first, second = json.loads(following.line()), json.loads(following.line())
    assert (first["event"], first["standing"], second["standing"]) == ("standing", "suspected", "compromised")
    assert second["device"] == WHOLE["device"]
    assert second["connection"] == WHOLE["compromised_at"]["connection"]
    following.send(b"".join(packets[len(packets) // 2 :]))
    ran = following.end()
    assert (ran.code, ran.err) == (0, "")
    assert device(ran) == WHOLE


def test_verdicts_into_a_pipe_that_is_closed() -> None:
    command = f"cat {BOT} | {sys.executable} -m cpe_filter replay --follow - | true; exit ${{PIPESTATUS[1]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_shows_what_was_found_so_far() -> None:
    following = Following()
    head, packets = records()
    following.send(head + b"".join(packets)[:-20])
    assert " is suspected: " in following.line()
    assert " is compromised: " in following.line()
    ran = following.end(interrupt=True)
    assert ran.code == 130
    assert "compromised  " in ran.out
    assert ran.err == "cpe-filter: interrupted; this is what was found so far\n"


def test_a_growing_file_is_followed_through_its_rotation(tmp_path: Path) -> None:
    path = tmp_path / "live.pcap"
    head, packets = records()
    half = len(packets) // 2
    path.write_bytes(head + packets[0])
    following = Following("--json", source=str(path))
    with path.open("ab") as file:
        file.write(b"".join(packets[1:half]))
    assert json.loads(following.line())["standing"] == "suspected"
    assert json.loads(following.line())["standing"] == "compromised"
    path.rename(tmp_path / "live.pcap.1")
    path.write_bytes(head + b"".join(packets[half:]))
    deadline = time.monotonic() + DEADLINE_S
    while _taken(following.process.pid) != path.stat().st_size and time.monotonic() < deadline:
        time.sleep(0.05)
    ran = following.end(interrupt=True)
    assert ran.code == 130
    assert device(ran) == WHOLE


def _taken(pid: int) -> int:
    """How far the process has read its capture."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{name}").endswith("/live.pcap"):
                return int(Path(f"/proc/{pid}/fdinfo/{name}").read_text().split()[1])
        except OSError:
            pass
    return -1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--follow", "a", "b"], "--follow takes one input"),
        (["--follow", "."], "is a folder"),
        (["--follow", "--format", "csv", "a"], "--follow writes a table or JSON"),
        (["--json", "--format", "csv", "a"], "--json and --format csv exclude each other"),
        (["--format", "yaml", "a"], "invalid choice: 'yaml'"),
        (["--color", "sometimes", "a"], "invalid choice: 'sometimes'"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], says: str) -> None:
    ran = cli("replay", *arguments)
    assert ran.code == 2
    assert says in ran.err


def test_ctrl_c_while_files_are_read_ends_all(tmp_path: Path) -> None:
    """The first is a pipe that stays open; the second is not begun."""
    os.mkfifo(tmp_path / "fifo")
    command = [sys.executable, "-m", "cpe_filter", "replay", "--json", str(tmp_path / "fifo"), str(BOT)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with open(tmp_path / "fifo", "wb", 0) as pipe:
        pipe.write(CAPTURE)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
    ran = Ran(subprocess.CompletedProcess([], process.returncode, out, err))
    assert ran.code == 130
    assert [len(one["devices"]) for one in ran.lines] in ([1], [0])
    assert ran.err == "cpe-filter: interrupted; this is what was found so far\n"


# ── forms ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "pcaps").glob("*.pcap"))[::7])
def test_text_has_80_columns(name: str) -> None:
    ran = cli("replay", "--sessions", "--timeline", f"pcaps/{name}", cwd=ROOT)
    assert max(map(len, ran.out.splitlines())) <= 80


def test_long_names_have_80_columns_too(tmp_path: Path) -> None:
    path = tmp_path / "six.pcap"
    client, server = "2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:9999:8888:7777:6666:5555:4444"
    packets = build.session(client=client, server=server)
    path.write_bytes(build.pcap(build.frames(packets, "raw-101"), 101))
    ran = cli("replay", "--sessions", "six.pcap", cwd=tmp_path)
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "  2001:db8:1111:2222:3333:4444:5555:6666" in lines


def test_json_is_json_either_way() -> None:
    assert cli("replay", "--format", "json", BOT).out == cli("replay", "--json", BOT).out


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_a_row_for_each_device(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pcap"
    nothing.write_bytes(build.pcap([]))
    ran = cli("replay", "--format", "csv", BOT, nothing)
    bot, empty = rows(ran.out)
    assert tuple(bot) == DEVICE_COLUMNS
    assert (bot["device"], bot["standing"], bot["complete"]) == (WHOLE["device"], "compromised", "yes")
    assert float(bot["score"]) == WHOLE["score"]
    assert bot["compromised_at"].startswith("2026-11-23T13:17:38.")
    assert (empty["capture"], empty["device"], empty["complete"]) == (str(nothing), "", "yes")


def test_csv_has_a_row_for_each_session_where_asked_for() -> None:
    found = rows(cli("replay", "--format", "csv", "--sessions", BOT).out)
    assert tuple(found[0]) == SESSION_COLUMNS
    assert len(found) == 20
    assert found[0]["mail_from"] == "watches.example"


def test_csv_is_no_formula(tmp_path: Path) -> None:
    text = build.LEGITIMATE.replace("EHLO mail.example.org", 'HELO =cmd|"/c calc"!A1').replace(
        "250 2.0.0 Ok", "250 @SUM(1)"
    )
    path = tmp_path / "=1+1.pcap"
    path.write_bytes(build.pcap(build.frames(build.session(text))))
    ran = cli("replay", "--format", "csv", "--sessions", "--addresses", "=1+1.pcap", cwd=tmp_path)
    for row in rows(ran.out):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())
    assert "'=1+1.pcap" in ran.out


def test_html_goes_to_standard_output(tmp_path: Path) -> None:
    ran = cli("replay", "--format", "html", BOT)
    assert ran.out.startswith("<!DOCTYPE html>")
    assert ran.out.endswith("</html>\n")
    assert html.escape(WHOLE["device"]) in ran.out
    page = tmp_path / "page.html"
    assert cli("replay", "--format", "csv", "--html", page, BOT).out.startswith("capture,")
    assert page.read_text() == ran.out


@pytest.mark.parametrize(
    ("option", "environment", "colored"),
    [
        ("auto", {}, False),
        ("auto", {"CLICOLOR_FORCE": "1"}, True),
        ("auto", {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
        ("auto", {"CLICOLOR_FORCE": "0"}, False),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {"CLICOLOR_FORCE": "1"}, False),
    ],
)
def test_colors_follow_the_option_and_the_environment(option: str, environment: dict[str, str], colored: bool) -> None:
    ran = cli(
        "replay", "--color", option, BOT, env={"NO_COLOR": "", "CLICOLOR": "", "CLICOLOR_FORCE": "", **environment}
    )
    assert ("\x1b[1;31mcompromised\x1b[0m" in ran.out) == colored
    plain = ran.out
    for code in ("\x1b[1;31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"):
        plain = plain.replace(code, "")
    assert plain == cli("replay", "--color", "never", BOT).out


@pytest.mark.parametrize(
    ("environment", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"CLICOLOR": "0"}, False)]
)
def test_a_terminal_has_colors(environment: dict[str, str], colored: bool) -> None:
    ours, theirs = pty.openpty()
    env = {"NO_COLOR": "", "CLICOLOR": "", "CLICOLOR_FORCE": "", "TERM": "xterm", **environment}
    cli("replay", BOT, env=env, stdout=theirs)
    os.close(theirs)
    text = os.read(ours, 1 << 16)
    os.close(ours)
    assert (b"\x1b[1;31mcompromised" in text) == colored
