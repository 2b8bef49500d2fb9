"""The validation set: it is what the loader wants, its sessions are what inspect would report, each sender sends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from cpe_filter.inspect.session import CLOSED, LOST, REFUSED, RESET
from cpe_filter.inspect.turnaround import AHEAD_S
from tests.evaluate.facts import FINGERPRINT, Session
from tests.evaluate.test_facts import by_facts, by_packets
from tests.evaluate.world import sets
from tests.evaluate.world.bots import BOTS as DEVELOPED
from tests.evaluate.world.bots import CAREFUL, CLASSIC, MIMIC_TLS, OTHER, PROXYWARE_TLS
from tests.evaluate.world.converse import PASS
from tests.evaluate.world.delivery import Attempt
from tests.evaluate.world.legit import LEGITIMATE as DEVELOPED_LEGITIMATE
from tests.evaluate.world.measure import DEVICE, Task, attempts
from tests.evaluate.world.validation.bots import BOTS
from tests.evaluate.world.validation.legit import LEGITIMATE

NAMES = (*LEGITIMATE, *BOTS)


def some(name: str, seed: int, count: int, days: int = 60) -> Iterator[tuple[Attempt, Session]]:
    """A sender's first connections, with nobody between it and the Internet."""
    _, stream = attempts(Task(sets.VALIDATION, name, seed, "monitor", count, days))
    for attempt in itertools.islice(stream, count):
        yield attempt, attempt.meet(PASS)


def test_the_loader_finds_the_set() -> None:
    found = sets.load(sets.VALIDATION)
    assert found.legitimate is LEGITIMATE
    assert found.bots is BOTS
    assert len(LEGITIMATE) >= 25
    assert len(BOTS) >= 15
    assert {kind for kind, _ in BOTS.values()} == {CLASSIC, CAREFUL, PROXYWARE_TLS, MIMIC_TLS, OTHER}


def test_no_sender_is_of_the_development_set() -> None:
    assert not {*LEGITIMATE, *BOTS} & {*DEVELOPED, *DEVELOPED_LEGITIMATE}


@pytest.mark.parametrize("name", NAMES)
def test_each_sender_sends(name: str) -> None:
    for seed in range(2):
        found = list(some(name, seed, 30))
        assert found
        assert {session.phase for _, session in found} <= {CLOSED, LOST, REFUSED, RESET}
        assert any(session.events for _, session in found) or all(a.home.line.outages for a, _ in found)
        if name not in BOTS:
            assert not any(attempt.spam for attempt, _ in found)
        elif name != "beside-a-server":
            assert all(attempt.spam for attempt, _ in found)


@pytest.mark.parametrize("name", NAMES)
def test_packets_and_facts_agree(name: str) -> None:
    found = []
    for _, session in some(name, 1, 25):
        if session.turnaround == round(AHEAD_S * 1000):  # at the limit itself a packet's time is rounded
            continue
        events = tuple(e._replace(name=FINGERPRINT) if e.kind == "fingerprint" else e for e in session.events)
        found.append(session._replace(events=events))
    found.sort(key=lambda session: session.time)
    spaced = [session._replace(time=number * 200.0) for number, session in enumerate(found)]
    assert by_packets(spaced, DEVICE, "monitor") == by_facts(spaced, DEVICE)


@pytest.mark.parametrize("name", ["mailcow-club", "landlords-router", "necurs", "beside-a-server"])
def test_a_name_and_a_seed_give_the_same_life(name: str) -> None:
    first = [session for _, session in some(name, 3, 40)]
    assert first == [session for _, session in some(name, 3, 40)]
    assert first != [session for _, session in some(name, 4, 40)]


def test_the_bot_beside_a_server_comes_later() -> None:
    found = [(attempt.time, attempt.spam) for attempt, _ in some("beside-a-server", 0, 8000)]
    begin = min(time for time, spam in found if spam)
    assert begin >= 2 * 86400
    assert any(time < begin and not spam for time, spam in found)


def test_relayed_bots_answer_late_and_programs_do_not() -> None:
    late = [session.turnaround for _, session in some("socks-911", 1, 30) if session.events]
    assert min(late) >= 50
    assert all(session.turnaround == 0 for _, session in some("go-mailer", 1, 30))
