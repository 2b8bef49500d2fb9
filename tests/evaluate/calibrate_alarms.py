"""How many first contacts pass until a legitimate sender's own sum is as high as a conviction needs: false alarms.

Knows the table's rates, which facts of one contact exclude each other, and how to extrapolate. Must not know scenarios.

`life` draws first contacts by the table's rates and adds them up in the real `Score`. One contact has one outcome. A
program's ways (indicators that fade to a half or less) are drawn once for a life. In TLS nothing after the first HELO
shows. It is left out that one piece of evidence may explain another (`part`).

Rare events are extrapolated (`interval`): for large h a CUSUM of negative drift passes h as often as a e^(-b h)
(Siegmund 1985), so a line is fitted to the logarithms of the rates at lower thresholds. Its interval comes from
resampling the lives (bootstrap), and is valid as far as the line is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from cpe_filter.detect.detector import _DOMAINS, _NAMES
from cpe_filter.detect.evidence import DNS, INDICATORS, ORIGIN, SENDER_PROFILES
from cpe_filter.detect.score import COMPROMISED, SESSION_CLIP, Score
from tests.evaluate.calibrate_rates import Watch, thresholds
from tests.evaluate.intervals import clopper_pearson

#: Of these at most one happens in a contact. The last of each has what the others leave of its rate.
_CONNECT = ("connect-refused", "connect-timeout")
_HELOS = ("helo-dynamic", "helo-address", "helo-private", "helo-unqualified", "helo-empty")
_SENDER = ("null-sender", "non-null-sender")
_IN_THE_CLEAR = (
    "banner-refused",
    "unknown-user",
    "dnsbl-listed",
    "residential-line",
    "refused",
    "deferred",
    "accepted",
)
_IN_TLS = ("tls-too-short", "tls-carried")
_LEAVE = ("no-quit", "quit")
_BY_GROUP = {*_CONNECT, *_HELOS, *_SENDER, *_IN_THE_CLEAR, *_IN_TLS, *_LEAVE}
#: What happens in a new neighbourhood, with an acceptance, after it was put off, and wherever no list is named.
_NEW, _BURST, _WELCOMED = "new-destination", "destination-burst", "rcpt-accepted"
_BACK, _UNLISTED = "retry-accepted", "dnsbl-unlisted"
_OWN = (_NEW, _BURST, _WELCOMED, _BACK, _UNLISTED)
#: A way of the program: it shows in all contacts of a device or in none.
_WAYS = tuple(
    name
    for name, row in INDICATORS.items()
    if row.repeat_discount <= 0.5 and name not in _BY_GROUP and name not in _OWN
)
_ONCE = tuple(name for name in _WAYS if INDICATORS[name].family in (DNS, ORIGIN))
_HIDDEN_WAYS = tuple(name for name in _WAYS if name not in (*_ONCE, "helo-not-ehlo"))
_EACH = tuple(name for name in INDICATORS if name not in (*_WAYS, *_BY_GROUP, *_OWN, "helo-rotates"))
#: The detector counts new names up to here.
_AT_MOST = {"helo-rotates": _NAMES - 3, "sender-rotates": _DOMAINS - 3}
#: Fewer passages than this say nothing about a threshold.
_LEAST = 10
TOO_FEW, COUNTED = "too few", "counted"
_POINTS = 5


class Lived(NamedTuple):
    """passed: as in `calibrate_rates.Life`. convicted: at which contact, 0 if never. drift: nats a contact."""

    group: str
    contacts: int
    passed: tuple[int, ...]
    convicted: int
    drift: float


class Interval(NamedTuple):
    """First contacts between two passages: estimate and 95 % interval. how: counted, extrapolated, too few."""

    contacts: float
    low: float
    high: float
    how: str


def life(group: str, seed: int, contacts: int, tls: float) -> Lived:
    """So many first contacts of a sender of the table. tls: the share of its dialogues in TLS."""
    rng = random.Random(f"{group} {seed}")
    column = SENDER_PROFILES.index(group)
    rates = {name: row.usual[column] for name, row in INDICATORS.items()}
    score, watch, convicted, drift = Score(), Watch(group), 0, 0.0
    ways = {name for name in _WAYS if rng.random() < rates[name]}
    helo, leave = _one(rng, _HELOS, rates), _one(rng, _LEAVE, rates)
    for number in range(1, contacts + 1):
        room = SESSION_CLIP
        for name in _contact(rng, rates, tls, ways, helo, leave, number == 1):
            fired = score.tallies[name].count if name in score.tallies else 0
            if fired >= _AT_MOST.get(name, fired + 1):
                continue
            drift += INDICATORS[name].weights[column] * INDICATORS[name].repeat_discount ** fired
            room = score.add(name, room)
            score.judge()
            watch.look(score.sums, number)
        if score.standing == COMPROMISED and not convicted:
            convicted = number
    return Lived(group, contacts, tuple(watch.at.get(h, 0) for h in thresholds(group)), convicted, drift / contacts)


def _contact(
    rng: random.Random, rates: dict[str, float], tls: float, ways: set[str], helo: str, leave: str, first: bool
) -> list[str]:
    """What one contact shows, in the detector's order."""
    shown = [name for name in _ONCE if first and name in ways]
    new = rng.random() < rates[_NEW]
    if new:
        shown.append(_NEW)
        if rng.random() < rates[_BURST]:
            shown.append(_BURST)
    failed = _one(rng, _CONNECT, rates)
    if failed:
        return [*shown, failed]
    shown += [name for name in (helo, "helo-not-ehlo" if "helo-not-ehlo" in ways else "") if name]
    if rng.random() < rates["helo-rotates"]:
        shown.append("helo-rotates")
    sealed = rng.random() < tls
    if not sealed:
        shown += [name for name in (_one(rng, _SENDER, rates), *_HIDDEN_WAYS) if name in ways or name in _SENDER]
        shown += [name for name in _EACH if rng.random() < rates[name]]
    outcome = _one(rng, _IN_TLS if sealed else _IN_THE_CLEAR, rates)
    if outcome in ("accepted", "tls-carried"):
        back = rng.random() < rates[_BACK]
        shown += [outcome, *([_WELCOMED] if new else []), *([_BACK] if back else [])]
    elif outcome:
        shown.append(outcome)
    if not sealed and leave:
        shown.append(leave)
    if outcome != "dnsbl-listed" and _UNLISTED in INDICATORS:
        shown.append(_UNLISTED)
    return shown


def _one(rng: random.Random, names: Sequence[str], rates: dict[str, float]) -> str:
    left = rng.random()
    for name in names:
        left -= rates[name]
        if left < 0:
            return name
    return ""


# ── intervals ───────────────────────────────────────────────────────────────────────────────────


def interval(lives: Sequence[tuple[int, tuple[int, ...]]], heights: Sequence[float], wanted: float) -> Interval:
    """lives: (contacts, contacts until each of `heights` was passed or 0). First contacts between passages of `wanted`.

    Counted where at least `_LEAST` lives passed it. Raises ValueError where `wanted` is none of the heights.
    """
    at = list(heights).index(wanted)
    estimate, how = _estimate(lives, heights, at)
    if how == TOO_FEW:
        count, _ = _passages(lives, at)
        return Interval(math.inf, 1 / clopper_pearson(count, sum(n for n, _ in lives))[1], math.inf, how)
    rng, drawn = random.Random("lives drawn anew"), []
    for _ in range(200):
        again = rng.choices(lives, k=len(lives))
        value, same = _estimate(again, heights, at)
        if same != TOO_FEW:
            drawn.append(value)
    drawn.sort()
    low, high = (drawn[int(len(drawn) * 0.025)], drawn[int(len(drawn) * 0.975)]) if drawn else (estimate, estimate)
    return Interval(estimate, min(low, estimate), max(high, estimate), how)


def _estimate(lives: Sequence[tuple[int, tuple[int, ...]]], heights: Sequence[float], at: int) -> tuple[float, str]:
    rates = [_passages(lives, n) for n in range(len(heights))]
    count, rate = rates[at]
    if count >= _LEAST:
        return 1 / rate, COUNTED
    points = sorted((heights[n], math.log(rate), count) for n, (count, rate) in enumerate(rates) if count >= _LEAST)
    points = points[-_POINTS:]
    if len(points) < 3:
        return math.inf, TOO_FEW
    weight = sum(n for _, _, n in points)
    x, y = (sum(point[k] * point[2] for point in points) / weight for k in (0, 1))
    slope = sum(n * (h - x) * (r - y) for h, r, n in points) / sum(n * (h - x) ** 2 for h, _, n in points)
    found = math.exp(-(y + min(slope, 0.0) * (heights[at] - x)))
    # A line can be wrong: what was seen, if only once, is not as rare as it says.
    most = 1 / clopper_pearson(count, round(count / rate))[0] if count else math.inf
    return min(found, most), "extrapolated"


def _passages(lives: Sequence[tuple[int, tuple[int, ...]]], n: int) -> tuple[int, float]:
    """How many lives passed a threshold, and how often that is for each contact that they had until then."""
    count = sum(passed[n] > 0 for _, passed in lives)
    contacts = sum(passed[n] or life for life, passed in lives)
    return count, count / contacts if contacts else 0.0
