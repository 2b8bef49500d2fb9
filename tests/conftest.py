"""Fixtures that several rooms' tests share: the captures folder, and the lab for tests marked `live`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import schedule
from tests.lab.net import PROJECT, Lab, why_not
from tests.texts.browser import PROGRAM

#: Set in CI: a live test that cannot run is then a failure.
LIVE_REQUIRED = os.environ.get("CPE_FILTER_LIVE") == "required"


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job ignores SIGINT, and so would the programs that tests end by it: they would never end.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("CPE_FILTER_LOG", "stderr")  # where this machine has a syslog, tests still read stderr
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(schedule)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means. xdist asks before plugins are registered in `pytest_configure`, so this stands here."""
    return schedule.workers()


def captures_folder() -> Path:
    """Where captures of other projects are kept for tests; they are not part of this project."""
    return Path(os.environ.get("CPE_FILTER_CAPTURES", PROJECT.parent / "shared" / "captures"))


@pytest.fixture(scope="session")
def captures() -> Path:
    folder = captures_folder()
    if not (folder / "index.jsonl").exists():
        pytest.skip(f"no captures in {folder} (set CPE_FILTER_CAPTURES)")
    return folder


@pytest.fixture(scope="session")
def live() -> None:
    """Skips where the lab cannot be built, saying why; fails instead where CI requires it."""
    reason = why_not()
    if reason and LIVE_REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> None:
    """Skips if there is no browser to show pages; fails instead if CI requires one."""
    if not PROGRAM and LIVE_REQUIRED:
        pytest.fail("no chromium here to look at the page with")
    if not PROGRAM:
        pytest.skip("no chromium here to look at the page with")


@pytest.fixture
def lab(live: None) -> Iterator[Lab]:
    """A lab with two devices and all mail servers, without a filter."""
    with Lab(devices=2) as built:
        built.start_servers()
        yield built
