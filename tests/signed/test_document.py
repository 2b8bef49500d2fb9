"""The header is read strictly, and a document has bounds."""

from __future__ import annotations

import time

import pytest

from cpe_filter.signed import document
from cpe_filter.signed.errors import AGENT, HEADER, LARGE, TOML, SignedError
from tests.signed.making import NOW, ROUTER, message

GOOD = message("policy", '[filter]\nmode = "limit"\n').decode()


def test_a_document() -> None:
    made = document.parse(message("policy", "[a]\nb = 1\n", rollout_permille=5, salt="s", min_agent="0.1"), "0.1.0")
    assert (made.type, made.sequence, made.issued, made.audience) == ("policy", 7, NOW - 60, ("*",))
    assert (made.rollout_permille, made.salt, made.min_agent, made.content) == (5, "s", "0.1", {"a": {"b": 1}})
    assert made.digest == document.digest(made.message)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('type = "policy"', 'type = "advert"', "type is"),
        ('type = "policy"', "type = []", "type is"),
        ('type = "policy"\n', "", "type is missing"),
        ("sequence = 7", "sequence = 0", "sequence is 0; allowed: a whole number from 1"),
        ("sequence = 7", "sequence = true", "sequence is true"),
        ("sequence = 7", "sequence = 9007199254740993", "sequence is"),
        ("sequence = 7", "sequence = 7\nfuture = 1", 'unknown key "future"'),
        ("expires = 2027", "expires = 2026", "expires is not later than issued"),
        ("Z\nexpires", "\nexpires", "issued is a date or time; expected a time like"),
        ("issued = 2027", "issued = 1800000000 #", "issued is 1800000000"),
        ("issued = 2027", "issued = 0027", "issued is 0027-.*; allowed: the years 1970 to 9999"),
        ("issued = 2027", "issued = 1969", "issued is 1969-"),
        ("expires = 2027-01-16T08:00:00Z", "expires = 9999-12-31T23:59:59-00:01", "expires is 9999-"),
        ('audience = ["*"]', "audience = []", "audience is a list"),
        ('audience = ["*"]', 'audience = "*"', "audience is"),
        ('audience = ["*"]', 'audience = ["home:1"]', "audience has"),
        ('audience = ["*"]', 'audience = ["router:"]', "audience has"),
        ('audience = ["*"]', 'audience = [["*"]]', "audience has"),
        ('audience = ["*"]', f"audience = {['router:r'] * 257}", "audience is"),
        ('audience = ["*"]', 'audience = ["*"]\nrollout_permille = 1001', "rollout_permille is 1001"),
        ('audience = ["*"]', 'audience = ["*"]\nrollout_permille = 10', "needs salt"),
        ('audience = ["*"]', 'audience = ["*"]\nmin_agent = 3', "min_agent is 3"),
        ("[document]", "[documents]", "no table"),
        ("[document]", "[[document]]", "no table"),
        ('"policy"', '"instruction"', "audience of an instruction"),
    ],
)
def test_a_header_that_is_wrong(old: str, new: str, text: str) -> None:
    assert old in GOOD
    with pytest.raises(SignedError, match=text) as refusal:
        document.parse(GOOD.replace(old, new, 1).encode(), "0.1.0")
    assert refusal.value.code == HEADER
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"x = " + b"[" * 100 + b"]" * 100, TOML),
        (b"x = " + b"[" * 20000 + b"]" * 20000, TOML),
        (b"x = " + b"{a=" * 7 + b"1" + b"}" * 7, TOML),
        (b"a." * 30 + b"a = 1", TOML),
        (b"a." * 30000 + b"a = 1", TOML),
        (b'"a"  . ' * 9000 + b"a = 1", TOML),
        (b"x = [" + b"1," * 21000 + b"]", TOML),
        (b"x = \xff", TOML),
        (b"x = ", TOML),
        (b"x = " + b"9" * 5000, TOML),
        (b"#" * (256 << 10), LARGE),
        (b"#" * (65 << 10), LARGE),
    ],
)
def test_what_is_too_large_or_too_deep_or_not_toml(content: bytes, code: str) -> None:
    with pytest.raises(SignedError) as refusal:
        document.parse(GOOD.encode() + content + b"\n", "0.1.0")
    assert refusal.value.code == code
    assert "\n" not in str(refusal.value)


def test_a_text_with_many_dots_is_not_a_key() -> None:
    text = "See www.example.net. " * 20
    made = document.parse(GOOD.encode() + f'hint = "{text}"\naddresses = {["192.0.2.1"] * 200}\n'.encode(), "0.1.0")
    assert made.content["filter"]["hint"] == text


@pytest.mark.parametrize(
    ("needed", "agent", "good"),
    [
        ("0.1", "0.1.0", True),
        ("0.1.0", "0.1", True),
        ("0.2", "0.1.9", False),
        ("0.10", "0.9", False),
        ("x", "9", False),
        ("1.0", "1.0.1", True),
        ("1", "1.0.dev3", True),
        ("1.1", "1.0.dev3", False),
    ],
)
def test_it_needs_a_later_version(needed: str, agent: str, good: bool) -> None:
    """That is said before its other keys are judged: a later version may know them."""
    data = message("policy", min_agent=needed)
    if good:
        assert document.parse(data, agent).min_agent == needed
        return
    with pytest.raises(SignedError, match=f"needs cpe-filter {needed} or later; this is") as refusal:
        document.parse(data.replace(b"sequence", b"future = 1\nsequence"), agent)
    assert refusal.value.code == AGENT


@pytest.mark.parametrize(
    ("audience", "good"),
    [
        (("*",), True),
        (("router:cpe-0001",), True),
        (("router:cpe-0002", "model:acme,box-1"), True),
        (("region:north",), True),
        (("router:cpe-0002",), False),
        (("region:acme,box-1", "model:north"), False),
        (("region:", "model:"), False),
    ],
)
def test_audience(audience: tuple[str, ...], good: bool) -> None:
    made = document.parse(message("policy"), "1")._replace(audience=audience)
    assert made.is_for(ROUTER) is good
    assert not made._replace(audience=("region:", "model:")).is_for(document.Recipient("r"))


def test_rollout_is_steady_and_grows() -> None:
    made = document.parse(message("policy", rollout_permille=100, salt="a"), "1")
    routers = [f"cpe-{n}" for n in range(5000)]

    def reached(permille: int, salt: str = "a") -> set[str]:
        staged = made._replace(rollout_permille=permille, salt=salt)
        return {router for router in routers if staged.is_rolled_out_to(router)}

    assert reached(0) == set()
    assert reached(1000) == set(routers)
    assert reached(10) < reached(100)
    assert 400 < len(reached(100)) < 600
    assert len(reached(100) & reached(100, "b")) < 100  # other routers are first next time


def test_a_router_without_a_name_is_among_the_last() -> None:
    """All of these are one to the hash: a stage would reach none of them, or each."""
    for permille, reached in ((0, False), (999, False), (1000, True)):
        made = document.parse(message("policy", rollout_permille=permille, salt="s"), "0.1.0")
        assert made.is_rolled_out_to("") == reached


def test_hostile_texts_take_no_long_time() -> None:
    begun = time.monotonic()
    for part in (b"a.", b"'a'.", b'"a".', b"a . ", b"[[", b"{a=", b"'''", b'"""'):
        with pytest.raises(SignedError):
            document.parse(GOOD.encode() + part * 20000 + b"\n", "1")
    assert time.monotonic() - begun < 60
