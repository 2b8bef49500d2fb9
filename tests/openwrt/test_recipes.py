"""What the recipes say, as GNU make understands them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cpe_filter import __version__
from tests.lab.net import PROJECT
from tools.ipk import recipe
from tools.ipk.error import RecipeError
from tools.ipk.recipe import Package, described

FEED = PROJECT / "openwrt"
OURS = ("cpe-filter", "python-dpkt")


def packages(name: str, folder: Path, minor: str = "3.11") -> dict[str, Package]:
    return {package.name: package for package in described(FEED / name, folder, minor)}


def text(name: str) -> str:
    return (FEED / name / "Makefile").read_text()


def test_each_folder_of_the_feed_is_a_recipe() -> None:
    assert {path.name for path in recipe.recipes()} >= set(OURS)
    assert all((path / "Makefile").exists() for path in FEED.iterdir() if path.is_dir())


@pytest.mark.parametrize(("minor", "more"), [("3.10", ["python3-tomli"]), ("3.11", []), ("3.13", []), ("3.14", [])])
def test_run_needs_python_light_and_the_kernels_part(tmp_path: Path, minor: str, more: list[str]) -> None:
    package = packages("cpe-filter", tmp_path, minor)["cpe-filter"]
    assert sorted(package.depends) == sorted([
        *("libc", "python3-light", "nftables"),
        *("kmod-nft-core", "kmod-nft-fib", "kmod-nft-nat", "kmod-nft-queue", "kmod-nfnetlink-log"),
        "kmod-nf-conntrack-netlink",
        *more,
    ])  # fmt: skip
    assert package.user == "cpe-filter:cpe-filter"
    assert package.conffiles == ["/etc/config/cpe-filter"]


@pytest.mark.parametrize("name", ["explain", "lang-de", "lang-nl", "lang-tr"])
def test_what_is_apart_needs_the_filter_alone(tmp_path: Path, name: str) -> None:
    assert packages("cpe-filter", tmp_path)[f"cpe-filter-{name}"].depends == ("libc", "cpe-filter")


def test_full_is_all_that_is_apart(tmp_path: Path) -> None:
    found = packages("cpe-filter", tmp_path)
    assert set(found["cpe-filter-full"].depends) == {"libc", *found} - {"cpe-filter", "cpe-filter-full"}


@pytest.mark.parametrize(("minor", "email"), [("3.10", True), ("3.11", True), ("3.13", True), ("3.14", False)])
def test_send_needs_tls_and_http(tmp_path: Path, minor: str, email: bool) -> None:
    """email is a package of its own up to 3.13; on main nothing of that name is there."""
    package = packages("cpe-filter", tmp_path, minor)["cpe-filter-report"]
    wanted = {"libc", "cpe-filter", "python3-openssl", "python3-urllib", "python3-ctypes"}
    assert set(package.depends) == wanted | ({"python3-email"} if email else set())


@pytest.mark.parametrize("recipe", ["cpe-filter", "luci-app-cpe-filter"])
def test_the_version_is_the_programs(recipe: str, tmp_path: Path) -> None:
    for package in packages(recipe, tmp_path).values():
        assert package.version == f"{__version__}-r1"


def test_nothing_is_compiled_for_the_routers_processor(tmp_path: Path) -> None:
    for name in recipe.recipes():
        for package in described(name, tmp_path / name.name, "3.11"):
            assert package.architecture == "all", package.name


def test_dpkt_is_for_captures_alone(tmp_path: Path) -> None:
    package = packages("python-dpkt", tmp_path)["python3-dpkt"]
    assert package.architecture == "all"
    assert package.depends == ("libc", "python3-light", "python3-decimal")


@pytest.mark.parametrize("name", OURS)
def test_it_is_written_as_the_feed_writes(name: str) -> None:
    lines = text(name)
    assert lines.startswith("# SPDX-License-Identifier: MIT\n\ninclude $(TOPDIR)/rules.mk\n")
    named = ["PKG_NAME:=", "PKG_VERSION:=", "PKG_RELEASE:=", "PKG_HASH:=", "PKG_MAINTAINER:=", "PKG_LICENSE:="]
    then = ["include $(INCLUDE_DIR)/package.mk", "/python3-package.mk\n", "$(eval $(call Py3Package,"]
    places = [lines.index(word) for word in [*named, *then]]
    assert places == sorted(places)
    named = re.findall(r"\$\(eval \$\(call BuildPackage,(.*)\)\)", lines)
    with_code = re.findall(r"\$\(eval \$\(call Py3Package,(.*)\)\)", lines)
    assert {*with_code, *(f"{package}-src" for package in with_code)} == set(named) - {"cpe-filter-full"}
    if "PYPI_NAME" in lines:
        assert re.search(r"^PKG_HASH:=[0-9a-f]{64}$", lines, re.M)
        assert "PKG_SOURCE" not in lines, "pypi.mk knows"
        assert lines.index("pypi.mk") < lines.index("include $(INCLUDE_DIR)/package.mk")


def test_every_file_of_the_feed_is_installed() -> None:
    installed = re.findall(r"\./files/(\S+) \$\(1\)", text("cpe-filter"))
    assert sorted(installed) == sorted(path.name for path in (FEED / "cpe-filter" / "files").iterdir())


@pytest.mark.parametrize("name", OURS)
def test_the_feeds_own_test_is_clean(name: str) -> None:
    script = FEED / name / "test.sh"
    assert script.stat().st_mode & 0o111
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True)
    assert done.stdout == ""


# ── what is wrong with a recipe is said ─────────────────────────────────────────────────────────────


def broken(folder: Path, change: tuple[str, str]) -> Path:
    made = folder / "feed" / "cpe-filter"
    shutil.copytree(FEED / "cpe-filter", made)
    makefile = made / "Makefile"
    before = makefile.read_text()
    after = before.replace(*change).replace("$(CURDIR)/../..", str(PROJECT))
    assert before.replace("$(CURDIR)/../..", str(PROJECT)) != after
    makefile.write_text(after)
    return made


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("OTHER_FOLDERS:=collect replay", "OTHER_FOLDERS:=gone"),
            "-|/usr/lib/python{}/site-packages/cpe_filter/gone: there is no",
        ),
        (("./files/cpe-filter.init", "./files/gone"), "cannot stat './files/gone'"),
        (("endef\n\n$(eval", "\n$(eval"), "missing"),
        (("+nftables", "+SYMBOL:nftables"), "a condition that only the SDK knows the answer to"),
    ],
)
def test_a_broken_recipe_is_refused(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    with pytest.raises(RecipeError, match=re.escape(says.format(minor))):
        recipe.staged(broken(tmp_path, change), tmp_path / "out", minor)


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"^python3\.99 is not installed, and compiles for this router alone"):
        recipe.staged(FEED / "cpe-filter", tmp_path, "3.99")
