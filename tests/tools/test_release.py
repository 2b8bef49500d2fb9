"""A release: complete, signed where a key is given, and the same bytes from another folder at another time."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from cpe_filter import __version__
from tests.lab.net import PROJECT
from tests.openwrt.conftest import MINOR
from tools import cut, release

NAME = f"cpe-filter-{__version__}"
MADE = {
    f"cpe_filter-{__version__}-py3-none-any.whl", f"cpe_filter-{__version__}.tar.gz", f"{NAME}.tar.gz",
    f"{NAME}-recipe.tar.gz", f"{NAME}-openwrt-24.10.tar.gz", f"{NAME}-docs.tar.gz", f"{NAME}.cdx.json", "SHA256SUMS",
}  # fmt: skip

pytestmark = pytest.mark.skipif(MINOR != "3.11", reason="the default release's Python is enough")


def run(project: Path, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.release", "--out", str(out), "--openwrt", "24.10", "--unreleased"]
    variables = {**os.environ, "PYTHONPATH": "", **environment}
    return subprocess.run(command, cwd=project, capture_output=True, text=True, env=variables)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("release")
    done = run(PROJECT, out / "out")
    if "cannot be got" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert "release: not signed: CPE_FILTER_SIGNIFY_KEY names no key" in done.stderr
    return out / "out"


def test_what_is_in_it(made: Path) -> None:
    man = {f"{NAME}-man.tar.gz"} if importlib.util.find_spec("tools.man") else set()
    assert {path.name for path in made.iterdir()} == MADE | man
    lines = (line.split("  ") for line in (made / "SHA256SUMS").read_text().splitlines())
    sums = {name: digest for digest, name in lines}
    assert sums == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made.iterdir() if path.name != "SHA256SUMS"
    }
    with tarfile.open(made / f"{NAME}-openwrt-24.10.tar.gz") as opened:
        names = opened.getnames()
    assert f"{NAME}-openwrt-24.10/cpe-filter_{__version__}-r1_all.ipk" in names
    assert f"{NAME}-openwrt-24.10/apk/cpe-filter/mkpkg" in names
    if importlib.util.find_spec("mkdocs"):
        with tarfile.open(made / f"{NAME}-docs.tar.gz") as opened:
            assert {f"{NAME}-docs/docs/operate.md", f"{NAME}-docs/site/operate.html"} <= {*opened.getnames()}
    with tarfile.open(made / f"cpe_filter-{__version__}.tar.gz") as opened:
        assert f"cpe_filter-{__version__}/PKG-INFO" in opened.getnames()


def test_the_bill_of_materials(made: Path) -> None:
    found = json.loads((made / f"{NAME}.cdx.json").read_text())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    main = found["metadata"]["component"]
    assert (main["name"], main["version"]) == ("cpe-filter", __version__)
    there = {component["name"] for component in found["components"]}
    assert {"starlette", "cryptography", "psycopg", "lz4"} <= there
    assert "setuptools" not in there


def test_the_wheel_has_what_the_wheel_test_installs(made: Path) -> None:
    with zipfile.ZipFile(made / f"cpe_filter-{__version__}-py3-none-any.whl") as packed:
        assert packed.testzip() is None
        assert packed.namelist()[-1].endswith(".dist-info/RECORD")
        assert {info.date_time for info in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_elsewhere_at_another_time_it_is_the_same(made: Path, tmp_path: Path) -> None:
    """Of the source archive, unpacked in another folder, with other times, another umask, zone and hash seed."""
    with tarfile.open(made / f"{NAME}.tar.gz") as opened:
        opened.extractall(tmp_path / "a longer name".replace(" ", "-"), filter="data")
    copy = tmp_path / "a-longer-name" / NAME
    if (PROJECT / ".pythons").exists():
        (copy / ".pythons").symlink_to(PROJECT / ".pythons")
    for path in copy.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (time.time() - 1e7,) * 2)
    umask = os.umask(0o077)
    try:
        done = run(copy, tmp_path / "out", TZ="Asia/Tokyo", PYTHONHASHSEED="7", LC_ALL="C")
    finally:
        os.umask(umask)
    assert done.returncode == 0, done.stderr
    for path in made.iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), path.name


def test_the_signature_is_one_that_signify_takes(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = shutil.which("signify-openbsd") or shutil.which("signify")
    if program is None:
        pytest.skip("signify is not installed")
    subprocess.run([program, "-G", "-n", "-p", str(tmp_path / "k.pub"), "-s", str(tmp_path / "k.sec")], check=True)
    shutil.copytree(made, tmp_path / "out")
    monkeypatch.setenv(release.KEY, str(tmp_path / "k.sec"))
    assert release._signature(tmp_path / "out") == ["SHA256SUMS.sig"]
    words = [program, "-V", "-p", str(tmp_path / "k.pub"), "-x", "SHA256SUMS.sig", "-m", "SHA256SUMS"]
    assert subprocess.run(words, cwd=tmp_path / "out", capture_output=True).returncode == 0
    (tmp_path / "out" / "SHA256SUMS").write_text("other")
    assert subprocess.run(words, cwd=tmp_path / "out", capture_output=True).returncode != 0
    monkeypatch.setenv(release.KEY, "/nonexistent")
    with pytest.raises(release.ReleaseError, match=r"^signify: "):
        release._signature(tmp_path / "out")


def test_a_version_that_is_not_cut_is_refused(tmp_path: Path) -> None:
    for name in (*cut.PLACES, "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    if f"## [{__version__}]" not in (tmp_path / "CHANGELOG.md").read_text():
        with pytest.raises(release.ReleaseError, match="has no section"):
            release._version(tmp_path, False)
        cut.cut(tmp_path, __version__, "2027-02-03")
    assert release._version(tmp_path, False) == __version__
    makefile = tmp_path / "openwrt" / "cpe-filter" / "Makefile"
    makefile.write_text(makefile.read_text().replace(__version__, "0.0.9"))
    with pytest.raises(release.ReleaseError, match=r"^versions differ: "):
        release._version(tmp_path, True)
