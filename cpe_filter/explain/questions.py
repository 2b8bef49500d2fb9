"""What the responder asks its clients, and which it has asked: what mail programs and bots answer differently.

Knows client addresses and what was asked of each. Must not know sockets, devices or what an answer means: the filter
reads along and judges (engine.responder_answers). Time comes in with each call.

No test may cost a person the explanation. So a reply that defers has the same text as the one that refuses. A client
gets 450 only for its first `MOST_DEFERRED` envelopes of a day, and not at all for a week once it has come back; each
envelope is refused at its second attempt. It has to wait in `MOST_WAITS` connections. STARTTLS is not offered for a
week to a client that gave up because of 454, and again if it then gives up because STARTTLS is not offered: programs
that insist on it read the explanation in the reply to it. A client that finds no room in the table is asked nothing
that needs one.

Nothing that a client says is kept, but a number for each deferred envelope: a keyed hash (Python's, with a new key at
each start) of the domains, with 8 bits of a hash of the local-parts. One in 256 other envelopes between these domains
has the same number, so it does not name a person.
"""

from __future__ import annotations

from cpe_filter.lean.clocks import Mono

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from cpe_filter.policy.model import ExplainTable

    Refusal = Literal["now", "later", "returned"]

# How a recipient is refused.
NOW: Refusal = "now"  # for good
LATER: Refusal = "later"  # for now: does it try again?
RETURNED: Refusal = "returned"  # for good, after `LATER`
#: Clients that are remembered, and how long: after the first question, or after one has come back.
MOST_CLIENTS, ASKED_S, KNOWN_S = 128, 86400.0, 7 * 86400.0
#: Envelopes of a client that are deferred, and its connections that have to wait, while it is remembered.
MOST_DEFERRED, MOST_WAITS = 3, 20
# Whether STARTTLS is offered to a client: it is; no, because it gave up; it is, because it gave up without.
_OFFER, _OMIT, _INSISTS = range(3)
#: Seconds before a second attempt counts as one. Sooner it is the next MX of the same attempt (RFC 5321 section 5.1),
#: and is deferred again. Queues wait for a minute at least.
RETURN_AFTER_S = 20.0


class _Client:
    """until: when it is forgotten. deferred: by envelope, since when. known: it has come back.

    tls: what is known of it and STARTTLS. waits: connections that had to wait.
    """

    __slots__ = ("deferred", "known", "tls", "until", "waits")

    def __init__(self, until: float) -> None:
        self.until = until
        self.deferred: dict[int, float] = {}
        self.known = False
        self.tls = _OFFER
        self.waits = 0


class Questions:
    """All clients. `of` gives what one connection is asked."""

    def __init__(self, explain: ExplainTable, return_after_s: float = RETURN_AFTER_S) -> None:
        on = explain.tests
        self._patience = on and explain.test_patience
        self._replies = on and explain.test_replies
        self._starttls = on and explain.test_starttls
        self._retry = on and explain.test_retry
        self._return_after_s = return_after_s
        self._clients: dict[bytes, _Client] = {}

    def of(self, address: bytes, alone: bool, now: Mono) -> ConnectionTests | None:
        """What a new connection from this address is asked; None: nothing.

        alone: it may be made to wait, because the client has no other connection, and there is room for others.
        """
        if not (self._patience or self._replies or self._starttls or self._retry):
            return None
        client = self._client(address, now)
        if client is None:
            return ConnectionTests(self, None, False, self._replies, False, False)
        waits = alone and (self._patience or self._replies) and client.waits < MOST_WAITS
        client.waits += waits
        tls = self._starttls and client.tls != _OMIT
        return ConnectionTests(self, client, self._patience and waits, self._replies, self._replies and waits, tls)

    def _client(self, address: bytes, now: Mono) -> _Client | None:
        clients = self._clients
        client = clients.get(address)
        if client is not None and now < client.until:
            return client
        if client is None and len(clients) >= MOST_CLIENTS:
            self._clients = clients = {key: other for key, other in clients.items() if now < other.until}
            if len(clients) >= MOST_CLIENTS:
                return None
        clients[address] = client = _Client(now + ASKED_S)
        return client

    def refusal(self, client: _Client, envelope: int, now: Mono) -> Refusal:
        """How a recipient is refused."""
        since = client.deferred.get(envelope)
        if since is None:
            if not self._retry or client.known or len(client.deferred) >= MOST_DEFERRED:
                return NOW
            client.deferred[envelope] = now
            return LATER
        if since < 0.0:  # it has come back before
            return NOW
        if now - since < self._return_after_s:
            return LATER
        client.deferred[envelope] = -1.0
        client.known, client.until = True, now + KNOWN_S
        return RETURNED


class ConnectionTests:
    """What one connection is tested for: patience, odd replies, these with a pause (`slowly`), STARTTLS.

    The dialogue sets how far it came: EHLO, STARTTLS although it is refused, MAIL. The responder sets the time of what
    it reads.
    """

    __slots__ = (
        *("_client", "_questions", "odd", "patience", "slowly", "starttls"),
        *("ehlo", "mail", "time", "took_tls"),
    )

    def __init__(
        self, questions: Questions, client: _Client | None, patience: bool, odd: bool, slowly: bool, starttls: bool
    ) -> None:
        self._questions = questions
        self._client = client
        self.patience = patience
        self.odd = odd
        self.slowly = slowly
        self.starttls = starttls
        self.ehlo = self.took_tls = self.mail = False
        self.time = Mono(0.0)

    def ended(self) -> None:
        """The connection has ended: whether to offer STARTTLS to this client the next time."""
        client = self._client
        if client is None or self.mail:
            return
        if self.took_tls and client.tls == _OFFER:
            client.tls, client.until = _OMIT, max(client.until, self.time + KNOWN_S)
        elif self.ehlo and client.tls == _OMIT and not self.starttls:
            client.tls = _INSISTS

    def refusal(self, sender: bytes, recipient: bytes) -> Refusal:
        """How a recipient is refused. sender, recipient: what followed MAIL and RCPT."""
        path = _path(sender)
        if self._client is None or not path:  # a bounce (RFC 5321 section 4.5.5)
            return NOW
        return self._questions.refusal(self._client, _envelope(path, _path(recipient)), self.time)


def _path(argument: bytes) -> bytes:
    """The address in `FROM:<a@b> SIZE=1`; empty for the null sender. RFC 5321 section 4.1.2, loosely."""
    rest = argument.partition(b":")[2].strip()
    path = rest.partition(b"<")[2].partition(b">")[0] if b"<" in rest else rest.partition(b" ")[0]
    return path.strip().lower()


def _envelope(sender: bytes, recipient: bytes) -> int:
    """The number of an envelope (see above)."""
    (local, _, domain), (other_local, _, other_domain) = sender.rpartition(b"@"), recipient.rpartition(b"@")
    return hash((domain, other_domain, hash((local, other_local)) & 0xFF))
