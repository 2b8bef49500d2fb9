"""A restart of the live filter: a device that was convicted before is refused from its first connection on."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from tests.lab.net import PYTHON, Lab, mx4

pytestmark = pytest.mark.live

MONITOR = '[filter]\nmode = "monitor"\n'


def bot(lab: Lab, first: int, count: int) -> list[dict[str, Any]]:
    options = ["--pause", "0.02", "--first", str(first), "--count", str(count)]
    done = lab.run("device2", [PYTHON, "-m", "tests.lab.bot", *options])
    return [json.loads(line) for line in done.stdout.splitlines()]


def sent(lab: Lab, device: str, server: str) -> bool:
    done = lab.run(device, [PYTHON, "-m", "tests.lab.send", server], check=False)
    return done.stdout.startswith("sent")


@pytest.mark.parametrize("how", ["stopped", "killed", "switched off"])
def test_a_conviction_survives(lab: Lab, how: str) -> None:
    policy = lab.policy(MONITOR)
    running = lab.start_filter(policy)
    assert sent(lab, "device1", mx4(0))
    bot(lab, 10, 20)
    running.wait_for("is now compromised")
    recent, flash = lab.folder / "state", lab.folder / "flash" / "state"
    time.sleep(1.5)
    assert running.stop(signal.SIGKILL if how == "killed" else signal.SIGTERM) == (-9 if how == "killed" else 0)
    if how == "killed":
        # So that it is not the kernel that remembers.
        lab.run("router", ["nft", "delete", "table", "inet", "cpe_filter"])
        assert not flash.exists()
    if how == "switched off":
        recent.unlink()
    before = len(lab.mail())
    again = lab.start_filter(policy)
    again.wait_for("devices known from")
    # By a server that is new to it, at its first connection.
    attempts = bot(lab, 60, 6)
    assert {attempt["reply"] for attempt in attempts} == {"refused"}
    # Sessions of before may have ended since.
    assert not {seen["server"] for seen in lab.mail()[before:]} & {mx4(number) for number in range(60, 66)}
    device = again.device("device2")
    assert device is not None
    assert device["standing"] == "compromised"
    assert device["compromised_at"]["connection"] <= 20
    assert device["connections"] > device["compromised_at"]["connection"]
    assert sent(lab, "device1", mx4(4))
    clean = again.device("device1")
    assert clean is not None
    assert (clean["standing"], clean["messages"]) == ("clear", 2)
    assert again.stop() == 0
    assert {path.stat().st_mode & 0o777 for path in (recent, flash) if path.exists()} == {0o600}


def test_a_broken_state_keeps_nobody_from_starting(lab: Lab) -> None:
    policy = lab.policy(MONITOR)
    flash = lab.folder / "flash" / "state"
    flash.parent.mkdir()
    flash.write_bytes(b"cpe-filter state\1" + bytes(900))
    running = lab.start_filter(policy)
    assert "cut short or damaged; kept as" in running.log()
    assert sent(lab, "device1", mx4(0))
    assert running.stop() == 0
    assert "Traceback" not in running.log()
