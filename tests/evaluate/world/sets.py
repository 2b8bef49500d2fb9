"""The sets of senders: `development`, which numbers may be tuned on, and `validation`, which other authors write.

A set is a package with two modules: `legit` has `LEGITIMATE`, name -> make(rng, days); `bots` has `BOTS`, name ->
(class, make(rng)). Both give `delivery.Attempts`. The validation set is `tests.evaluate.world.validation`. It is not to
be looked at before a release, and each run on it is recorded (`record`).
"""

from __future__ import annotations

import importlib
import random
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.evaluate.world import bots, legit
from tests.evaluate.world.delivery import Attempts

DEVELOPMENT, VALIDATION = "development", "validation"
SETS = (DEVELOPMENT, VALIDATION)
_ROOT = Path(__file__).parents[3]
LOG = _ROOT / "tests" / "evaluate" / "validation-log.md"
_HEAD = (
    "# Runs on the validation set\n\n"
    "Each use of the set that the detector is not tuned on (`python -m tests.evaluate.world --set validation`).\n\n"
    "| date (UTC) | commit | why |\n|---|---|---|\n"
)


class AbsentError(Exception):
    """A set that is not there."""


class Set(NamedTuple):
    """legitimate: name -> make(rng, days). bots: name -> (class, make(rng))."""

    legitimate: Mapping[str, Callable[[random.Random, int], Attempts]]
    bots: Mapping[str, tuple[str, Callable[[random.Random], Attempts]]]


def load(name: str) -> Set:
    """Raises AbsentError where this checkout does not have it."""
    if name == DEVELOPMENT:
        return Set(legit.LEGITIMATE, bots.BOTS)
    package = f"tests.evaluate.world.{name}"
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise AbsentError(f"no {name} set: {package.replace('.', '/')} is not in this checkout") from None
    modules = [importlib.import_module(f"{package}.{part}") for part in ("legit", "bots")]
    return Set(modules[0].LEGITIMATE, modules[1].BOTS)


def record(why: str, path: Path = LOG) -> None:
    """Appends a run on the validation set to the log."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=_ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    if not path.exists():
        path.write_text(_HEAD)
    with path.open("a") as log:
        log.write(f"| {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} | {commit or 'unknown'} | {why} |\n")
