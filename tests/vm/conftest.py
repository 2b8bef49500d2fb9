"""The packages whose life is tried, built once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cpe_filter import __version__
from tests.lab.net import PROJECT
from tests.openwrt.conftest import MINOR, build

OLD_VERSION = "0.0.1"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages: new/ of this checkout, and old/ of the same under an earlier version."""
    folder = tmp_path_factory.mktemp("life")
    earlier = folder / "earlier"
    for name in ("cpe_filter", "openwrt", "tools"):
        shutil.copytree(PROJECT / name, earlier / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "LICENSE", earlier)
    for path in (earlier / "cpe_filter/__init__.py", *earlier.glob("openwrt/*/Makefile")):
        path.write_text(path.read_text().replace(__version__, OLD_VERSION))
    for name, project in (("new", PROJECT), ("old", earlier)):
        done = build(folder / name, "cpe-filter", "luci-app-cpe-filter", project=project)
        assert done.returncode == 0, done.stderr
        shutil.copytree(folder / name / MINOR, folder / "packages" / name)
    return folder / "packages"
