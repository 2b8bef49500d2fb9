"""What was measured, as text: a row for each sender, the goals with their intervals, the published methods.

Knows the goals. Must not run anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.evaluate.intervals import NEVER, clopper_pearson, quantile
from tests.evaluate.published import METHODS
from tests.evaluate.world.bots import CAREFUL, CLASSIC, MIMIC_TLS, PROXYWARE_TLS
from tests.evaluate.world.measure import Life
from tests.evaluate.world.sets import Set

Say = Callable[[str], None]


def senders(which: Set) -> Iterator[str]:
    """A line for each sender: its name, a bot's class, and what it is."""
    for name, make in which.legitimate.items():
        yield f"{name:20} {'':14} {_first_line(make)}"
    for name, (kind, make_bot) in which.bots.items():
        yield f"{name:20} {kind:14} {_first_line(make_bot)}"


def _first_line(make: object) -> str:
    return (make.__doc__ or "").strip().partition("\n")[0]


def number(value: float) -> str:
    return "-" if value == NEVER else f"{value:.0f}"


def share(hits: int, runs: int) -> str:
    low, high = clopper_pearson(hits, runs)
    return f"{hits}/{runs} = {100 * hits / max(1, runs):.2f} % ({100 * low:.2f}-{100 * high:.2f})"


def _by_name(lives: Sequence[Life]) -> dict[str, list[Life]]:
    rows: dict[str, list[Life]] = {}
    for one in lives:
        rows.setdefault(one.name, []).append(one)
    return rows


def legitimate(lives: Sequence[Life], say: Say) -> None:
    say(
        f"\n{'legitimate':20} {'years':>5} {'convicted':>9} {'suspected':>9} {'unusual':>7} {'connections, median':>20}"
    )
    for name, rows in _by_name(lives).items():
        convicted = sum(row.convicted_at != NEVER for row in rows)
        suspected = sum(row.suspected_at != NEVER for row in rows)
        unusual = sum(bool(row.unusual) for row in rows)
        middle = quantile([row.connections for row in rows], 0.5)
        mark = " <" if convicted else ""
        say(f"{name:20} {len(rows):5} {convicted:9} {suspected:9} {unusual:7} {middle:20.0f}{mark}")


def bots(lives: Sequence[Life], say: Say) -> None:
    say(f"\n{'bots':20} {'class':14} {'runs':>4} {'found':>5} {'suspected':>9} {'median':>6} {'p99':>5}")
    for name, rows in _by_name(lives).items():
        found = [row.convicted_at for row in rows if not row.early]
        say(
            f"{name:20} {rows[0].kind:14} {len(rows):4} {sum(at != NEVER for at in found):5} "
            f"{sum(row.suspected_at != NEVER for row in rows):9} {number(quantile(found, 0.5)):>6} "
            f"{number(quantile(found, 0.99)):>5}"
        )


def goals(lives: Sequence[Life], mode: str, say: Say) -> int:
    """Prints each goal; returns how many are missed."""
    missed = 0

    def goal(text: str, measured: str, met: bool) -> None:
        nonlocal missed
        missed += not met
        say(f"{text:58} {measured:44} {'met' if met else 'MISSED'}")

    say(f"\ngoals, mode {mode}")
    good = [one for one in lives if not one.kind]
    if good:
        convicted = [one for one in good if one.convicted_at != NEVER]
        suspected = sum(one.suspected_at != NEVER for one in good)
        goal(
            "legitimate device-years convicted <= 0.1 %",
            share(len(convicted), len(good)),
            len(convicted) <= 0.001 * len(good),
        )
        worst, rows = max(
            _by_name(good).items(), key=lambda row: sum(one.convicted_at != NEVER for one in row[1]) / len(row[1])
        )
        hits = sum(one.convicted_at != NEVER for one in rows)
        goal(f"each sender <= 1 % (worst: {worst})", share(hits, len(rows)), hits <= 0.01 * len(rows))
        goal("legitimate device-years suspected <= 10 %", share(suspected, len(good)), suspected <= 0.1 * len(good))
    early = [one for one in lives if one.early]
    if early:
        goal("convicted before the bot began: 0", share(len(early), len(lives) - len(good)), False)
    for kind, part, within in (
        (CLASSIC, 0.99, NEVER),
        (CAREFUL, 0.90, 60),
        (PROXYWARE_TLS, 0.90, 30),
        (MIMIC_TLS, 0.50, 300),
    ):
        of_kind = [one.convicted_at for one in lives if one.kind == kind]
        if not of_kind:
            continue
        hits = sum(at <= within and at != NEVER for at in of_kind)
        limit = "" if within == NEVER else f" within {within}"
        goal(f"{kind} found >= {100 * part:.0f} %{limit}", share(hits, len(of_kind)), hits >= part * len(of_kind))
        if kind == CLASSIC:
            median, late = quantile(of_kind, 0.5), quantile(of_kind, 0.99)
            goal(
                "classic: connections, median <= 4, p99 <= 15",
                f"{number(median)} / {number(late)}",
                median <= 4 and late <= 15,
            )
    return missed


def published(lives: Sequence[Life], say: Say) -> None:
    """The published methods on the senders that met them."""
    compared = [one for one in lives if one.alarms]
    if not compared:
        return
    good, bad = [one for one in compared if not one.kind], [one for one in compared if one.kind]
    say(f"\npublished methods: {len(good)} legitimate devices, {len(bad)} bots")
    say(f"{'method':20} {'legitimate flagged':>24} {'bots found':>24} {'median':>6}")
    for method in METHODS:
        flagged = sum(one.alarms[method] > 0 for one in good)
        found = [one.alarms[method] for one in bad]
        hits = sum(at != NEVER for at in found)
        say(f"{method:20} {f'{flagged}/{len(good)}':>24} {f'{hits}/{len(bad)}':>24} {number(quantile(found, 0.5)):>6}")


def why(lives: Sequence[Life], say: Say) -> None:
    """The evidence of those judged wrong."""
    say("\nwhy")
    for one in lives:
        if not one.kind and one.convicted_at != NEVER:
            say(f"  convicted {one.name} {one.seed} at {number(one.convicted_at)}, day {one.days:.0f}: {one.why}")
    for one in lives:
        if one.kind and one.convicted_at == NEVER:
            say(f"  missed {one.name} {one.seed} in {one.connections}: {one.why}")
