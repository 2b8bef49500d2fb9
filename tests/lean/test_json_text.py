"""Our JSON compared with the standard library's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.lean.json_text import DEPTH, decode, encode
from cpe_filter.lean.named_tuple import NamedTuple


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


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────


@settings(derandomize=True, deadline=None, max_examples=500)
@given(values, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_what_json_writes_is_read(value: Any, ascii_alone: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_alone, indent=indent)
    assert decode(text) == json.loads(text)


_pieces = st.sampled_from(
    [*'{}[]:,"\\ \n-+.0123eE', '"a"', "\\u", "d83d", "\\ude00", "null", "true", "NaN", "12", "\x01"]
)


@settings(derandomize=True, deadline=None, max_examples=3000)
@given(st.lists(_pieces, max_size=9).map("".join))
def test_the_same_is_refused_as_by_json(text: str) -> None:
    def found(read: Any) -> Any:
        try:
            return repr(read(text))
        except ValueError:
            return None

    expected = found(lambda text: json.loads(text, parse_constant=int))  # NaN is not in RFC 8259
    assert found(decode) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "nul",
            "nullx",
            "tru",
            "-",
            "01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "--1",
            "+1",
            "0x1",
            "1_0",
            "\u0661",
            "NaN",
        ),
        *('"', '"a', '"\\', '"\\x"', '"\\u12"', '"\\u+123"', '"\\u12_3"', '"a\nb"', "'a'"),
        *(
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "]",
            "{",
            '{"a"',
            '{"a":',
            '{"a":1',
            '{"a":1,}',
            "{1:2}",
            '{"a" 1}',
        ),
        *("1 2", "[] x", "\ufeff1", "9" * 5000),
    ],
)
def test_what_is_not_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"at \d|digits"):
        decode(text)


def test_how_deep() -> None:
    assert decode("[" * DEPTH + "]" * DEPTH) == json.loads("[" * DEPTH + "]" * DEPTH)
    for text in ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), "[" * 10**6, '{"a":' * 10**6):
        with pytest.raises(ValueError, match="too deep"):
            decode(text)


def test_of_members_of_one_name_the_last_counts() -> None:
    assert decode('{"a":1,"a":2}') == {"a": 2}
