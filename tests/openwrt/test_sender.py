"""cpe-filter-send under busybox's shell: when it starts Python, and when it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LIVE_REQUIRED
from tests.openwrt.package import Router, shell, why_not

#: Much longer than a turn of the loop takes here.
LONG_S = 1.0


class Sleeper:
    """The script, in a hurry. What it starts in place of `cpe-filter` says what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.router = Router(folder)
        self.spool = folder / "report" / "spool"
        self.started, self._says = folder / "started", folder / "says"
        self.spool.parent.mkdir()
        (folder / "p").mkdir()
        program = self.router.path("/usr/bin/cpe-filter")
        program.write_text(f'#!/bin/sh\necho "$@" >>{self.started}\n. {self._says}\n')
        (self.router.bin / "sleep").unlink()
        self.router._script("sleep", f"exec {shutil.which('sleep')} 0.05")
        self.says("nothing waits to be sent", 0)
        words = shell(
            self.router.bin, self.router.path("/usr/libexec/cpe-filter-send"), folder / "p" / "a q", self.spool
        )
        self.process = subprocess.Popen(words, env={"PATH": str(self.router.bin)}, stderr=subprocess.PIPE)

    def says(self, text: str, code: int) -> None:
        new = self._says.with_suffix(".new")
        new.write_text(f"echo '{text}'\nexit {code}\n")
        new.replace(self._says)

    def waits(self) -> None:
        """Something is to be sent. Times of files are whole seconds to a shell."""
        self.spool.write_text("x")
        later = time.time() + 5
        os.utime(self.spool, (later, later))

    def quiet(self) -> None:
        past = time.time() - 60
        os.utime(self.spool, (past, past))

    def starts(self) -> int:
        """How often it has started the program, after a while."""
        time.sleep(LONG_S)
        return len(self.started.read_text().splitlines()) if self.started.exists() else 0


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Sleeper]:
    reason = why_not()
    if reason and LIVE_REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    made = Sleeper(tmp_path)
    yield made
    made.process.kill()
    _, errors = made.process.communicate()
    assert errors == b""


def test_it_sleeps_until_there_is_something(sleeper: Sleeper) -> None:
    assert sleeper.starts() == 0
    sleeper.waits()
    sleeper.starts()
    sleeper.quiet()
    before = sleeper.starts()
    assert before >= 1
    assert sleeper.started.read_text().splitlines()[0].startswith("send --policy /")
    assert sleeper.started.read_text().splitlines()[0].endswith("/p/a q")
    assert sleeper.starts() == before
    sleeper.waits()
    assert sleeper.starts() > before


def test_it_comes_again_when_it_was_told(sleeper: Sleeper) -> None:
    sleeper.says("the next is due in 2 s", 0)
    sleeper.waits()
    sleeper.starts()
    sleeper.quiet()
    before = sleeper.starts()
    time.sleep(2)
    assert sleeper.starts() > before
    sleeper.says("the next is due in 5000 s", 0)
    time.sleep(3)
    before = sleeper.starts()
    time.sleep(2)
    assert sleeper.starts() == before


@pytest.mark.parametrize("code", [1, 2])
def test_after_a_failure_it_waits(sleeper: Sleeper, code: int) -> None:
    sleeper.says("", code)
    sleeper.waits()
    sleeper.starts()
    sleeper.quiet()
    before = sleeper.starts()
    assert sleeper.starts() == before


def test_a_look_at_the_certificate_may_have_brought_one(sleeper: Sleeper, tmp_path: Path) -> None:
    """`send` cannot be used before the first one; then it does not wait for the quarter of an hour."""
    sleeper.says("", 2)
    sleeper.waits()
    sleeper.starts()
    sleeper.quiet()
    before = sleeper.starts()
    last = tmp_path / "p" / "enrol.last"
    last.write_text("0 1\n")
    later = time.time() + 5
    os.utime(last, (later, later))
    assert sleeper.starts() > before
