"""Devices at submission ports: what is many, what a day is, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from cpe_filter.detect.device import DEVICES, Devices
from cpe_filter.enforce import submissions as kernel_counts
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live import submissions
from cpe_filter.live.submissions import LINES_BURST, MOST_SERVING, READ_S, REPORTED, WINDOW_S, Submissions
from cpe_filter.policy.model import Policy

MAC = b"\2\0\0\0\1\1"


class Router:
    """What the kernel would count, and what is said of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel: dict[bytes, tuple[int, ...]] = {}
        self.inbound: dict[bytes, int] = {}
        self.with_bytes = True
        self.lines: list[str] = []
        self.now = 0.0
        monkeypatch.setattr(kernel_counts, "submissions", lambda: self.kernel)
        monkeypatch.setattr(kernel_counts, "serving", lambda: self.inbound)
        monkeypatch.setattr(kernel_counts, "counts_bytes", lambda: self.with_bytes)
        self.devices = Devices()
        self.part = Submissions(Policy(), self.devices, lambda mac: "tv-box" if mac == MAC else "", self._log)

    def _log(self, line: Any) -> None:
        self.lines.append(str(line))

    def read(self, *counts: int, after_s: float = READ_S) -> dict[str, Any]:
        """The device after the next reading. counts: connections, servers, answered, short."""
        if counts:
            self.kernel[MAC] = counts
        self.now += after_s
        self.part.tick(PacketTime(self.now))
        return next((one for one in self.part.facts()["submission"] if one["device"] == "02:00:00:00:01:01"), {})


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Router:
    return Router(monkeypatch)


@pytest.mark.parametrize(
    ("counts", "many"),
    [
        ((300, 3, 300, 2), False),  # a family's computer
        ((500, 1, 500, 500), False),  # a printer with an old password
        ((19, 19, 19, 0), False),
        ((20, 20, 20, 0), True),  # twenty servers in a day
        ((60, 5, 60, 31), True),  # five, and most log-ins fail
        ((60, 5, 60, 30), False),
        ((60, 5, 29, 0), True),  # most do not answer
        ((19, 5, 19, 19), False),
    ],
)
def test_what_is_many(router: Router, counts: tuple[int, ...], many: bool) -> None:
    assert router.read(*counts)["many"] is many
    assert len(router.lines) == many
    assert len(router.part.many()) == many


def test_times_are_of_milliseconds(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpe_filter.live.submissions.time.time", lambda: 1_795_435_200.123456)
    assert router.read(300, 3, 300, 2)["since"] == 1_795_435_200.123


def test_a_line_and_no_second_one(router: Router) -> None:
    router.read(30, 25, 30, 12)
    router.read(60, 50, 60, 24)
    (line,) = router.lines
    assert line.startswith("device 02:00:00:00:01:01 used 25 submission servers (ports 465, 587, 2525) in a day; ")
    assert "12 of 30 connections failed; nothing is blocked" in line
    assert router.part.many() == [(MAC, 50, 60, 24)]


def test_a_day_begins_with_the_first_connection_and_many_stays_for_the_next(router: Router) -> None:
    router.read(30, 25, 30, 0)
    found = router.read(31, 25, 31, 0, after_s=WINDOW_S)
    assert (found["servers"], found["connections"], found["many"]) == (25, 30, True)
    assert router.part.many() == [(MAC, 25, 30, 0)]
    found = router.read(32, 25, 32, 0, after_s=WINDOW_S)
    assert (found["connections"], found["many"]) == (1, False)
    assert router.read(after_s=WINDOW_S)["connections"] == 0
    del router.kernel[MAC]  # after two hours without a connection
    assert router.read(after_s=WINDOW_S) == {}  # nothing for a day


def test_each_count_of_the_kernel_may_begin_again(router: Router) -> None:
    """Elements expire apart from each other, and all with the ruleset."""
    router.read(10, 4, 10, 0)
    router.read(12, 0, 12, 0)
    assert router.read(13, 1, 13, 0)["servers"] == 5
    del router.kernel[MAC]
    router.read()
    found = router.read(13, 2, 13, 0)
    assert (found["servers"], found["connections"], found["failures"]) == (7, 26, 0)


def test_without_accounting_nothing_is_known_to_fail(router: Router) -> None:
    router.with_bytes = False
    found = router.read(200, 6, 0, 0)
    assert (found["failures"], found["many"]) == (0, False)


def test_it_is_bounded(router: Router) -> None:
    for number in range(2 * DEVICES):
        mac = b"\2\0\0\1" + number.to_bytes(2, "big")
        router.kernel[mac] = (40, 40, 40, 0)
        router.inbound[mac] = 1
    router.read()
    facts = router.part.facts()
    assert len(facts["submission"]) == submissions.SHOWN
    assert len(facts["serving"]) == MOST_SERVING
    assert len(router.part.many()) == REPORTED
    assert len(router.lines) == LINES_BURST


def test_a_policy_without_it_forgets(router: Router) -> None:
    device = router.devices.get(MAC, 0.0)
    router.read(30, 25, 30, 12)
    assert device.submissions == (25, 30, 12)
    policy = Policy()
    router.part.reload(policy._replace(detect=policy.detect._replace(submission=False)))
    assert router.read(60, 50, 60, 0) == {}
    assert router.part.many() == []
    assert device.submissions == (0, 0, 0)


def test_a_device_takes_mail_from_outside(router: Router) -> None:
    device = router.devices.get(MAC, 0.0)
    router.read()
    assert device.served_at == 0.0
    router.inbound = {MAC: 3}
    router.read()
    assert device.served_at == router.now
    last = router.now
    router.read()
    assert device.served_at == last
    router.inbound = {}  # it has expired
    router.read()
    router.inbound = {MAC: 1}
    router.read()
    assert device.served_at == router.now
    (one,) = router.part.facts()["serving"]
    assert (one["device"], one["connections"]) == ("02:00:00:00:01:01", 1)


def test_a_reading_that_fails_is_left_out(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> dict[bytes, tuple[int, ...]]:
        raise OSError(2, "No such file or directory")

    router.read(30, 25, 30, 12)
    monkeypatch.setattr(kernel_counts, "submissions", fail)
    assert router.read()["servers"] == 25
