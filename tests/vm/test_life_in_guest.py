"""The packages' life where the kernel has nft's own queue: in fail closed, over a reboot, while clocks jump.

One short boot in `make test`. With VM=all (`make vm`) two boots for each package manager: the life of a router up to a
power cut, and from there on. life_scene does what is done.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cpe_filter.enforce.ruleset_names import NATIVE
from tests.lab.net import PROJECT, PYTHON
from tests.openwrt import package
from tests.vm import ONLY_WHOLE, WHOLE, kernel
from tests.vm.lived import (
    KINDS,
    Seen,
    began,
    removed,
    seen_in,
    told,
    upgraded,
    upgraded_in_fail_closed,
    with_the_firewall_and_the_line,
)
from tests.vm.machine import run
from tests.vm.test_service import TIMEOUT_S, refused

whole = pytest.mark.skipif(not WHOLE, reason=ONLY_WHOLE)


def in_a_guest(scene: str, kind: str, kept: Path) -> Seen:
    """The scene in a boot of a guest. kept: the packages, and what the guest's flash keeps; /tmp is the guest's own."""
    own = [] if PROJECT.is_relative_to("/tmp") else ["sh", "-c", 'mount -t tmpfs tmp /tmp && exec "$@"', "sh"]
    command = [*own, PYTHON, "-m", "tests.vm.life_scene", scene, kind, "/kept/old", "/kept/new"]
    ended = run(command, TIMEOUT_S, {"CPE_FILTER_HANDOFF": "native"}, kept)
    assert ended.code == 0, ended.output + ended.console
    return seen_in(ended.output)


@pytest.fixture(scope="module", params=KINDS)
def boots(request: pytest.FixtureRequest, built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Seen, Seen]:
    """The two boots of a router with a package manager."""
    told(kernel.why_not() or package.why_not())
    kept = tmp_path_factory.mktemp("kept")
    shutil.copytree(built, kept, dirs_exist_ok=True)
    return in_a_guest("first", request.param, kept), in_a_guest("second", request.param, kept)


def test_one_boot_filters_by_the_kernels_queue_and_fails_closed(
    built: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    told(kernel.why_not() or package.why_not())
    kept = tmp_path_factory.mktemp("kept")
    shutil.copytree(built, kept, dirs_exist_ok=True)
    seen = in_a_guest("short", "opkg", kept)
    log = seen["log"]["text"]
    assert seen["bare"] == {"running": True, "mode": "monitor"}, log
    assert seen["started"] == {"anew": True}, log
    assert seen["queue"] == {"handoff": NATIVE, "native": True, "xtables": False}
    assert seen["mail"]["laptop"], log
    assert any(refused([reply]) for reply in seen["mail"]["bot"])  # in the order of their ends
    assert seen["convicted"] == {"bot": "compromised", "laptop": "clear"}
    assert refused(seen["refused"]["bot"])
    assert seen["refused"]["delivered"] == 0
    upgraded_in_fail_closed(seen)
    assert seen["stopped"] == {"laptop": False, "relay": True, "rules": True}


@whole
class TestTwoBoots:
    """A life in a guest: `boots` has what was seen in it."""

    def test_first_minutes_and_an_upgrade(self, boots: tuple[Seen, Seen]) -> None:
        began(boots[0])
        upgraded(boots[0])

    def test_an_upgrade_in_fail_closed_lets_nothing_out(self, boots: tuple[Seen, Seen]) -> None:
        seen = boots[0]
        assert seen["closed"] == {"anew": True, "rules": True, "laptop": True}, seen["log"]["text"]
        upgraded_in_fail_closed(seen)

    def test_the_firewall_and_the_line_come_and_go(self, boots: tuple[Seen, Seen]) -> None:
        with_the_firewall_and_the_line(boots[0])

    def test_stopped_nothing_leaves(self, boots: tuple[Seen, Seen]) -> None:
        seen = boots[0]
        assert seen["stopped"] == {"laptop": False, "relay": True, "rules": True}, seen["log"]["text"]
        assert seen["started"] == {"running": True, "laptop": True, "bot": "compromised"}, seen["log"]["text"]

    def test_jumps_of_the_clock(self, boots: tuple[Seen, Seen]) -> None:
        """Nothing is convicted, a limit neither opens nor stays shut, and exemptions end by the clock."""
        seen = boots[0]
        log = seen["log"]["text"]
        assert seen["limit"] == {"told": True, "exempt": [True] * 4, "reached": True}, log
        convictions = log.count("is now compromised")
        standings = ["clear", "compromised", "clear"]
        for name, expired, in_force in (("ahead", 1, 0), ("back", 1, 1)):
            assert seen[f"clock {name}"] == {
                "limits": True,
                "passes": True,
                "same": True,
                "standings": standings,
                "expired": expired,
                "in_force": in_force,
                "convictions": convictions,
                "status": 0,
            }, log
        one = seen["clock at a start"]
        assert (one["anew"], one["passes"], one["later"], one["bot_sends"]) == (True, True, True, False), log
        assert (one["standings"], one["convictions"], one["status"]) == (standings, convictions, 0), log

    def test_a_reboot_in_fail_closed(self, boots: tuple[Seen, Seen]) -> None:
        """Only relays before the filter; then standings and configuration as before, also once the time is known."""
        seen = boots[1]
        log = seen["log"]["text"]
        assert seen["before"] == {"laptop": False, "relay": True, "known": False}, log
        booted = seen["booted"]
        assert (booted["running"], booted["known"], booted["laptop"], booted["bot_sends"]) == (True, True, True, False)
        assert (booted["bot"], booted["mode"]) == ("compromised", "monitor"), log
        assert seen["time set"] == {"laptop": True, "bot": "compromised", "bot_sends": False, "convictions": 0}, log

    def test_a_removal_leaves_nothing(self, boots: tuple[Seen, Seen]) -> None:
        removed(boots[1])
        assert boots[1]["back"] == {"running": True, "mode": "monitor"}
