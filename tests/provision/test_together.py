"""Fetch, apply, rollback and make at the same time, in processes of their own: one at a time counts, and one policy."""

from __future__ import annotations

import io
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from cpe_filter.lean.files import lock_folder
from cpe_filter.outcome import UsageError
from cpe_filter.policy import file as policy_file
from cpe_filter.provision import apply, command, effective, etags
from cpe_filter.provision import fetch as getting
from cpe_filter.provision.fetch import Fetched
from tests.provision.test_command import Router, router
from tests.provision.test_disk_faults import snapshot

__all__ = ["router"]
PROCESSES, ROUNDS, DOCUMENTS = 4, 12, 40


def number(router: Router) -> int:
    """Of the document whose policy `run` reads; 0 for the router's own. Raises `PolicyError` if it is not whole."""
    hour = policy_file.load(router.place.out).limits.messages_per_hour
    return hour - 1000 if hour > 1000 else 0


def documents(router: Router) -> list[Path]:
    """Each says its number."""
    return [
        router.document(f"[limits]\nmessages_per_hour = {1000 + sequence}\n", sequence=sequence)
        for sequence in range(1, DOCUMENTS + 1)
    ]


def works(router: Router, running: Path) -> Callable[[], int]:
    """A filter: a reload has it read the policy, one at a time, as it does. What it runs with is in a file."""

    def reload() -> int:
        lock = lock_folder(str(running.parent), 20)
        try:
            new = running.with_suffix(f".{os.getpid()}")
            new.write_text(str(number(router)))
            os.replace(new, running)
        finally:
            os.close(lock)
        return 0

    return reload


def be_process(router: Router, reload: Callable[[], int], paths: list[Path], seed: int, log: Path) -> None:
    """Never returns."""
    code = 1
    said = io.StringIO()
    try:
        signal.alarm(60)
        sys.stdout, sys.stderr = io.StringIO(), said
        chance = random.Random(seed)
        for _ in range(ROUNDS):
            number(router)
            one(router, reload, paths, chance)
        lines = said.getvalue().splitlines()
        strange = [line for line in lines if not line.startswith("cpe-filter: ")]
        assert not strange, strange
        code = 0
    except BaseException:
        log.write_text(traceback.format_exc())
    finally:
        os._exit(code)


def one(router: Router, reload: Callable[[], int], paths: list[Path], chance: random.Random) -> None:
    path = chance.choice(paths)
    try:
        match chance.choice(("apply", "apply", "fetch", "rollback", "make")):
            case "apply":
                assert command.apply(str(path), router.place, reload) in (0, 2)
            case "fetch":
                getting.fetch = lambda *_: Fetched(path.read_bytes(), '"e"')
                assert command.fetch(["https://x/"], "", 0, router.place, reload) in (0, 1, 2)
            case "rollback":
                assert command.roll_back(router.place, reload) in (0, 2)
            case _:
                assert command.make(router.place) == 0
    except UsageError as error:
        if "already running" not in str(error):
            raise


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("patience", [0.0, 20.0], ids=["gives up", "waits"])
def test_many_at_once(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float, seed: int
) -> None:
    monkeypatch.setattr(apply, "_LOCK_S", patience)
    router.place = router.place._replace(settle_s=0.0, limit_s=30.0)
    paths = documents(router)
    running = tmp_path / "filter" / "running"
    running.parent.mkdir()
    reload = works(router, running)
    assert command.make(router.place) == 0
    children = []
    for process in range(PROCESSES):
        child = os.fork()
        if not child:
            be_process(router, reload, paths, 100 * seed + process, tmp_path / f"log{process}")
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    logs = [path.read_text() for path in tmp_path.glob("log*")]
    assert codes == [0] * PROCESSES, logs
    files = snapshot(router)
    assert not [name for name in files if name.endswith(("trial", ".new"))]
    in_force = effective.kept(files["policy/good"]).sequence
    assert in_force == number(router) == int(running.read_text())
    last = router.document("[limits]\nmessages_per_hour = 1099\n", sequence=99)
    assert command.apply(str(last), router.place, reload) == 0
    assert number(router) == int(running.read_text()) == 99
    assert etags.FILE not in files or files[etags.FILE]
