"""Routers whose clock is wrong, against the real server: nothing is lost, and the server's time counts.

The clock is that of the whole process: Python, libcrypto and TLS read it (clock.c, LD_PRELOAD).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cpe_filter.report.certificate import parse
from tests.conftest import LIVE_REQUIRED
from tests.enrol.test_live_enrol import Isp, Router, imported, isp
from tests.lab.net import DEADLINE_S, PROJECT

__all__ = ["isp"]
SYNCHRONISED, UNSYNCHRONISED = 0, 5
DAY = 86400


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("gcc"):
        if LIVE_REQUIRED:
            pytest.fail("no gcc")
        pytest.skip("no gcc")
    made = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).parent / "clock.c"
    words = ["gcc", "-Wall", "-Werror", "-Wno-nonnull-compare", "-O", "-shared", "-fPIC", "-o", str(made), str(source)]
    subprocess.run(words, check=True, timeout=DEADLINE_S)
    return made


class Clock:
    """A router's command by a clock of its own."""

    def __init__(self, library: Path, router: Router) -> None:
        self._library, self._router = library, router

    def enrol(self, at: float, state: int, *words: str) -> subprocess.CompletedProcess[str]:
        """at: what the clock says, POSIX seconds."""
        it = self._router
        told = {
            "LD_PRELOAD": str(self._library),
            "CLOCK_SHIFT": str(int(at - time.time())),
            "CLOCK_STATE": str(state),
            "CPE_FILTER_LOG": "stderr",
        }
        command = [sys.executable, "-m", "cpe_filter", "enrol", "--policy", str(it.policy), "--url", it.isp.url]
        return subprocess.run(
            [*command, "--id", it.id, *words],
            capture_output=True, text=True, timeout=DEADLINE_S, cwd=PROJECT, env={**os.environ, **told},
        )  # fmt: skip


def token(isp: Isp, router: Router) -> tuple[str, str]:
    path = router.folder / "token"
    path.touch(0o600)
    path.write_text(isp.do("enrol", router.id).stdout)
    return "--token", str(path)


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (0, "certificate is not yet valid (this router's clock says 1970-01-01)"),
        (1_000_000_000, "certificate is not yet valid (this router's clock says 2001-09-09)"),
        (4_294_967_295, "certificate has expired (this router's clock says 2106-02-07)"),
    ],
)
def test_before_the_clock_is_set(isp: Isp, tmp_path: Path, library: Path, at: int, why: str) -> None:
    """TLS does not trust the server then, and the token is not sent; as soon as the clock is set, it is."""
    router = Router(tmp_path / "router", isp)
    clock, words = Clock(library, router), token(isp, router)
    done = clock.enrol(at, UNSYNCHRONISED, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"cpe-filter: enrol: {isp.url}: its certificate is not accepted: {why}; nothing has changed\n"
    )
    assert not router.pem.exists()
    begun = (router.folder / "router.pem.next").read_bytes()
    done = clock.enrol(time.time(), SYNCHRONISED, *words)
    assert done.returncode == 0, done.stderr
    assert router.pem.read_bytes().startswith(begun)


def test_a_clock_that_is_not_synchronised_decides_nothing(isp: Isp, tmp_path: Path, library: Path) -> None:
    router = Router(tmp_path / "router", isp)
    clock = Clock(library, router)
    imported(isp, "cpe-0001,")
    made = isp.authority.router(router.id)  # for 30 days from now, since two: due 20 to 22 days from now
    router.pem.write_bytes(made.key.read_bytes() + made.certificate.read_bytes())
    router.pem.chmod(0o600)
    (router.folder / "router.key").symlink_to(router.pem)
    before = router.pem.read_bytes()
    done = clock.enrol(time.time() + 25 * DAY, UNSYNCHRONISED)
    assert done.returncode == 0, done.stderr
    assert "; the next is due in " in done.stdout
    left = float(done.stdout.rpartition("due in ")[2].removesuffix(" s\n"))
    assert 19 * DAY < left < 22 * DAY
    assert router.pem.read_bytes() == before

    # One that is synchronised decides by itself.
    done = clock.enrol(time.time() + 25 * DAY, SYNCHRONISED)
    assert done.returncode == 0, done.stderr
    assert router.pem.read_bytes() != before

    # One that is slow and not synchronised: due by the server's time alone.
    made = isp.authority.router(router.id, starts=-10, ends=0.1)
    router.pem.write_bytes(made.key.read_bytes() + made.certificate.read_bytes())
    done = clock.enrol(time.time() - DAY / 2, UNSYNCHRONISED)
    assert done.returncode == 0, done.stderr
    assert parse(router.pem.read_bytes()).ends > time.time() + 80 * DAY
