"""Which module is in which package: exactly those that its commands can reach."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.openwrt import ipk
from tests.openwrt.conftest import MINOR
from tests.openwrt.modules import ELSEWHERE, SEND, begun_by, reached, source

Read = Callable[[str], ipk.Ipk]
FOLDER = f"/usr/lib/python{MINOR}/site-packages/"


def packed(package: ipk.Ipk) -> set[str]:
    """The modules of a package, by their names."""
    files = [name.removeprefix(FOLDER) for name, member in package.files.items() if member.content is not None]
    modules = [name.removesuffix(".pyc") for name in files if name.startswith("cpe_filter/")]
    return {name.replace("/", ".").removesuffix(".__init__") for name in modules}


def test_cpe_filter_has_what_its_commands_reach(read: Read) -> None:
    assert packed(read("cpe-filter")) == reached("cpe_filter.__main__", without=ELSEWHERE)


def test_report_has_what_send_needs_more(read: Read) -> None:
    with_send = reached("cpe_filter.__main__", *begun_by(SEND), without=ELSEWHERE)
    assert packed(read("cpe-filter-report")) == with_send - packed(read("cpe-filter"))


def test_none_of_the_providers_side_or_of_replay(read: Read) -> None:
    both = packed(read("cpe-filter")) | packed(read("cpe-filter-report"))
    assert not [name for name in both if re.match(r"cpe_filter\.(collect|replay)", name)]


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
