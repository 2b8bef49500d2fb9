"""`collector init DIR`: what it makes works as it is, and nothing is overwritten."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509

from cpe_filter.collect import password, trial
from cpe_filter.collect.config.file import load
from cpe_filter.collect.users import parse
from tests.lab.net import DEADLINE_S, PROJECT
from tests.ports import free_port


def collector(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cpe_filter", "collector", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=DEADLINE_S, umask=0o002)


def test_what_is_made_can_be_used(tmp_path: Path) -> None:
    made = collector("init", str(tmp_path / "trial"), "--host", "collector.isp.example")
    assert (made.returncode, made.stderr) == (0, "")
    folder = tmp_path / "trial"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    checked = collector("--config", str(folder / "collector.toml"), "check")
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.endswith("store sqlite, no revocation list.\n")
    config = load(str(folder / "collector.toml"))
    assert config.listen.address == "[::]:8443"
    certificate = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["collector.isp.example", "localhost"]


def test_the_printed_password_is_that_of_the_user(tmp_path: Path) -> None:
    said = trial.make(str(tmp_path / "t"))
    found = re.search(r"as desk, password ([a-z0-9-]{23}) \(shown once", said)
    assert found
    user = parse(load(str(tmp_path / "t" / "collector.toml")).page.users[0])
    assert user is not None
    assert (user.name, user.role) == ("desk", "desk")
    assert password.matches(found[1], user.hash)
    for path in (tmp_path / "t").iterdir():
        assert found[1].encode() not in path.read_bytes()
    assert found[1] not in trial.make(str(tmp_path / "other"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o755)
    trial.make(str(tmp_path / "empty"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "empty").iterdir()}
    with pytest.raises(trial.TrialError, match=r"is not empty \(it has 'ca\.key'\); nothing is overwritten"):
        trial.make(str(tmp_path / "empty"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "empty").iterdir()} == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(trial.TrialError, match=r"file: File exists$"):
        trial.make(str(tmp_path / "file"))


def test_a_folder_with_files_keeps_its_mode(tmp_path: Path) -> None:
    """It is someone else's: /etc, or a home."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "a\x1b[31m").write_text("x")
    (tmp_path / "used").chmod(0o755)
    done = collector("init", str(tmp_path / "used"))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr
    assert stat.S_IMODE((tmp_path / "used").stat().st_mode) == 0o755


def test_the_steps_are_commands_of_a_shell(tmp_path: Path) -> None:
    """Also where the path has spaces and what a shell would obey."""
    folder = tmp_path / "a trial's $(touch x); folder"
    steps = dict(re.findall(r"^(\w+): +(.*(?:\\\n.*)?)$", trial.make(str(folder)), re.MULTILINE))
    for name in ("start", "report", "check"):
        shown = subprocess.run(
            ["sh", "-c", f"printf '%s\\n' {steps[name]}"], capture_output=True, text=True, cwd=tmp_path
        )
        paths = [word.removeprefix("@") for word in shown.stdout.splitlines() if str(tmp_path) in word]
        assert paths, name
        assert all(Path(path).exists() for path in paths), paths
    assert not (tmp_path / "x").exists()
    checked = collector("--config", str(folder / "collector.toml"), "check")
    assert checked.returncode == 0, checked.stderr


def test_a_current_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(trial.TrialError, match=r"^the current folder: No such file or directory$"):
        trial.make("trial")


@pytest.mark.parametrize("host", ["", "a b", "-x", 'x"', "x.example/", "ü.example", "1.2.3.4:80"])
def test_a_host_that_is_none_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(trial.TrialError, match="expected a host name or an IP address"):
        trial.make(str(tmp_path / "t"), host)
    assert not (tmp_path / "t").exists()


def test_an_address_is_one_in_the_certificate(tmp_path: Path) -> None:
    trial.make(str(tmp_path / "t"), "2001:db8::1")
    certificate = x509.load_pem_x509_certificate((tmp_path / "t" / "server.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["2001:db8::1", "127.0.0.1", "::1"]


def test_a_path_that_toml_would_read_otherwise_is_refused(tmp_path: Path) -> None:
    for name in ('a"b', "a\\b", "ä", "a\nb"):
        with pytest.raises(trial.TrialError, match="printable US-ASCII"):
            trial.make(str(tmp_path / name))


@pytest.mark.parametrize("words", [["init"], ["check", "--host", "x"], ["doctor", "x"], ["init", "a", "b"]])
def test_arguments_that_do_not_go_together(words: list[str]) -> None:
    done = collector(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: " in done.stderr


def test_its_enrolment_works_as_it_is(tmp_path: Path) -> None:
    """Without the comment signs: checked, served, and a router gets a certificate by a token."""
    folder = tmp_path / "t"
    trial.make(str(folder))
    path = folder / "collector.toml"
    assert load(str(path)).enrol.address == ""
    head, _, table = path.read_text().partition("# [enrol]\n")
    port, metrics = free_port(), free_port()
    table = "\n".join(line.removeprefix("# ") for line in table.splitlines())
    table = table.replace("127.0.0.1:8444", f"127.0.0.1:{port}")
    path.write_text(f'{head}[enrol]\n{table}\nmetrics_address = "127.0.0.1:{metrics}"\n')
    checked = collector("--config", str(path), "check")
    assert checked.returncode == 0, checked.stderr
    assert f"certificates at 127.0.0.1:{port}" in checked.stdout
    token = collector("--config", str(path), "enrol", "cpe-0002")
    assert token.returncode == 0, token.stderr
    command = [sys.executable, "-m", "cpe_filter", "collector", "--config", str(path), "est"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=PROJECT) as est:
        try:
            until_open(port)
            secret = tmp_path / "token"
            secret.touch(0o600)
            secret.write_text(token.stdout)
            policy = tmp_path / "policy.toml"
            policy.write_text(
                f'[report]\nca = "{folder}/ca.pem"\ncertificate = "{tmp_path}/router.pem"\n'
                f'key = "{tmp_path}/router.key"\nuser = "nobody"\nurl = "https://localhost:8443"\n'
            )
            url = f"https://localhost:{port}"
            words = ["enrol", "--policy", str(policy), "--url", url, "--id", "cpe-0002", "--token", str(secret)]
            done = subprocess.run(
                [sys.executable, "-m", "cpe_filter", *words],
                capture_output=True, text=True, cwd=PROJECT, timeout=DEADLINE_S,
            )  # fmt: skip
            assert done.stdout.startswith("certificate of cpe-0002, until "), done.stderr
        finally:
            est.terminate()
            est.wait(DEADLINE_S)


def until_open(port: int) -> None:
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
