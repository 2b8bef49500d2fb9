"""Refusals in the log: a line at once, one a minute for each device, and that it stays bounded."""

from __future__ import annotations

import pytest

from cpe_filter.detect.device import Collective, Device
from cpe_filter.detect.score import COMPROMISED
from cpe_filter.enforce import decide
from cpe_filter.lean.log import Line
from cpe_filter.lean.log_output import NOTICE
from cpe_filter.status.refusals import DEVICES, KINDS, MINUTE_S, OTHERS, REASONS, SERVERS, Refusals, kind
from tests.policies import changed_policy, make_policy

SERVER = bytes([198, 18, 1, 25])
NO_DIRECT = "mode block: no direct mail"


class Log:
    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.refusals = Refusals(self.lines.append)

    def refuse(self, time: float, device: int, times: int = 1, reason: str = NO_DIRECT, server: bytes = SERVER) -> None:
        for _ in range(times):
            self.refusals.refused(time, bytes([device]), f"device {device}", server, 25, reason)

    def taken(self) -> list[str]:
        lines = [str(line) for line in self.lines]
        self.lines.clear()
        return lines


@pytest.fixture
def log() -> Log:
    return Log()


def test_the_first_refusal_is_logged_at_once(log: Log) -> None:
    log.refuse(0.0, 1)
    log.refusals.refused(0.0, b"\2", "TV (lg)", bytes.fromhex("20010db8010000000000000000000025"), 2525, "x")
    assert [line.severity for line in log.lines] == [NOTICE, NOTICE]
    assert log.taken() == [
        "refused 1 connection of device 1 to 198.18.1.25 port 25: mode block: no direct mail",
        "refused 1 connection of TV (lg) to 2001:db8:100::25 port 2525: x",
    ]


def test_those_that_follow_are_in_one_line_a_minute(log: Log) -> None:
    log.refuse(10.0, 1)
    for n in range(37):
        log.refuse(11.0 + n, 1, server=bytes([198, 18, n % 12, 25]))
    assert len(log.taken()) == 1
    log.refusals.tick(10.0 + MINUTE_S - 0.1)
    assert log.taken() == []
    log.refusals.tick(10.0 + MINUTE_S)
    assert log.taken() == [
        "refused 37 connections of device 1 in the last minute to 12 servers: mode block: no direct mail"
    ]
    log.refuse(10.0 + MINUTE_S + 1, 1, 2)
    log.refusals.tick(10.0 + 2 * MINUTE_S)
    assert log.taken() == [
        "refused 2 connections of device 1 in the last minute to 198.18.1.25: mode block: no direct mail"
    ]
    log.refusals.tick(10.0 + 4 * MINUTE_S)
    assert log.taken() == []


def test_a_minute_without_refusals_and_the_next_one_is_logged_at_once(log: Log) -> None:
    log.refuse(0.0, 1)
    log.refuse(MINUTE_S, 1)  # without a tick in between
    assert len(log.taken()) == 2
    log.refuse(MINUTE_S + 1, 1)
    assert log.taken() == []


def test_several_reasons(log: Log) -> None:
    log.refuse(0.0, 1)
    log.refuse(1.0, 1, 6)
    log.refuse(2.0, 1, 30, reason="device compromised")
    log.refusals.tick(MINUTE_S)
    assert log.taken()[1:] == [
        "refused 36 connections of device 1 in the last minute to 198.18.1.25: "
        "mode block: no direct mail (6), device compromised (30)"
    ]
    for n in range(200):
        log.refuse(MINUTE_S + 1, 1, reason=f"reason {n}", server=bytes([198, 18, n, 25]))
    assert len(log.refusals._minutes[b"\1"].servers) == SERVERS + 1
    log.refusals.tick(2 * MINUTE_S)
    (line,) = log.taken()
    assert f"to more than {SERVERS} servers: reason 0 (1)" in line
    assert line.endswith(f"other reasons ({200 - REASONS})")


def test_each_device_has_a_line_of_its_own(log: Log) -> None:
    log.refuse(0.0, 1, 101)
    log.refuse(1.0, 2, 2)
    log.refuse(2.0, 3, 1)
    assert len(log.taken()) == 3
    log.refusals.tick(2.0 + MINUTE_S)
    assert [line.partition(" in the")[0] for line in log.taken()] == [
        "refused 100 connections of device 1",
        "refused 1 connection of device 2",
    ]


def test_more_devices_than_fit(log: Log) -> None:
    for device in range(200):
        log.refuse(0.0, device, 50)
    assert len(log.taken()) == DEVICES
    log.refusals.tick(MINUTE_S)
    last = log.taken()
    assert len(last) == DEVICES + 1
    others = 200 - DEVICES
    assert f"refused {others * 50} connections of {others} other devices in the last minute" in last
    log.refusals.tick(2 * MINUTE_S)
    log.refuse(2 * MINUTE_S + 1, 199)  # there is room again
    assert len(log.taken()) == 1


def test_one_other_device(log: Log) -> None:
    for device in range(DEVICES + 1):
        log.refuse(0.0, device)
    log.refusals.close()
    assert log.taken()[-1] == "refused 1 connection of 1 other device in the last 1 s"


def test_an_hour_s_flood_of_made_up_devices(log: Log) -> None:
    logged = 0
    for second in range(3600):
        for n in range(100):
            key = (second * 100 + n).to_bytes(6, "big")
            log.refusals.refused(float(second), key, "a device", SERVER, 25, NO_DIRECT)
        log.refusals.tick(float(second))
        if second % 60 == 59:
            logged += len(log.lines)
            assert len(log.taken()) <= DEVICES + 1
    assert len(log.refusals._others.devices) == OTHERS + 1
    log.refusals.close()
    assert f"of more than {OTHERS} other devices" in log.taken()[-1]
    assert sum(log.refusals.counts.values()) == 360_000


def test_no_refusal_is_missing_in_the_lines(log: Log) -> None:
    """Counts of lines add up, whatever comes when."""
    total = 0
    for second in range(0, 1000, 7):
        for device in range(second % 41):
            log.refuse(float(second), device, 1 + device % 3)
            total += 1 + device % 3
        log.refusals.tick(float(second) + 3)
    log.refusals.close()
    assert sum(int(line.split()[1]) for line in log.taken()) == total


def test_the_end_logs_what_is_left(log: Log) -> None:
    for device in range(DEVICES + 1):
        log.refuse(0.0, device, 3)
    log.refusals.tick(34.2)
    log.taken()
    log.refusals.close()
    lines = log.taken()
    assert len(lines) == DEVICES + 1
    assert lines[0].startswith("refused 2 connections of device 0 in the last 34 s to ")
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
