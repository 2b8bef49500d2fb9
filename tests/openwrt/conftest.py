"""The feed's packages, built once for all tests that look at them: for the Python that runs the tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import LIVE_REQUIRED
from tests.lab.net import PROJECT
from tests.openwrt import ipk
from tests.openwrt.package import Router, why_not

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


def build(out: Path, *words: str, project: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m tools.ipk` into a folder."""
    return subprocess.run(
        [sys.executable, "-m", "tools.ipk", "--python", MINOR, "--out", str(out), *words],
        capture_output=True,
        text=True,
        cwd=project,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", **environment},
    )


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the .ipk of the recipe cpe-filter, and apk/."""
    out = tmp_path_factory.mktemp("packages")
    done = build(out, "cpe-filter")
    assert done.returncode == 0, done.stderr
    return out / MINOR


@pytest.fixture(scope="session")
def read(packages: Path) -> Callable[[str], ipk.Ipk]:
    """A package of that folder by its name, read strictly."""

    def reads(name: str) -> ipk.Ipk:
        (path,) = packages.glob(f"{name}_*.ipk")
        return ipk.read(path.read_bytes())

    return reads


@pytest.fixture
def root(read: Callable[[str], ipk.Ipk], tmp_path: Path) -> Path:
    """A router's file system with the package cpe-filter."""
    read("cpe-filter").unpack(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def router(tmp_path: Path) -> Router:
    """A router without a configuration, on which the package's scripts run."""
    reason = why_not()
    if reason and LIVE_REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    return Router(tmp_path)
