"""How often each indicator fires where it can: lives of simulated senders -> counts -> rates with intervals.

Knows which simulated sender is of which kind in the table, and what of a connection has to be seen for an indicator to
fire at all. Must not know what the table claims (`calibrate` compares), nor the hold-out and validation sets.

A *rate* is counted as the detector counts it: each time it adds it or its absence. A *habit* is counted by contacts, as
its bound is: connections that can be evidence (`Connection.fresh`) and show what the habit needs (`OF`). A finding that
counts in part, because something else explains the rest, is counted in part. Standings have no consequences here: a
life goes on after a conviction.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from cpe_filter.detect.detector import Connection, Detector, Step
from cpe_filter.detect.device import Device, Devices
from cpe_filter.detect.evidence import INDICATORS, SENDER_PROFILES
from cpe_filter.detect.score import CONVICT_AT, SUSPECT_AT
from cpe_filter.inspect.facts import Event
from cpe_filter.lean.clocks import PacketTime
from tests.evaluate.facts import Player
from tests.evaluate.intervals import clopper_pearson
from tests.evaluate.legit import LEGITIMATE
from tests.evaluate.scenarios import device_key, seeded
from tests.evaluate.world.measure import Gate, Task, attempts
from tests.evaluate.world.measure import device_key as key_in_world
from tests.evaluate.world.sets import DEVELOPMENT

#: The table's kinds -> senders of the world. Which kind a sender is of is judgement where it is between two.
WORLD = {
    "mta": (
        "self-hosted", "fresh-server", "queue-flush", "week-offline", "wan-outages", "office-exchange", "autoresponder",
        "greylisted", "refused-everywhere", "fediverse", "forge", "web-shop", "abuse-reporter", "chat-by-mail",
        "ipv6-server", "ticket-system", "laptop-mta",
    ),
    "list": (
        "mailman", "dmarc-reporter", "shop-newsletter", "club-list", "association-php", "server-newsletter",
        "first-mailing", "survey-invitations",
    ),
    "appliance": (
        "refused-thing", "working-thing", "camera-motion", "nas-reports", "home-assistant", "ups", "fax-to-mail",
        "php-on-a-pi", "cron-mails", "monitoring", "developer", "nextcloud", "wrong-port",
    ),
    "verifier": ("verifying-server", "backscatter"),
    "guests": (
        "two-servers", "dormitory", "behind-one-mac", "iot-hub", "cafe", "office-port-25", "server-and-things",
        "vpn-exit",
    ),
    "forwarder": ("forwarder", "backup-mx"),
    "survey": ("tls-survey", "mx-check"),
    "hoster": (),
    "listed": (),
    "scanner": ("scan-to-mail",),
}  # fmt: skip
#: The table's kinds -> scenarios of the earlier evaluation (tests.evaluate.legit).
EARLIER = {
    "mta": ("self-hosted", "queue-flush", "office-exchange", "wan-outage", "greylisted", "home-line-refused"),
    "list": ("newsletter", "mailing-list"),
    "appliance": ("script", "php-localhost", "appliance-refused", "appliance-working"),
    "verifier": ("backscatter", "callout-verifier"),
    "guests": ("two-mtas", "nat-lan"),
    "forwarder": ("forwarder",),
    "survey": ("mx-check",),
}

#: What a contact has to show for a habit to be possible; `ALL` where nothing is named. A new network; HELO; a MAIL that
#: was read; a dialogue in the clear; what a client sent in TLS; a dialogue at all.
ALL, NEW, HELLO, MAIL, READ, TLS, HEARD = "all", "new", "helo", "mail", "read", "tls", "heard"
OF = dict.fromkeys(INDICATORS, ALL)
OF |= {name: HELLO for name in INDICATORS if name.startswith("helo-")}
OF |= dict.fromkeys(
    (
        "sender-unrelated", "null-sender", "declines-tls", "many-recipients", "sender-is-recipient",
        "helo-is-recipient", "path-spaced", "verb-case",
    ),
    MAIL,
)  # fmt: skip
OF |= dict.fromkeys(
    (
        "banner-refused", "dnsbl-listed", "residential-line", "refused", "deferred", "early-talk", "blind-pipelining",
        "content-after-refusal", "not-smtp", "no-quit", "accepted", "quit", "authenticated",
    ),
    READ,
)  # fmt: skip
OF |= dict.fromkeys(("destination-burst", "sustained", "private-extension", "dnsbl-unlisted"), NEW)
OF |= {"tls-carried": TLS, "relayed": HEARD}
_KINDS = {"hello": HELLO, "sender": MAIL, "tls-bytes": TLS}


class Life(NamedTuple):
    """What became of one device. group: kind of sender, or class of bots. sender: the simulated one's name.

    contacts: connections that can be evidence. hits: firings. chances: where they might have fired. highest: the
    greatest score. suspected, convicted: the contacts until the score first came to that, 0 if it never did.
    """

    group: str
    sender: str
    contacts: int
    hits: dict[str, float]
    chances: dict[str, int]
    highest: float
    nearest: str
    suspected: int
    convicted: int


class Rate(NamedTuple):
    """share: firings of chances. low, high: 95 %. devices, contacts (chances): of how many."""

    share: float
    low: float
    high: float
    devices: int
    contacts: int


class Listener(Detector):
    """A detector that counts what its table's bounds are about."""

    def __init__(self) -> None:
        super().__init__(self._step)
        self.contacts = self.suspected = self.convicted = 0
        self.hits: dict[str, float] = {}
        self.lacks: Counter[str] = Counter()
        self.shown: Counter[str] = Counter()
        self.highest, self.nearest = 0.0, SENDER_PROFILES[0]
        self._seen: dict[Connection, set[str]] = {}

    def opened(self, device: Device, server: bytes, time: PacketTime) -> Connection:
        connection = super().opened(device, server, time)
        self._seen[connection] = set()
        self.contacts += connection.fresh
        return connection

    def event(self, connection: Connection, event: Event, time: PacketTime) -> None:
        seen = self._seen[connection]
        seen.add(HEARD)
        if event.kind in _KINDS:
            seen.add(_KINDS[event.kind])
        if event.kind == "tls":
            seen.add("in tls")
        super().event(connection, event, time)

    def unanswered(self, connection: Connection, phase: str, time: PacketTime) -> None:
        super().unanswered(connection, phase, time)
        self._count(connection)

    def ended(self, connection: Connection, phase: str, quit_sent: bool, time: PacketTime) -> None:
        super().ended(connection, phase, quit_sent, time)
        self._count(connection)

    def _count(self, connection: Connection) -> None:
        seen = self._seen.pop(connection)
        self.shown[HEARD] += HEARD in seen
        if connection.fresh:
            self.shown.update(seen - {HEARD, "in tls"})
            self.shown.update((ALL, *((NEW,) if connection.new else ())))
            self.shown[READ] += HEARD in seen and "in tls" not in seen

    def _add(self, connection: Connection, name: str, time: PacketTime, part: float = 1.0, proven: bool = True) -> None:
        fired = connection.fired
        super()._add(connection, name, time, part, proven)
        if connection.fired != fired:
            self.hits[name] = self.hits.get(name, 0.0) + part

    def _lack(self, connection: Connection, name: str, time: PacketTime) -> None:
        super()._lack(connection, name, time)
        self.lacks[name] += 1
        self._look(connection.device)

    def _step(self, step: Step) -> None:
        self._look(step.device)

    def _look(self, device: Device) -> None:
        value, contacts = device.score.value, max(1, self.contacts)
        if value > self.highest:
            self.highest, self.nearest = value, device.score.nearest_profile
            if value >= SUSPECT_AT and not self.suspected:
                self.suspected = contacts
            if value >= CONVICT_AT and not self.convicted:
                self.convicted = contacts

    def life(self, group: str, sender: str) -> Life:
        hits, chances = self.hits, {}
        for name, row in INDICATORS.items():
            if row.repeat:
                chances[name] = max(self.shown[OF[name]], math.ceil(hits.get(name, 0)))
            else:
                chances[name] = math.ceil(hits.get(name, 0)) + self.lacks[name]
        return Life(
            group, sender, self.contacts, hits, chances, self.highest, self.nearest, self.suspected, self.convicted
        )


def life(group: str, name: str, seed: int, cap: int) -> Life:
    """A device of the world, or a bot of this class: at most so many connections, in mode monitor."""
    kind, stream = attempts(Task(DEVELOPMENT, name, seed, "monitor", cap))
    gate, listener = Gate("monitor", key_in_world(name)), Listener()
    gate.policy = gate.policy._replace(filter=gate.policy.filter._replace(escalate=False))
    gate.listen(listener)
    for attempt in itertools.islice(stream, cap):
        if attempt.time > 365 * 86400:
            break
        if attempt.spam or not kind:
            gate.take(attempt)
        else:
            attempt.meet()
    return listener.life(group, name)


def earlier_life(group: str, name: str, seed: int, cap: int) -> Life:
    """A device of the earlier evaluation."""
    listener = Listener()
    device, player = Devices().get(device_key(name), 0.0), Player(listener)
    for session in itertools.islice(LEGITIMATE[name](seeded(name, seed), 365), cap):
        player.play(device, session)
    player.until(math.inf)
    return listener.life(group, f"({name})")


# ── rates ───────────────────────────────────────────────────────────────────────────────────────


def rate(lives: Iterable[Life], name: str) -> Rate:
    """How often an indicator fires where it can: firings of all devices, of the chances of all (a ratio estimate).

    What a device does once it does again: the interval is Clopper and Pearson's for as many independent contacts as
    would vary as little as the devices do (Kish's design effect; Cochran's variance of a ratio).
    """
    counts = [(life.hits.get(name, 0.0), life.chances[name]) for life in lives if life.chances.get(name)]
    devices, contacts = len(counts), sum(n for _, n in counts)
    if not devices:
        return Rate(math.nan, 0.0, 1.0, 0, 0)
    share = sum(hits for hits, _ in counts) / contacts
    worth = float(contacts)
    if devices > 1 and 0.0 < share < 1.0:
        squares = sum((hits - share * n) ** 2 for hits, n in counts)
        variance = squares / (devices - 1) * devices / contacts**2
        worth = min(max(share * (1 - share) / variance, devices), contacts) if variance else contacts
    elif devices > 1:  # all or none always do: what a device does once it may do again
        worth = devices
    low, high = clopper_pearson(round(share * worth), round(worth))
    return Rate(share, min(low, share), max(high, share), devices, contacts)


class Passage(NamedTuple):
    """Contacts between two times that a score passes a threshold: estimate, and the least that 95 % allow."""

    passed: int
    contacts: float
    least: float


def passages(lives: Iterable[tuple[int, int]]) -> Passage:
    """lives: (contacts, contacts until the first passage, 0 if none). What follows a passage does not count.

    Devices differ, so the estimate is that of a mixture: it says how many are accused, not when a device is.
    """
    passed = contacts = 0
    for all_of_it, at in lives:
        passed += at > 0
        contacts += at or all_of_it
    if not contacts:
        return Passage(0, math.nan, 0.0)
    return Passage(passed, contacts / passed if passed else math.inf, 1 / clopper_pearson(passed, contacts)[1])
