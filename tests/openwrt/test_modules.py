"""Which module is in which package: exactly those that its commands can reach."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.openwrt import ipk
from tests.openwrt.conftest import MINOR
from tests.openwrt.modules import APART, LANGUAGES, reached, source, texts

#: In cpe-filter for others: what several packages need, or what belongs to a room of the filter's. 2 kB.
FOR_OTHERS = {"cpe_filter.privileges", "cpe_filter.enforce.conntrack"}
Read = Callable[[str], ipk.Ipk]
FOLDER = f"/usr/lib/python{MINOR}/site-packages/"


def packed(package: ipk.Ipk) -> set[str]:
    """The modules of a package, by their names."""
    files = [name.removeprefix(FOLDER) for name, member in package.files.items() if member.content is not None]
    modules = [name.removesuffix(".pyc") for name in files if name.startswith("cpe_filter/")]
    return {name.replace("/", ".").removesuffix(".__init__") for name in modules}


def test_cpe_filter_has_what_its_commands_reach(read: Read) -> None:
    languages = set().union(*map(texts, LANGUAGES))
    assert packed(read("cpe-filter")) == (reached("cpe_filter.__main__", without=(*APART,)) - languages) | FOR_OTHERS


@pytest.mark.parametrize("package", [name for name in APART if name != "none"])
def test_a_package_has_what_its_commands_reach_besides(read: Read, package: str) -> None:
    others = tuple(name for name in APART if name != package)
    more = reached("cpe_filter.__main__", without=others) - reached("cpe_filter.__main__", without=(*APART,))
    assert packed(read(package)) == more - FOR_OTHERS
    assert len(more) > 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_a_package(read: Read, language: str) -> None:
    assert packed(read(f"cpe-filter-lang-{language}")) == texts(language)


def test_together_they_have_all_but_the_providers_side_and_replay(read: Read) -> None:
    """And no module is in two of them."""
    names = ["cpe-filter", *(name for name in APART if name != "none"), *(f"cpe-filter-lang-{x}" for x in LANGUAGES)]
    every = [module for name in names for module in packed(read(name))]
    assert len(every) == len(set(every))
    assert set(every) == reached("cpe_filter.__main__", without=("none",))
    assert not [name for name in every if re.match(r"cpe_filter\.(collect|replay)", name)]
    assert packed(read("cpe-filter-full")) == set()
    assert sorted(read("cpe-filter-full").control["Depends"].split(", ")) == sorted(["libc", *names[1:]])


@pytest.mark.parametrize(("minor", "tomllib"), [("3.10", "tomli"), ("3.11", "tomllib")])
def test_tomli_is_asked_for_where_it_is_needed(minor: str, tomllib: str) -> None:
    """The recipe's condition is the source's: see test_recipes for the recipe."""
    assert f"import {tomllib}" in source("cpe_filter.toml_file").read_text()


def test_what_is_found_by_reading_is_found_by_running() -> None:
    """The reader of imports against Python itself, for a module without conditions."""
    import subprocess
    import sys

    code = (
        "import sys, cpe_filter.enforce.ruleset; print(*sorted(n for n in sys.modules if n.startswith('cpe_filter')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) <= reached("cpe_filter.enforce.ruleset")
