"""Addresses of subscribers: which are usable, and how they go over SMTP."""

from __future__ import annotations

import pytest

from cpe_filter.collect import mail_address


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        ("a@b.example", "a@b.example"),
        ("first.last+tag@Mail.B.Example", "first.last+tag@mail.b.example"),
        ("o'neil@b.example", "o'neil@b.example"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@straße.example", "a@xn--strae-oqa.example"),
        ("jörg@bücher.example", "jörg@xn--bcher-kva.example"),
        ("x" * 64 + "@b.example", "x" * 64 + "@b.example"),
    ],
)
def test_usable(address: str, wire: str) -> None:
    assert mail_address.problem(address) is None
    assert mail_address.wire(address) == wire


@pytest.mark.parametrize(
    "address",
    [
        "", "a", "@b.example", "a@", "a@b", "a@b.example.", "a@-b.example", "a@b_c.example", "a@[192.0.2.1]",
        "a@192.0.2.1",
        "a b@c.example", ".a@b.example", "a.@b.example", "a..b@c.example", '"a b"@c.example', "<a@b.example>",
        "a,b@c.example", "a@b@c.example", "a(b)@c.example", "a@b.example\r\nRCPT TO:<x@y.example>", "a\r\n@b.example",
        "a@b.example\n", "a\0@b.example", "a\u202e@b.example", "\ud800@b.example", "a@\ud800.example",
        "x" * 65 + "@b.example",
        "ü" * 33 + "@b.example", "a@" + "l." * 126 + "example", "a@.example", "a@b..example",
    ],
)  # fmt: skip
def test_unusable_and_the_reason_does_not_repeat_it(address: str) -> None:
    problem = mail_address.problem(address)
    assert problem
    assert address not in problem or len(address) < 3


def test_shortened() -> None:
    assert mail_address.shortened("anna.b@c.example") == "a…@c.example"
