"""`make calibrate`: the table's bounds next to what simulated senders show, and how near these come to a conviction.

`python -m tests.evaluate.calibrate [--quick]`: 10 minutes, or two. It prints four things.

First, for each indicator and each kind of legitimate sender, `bound / observed (95 % interval)`: the share of the cases
in which it could fire (`calibrate_rates`), over the kind's senders in the world (tests/evaluate/world, development set)
and in the earlier evaluation, and a bot's rate next to those of each class of bots. `*` marks a kind one of whose
senders is beyond the bound. `_` is `ANY`: no bound.

Second, each bound that a simulated sender exceeds beyond its 95 % interval, if it weighs anything. (Less of what speaks
for a sender harms none, because the absence of habits does not count.) What it costs is next to it: a rate counts at
each chance, a habit that a sender always shows adds so many nats in all. Which kind a sender is of is our judgement,
and it may be more like another: an exceeded bound is a question, and convicts nobody as long as another kind's sum is
low.

Third, what nobody shows: indicators that no simulated sender fires, and kinds that no simulated sender is of. Their
bounds are judgement, as are those of rows that say so.

Fourth, for each legitimate sender the greatest score, and how many contacts lie between two times that a device's score
comes to what convicts, next to Lorden's e^h. Where no device did, it is at least the number behind `>` (95 %).
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from cpe_filter.detect.evidence import ANY, INDICATORS, JUDGEMENT, LEGITIMATE, SENDER_PROFILES
from cpe_filter.detect.score import CONVICT_AT, SUSPECT_AT
from tests.evaluate.calibrate_rates import EARLIER, WORLD, Life, Rate, earlier_life, life, passages, rate
from tests.evaluate.world.bots import CAREFUL, CLASSIC, MIMIC_TLS, PROXYWARE_TLS
from tests.evaluate.world.sets import DEVELOPMENT, load

Say = Callable[[str], None]
BOT_KINDS = (CLASSIC, CAREFUL, PROXYWARE_TLS, MIMIC_TLS)
#: A sender's rate is only held against a bound where so many cases of so many devices show it.
_CASES, _DEVICES = 40, 3


class Sizes(NamedTuple):
    """devices: of each sender. connections: of each, at most; bots make a fifth of it."""

    devices: int
    connections: int


FULL, QUICK = Sizes(12, 1000), Sizes(4, 400)


class Exceeded(NamedTuple):
    """A sender that is beyond its kind's bound. weight: nats that the indicator weighs against it, once.

    most: a habit's weight with all its repeats, infinite where these count in full; a rate's is that of one.
    """

    indicator: str
    kind: str
    sender: str
    bound: float
    seen: Rate
    weight: float
    most: float


def is_beyond(bound: float, seen: Rate) -> bool:
    """Whether a rate is above a bound, with its whole interval."""
    return bound != ANY and seen.devices >= _DEVICES and seen.contacts >= _CASES and seen.low > bound


def exceeded(lives: Iterable[Life]) -> list[Exceeded]:
    """The bounds that senders exceed, in the table's order."""
    senders: dict[tuple[str, str], list[Life]] = {}
    for one in lives:
        senders.setdefault((one.group, one.sender), []).append(one)
    out = []
    for name, row in INDICATORS.items():
        if row.family == LEGITIMATE:
            continue
        for (kind, sender), mine in senders.items():
            column = SENDER_PROFILES.index(kind)
            bound, weight, seen = row.usual[column], row.weights[column], rate(mine, name)
            if is_beyond(bound, seen) and (weight or not row.repeat):
                most = weight / (1 - row.repeat) if row.repeat < 1 else math.copysign(math.inf, weight)
                out.append(Exceeded(name, kind, sender, bound, seen, weight, most))
    return out


# ── as text ─────────────────────────────────────────────────────────────────────────────────────


def share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"[1:] if value < 0.9995 else "1.00"


def _cell(bound: float, seen: Rate, mark: bool) -> str:
    claimed = "_" if bound == ANY else share(bound)
    if not seen.devices:
        return f"{claimed} / -"
    return f"{claimed} / {share(seen.share)} ({share(seen.low)}-{share(seen.high)}){'*' if mark else ''}"


def rates_table(lives: list[Life], bots: list[Life], found: list[Exceeded]) -> Iterator[str]:
    """A block for each indicator."""
    marked = {(one.indicator, one.kind) for one in found}
    for name, row in INDICATORS.items():
        classes = ", ".join(
            f"{kind} {share(rate((one for one in bots if one.group == kind), name).share)}" for kind in BOT_KINDS
        )
        form = "habit" if row.repeat else "rate"
        yield f"{name:22} {row.family}, {form}, {row.basis}; bot {share(row.bot)} / {classes}"
        cells = []
        for kind, bound in zip(SENDER_PROFILES, row.usual, strict=True):
            seen = rate((one for one in lives if one.group == kind), name)
            cells.append(f"{kind} {_cell(bound, seen, (name, kind) in marked)}")
        for start in range(0, len(cells), 5):
            yield "   " + "".join(f"{cell:38}" for cell in cells[start : start + 5]).rstrip()


def exceeded_lines(found: Iterable[Exceeded]) -> Iterator[str]:
    for one in found:
        seen = one.seen
        yield (
            f"  {one.indicator:22} {one.kind:10} {one.sender:20} bound {one.bound:.3f}, observed {seen.share:.3f} "
            f"({seen.low:.3f}-{seen.high:.3f}; {seen.contacts} of {seen.devices} devices), {one.weight:+.2f} nats"
            + ("" if one.weight == one.most else ", each time" if math.isinf(one.most) else f", {one.most:+.2f} in all")
        )


def unseen_lines(lives: list[Life], bots: list[Life]) -> Iterator[str]:
    for kind in SENDER_PROFILES:
        if not any(one.group == kind for one in lives):
            yield f"  kind {kind}: no sender"
    for name, row in INDICATORS.items():
        if not any(one.hits.get(name) for one in (*lives, *bots)):
            yield f"  {name}: nobody" + ("" if row.basis == JUDGEMENT else ' (and its basis is "simulated")')
        elif not any(one.hits.get(name) for one in lives):
            yield f"  {name}: bots only"
    names = (name for name, row in INDICATORS.items() if row.basis == JUDGEMENT)
    yield f"  rows whose bounds are judgement: {', '.join(names)}"


def number(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.0f}"


def _between(lives: list[Life], convicted: bool) -> str:
    found = passages((one.contacts, one.convicted if convicted else one.suspected) for one in lives)
    return f"> {number(found.least)}" if not found.passed else f"{number(found.contacts)} (> {number(found.least)})"


def alarm_lines(lives: list[Life]) -> Iterator[str]:
    """A line for each sender, and one for all."""
    least = [number(math.exp(threshold)) for threshold in (SUSPECT_AT, CONVICT_AT)]
    yield f"  e^h (Lorden): {least[0]} contacts to suspicion, {least[1]} to what convicts"
    yield (
        f"  {'sender':20} {'kind':10} {'nearest':10} {'devices':>7} {'contacts':>9} {'greatest':>8} "
        f"{f'>= {SUSPECT_AT}':>6} {f'>= {CONVICT_AT}':>6}  contacts between, {SUSPECT_AT} and {CONVICT_AT}"
    )
    groups: dict[tuple[str, str], list[Life]] = {}
    for one in lives:
        groups.setdefault((one.sender, one.group), []).append(one)
    for (sender, kind), mine in [*groups.items(), (("all", ""), lives)]:
        top = max(mine, key=lambda one: one.highest)
        suspected, convicted = sum(one.suspected > 0 for one in mine), sum(one.convicted > 0 for one in mine)
        yield (
            f"  {sender:20} {kind:10} {top.nearest:10} {len(mine):7} {sum(one.contacts for one in mine):9,} "
            f"{top.highest:8.1f} {suspected:6} {convicted:6}  "
            f"{_between(mine, False):24} {_between(mine, True)}"
        )


def tasks(kinds: dict[str, tuple[str, ...]], sizes: Sizes) -> list[tuple[str, str, int, int]]:
    return [
        (kind, name, seed, sizes.connections)
        for kind, names in kinds.items()
        for name in names
        for seed in range(sizes.devices)
    ]


def main(arguments: list[str] | None = None, say: Say = print) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.evaluate.calibrate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, a minute")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else FULL
    begun = time.monotonic()
    classes: dict[str, tuple[str, ...]] = {
        kind: tuple(name for name, (of, _) in load(DEVELOPMENT).bots.items() if of == kind) for kind in BOT_KINDS
    }
    with multiprocessing.Pool(options.processes) as pool:
        lives = pool.starmap(life, tasks(WORLD, sizes), chunksize=2)
        lives += pool.starmap(earlier_life, tasks(EARLIER, sizes), chunksize=2)
        bots = pool.starmap(life, tasks(classes, sizes._replace(connections=sizes.connections // 5)), chunksize=2)
    found = exceeded(lives)
    say("bound / observed share (95 %) of each kind of sender (*: one of its senders is beyond it)")
    for line in rates_table(lives, bots, found):
        say(line)
    say("\nSenders beyond a bound of their kind")
    for line in exceeded_lines(found):
        say(line)
    say("\nNot simulated")
    for line in unseen_lines(lives, bots):
        say(line)
    say("\nHow near legitimate senders come to a conviction (score, without its second condition: two families)")
    for line in alarm_lines(lives):
        say(line)
    say(f"\n{time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
