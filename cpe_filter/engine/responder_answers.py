"""What devices answer to the responder's tests, as events for the detector: read from the dialogue alone.

Knows the events of redirected connections, and the replies that only the responder gives (explain.dialogue). Must not
know packets, or what an answer says about a device. Time comes in with each call. `facts.Event` lists the names.

Each test is answered once in a connection. What a client did not get to hear was not asked, and is not an event.
"""

from __future__ import annotations

from cpe_filter.inspect.facts import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.clocks import PacketTime

#: Seconds within which a queue has tried again at least once: RFC 5321 section 4.5.4.1 asks for 30 minutes, and five
#: mail programs took 1 to 30 (docs/notify.md). A device that mails later, and has not tried again, did not return.
RETURN_WITHIN_S = 4 * 3600.0
#: Devices, and deferred envelopes of a device, that are remembered. The responder defers three of each address.
_DEVICES, _ENVELOPES = 64, 12
#: How the responder's replies are recognised: after 450, the status of a refusal that follows one; a line of EHLO's.
_RETURNED, _ODD = "5.7.0", "limits"
# What was asked in a connection and is open, and what its client has done.
_ODD_ASKED, _TLS_ASKED, _TLS_TAKEN, _EARLY, _HASTY, _MAILED = 1, 2, 4, 8, 16, 32


class Answering:
    """One connection. sender: a hash of its sender's domain."""

    __slots__ = ("_bits", "sender")

    def __init__(self) -> None:
        self._bits = 0
        self.sender = 0

    def event(self, event: Event) -> str:
        """What this event of the dialogue answers; "" if nothing."""
        kind, name, reply = event.kind, event.name, event.reply
        if kind == "violation":
            self._bits |= _EARLY if name == "early-talk" else _HASTY if name == "blind-pipelining" else 0
        elif kind == "greeting" and reply is not None and reply.before:
            return "talked-early" if self._bits & _EARLY else "waited"
        elif kind == "hello":
            return self._hello(event)
        elif kind == "reply" and name == "STARTTLS" and self._bits & _TLS_ASKED:
            self._bits = self._bits & ~_TLS_ASKED | _TLS_TAKEN
            return "took-tls"
        elif kind == "sender":
            self.sender = hash(name.rpartition("@")[2].lower())
            self._bits |= _MAILED
            if self._bits & _TLS_ASKED:
                self._bits &= ~_TLS_ASKED
                return "declined-tls"
        elif kind == "recipient":
            return self._coped(self._bits & _HASTY == 0)
        return ""

    def _hello(self, event: Event) -> str:
        bits, reply = self._bits, event.reply
        # It asks again, or by HELO: it could not read the reply. After STARTTLS it may.
        again = bits & (_ODD_ASKED | _MAILED | _TLS_TAKEN) == _ODD_ASKED
        for line in (*reply.before, reply.text[4:]) if event.number and reply is not None else ():
            if line == "STARTTLS" and not bits & _TLS_TAKEN:
                self._bits |= _TLS_ASKED
            elif line.startswith(_ODD):
                self._bits |= _ODD_ASKED
        return self._coped(False) if again or self._bits & _HASTY else ""

    def ended(self, quit_sent: bool) -> str:
        """The connection has ended. A client that says QUIT, or gives up because of STARTTLS, has read the reply."""
        gave_up = self._bits & (_ODD_ASKED | _MAILED | _TLS_TAKEN) == _ODD_ASKED and not quit_sent
        return self._coped(False) if gave_up else ""

    def _coped(self, well: bool) -> str:
        if not self._bits & _ODD_ASKED:
            return ""
        self._bits &= ~_ODD_ASKED
        return "coped" if well else "broke"


class ResponderAnswers:
    """All devices: which try again after 450. An envelope is kept as a hash of its domains, keyed as Python's."""

    def __init__(self) -> None:
        self._deferred: dict[bytes, dict[int, float]] = {}

    def returned(self, device: bytes, answering: Answering, event: Event, time: PacketTime) -> Event | None:
        """A recipient was refused: whether this is a further attempt. device: its key."""
        reply = event.reply
        if event.kind != "recipient" or reply is None:
            return None
        envelope = hash((answering.sender, event.name.rpartition("@")[2].lower()))
        deferred = self._deferred.get(device)
        if reply.code == 450:
            if deferred is None:
                if len(self._deferred) >= _DEVICES:
                    del self._deferred[next(iter(self._deferred))]
                deferred = self._deferred[device] = {}
            if len(deferred) < _ENVELOPES:
                deferred.setdefault(envelope, time)
        elif reply.text[4:9] == _RETURNED:
            since = deferred.pop(envelope, None) if deferred else None
            if deferred is not None and not deferred:
                del self._deferred[device]
            return Event("responder", "returned", None, 0 if since is None else int(time - since))
        return None

    def connected(self, device: bytes, time: PacketTime) -> list[Event]:
        """A device goes on mailing: what it should have tried again by now, and has not."""
        deferred = self._deferred.get(device)
        if not deferred:
            return []
        late = [envelope for envelope, since in deferred.items() if time - since > RETURN_WITHIN_S]
        for envelope in late:
            del deferred[envelope]
        if not deferred:
            del self._deferred[device]
        return [Event("responder", "did-not-return")] * len(late)
