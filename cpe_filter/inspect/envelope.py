"""The envelope: what the server has agreed to, and the transactions that came of it.

Knows RFC 5321 section 3.3 and RFC 3030. Must not know bytes, lines or how replies found their commands. Only replies
change it; a reply that was not seen (None) counts as agreement.
"""

from __future__ import annotations

from cpe_filter.inspect.address import NULL_SENDER
from cpe_filter.inspect.facts import Event, Limits, Reply, Transaction
from cpe_filter.inspect.states import MAIL, NEW, RCPT, READY


class Envelope:
    """State of a session's mail transactions. `transactions` keeps some, the counts go on."""

    __slots__ = ("_limits", "_strays", "count", "current", "messages", "recipients", "state", "transactions")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.state = NEW
        self.current: Transaction | None = None
        self.transactions: tuple[Transaction, ...] = ()
        self.count = 0
        self.messages = 0  # accepted ones
        self.recipients = 0  # RCPT commands that were answered
        # Recipients that were refused because MAIL was missing; None once refused content without MAIL was counted.
        self._strays: tuple[str, ...] | None = ()

    def open(self, mail_from: str | None) -> Transaction:
        """A transaction begins: with MAIL, or (None) with content that came without it."""
        transaction = Transaction(mail_from if mail_from is None or self._limits.names else "")
        self.current = transaction
        self.count += 1
        if len(self.transactions) < self._limits.transactions:
            self.transactions += (transaction,)
        return transaction

    def greeted(self) -> None:
        """HELO or EHLO was agreed to: the envelope is reset (RFC 5321 section 4.1.4)."""
        self.reset()
        self.state = READY

    def reset(self) -> None:
        """RSET, or a new MAIL: ends the transaction that was begun."""
        self._strays = ()
        if self.current is not None:
            self.current.end()
            self.current = None
        if self.state != NEW:
            self.state = READY

    def sender(self, name: str, agreed: bool) -> None:
        """MAIL was answered. A refused MAIL inside a transaction is nested and does not change the transaction."""
        if agreed or self.current is None or self.state == READY:
            self.reset()
            self.open(name).refused = not agreed
            if agreed:
                self.state = MAIL

    def recipient(self, name: str, agreed: bool) -> None:
        """RCPT was answered."""
        transaction = self.current
        if transaction is None and agreed:
            transaction = self.open(None)
        if transaction is not None:
            transaction.recipients += 1
            transaction.accepted += agreed
            transaction.keep(name, self._limits.recipients)
        elif self._strays is not None and len(self._strays) < self._limits.recipients:
            self._strays += (name,)
        if agreed:
            self.state = RCPT
        self.recipients += 1

    def content_refused(self) -> None:
        """DATA or a chunk was refused. Without a transaction it counts as an attempt, once until HELO, MAIL or RSET."""
        if self.current is not None:
            self.current.refused = True
        elif self._strays is not None:
            strays = self._strays
            attempt = self.open(None)
            attempt.refused = True
            attempt.recipients = len(strays)
            for name in strays:
                attempt.keep(name, len(strays))
            self.reset()
            self._strays = None

    def count_content(self, size: int) -> None:
        if self.current is not None:
            self.current.size += size

    def content_ends(self) -> None:
        """All of the message has been sent."""
        if self.current is not None:
            self.current.size = max(0, self.current.size)
            self.current.content_sent = True

    def finish(self, reply: Reply | None) -> Event:
        """The final reply to a message (RFC 5321 section 4.1.1.4), as an event."""
        transaction, self.current = self.current, None
        sender, size = NULL_SENDER, 0
        if transaction is not None:
            sender, size = transaction.mail_from or (NULL_SENDER if self._limits.names else ""), transaction.size
            if reply is not None:
                transaction.outcome = "accepted" if reply.positive else "rejected"
                self.messages += reply.positive
        if self.state != NEW:
            self.state = READY
        return Event("message", sender, reply, size)

    def abandon(self) -> None:
        """The outcome of the transaction will not be seen: it stays open."""
        self.current = None

    def close(self, one_side_only: bool) -> None:
        """The connection has ended. A complete message stays open if no server was seen: its fate is unknown."""
        if self.current is not None:
            if not (self.current.content_sent and one_side_only):
                self.current.end()
            self.current = None
