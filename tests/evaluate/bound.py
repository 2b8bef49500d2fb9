"""What no detector can beat: how many connections the evidence itself takes.

Knows information theory: a sequential test that wrongs one legitimate session in `ARL` needs at least about
ln(ARL) / KL connections on average (Lorden 1971), KL being the divergence of what a bot's connection shows from what a
legitimate one shows. Each connection is taken as one of the classes of `shows`, and connections as independent: finer
evidence would lower the bound, dependence raises it. The reference is the hardest: whichever single legitimate
device, in its beginning, looks most like the bots of a kind.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from cpe_filter.detect import replies
from cpe_filter.detect.names import kind_of_name
from tests.evaluate.facts import Session
from tests.evaluate.scenarios import SETS, seeded

ARL = 1e6
#: Sessions at the beginning of each history.
_FIRST = 500
#: A history of fewer says too little to be compared with.
_ENOUGH = 200
#: A class that was never seen counts as seen so often.
_UNSEEN = 0.2
Shown = tuple[str | bool, ...]


class Bound(NamedTuple):
    """connections: at least, on average. beside: the legitimate device that is hardest to distinguish from it."""

    name: str
    connections: float
    beside: str


def shows(session: Session, fresh: bool) -> Shown:
    """What a connection shows: how it ended, the kind of HELO, the first refusal, TLS, QUIT, if the server is new."""
    helo, worst, banner = "", "", False
    for event in session.events:
        if event.kind == "hello":
            helo = f"{kind_of_name(event.name)} {event.number}"
        kind = replies.classify(event.reply)
        if kind != replies.NONE and event.name != "unknown" and not worst:
            worst, banner = kind, event.kind == "greeting"
    return session.phase, helo, worst, banner, session.over_tls, session.quit, fresh


def _counts(histories: Iterable[Iterable[Session]]) -> Counter[Shown]:
    out: Counter[Shown] = Counter()
    for history in histories:
        known: set[bytes] = set()
        for session in itertools.islice(history, _FIRST):
            out[shows(session, session.server[:-1] not in known)] += 1
            known.add(session.server[:-1])
    return out


def _is_spam(session: Session) -> bool:
    return session.spam


def divergence(bot: Counter[Shown], other: Counter[Shown]) -> float:
    """KL in nats."""
    classes = bot.keys() | other.keys()
    bots, others = (sum(c.values()) + _UNSEEN * len(classes) for c in (bot, other))
    return sum(
        (bot[c] + _UNSEEN) / bots * math.log((bot[c] + _UNSEEN) / bots / ((other[c] + _UNSEEN) / others))
        for c in classes
    )


def bounds(which: str, names: Iterable[str], histories: int = 20) -> list[Bound]:
    """For each of these bots; so many histories of each bot and device."""
    legitimate = {
        (name, seed): _counts([make(seeded(name, seed), 365)])
        for name, make in SETS[which].legitimate.items()
        for seed in range(histories)
    }
    out = []
    for name in names:
        counts = _counts(
            (session for session in SETS[which].bots[name](seeded(name, seed)) if session.spam)
            for seed in range(histories)
        )
        kl, beside = min(
            (divergence(counts, other), key) for key, other in legitimate.items() if sum(other.values()) >= _ENOUGH
        )
        out.append(Bound(name, math.log(ARL) / kl, beside[0]))
    return out
