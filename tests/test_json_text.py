"""Our JSON beside the standard library's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.json_text import encode
from cpe_filter.named_tuple import NamedTuple


class Pair(NamedTuple):
    one: int
    two: str


#: Every character, halves of surrogate pairs, too.
texts = st.text(st.characters(codec=None, categories=None))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner) | st.tuples(inner, inner),
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(values)
def test_the_same_bytes_as_json(value: Any) -> None:
    assert encode(value) == json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize(
    "value",
    ["", '"\\/\b\f\n\r\t\0\x1f\x7f\x80', "\u2028", "\U0001f4ee", "\udcff\ud83d", [], {}, (), [[{}]], -0.0, 1e300],
)
def test_corners(value: Any) -> None:
    text = encode(value)
    assert text.isascii()
    assert json.loads(text) == json.loads(json.dumps(value))


def test_numbers() -> None:
    assert encode([float("inf"), float("-inf"), float("nan"), 1 << 70]) == f"[null,null,null,{1 << 70}]"


def test_a_named_tuple_is_a_list() -> None:
    assert encode(Pair(1, "a")) == '[1,"a"]'


@pytest.mark.parametrize("value", [b"x", object(), {1, 2}, [{"a": b""}]])
def test_what_is_not_for_json(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)
