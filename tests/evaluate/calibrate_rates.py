"""How often each indicator fires: lives of simulated devices, and a capture -> counts -> rates with intervals.

Knows which scenario is which of the senders in the table, and what of a connection has to be seen for an indicator to
fire at all. Must not know what the table claims (`calibrate` compares) nor the hold-out set.

A *first contact* is a connection that can be evidence: `Connection.fresh` at its opening. Silent retries are left out:
the neighbourhood was met before, and again it neither accepted nor refused, as far as can be seen (`OUTCOMES`).
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cpe_filter.detect.detector import _BITS, _DOMAINS, _NAMES, Connection, Detector, Step
from cpe_filter.detect.device import Device, Devices
from cpe_filter.detect.evidence import CONNECT, INDICATORS, REPLY, SENDER_PROFILES
from cpe_filter.detect.score import _NEEDED, COMPROMISED
from cpe_filter.engine import FORWARD, Engine
from cpe_filter.inspect.facts import Event
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.replay.capture import frames, network_layer
from tests.evaluate.bots import BOTS
from tests.evaluate.facts import Player
from tests.evaluate.internet import Internet
from tests.evaluate.intervals import clopper_pearson
from tests.evaluate.legit import LEGITIMATE, Sessions, own_name
from tests.evaluate.mta import Habits, correspondence, deliver, log_uniform
from tests.evaluate.scenarios import device_key, seeded
from tests.evaluate.talk import Client
from tests.policies import make_policy

#: Kinds of bots -> scenarios. Not those that show SYNs alone, share a device, or write to willing recipients only.
BOT_KINDS = {
    "classic": ("classic-sprayer", "classic-rotating", "many-recipients", "one-recipient", "classic-400-a-day"),
    "careful": ("careful", "careful-1-an-hour", "proxy-on-tv", "cleaned-list", "router-originated"),
    "STARTTLS": ("starttls-only",),
}
#: The table's senders -> scenarios. Not nat-lan, which is several at once.
SENDER_KINDS = {
    "mta": (
        "self-hosted", "queue-flush", "office-exchange", "forwarder", "two-mtas", "wan-outage", "greylisted",
    ),
    "newsletter": ("newsletter", "mailing-list"),
    "script": ("script", "php-localhost", "appliance-refused", "appliance-working", "mx-check"),
    "residential": ("home-line-refused",),
    "listed": ("listed all the time",),
    "bouncer": ("backscatter", "callout-verifier"),
}  # fmt: skip
#: Sums whose first passage is noted, nats.
THRESHOLDS = tuple(range(3, 13))

#: What a contact has to show for an indicator to be possible; `ALL` where nothing is named. The shares in the table
#: are of these: of new neighbourhoods, of HELOs, of MAILs, of dialogues in the clear, of such in TLS; of HELOs and
#: MAILs for which the device has not yet had as many names, or domains, as are remembered.
ALL, NEW, HELLO, MAIL, READ, TLS, NAMES, DOMAINS = "all", "new", "helo", "mail", "read", "tls", "names", "domains"
_IN_THE_CLEAR = {
    "banner-refused", "unknown-user", "dnsbl-listed", "residential-line", "refused", "deferred", "early-talk",
    "blind-pipelining", "content-after-refusal", "not-smtp", "no-quit", "path-spaced", "verb-case", "accepted", "quit",
    "authenticated",
}  # fmt: skip
_OF_MAIL = (
    "sender-unrelated", "sender-rotates", "non-null-sender", "null-sender", "declines-tls", "many-recipients",
    "sender-is-recipient", "helo-is-recipient",
)  # fmt: skip
OF = dict.fromkeys(INDICATORS, ALL)
OF |= {name: HELLO for name in INDICATORS if name.startswith("helo-")}
OF |= dict.fromkeys(_IN_THE_CLEAR, READ)
OF |= dict.fromkeys(_OF_MAIL, MAIL)
OF |= {"helo-rotates": NAMES, "sender-rotates": DOMAINS}
OF |= dict.fromkeys(("rcpt-accepted", "destination-burst", "private-extension"), NEW)
OF |= dict.fromkeys(("tls-carried", "tls-too-short"), TLS)

_FLAGS = {"hello": 1, "sender": 2, "tls": 4}
_HEARD, _NAMES_LEFT, _DOMAINS_LEFT, _COUNTED = 8, 16, 32, 64
#: `dnsbl-unlisted` is what is not said: it is no outcome.
OUTCOMES = {"accepted", "tls-carried", *(name for name, row in INDICATORS.items() if row.family in (CONNECT, REPLY))}
OUTCOMES.discard("dnsbl-unlisted")
_OUTCOMES = sum(_BITS[name] for name in OUTCOMES)


class Life(NamedTuple):
    """What became of one device. group: of bots or senders. seen: contacts by opportunity. hits: by indicator.

    passed: of each of `thresholds`, the contacts until the group's own sum first passed it, 0 if it never did.
    """

    group: str
    sessions: int
    contacts: int
    seen: dict[str, int]
    hits: dict[str, int]
    passed: tuple[int, ...]
    convicted: bool


class Rate(NamedTuple):
    """share: mean over devices. low, high: 95 %. devices, contacts: of how many."""

    share: float
    low: float
    high: float
    devices: int
    contacts: int


def thresholds(group: str) -> tuple[float, ...]:
    """The sums that are watched, the last of them what the sender's own sum needs for a conviction."""
    return (*THRESHOLDS, _NEEDED[own_sum(group)])


def own_sum(group: str) -> int:
    """Which of a device's sums is the one against what it is (bots: against the ordinary mail server)."""
    return SENDER_PROFILES.index(group) if group in SENDER_PROFILES else 0


class Watch:
    """Notes when a sum first passes each threshold."""

    def __init__(self, group: str) -> None:
        self.number = own_sum(group)
        self.thresholds = sorted(thresholds(group))
        self.at: dict[float, int] = {}
        self._left = list(self.thresholds)

    def look(self, sums: Sequence[float], contacts: int) -> None:
        while self._left and sums[self.number] >= self._left[0]:
            self.at[self._left.pop(0)] = contacts


class Listener(Detector):
    """A detector that remembers its contacts: connection -> what was seen of it."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(self._step)
        self.sessions = self.count = 0
        self.contacts: dict[Connection, int] = {}
        self.watch = watch

    def opened(self, device: Device, server: bytes, time: float) -> Connection:
        self.sessions += 1
        connection = super().opened(device, server, time)
        if connection.fresh:
            room = _NAMES_LEFT * (len(device.helos) < _NAMES) | _DOMAINS_LEFT * (len(device.sender_domains) < _DOMAINS)
            self.contacts[connection] = room
            self._tally(connection, 0)
        return connection

    def event(self, connection: Connection, event: Event, time: float) -> None:
        super().event(connection, event, time)
        self._tally(connection, _HEARD | _FLAGS.get(event.kind, 0))

    def unanswered(self, connection: Connection, phase: str, time: float) -> None:
        super().unanswered(connection, phase, time)
        self._tally(connection, 0)

    def ended(self, connection: Connection, phase: str, quit_sent: bool, time: float) -> None:
        super().ended(connection, phase, quit_sent, time)
        self._tally(connection, 0)

    def _tally(self, connection: Connection, seen: int) -> None:
        flags = self.contacts.get(connection)
        if flags is not None:
            flags |= seen
            if not flags & _COUNTED and (connection.new or connection.fired & _OUTCOMES):
                flags |= _COUNTED
                self.count += 1
            self.contacts[connection] = flags

    def _step(self, step: Step) -> None:
        self.watch.look(step.device.score.sums, max(1, self.count))

    def life(self, group: str, convicted: bool) -> Life:
        seen: Counter[str] = Counter()
        hits: Counter[str] = Counter()
        for connection, flags in self.contacts.items():
            if flags & _COUNTED:  # else a silent retry
                seen.update(_opportunities(flags, connection.new))
                hits.update(_names(connection.fired))
        at = self.watch.at
        passed = tuple(at.get(h, 0) for h in thresholds(group))
        return Life(group, self.sessions, seen[ALL], dict(seen), dict(hits), passed, convicted)


@cache
def _opportunities(flags: int, new: bool) -> tuple[str, ...]:
    hello, mail, tls, heard = (bool(flags & bit) for bit in (1, 2, 4, _HEARD))
    shown = {
        ALL: True,
        NEW: new,
        HELLO: hello,
        MAIL: mail,
        TLS: tls,
        READ: heard and not tls,
        NAMES: hello and bool(flags & _NAMES_LEFT),
        DOMAINS: mail and bool(flags & _DOMAINS_LEFT),
    }
    return tuple(of for of, is_shown in shown.items() if is_shown)


@cache
def _names(fired: int) -> tuple[str, ...]:
    return tuple(name for name, bit in _BITS.items() if fired & bit)


# ── lives ───────────────────────────────────────────────────────────────────────────────────────


def listed_line(rng: random.Random, days: int) -> Sessions:
    """A self-hosted server whose line is on blocklists all the time: four servers in ten ask these."""
    name = own_name(rng)
    mails = correspondence(rng, days, log_uniform(rng, 2, 25), [name.partition(".")[2]])
    return deliver(rng, mails, Client(name), Internet(rng), Habits(listed=((0.0, math.inf),)))


_SCENARIOS: dict[str, Callable[[random.Random, int], Sessions]] = {**LEGITIMATE, "listed all the time": listed_line}


def sender_life(group: str, name: str, seed: int, days: int) -> Life:
    """A legitimate device's life."""
    return _play(group, name, _SCENARIOS[name](seeded(name, seed), days))


def bot_life(group: str, name: str, seed: int, connections: int) -> Life:
    """A bot's first so many connections."""
    return _play(group, name, itertools.islice(BOTS[name](seeded(name, seed)), connections))


def _play(group: str, name: str, sessions: Sessions) -> Life:
    detector = Listener(Watch(group))
    device, player = Devices().get(device_key(name), 0.0), Player(detector)
    for session in sessions:
        player.play(device, session)
    player.until(math.inf)
    return detector.life(group, device.score.standing == COMPROMISED)


def captured_life(path: Path) -> Life:
    """The devices of a capture, as one."""
    engine, detector = Engine(make_policy(mode="monitor", escalate=False)), Listener(Watch("capture"))
    engine._judge.detector = detector
    now = 0.0
    for frame in frames(str(path), lambda _: None):
        found, now = network_layer(frame), max(now, frame.time)
        if found is not None:
            engine.packet(PacketTime(now), FORWARD, found[0], found[1], frame.data[:6] if frame.link == 1 else None)
    engine.finish(PacketTime(now + 60.0))
    return detector.life("capture", any(device.score.standing == COMPROMISED for device in engine.devices))


# ── rates ───────────────────────────────────────────────────────────────────────────────────────


def rate(lives: Iterable[Life], name: str) -> Rate:
    """How often an indicator fires where it can.

    Devices weigh alike. What a device does once it does again: the interval is Clopper and Pearson's for as many
    independent contacts as would vary as little as the devices do (Kish's design effect), not fewer than devices.
    """
    of = OF[name]
    counts = [(life.hits.get(name, 0), life.seen[of]) for life in lives if life.seen.get(of)]
    devices, contacts = len(counts), sum(n for _, n in counts)
    if not devices:
        return Rate(math.nan, 0.0, 1.0, 0, 0)
    shares = [hits / n for hits, n in counts]
    mean = sum(shares) / devices
    worth = float(contacts if devices == 1 else devices)
    if devices > 1 and 0.0 < mean < 1.0:
        variance = sum((share - mean) ** 2 for share in shares) / (devices - 1) / devices
        worth = min(max(mean * (1 - mean) / variance, devices), contacts) if variance else contacts
    low, high = clopper_pearson(round(mean * worth), round(worth))
    return Rate(mean, min(low, mean), max(high, mean), devices, contacts)


def mixed(rates: Iterable[Rate]) -> Rate:
    """Of several kinds in equal parts; the intervals are added as independent errors are."""
    known = [each for each in rates if each.devices]
    if not known:
        return Rate(math.nan, 0.0, 1.0, 0, 0)
    mean = sum(each.share for each in known) / len(known)
    below = math.hypot(*(each.share - each.low for each in known)) / len(known)
    above = math.hypot(*(each.high - each.share for each in known)) / len(known)
    devices, contacts = sum(each.devices for each in known), sum(each.contacts for each in known)
    return Rate(mean, max(0.0, mean - below), min(1.0, mean + above), devices, contacts)
