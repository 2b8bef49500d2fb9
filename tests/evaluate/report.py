"""What was measured, as text: goals, tables.

Knows the goals and how to print. Must not know how anything was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tests.evaluate.attacker import Best
from tests.evaluate.bound import Bound
from tests.evaluate.intervals import NEVER, clopper_pearson, quantile
from tests.evaluate.measure import CAP, Home, Hunt, Year
from tests.evaluate.published import METHODS

_T = TypeVar("_T", Hunt, Year)

CLASSIC = ("classic-sprayer", "classic-rotating", "many-recipients", "one-recipient")
SPEEDS = ("400-a-day", "1-an-hour", "1-a-day")
#: Full speed -> the family that the slow ones are named after.
FULL_SPEED = {"classic-sprayer": "classic", "careful": "careful"}


def share(hits: int, runs: int) -> str:
    low, high = clopper_pearson(hits, runs)
    return f"{hits}/{runs} = {_percent(hits / runs if runs else 0)} [{_percent(low)}, {_percent(high)}]"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %" if 0 < value < 0.1 or 0.99 < value < 1 else f"{100 * value:.1f} %"


def count(value: float) -> str:
    return "never" if value == NEVER else f"{value:.0f}"


class Report:
    """Prints; `missed` counts goals that were not met."""

    def __init__(self, which: str, say: Callable[[str], None]) -> None:
        self._say = say
        self.missed = 0
        say(f"\n═══ {which} set ═══")

    def _goal(self, text: str, met: bool, measured: str) -> None:
        self.missed += not met
        self._say(f"  {'met   ' if met else 'MISSED'}  {text}\n            {measured}")

    # ── goals ───────────────────────────────────────────────────────────────────────────────────

    def goals(self, hunts: Sequence[Hunt], lives: Sequence[Year], homes: Sequence[Home]) -> None:
        self._say("\nGoals (connections of the bot itself; 95 % intervals after Clopper and Pearson)")
        by = _by_name(hunts)
        classic = [h.convicted_at for name in CLASSIC for h in by[name]]
        self._quantile("classic bots: median of connections to conviction", classic, 0.5, 4)
        self._quantile("classic bots: 99th percentile", classic, 0.99, 10)
        found = sum(at != NEVER for at in classic)
        self._goal(
            f"classic bots: at least 99 % found (within {CAP})",
            found >= 0.99 * len(classic),
            f"found {share(found, len(classic))}",
        )
        self._quantile("careful bots: 99th percentile", [h.convicted_at for h in by["careful"]], 0.99, 20)
        self._quantile("STARTTLS-only bots: 99th percentile", [h.convicted_at for h in by["starttls-only"]], 0.99, 40)
        self._quantile(
            "SYN-only bots: 95th percentile to suspicion", [h.suspected_at for h in by["syn-only"]], 0.95, 15
        )
        convicted = sum(h.convicted_at != NEVER for h in by["syn-only"])
        self._goal("SYN-only bots: never convicted", not convicted, share(convicted, len(by["syn-only"])))
        for full, family in FULL_SPEED.items():
            for speed in SPEEDS:
                self._speed(by[full], by[f"{family}-{speed}"], f"{family} bots, {speed.replace('-', ' ')}")
        wronged = sum(life.convicted_at != NEVER for life in lives)
        self._goal(
            "no conviction in at least 3,000 legitimate device-years",
            not wronged and len(lives) >= 3000,
            f"convicted {share(wronged, len(lives))}; {sum(life.sessions for life in lives):,} sessions",
        )
        right = sum(not home.missed and not home.wronged for home in homes)
        self._goal(
            "20 devices with 1 to 3 bots: attributed without error",
            right == len(homes),
            f"homes without error {share(right, len(homes))}; bots missed "
            f"{sum(len(h.missed) for h in homes)} of {sum(h.bots for h in homes)}, others convicted "
            f"{sum(len(h.wronged) for h in homes)} {sorted({n for h in homes for n in h.missed + h.wronged}) or ''}",
        )

    def _quantile(self, text: str, values: Sequence[float], at: float, goal: int) -> None:
        measured = quantile(values, at)
        within = sum(value <= goal for value in values)
        self._goal(
            f"{text} <= {goal}", measured <= goal, f"{count(measured)}; within {goal}: {share(within, len(values))}"
        )

    def _speed(self, full: Sequence[Hunt], slow: Sequence[Hunt], text: str) -> None:
        """Means of connections to conviction, runs without one counted as CAP."""
        means = [sum(min(h.convicted_at, CAP) for h in hunts) / len(hunts) for hunts in (full, slow)]
        ratio = means[1] / means[0]
        found = all(2 * sum(h.convicted_at != NEVER for h in hunts) >= len(hunts) for hunts in (full, slow))
        self._goal(
            f"{text}: within 20 % of full speed",
            0.8 <= ratio <= 1.2 and found,
            f"mean {means[1]:.1f} against {means[0]:.1f}, ratio {ratio:.2f}"
            + ("" if found else "; fewer than half are found"),
        )

    # ── tables ──────────────────────────────────────────────────────────────────────────────────

    def bots(self, hunts: Sequence[Hunt], least: Sequence[Bound]) -> None:
        bound = {each.name: each for each in least}
        self._say(f"\nBots: connections until suspected and convicted, within {CAP} (- never)")
        self._say("  least: what the evidence takes on average at one false alarm in 1e6 sessions (see bound.py),")
        self._say("  against the legitimate device that looks most alike")
        self._say(f"  {'scenario':<22} {'suspected':>14} {'convicted':>20} {'least':>6}  found")
        self._say(f"  {'':<22} {'med':>6} {'p95':>7} {'med':>6} {'p95':>6} {'p99':>6}")
        for name, mine in _by_name(hunts).items():
            suspected, convicted = [h.suspected_at for h in mine], [h.convicted_at for h in mine]
            found = sum(at != NEVER for at in convicted)
            early = sum(h.early for h in mine)
            self._say(
                f"  {name:<22} {_short(suspected, 0.5):>6} {_short(suspected, 0.95):>7} {_short(convicted, 0.5):>6} "
                f"{_short(convicted, 0.95):>6} {_short(convicted, 0.99):>6} {bound[name].connections:>6.1f}  "
                f"{share(found, len(mine))}; like {bound[name].beside}"
                + (f"; {early} convicted before the bot began" if early else "")
            )
            unfound = next((h for h in mine if h.convicted_at == NEVER), None)
            if unfound is not None and name != "syn-only":
                self._say(f"{'':<26}e.g. seed {unfound.seed}: {unfound.why}")

    def legitimate(self, lives: Sequence[Year]) -> None:
        self._say("\nLegitimate devices, a year each")
        self._say(f"  {'scenario':<22} {'years':>6} {'sessions':>10} {'suspected':>10} {'convicted':>10}")
        for name, mine in [*_by_name(lives).items(), ("all", lives)]:
            wronged = [life for life in mine if life.convicted_at != NEVER]
            self._say(
                f"  {name:<22} {len(mine):>6} {sum(life.sessions for life in mine):>10,} "
                f"{sum(life.suspected for life in mine):>10} {len(wronged):>10}"
            )
            for life in wronged[:2] if name != "all" else []:
                self._say(f"{'':<26}e.g. seed {life.seed}, connection {count(life.convicted_at)}: {life.why}")
        wrong = sum(life.convicted_at != NEVER for life in lives)
        self._say(f"  convicted: {share(wrong, len(lives))} of device-years")

    def methods(self, hunts: Sequence[Hunt], lives: Sequence[Year]) -> None:
        """Median connections to detect, by group of bots, and days with a false alarm a device-year."""
        compared = [life for life in lives if life.alarms]
        names = list(_by_name(hunts))
        groups = [name for name in names if name != "syn-only" and not name.startswith(("careful-", "classic-1-an"))]
        self._say(f"\nPublished methods on the same sessions ({len(compared)} device-years)")
        self._say("  share of bots found within the runs / median of connections where found")
        width = max(len(name) for name in groups)
        columns = ["cpe-filter", *METHODS]
        self._say(f"  {'':<{width}} " + " ".join(f"{name[:13]:>13}" for name in columns))
        for name in groups:
            mine = [h for h in hunts if h.name == name]
            cells = [[h.convicted_at for h in mine], *([h.methods[m] for h in mine] for m in METHODS)]
            best = max(_found(cell) for cell in cells)
            self._say(f"  {name:<{width}} " + " ".join(f"{_cell(cell, best):>13}" for cell in cells))
        days = ["days with a false alarm a device-year"]
        ours = sum(life.convicted_at != NEVER for life in lives) / max(1, len(lives))
        days += [f"{ours:.4f}"] + [
            f"{sum(life.alarms[m] for life in compared) / max(1, len(compared)):.2f}" for m in METHODS
        ]
        self._say(
            f"  {days[0]} (convictions of ours):\n  {'':<{width}} " + " ".join(f"{cell:>13}" for cell in days[1:])
        )
        devices = [
            f"{100 * sum(life.alarms[m] > 0 for life in compared) / max(1, len(compared)):.0f} %" for m in METHODS
        ]
        self._say(
            f"  devices with any false alarm in a year:\n  {'':<{width}} "
            + " ".join(f"{cell:>13}" for cell in [f"{100 * ours:.2f} %", *devices])
        )

    def attacker(self, found: Sequence[Best]) -> None:
        days = found[0].days
        self._say(f"\nAdaptive attacker: most spam delivered a day (recipients) over {days} days (a lower bound)")
        for best in found:
            limit = "never suspected" if best.unsuspected else "never convicted"
            more = " or more (the search ends there)" if best.at_most else ""
            self._say(f"  {best.mode:<8} {limit:<16} {best.per_day:>9,.0f}{more}")
            if best.plan is not None:
                self._say(f"{'':<12}" + ", ".join(f"{key} {value}" for key, value in best.plan._asdict().items()))


def _found(values: Sequence[float]) -> int:
    return sum(value != NEVER for value in values)


def _cell(values: Sequence[float], best: int) -> str:
    found = [value for value in values if value != NEVER]
    if not found:
        return "-"
    mark = "*" if len(found) == best else ""
    return f"{100 * len(found) / len(values):.0f}% / {quantile(found, 0.5):.0f}{mark}"


def _short(values: Sequence[float], at: float) -> str:
    value = quantile(values, at)
    return "-" if value == NEVER else f"{value:.0f}"


def _by_name(items: Sequence[_T]) -> dict[str, list[_T]]:
    out: dict[str, list[_T]] = {}
    for item in items:
        out.setdefault(item.name, []).append(item)
    return out
