"""`make calibrate`: the table's rates next to the observed ones, and how often legitimate senders would be convicted.

`python -m tests.evaluate.calibrate [--quick]`: 2 minutes, or 10 s. It prints three things.

First, for each indicator and each kind of bot and legitimate sender, `table/observed`: the share of first contacts that
show it, among those that could (column `of`; see `calibrate_rates`). `*` marks a rate that is off by more than a factor
of two, including the whole 95 % interval. Some are intended: a sender that could look like a bot gets a bot's rate, so
that the indicator does not count against it. Indicators that no scenario shows are named.

Second, rows whose weight has another sign than the observation.

Third, how many first contacts lie between two times that a sender's own sum exceeds what a conviction needs: drawn by
the table's own rates, and in the scenarios (`calibrate_alarms`). The worse of the two, if it could be counted, comes
first. It is a bound, because all sums have to be so high at once.

Observed rates are those of the development set. The scenarios cannot confirm what they do not contain (JUDGEMENT).
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cpe_filter.detect.evidence import CLIP, INDICATORS, JUDGEMENT, SENDER_PROFILES, SHARES, SIMULATED
from cpe_filter.detect.score import _NEEDED
from tests.evaluate.calibrate_alarms import COUNTED, Interval, Lived, interval, life
from tests.evaluate.calibrate_rates import (
    BOT_KINDS,
    OF,
    READ,
    SENDER_KINDS,
    THRESHOLDS,
    TLS,
    Life,
    Rate,
    bot_life,
    captured_life,
    mixed,
    rate,
    sender_life,
    thresholds,
)
from tests.inspect.captures import FOLDER

CAPTURE = FOLDER / "bot" / "spambot.pcap"
#: First contacts of a life drawn by the table's rates.
LIFE = 1000
#: A rate is only called wrong where so many contacts of so many devices could have shown it.
_CONTACTS, _DEVICES = 100, 5
#: A weight nearer to nothing than this (nats) has no sign.
_NO_SIGN = 0.15


class Sizes(NamedTuple):
    """lives: devices of each kind, bots and senders. days, connections: of each. drawn: lives by the table's rates."""

    lives: int
    days: int
    connections: int
    drawn: int


FULL, QUICK = Sizes(72, 365, 150, 600), Sizes(14, 120, 80, 24)
Rates = dict[str, dict[str, Rate]]


class Wrong(NamedTuple):
    """A weight (nats) whose sign is not the observed rates'."""

    indicator: str
    sender: str
    weight: float
    bot: Rate
    usual: Rate


def observed(lives: Iterable[Life]) -> Rates:
    """Indicator -> group -> rate. The group `bots` is all kinds of bots in equal parts."""
    groups: dict[str, list[Life]] = {}
    for one in lives:
        groups.setdefault(one.group, []).append(one)
    rates: Rates = {}
    for name in INDICATORS:
        of = rates[name] = {group: rate(mine, name) for group, mine in groups.items()}
        of["bots"] = mixed(of[kind] for kind in BOT_KINDS if kind in of)
    return rates


def is_off(claimed: float, seen: Rate) -> bool:
    """Whether the rate is off by more than a factor of two, beyond doubt."""
    if seen.devices < _DEVICES or seen.contacts < _CONTACTS:
        return False
    return seen.low > 2 * claimed or seen.high < claimed / 2


def wrong_signs(rates: Rates) -> list[Wrong]:
    """SIMULATED rows that speak for a bot where what was seen speaks against, or the other way round."""
    out = []
    for name, row in INDICATORS.items():
        bot = rates[name]["bots"]
        for sender, weight in zip(SENDER_PROFILES, row.weights, strict=True):
            usual = rates[name].get(sender)
            if row.basis != SIMULATED or usual is None or abs(weight) < _NO_SIGN:
                continue
            if min(bot.contacts, usual.contacts) < _CONTACTS or min(bot.devices, usual.devices) < _DEVICES:
                continue
            if (weight > 0 and bot.high < usual.low) or (weight < 0 and bot.low > usual.high):
                out.append(Wrong(name, sender, weight, bot, usual))
    return out


# ── as text ─────────────────────────────────────────────────────────────────────────────────────


def _share(value: float) -> str:
    return "  - " if math.isnan(value) else f"{value:.3f}"[1:] if value < 0.9995 else "1.00"


def _pair(claimed: float, seen: Rate | None) -> str:
    if seen is None:
        return f"{_share(claimed)}/  -  "
    return f"{_share(claimed)}/{_share(seen.share)}{'*' if is_off(claimed, seen) else ' '}"


def rates_table(rates: Rates) -> list[str]:
    kinds = [*BOT_KINDS, "capture"]
    head = f"{'':23}{'of':8}{'bots':11}" + "".join(f"{kind[:8]:9}" for kind in kinds)
    lines = [head + " ".join(f"{sender[:10]:10}" for sender in SENDER_PROFILES)]
    for name, row in INDICATORS.items():
        of = rates[name]
        line = f"{name:22} {OF[name]:8}{_pair(row.bot, of['bots'])} "
        line += "".join(f"{_share(of[kind].share) if kind in of else '  - ':9}" for kind in kinds)
        line += " ".join(
            _pair(claimed, of.get(sender)) for sender, claimed in zip(SENDER_PROFILES, row.usual, strict=True)
        )
        if not any(each.share > 0 for group, each in of.items() if group != "capture"):
            line += "  not simulated" + ("" if row.basis == JUDGEMENT else " (and yet said to be)")
        elif row.basis == JUDGEMENT:
            line += "  judgement"
        lines.append(line.rstrip())
    return lines


def off_lines(rates: Rates) -> list[str]:
    lines = []
    for name, row in INDICATORS.items():
        if not any(each.share > 0 for each in rates[name].values()):
            continue
        for group, claimed in [("bots", row.bot), *zip(SENDER_PROFILES, row.usual, strict=True)]:
            seen = rates[name].get(group)
            if seen is not None and is_off(claimed, seen):
                line = (
                    f"  {name:22} {group:16} table {claimed:.3f}, observed {seen.share:.3f} "
                    f"({seen.low:.3f} to {seen.high:.3f}; {seen.contacts} of {seen.devices} devices)"
                )
                lines.append(f"{line:97} {_leaning(row.bot, claimed, rates[name]['bots'], seen)}  {row.basis}")
    return lines


def _leaning(bot: float, usual: float, bots: Rate, seen: Rate) -> str:
    """What a wrong rate does: too much weight against the sender burdens it, too little spares it."""
    claimed, least = math.log(bot / usual), 1e-4
    weight = max(-CLIP, min(CLIP, math.log(max(bots.share, least) / max(seen.share, least))))
    verdict = "spares" if claimed < weight else "burdens"
    return f"{claimed:+.2f} nats for {weight:+.2f}: {verdict}" if seen is not bots else ""


def _number(value: float) -> str:
    return "-" if math.isinf(value) else f"{float(f'{value:.2g}'):,.0f}"


def _between(found: Interval) -> str:
    if math.isinf(found.contacts):
        return f"more than {_number(found.low)} (too few to say)"
    return f"{_number(found.contacts)} ({_number(found.low)} to {_number(found.high)}; {found.how})"


def _alarms(lives: Iterable[Life], drawn: Iterable[Lived], say: Callable[[str], None]) -> None:
    lives, drawn, together = list(lives), list(drawn), 0.0
    for sender, needed, share in zip(SENDER_PROFILES, _NEEDED, SHARES, strict=True):
        heights = thresholds(sender)
        mine, table = [one for one in lives if one.group == sender], [one for one in drawn if one.group == sender]
        contacts, sessions = sum(one.contacts for one in mine), sum(one.sessions for one in mine)
        by_table = interval([(one.contacts, one.passed) for one in table], heights, needed)
        seen = interval([(one.contacts, one.passed) for one in mine], heights, needed)
        between = by_table.low if math.isinf(by_table.contacts) else by_table.contacts
        if seen.how == COUNTED:
            between = min(between, seen.contacts)
        together += share / between
        drift = sum(one.drift for one in table) / len(table)
        n = _number(between * sessions / contacts)
        say(f"\n{sender}: at most one false conviction in {n} sessions; needs {needed:.1f} nats")
        say(f"  e^h (Lorden)              {_number(math.exp(needed))} first contacts")
        say(f"  by the table's rates      {_between(by_table)} first contacts; drift {drift:+.2f} nats a contact")
        convicted = sum(1 for one in table if one.convicted)
        say(f"                            {convicted} of {len(table)} lives of {LIFE} convicted by all sums together")
        say(f"  in the scenarios          {_between(seen)} first contacts; {sessions / contacts:.1f} sessions in one")
        passed = [sum(one.passed[k] > 0 for one in mine) for k in range(len(THRESHOLDS))]
        crossings = ", ".join(f"{h}: {count}" for h, count in zip(THRESHOLDS, passed, strict=True) if h <= 9)
        say(f"                            devices whose sum passed h, of {len(mine)}, {contacts} contacts: {crossings}")
        say(f"                            {sum(one.convicted for one in mine)} devices convicted")
    say(f"\nAll senders at their shares: one own sum passed in {_number(1 / together)} first contacts.")


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.evaluate.calibrate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, 10 seconds")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else FULL
    begun = time.monotonic()
    with multiprocessing.Pool(options.processes) as pool:
        lives = pool.starmap(sender_life, tasks(SENDER_KINDS, sizes.lives, sizes.days), chunksize=1)
        bots = pool.starmap(bot_life, tasks(BOT_KINDS, sizes.lives, sizes.connections), chunksize=8)
        shares = {sender: _tls_share(one for one in lives if one.group == sender) for sender in SENDER_PROFILES}
        drawing = [(sender, seed, LIFE, shares[sender]) for sender in SENDER_PROFILES for seed in range(sizes.drawn)]
        drawn = pool.starmap(life, drawing, chunksize=4)
    capture = [captured_life(CAPTURE)] if CAPTURE.exists() else []
    rates = observed([*lives, *bots, *capture])
    say("Shares of first contacts, table/observed (*: off by more than a factor of two)")
    for line in (*rates_table(rates), "\nOff by more than a factor of two", *off_lines(rates)):
        say(line)
    say("\nSIMULATED weights whose sign is not what was observed")
    for one in wrong_signs(rates):
        say(f"  {one.indicator:22} {one.sender:16} {one.weight:+.2f}, {one.bot.share:.3f} to {one.usual.share:.3f}")
    say("\nFirst contacts until a sender's own sum is what a conviction needs")
    _alarms(lives, drawn, say)
    say(f"\n{time.monotonic() - begun:.0f} s")
    return 0


def tasks(kinds: dict[str, tuple[str, ...]], lives: int, size: int) -> list[tuple[str, str, int, int]]:
    return [
        (kind, name, seed, size)
        for kind, names in kinds.items()
        for name in names
        for seed in range(-(-lives // len(names)))
    ]


def _tls_share(lives: Iterable[Life]) -> float:
    """From the dialogues that were heard; each device has the same weight."""
    shares = [one.seen.get(TLS, 0) / heard for one in lives if (heard := one.seen.get(TLS, 0) + one.seen.get(READ, 0))]
    return sum(shares) / len(shares) if shares else 0.0


if __name__ == "__main__":
    sys.exit(main())
