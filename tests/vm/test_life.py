"""The packages' life: installed, set up, upgraded and removed by their own scripts; and flash that is full.

By the order of opkg and of apk, on a root of its own in a namespace of this machine. life_scene does what is done.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LIVE_REQUIRED
from tests.lab import net
from tests.lab.net import DEADLINE_S, PROJECT, PYTHON
from tests.openwrt import package
from tests.openwrt.conftest import MINOR, build

pytestmark = pytest.mark.live
ROOT = PROJECT / "tests" / "openwrt" / "root.sh"

Seen = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("life")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder / MINOR


def told(reason: str) -> None:
    if reason and LIVE_REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def seen_in(output: str) -> Seen:
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    found = {line.pop("seen"): line for line in lines}
    assert "log" in found, output
    assert "said" not in found, found["said"]
    assert "a script failed" not in found, found["a script failed"]
    return found


def on_a_root(kind: str, built: Path) -> Seen:
    """The scene on this machine. The root's /tmp is its own, so the packages come along."""
    told(net.why_not() or package.why_not())
    kept = PROJECT / "build" / "life"
    command = ["unshare", "--mount", "--propagation", "private", "sh", str(ROOT), PYTHON, "-m", "tests.vm.life_scene"]
    with packages_in_sight(built, kept / kind) as place:
        done = subprocess.run(
            [*command, kind, place, place], capture_output=True, text=True, cwd=PROJECT, timeout=6 * DEADLINE_S
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return seen_in(done.stdout)


class packages_in_sight:
    """A copy of the packages where the other root sees them."""

    def __init__(self, built: Path, place: Path) -> None:
        self._built, self._place = built, place

    def __enter__(self) -> str:
        subprocess.run(["rm", "-rf", str(self._place)], check=True)
        self._place.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", str(self._built), str(self._place)], check=True)
        return str(self._place)

    def __exit__(self, *error: object) -> None:
        subprocess.run(["rm", "-rf", str(self._place)], check=True)


def lived(seen: Seen) -> None:
    """What an installation, the first minutes, an upgrade and a removal must be like."""
    log = seen["log"]["text"]
    # The ISP's relay is reached before anybody has said which it is.
    bare = seen["bare"]
    assert bare == {"running": True, "mode": "monitor", "relay": True, "straight": True, "user": True}, log
    assert "set network.relays" in log
    assert seen["set"] == {"told": True, "relay": True, "straight": False}, log
    assert seen["again"] == {"told": True}, log
    assert seen["convicted"] == {"bot": "compromised"}, log
    upgraded = seen["upgraded"]
    assert upgraded == {
        "anew": True,  # what runs is the new one
        "bot": "compromised",
        "mode": "monitor",
        "config": True,  # but for the lists of networks that the first versions wrote
        "laptop": True,
        "bot_sends": False,
    }, log
    assert seen["exempted"] == {"against": ""}, log
    removed = seen["removed"]
    assert (removed["running"], removed["rules"], removed["site"], removed["laptop"]) == (False, False, False, True)
    assert removed["users"], "a user or a group has stayed"
    assert removed["rpcd"][-1] == "reload"
    # What people made: a changed configuration and exemptions. (And where the stand-in for uci keeps changes.)
    people = {"/etc/config/cpe-filter", "/etc/cpe-filter", "/etc/cpe-filter/exemptions.toml"}
    assert set(removed["left"]) - {"/etc/config/.uci", "/etc/cpe-filter"} == people - {"/etc/cpe-filter"}
    assert seen["back"] == {"running": True, "mode": "monitor"}, log


@pytest.mark.parametrize("kind", ["opkg", "apk"])
def test_the_packages_come_and_go(kind: str, built: Path) -> None:
    lived(on_a_root(kind, built))


def test_flash_that_cannot_be_written(built: Path) -> None:
    """Nothing is half-written, the filter goes on from memory, each failure is said once, and it recovers."""
    seen = on_a_root("flash", built)
    for what, reason, kept, compromised in (
        ("full", "No space left on device", 1, False),  # released before
        ("read-only", "Read-only file system", 2, True),
    ):
        one = seen[what]
        assert one["against"] == f"cpe-filter: /etc/cpe-filter/exemptions.toml: {reason}; it stays as it was"
        assert (one["changed"], one["again"], one["laptop"], one["same"]) == (True, True, True, True), one
        assert (one["kept"], one["bot"] == "compromised") == (kept, compromised), one
        said = [line.removeprefix("cpe-filter: ") for line in one["said"]]
        assert said.count(f"state not written: /etc/cpe-filter/state: {reason}") == 1, said
        assert (
            said.count(f"the policy cannot be kept for the next boot: /etc/cpe-filter/policy.last.toml: {reason}") == 1
        )
    assert seen["room"] == {"against": "", "kept": 2}
    left = ["exemptions.toml", "policy.last.toml", "state"]
    assert seen["good"] == {"against": "", "kept": 3, "bot": "compromised", "left": left}
