"""What the desk has learnt -> rates by indicator with intervals, and a proposed table of rates.

Knows labelled cases and statistics. Must not know the store (see `labelled`, which reads it). Only counts are used: how
many connections a case had and in how many each indicator was seen; no address, name, router or subscriber.

A case is one observation, because a device's connections are alike: with twenty cases an interval is wide, however many
connections they had. Cases are convicted devices, so they say how bots and wrongly convicted senders look, not how all
senders do. A proposal therefore moves a number only where the cases contradict it, and no further than to the end of
their interval:

- confirmed cases move the share of a bot's contacts;
- false alarms move the bounds of legitimate senders: one was seen beyond the bound, so the bound was too narrow. Which
  kind of sender it was is not known, so the bound of each kind moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from cpe_filter.collect import indicators
from cpe_filter.collect.cases import history
from cpe_filter.collect.cases.rates import LEAST, MOST, Row
from cpe_filter.collect.store.base import Store
from cpe_filter.detect.evidence import INDICATORS, LEGITIMATE

Label = Literal["confirmed", "false-alarm"]
#: Fewer cases with a label move nothing.
MIN_CASES = 20
#: Cases that are read, the latest.
MAX_CASES = 100_000
_CONFIDENCE = 0.95


class Labelled(NamedTuple):
    """A case: contacts with networks of servers that were new to the device, and indicator -> connections."""

    label: Label
    contacts: int
    seen: Mapping[str, int]


class Rate(NamedTuple):
    """Of the cases with a label: mean share of contacts that show an indicator, and its Clopper-Pearson interval.

    showing: cases that show it at all.
    """

    cases: int
    showing: int
    share: float
    low: float
    high: float


async def labelled(store: Store) -> list[Labelled]:
    """The cases that the desk has closed as confirmed or as a false alarm, by its last word. Raises `StoreError`."""
    rows = await store.read(
        "SELECT a.what, c.nets, c.conns, c.ind FROM desk_case c JOIN desk_case_action a ON a.case_id = c.id"
        " WHERE a.what IN (:confirmed, :false_alarm) AND NOT EXISTS ("
        "SELECT 1 FROM desk_case_action b WHERE b.case_id = c.id AND b.what IN (:confirmed, :false_alarm, :reopened)"
        " AND (b.at > a.at OR (b.at = a.at AND b.id > a.id)))"
        " ORDER BY a.at DESC, c.id LIMIT :most",
        confirmed=history.CONFIRMED,
        false_alarm=history.FALSE_ALARM,
        reopened=history.REOPENED,
        most=MAX_CASES,
    )
    return [Labelled(row["what"], row["nets"] or row["conns"], indicators.read(row["ind"])) for row in rows]


def rate(cases: Sequence[Labelled], name: str) -> Rate:
    """How often cases with one label show an indicator."""
    shares = [min(1.0, case.seen.get(name, 0) / max(1, case.contacts)) for case in cases]
    total = sum(shares)
    low, high = clopper_pearson(total, len(cases))
    return Rate(len(cases), sum(share > 0 for share in shares), total / len(cases) if cases else 0.0, low, high)


def rates(cases: Sequence[Labelled], label: Label) -> dict[str, Rate]:
    """By indicator."""
    mine = [case for case in cases if case.label == label]
    return {name: rate(mine, name) for name in INDICATORS}


def propose(cases: Sequence[Labelled]) -> dict[str, Row]:
    """The rows that the cases contradict, as they should be."""
    confirmed, wrong = rates(cases, "confirmed"), rates(cases, "false-alarm")
    rows = {}
    for name, row in INDICATORS.items():
        bot = _moved(row.bot, confirmed[name])
        usual = tuple(bound and _widened(bound, wrong[name], row.family == LEGITIMATE) for bound in row.usual)
        if (bot, usual) != (row.bot, row.usual):
            rows[name] = Row(bot, usual)
    return rows


def _moved(share: float, seen: Rate) -> float:
    """A share, no further from what was seen than its interval."""
    if seen.cases < MIN_CASES or seen.low <= share <= seen.high:
        return share
    return _limited(seen.low if share < seen.low else seen.high)


def _widened(bound: float, seen: Rate, legitimate: bool) -> float:
    """A bound that a false alarm was beyond: above it, or below for what speaks for a sender."""
    if seen.cases < MIN_CASES:
        return bound
    beyond = seen.high < bound if legitimate else seen.low > bound
    return _limited(seen.high if legitimate else seen.low) if beyond else bound


def _limited(share: float) -> float:
    return round(min(MOST, max(LEAST, share)), 4)


def lines(cases: Sequence[Labelled]) -> list[str]:
    """Rates by indicator, for people: of each label the cases that show it, and the share of contacts with interval."""
    labels: tuple[Label, ...] = ("confirmed", "false-alarm")
    found = {label: rates(cases, label) for label in labels}
    numbers = {label: sum(case.label == label for case in cases) for label in labels}
    out = [f"cases: {numbers['confirmed']} confirmed, {numbers['false-alarm']} false alarms; at least {MIN_CASES} of a "
           "label move a rate"]  # fmt: skip
    out.append(f"{'indicator':22} {'table':>6}  {'confirmed':>27}  {'false alarms':>27}")
    for name, row in INDICATORS.items():
        shown = "  ".join(_shown(found[label][name]) for label in labels)
        out.append(f"{name:22} {row.bot:6.3f}  {shown}")
    return out


def _shown(seen: Rate) -> str:
    if not seen.cases:
        return f"{'-':>27}"
    return f"{seen.showing:>5} {seen.share:5.3f} [{seen.low:5.3f}, {seen.high:5.3f}]".rjust(27)


def clopper_pearson(hits: float, runs: int) -> tuple[float, float]:
    """The 95 % interval of a share (Clopper & Pearson 1934). A sum of shares is rounded outwards to whole runs."""
    if not runs:
        return 0.0, 1.0
    tail, fewest, most = (1.0 - _CONFIDENCE) / 2, math.floor(hits + 1e-9), math.ceil(hits - 1e-9)
    low = 0.0 if fewest == 0 else _solve(lambda p: 1.0 - _at_most(fewest - 1, runs, p), tail)
    high = 1.0 if most == runs else 1.0 - _solve(lambda p: 1.0 - _at_most(runs - most - 1, runs, p), tail)
    return low, high


def _at_most(hits: int, runs: int, p: float) -> float:
    """The probability of at most so many hits."""
    if p <= 0.0 or p >= 1.0:
        return float(p <= 0.0 or hits >= runs)
    log_p, log_q, whole = math.log(p), math.log1p(-p), math.lgamma(runs + 1)
    return min(
        1.0,
        math.fsum(
            math.exp(whole - math.lgamma(k + 1) - math.lgamma(runs - k + 1) + k * log_p + (runs - k) * log_q)
            for k in range(hits + 1)
        ),
    )


def _solve(rising: Callable[[float], float], wanted: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2
