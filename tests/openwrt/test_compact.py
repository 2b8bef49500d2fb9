"""Bytecode without what a router has no use for does the same as with it."""

from __future__ import annotations

import marshal
import subprocess
import sys
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tests.lab.net import PROJECT
from tests.openwrt.modules import reached, source

COMPACT = PROJECT / "openwrt" / "cpe-filter" / "compact.py"

MODULE = '''
"""A module's text."""
from __future__ import annotations
from collections.abc import Iterable, Sized
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nowhere import Nothing
else:
    seen = "the other branch"
if TYPE_CHECKING:
    import nowhere
total: int = 7
later: Nothing
countable: Iterable[int] = isinstance("", Sized)

class Point(NamedTuple):
    """A point's text."""
    x: int
    y: "int" = 2
    def sum(self) -> int:
        """A method's text."""
        kept: Nothing = self.x + self.y
        return kept

class Only:
    """Nothing but a text."""

class Slots:
    __slots__ = ("a",)
    a: int
    def __init__(self, a: int, /, *rest: str, b: Nothing = 3, **more: float) -> None:
        self.a: int = a + b

def only() -> None:
    """Nothing but a text."""

def outer() -> int:
    def inner(value: Nothing) -> Nothing:
        """Inside."""
        return value + 1
    return inner(41)

def many(first, *rest, by_name, **more):
    shared = 10
    total = first + sum(rest) + by_name
    twice = [shared * each for each in (2,)]
    def inner():
        return shared
    return inner() and total, twice[0], more

def taken(a, b):
    third = a + b
    return a, b, third

def unbound():
    if total < 0:
        value = 1
    return value

def fails() -> None:
    raise ValueError("on purpose")
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names of MODULE, run from its compact .pyc."""
    folder = tmp_path_factory.mktemp("compact")
    (folder / "module.py").write_text(MODULE)
    compile_(folder)
    data = (folder / "module.pyc").read_bytes()
    names: dict[str, Any] = {"__name__": "module"}
    code = marshal.loads(data[16:])
    assert isinstance(code, CodeType)
    exec(code, names)
    return names


def compile_(folder: Path) -> None:
    subprocess.run([sys.executable, "-I", "-S", str(COMPACT), str(folder)], check=True)


def test_texts_and_annotations_are_gone(made: dict[str, Any]) -> None:
    assert made.get("__doc__") is None
    for thing in (made["Point"], made["Point"].sum, made["Only"], made["only"], made["outer"]):
        assert thing.__doc__ is None
    assert made["Slots"].__init__.__annotations__ == {}
    assert made["Point"].sum.__annotations__ == {}
    assert "later" not in made


def test_what_runs_is_the_same(made: dict[str, Any]) -> None:
    assert made["seen"] == "the other branch"
    assert made["total"] == 7
    assert made["Point"](5) == (5, 2)
    assert made["Point"](5).sum() == 7
    assert repr(made["Point"](x=1, y=3)) == "Point(x=1, y=3)"
    assert made["Slots"](1).a == 4
    assert made["outer"]() == 42
    assert made["only"]() is None
    with pytest.raises(ValueError, match="on purpose"):
        made["fails"]()


def test_local_variables_have_short_names(made: dict[str, Any]) -> None:
    """Not parameters, which callers name, and not what inner functions share."""
    code = made["many"].__code__
    assert code.co_varnames[:2] == ("first", "by_name")
    assert "".join(code.co_varnames[2:]) in ("abcde", "abcdef"), "from 3.12 on `each` is one of them"
    assert code.co_cellvars == ("shared",)
    assert made["many"](1, 2, 3, by_name=4, other=5) == (10, 20, {"other": 5})
    assert made["taken"](a=1, b=2) == (1, 2, 3)
    assert made["taken"].__code__.co_varnames == ("a", "b", "c")
    with pytest.raises(UnboundLocalError):
        made["unbound"]()


def test_imports_that_only_annotations_need_are_gone(made: dict[str, Any]) -> None:
    assert {"annotations", "Iterable"} & set(made) == set()
    assert made["Sized"].__name__ == "Sized", "it is used"


def test_names_stay_for_what_an_error_says(made: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"outer\(\) takes 0 positional arguments"):
        made["outer"](1)
    assert made["Point"].sum.__name__ == "sum"


def test_no_line_and_no_name_twice(made: dict[str, Any]) -> None:
    """They took 9 kB of the package."""
    for function in (made["Point"].sum, made["outer"], made["Slots"].__init__):
        assert function.__code__.co_firstlineno == 1
        if sys.version_info >= (3, 11):
            assert function.__code__.co_qualname == function.__name__


def test_a_traceback_can_be_printed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("def fails():\n    raise ValueError('on purpose')\nfails()\n")
    compile_(tmp_path)
    (tmp_path / "module.py").unlink()
    done = subprocess.run([sys.executable, "-c", "import module"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "in fails" in done.stderr
    assert done.stderr.endswith("ValueError: on purpose\n")


def test_no_module_relies_on_what_is_left_out() -> None:
    """Asserts, docstrings and annotations of ours are for us alone. (NamedTuple's fields are kept.)"""
    names = reached("cpe_filter.cli.main")
    assert len(names) > 80
    for name in names:
        text = source(name).read_text()
        for word in ("__doc__", "get_type_hints", "tb_lineno", "f_lineno", "\n    assert ", "import traceback"):
            assert word not in text, (name, word)
    users = {name for name in names if "__annotations__" in source(name).read_text()}
    assert users == {"cpe_filter.lean.named_tuple"}
