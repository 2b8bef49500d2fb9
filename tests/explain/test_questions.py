"""What the responder asks whom: each envelope is deferred once at most, and no address is kept."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.explain.questions import (
    ASKED_S,
    KNOWN_S,
    LATER,
    MOST_CLIENTS,
    MOST_DEFERRED,
    MOST_WAITS,
    NOW,
    RETURN_AFTER_S,
    RETURNED,
    Questions,
)
from cpe_filter.lean.clocks import Mono
from tests.policies import make_policy

LAPTOP, CAMERA = bytes([192, 168, 1, 101]), bytes([192, 168, 1, 102])
ALL = ("patience", "replies", "starttls", "retry")


def questions(*on: str) -> Questions:
    return Questions(make_policy(**{f"test_{name}": name in on for name in ALL}).explain)


def ask(asking: Questions, sender: str, recipient: str, time: float, client: bytes = LAPTOP) -> str:
    """How a recipient is refused, in a connection of its own."""
    asked = asking.of(client, True, Mono(time))
    assert asked is not None
    asked.time = Mono(time)
    return asked.refusal(f"FROM:<{sender}> SIZE=12".encode(), f"TO:<{recipient}>".encode())


def test_the_second_attempt_gets_the_refusal() -> None:
    asking = questions("retry")
    envelope = ("ann@home.example", "ben@friends.example")
    assert ask(asking, *envelope, 0.0) == LATER
    assert ask(asking, *envelope, RETURN_AFTER_S - 1) == LATER, "the next MX of the same attempt"
    assert ask(asking, *envelope, 300.0) == RETURNED
    assert ask(asking, *envelope, 301.0) == NOW
    assert ask(asking, "ann@home.example", "cid@else.example", 302.0) == NOW, "it is known"
    assert ask(asking, "ann@home.example", "cid@else.example", 302.0, CAMERA) == LATER
    assert ask(asking, "ann@home.example", "dan@new.example", 300.0 + KNOWN_S - 1) == NOW
    assert ask(asking, "ann@home.example", "dan@new.example", 300.0 + KNOWN_S + 1) == LATER


def test_only_the_first_envelopes_are_deferred() -> None:
    asking = questions("retry")
    answers = [ask(asking, "a@b.example", f"x@{n}.example", float(n)) for n in range(9)]
    assert answers == [LATER] * MOST_DEFERRED + [NOW] * (9 - MOST_DEFERRED)
    assert ask(asking, "a@b.example", "x@1.example", 600.0) == RETURNED, "others do not count as attempts"


@pytest.mark.parametrize("sender", ["", " "])
def test_bounces_are_refused_at_once(sender: str) -> None:
    assert ask(questions("retry"), sender, "ann@home.example", 0.0) == NOW


@pytest.mark.parametrize(
    ("sender", "recipient"),
    [
        (b"FROM:<Ann@Home.Example>", b"TO:<BEN@friends.EXAMPLE>"),
        (b"from: <ann@home.example> BODY=8BITMIME", b"to: <ben@friends.example> NOTIFY=NEVER"),
        (b"FROM:ann@home.example SIZE=3", b"TO:ben@friends.example"),
    ],
)
def test_spelling_does_not_make_another_envelope(sender: bytes, recipient: bytes) -> None:
    asking = questions("retry")
    assert ask(asking, "ann@home.example", "ben@friends.example", 0.0) == LATER
    asked = asking.of(LAPTOP, True, Mono(60.0))
    assert asked is not None
    asked.time = Mono(60.0)
    assert asked.refusal(sender, recipient) == RETURNED


def test_another_person_of_the_same_domain_has_not_come_back() -> None:
    """But for one in 256 local-parts, because only 8 bits of their hash are kept."""
    came_back = 0
    for number in range(200):
        asking = questions("retry")
        ask(asking, "a@b.example", "first@c.example", 0.0)
        came_back += ask(asking, "a@b.example", f"other{number}@c.example", 60.0) == RETURNED
    assert came_back <= 8  # expected: 0.8; more than 8 in one of 10 million runs


def test_what_is_kept_has_no_letters() -> None:
    asking = questions(*ALL)
    ask(asking, "secret@home.example", "secret@friends.example", 0.0)
    (client,) = asking._clients.values()
    assert all(isinstance(value, (int, float)) for pair in client.deferred.items() for value in pair)
    assert set(client.__slots__) == {"deferred", "known", "tls", "until", "waits"}


@pytest.mark.parametrize(
    ("program", "offered"),
    [
        ("takes it and goes on in clear", [True] * 5),  # Postfix, Exim, OpenSMTPD
        ("does not take it", [True] * 5),
        ("gives up where it is refused", [True, False, False, False, False]),  # PHPMailer
        ("insists on it", [True, False, True, True, True]),  # msmtp with tls=on
    ],
)
def test_starttls_is_offered_as_a_program_can_bear(program: str, offered: list[bool]) -> None:
    asking, seen = questions("starttls"), []
    for number in range(5):
        asked = asking.of(LAPTOP, True, Mono(float(number)))
        assert asked is not None
        seen.append(asked.starttls)
        asked.time, asked.ehlo = Mono(float(number)), True
        asked.took_tls = asked.starttls and program != "does not take it"
        asked.mail = program in ("takes it and goes on in clear", "does not take it") or (
            program == "gives up where it is refused" and not asked.took_tls
        )
        asked.ended()
    assert seen == offered


def test_starttls_is_offered_again_after_a_week() -> None:
    asking = questions("starttls")

    def offered(time: float) -> bool:
        asked = asking.of(LAPTOP, True, Mono(time))
        assert asked is not None
        asked.time, asked.took_tls = Mono(time), time == 1.0
        asked.ended()
        return asked.starttls

    assert [offered(time) for time in (0.0, 1.0, 2.0, ASKED_S + 1, KNOWN_S, KNOWN_S + 2)] == [
        *(True, True, False, False, False, True)
    ]


def test_nobody_waits_who_has_another_connection() -> None:
    asked = questions(*ALL).of(LAPTOP, False, Mono(0.0))
    assert asked is not None
    assert (asked.patience, asked.odd, asked.slowly, asked.starttls) == (False, True, False, True)


def test_a_client_has_to_wait_in_a_few_connections_of_a_day() -> None:
    asking, waits = questions(*ALL), []
    for number in range(2 * MOST_WAITS):
        asked = asking.of(LAPTOP, number % 2 == 0, Mono(float(number)))
        assert asked is not None
        assert asked.patience == asked.slowly
        waits.append(asked.patience)
    assert waits == [True, False] * MOST_WAITS
    for time, patient in ((ASKED_S - 1, False), (ASKED_S + 1, True)):
        asked = asking.of(LAPTOP, True, Mono(time))
        assert asked is not None
        assert (asked.patience, asked.odd) == (patient, True)


@pytest.mark.parametrize("on", [(), *((name,) for name in ALL)])
def test_each_has_a_switch(on: tuple[str, ...]) -> None:
    asked = questions(*on).of(LAPTOP, True, Mono(0.0))
    if not on:
        assert asked is None
        return
    assert asked is not None
    assert (asked.patience, asked.odd, asked.slowly, asked.starttls) == (
        "patience" in on, "replies" in on, "replies" in on, "starttls" in on,
    )  # fmt: skip
    assert asked.refusal(b"FROM:<a@b>", b"TO:<c@d>") == (LATER if "retry" in on else NOW)


def test_one_switch_for_all() -> None:
    assert Questions(make_policy(tests=False).explain).of(LAPTOP, True, Mono(0.0)) is None


def test_who_finds_no_room_is_not_asked_what_must_be_remembered() -> None:
    asking = questions(*ALL)
    for number in range(MOST_CLIENTS):
        assert ask(asking, "a@b.example", "c@d.example", 0.0, number.to_bytes(4, "big")) == LATER
    late = asking.of(LAPTOP, True, Mono(1.0))
    assert late is not None
    assert (late.patience, late.odd, late.slowly, late.starttls) == (False, True, False, False)
    late.took_tls = True
    late.ended()
    assert late.refusal(b"FROM:<a@b>", b"TO:<c@d>") == NOW
    assert len(asking._clients) == MOST_CLIENTS
    assert ask(asking, "a@b.example", "c@d.example", ASKED_S + 1) == LATER, "the others are forgotten"
    assert len(asking._clients) == 1


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    attempts=st.lists(
        st.tuples(st.floats(0.0, 4000.0), st.sampled_from("abcdef"), st.sampled_from((LAPTOP, CAMERA))), max_size=40
    )
)
def test_no_envelope_is_deferred_long(attempts: list[tuple[float, str, bytes]]) -> None:
    """Whatever is tried, and how often: what was deferred is refused at any attempt from then on."""
    asking, first = questions("retry"), dict[tuple[str, bytes], float]()
    times = itertools.accumulate(wait for wait, _, _ in attempts)
    for time, (_, name, client) in zip(times, attempts, strict=True):
        answer = ask(asking, f"{name}@home.example", f"{name}@{name}.example", time, client)
        since = first.setdefault((name, client), time)
        if answer == LATER:
            # A client is forgotten after a day, so a queue that waits longer is deferred again.
            assert time - since < RETURN_AFTER_S or time > ASKED_S
