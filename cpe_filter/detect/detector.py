"""Facts of connections -> evidence -> standing: which fact is which indicator, for which device.

Knows sessions' facts (inspect.smtp's events), names, replies, the table of indicators and the score. Must not know
packets, policy or what is done about a standing. The caller reports a connection with these calls: `opened`;
`established` once both ends have completed the handshake, then `event` for each thing that happened, and `ended`; or
`unanswered`, once it is clear that no answer comes. A caller without packets (a simulation of years) makes the same
calls.

Evidence that convicts comes from established connections, because any host in the home can send a SYN with a
neighbour's addresses. A SYN without an answer counts as evidence of one side (`score`), and the caller reports it only
if the router knows the device by more than that.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Network

from cpe_filter.detect import replies
from cpe_filter.detect.device import ROUTER, Device
from cpe_filter.detect.evidence import FROM_NAME, FROM_QUIRK, FROM_REPLY, FROM_VIOLATION, INDICATORS, UNSPOKEN
from cpe_filter.detect.names import kind_of_name, registered_domain
from cpe_filter.detect.score import CLEAR, COMPROMISED, SESSION_CLIP, SUSPECT_AT, SUSPECTED
from cpe_filter.detect.server_networks import ACCEPTED, DEFERRED, MET, TURNED_AWAY, ServerNetworks, fingerprint
from cpe_filter.inspect.address import NULL_SENDER
from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.inspect.nat64 import server as behind_nat64
from cpe_filter.inspect.session import CLOSED, LOST, REFUSED, RESET
from cpe_filter.inspect.turnaround import LEAST
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing
    from cpe_filter.lean.clocks import PacketTime

#: More new servers than this within a minute is a burst.
BURST = 2
#: How many recipients in a session count as many.
CROWD = 20
#: The factor by which each refusal reduces the weight of earlier ones, when they may explain sessions hidden by TLS.
FORGET = 0.95
#: HELO names of a device whose server networks are counted, each up to `_WIDE`: from there on a name has breadth.
_NAMES, _WIDE = 8, 1
#: HELO names, their domains and senders' domains that are remembered of a device, as hashes. Past these none is new any
#: more. Who has shown so many rotates names, and more of them would say nothing more.
_REMEMBERED = 16
#: So many names of each kind are usual for one device; each further one rotates.
_USUAL = 2
#: Busy hours: so many new networks in one, so many of them within so many seconds.
_HOUR_S, _HOUR_NETWORKS, _BUSY_HOURS, _DAY_S = 3600.0, 8, 2, 86400.0
#: What a device says to the responder weighs less, because there is no server whose acceptance could count in its
#: favour. With the full weight 2 of 1,008 legitimate device-years were convicted, with this none
#: (tests/evaluate/explained.py).
EXPLAINED_PART = 0.75
#: How much of a new sender domain counts that is the recipient's.
OWN_PART = 0.25
#: Bytes after the ClientHello: fewer hold no message, so many or more do (tests/evaluate/sealed.py measures them).
EMPTY_FROM, EMPTY_BELOW, CARRIED_FROM = 120, 450, 1300
#: Least and most turnaround of a relayed session, each of whose first replies is acknowledged well ahead of the answer
#: (docs/turnaround.md): less is a program's own, more is a person who types.
RELAYED_FROM_MS, RELAYED_TO_MS = 20, 800
#: In place of an indicator, if a standing changed because a person has released the device.
RELEASED = "released"
#: A domain's mark is a number of so many bits, and none of 0 and 1.
_MARK_BITS = 30
_MARKS = (1 << _MARK_BITS) - 1
_NULL = 1
_BITS = {name: 1 << number for number, name in enumerate(INDICATORS)}
#: Refusals of a connection that are read. Each indicator counts once in a connection; a server may send any number.
_READ = 12
#: Events of which only a refusal counts (and the reply to AUTH and to a private-use command).
_BY_REPLY = ("greeting", "reply", "quit")
_REFUSALS = sum(_BITS[name] for name in set(FROM_REPLY.values()))


class StandingChanged(NamedTuple):
    """A device's standing has changed. `connection`: how many it had opened by then.

    indicator: the one that changed it, or `RELEASED`.
    """

    time: PacketTime
    device: Device
    before: Standing
    after: Standing
    connection: int
    indicator: str


class Connection:
    """What the detector holds of a running connection.

    number: the server's `fingerprint`. new: the device never met its network. before: the outcome of contacts with it
    when this one began. explained: the caller sets it if our responder answers instead of the server.
    """

    __slots__ = (
        "_domains",
        "allowance",
        "authenticated",
        "awaits_recipient",
        "before",
        "content",
        "device",
        "explained",
        "fired",
        "has_greeted",
        "lacked",
        "met",
        "new",
        "number",
        "offered_tls",
        "ready",
        "recipients",
        "refusals",
    )

    def __init__(self, device: Device, number: int, new: bool, before: int) -> None:
        self.device = device
        self.number = number
        self.new = new
        self.before = before
        self.explained = False
        self.authenticated = False
        self.content = False  # it went on to DATA
        self.met = False  # counted among the networks that the device has met
        self.fired = self.lacked = 0  # which indicators have, and which rates have not: a bit each
        self.allowance = SESSION_CLIP
        # Only whether the names of HELO and sender are equal matters: marks of their domains, in one number.
        self._domains = 0
        self.offered_tls = False
        self.has_greeted = False  # a name in HELO
        self.recipients = 0
        self.refusals = 0  # replies of 4yz and 5yz
        self.ready = False  # the server agreed to a recipient
        self.awaits_recipient = False  # MAIL with a sender, and no recipient yet

    @property
    def helo(self) -> int:
        """The mark (`_mark`) of its HELO's registered domain; 0 where it gave no name."""
        return self._domains >> _MARK_BITS

    @helo.setter
    def helo(self, mark: int) -> None:
        self._domains = mark << _MARK_BITS | self.sender

    @property
    def sender(self) -> int:
        """The mark of its sender's registered domain; `_NULL` for the null sender, 0 before MAIL."""
        return self._domains & _MARKS

    @sender.setter
    def sender(self, mark: int) -> None:
        self._domains = self.helo << _MARK_BITS | mark

    @property
    def null_sender(self) -> bool:
        """Whether what it sends now is a bounce or the like (RFC 5321 section 4.5.5)."""
        return self.sender == _NULL

    @property
    def fresh(self) -> bool:
        """Whether this server's answer is new: no server of its network has accepted or rejected before."""
        return self.before <= DEFERRED


class Step(NamedTuple):
    """One piece of evidence as it counted: what it added to the score (nats), and the score after it.

    Below 0 for an indicator that counts against devices: a rate that did not fire where it might have.
    """

    time: PacketTime
    device: Device
    connection: int
    indicator: str
    added: float
    score: float


class Detector:
    """Stateless except for `changes`, which the caller empties; all memory is in the devices.

    `trace` is called with each `Step`, to show how a score developed. `nat64`: the prefixes of translators
    (inspect.nat64): a server behind one counts by its IPv4 address.
    """

    def __init__(self, trace: Callable[[Step], None] | None = None) -> None:
        self.changes: list[StandingChanged] = []
        #: The policy's own wordings of refusals (`replies`); they come before the shipped ones.
        self.reply_rows = ""
        #: Those of a signed document (replies.read).
        self.signed_rows = ""
        self.nat64: tuple[IPv6Network, ...] = ()
        self._trace = trace

    def opened(self, device: Device, server: bytes, time: PacketTime) -> Connection:
        """A device opens a connection to a server (packed address). So far only the connection counts."""
        device.connections += 1
        connection = self.joined(device, server)
        if device.key == ROUTER and device.connections == 1:
            self._add(connection, "from-router", time)
        return connection

    def joined(self, device: Device, server: bytes) -> Connection:
        """The same for a connection whose beginning was not seen: it is none of those counted, and is no evidence."""
        number = fingerprint(behind_nat64(server, self.nat64) if len(server) == 16 else server)
        before = device.server_networks.look(number)
        return Connection(device, number, before < 0, max(before, MET))

    def established(self, connection: Connection, time: PacketTime) -> None:
        """Both ends have completed the handshake."""
        # If two connections at once go to a new network, the first that is established is the new one.
        new = connection.device.server_networks.meet(connection.number)
        if not connection.met:
            connection.new = new
            self._met(connection, time)

    def refused(self, connection: Connection) -> None:
        """We have refused the SYN: the network counts as contacted, and there is no evidence.

        Any host can send a SYN in the device's name, and no server had a chance to verify it.
        """
        new = connection.device.server_networks.attempt(connection.number)
        if not connection.met:
            connection.new, connection.met = new, True
            connection.device.networks += new

    def unanswered(self, connection: Connection, phase: str, time: PacketTime) -> None:
        """The SYN got no answer. phase: LOST or REFUSED, or TRYING: it was not waited for."""
        device = connection.device
        new = device.server_networks.attempt(connection.number)
        if not connection.met:
            connection.new = new
            self._met(connection, time, proven=False)
        if phase in (LOST, REFUSED) and connection.before == MET:
            self._add(connection, "connect-timeout" if phase == LOST else "connect-refused", time, proven=False)
            device.server_networks.settle(connection.number, DEFERRED)

    def _met(self, connection: Connection, time: PacketTime, proven: bool = True) -> None:
        """The device has met this network."""
        connection.met = True
        device = connection.device
        if not connection.new:
            if proven:
                self._lack(connection, "new-destination", time)
            return
        device.networks += 1
        if device.networks > 1:
            self._add(connection, "new-destination", time, proven=proven)
            device.burst = [*[t for t in device.burst if time - t < 60.0][-BURST:], time]
            if len(device.burst) > BURST:
                self._add(connection, "destination-burst", time, proven=proven)
            if device.busy_hour(time, _HOUR_S, _HOUR_NETWORKS, _DAY_S) >= _BUSY_HOURS:
                self._add(connection, "sustained", time, proven=proven)

    def event(self, connection: Connection, event: Event, time: PacketTime) -> None:
        """Something happened in the dialogue."""
        kind, reply = event.kind, event.reply
        if kind in _BY_REPLY and event.name not in ("AUTH", "private"):
            connection.content = connection.content or event.name == "DATA"
        elif kind == "hello":
            self._hello(connection, event, time)
        elif kind == "sender":
            self._sender(connection, event.name, time)
        elif kind == "recipient":
            self._recipient(connection, event, time)
        elif kind == "message":
            connection.content = True
            if reply is not None and reply.positive:
                connection.device.messages += 1
                if not connection.null_sender:
                    self._accepted(connection, "accepted", time)
        elif kind == "turnaround":
            if RELAYED_FROM_MS <= event.number <= RELAYED_TO_MS and event.name.endswith(f"/{LEAST}"):
                self._add(connection, "relayed", time)
        elif kind == "tls-bytes":
            self._tls_bytes(connection, event.number, time)
        else:
            self._other(connection, event, time)
        if reply is None or reply.code < 400 or connection.explained:
            return
        # The refusal of a command that mail does not need is not a refusal; a domain of such a name may be refused.
        if kind != "reply" or event.name not in ("unknown", "private"):
            self._refused(connection, kind, reply, time)

    def _other(self, connection: Connection, event: Event, time: PacketTime) -> None:
        """Events that are indicators by their names alone, and replies that agree to more than mail."""
        kind, name, reply = event.kind, event.name, event.reply
        if kind == "opaque" and name == "not-smtp":
            self._add(connection, "not-smtp", time)
        elif kind == "violation" and name in FROM_VIOLATION:
            self._add(connection, name, time)
        elif kind == "quirk" and name in FROM_QUIRK:
            self._add(connection, FROM_QUIRK[name], time)
        elif kind == "reply" and name == "AUTH" and reply is not None and reply.code == 235:
            connection.authenticated = True
            self._add(connection, "authenticated", time)
            # Counted once, because a bot may have a server of its own.
            connection.device.server_networks.settle(connection.number, ACCEPTED)
        elif kind == "reply" and name == "private" and reply is not None and reply.positive and connection.new:
            self._add(connection, "private-extension", time)

    def ended(self, connection: Connection, phase: str, quit_sent: bool, time: PacketTime) -> None:
        """An established connection has ended: counts what its end shows. `phase` as in inspect.session."""
        if connection.awaits_recipient:
            self._writes(connection, 0, time)
        if connection.explained:
            if phase in (CLOSED, RESET):
                # No server has answered; still, further attempts of the device there are not new.
                connection.device.server_networks.settle(connection.number, TURNED_AWAY)
            return
        if phase in (CLOSED, RESET):
            if connection.ready and connection.fresh and not connection.null_sender:
                if not connection.fired & _BITS["unknown-user"]:
                    self._lack(connection, "unknown-user", time)
                if connection.content:
                    self._add(connection, "message-content", time)
                elif quit_sent:
                    self._lack(connection, "message-content", time)
            if connection.ready and phase == CLOSED and not connection.content:
                self._ready(connection, time)
            if quit_sent:
                self._add(connection, "quit", time)
            if connection.new and not connection.fired & _BITS["dnsbl-listed"]:
                self._add(connection, "dnsbl-unlisted", time)

    def on_mx_query(self, device: Device, foreign: bool, time: PacketTime) -> None:
        """A device asked for a domain's MX itself, of a `foreign` resolver or of one in the home.

        Any host can ask in its name. So it weighs little, once, and the caller reports only devices that have mailed.
        """
        name = "mx-foreign" if foreign else "mx-lookup"
        tally = device.score.tallies.get(name)
        if tally is None or not tally.count:
            self._add(Connection(device, 0, False, MET), name, time, proven=False)

    def release(self, device: Device, time: PacketTime) -> bool:
        """A person has released a compromised device: it is suspected from now on. False if it was not compromised.

        All it does counts as new again. So its server networks are forgotten, too, because their answers are evidence
        only at a first contact. Otherwise a cleaned device that writes to its usual servers would never be cleared, and
        a bot that goes through its old list would never be convicted.
        """
        before = device.score.standing
        if before != COMPROMISED:
            return False
        device.score.release()
        device.server_networks = ServerNetworks()
        device.helos.clear()
        device.seen_names = ([], [], [])
        device.burst.clear()
        device.busy.clear()
        device.operators, device.unusual_at = b"", None
        device.rejections_for_cause = device.rejections_for_line_type = 0.0
        device.suspected_at, device.compromised_at = (time, device.connections), None
        self.changes.append(StandingChanged(time, device, before, device.score.standing, device.connections, RELEASED))
        return True

    def _refused(self, connection: Connection, kind: str, reply: Reply, time: PacketTime) -> None:
        """A reply of 4yz or 5yz. The first answers of a network are new; later ones are not."""
        if not connection.fresh or connection.refusals >= _READ:
            return
        connection.refusals += 1
        _, evidence, part = replies.read(reply, self.reply_rows, kind, self.signed_rows)
        name = FROM_REPLY.get(evidence)
        if name is None:
            return
        if kind == "greeting" and name == "refused":
            name = "banner-refused"
        # Bounces and callouts (RFC 5321 section 4.5.5) go to forged senders, so their failure says little.
        if not connection.null_sender and (name != "deferred" or connection.before == MET):
            if part:
                self._add(connection, name, time, part)
            else:  # proves nothing, but the line is not an unlisted one
                connection.fired |= _BITS[name]
            if name != "deferred":
                device = connection.device
                device.rejections_for_cause *= FORGET
                device.rejections_for_line_type *= FORGET
                if name in ("residential-line", "dnsbl-listed"):
                    device.rejections_for_line_type += 1
                else:
                    device.rejections_for_cause += 1
        # Who is refused for its line has not been judged: what it writes to this network is still news.
        outcome = DEFERRED if name in ("deferred", "residential-line") else TURNED_AWAY
        connection.device.server_networks.settle(connection.number, outcome)

    def _ready(self, connection: Connection, time: PacketTime) -> None:
        """A server accepted a recipient, and got no message: as good as accepting one (RFC 5321 section 3.3)."""
        if connection.null_sender:
            connection.device.server_networks.settle(connection.number, ACCEPTED)
        elif not connection.fired & _REFUSALS:
            self._accepted(connection, "accepted", time)

    def _accepted(self, connection: Connection, name: str, time: PacketTime) -> None:
        if connection.fresh:
            self._add(connection, name, time)
            if connection.before == DEFERRED:
                self._add(connection, "retry-accepted", time)
        connection.device.server_networks.settle(connection.number, ACCEPTED)

    def _tls_bytes(self, connection: Connection, sent: int, time: PacketTime) -> None:
        """The bytes that a client sent in TLS show whether it delivered a message."""
        if sent >= EMPTY_BELOW and connection.before == MET:
            self._lack(connection, "tls-too-short", time)
        if sent >= CARRIED_FROM:
            self._accepted(connection, "tls-carried", time)
        elif sent >= EMPTY_BELOW:
            pass
        elif sent >= EMPTY_FROM and connection.before == MET:
            device = connection.device
            for_cause, for_line_type = device.rejections_for_cause, device.rejections_for_line_type
            part = (1 + for_cause) / (1 + for_cause + for_line_type)
            self._add(connection, "tls-too-short", time, part)
            connection.device.server_networks.settle(connection.number, DEFERRED)

    def _hello(self, connection: Connection, event: Event, time: PacketTime) -> None:
        name = event.name.lower()
        connection.helo = _mark(registered_domain(name)) if name else 0
        kind = kind_of_name(name)
        indicator = FROM_NAME.get(kind)
        if indicator:
            self._add(connection, indicator, time)
        if not event.number:
            self._add(connection, "helo-not-ehlo", time)
        elif event.reply is not None:
            connection.offered_tls = False
            for line in _lines(event.reply):
                if line[:8].upper() == "STARTTLS":
                    connection.offered_tls = True
        if connection.has_greeted:
            return
        connection.has_greeted = True
        self._breadth(connection, hash(name), time)
        # All private addresses are one name: a lease may change at any time.
        self._rotates(connection, "helo-rotates", 0, 0 if kind == "literal-private" else hash(name), time)
        if kind in ("plain", "dynamic") and connection.helo and "[" not in name:
            self._rotates(connection, "helo-domain-rotates", 1, connection.helo, time)

    def _breadth(self, connection: Connection, mark: int, time: PacketTime) -> None:
        """At how many server networks a name was used."""
        helos = connection.device.helos
        mark &= ~0xFF
        for n, known in enumerate(helos):
            if known & ~0xFF == mark:
                count = known & 0xFF
                if connection.new and count < _WIDE:
                    helos[n] += 1
                if connection.new and count >= _WIDE:
                    self._add(connection, "breadth", time)
                else:
                    self._lack(connection, "breadth", time)
                return
        if len(helos) < _NAMES:
            helos.append(mark | 1)
        self._lack(connection, "breadth", time)

    def _rotates(
        self, connection: Connection, name: str, which: int, mark: int, time: PacketTime, part: float = 1.0
    ) -> bool:
        """A name of a kind (`Device.seen_names`), by its hash, may be new to its device. Returns whether it rotates."""
        if not connection.fresh:
            return False
        seen = connection.device.seen_names[which]
        if mark in seen:
            self._lack(connection, name, time)
        elif len(seen) < _REMEMBERED:
            seen.append(mark)
            if len(seen) > _USUAL:
                self._add(connection, name, time, part)
                return True
        return False

    def _sender(self, connection: Connection, sender: str, time: PacketTime) -> None:
        domain = sender.rpartition("@")[2].lower()
        null_sender = sender == NULL_SENDER
        connection.sender = _NULL if null_sender else _mark(registered_domain(domain))
        if connection.offered_tls:
            self._add(connection, "declines-tls", time)
        if null_sender and connection.new:  # a callout leaves nothing settled: it must not count each time
            self._add(connection, "null-sender", time)
        if not domain or null_sender:
            return
        if connection.helo not in (0, connection.sender):
            self._add(connection, "sender-unrelated", time)
        connection.awaits_recipient = True
        if not connection.fresh or connection.explained:
            return
        if connection.authenticated:
            self._lack(connection, "unauthenticated", time)
        else:
            self._add(connection, "unauthenticated", time)

    def _writes(self, connection: Connection, to: int, time: PacketTime) -> None:
        """The mark of the first recipient's domain is known (0: there was none): is the sender's domain a new one?

        Who writes to its own domain writes to itself: a scanner sends each user's scans in his name.
        """
        connection.awaits_recipient = False
        device = connection.device
        part = OWN_PART if connection.sender == to else 1.0
        rotates = self._rotates(connection, "sender-rotates", 2, connection.sender, time, part)
        if rotates and connection.new:
            self._add(connection, "new-pair", time, part)
        elif connection.fresh and len(device.seen_names[2]) > _USUAL:
            self._lack(connection, "new-pair", time)

    def _recipient(self, connection: Connection, event: Event, time: PacketTime) -> None:
        connection.device.recipients += 1
        connection.recipients += 1
        if connection.recipients == CROWD:
            self._add(connection, "many-recipients", time)
        if event.reply is not None and event.reply.positive:
            connection.ready = True
        domain = registered_domain(event.name.rpartition("@")[2])
        if connection.awaits_recipient:
            self._writes(connection, _mark(domain), time)
        if domain and _mark(domain) == connection.helo != connection.sender:
            self._add(connection, "helo-is-recipient", time)

    def _add(self, connection: Connection, name: str, time: PacketTime, part: float = 1.0, proven: bool = True) -> None:
        """An indicator fires, once in a connection. part, proven: as in score."""
        bit = _BITS[name]
        if connection.fired & bit or (connection.before > DEFERRED and name != "relayed"):  # not fresh
            return
        connection.fired |= bit
        if connection.explained and INDICATORS[name].family not in UNSPOKEN:  # whatever answers, a SYN counts the same
            part *= EXPLAINED_PART
        device = connection.device
        score = device.score
        before, value = score.standing, score.value
        connection.allowance = score.add(name, connection.allowance, part, proven)
        if self._trace is not None:
            self._trace(Step(time, device, device.connections, name, score.value - value, score.value))
        self._judge(device, before, name, time)

    def _lack(self, connection: Connection, name: str, time: PacketTime) -> None:
        """A rate did not fire where it might have, once in a connection."""
        bit = _BITS[name]
        if (connection.fired | connection.lacked) & bit:
            return
        connection.lacked |= bit
        part = EXPLAINED_PART if connection.explained else 1.0
        device = connection.device
        score = device.score
        before, value = score.standing, score.value
        score.lack(name, part)
        if self._trace is not None and score.value != value:
            self._trace(Step(time, device, device.connections, name, score.value - value, score.value))
        self._judge(device, before, name, time)

    def _judge(self, device: Device, before: Standing, name: str, time: PacketTime) -> None:
        score = device.score
        if (before == CLEAR and score.value < SUSPECT_AT) or not score.judge():  # the usual case without a call
            return
        if score.standing == SUSPECTED:
            device.suspected_at = (time, device.connections)
        elif score.standing == COMPROMISED:
            device.suspected_at = device.suspected_at or (time, device.connections)
            device.compromised_at = (time, device.connections)
        elif score.standing == CLEAR:
            device.suspected_at = None
        self.changes.append(StandingChanged(time, device, before, score.standing, device.connections, name))


def _mark(domain: str) -> int:
    """A number for a domain, to compare two: Python's hash, which has a new key at each start."""
    return hash(domain) & _MARKS | 2


def _lines(reply: Reply) -> tuple[str, ...]:
    """The lines of a reply, without codes."""
    return (*reply.before, reply.text[4:])
