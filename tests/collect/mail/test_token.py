"""Signed tokens: only what this key has signed is read, however a mail system folds the case."""

from __future__ import annotations

import pytest

from cpe_filter.collect.mail import token

KEY, NUMBER, ADDRESS = bytes(range(32)), "0123456789abcdef0123", "bounces@isp.example"


def test_what_was_signed_is_read() -> None:
    sender = token.address(ADDRESS, KEY, NUMBER)
    assert len(sender.partition("@")[0]) <= 64
    for text in (sender, sender.upper(), f"<{sender}>", f'"x" <{sender}>, y@z.example', f"a@b.example {sender}"):
        assert token.find(ADDRESS, KEY, text) == NUMBER


def test_every_changed_character_is_refused() -> None:
    made = token.make(KEY, NUMBER)
    assert len(made) == token.LENGTH
    for place in range(len(made)):
        for other in "a7":
            if made[place] != other:
                assert token.read(KEY, made[:place] + other + made[place + 1 :]) is None
    assert token.read(bytes(32), made) is None


@pytest.mark.parametrize("change", ["x{}", "{}.evil.example", "{}x", "{}-x.example"])
def test_another_address_is_not_ours(change: str) -> None:
    assert token.find(ADDRESS, KEY, change.format(token.address(ADDRESS, KEY, NUMBER))) is None


@pytest.mark.parametrize("text", ["", "a", "a" * 31, "a" * 33, "1" * 32, "=" * 32, "é" * 32])
def test_other_texts(text: str) -> None:
    assert token.read(KEY, text) is None
