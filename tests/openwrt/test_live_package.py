"""The package's own files filter mail: with python3-light, and no other module."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.mail import send, sent
from tests.lab.net import DEADLINE_S, Filter, Lab, mx4
from tests.openwrt import ipk, light

pytestmark = pytest.mark.live
LIGHT = ("python3-light",)


def test_it_filters_reloads_and_ends(lab: Lab, root: Path, read: Callable[[str], ipk.Ipk]) -> None:
    page = lab.folder / "notice" / "index.html"
    reports = '[report]\nurl = "https://collector.example/"\n'
    policy = lab.policy(f'[filter]\nmode = "monitor"\n{reports}[notice]\npage = "{page}"\nlanguage = "nl"\n')

    def told(*words: str) -> str:
        return lab.run("router", light.command(root, LIGHT, *words, "--policy", str(policy))).stdout

    log = lab.folder / "package.log"
    with log.open("w") as file:
        words = light.command(root, LIGHT, "run", "--policy", str(policy))
        process = lab.start("router", words, stderr=file)
    running = Filter(lab, process, log, policy)
    running.wait_for("running:")
    for package in ("explain", "report", "lang-nl"):
        running.wait_for(f"until the package cpe-filter-{package} is installed")
    assert sent(lab, mx4(0))
    policy.write_text(policy.read_text().replace('"monitor"', '"limit"'))
    changed = told("reload")
    assert "[filter] mode" in changed
    assert "[report] url: nothing is reported until the package cpe-filter-report is installed" in changed
    assert "exemption 1 added" in told("exempt", "add", "--destination", mx4(1), "--reason", "a test")
    assert len(json.loads(told("exempt", "list", "--json"))) == 1
    assert running.device("device1") is not None
    status = json.loads(told("status", "--json"))
    assert (status["failures"], status["devices"][0]["sessions"]) == (0, 1)
    assert "is running" in told("status")
    assert '<html lang="en">' in page.read_text()
    read("cpe-filter-lang-nl").unpack(root)
    changed = told("reload")
    assert "[notice] language" in changed
    assert "cpe-filter-lang-nl" not in changed
    end = time.monotonic() + DEADLINE_S
    while '<html lang="nl">' not in page.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    assert '<html lang="nl">' in page.read_text(), "a package that is installed later is used after a reload"
    lab.nft("router", "flush ruleset")
    running.wait_for("restored")
    assert running.stop() == 0
    assert "internal error" not in log.read_text()


def test_without_the_responder_refusals_are_resets(lab: Lab, root: Path) -> None:
    """The default asks for an explanation, and its package is not there: mail is refused all the same, at once."""
    policy = lab.policy('[filter]\nmode = "block"\n')
    log = lab.folder / "package.log"
    with log.open("w") as file:
        process = lab.start("router", light.command(root, LIGHT, "run", "--policy", str(policy)), stderr=file)
    running = Filter(lab, process, log, policy)
    running.wait_for("running:")
    rules = lab.run("router", ["nft", "list", "table", "inet", "cpe_filter"]).stdout
    assert "redirect" not in rules
    assert "Connection refused" in "".join(send(lab, mx4(0)))
    assert running.stop() == 0
    assert "internal error" not in log.read_text()
