"""What has to be seen of a life of the packages (life_scene prints it), on a root of this machine and in a guest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cpe_filter import __version__
from tests.conftest import LIVE_REQUIRED
from tests.lab.net import RELAY4

KINDS = ["opkg", "apk"]

Seen = dict[str, dict[str, Any]]


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


def began(seen: Seen) -> None:
    """An installation, and the first minutes."""
    log = seen["log"]["text"]
    # The ISP's relay is reached before anybody has said which it is.
    bare = seen["bare"]
    assert bare == {"running": True, "mode": "monitor", "relay": True, "straight": True, "user": True}, log
    assert "set network.relays" in log
    assert seen["set"] == {"told": True, "relay": True, "straight": False}, log
    assert seen["again"] == {"told": True}, log
    assert seen["convicted"] == {"bot": "compromised"}, log


def upgraded(seen: Seen) -> None:
    assert seen["upgraded"] == {
        "anew": True,  # what runs is the new one
        "version": __version__,
        "bot": "compromised",
        "mode": "monitor",
        "config": True,  # but for the lists of networks that the first versions wrote
        "laptop": True,
        "bot_sends": False,
    }, seen["log"]["text"]


def upgraded_in_fail_closed(seen: Seen) -> None:
    """While no program held the queue packets came, also of a running dialogue, and none left but the relay's."""
    one, log = seen["upgraded closed"], seen["log"]["text"]
    assert one["settled"] == [True, True], log
    assert one["gaps"], "the filter was not replaced"
    strangers = {server: count for server, count in one["came"].items() if server != RELAY4}
    assert len(strangers) == 4, one
    assert sum(strangers.values()) >= 8, one
    assert set(one["left"]) == {RELAY4}, one
    assert one["before_and_after"], one
    facts = (one["anew"], one["bot"], one["mode"], one["config"], one["laptop"], one["bot_sends"])
    assert facts == (True, "compromised", "monitor", True, True, False), log


def with_the_firewall_and_the_line(seen: Seen) -> None:
    log = seen["log"]["text"]
    for action in ("reload", "stop"):
        one = seen[f"fw4 {action}"]
        assert one == {"back": True, "rules": True, "same": True, "laptop": True, "bot_sends": False}, log
    assert seen["wan down"] == {"looked": True, "same": True, "rules": True}, log
    assert seen["wan up"] == {"looked": True, "same": True, "laptop": True, "bot_sends": False}, log


def removed(seen: Seen) -> None:
    log = seen["log"]["text"]
    assert seen["exempted"] == {"against": ""}, log
    one = seen["removed"]
    assert (one["running"], one["rules"], one["site"], one["laptop"]) == (False, False, False, True), log
    assert one["users"], "a user or a group has stayed"
    # What people made: a changed configuration and exemptions. (And where the stand-in for uci keeps changes, and a
    # folder that base-files has.)
    people = {"/etc/config/cpe-filter", "/etc/cpe-filter/exemptions.toml"}
    left = set(one["left"]) - {"/etc/config/.uci", "/etc/cpe-filter", "/etc/hotplug.d"}
    assert left == people, left ^ people
