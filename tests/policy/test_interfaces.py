"""Names and patterns of interfaces."""

from __future__ import annotations

import pytest

from cpe_filter.enforce.ruleset_parts import quoted
from cpe_filter.policy.interfaces import distinct, matches, overlap


@pytest.mark.parametrize(
    ("interface", "names", "is_so"),
    [
        ("wan", ("wan",), True),
        ("wan6", ("wan",), False),
        ("ppp0", ("lan", "ppp*"), True),
        ("ppp", ("ppp*",), True),
        ("pp", ("ppp*",), False),
        ("pppoe-wan", ("ppp*",), True),
        ("wan", (), False),
    ],
)
def test_matches(interface: str, names: tuple[str, ...], is_so: bool) -> None:
    assert matches(interface, names) is is_so


@pytest.mark.parametrize(
    ("one", "other", "is_so"),
    [
        ("wan", "wan", True),
        ("wan", "wan6", False),
        ("ppp0", "ppp*", True),
        ("p*", "ppp*", True),
        ("ppp*", "p*", True),
        ("eth*", "br-*", False),
        ("eth1", "br-*", False),
    ],
)
def test_overlap(one: str, other: str, is_so: bool) -> None:
    assert overlap(one, other) is is_so
    assert overlap(other, one) is is_so


def test_what_a_pattern_covers_is_left_out() -> None:
    """nft refuses overlapping intervals in a set."""
    assert distinct(["ppp0", "wan", "ppp*", "pppoe-*", "wan"]) == ["wan", "ppp*"]
    assert quoted(["wan"]) == '"wan"'
    assert quoted(["ppp0", "ppp*"], ["lo"]) == '{ "ppp*", "lo" }'
