"""Refusals in the log: who gets lines of his own, what is said of the rest, and that it stays bounded."""

from __future__ import annotations

import pytest

from cpe_filter.detect.device import Collective, Device
from cpe_filter.detect.score import COMPROMISED
from cpe_filter.enforce import decide
from cpe_filter.status.refusals import DEVICES, KINDS, LINES, MINUTE_S, Refusals, kind
from tests.policies import changed_policy, make_policy

SERVER = bytes([198, 18, 1, 25])


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.refusals = Refusals(self.lines.append)

    def refuse(self, time: float, device: int, times: int = 1, reason: str = "device compromised") -> None:
        for _ in range(times):
            self.refusals.told(time, bytes([device]), f"device {device}", SERVER, 25, reason)

    def taken(self) -> list[str]:
        lines = self.lines[:]
        self.lines.clear()
        return lines


@pytest.fixture
def log() -> Log:
    return Log()


def test_device_destination_and_reason(log: Log) -> None:
    log.refuse(0.0, 1, reason="mode block: no direct mail")
    log.refusals.told(0.0, b"\2", "TV (lg)", bytes.fromhex("20010db8010000000000000000000025"), 2525, "x")
    assert log.taken() == [
        "refused device 1 to 198.18.1.25 port 25: mode block: no direct mail",
        "refused TV (lg) to 2001:db8:100::25 port 2525: x",
    ]


def test_the_rest_is_told_by_itself_at_the_end_of_the_minute(log: Log) -> None:
    log.refuse(10.0, 1, LINES + 37)
    assert len(log.taken()) == LINES
    log.refusals.tick(10.0 + MINUTE_S - 0.1)
    assert log.taken() == []
    log.refusals.tick(10.0 + MINUTE_S)
    assert log.taken() == ["refused device 1, more within a minute than shown: 37"]
    log.refusals.tick(10.0 + 3 * MINUTE_S)
    assert log.taken() == []


def test_each_device_has_its_own_count(log: Log) -> None:
    log.refuse(0.0, 1, LINES + 100)
    log.refuse(1.0, 2, LINES + 1)
    log.refuse(2.0, 3, 1)
    assert len(log.taken()) == LINES + LINES + 1
    log.refusals.tick(2.0 + MINUTE_S)
    assert log.taken() == [
        "refused device 1, more within a minute than shown: 100",
        "refused device 2, more within a minute than shown: 1",
    ]


def test_a_new_minute_has_new_lines(log: Log) -> None:
    log.refuse(0.0, 1, LINES + 5)
    log.taken()
    log.refuse(MINUTE_S, 1)  # without a tick in between
    assert log.taken() == [
        "refused device 1, more within a minute than shown: 5",
        "refused device 1 to 198.18.1.25 port 25: device compromised",
    ]


def test_more_devices_than_fit(log: Log) -> None:
    for device in range(200):
        log.refuse(0.0, device, 50)
    assert len(log.taken()) == DEVICES * LINES
    log.refusals.tick(MINUTE_S)
    last = log.taken()
    assert len(last) == DEVICES + 1
    assert f"refused other devices, within a minute and not shown: {(200 - DEVICES) * 50}" in last
    log.refuse(MINUTE_S + 1, 199)  # there is room again
    assert len(log.taken()) == 1


def test_those_that_found_no_place_are_told_every_minute(log: Log) -> None:
    for second in range(150):
        for device in range(DEVICES + 1):
            log.refuse(float(second), device)
        log.refusals.tick(float(second))
    assert len([line for line in log.lines if "other devices" in line]) == 2


def test_an_hour_s_flood_of_made_up_devices(log: Log) -> None:
    for second in range(3600):
        for device in range(250):
            log.refuse(float(second), device)
        log.refusals.tick(float(second))
    assert len(log.lines) <= 61 * (DEVICES * (LINES + 1) + 1)


def test_the_end_tells_what_is_left(log: Log) -> None:
    for device in range(DEVICES + 1):
        log.refuse(0.0, device, LINES + 2)
    log.taken()
    log.refusals.close()
    assert len(log.taken()) == DEVICES + 1
    log.refusals.close()
    assert log.taken() == []


# ── kinds ───────────────────────────────────────────────────────────────────────────────────────────


def test_every_decision_has_a_kind_of_its_own() -> None:
    """The reasons of decide itself: whoever words one anew meets this."""
    device = Device(b"\2\0\0\0\1\1", 0.0)
    found = []
    limit = make_policy(mode="limit")
    for limited in (
        changed_policy(limit, connections_burst=1),
        changed_policy(limit, destinations_burst=1, connections_burst=100),
    ):
        device.buckets.clear()
        first, second = (decide.on_connection(limited, device, SERVER, True, 0.0) for _ in range(2))
        assert first.action == decide.PASS
        found.append(kind(second.reason))
    for command in (decide.on_message, decide.on_recipient):
        few = changed_policy(limit, messages_burst=1, recipients_burst=1)
        device.buckets.clear()
        assert command(few, device, SERVER, 0.0) is None
        ended = command(few, device, SERVER, 0.0)
        assert ended is not None
        found.append(kind(ended.reason))
    device.buckets.clear()
    found.append(kind(decide.on_connection(make_policy(mode="block"), device, SERVER, True, 0.0).reason))
    found.append(kind(decide.COMPROMISED_DEVICE.reason))
    assert found == ["connections", "destinations", "messages", "recipients", "mode", "compromised"]
    assert {*found, "other"} == set(KINDS)


def test_limits_that_strangers_share_and_a_compromised_home_are_of_the_same_kinds() -> None:
    home = Collective(0.0)
    device = Device(b"\6\0\0\0\0\1", 0.0)
    device.home, device.shares = home, (home.buckets,)
    limit = make_policy(mode="limit", connections_burst=1)
    assert decide.on_connection(limit, device, SERVER, False, 0.0).action == "pass"
    device.buckets.clear()
    assert kind(decide.on_connection(limit, device, SERVER, False, 0.0).reason) == "connections"
    home.score.standing = COMPROMISED
    assert kind(decide.on_connection(make_policy(mode="limit"), device, SERVER, False, 60.0).reason) == "compromised"


def test_what_is_not_known_is_other(log: Log) -> None:
    for reason in ("", "x", "over the limit of 3 apples/h", "over the limit of ", "exempt: mode"):
        log.refuse(0.0, 1, reason=reason)
    assert log.refusals.counts == {**dict.fromkeys(KINDS, 0), "other": 5}
