"""The packages unpacked on a router that has only their dependencies: do the commands run?"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cpe_filter import __version__
from cpe_filter.enforce import ruleset
from cpe_filter.enforce.ruleset_names import NATIVE
from cpe_filter.policy.model import Policy
from tests.lab.net import PROJECT
from tests.openwrt import ipk, light

Read = Callable[[str], ipk.Ipk]
LIGHT = ("python3-light",)
POLICY = str(PROJECT / "openwrt" / "policy.toml")
COMMANDS = [
    "run",
    "replay",
    "rules",
    "check",
    "explain",
    "send",
    "report",
    "status",
    "reload",
    "release",
    "exempt",
    "uci",
    "policy",
    "enrol",
]


def standard(package: ipk.Ipk) -> tuple[str, ...]:
    """The packages of Python's that it depends on."""
    return tuple(name for name in package.control["Depends"].split(", ") if name.startswith("python3-"))


def test_the_hook_takes_modules_away(root: Path) -> None:
    """Or all that follows would prove nothing."""
    program = root / "usr" / "bin" / "cpe-filter"
    for package, modules in light.ELSEWHERE.items():
        program.write_text(f"import importlib\nimportlib.import_module({modules[0]!r})\n")
        assert "ModuleNotFoundError" in light.run(root, LIGHT).stderr, modules
        if package == "python3-urllib":
            assert light.run(root, (*LIGHT, package)).stderr == ""


@pytest.mark.parametrize("words", [("--version",), ("run", "--version")])
def test_it_says_its_version(root: Path, words: tuple[str, ...]) -> None:
    done = light.run(root, LIGHT, *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"cpe-filter {__version__}\n", "")


def test_it_checks_a_policy(root: Path, tmp_path: Path) -> None:
    done = light.run(root, LIGHT, "check", POLICY)
    assert (done.returncode, done.stderr) == (0, "")
    assert ": good. Mode block" in done.stdout
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[filter]\nmode = 7\n")
    refused = light.run(root, LIGHT, "check", str(wrong))
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"cpe-filter: {wrong}: [filter] mode")
    assert refused.stderr.count("\n") == 1


def test_it_prints_the_rules(root: Path) -> None:
    done = light.run(root, LIGHT, "rules")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ruleset.render(Policy(), NATIVE)


@pytest.mark.parametrize("command", COMMANDS)
def test_it_helps(root: Path, command: str) -> None:
    done = light.run(root, LIGHT, command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: cpe-filter {command}")


def test_every_command_was_asked_for_help(root: Path) -> None:
    usage = light.run(root, LIGHT, "--help").stdout
    commands = re.findall(r"^    (\w+)\b", usage, re.MULTILINE)
    assert set(commands) - set(COMMANDS) == {"collector"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("send", "--policy", POLICY), "'send' needs the package cpe-filter-report, which is missing"),
        (("report", "show", "--policy", POLICY), "'report show' needs the package cpe-filter-report, which is missing"),
        (("policy", "status"), "'policy' needs the package cpe-filter-report, which is missing"),
        (("explain", "--policy", POLICY), "'explain' needs the package cpe-filter-explain, which is missing"),
        (("replay", "x.pcap"), "replay needs cpe_filter.replay: pip install"),
        (("collector", "--config", "x"), "collector needs cpe_filter.collect: pip install"),
    ],
)
def test_what_another_package_has_is_said_in_a_line(root: Path, words: tuple[str, ...], says: str) -> None:
    done = light.run(root, LIGHT, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cpe-filter: {says}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("status", "--file", "/nonexistent/status.json"), 1, "no filter is running"),
        (("reload", "--socket", "/nonexistent/control"), 1, "no filter is running"),
        (("release", "02:00:00:00:01:02", "--socket", "/nonexistent/control"), 1, "no filter is running"),
        (("exempt", "list", "--policy", "POLICY"), 0, "no filter is running"),
        (("check", "--service", "POLICY"), 0, "run "),
    ],
)
def test_commands_begin_their_work(root: Path, tmp_path: Path, words: tuple[str, ...], code: int, says: str) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[status]\nstatus_file = "{tmp_path}/run/status.json"\ncontrol_socket = "{tmp_path}/run/c"\n')
    done = light.run(root, LIGHT, *(str(policy) if word == "POLICY" else word for word in words))
    assert (done.returncode, done.stderr.count("\n")) in ((code, 1), (0, 0)), done.stderr
    assert says in done.stderr + done.stdout
    assert "No module" not in done.stderr


@pytest.mark.parametrize(
    ("package", "words", "says"),
    [
        ("cpe-filter-report", ("report", "show", "--policy", "POLICY"), "no reports are made"),
        ("cpe-filter-explain", ("explain", "--policy", "POLICY", "--port", "0"), '--port is "0"; allowed: 1 to 65535'),
    ],
)
def test_commands_of_other_packages_begin_their_work(
    root: Path, read: Read, tmp_path: Path, package: str, words: tuple[str, ...], says: str
) -> None:
    read(package).unpack(root)
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[status]\nstatus_file = "{tmp_path}/run/status.json"\n')
    done = light.run(root, LIGHT, *(str(policy) if word == "POLICY" else word for word in words))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert says in done.stderr


def test_check_says_what_is_asked_for_and_not_installed(root: Path, read: Read, tmp_path: Path) -> None:
    """And a supervisor starts no program that is not there."""
    policy = tmp_path / "policy.toml"
    policy.write_text('[report]\nurl = "https://collector.example/"\n[notice]\nlanguage = "nl"\n')

    def checked(*words: str) -> list[str]:
        done = light.run(root, LIGHT, "check", *words, str(policy))
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    lacking = [
        (
            "cpe-filter-explain",
            "explain",
            (
                "[filter] refusal: refusals are resets, without a reason, until the package",
                "[notice] show: no HTTP leads to the notice until the package",
            ),
        ),
        ("cpe-filter-report", "send", ("[report] url: nothing is reported until the package",)),
        ("cpe-filter-lang-nl", "", ("[notice] language: texts are in English until the package",)),
    ]
    while lacking:
        assert checked()[1:] == [f"{line} {package} is installed" for package, _, lines in lacking for line in lines]
        package, program, _ = lacking.pop(0)
        assert program not in [line.split()[0] for line in checked("--service")]
        read(package).unpack(root)
        assert not program or program in [line.split()[0] for line in checked("--service")]
    assert len(checked()) == 1


def test_run_says_what_it_cannot_do(root: Path, tmp_path: Path) -> None:
    """As far as a machine takes it without a router's rights: all its modules are loaded by then."""
    policy = tmp_path / "policy.toml"
    network = '[network]\nlan = ["none0"]\nwan = ["none1"]\n[filter]\nrefusal = "reset"\n[notice]\nshow = "off"\n'
    policy.write_text(f'{network}[status]\nstatus_file = "{tmp_path}/s.json"\n')
    done = light.run(root, LIGHT, "run", "--policy", str(policy))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("cpe-filter: ")
    assert "No module" not in done.stderr


def test_send_needs_no_more_than_its_package_says(root: Path, read: Read, tmp_path: Path) -> None:
    """It goes as far as to look the collector up and to be turned away; nothing listens on that port."""
    report = read("cpe-filter-report")
    report.unpack(root)
    helps = light.run(root, (*LIGHT, *standard(report)), "send", "--help")
    assert (helps.returncode, helps.stderr) == (0, "")
    loaded = root / "usr" / "bin" / "cpe-filter"
    loaded.write_text(
        "from cpe_filter.send import upstream\nimport ssl\nt = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "try:\n    upstream.Collector('https://localhost:9', t).post(b'')\n"
        "except upstream.UnreachableError as error:\n    print(error)\n"
    )
    done = light.run(root, (*LIGHT, *standard(report)))
    assert (done.stderr, done.stdout) == ("", "localhost is not reached: Connection refused\n")


@pytest.mark.parametrize("lacking", ["python3-openssl", "python3-urllib", "python3-email"])
def test_every_dependency_of_send_is_needed(root: Path, read: Read, lacking: str) -> None:
    report = read("cpe-filter-report")
    report.unpack(root)
    rest = tuple(name for name in light.ELSEWHERE if name in standard(report) and name != lacking)
    (root / "usr" / "bin" / "cpe-filter").write_text("import cpe_filter.send.upstream\n")
    assert "ModuleNotFoundError" in light.run(root, (*LIGHT, *rest)).stderr


def test_send_says_in_a_line_that_its_package_is_not_whole(root: Path, read: Read) -> None:
    report = read("cpe-filter-report")
    report.unpack(root)
    (light.site_packages(root) / "cpe_filter" / "send" / "rights.pyc").unlink()
    done = light.run(root, (*LIGHT, *standard(report)), "send", "--policy", POLICY)
    assert done.returncode == 2
    assert done.stderr.startswith("cpe-filter: 'send' needs the package cpe-filter-report, which is missing or")
    assert done.stderr.count("\n") == 1
