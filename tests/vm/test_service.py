"""The package as a service in a virtual machine: it filters, survives a flush of all rules, a kill, and a reboot.

Two boots of one router, whose flash is a folder that outlives them; only with VM=all (`make vm`). service_scene has
what is done in them. `test_life_in_guest` has a short boot for `make test`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LIVE_REQUIRED
from tests.lab.net import PYTHON
from tests.openwrt import ipk, package
from tests.openwrt.conftest import build
from tests.vm import ONLY_WHOLE, WHOLE, kernel
from tests.vm.machine import run

#: Seconds for a boot: only a guest that hangs takes so long. An idle machine of two cores takes a few minutes at most.
TIMEOUT_S = 1800

Seen = dict[str, dict[str, Any]]

whole = pytest.mark.skipif(not WHOLE, reason=ONLY_WHOLE)


def make_flash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router's flash with the package as it came from the feed."""
    reason = kernel.why_not() or package.why_not()
    if reason and LIVE_REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("flash")
    built = build(folder / "built", "cpe-filter")
    assert built.returncode == 0, built.stderr
    for path in folder.glob("built/*/*.ipk"):
        ipk.read(path.read_bytes()).unpack(folder / "package")
    return folder


def boot(flash: Path, which: str) -> Seen:
    """What was seen in one boot."""
    command = [PYTHON, "-m", "tests.vm.service_scene", which]
    ended = run(command, TIMEOUT_S, {"CPE_FILTER_HANDOFF": "native"}, flash)
    lines = [json.loads(line) for line in ended.output.splitlines() if line.startswith("{")]
    assert ended.code == 0, ended.output + ended.console
    assert "a script failed" not in [line["seen"] for line in lines], lines
    return {line.pop("seen"): line for line in lines}


@pytest.fixture(scope="module")
def whole_flash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flash(tmp_path_factory)


@pytest.fixture(scope="module")
def first(whole_flash: Path) -> Seen:
    return boot(whole_flash, "first")


@pytest.fixture(scope="module")
def second(whole_flash: Path, first: Seen) -> Seen:
    return boot(whole_flash, "second")


def refused(replies: list[str]) -> bool:
    """By the filter, one way or the other."""
    return all(
        reply in ("refused", "reset") or reply.startswith("554 5.7.1 Your Internet provider") for reply in replies
    )


@whole
def test_installed_and_started_it_filters(first: Seen) -> None:
    log = first["log"]["text"]
    assert first["started"] == {"running": True, "responder": True}, log
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert first["modules"]["of"] == f"/usr/bin/cpe-filter with /usr/lib/{version}/site-packages"
    assert first["mail"]["laptop"], log
    assert refused(first["mail"]["bot"][8:])
    assert first["convicted"] == {"bot": "compromised", "laptop": "clear"}
    assert refused(first["refused"]["bot"])
    assert first["refused"]["delivered"] == 0


@whole
def test_it_survives_a_flush_of_all_rules(first: Seen) -> None:
    seen = first["flushed"]
    assert (seen["back"], seen["filters"], seen["laptop"]) == (True, True, True)
    assert refused(seen["bot"])
    assert seen["delivered"] == 1  # the laptop's


@whole
def test_changes_of_its_configuration(first: Seen) -> None:
    """By a signal, by a new start where it takes one, and not at all where it is wrong."""
    assert first["reloaded"] == {"told": True, "same": True}
    assert first["bad"]["same"]
    assert first["bad"]["status"].startswith("cpe-filter.limits.messages_burst is 0; allowed:")
    assert first["closed"] == {"anew": True, "rules": True}


@whole
def test_killed_it_comes_back_and_knows(first: Seen) -> None:
    assert first["killed"] == {"again": True, "bot": "compromised"}


@whole
def test_switched_off_it_leaves_state_and_rules(first: Seen) -> None:
    assert first["off"] == {"running": False, "state": True, "rules": True}


@whole
def test_fail_closed_lets_nothing_out_before_it_runs(second: Seen) -> None:
    assert second["before"] == {"laptop": False, "relay": True, "known": False}


@whole
def test_standings_survive_a_reboot(second: Seen) -> None:
    assert second["started"] == {"running": True, "known": True}
    assert second["convicted"] == {"bot": "compromised"}
    assert refused(second["mail"]["bot"])
    assert (second["mail"]["delivered"], second["mail"]["laptop"]) == (0, True)


@whole
def test_a_reload_of_the_firewall_is_no_matter(second: Seen) -> None:
    seen = second["firewall"]
    assert (seen["back"], seen["laptop"]) == (True, True)
    assert refused(seen["bot"])


@whole
def test_stopped_in_fail_closed_nothing_leaves(second: Seen) -> None:
    assert second["stopped"] == {"laptop": False, "relay": True, "rules": True}


@whole
def test_it_starts_when_its_interface_comes(second: Seen) -> None:
    assert second["late"] == {"waits": True, "starts": True}


@whole
def test_a_removal_leaves_nothing(second: Seen) -> None:
    assert second["removed"] == {"rules": False, "left": [], "running": False}
