"""`cpe-filter explain` as a program: signals, privileges, memory and descriptors; real clients get the reason."""

from __future__ import annotations

import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cpe_filter.privileges import PrivilegeError, act_as
from tests.explain.test_responder import EXPLANATION, TEXT, URL, Client
from tests.lab import boxes
from tests.lab.net import DEADLINE_S, PROJECT, PYTHON, Lab
from tests.lab.postfix import Postfix
from tests.ports import free_port


class Program:
    """`cpe-filter explain`, running."""

    def __init__(self, folder: Path, text: str, descriptors: int, user: int | None, python: str) -> None:
        self.port = free_port()
        self.policy = folder / "policy.toml"
        self.policy.write_text(
            f'[explain]\ntext = "{TEXT}"\nurl = "{URL}"\nport = {self.port}\ntests = false\n{text}\n'
            '[notice]\nshow = "off"\n'
        )
        limit = f"ulimit -n {descriptors};" if descriptors else ""
        command = [python, "-m", "cpe_filter", "explain", "--policy", "/dev/stdin"]  # others may not read the file
        self.process = subprocess.Popen(
            ["sh", "-c", limit + 'exec "$@"', "sh", *command],
            stdin=self.policy.open(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            user=user,
            group=user,
            extra_groups=[4, 24] if os.geteuid() == 0 else None,  # to be given up, too
        )
        assert self.process.stderr is not None
        self.first = self.process.stderr.readline()

    def status(self, key: str) -> list[str]:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in text.splitlines() if line.startswith(f"{key}:"))
        return line.split()[1:]

    def descriptors(self) -> list[str]:
        folder = f"/proc/{self.process.pid}/fd"
        links = []
        for fd in os.listdir(folder):
            with suppress(FileNotFoundError):  # closed meanwhile
                links.append(os.readlink(f"{folder}/{fd}"))
        return links

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code, and the rest of its log."""
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=DEADLINE_S)
        assert "Traceback" not in rest
        return self.process.returncode, rest


@contextmanager
def program(
    folder: Path, text: str = "", descriptors: int = 0, user: int | None = None, python: str = PYTHON
) -> Iterator[Program]:
    running = Program(folder, text, descriptors, user, python)
    while "Address already in use" in running.first:  # somebody else's, since it was looked for
        running.process.communicate(timeout=DEADLINE_S)
        running = Program(folder, text, descriptors, user, python)
    try:
        assert running.first.startswith("cpe-filter: explaining on port ")
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.communicate(timeout=DEADLINE_S)


root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: int, tmp_path: Path) -> None:
    with program(tmp_path) as running:
        assert running.first == f"cpe-filter: explaining on port {running.port}, at most 64 connections\n"
        client = Client(running.port)
        client.reply()
        assert client.ask("RCPT TO:<secret@friends.example>") == EXPLANATION
        code, rest = running.stop(number)
        assert client.reply() == "421 4.3.2 gateway.invalid shuts down"
        client.close()
    assert code == 0
    counts = "cpe-filter: explain: 1 connections, 1 recipients refused, 0 over the limit of connections, 0 timed out\n"
    assert rest == counts + "cpe-filter: stopped\n"


def test_asleep_it_takes_no_cpu_and_stops_at_once(tmp_path: Path) -> None:
    with program(tmp_path) as running:
        time.sleep(0.5)  # to fall asleep
        before = running.status("voluntary_ctxt_switches")
        time.sleep(1.5)
        assert running.status("voluntary_ctxt_switches") == before
        assert running.stop()[0] == 0


def refused(*arguments: str) -> str:
    done = subprocess.run(
        [PYTHON, "-m", "cpe_filter", "explain", *arguments],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=DEADLINE_S,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cpe-filter: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_that_is_taken(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as taken:
        try:
            taken.bind((host, 0))
        except OSError:
            pytest.skip("no IPv6 here")
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} cannot be bound: Address already in use" in refused("--port", str(port))


@pytest.mark.parametrize("port", ["0", "65536", "-1", "smtp", "٢٥"])
def test_a_port_that_is_none(port: str) -> None:
    assert "allowed: 1 to 65535" in refused(f"--port={port}")


def test_a_bad_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('[explain]\ntext = "two\\nlines"\n')
    assert f'{path}: [explain] text is "two?lines"; allowed: one line of US-ASCII' in refused("--policy", str(path))


@root
@pytest.mark.parametrize(("user", "says"), [("nobody-of-that-name", "no such user"), ("toor", "another name of root")])
def test_users_that_will_not_do(user: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if user == "toor":
        import pwd

        monkeypatch.setattr(pwd, "getpwnam", lambda name: pwd.getpwuid(0))
        with pytest.raises(PrivilegeError, match=says):
            act_as(user, "[explain] user")
        return
    path = tmp_path / "policy.toml"
    path.write_text(f'[explain]\nuser = "{user}"\n[notice]\nshow = "off"\n')  # its port may be another test's
    assert says in refused("--policy", str(path), "--port", str(free_port()))


@root
def test_privileges_are_dropped_for_good(tmp_path: Path) -> None:
    import pwd

    nobody = pwd.getpwnam("nobody")
    with program(tmp_path) as running:
        assert running.status("Uid") == [str(nobody.pw_uid)] * 4
        assert running.status("Gid") == [str(nobody.pw_gid)] * 4
        assert not {"4", "24"} & set(running.status("Groups"))
        for capabilities in ("CapEff", "CapPrm", "CapAmb", "CapInh"):
            assert int(running.status(capabilities)[0], 16) == 0
        client = Client(running.port)
        client.reply()
        assert client.ask("RCPT TO:<a@b>") == EXPLANATION
        client.close()


def may_run(user: int, python: str) -> bool:
    try:
        done = subprocess.run([python, "-c", "import cpe_filter.cli.main, tomllib"], user=user, cwd=PROJECT)
    except OSError:
        return False
    return not done.returncode


@root
def test_it_runs_without_root(tmp_path: Path) -> None:
    python = next((python for python in (PYTHON, "/usr/bin/python3") if may_run(65534, python)), None)
    if python is None:
        pytest.skip("Python and the project are root's alone")
    with program(tmp_path, user=65534, python=python) as running:
        assert running.status("Uid") == ["65534"] * 4
        client = Client(running.port)
        assert client.reply()[:3] == "220"
        client.close()
        assert running.stop()[0] == 0


def test_memory_and_descriptors_under_a_flood(tmp_path: Path) -> None:
    """64 clients in the midst of their longest lines, and 400 who are turned away."""
    bare = subprocess.Popen([PYTHON, "-c", "input()"], stdin=subprocess.PIPE)
    with program(tmp_path) as running:
        at_start = int(running.status("VmRSS")[0])
        bare_kb = int(re.findall(r"VmRSS:\s*(\d+)", Path(f"/proc/{bare.pid}/status").read_text())[0])
        bare.communicate(b"\n", timeout=DEADLINE_S)
        idle = running.descriptors()
        clients = [Client(running.port, source=f"127.0.1.{n // 8 + 1}") for n in range(64)]
        for client in clients:
            assert client.reply()[:3] == "220"
            client.ask("RCPT TO:<a@b>")
            client.say(b"x" * 510)
        turned_away = 0
        for n in range(400):
            more = Client(running.port, source=f"127.0.2.{n % 250 + 1}")
            turned_away += more.reply()[:3] == "421"
            more.close()
        assert turned_away == 400
        deadline = time.monotonic() + DEADLINE_S
        while len(running.descriptors()) > len(idle) + 64 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(running.descriptors()) == len(idle) + 64
        assert {link.partition(":")[0] for link in running.descriptors()} <= {
            "socket",
            "pipe",
            "/dev/null",
            str(running.policy),
        }
        full = int(running.status("VmRSS")[0])
        for client in clients:
            client.close()
        _, rest = running.stop()
    print(f"explain: RSS {at_start} kB at start, {full} kB with 64 clients; bare python3 {bare_kb} kB")
    assert "464 connections, 64 recipients refused, 400 over the limit of connections" in rest
    assert full - at_start < 1024
    assert full < 20 * 1024


def test_out_of_descriptors_it_waits(tmp_path: Path) -> None:
    with program(tmp_path, descriptors=20) as running:
        clients = [Client(running.port, source=f"127.0.1.{n + 1}") for n in range(30)]
        time.sleep(0.3)
        before = running.cpu_s()
        time.sleep(1.5)
        assert running.cpu_s() - before < 0.2, "it does not spin"
        assert len(running.descriptors()) <= 20
        for client in clients[:20]:
            client.close()
        assert clients[-1].reply()[:3] == "220", "those who wait are served when others have left"
        for client in clients[20:]:
            client.close()


# ── real clients ────────────────────────────────────────────────────────────────────────────────────

LETTER = "From: ann@home.example\nTo: ben@friends.example\nSubject: a letter\n\nHello.\n"
TO = ("ben@friends.example", "cid@friends.example")


def test_smtplib(tmp_path: Path) -> None:
    with program(tmp_path) as running, smtplib.SMTP("127.0.0.1", running.port, timeout=5) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            client.sendmail("ann@home.example", TO, LETTER)
        assert caught.value.recipients == {to: (554, EXPLANATION[4:].encode()) for to in TO}


@pytest.mark.parametrize("name", ["swaks", "curl", "msmtp"])
def test_programs_show_the_text(name: str, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    with program(tmp_path) as running:
        port = str(running.port)
        command = {
            "swaks": ["swaks", "--server", "127.0.0.1", "--port", port, "--from", "a@home.example", "--to", TO[0]],
            "curl": [
                *("curl", "-sS", "-v", "--url", f"smtp://127.0.0.1:{port}/home.example", "--upload-file", "-"),
                *("--mail-from", "a@home.example", "--mail-rcpt", TO[0]),
            ],
            "msmtp": ["msmtp", "--host=127.0.0.1", f"--port={port}", "--tls=off", "--from=a@home.example", "--", TO[0]],
        }[name]
        done = subprocess.run(command, input=LETTER, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode != 0
        assert f"5.7.1 {TEXT} {URL}" in done.stdout + done.stderr
        assert running.stop()[1].startswith("cpe-filter: explain: 1 connections, 1 recipients refused")


@pytest.mark.live
def test_a_bounce_of_postfix_says_why(live: None, tmp_path: Path) -> None:
    """Over two lines, on port 25, which root takes before it becomes nobody."""
    if not (boxes.UNPACKED / "postfix").is_dir():
        pytest.skip("postfix is not unpacked: make peers gets it")
    address = "192.168.1.1"
    text = " ".join(["Example Net stopped this letter."] * 12)
    url = "https://help.example/" + "x" * 170
    with Lab(devices=1) as lab:
        policy = lab.policy(f'[explain]\ntext = "{text}"\nurl = "{url}"\nport = 25\n')
        responder = lab.start(
            "router", [PYTHON, "-m", "cpe_filter", "explain", "--policy", str(policy)], subprocess.PIPE
        )
        assert responder.stderr is not None
        assert responder.stderr.readline().startswith("cpe-filter: explaining on port 25")
        mta = Postfix(lab, "device1")
        mta.send_through(address, tls=False, together=False)
        own = "virtual_mailbox_domains = home.example\nvirtual_mailbox_base = /var/mail\n"
        own += "virtual_mailbox_maps = static:in/\n"
        own += "virtual_uid_maps = static:8\nvirtual_gid_maps = static:8\nvirtual_minimum_uid = 1\n"
        mta.box.write("etc/postfix/main.cf", mta.box.read("etc/postfix/main.cf") + own)
        mta.box.run(["postfix", "reload"])
        mta.submit("ann@home.example", list(TO), LETTER)
        end = time.monotonic() + DEADLINE_S
        bounces: list[Path] = []
        while not bounces and time.monotonic() < end:
            time.sleep(0.1)
            bounces = list((mta.box.files / "var/mail/in/new").glob("*"))
        assert bounces, mta.box.read("var/log/postfix.log")
        bounce = re.sub(r"\s+", " ", bounces[0].read_text())
        assert lab.stop(responder) == 0
    for to in TO:
        assert f"<{to}>: host {address}[{address}] said: 554-5.7.1 " in bounce
    assert bounce.count(text) >= 2
    assert bounce.count(url) >= 2
    assert bounce.count("Status: 5.7.1") == 2
