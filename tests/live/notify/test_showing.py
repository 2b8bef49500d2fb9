"""Whose HTTP leads to the notice, and when: devices, hours, times a day, answers."""

from __future__ import annotations

import json

import pytest

from cpe_filter.live.notify.showing import ANSWERS, MOST, MOST_ANSWERS, RELEASES_S, SHOWING_S, Showing, is_within
from cpe_filter.policy.model import NoticeTable

BOT, OTHER, THIRD = b"\2botbo", b"\2other", b"\2third"
DEVICE, HOME = NoticeTable(show="device"), NoticeTable(show="home")
DAY = 86400.0


def shown(*compromised: bytes, since: float = 10.0) -> Showing:
    showing = Showing()
    showing.look([(key, since) for key in compromised], 10.0)
    return showing


def led(showing: Showing, notice: NoticeTable, now: float = 20.0, hour: int = 12) -> set[bytes]:
    return showing.led_devices(notice, {BOT}, {BOT, OTHER, THIRD}, hour, now)


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_device_s_until_it_answers(answer: str) -> None:
    showing = shown(BOT)
    assert led(showing, DEVICE) == {BOT}
    showing.opened(BOT, 30.0)
    assert led(showing, DEVICE, 40 * DAY) == {BOT}
    showing.answer(BOT, answer, 50.0)  # type: ignore[arg-type]
    assert led(showing, DEVICE) == set()


def test_convicted_again_it_is_told_again() -> None:
    showing = shown(BOT)
    showing.answer(BOT, "seen", 20.0)
    showing.look([(BOT, 10.0)], 30.0)
    assert led(showing, DEVICE) == set()
    showing.look([], 40.0)
    showing.look([(BOT, 50.0)], 60.0)
    assert led(showing, DEVICE) == {BOT}


def test_off_is_nobody_s_and_a_shared_mac_is_not_led() -> None:
    assert led(shown(BOT), NoticeTable(show="off")) == set()
    assert shown(BOT).led_devices(DEVICE, (), (), 12, 20.0) == set()
    assert led(shown(), HOME) == set()


@pytest.mark.parametrize(
    ("hours", "within"),
    [
        ("0-24", set(range(24))),
        ("8-22", set(range(8, 22))),
        ("22-6", {22, 23, 0, 1, 2, 3, 4, 5}),
        ("0-1", {0}),
        ("24-3", {0, 1, 2}),
    ],
)
def test_hours(hours: str, within: set[int]) -> None:
    assert {hour for hour in range(24) if is_within(hours, hour)} == within
    notice = NoticeTable(show="home", hours=hours)
    assert {hour for hour in range(24) if led(shown(BOT), notice, hour=hour)} == within


def test_the_others_of_a_home_once_a_day_until_they_have_opened_it() -> None:
    showing = shown(BOT)
    assert led(showing, DEVICE) == {BOT}
    assert led(showing, HOME) == {BOT, OTHER, THIRD}
    assert showing.opened(OTHER, 100.0) is None
    assert led(showing, HOME, 101.0) == {BOT, THIRD}
    assert led(showing, HOME, 100.0 + DAY - 1) == {BOT, THIRD}
    assert led(showing, HOME, 100.0 + DAY) == {BOT, OTHER, THIRD}
    often = NoticeTable(show="home", times_a_day=4)
    assert OTHER not in led(showing, often, 100.0 + DAY / 4 - 1)
    assert OTHER in led(showing, often, 100.0 + DAY / 4)


def test_a_device_without_a_screen_is_let_go() -> None:
    showing = shown(BOT)
    showing.led(OTHER, 100.0)
    showing.led(OTHER, 200.0)
    assert OTHER in led(showing, HOME, 100.0 + SHOWING_S - 1)
    assert OTHER not in led(showing, HOME, 100.0 + SHOWING_S)
    assert OTHER not in led(showing, HOME, 100.0 + DAY)
    assert OTHER in led(showing, HOME, 100.0 + SHOWING_S + DAY)


def test_who_has_seen_it_ends_it_for_the_others_and_not_for_the_bot() -> None:
    showing = shown(BOT)
    showing.seen_by_other()
    assert led(showing, HOME) == {BOT}
    showing.look([(BOT, 10.0), (THIRD, 30.0)], 31.0)  # another one
    assert OTHER in led(showing, HOME)


def test_releases_are_counted_for_a_month() -> None:
    showing = shown(BOT)
    assert showing.releases_left(BOT, 2, 0.0) == 2
    showing.released(BOT, 0.0)
    showing.released(BOT, 100.0)
    assert showing.releases_left(BOT, 2, 200.0) == 0
    assert showing.releases_left(OTHER, 2, 200.0) == 2
    assert showing.releases_left(BOT, 2, RELEASES_S) == 1
    assert showing.releases_left(BOT, 0, RELEASES_S) == 0
    showing.look([], 200.0)
    assert showing.releases_left(BOT, 2, 200.0) == 0


def test_answers_are_bounded() -> None:
    showing = shown(BOT)
    assert [showing.may_answer(BOT, 100.0) for _ in range(MOST_ANSWERS + 2)] == [True] * MOST_ANSWERS + [False] * 2
    assert showing.may_answer(OTHER, 100.0)
    assert showing.may_answer(BOT, 100.0 + 3600.0)


def test_it_follows_a_new_key() -> None:
    showing = shown(BOT)
    showing.answer(BOT, "seen", 20.0)
    showing.released(BOT, 20.0)
    showing.rekeyed(BOT, THIRD)
    showing.look([(THIRD, 10.0)], 30.0)
    assert showing.led_devices(DEVICE, {THIRD}, (), 12, 30.0) == set()
    assert showing.releases_left(THIRD, 2, 30.0) == 1


def test_all_tables_are_bounded() -> None:
    showing = Showing()
    many = [number.to_bytes(6, "big") for number in range(3 * MOST)]
    showing.look([(mac, 1.0) for mac in many], 2.0)
    assert len(showing.notified) == MOST
    for mac in many:
        showing.opened(mac, 3.0)
        showing.may_answer(mac, 3.0)
        showing.released(mac, 3.0)
    sizes = [len(value) for value in vars(showing).values() if isinstance(value, dict)]
    assert sizes == [MOST] * 4


def test_answers_and_releases_outlive_a_restart() -> None:
    before = shown(BOT, OTHER)
    before.opened(BOT, 20.0)
    before.answer(BOT, "mistake", 30.0)
    before.released(BOT, 30.0)
    before.opened_elsewhere()
    before.seen_by_other()
    after = Showing()
    after.restore(json.loads(json.dumps(before.plain())))
    after.look([(BOT, 11.0), (OTHER, 10.0)], 40.0)
    assert (after.notified[BOT].shown, after.notified[BOT].answer) == (1, "mistake")
    assert [(one.others, one.by_other) for one in after.notified.values()] == [(1, True), (1, True)]
    assert BOT not in led(after, DEVICE)
    assert after.releases_left(BOT, 2, 40.0) == 1


def test_what_an_earlier_version_saved_is_read() -> None:
    after = Showing()
    after.restore([[[BOT.hex(), 10.0, 1, 20.0, "seen", 30.0, False]], []])
    assert (after.notified[BOT].answer, after.notified[BOT].others) == ("seen", 0)


@pytest.mark.parametrize(
    "wrong", [None, [], [[]], [[["zz", 1, 1, 1, "", 1, 0]], []], [[[1]], []], [[], [["02", "x"]]], 7]
)
def test_what_was_not_saved_so_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="not what was saved"):
        Showing().restore(wrong)


# ── reminders, and the quarantine ───────────────────────────────────────────────────────────────────


def seen(answer: str = "seen", sends: bool = True) -> Showing:
    showing = shown(BOT)
    showing.answer(BOT, answer, 0.0)  # type: ignore[arg-type]
    showing.notified[BOT].sends = sends
    return showing


def test_a_device_that_still_sends_is_shown_it_again_once_a_day() -> None:
    showing = seen()
    assert led(showing, DEVICE, 7 * DAY - 1) == set()
    assert led(showing, DEVICE, 7 * DAY) == {BOT}
    showing.led(BOT, 7 * DAY + 20)
    showing.opened(BOT, 7 * DAY + 30)
    assert led(showing, DEVICE, 7 * DAY + 31) == set()
    assert led(showing, DEVICE, 8 * DAY + 30) == {BOT}
    showing.led(BOT, 8 * DAY + 40)  # a device without a screen is let go
    assert led(showing, DEVICE, 8 * DAY + 40 + SHOWING_S) == set()
    showing.answer(BOT, "seen", 9 * DAY)
    assert led(showing, DEVICE, 15 * DAY) == set()
    assert led(showing, DEVICE, 16 * DAY + 40 + SHOWING_S) == {BOT}


def test_reminders_have_hours_times_and_an_end() -> None:
    days = NoticeTable(show="device", remind_days=1, hours="8-22", times_a_day=4)
    assert led(seen(), days, DAY, hour=7) == set()
    assert led(seen(), days, DAY, hour=8) == {BOT}
    assert led(seen(), days, 31 * DAY - 1) == {BOT}
    assert led(seen(), days, 31 * DAY) == set()
    showing = seen()
    showing.led(BOT, DAY)
    showing.opened(BOT, DAY)
    assert led(showing, days, DAY + DAY / 4 - 1) == set()
    assert led(showing, days, DAY + DAY / 4) == {BOT}


def test_who_is_not_reminded() -> None:
    assert led(seen(sends=False), DEVICE, 8 * DAY) == set()
    assert led(seen(), NoticeTable(show="device", remind_days=0), 8 * DAY) == set()
    for answer in ("cleaned", "server", "mistake"):  # the ISP answers these
        assert led(seen(answer), DEVICE, 8 * DAY) == set()


def test_a_device_in_quarantine_is_led_there_always() -> None:
    notice = NoticeTable(show="device", hours="8-22")
    assert seen().led_devices(notice, {BOT}, (), 3, 20.0, {BOT}) == {BOT}


def test_a_clock_that_was_set_back_forgets_no_answer_and_frees_releases_in_time() -> None:
    """The state keeps ages: with an earlier clock the conviction is earlier, and it is the same one."""
    showing = Showing()
    showing.look([(BOT, 1000 * DAY)], 1000 * DAY)
    showing.answer(BOT, "seen", 1000 * DAY)
    showing.released(BOT, 1000 * DAY)
    after = Showing()
    after.restore(json.loads(json.dumps(showing.plain())))
    after.look([(BOT, 500 * DAY)], 501 * DAY)
    assert after.notified[BOT].answer == "seen"
    assert led(after, DEVICE, 501 * DAY) == set()
    assert after.releases_left(BOT, 2, 501 * DAY) == 1
    assert after.releases_left(BOT, 2, 501 * DAY + RELEASES_S) == 2
    # It is reminded when its days have passed on the new clock.
    after.notified[BOT].sends = True
    assert led(after, DEVICE, 508 * DAY) == {BOT}
    after.look([(BOT, 502 * DAY)], 503 * DAY)
    assert after.notified[BOT].answer == ""


def test_a_release_that_has_failed_does_not_count() -> None:
    showing = shown(BOT)
    showing.released(BOT, 20.0)
    showing.released(BOT, 30.0)
    showing.not_released(BOT)
    assert showing.releases_left(BOT, 2, 40.0) == 1
    showing.not_released(BOT)
    assert showing.releases_left(BOT, 2, 40.0) == 2
    assert json.loads(json.dumps(showing.plain()))[1] == []
