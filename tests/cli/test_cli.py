"""The commands as a shell sees them: exit codes, one line on stderr that says why, output as promised.

Whatever happens, no traceback, and no local-part unless somebody asked for it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cpe_filter import __version__
from tests import build
from tests.build import LEGITIMATE, Conversation
from tests.lab.net import DEADLINE_S

ROOT = Path(__file__).resolve().parents[2]


class Ran:
    """What a command gave back."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.code = done.returncode
        self.out = done.stdout.decode("utf-8", "surrogateescape")
        self.err = done.stderr.decode("utf-8", "surrogateescape")
        assert "Traceback" not in self.out + self.err, self.err
        assert "Exception ignored" not in self.err, self.err

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON objects printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def cli(*arguments: str | bytes | Path, env: Mapping[str, str] | None = None, **more: Any) -> Ran:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    command = [sys.executable, "-m", "cpe_filter", *arguments]
    done = subprocess.run(command, env=environment, timeout=DEADLINE_S, **options)
    done.stdout = done.stdout or b""
    return Ran(done)


def refused(ran: Ran, *says: str, code: int = 2) -> None:
    """One line on stderr with these words, nothing on stdout."""
    assert ran.code == code
    assert ran.out == ""
    assert ran.err.startswith("cpe-filter: ")
    assert ran.err.endswith("\n")
    assert ran.err.count("\n") == 1
    for words in says:
        assert words in ran.err


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.pcap"
    path.write_bytes(build.pcap(build.frames(build.session())))
    return path


def test_version() -> None:
    ran = cli("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"cpe-filter {__version__}\n", "")


@pytest.mark.parametrize("arguments", [[], ["replay"], ["nonsense"], ["replay", "--nonsense", "x"], ["check"], ["run"]])
def test_wrong_usage(arguments: list[str]) -> None:
    ran = cli(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("usage: cpe-filter")


# ── replay: unusable input ──────────────────────────────────────────────────────────────────────

UNUSABLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the input is empty"),
    "text": (b"Dear Sir or Madam, this is no capture at all.\n", "not a capture that replay reads: this is text"),
    "link type": (build.pcap([(1.0, b"usb")], link=220), "link type 220 is not supported; supported: BSD loopback"),
    "short": (b"\xd4\xc3\xb2\xa1", "not a capture: too short"),
    "gzip": (b"\x1f\x8b\x08\x00", "damaged gzip data"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_captures(name: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(UNUSABLE[name][0])
    refused(cli("replay", path), f"cpe-filter: {path}: {UNUSABLE[name][1]}")


def test_directory_and_missing_file(tmp_path: Path) -> None:
    refused(cli("replay", tmp_path), f"{tmp_path}: no files in this folder")
    refused(cli("replay", "--json", tmp_path / "none"), f"{tmp_path / 'none'}: No such file or directory")


def test_one_bad_among_good_captures(good: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"")
    ran = cli("replay", "--json", good, bad, good)
    assert ran.code == 2
    assert [line["capture"] for line in ran.lines] == [str(good), str(good)]
    assert ran.err == f"cpe-filter: {bad}: the input is empty\n"


def test_a_damaged_capture_is_judged_as_far_as_it_goes(good: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(good.read_bytes()[:-10])
    ran = cli("replay", "--json", cut)
    assert ran.code == 3
    assert ran.lines[0]["accounting"]["damaged"]
    assert ran.lines[0]["packets"] == len(build.session())
    assert f"cpe-filter: {cut}: warning: cut off within packet {len(build.session())}\n" in ran.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--lan", "nonsense"], ["--lan", "'nonsense'", "expected a network such as 192.168.1.0/24"]),
        (["--lan", "192.168.1.0/33"], ["--lan", "a network such as"]),
        (["--lan", ""], ["--lan", "a network such as"]),
        (["--port", "0"], ['--port is "0"; allowed: 1 to 65535']),
        (["--port", "65536"], ['--port is "65536"; allowed: 1 to 65535']),
        (["--port", "-1"], ['--port is "-1"; allowed: 1 to 65535']),
        (["--port", "smtp"], ['--port is "smtp"; allowed: 1 to 65535']),
        (["--port", "9" * 5000], ["; allowed: 1 to 65535"]),
        (["--port", "٢٥"], ["; allowed: 1 to 65535"]),
        (["--leases", "/nonexistent"], ["--leases /nonexistent: no such file"]),
        (["--policy", "/nonexistent/policy.toml"], ["/nonexistent/policy.toml: No such file or directory"]),
    ],
)
def test_wrong_options(options: list[str], says: list[str], good: Path) -> None:
    refused(cli("replay", good, f"{options[0]}={options[1]}"), *says)


def test_a_bad_policy(good: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[filter]\nmode = "blok"\n')
    wanted = f'cpe-filter: {policy}: [filter] mode is "blok"; allowed: monitor, limit, block\n'
    for ran in (
        cli("replay", "--policy", policy, good),
        cli("check", policy),
        cli("status", "--policy", policy),
        cli("run", "--policy", policy),
    ):
        refused(ran)
        assert ran.err == wanted


def test_check(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[filter]\nmode = "limit"\n[network]\nrelays = ["192.0.2.25"]\n[[exempt]]\ndestination = "::1"\n')
    ran = cli("check", policy)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{policy}: good. Mode limit, fail open, 1 relays, 1 exemptions.\n"


@pytest.mark.parametrize("content", [b"x = 0x" + b"f" * 9999, b"x = " + b"[" * 99999, b"\xff", b"x = " + b"1" * 9999])
def test_check_of_nasty_files(content: bytes, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_bytes(content)
    refused(cli("check", policy), str(policy))


def test_rules(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[network]\nrelays = ["192.0.2.25"]\n')
    native, xtables = cli("rules", "--policy", policy), cli("rules", "--policy", policy, "--handoff", "xtables")
    for ran in (native, xtables):
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith("table inet cpe_filter")
        assert "192.0.2.25" in ran.out
        assert ran.out.endswith("}\n")
    assert "queue flags bypass to 25" in native.out
    assert "queue flags" not in xtables.out
    assert cli("rules").code == 0
    refused(cli("rules", "--policy", tmp_path / "none.toml"), "none.toml")


@pytest.mark.parametrize("option", [["--force"]])
def test_rules_wrongly(option: list[str]) -> None:
    refused(cli("rules", *option), "--force needs --remove")


# ── what a running filter is told ───────────────────────────────────────────────────────────────


def test_options_of_a_signed_policy(tmp_path: Path) -> None:
    own, link = tmp_path / "own.toml", tmp_path / "link.toml"
    own.write_text("")
    link.symlink_to(own)
    for out in (own, link):  # it would be lost
        refused(cli("policy", "make", "--policy", own, "--out", out, "--folder", tmp_path), "the router's own policy")
    assert own.read_text() == ""
    place = ("--policy", own, "--out", tmp_path / "out.toml", "--folder", tmp_path)
    for splay in ("604801", "9" * 15, "-1", "1e3"):
        refused(
            cli("policy", "fetch", "https://192.0.2.1/x", *place, "--splay", splay), "a whole number from 0 to 604800"
        )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A policy whose files and socket are in a folder of their own; no filter runs."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        f'[status]\ncontrol_socket = "{tmp_path}/control"\n[state]\nexemptions_file = "{tmp_path}/exemptions.toml"\n'
        '[[exempt]]\ndestination = "2001:db8::/48"\nreason = "the ISP\'s test"\n'
    )
    return policy


MAC = "02:00:00:12:34:56"


def test_exemptions_without_a_filter(home: Path) -> None:
    env = {"SUDO_UID": "1000", "SUDO_USER": "anna"}
    ran = cli("exempt", "add", "--policy", home, "--device", MAC, "--for", "2w", "--reason", 'Anna\'s "own"', env=env)
    assert (ran.code, ran.err) == (0, "")
    first, second = ran.out.splitlines()
    assert first.startswith(f"exemption 1 added: device {MAC}, destination any, until 2")
    assert second == (f"saved to {home.parent}/exemptions.toml; takes effect when the filter starts")
    assert cli("exempt", "add", "--policy", home, "--destination", "192.0.2.25", "--reason", "x").code == 0
    listed = cli("exempt", "list", "--policy", home)
    assert listed.code == 0
    assert listed.err == f"cpe-filter: no filter is running ({home.parent}/control); listed from the files\n"
    titles, policy, one, two = (line.split() for line in listed.out.splitlines())
    assert titles == ["id", "device", "destination", "expires", "reason", "added", "added", "by"]
    assert (policy[:3], policy[-1]) == (["policy-1", "any", "2001:db8::/48"], str(home))
    assert one[:3] == ["1", MAC, "any"]
    assert listed.out.splitlines()[2].endswith(f"uid {os.getuid()}, through sudo uid 1000 (anna)")
    assert two[:5] == ["2", "any", "192.0.2.25", "never", "x"]
    rows = json.loads(cli("exempt", "list", "--json", "--policy", home).out)
    assert [row["id"] for row in rows] == ["policy-1", "1", "2"]
    assert rows[1]["until"] - rows[1]["added"] == pytest.approx(14 * 86400, abs=2)
    assert (rows[0]["reason"], rows[1]["reason"]) == ("the ISP's test", 'Anna\'s "own"')
    gone = cli("exempt", "remove", "--policy", home, "1", "--destination", "192.0.2.25")
    assert gone.out.splitlines()[:2] == ["exemption 1 removed", "exemption 2 removed"]
    assert len(json.loads(cli("exempt", "list", "--json", "--policy", home).out)) == 1


def test_no_exemptions(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[state]\nexemptions_file = "{tmp_path}/none.toml"\n')
    ran = cli("exempt", "list", "--policy", policy, "--socket", tmp_path / "none")
    assert (ran.code, ran.out) == (0, "No exemptions.\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["add", "--reason", "x"], "exempt add: exempts every device for every destination; name a device or"),
        (["add", "--device", "tv", "--reason", "x"], 'device is "tv"; allowed: a MAC such as 02:00:00:12:34:56, or'),
        (
            ["add", "--device", MAC, "--reason", ""],
            "--reason is empty; expected one line that says what the exemption is for",
        ),
        (["add", "--device", MAC, "--reason", "a\nb"], 'reason is "a?b"; allowed: one line of at most 200'),
        (["add", "--destination", "mx.example", "--reason", "x"], 'destination has "mx.example"; allowed: an address'),
        (["add", "--destination", "fe80::1%lan", "--reason", "x"], "allowed: an address or network"),
        (["add", "--device", MAC, "--until", "tomorrow", "--reason", "x"], '--until is "tomorrow"; allowed: a'),
        (["add", "--device", MAC, "--until", "2027-02-30", "--reason", "x"], '--until is "2027-02-30"; allowed'),
        (
            ["add", "--device", MAC, "--until", "2020-01-31", "--reason", "x"],
            "--until 2020-01-31 23:59:59 UTC is in the past",
        ),
        (["add", "--device", MAC, "--until", "0001-01-01T00:00+23:00", "--reason", "x"], "years 1 to 9999"),
        (["add", "--device", MAC, "--for", "7", "--reason", "x"], '--for is "7"; allowed: 1m to 3650d, such as 90m'),
        (["add", "--device", MAC, "--for", "0d", "--reason", "x"], '--for is "0d"; allowed'),
        (["add", "--device", MAC, "--for", "3651d", "--reason", "x"], '--for is "3651d"; allowed'),
        (["add", "--device", MAC, "--for", "٧d", "--reason", "x"], "--for is"),
        (["add", "--device", MAC, "--for", "", "--reason", "x"], '--for is ""; allowed'),
        (["remove"], "expected an id, or --device or --destination"),
        (["remove", "1"], 'no exemption with id "1"; there are no exemptions'),
        (["remove", "policy-1"], '"policy-1" comes from the policy file '),
        (["remove", "--destination", "2001:db8::/48"], "the exemption comes from the policy file "),
        (["remove", "--device", "tv"], 'device is "tv"; allowed: a MAC'),
    ],
)
def test_exempt_wrongly(words: list[str], says: str, home: Path) -> None:
    refused(cli("exempt", *words, "--policy", home), says)
    assert not (home.parent / "exemptions.toml").exists()


@pytest.mark.parametrize("words", [["add", "--device", MAC, "--reason", "x"], ["remove", "1"], ["list"]])
def test_exempt_with_a_damaged_file(words: list[str], home: Path) -> None:
    file = home.parent / "exemptions.toml"
    file.write_text("[[exempt")
    ran = cli("exempt", *words, "--policy", home)
    assert (ran.code, ran.out) == (2, "")
    assert f"cpe-filter: {file}: not TOML" in ran.err
    assert file.read_text() == "[[exempt"


def test_a_file_that_cannot_be_written(home: Path, tmp_path: Path) -> None:
    home.write_text(home.read_text().replace(f"{tmp_path}/exemptions.toml", "/proc/none/exemptions.toml"))
    refused(cli("exempt", "add", "--policy", home, "--device", MAC, "--reason", "x"), "/proc/none/exemptions.toml: ")


@pytest.mark.parametrize("words", [["reload"], ["release", "tv", "--reason", "new firmware"]])
def test_nothing_runs(words: list[str], home: Path) -> None:
    refused(cli(*words, "--policy", home), f"no filter is running: there is no {home.parent}/control", code=1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(f"{home.parent}/control")
    refused(cli(*words, "--policy", home), f"no filter is running: no program answers at {home.parent}/control", code=1)


@pytest.mark.parametrize("words", [["reload"], ["release", "tv"], ["exempt", "list"], ["rules", "--remove"]])
def test_a_bad_policy_that_names_the_socket(words: list[str], tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[status]\ncontrol_socket = "control"\n')
    refused(cli(*words, "--policy", policy), f'{policy}: [status] control_socket is "control"; allowed: an absolute')


@pytest.mark.parametrize(
    "words",
    [
        ["exempt"],
        ["exempt", "add", "--device", MAC],
        ["exempt", "add", "--device", MAC, "--for", "1d", "--until", "2027-01-31", "--reason", "x"],
        ["exempt", "nonsense"],
        ["release"],
        ["reload", "now"],
    ],
)
def test_wrong_usage_of_these(words: list[str]) -> None:
    ran = cli(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("usage: cpe-filter")


@pytest.mark.parametrize("words", [["reload"], ["release"], ["exempt"], ["exempt", "add"], ["exempt", "remove"]])
def test_help(words: list[str]) -> None:
    ran = cli(*words, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"usage: cpe-filter {' '.join(words)}")


# ── status ──────────────────────────────────────────────────────────────────────────────────────

STATUS: dict[str, Any] = {
    "version": 1,
    "updated": 1795435260.0,
    "since": 1795435200.0,
    "mode": "block",
    "queue": 25,
    "handoff": "nft",
    "mail_packets": 7,
    "flows": 1,
    "failures": 0,
    "devices": [],
}


@pytest.fixture
def gone() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_status_of_a_running_filter(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    device = {
        "device": "02:00:00:00:01:01",
        "addresses": ["192.168.1.7"],
        "standing": "compromised",
        "mode": "block",
        "score": 12.5,
        "threshold": 12.0,
        "connections": 9,
        "refused": 0,
        "networks": 4,
        "messages": 0,
        "recipients": 3,
        "suspected_at": {"time": 1795435230.0, "connection": 8},
        "compromised_at": {"time": 1795435230.0, "connection": 8},
        "held_against": [
            {"sender": "mta", "sum": 9.1, "needed": 12.0},
            {"sender": "script", "sum": 3.2, "needed": 10.4},
        ],
        "evidence": [{"indicator": "unknown-user", "count": 3, "weight": 4.3}],
    }
    path.write_text(json.dumps({**STATUS, "pid": os.getpid(), "updated": time.time(), "devices": [device]}))
    ran = cli("status", "--file", path)
    assert (ran.code, ran.err) == (0, "")
    expected = (
        "02:00:00:00:01:01",
        "compromised since 2026-11-23 12:00:30 UTC",
        "+4.3",
        "now it could be a script (3.2 of 10.4)",
    )
    for words in (f"pid {os.getpid()}", *expected):
        assert words in ran.out
    as_json = cli("status", "--json", "--file", path)
    assert (as_json.code, as_json.out) == (0, path.read_text())


def test_status_when_nothing_runs(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    refused(cli("status", "--file", path), "no filter is running", str(path), code=1)
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[status]\nstatus_file = "{path}"\n')
    refused(cli("status", "--policy", policy), "no filter is running", str(path), code=1)
    refused(cli("status", "--file", tmp_path), "Is a directory", code=1)


def test_stale_status(tmp_path: Path, gone: int) -> None:
    path = tmp_path / "status.json"
    for content in (STATUS, {}):
        path.write_text(json.dumps({**content, "pid": gone}))
        for more in ([], ["--json"]):
            refused(cli("status", "--file", path, *more), f"pid {gone}", "does not run any more", code=1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"[]",
        b"1",
        b'"x"',
        b"null",
        b"{}",
        b'{"pid": "x"}',
        b'{"pid": 0}',
        b'{"pid": -1}',
        b'{"pid": 1e999}',
        b'{"pid": NaN}',
        b'{"pid": null}',
        b'{"pid": SELF}',  # runs, but nothing else is there
        b'{"pid": SELF, "updated": "x", "since": 0}',
        b'{"pid": SELF, "updated": 1e999, "since": 0}',
        b'{"pid": SELF, "updated": 1, "since": 0, "mode": 1, "queue": 1, "handoff": 1, "mail_packets": 1, '
        b'"flows": 1, "failures": 1, "devices": [1]}',
        b"[" * 100000,
        b"\xff\xfe",
        b"\0" * 4096,
    ],
    ids=range(20),
)
def test_garbage_status(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(content.replace(b"SELF", str(os.getpid()).encode()))
    refused(cli("status", "--file", path), f"{path}: not a status file", code=1)


def test_a_process_number_beyond_all_processes(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_text(json.dumps({**STATUS, "pid": 10**30}))
    refused(cli("status", "--file", path), "does not run any more", code=1)


# ── where output goes ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("arguments", [["replay", "--json", "GOOD"], ["replay", "GOOD"], ["--version"], ["--help"]])
def test_output_into_a_closed_pipe(arguments: list[str], good: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = cli(*(str(good) if word == "GOOD" else word for word in arguments), stdout=writer)
    os.close(writer)
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_output_onto_a_full_disk(form: list[str], good: Path) -> None:
    with open("/dev/full", "wb") as full:
        ran = cli("replay", *form, good, stdout=full)
    refused(ran, "No space left on device")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_started_with_closed_files(closed: str, good: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    shell = f'"$0" -m cpe_filter replay "$1" {closed}'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, good], env=environment, capture_output=True, timeout=DEADLINE_S
    )
    assert Ran(done).code == 0


def test_no_path_reaches_the_terminal_raw(good: Path, tmp_path: Path) -> None:
    """Neither an escape sequence of a file's name nor a second line, whoever reports it."""
    path = tmp_path / "x\x1b[2J\x9b\ncpe-filter: all is well"
    shown = "x\\x1b[2J\\x9b\\x0acpe-filter: all is well"
    for arguments in (["replay"], ["check"], ["run", "--policy"], ["rules", "--policy"]):
        refused(cli(*arguments, path), shown)
    refused(cli("status", "--file", path), shown, code=1)
    path.write_bytes(good.read_bytes())
    assert cli("replay", path).out.startswith(f"{tmp_path}/{shown}:")
    ran = cli("status", "--policy", "a", "\x1b[2J")
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == "cpe-filter: error: unrecognized arguments: \\x1b[2J"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_names_that_the_terminal_cannot_show(encoding: str, tmp_path: Path) -> None:
    """A path that is not UTF-8, a HELO name that is not ASCII: JSON stays JSON, people see something."""
    path = os.fsencode(tmp_path) + b"/\xff\xc3\xa9.pcap"
    text = LEGITIMATE.replace("EHLO mail.example.org", "EHLO mäil.example.org")
    with open(path, "wb") as file:
        file.write(build.pcap(build.frames(build.session(text))))
    env = {"PYTHONIOENCODING": encoding}
    ran = cli("replay", "--json", "--sessions", path, env=env)
    assert ran.code == 0
    assert os.fsencode(ran.lines[0]["capture"]) == path
    assert ran.lines[0]["sessions"][0]["helo"] == "mäil.example.org"
    assert cli("replay", "--sessions", path, env=env).code == 0
    missing = cli("replay", path + b"-not", env=env)
    assert (missing.code, missing.err.count("\n")) == (2, 1)


# ── what is promised of --json ──────────────────────────────────────────────────────────────────

NUMBER = (int, float)
CAPTURE = {
    "capture": str,
    "packets": int,
    "smtp_packets": int,
    "accounting": dict,
    "start": NUMBER,
    "end": NUMBER,
    "devices": list,
}
DEVICE = {
    "device": str,
    "addresses": list,
    "standing": str,
    "score": NUMBER,
    "threshold": NUMBER,
    "families": list,
    "held_against": list,
    "connections": int,
    "sessions": int,
    "networks": int,
    "messages": int,
    "recipients": int,
    "mx_queries": int,
    "first_seen": NUMBER,
    "last_seen": NUMBER,
    "suspected_at": dict,
    "compromised_at": dict,
    "unusual_at": (dict, type(None)),
    "evidence": list,
}
MOMENT = {"time": NUMBER, "connection": int}
EVIDENCE = {"indicator": str, "family": str, "count": int, "weight": NUMBER}
SESSION = {
    "client": str,
    "server": str,
    "device": str,
    "start": NUMBER,
    "helo": str,
    "tls": bool,
    "transactions": list,
    "last_reply": str,
    "violations": list,
    "decision": str,
}
TRANSACTION = {"mail_from": str, "rcpt_to": list, "outcome": str, "bytes": int}


def has_shape(thing: dict[str, Any], shape: dict[str, Any], exact: bool = True) -> None:
    """The keys in their order, each of its type; more keys than promised only where `exact` is False."""
    assert [key for key in thing if exact or key in shape] == list(shape)
    for key, kind in shape.items():
        assert isinstance(thing[key], kind), key


def bot() -> bytes:
    """A device that is convicted: dynamic HELO names, unknown users, many servers."""
    packets = []
    for number in range(14):
        text = f"""
            S: 220 mx
            C: HELO host-198-51-100-{number}.dyn.example.net
            S: 250 mx
            C: MAIL FROM:<a@forged{number}.example>
            S: 250 ok
            C: RCPT TO:<x@example.net>
            S: 550 5.1.1 User unknown
        """
        talk = Conversation(server=f"198.51.{number}.25", sport=41000 + number, time=build.START + number, step=0.01)
        packets += talk.open().say(text).close().packets
    return build.pcap(build.frames(packets))


def test_json_shape(tmp_path: Path) -> None:
    path = tmp_path / "bot.pcap"
    path.write_bytes(bot())
    (result,) = cli("replay", "--json", path).lines
    has_shape(result, CAPTURE)
    (device,) = result["devices"]
    assert device["standing"] == "compromised"
    has_shape(device, DEVICE)
    has_shape(device["suspected_at"], MOMENT)
    has_shape(device["compromised_at"], MOMENT)
    assert device["evidence"]
    for item in device["evidence"]:
        has_shape(item, EVIDENCE)
    assert {item["family"] for item in device["evidence"]} >= set(device["families"]) != set()


def test_json_sessions_only_when_asked_for(good: Path) -> None:
    (result,) = cli("replay", "--json", "--sessions", good).lines
    has_shape(result, {**CAPTURE, "sessions": list})
    (device,) = result["devices"]
    assert (device["standing"], device["suspected_at"], device["compromised_at"]) == ("clear", None, None)
    (session,) = result["sessions"]
    has_shape(session, SESSION, exact=False)
    (transaction,) = session["transactions"]
    has_shape(transaction, TRANSACTION, exact=False)
    assert transaction["mail_from"] == "example.org"
    assert transaction["rcpt_to"] == ["example.net"]
    assert session["last_reply"] == "250 2.0.0 Ok: queued"


def test_json_of_a_capture_without_mail(tmp_path: Path) -> None:
    path = tmp_path / "none.pcap"
    path.write_bytes(build.pcap([]))
    (result,) = cli("replay", "--json", path).lines
    assert result == {
        "capture": str(path),
        "packets": 0,
        "smtp_packets": 0,
        "accounting": {"complete": True, "read": 0, "copies": 0, "cut": 0, "damaged": False, "unread": []},
        "start": None,
        "end": None,
        "devices": [],
    }
    assert "no device sent mail here" in cli("replay", path).out


# ── privacy ─────────────────────────────────────────────────────────────────────────────────────

#: What a message and its envelope hold that is nobody's business. The first four are the envelope's.
ENVELOPE = ["canarysender", "canaryrcpt", "canaryquoted", "canaryrefused"]
CONTENT = ["canarysubject", "canaryfrom", "canarybody", "canarylast", "canarydomain"]
SECRETS = ["Y2FuYXJ5dXNlcg", "Y2FuYXJ5cGFzcw", "Y2FuYXJ5cGxhaW4"]  # canaryuser, canarypass, canaryplain
PRIVATE = """
S: 220 mx.example.net ESMTP
C: EHLO mail.example.org
S: 250-mx.example.net
S: 250 AUTH LOGIN PLAIN
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C: Y2FuYXJ5dXNlcg==
S: 334 UGFzc3dvcmQ6
C: Y2FuYXJ5cGFzcw==
S: 535 5.7.8 no
C: AUTH PLAIN Y2FuYXJ5cGxhaW4=
S: 235 2.7.0 welcome
C: MAIL FROM:<canarysender@example.org>
S: 250 2.1.0 Ok
C: RCPT TO:<canaryrcpt@example.net>
S: 250 2.1.5 Ok
C: RCPT TO:<"canaryquoted with a space"@example.net>
S: 250 2.1.5 Ok
C: RCPT TO:<canaryrefused@example.net>
S: 550 5.1.1 <canaryrefused@example.net>: Recipient address rejected: User unknown
C: DATA
S: 354 go on
C: From: Canary <canaryfrom@canarydomain.example>
C: Subject: canarysubject
C:
C: canarybody
C: MAIL FROM:<canarybody@example.org>
C: canarylast
C: .
S: 554 5.7.1 Refused, by <canaryrefused@example.net> and "canaryquoted with a space"@example.net
C: QUIT
S: 221 2.0.0 Bye
"""


@pytest.fixture(params=["whole", "torn", "late"])
def private(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The dialogue with canaries: as it was, with a packet in the middle missing, without its beginning."""
    packets = build.session(PRIVATE)
    if request.param == "torn":
        del packets[len(packets) * 2 // 3]
    if request.param == "late":
        packets = packets[8:]
    path = tmp_path / "private.pcap"
    path.write_bytes(build.pcap(build.frames(packets)))
    return path


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_local_part_and_no_content_unless_asked_for(form: list[str], private: Path) -> None:
    ran = cli("replay", "--sessions", *form, private)
    assert ran.code == 0
    assert "example.net" in ran.out
    for canary in (*ENVELOPE, *CONTENT, *SECRETS, "canary"):
        assert canary.lower() not in (ran.out + ran.err).lower()


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_addresses_shows_the_envelope_and_nothing_else(form: list[str], private: Path) -> None:
    ran = cli("replay", "--sessions", "--addresses", *form, private)
    assert ran.code == 0
    assert "canarysender@example.org" in ran.out
    for canary in (*CONTENT, *SECRETS):
        assert canary not in ran.out + ran.err
    if form:
        (transaction,) = ran.lines[0]["sessions"][0]["transactions"]
        assert transaction["rcpt_to"][:2] == ["canaryrcpt@example.net", '"canaryquoted with a space"@example.net']
        assert "canaryrefused@example.net" in ran.lines[0]["sessions"][0]["last_reply"]


def test_whole_addresses_change_no_judgement(tmp_path: Path) -> None:
    text = LEGITIMATE.replace("S: 250 2.0.0 Ok: queued", "S: 554 <pbl.rbl.blacklist.infected@example.net>: no")
    path = tmp_path / "a.pcap"
    path.write_bytes(build.pcap(build.frames(build.session(text))))
    assert cli("replay", "--json", path).lines == cli("replay", "--json", "--addresses", path).lines


def test_check_says_all_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        '[filter]\nmode = "blok"\nfial = "open"\n[network]\nport = [25]\nlan = []\n'
        '[nope]\nx = 1\n[[exempt]]\ndevice = "zz"\n'
    )
    done = cli("check", path)
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    begins = ('[filter] mode is "blok"', "[filter] unknown key", "[network] unknown key", "[network] lan is empty")
    for line, begin in zip(lines, (*begins, 'unknown table or key "nope"', "[[exempt]] number 1"), strict=True):
        assert line.startswith(f"cpe-filter: {path}: {begin}"), line
    # A supervisor's script reads one line.
    assert len(cli("check", "--service", path).err.splitlines()) == 1
    path.write_text("".join(f"[table{n}]\n" for n in range(60)))
    lines = cli("check", path).err.splitlines()
    assert len(lines) == 51
    assert lines[-1] == "cpe-filter: 10 more problems"
