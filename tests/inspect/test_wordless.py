"""Where no reply is kept an agreement is its code alone, and never where its words count."""

from __future__ import annotations

import pytest

from cpe_filter.inspect.facts import Event, Limits
from cpe_filter.inspect.smtp import Dialogue

ROUTER = Limits(transactions=0, recipients=0, last_reply=False, names=False)
LINES = (
    (False, b"220 mx.example ESMTP\r\n"),
    (True, b"EHLO a.example\r\n"),
    (False, b"250 STARTTLS\r\n"),
    (True, b"MAIL FROM:<a@a.example>\r\n"),
    (False, b"250 2.1.0 sender a is fine\r\n"),
    (True, b"RCPT TO:<b@b.example>\r\n"),
    (False, b"550 5.1.1 no such user\r\n"),
)


def events(limits: Limits, lines: tuple[tuple[bool, bytes], ...] = LINES) -> list[Event]:
    dialogue = Dialogue(limits)
    dialogue.server_seen = True
    for from_client, data in lines:
        (dialogue.client if from_client else dialogue.server)(data)
    return dialogue.events


def texts(found: list[Event]) -> list[str]:
    return [event.reply.text for event in found if event.reply is not None]


def test_words_are_read_of_refusals_and_of_the_reply_to_ehlo_alone() -> None:
    assert texts(events(ROUTER)) == ["220", "250 STARTTLS", "250", "550 5.1.1 no such user"]
    assert texts(events(Limits()))[2] == "250 2.1.0 sender * is fine"


def test_what_answers_ehlo_in_the_greetings_place_keeps_its_words() -> None:
    found = events(ROUTER, (LINES[1], LINES[2]))
    assert [(event.kind, event.reply and event.reply.text) for event in found][-1] == ("hello", "250 STARTTLS")


@pytest.mark.parametrize("earlier", [b"250-one\r\n", b"25"])
def test_a_reply_in_parts_is_put_together(earlier: bytes) -> None:
    whole = (*LINES[:4], (False, earlier), (False, b"250 two\r\n" if b"\n" in earlier else b"0 two\r\n"))
    reply = events(ROUTER, whole)[-1].reply
    assert reply is not None
    assert (reply.code, reply.text) == (250, "250 two")
