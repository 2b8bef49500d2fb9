"""The package's own files filter mail: with python3-light, and no other module."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.mail import sent
from tests.lab.net import Filter, Lab, mx4
from tests.openwrt import light

pytestmark = pytest.mark.live
LIGHT = ("python3-light",)


def test_it_filters_reloads_and_ends(lab: Lab, root: Path, tmp_path: Path) -> None:
    policy = lab.policy('[filter]\nmode = "monitor"\n')

    def told(*words: str) -> str:
        return lab.run("router", light.command(root, LIGHT, *words, "--policy", str(policy))).stdout

    log = lab.folder / "package.log"
    with log.open("w") as file:
        words = light.command(root, LIGHT, "run", "--policy", str(policy))
        process = lab.start("router", words, stderr=file)
    running = Filter(lab, process, log, policy)
    running.wait_for("running:")
    assert sent(lab, mx4(0))
    policy.write_text(policy.read_text().replace('"monitor"', '"limit"'))
    assert "[filter] mode" in told("reload")
    assert "exemption 1 added" in told("exempt", "add", "--destination", mx4(1), "--reason", "a test")
    assert len(json.loads(told("exempt", "list", "--json"))) == 1
    assert running.device("device1") is not None
    status = json.loads(told("status", "--json"))
    assert (status["failures"], status["devices"][0]["sessions"]) == (0, 1)
    assert "is running" in told("status")
    lab.nft("router", "flush ruleset")
    running.wait_for("restored")
    assert running.stop() == 0
    assert "internal error" not in log.read_text()
