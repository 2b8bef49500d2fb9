"""mypy finds a misspelt word of a closed vocabulary, and a time of another clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.net import PROJECT

_HEAD = """
import time
from cpe_filter.detect.device import Device
from cpe_filter.enforce.decide import Decision, effective_mode
from cpe_filter.engine import Engine
from cpe_filter.engine.verdicts import Verdict
from cpe_filter.inspect.facts import Event
from cpe_filter.inspect.session import Session
from cpe_filter.lean.clocks import Mono, PacketTime, Posix, Uptime, posix
from cpe_filter.policy.exemptions import expired
from cpe_filter.policy.model import Policy
from cpe_filter.report import schedule
from cpe_filter.report.events import heartbeat
from cpe_filter.report.spool_dir import uptime
from cpe_filter.status.overview import describe

plan = schedule.Plan("boot", Uptime(0.0))
policy = Policy()

def wrong(device: Device, engine: Engine, session: Session, verdict: Verdict, now: PacketTime) -> object:
    {line}
    return None
"""
GOOD = (
    'assert device.score.standing == "compromised"',
    'Decision("refuse", "why")',
    'assert session.phase == "lost"',
    'assert session.visibility == "ends"',
    'assert verdict == "skip-content"',
    'Event("tls-bytes")',
    "engine.tick(now)",
    "engine.tick(PacketTime(1.0))",
    "now + 1.0",
    "schedule.own_second(uptime(), 7)",
    'Device(b"", now)',
    "describe({}, posix())",
    "expired(policy.exempt[0], posix())",
    "schedule.delivered(plan, uptime(), Posix(time.time()), 7, False, None, None)",
)
WRONG = (
    'assert device.score.standing == "compromized"',
    'Decision("reject", "why")',
    'assert session.phase == "timeout"',
    'assert session.visibility == "all"',
    'assert verdict == "content"',
    'Event("sealed")',
    "engine.tick(Mono(time.monotonic()))",
    "engine.tick(Posix(time.time()))",
    "engine.tick(Uptime(1.0))",
    "engine.tick(time.time())",
    "engine.leases((), Posix(time.time()), now)",
    "schedule.delivered(plan, Posix(time.time()), uptime(), 7, False, None, None)",
    "heartbeat((), policy, time.time(), {})",
    'Device(b"", Posix(time.time()))',
    'Device(b"", time.time())',
    "describe({}, now)",
    "expired(policy.exempt[0], now)",
    "schedule.own_second(Mono(time.monotonic()), 7)",
)


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("types")
    for name, lines in (("good", GOOD), ("wrong", WRONG)):
        for number, line in enumerate(lines):
            (folder / f"{name}{number}.py").write_text(_HEAD.replace("{line}", line))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={folder / 'cache'}"]
    files = sorted(str(path) for path in folder.glob("*.py"))
    done = subprocess.run(
        [*command, "--no-error-summary", *files], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.stdout


def _said(findings: str, name: str) -> list[str]:
    return [
        line for line in findings.splitlines() if Path(line.split(":")[0]).name == f"{name}.py" and ": error" in line
    ]


@pytest.mark.parametrize("number", range(len(GOOD)), ids=GOOD)
def test_what_is_right_passes(findings: str, number: int) -> None:
    assert _said(findings, f"good{number}") == []


@pytest.mark.parametrize("number", range(len(WRONG)), ids=WRONG)
def test_what_is_wrong_is_found(findings: str, number: int) -> None:
    assert _said(findings, f"wrong{number}")
