"""An adaptive attacker that knows the rules: how much spam a day can it send for a month without being found?

Knows an attacker's means (`Plan`). It varies them one at a time for the most deliveries, with the others fixed, in
rounds, until none gets better. The result is a lower bound of what is possible. Unfound means unfound in each run.
Modes: `monitor` lets everything pass; `limit` applies `enforce.decide` with the default policy; in `block` only an
exempt mail server can send, so the bot runs on one, together with its legitimate mail.
"""

from __future__ import annotations

from typing import NamedTuple

from cpe_filter.detect.detector import Detector
from cpe_filter.detect.device import Device, Devices
from cpe_filter.detect.score import CLEAR, COMPROMISED
from cpe_filter.enforce import decide
from cpe_filter.policy.model import Policy
from tests.evaluate.bot import Bot, run
from tests.evaluate.bots import pool_name, proper_name
from tests.evaluate.facts import Player, Session
from tests.evaluate.internet import Internet
from tests.evaluate.legit import Sessions, in_order, self_hosted
from tests.evaluate.mta import DAY, correspondence, deliver
from tests.evaluate.scenarios import DEVICE, seeded
from tests.evaluate.talk import Client
from tests.policies import make_policy

DAYS = 30
MODES = ("monitor", "limit", "block")


class Plan(NamedTuple):
    """rate: connections a day. good: share of recipients that exist. servers: how many it uses (0: ever new ones).

    friendly: harmless, accepted messages to acquaintances for each spam.
    """

    rate: int = 20
    good: float = 0.95
    servers: int = 50
    tls: float = 0.9
    tidy: bool = True  # own name, one sender, QUIT
    retries: float = 1.0
    recipients: int = 1
    friendly: float = 0.0


#: What the search tries for each means. Rates up to 1,000 a day: ProxyM has 400 (facts/detection.md).
CHOICES: dict[str, tuple[float, ...]] = {
    "rate": (1, 2, 5, 10, 20, 50, 100, 200, 400, 1000),
    "recipients": (1, 10),
    "good": (0.5, 0.8, 0.95, 0.99),
    "servers": (5, 50, 500, 0),
    "tls": (0.0, 0.9, 1.0),
    "tidy": (True, False),
    "retries": (0.0, 1.0),
    "friendly": (0.0, 1.0),
}


class Best(NamedTuple):
    """per_day: spam delivered, recipients counted singly. at_most: even the largest rate tried was not found."""

    mode: str
    unsuspected: bool
    plan: Plan | None
    per_day: float
    at_most: bool
    days: int


def _bot(plan: Plan) -> Bot:
    good = round(plan.good * 1000)
    bad = 1000 - good
    # Who has a good list still meets greylisting and dead servers: 3 % and 1 % (judgement).
    outcomes = {"accepted": good, "unknown": bad * 6 // 10, "rejected": bad * 3 // 10, "listed": bad // 10}
    outcomes |= {"deferred": 30, "lost": 10}
    name = "mail.acme.example"
    client = Client(name)
    return Bot(
        plan.rate / 24,
        (lambda _: client) if plan.tidy else (lambda rng: Client(pool_name(rng), ehlo=False)),
        (lambda _: "acme.example") if plan.tidy else proper_name,
        outcomes,
        quits=1.0 if plan.tidy else 0.0,
        tls=plan.tls,
        recipients=(plan.recipients, plan.recipients),
        unknown_share=(1 - plan.good) * 0.6,
        new_servers=1.0,
        servers=plan.servers,
        retries=plan.retries,
    )


def _traffic(plan: Plan, mode: str, seed: int, days: int) -> Sessions:
    rng = seeded(f"attacker {mode}", seed)
    streams = [run(rng, _bot(plan), 0.0, days * DAY)]
    if plan.friendly:
        mails = correspondence(rng, days, plan.rate * plan.friendly, ["acme.example"], contacts=(5, 20), new_per_day=0)
        streams.append(deliver(rng, mails, Client("mail.acme.example"), Internet(rng)))
    if mode == "block":
        streams.append(self_hosted(rng, days))
    return in_order(*streams)


def attempt(plan: Plan, mode: str, unsuspected: bool, seed: int, days: int = DAYS) -> float:
    """Spam delivered a day, expected from the connections that passed; -1 if it was found."""
    detector, device = Detector(), Devices().get(DEVICE, 0.0)
    player = Player(detector)
    policy = make_policy(mode="limit") if mode == "limit" else make_policy(mode="monitor", escalate=False)
    known: set[bytes] = set()
    passed = 0.0
    for session in _traffic(plan, mode, seed, days):
        allowed = _allowed(policy, device, session, session.server not in known)
        known.add(session.server)
        player.play(device, session if allowed else Session(session.time, session.server, "trying", (), False))
        standing = device.score.standing
        if standing == COMPROMISED or (unsuspected and standing != CLEAR):
            return -1.0
        if session.spam and allowed:
            passed += min(allowed, plan.recipients)
    return passed * plan.good / days


def _allowed(policy: Policy, device: Device, session: Session, new: bool) -> int:
    """How many recipients of this session the policy lets pass."""
    time = session.time
    if decide.on_connection(policy, device, session.server, new, time).action != decide.PASS:
        return 0
    count = 0
    for event in session.events:
        if event.kind == "recipient":
            if decide.on_recipient(policy, device, session.server, time) is not None:
                break
            count += 1
    if session.over_tls:  # what TLS hides the policy counts as one, however many there are
        return 0 if decide.on_recipient(policy, device, session.server, time) else 1 << 20
    return count


def search(mode: str, unsuspected: bool, seeds: int, rounds: int = 2, days: int = DAYS) -> Best:
    """Improves one means at a time."""
    plan, best = Plan(), -1.0
    tried: dict[Plan, float] = {}

    def worth(candidate: Plan) -> float:
        if candidate not in tried:
            results = [-1.0]
            for seed in range(seeds):
                results = [*results[seed == 0 :], attempt(candidate, mode, unsuspected, seed, days)]
                if results[-1] < 0:
                    break
            tried[candidate] = min(results)
        return tried[candidate]

    for _ in range(rounds):
        before = best
        for means, values in CHOICES.items():
            for value in values:
                candidate = Plan(**{**plan._asdict(), means: value})
                if candidate.rate * candidate.recipients * candidate.good <= best:
                    continue  # cannot be better
                got = worth(candidate)
                if got > best:
                    plan, best = candidate, got
                if got < 0 and means == "rate":
                    break  # a faster one is found sooner
        if best == before:
            break
    top = best >= 0 and plan.rate == CHOICES["rate"][-1]
    return Best(mode, unsuspected, plan if best >= 0 else None, max(0.0, best), top, days)
