"""The generators: the same seed gives the same sessions, in order of time, and what they are about is in them."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from cpe_filter.inspect.session import CLOSED, LOST, REFUSED, RESET, TRYING
from tests.evaluate.facts import Session, messages
from tests.evaluate.scenarios import SETS, seeded

BOTS = [(which, name) for which, each in SETS.items() for name in each.bots]
LEGITIMATE = [(which, name) for which, each in SETS.items() for name in each.legitimate]


def of_bot(which: str, name: str, seed: int = 1, count: int = 300) -> list[Session]:
    return list(itertools.islice(SETS[which].bots[name](seeded(name, seed)), count))


def of_device(name: str, days: int = 40, seed: int = 1, which: str = "development") -> list[Session]:
    return list(SETS[which].legitimate[name](seeded(name, seed), days))


def plausible(sessions: list[Session]) -> None:
    times = [session.time for session in sessions]
    assert times == sorted(times)
    for session in sessions:
        assert session.phase in (CLOSED, LOST, REFUSED, RESET, TRYING)
        assert bool(session.events) == (session.phase in (CLOSED, RESET))
        assert len(session.server) in (4, 16)
        assert not session.events or "greeting" in [event.kind for event in session.events[:2]]


@pytest.mark.parametrize(("which", "name"), BOTS)
def test_bots_are_plausible(which: str, name: str) -> None:
    sessions = of_bot(which, name)
    plausible(sessions)
    assert sessions == of_bot(which, name)
    assert sessions != of_bot(which, name, seed=2)


@pytest.mark.parametrize(("which", "name"), LEGITIMATE)
def test_devices_are_plausible(which: str, name: str) -> None:
    sessions = of_device(name, which=which)
    plausible(sessions)
    assert not any(session.spam for session in sessions)
    assert sessions == of_device(name, which=which)
    assert sessions != of_device(name, which=which, seed=2)


def test_slow_bots_differ_in_speed_alone() -> None:
    slow, slower = (of_bot("development", name, count=100) for name in ("careful-1-an-hour", "careful-1-a-day"))
    assert slower[-1].time == pytest.approx(24 * slow[-1].time)
    assert [session[1:] for session in slow] == [session[1:] for session in slower]


def test_classic_outcomes_are_those_of_the_capture() -> None:
    """spambot.pcap: 5 % of the connects fail, a fifth of the servers refuse at the banner, nobody hears a QUIT."""
    sessions = [session for seed in range(20) for session in of_bot("development", "classic-sprayer", seed)]
    phases = Counter(session.phase for session in sessions)
    assert 0.04 < (phases[LOST] + phases[REFUSED]) / len(sessions) < 0.07
    banners = [session.events[0].reply for session in sessions if session.events]
    assert 0.17 < sum(reply is not None and reply.code >= 400 for reply in banners) / len(banners) < 0.27
    assert not any(session.quit for session in sessions)


def test_a_newsletter_meets_500_servers_on_its_first_run() -> None:
    sessions = of_device("newsletter", 29)
    first = [session for session in sessions if session.time < sessions[0].time + 3600]
    assert 450 < len({session.server for session in first}) <= 500


def test_home_line_is_refused_by_all() -> None:
    labels = [label for session in of_device("home-line-refused") for label in messages(session.events)]
    assert labels
    assert all(labels)


def test_a_camera_has_12340_sessions_on_a_bad_day() -> None:
    for seed in range(60):
        days = Counter(session.time // 86400 for session in of_device("appliance-refused", 20, seed))
        if max(days.values(), default=0) >= 12340:
            return
    pytest.fail("no camera went mad")


def test_outage_loses_every_connection() -> None:
    run, longest = 0, 0
    for session in of_device("wan-outage", 365):
        run = run + 1 if session.phase == LOST else 0
        longest = max(longest, run)
    assert longest > 20


def test_greylisting_is_met_by_a_retry() -> None:
    sessions = of_device("greylisted")
    put_off = sum(any(e.reply and e.kind == "recipient" and e.reply.code < 500 <= e.reply.code + 100
                      for e in session.events) for session in sessions)  # fmt: skip
    again = len(sessions) - len({session.server for session in sessions})
    assert put_off
    assert again >= put_off / 2
