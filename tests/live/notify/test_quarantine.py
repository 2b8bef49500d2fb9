"""Stays in quarantine: when one begins, who ends it, and restarts with a wrong clock."""

from __future__ import annotations

import json

import pytest

from cpe_filter.live.notify.quarantine import DAY_S, Quarantine
from cpe_filter.live.notify.showing import MOST

BOT, OTHER = b"\2botbo", b"\2other"


class Life:
    """A quarantine of 30 days in which `BOT` was convicted at 10."""

    def __init__(self) -> None:
        self.quarantine = Quarantine()

    def look(
        self,
        now: float,
        since: float | None = 10.0,
        may: bool = True,
        served: bool = True,
        days: int = 30,
    ) -> list[str]:
        compromised = {} if since is None else {BOT: since}
        changed = self.quarantine.look(compromised, {BOT} if may else (), served, days, now)
        assert all(key == BOT for key, _ in changed)
        return [stay.by or "held" for _, stay in changed]

    @property
    def held(self) -> bool:
        return self.quarantine.held == {BOT}


def test_it_begins_with_the_conviction_and_is_said_once() -> None:
    life = Life()
    assert life.look(5.0, since=None) == []
    assert life.look(11.0) == ["held"]
    assert life.look(12.0) == []
    assert life.held


def test_nobody_is_held_before_the_notice_is_served() -> None:
    life = Life()
    assert life.look(11.0, served=False) == []
    assert not life.held
    assert life.look(20.0) == ["held"]
    assert life.look(21.0, served=False) == []
    assert life.held


@pytest.mark.parametrize("days", [1, 7, 30])
def test_it_ends_by_itself_and_only_a_new_conviction_begins_another(days: int) -> None:
    life = Life()
    life.look(100.0, days=days)
    assert life.look(100.0 + days * DAY_S - 1, days=days) == []
    assert life.look(100.0 + days * DAY_S, days=days) == ["time"]
    assert not life.held
    assert life.look(200.0 + days * DAY_S, days=days) == []
    assert life.look(300.0 + days * DAY_S, may=False, days=days) == []
    assert life.look(400.0 + days * DAY_S, days=days) == []
    assert life.look(500.0 + days * DAY_S, since=450.0 + days * DAY_S, days=days) == ["held"]


def test_who_released_it() -> None:
    life = Life()
    life.look(11.0)
    assert life.look(20.0, since=None) == ["isp"]
    assert life.look(31.0, since=30.0) == ["held"]
    life.quarantine.by_users(BOT, True)
    assert life.look(40.0, since=None) == ["self"]
    # What its users have done once is not said again.
    assert life.look(51.0, since=50.0) == ["held"]
    assert life.look(60.0, since=None) == ["isp"]
    life.look(71.0, since=70.0)
    life.quarantine.by_users(BOT, True)
    life.quarantine.by_users(BOT, False)  # the release has failed
    assert life.held
    assert life.look(80.0, since=None) == ["isp"]


def test_convicted_again_between_two_looks() -> None:
    life = Life()
    life.look(11.0)
    assert life.look(100.0, since=90.0) == ["isp", "held"]


def test_an_exemption_or_the_policy_ends_it_and_their_end_begins_another() -> None:
    life = Life()
    life.look(11.0)
    assert life.look(20.0, may=False) == ["isp"]
    assert life.look(21.0, may=False) == []
    assert life.look(30.0) == ["held"]
    assert life.quarantine.stays[BOT].began == 30.0


def test_the_desk_ends_it_for_this_conviction() -> None:
    """The device stays compromised; nothing but a new conviction holds it again, also after a restart."""
    life = Life()
    assert not life.quarantine.by_desk(BOT)
    life.look(11.0)
    assert not life.quarantine.by_desk(OTHER)
    assert life.quarantine.by_desk(BOT)
    assert life.held
    assert life.look(20.0) == ["desk"]
    assert not life.held
    assert life.quarantine.stays[BOT].who == "isp"
    assert not life.quarantine.by_desk(BOT)
    assert life.look(21.0) == []
    assert life.look(22.0, may=False) == []  # exempt for a while
    assert life.look(23.0) == []
    after = restarted(life)
    assert after.look(24.0) == []
    assert not after.held
    assert after.look(25.0, since=None) == []
    assert after.look(40.0, since=39.0) == ["held"]


def test_what_the_desk_asked_for_is_not_kept_for_a_later_stay() -> None:
    life = Life()
    life.look(11.0)
    assert life.quarantine.by_desk(BOT)
    assert life.look(100.0, since=90.0) == ["isp", "held"]
    assert life.look(101.0, since=90.0) == []
    assert life.held


def restarted(life: Life) -> Life:
    after = Life()
    after.quarantine.restore(json.loads(json.dumps(life.quarantine.plain())))
    return after


def test_a_restart_goes_on() -> None:
    life = Life()
    life.look(100.0)
    life.look(100.0 + 29 * DAY_S)
    after = restarted(life)
    # The engine's own times may move by a little.
    assert after.look(100.0 + 29 * DAY_S + 60, since=11.0) == []
    assert after.held
    assert after.look(100.0 + 30 * DAY_S, since=11.0) == ["time"]
    again = restarted(after)
    assert again.look(100.0 + 31 * DAY_S, since=11.0) == []
    assert not again.held


def test_a_clock_that_was_set_back_prolongs_it_by_no_more_than_that() -> None:
    life = Life()
    life.look(1000 * DAY_S, since=1000 * DAY_S)
    life.look(1020 * DAY_S, since=1000 * DAY_S)
    after = restarted(life)
    assert after.look(5.0, since=1000 * DAY_S) == []
    assert after.held
    assert after.look(5.0 + 10 * DAY_S - 1, since=1000 * DAY_S) == []
    assert after.look(5.0 + 10 * DAY_S, since=1000 * DAY_S) == ["time"]


def test_a_clock_that_was_set_back_moves_the_conviction_too() -> None:
    """The state keeps ages: with an earlier clock the conviction is earlier, and it is the same one."""
    life = Life()
    life.look(1000 * DAY_S, since=1000 * DAY_S)
    life.look(1020 * DAY_S, since=1000 * DAY_S)
    after = restarted(life)
    assert after.look(500 * DAY_S, since=480 * DAY_S) == []
    assert after.look(510 * DAY_S, since=480 * DAY_S) == ["time"]
    # Held for its days, and the clock goes back once more.
    again = restarted(after)
    assert again.look(300 * DAY_S, since=270 * DAY_S) == []
    assert not again.held
    assert again.look(301 * DAY_S, since=300.5 * DAY_S) == ["held"]


def test_it_follows_a_new_key() -> None:
    quarantine = Quarantine()
    quarantine.look({BOT: 10.0}, {BOT}, True, 30, 11.0)
    quarantine.rekeyed(BOT, OTHER)
    assert quarantine.look({OTHER: 10.0}, {OTHER}, True, 30, 12.0) == []
    assert quarantine.held == {OTHER}


def test_it_is_bounded() -> None:
    quarantine = Quarantine()
    many = {number.to_bytes(6, "big"): 1.0 for number in range(3 * MOST)}
    assert len(quarantine.look(many, many, True, 30, 2.0)) == MOST
    assert len(quarantine.stays) == MOST


@pytest.mark.parametrize("wrong", [None, 7, [7], [["zz", 1, 1, 1, 0, ""]], [["02"]], [["02", "x", 1, 1, 0, ""]]])
def test_what_was_not_saved_so_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="not what was saved"):
        Quarantine().restore(wrong)
