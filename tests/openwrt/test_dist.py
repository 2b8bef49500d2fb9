"""The archive of a release: the same bytes twice, enough to build from, and what the recipe for the feed downloads."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from cpe_filter import __version__
from tests.lab.net import PROJECT
from tests.openwrt.conftest import MINOR, build
from tools import dist
from tools.ipk import archive, recipe
from tools.ipk.error import RecipeError

TOP = f"cpe-filter-{__version__}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` writes."""
    out = tmp_path_factory.mktemp("dist")
    assert dist.main(["--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def unpacked(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive in a folder where nothing else is."""
    folder = tmp_path_factory.mktemp("empty")
    with tarfile.open(made / f"{TOP}.tar.gz") as opened:
        opened.extractall(folder, filter="data")
    assert [path.name for path in folder.iterdir()] == [TOP]
    return folder / TOP


def test_of_its_own_content_the_archive_is_the_same(made: Path, unpacked: Path, tmp_path: Path) -> None:
    """Without git, at another time, under another umask, and after a build there."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(unpacked, copy)
    (copy / "build").mkdir()
    (copy / "build" / "left.txt").write_text("a build's")
    (copy / "cpe_filter" / "__pycache__").mkdir()
    (copy / "cpe_filter" / "__pycache__" / "x.pyc").write_bytes(b"a build's")
    for path in copy.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700 if path.is_dir() or path.stat().st_mode & 0o100 else 0o600)
    assert dist.packed(copy) == (made / f"{TOP}.tar.gz").read_bytes()


def test_it_has_what_git_has(unpacked: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    wanted = {name for name in listed.split("\0") if name and (PROJECT / name).exists()}
    found = {str(path.relative_to(unpacked)): path for path in unpacked.rglob("*") if path.is_file()}
    assert set(found) == wanted
    assert os.access(found["openwrt/cpe-filter/files/cpe-filter.init"], os.X_OK)
    assert not os.access(found["LICENSE"], os.X_OK)


def test_nothing_tells_who_made_it_and_when(made: Path) -> None:
    with tarfile.open(made / f"{TOP}.tar.gz") as opened:
        for member in opened:
            assert (member.mtime, member.uid, member.gid) == (archive.EPOCH, 0, 0)
            assert (member.uname, member.gname) == ("", "")
            assert member.mode in ((0o755,) if member.isdir() else (0o644, 0o755))


def test_the_packages_are_built_from_it(unpacked: Path, packages: Path, tmp_path: Path) -> None:
    """And they are those of the checkout, to the byte."""
    done = build(tmp_path, "cpe-filter", project=unpacked)
    assert done.returncode == 0, done.stderr
    ours, theirs = (
        {path.name: path.read_bytes() for path in folder.glob("*.ipk")} for folder in (packages, tmp_path / MINOR)
    )
    assert len(ours) > 5
    assert ours == theirs


def test_the_wheel_is_built_from_it(unpacked: Path, tmp_path: Path) -> None:
    copy = tmp_path / "source"
    shutil.copytree(unpacked, copy)
    code = "import setuptools.build_meta as build, sys; build.build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        assert "cpe_filter/cli/main.py" in wheel.namelist()
        assert not [name for name in wheel.namelist() if name.startswith(("tests", "tools", "openwrt"))]


# ── the recipe for the packages feed ────────────────────────────────────────────────────────────────


@pytest.fixture
def feed(made: Path, tmp_path: Path) -> Path:
    """A packages feed with the recipe where a program of the network is, and no checkout around it."""
    folder = tmp_path / "feed"
    shutil.copytree(made / "feed" / "cpe-filter", folder / "net" / "cpe-filter")
    shutil.copytree(recipe.BUILDROOT / "feeds" / "packages" / "lang", folder / "lang")
    return folder / "net" / "cpe-filter"


def test_the_recipe_has_the_archives_hash(made: Path, feed: Path) -> None:
    (found,) = re.findall(r"^PKG_HASH:=(.*)$", (feed / "Makefile").read_text(), re.MULTILINE)
    assert found == hashlib.sha256((made / f"{TOP}.tar.gz").read_bytes()).hexdigest()
    changed = (PROJECT / "openwrt" / "cpe-filter" / "Makefile").read_text()
    assert (feed / "Makefile").read_text() == changed.replace("PKG_HASH:=skip", f"PKG_HASH:={found}")


def test_the_recipe_builds_from_the_archive(made: Path, feed: Path, packages: Path, tmp_path: Path) -> None:
    """And the packages are those of the checkout."""
    found = recipe.staged(feed, tmp_path / "out", MINOR, made)
    assert {package.name for package in found} >= {"cpe-filter", "cpe-filter-report", "cpe-filter-full"}
    for package in found:
        again = archive.ipk(package, archive.EPOCH)
        assert again == (packages / archive.file_name(package)).read_bytes(), package.name


@pytest.mark.parametrize(
    ("name", "place", "included"),
    [
        ("cpe-filter", "net", "lang/python/python3-package.mk"),
        ("python-dpkt", "lang/python", "lang/python/pypi.mk"),
        ("luci-app-cpe-filter", "applications", "luci.mk"),
    ],
)
def test_a_recipe_includes_what_its_own_feed_has(tmp_path: Path, name: str, place: str, included: str) -> None:
    """By relative paths, as the recipes of these feeds do; the buildroot has the other feed's, too."""
    folder = tmp_path / place / name
    shutil.copytree(PROJECT / "openwrt" / name, folder)
    (tmp_path / included).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / included).write_text("$(error the own feed's)\n")
    with pytest.raises(RecipeError, match="the own feed's"):
        recipe.described(folder, tmp_path / "out", MINOR)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "there is no such file, and nothing is downloaded here"),
        (lambda path: path.write_bytes(b"another"), "is not what the recipe means: its SHA-256 is "),
    ],
)
def test_another_archive_is_refused(made: Path, feed: Path, tmp_path: Path, spoil: object, says: str) -> None:
    downloads = tmp_path / "dl"
    shutil.copytree(made, downloads)
    assert callable(spoil)
    spoil(downloads / f"{TOP}.tar.gz")
    with pytest.raises(RecipeError, match=re.escape(says)):
        recipe.staged(feed, tmp_path / "out", MINOR, downloads)


# ── what cannot be packed ───────────────────────────────────────────────────────────────────────────


def test_a_project_without_a_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cpe_filter").mkdir()
    (tmp_path / "cpe_filter" / "__init__.py").write_text("")
    with pytest.raises(RecipeError, match="has no line __version__"):
        dist.packed(tmp_path)


def test_a_recipe_without_a_place_for_the_hash_is_refused(unpacked: Path, tmp_path: Path) -> None:
    copy = tmp_path / "source"
    shutil.copytree(unpacked, copy)
    makefile = copy / "openwrt" / "cpe-filter" / "Makefile"
    makefile.write_text(makefile.read_text().replace("PKG_HASH", "PKG_HUSH"))
    with pytest.raises(RecipeError, match="one line PKG_HASH:= is expected, 0 are there"):
        dist.write(copy, tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("a file")
    assert dist.main(["--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"dist: {tmp_path / 'out'}")
