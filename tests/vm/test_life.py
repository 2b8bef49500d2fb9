"""The packages' life: installed, set up, upgraded and removed by their own scripts; and flash that is full.

By the order of opkg and of apk, on a root of its own in a namespace of this machine. life_scene does what is done.
test_life_in_guest has the life in fail closed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab import net
from tests.lab.net import DEADLINE_S, PROJECT, PYTHON
from tests.openwrt import package
from tests.vm.lived import KINDS, Seen, began, removed, seen_in, told, upgraded, with_the_firewall_and_the_line

pytestmark = pytest.mark.live
LIFE = "tests.vm.life_scene"
ROOT = PROJECT / "tests" / "openwrt" / "root.sh"


def on_a_root(module: str, kind: str, built: Path, *words: str) -> Seen:
    """A scene on this machine. words: its arguments; `old` and `new` are the packages. The root's /tmp is its own, so
    these come along."""
    told(net.why_not() or package.why_not())
    kept = PROJECT / "build" / "life"
    command = ["unshare", "--mount", "--propagation", "private", "sh", str(ROOT), PYTHON, "-m", module]
    with packages_in_sight(built, kept / kind) as place:
        command += [f"{place}/{word}" if word in ("old", "new") else word for word in words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=6 * DEADLINE_S)
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


@pytest.mark.parametrize("kind", KINDS)
def test_the_packages_come_and_go(kind: str, built: Path) -> None:
    seen = on_a_root(LIFE, kind, built, "whole", kind, "old", "new")
    began(seen)
    upgraded(seen)
    with_the_firewall_and_the_line(seen)
    removed(seen)
    assert seen["removed"]["rpcd"][-1] == "reload"
    assert seen["back"] == {"running": True, "mode": "monitor"}, seen["log"]["text"]


def test_flash_that_cannot_be_written(built: Path) -> None:
    """Nothing is half-written, the filter goes on from memory, each failure is said once, and it recovers."""
    seen = on_a_root(LIFE, "flash", built, "flash", "opkg", "old", "new")
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
