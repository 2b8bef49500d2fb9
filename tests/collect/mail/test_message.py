"""The message: headers, languages, lines, and an envelope that nothing can be added to."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from typing import Any

import pytest

from cpe_filter.collect.cases import notice
from cpe_filter.collect.mail import message, token
from cpe_filter.texts.notice import LANGUAGES

KEY, NUMBER = bytes(range(32)), "0123456789abcdef0123"
FACTS = notice.Facts("c0ffee", "open", "compromised", "explain", "b827eb", "tv-box", 1_700_000_000, 1_700_003_600)
TEXTS = notice.Terms("en", "Bürgernetz", "https://isp.example/help", "Europe/Berlin")
TERMS = message.Terms("notice@isp.example", "help@isp.example", "bounces@isp.example", KEY, TEXTS)
NOW = 1_700_000_000


def made(
    chosen: tuple[str, ...] = ("en",), to: str = "a@b.example", **terms: Any
) -> tuple[message.Envelope, EmailMessage]:
    all_terms = TERMS._replace(**terms)
    one = message.envelope(NUMBER, to, message.notices(FACTS, chosen, all_terms.notice), all_terms, NOW)
    mail = email.message_from_bytes(one.content, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    return one, mail


def test_headers() -> None:
    one, mail = made()
    assert str(mail["From"]) == "Bürgernetz <notice@isp.example>"
    assert (mail["To"], mail["Reply-To"]) == ("a@b.example", "help@isp.example")
    assert mail["Subject"] == "A device in your home needs your attention"
    assert mail["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert mail["Message-ID"] == f"<notice.{NUMBER}@isp.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "NDR" not in mail["X-Auto-Response-Suppress"].replace(" ", "").split(",")
    assert mail["Content-Language"] == "en"
    assert {"Precedence", "List-Id", "Bcc", "Cc", "Return-Path"}.isdisjoint(mail.keys())
    assert one.sender == token.address("bounces@isp.example", KEY, NUMBER)
    assert (one.recipient, one.utf8) == ("a@b.example", False)


def test_without_bounces_the_sender_is_the_envelope_sender() -> None:
    one, mail = made(reply_to="", bounce_address="", key=b"")
    assert one.sender == "notice@isp.example"
    assert "Reply-To" not in mail


@pytest.mark.parametrize("first", LANGUAGES)
@pytest.mark.parametrize("second", ["", *LANGUAGES])
def test_lines_are_short_and_wrap_anew(first: str, second: str) -> None:
    chosen = message.languages((), first, second)
    one, mail = made(chosen)
    assert one.content.isascii()
    assert b"\r\n" in one.content
    assert b"\n" not in one.content.replace(b"\r\n", b"")
    assert all(len(line) <= 78 for line in one.content.split(b"\r\n"))
    assert mail["Content-Type"].params["format"] == "flowed"
    text = mail.get_content().replace("\r\n", "\n")
    assert all(len(line) <= 78 for line in text.split("\n"))
    # With soft breaks taken out it is what the command `notice` prints, but for its hard breaks.
    for language in chosen:
        plain = notice.notice(FACTS, TEXTS._replace(language=language)).body
        assert " ".join(plain.split()) in " ".join(message.unflowed(text).split())
    assert mail["Content-Language"] == ", ".join(chosen)


def test_both_languages_in_one_message() -> None:
    _, mail = made(("de", "tr"))
    text = mail.get_content().replace("\r\n", "\n")
    assert text.startswith("Türkçe metin aşağıdadır.\n\nGuten Tag,\n")
    assert text.index("-" * 72) < text.index("Sayın müşterimiz")
    assert " / " in mail["Subject"]


@pytest.mark.parametrize(
    ("of_subscriber", "chosen"),
    [
        ((), ("en",)),
        (("tr",), ("tr",)),
        (("de", "tr"), ("de", "tr")),
        (("fr",), ("en",)),
        (("fr", "nl"), ("nl",)),
        (("de", "tr", "nl"), ("de", "tr")),
    ],
)
def test_languages_are_those_of_the_subscriber(of_subscriber: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    assert message.languages(of_subscriber, "en", "") == chosen


def test_a_second_language_of_the_provider() -> None:
    assert message.languages((), "de", "tr") == ("de", "tr")
    assert message.languages((), "de", "de") == ("de",)
    assert message.languages(("nl",), "de", "tr") == ("nl",)


@pytest.mark.parametrize("name", ["tv\r\nBcc: x@y.example", "<b>", "http://evil.example/", "\u202etxt", "x" * 300])
def test_a_hostile_device_name_adds_nothing(name: str) -> None:
    texts = message.notices(FACTS._replace(name=name), ("en",), TEXTS)
    one = message.envelope(NUMBER, "a@b.example", texts, TERMS, NOW)
    mail = email.message_from_bytes(one.content, policy=email.policy.default)
    assert mail.keys() == made()[1].keys()
    assert "evil.example" not in one.content.decode()
    assert "\u202e" not in one.content.decode()


def test_international_addresses() -> None:
    one, mail = made(to="a@bücher.example")
    assert (one.recipient, one.utf8) == ("a@xn--bcher-kva.example", False)
    assert mail["To"] == "a@xn--bcher-kva.example"
    one, mail = made(to="jörg@bücher.example")
    assert (one.recipient, one.utf8) == ("jörg@xn--bcher-kva.example", True)
    assert "To: jörg@xn--bcher-kva.example" in one.content.decode()


def test_a_long_address_stays_in_one_piece() -> None:
    to = "x" * 64 + "@" + "label." * 30 + "example"
    _, mail = made(to=to)
    assert mail["To"] == to
