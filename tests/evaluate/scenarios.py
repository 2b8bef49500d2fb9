"""The two sets of scenarios under their names: development, which numbers may be tuned on, and hold-out, which not."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cpe_filter.detect.device import ROUTER
from tests.evaluate import bots, holdout, legit
from tests.evaluate.legit import Sessions

DEVICE = bytes.fromhex("020000000101")


class Set(NamedTuple):
    """legitimate: (rng, days) -> sessions. bots: rng -> sessions, without end or long enough."""

    legitimate: Mapping[str, Callable[[random.Random, int], Sessions]]
    bots: Mapping[str, Callable[[random.Random], Sessions]]


SETS = {
    "development": Set(legit.LEGITIMATE, bots.BOTS),
    "hold-out": Set(holdout.LEGITIMATE, holdout.BOTS),
}


def seeded(name: str, seed: int) -> random.Random:
    """The same sessions for the same scenario and seed, whatever else is run. Speeds of one bot share their seed."""
    family, _, rest = name.partition("-")
    speed = rest.startswith(("400", "1-")) or name == "classic-sprayer"
    return random.Random(f"{family if speed else name} {seed}")


def device_key(name: str) -> bytes:
    return ROUTER if name.startswith("router") else DEVICE
