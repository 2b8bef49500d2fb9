"""Our named tuples compared with typing's: the same class statement gives the same."""

from __future__ import annotations

import copy
import pickle
import typing
from typing import Any

import pytest

from cpe_filter.lean.named_tuple import NamedTuple


class Ours(NamedTuple):
    """A reply."""

    code: int
    text: str = "ok"
    before: tuple[str, ...] = ()

    @property
    def positive(self) -> bool:
        """2yz or 3yz."""
        return 200 <= self.code < 400

    @staticmethod
    def parse(line: str) -> Ours:
        return Ours(int(line[:3]), line[4:])

    def __contains__(self, item: object) -> bool:
        return item == self.text


class Typings(typing.NamedTuple):
    """A reply."""

    code: int
    text: str = "ok"
    before: tuple[str, ...] = ()


class Bare(NamedTuple):
    only: int


BOTH: list[Any] = [Ours, Typings]


@pytest.mark.parametrize("made", BOTH)
def test_like_typings(made: Any) -> None:
    assert made(250) == (250, "ok", ()) == made(code=250)
    assert made(250)._replace(text="no") == (250, "no", ())
    assert made._fields == ("code", "text", "before")
    assert made._field_defaults == {"text": "ok", "before": ()}
    assert made._make((1, "a", ()))._asdict() == {"code": 1, "text": "a", "before": ()}
    assert repr(made(1)) == f"{made.__name__}(code=1, text='ok', before=())"
    assert (made.__module__, made.__qualname__, made.__doc__) == (__name__, made.__name__, "A reply.")
    assert made.__slots__ == ()
    assert issubclass(made, tuple)
    assert type(made(1)) is made
    with pytest.raises(TypeError):
        made()
    with pytest.raises(TypeError):
        made(1, other=2)
    with pytest.raises(AttributeError):
        made(1).code = 2
    with pytest.raises(AttributeError):
        made(1).other = 2
    with pytest.raises((ValueError, TypeError), match="other"):  # TypeError from Python 3.13 on
        made(1)._replace(other=2)
    with pytest.raises(TypeError):
        made._make((1, 2))
    assert hash(made(1)) == hash((1, "ok", ()))
    assert made.code.__get__(made(3)) == 3
    assert copy.copy(made(1)) == pickle.loads(pickle.dumps(made(1))) == made(1)  # noqa: S301
    match made(7):
        case made(code, text):
            assert (code, text) == (7, "ok")
        case _:
            raise AssertionError


def test_what_a_class_has_besides() -> None:
    assert Ours(250).positive
    assert Ours.positive.__doc__ == "2yz or 3yz."
    assert Ours.parse("550 no") == Ours(550, "no")
    assert "ok" in Ours(1)
    assert 1 not in Ours(1)


def test_without_a_docstring_or_defaults() -> None:
    assert Bare(1) == (1,)
    assert Bare._field_defaults == {}
