"""The responder's SMTP dialogue with one client. It refuses every recipient, so it never gets beyond RCPT.

Knows SMTP up to RCPT, the bounds of one dialogue, and how a question is put (`questions` decides which). Must not know
sockets, clocks or devices. Nothing that a client says is kept.
"""

from __future__ import annotations

from cpe_filter.explain.questions import LATER, NOW, ConnectionTests

#: RFC 5321 sections 4.5.3.1.4 and 4.5.3.1.5. A client may have that many before its CR LF; a reply has it in all.
MAX_LINE_BYTES = 512
#: The most bytes and commands of a connection: enough for the 100 recipients of section 4.5.3.1.8.
MAX_BYTES = 16 << 10
MAX_COMMANDS = 120
#: Commands that are unknown, malformed or out of order.
MAX_MISTAKES = 10

#: A name that no host can have (RFC 2606), so no client takes the server for itself and reports a loop.
_NAME = b"gateway.invalid"
GREETING = b"220 %s ESMTP\r\n" % _NAME
#: The same in two parts (RFC 5321 section 4.2).
_GREETING_BEGINS = b"220-%s ESMTP\r\n" % _NAME
#: Only true statements: addresses and content may have any bytes, because none are read. Without SMTPUTF8 clients would
#: give up mail to international addresses on their own, and their users would never read why.
_EHLO_BEGINS = b"250-%s\r\n" % _NAME
_STARTTLS = b"250-STARTTLS\r\n"
#: A keyword in lower case (RFC 5321 section 4.1.1.1) that few know (RFC 9422), and digits like codes of replies. No
#: longer and no odder than what large providers send, so that who copes with these copes with it.
_ODD = b"250-limits RCPTMAX=100 MAILMAX=550\r\n"
_EHLO = b"250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"
_OK = b"250 2.0.0 ok\r\n"
_SENDER_OK = b"250 2.1.0 ok\r\n"
_SENDER_OK_ODD = b"250-2.1.0 ok 354-450-554\r\n250 2.1.0 %s\r\n" % _NAME
_BYE = b"221 2.0.0 bye\r\n"
_NO_RECIPIENTS = b"554 5.5.1 no valid recipients\r\n"
_UNKNOWN = b"500 5.5.2 unknown command\r\n"
_TOO_LONG = b"500 5.5.2 line too long\r\n"
_MALFORMED = b"501 5.5.4 syntax error\r\n"
_NOT_HERE = b"502 5.5.1 not available here\r\n"
_OUT_OF_ORDER = b"503 5.5.1 bad sequence of commands\r\n"
SHUTTING_DOWN = b"421 4.3.2 %s shuts down\r\n" % _NAME
TIMED_OUT = b"421 4.4.2 %s waited too long\r\n" % _NAME
_TOO_MUCH = b"421 4.7.0 %s heard too much\r\n" % _NAME
_TOO_MANY_MISTAKES = b"421 4.7.0 %s heard too many errors\r\n" % _NAME
TOO_MANY = b"421 4.7.0 %s has too many connections\r\n" % _NAME

#: Commands that end what MAIL began, and their replies.
_RESETS = {b"HELO": b"250 %s\r\n" % _NAME, b"RSET": _OK}
#: Commands that a server may lack.
_UNAVAILABLE = (b"VRFY", b"EXPN", b"AUTH", b"STARTTLS", b"ETRN", b"TURN")
#: First words of browsers and proxies. They get no reply, because they might misuse one.
_HTTP = (b"GET", b"POST", b"PUT", b"HEAD", b"CONNECT", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE", b"PRI")
#: A TLS record with a handshake (RFC 8446 section 5.1).
_TLS = b"\x16\x03"


def fold(code: int, status: str, text: str) -> bytes:
    """An SMTP reply of as many lines as `text` needs; each has code and status (RFC 5321 section 4.2, RFC 2034).

    text: printable US-ASCII, no word longer than 400 bytes. One line if it fits, because some clients show only one.
    """
    width = MAX_LINE_BYTES - len(f"{code} {status} \r\n")
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    last = len(lines) - 1
    out = (f"{code}{' ' if n == last else '-'}{status} {line}\r\n" for n, line in enumerate(lines))
    return "".join(out).encode("ascii")


class Texts:
    """The policy's text in every reply that has it: `now`, `later` and `returned` to RCPT, `no_tls`, `help`."""

    __slots__ = ("help", "later", "no_tls", "now", "returned")

    def __init__(self, text: str) -> None:
        self.now = fold(554, "5.7.1", text)
        self.later = fold(450, "4.7.1", text)
        # The status is how the filter recognises it; to people it says the same (RFC 3463 section 3.8).
        self.returned = fold(554, "5.7.0", text)
        self.no_tls = fold(454, "4.7.0", text)
        self.help = fold(214, "2.0.0", text)


class Dialogue:
    """One client's SMTP: bytes go in by `receive`, replies come out of `reply`. No socket, no clock.

    The connection begins with `greeting`. is_closed: after the reply given last the connection ends. refused:
    recipients refused so far. pauses: what was given last is the beginning of a reply, and `reply` gives the rest.
    """

    __slots__ = (
        *("is_closed", "refused", "_texts", "_tests", "_rest", "_sender", "_buffer", "_bytes"),
        *("_commands", "_mistakes", "_mail", "_swallow", "_long"),
    )

    def __init__(self, texts: Texts, tests: ConnectionTests | None = None) -> None:
        self.is_closed = False
        self.refused = 0
        self._texts = texts
        self._tests = tests
        self._rest = b""  # of a reply that has begun
        self._sender = b""  # what followed MAIL; while a recipient may be deferred
        self._buffer = bytearray()
        self._bytes = self._commands = self._mistakes = 0
        self._mail = False  # a transaction is open
        self._swallow = 0  # bytes of a BDAT chunk that are yet to come
        self._long = False  # in a line that is too long already

    @property
    def pauses(self) -> bool:
        return self._rest != b""

    def greeting(self) -> bytes:
        """The first reply, or its beginning."""
        if self._tests is None or not self._tests.patience:
            return GREETING
        self._rest = GREETING
        return _GREETING_BEGINS

    def receive(self, data: bytes) -> None:
        """Takes bytes from the client. Call it when `reply` has nothing more to say, or `pauses`."""
        self._bytes += len(data)
        self._buffer += data

    def reply(self) -> bytes:
        """The next reply; b"" when the client must speak first, or when it `is_closed`."""
        if self.is_closed:
            return b""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        if self._bytes > MAX_BYTES:
            return self._end(_TOO_MUCH)
        buffer = self._buffer
        if self._swallow:
            taken = min(self._swallow, len(buffer))
            del buffer[:taken]
            self._swallow -= taken
        if buffer.startswith(_TLS) and not self._long:
            return self._end(b"")
        # A bare LF ends a line, too: bots send it, and nothing can be smuggled, because no content is accepted.
        end = buffer.find(b"\n")
        if end < 0:
            if len(buffer) > MAX_LINE_BYTES + 1:  # the CR of its end may be there
                self._long = True
                buffer.clear()
            return b""
        line = bytes(buffer[:end]).removesuffix(b"\r")
        del buffer[: end + 1]
        self._commands += 1
        if self._commands > MAX_COMMANDS:
            return self._end(_TOO_MUCH)
        if self._long or len(line) > MAX_LINE_BYTES:
            self._long = False
            return self._mistake(_TOO_LONG)
        return self._command(line)

    def _command(self, line: bytes) -> bytes:
        words = line.split(None, 1)
        verb = words[0].upper() if words else b""
        rest = words[1] if len(words) > 1 else b""
        if verb in _WITH_PARAMETERS:
            return _WITH_PARAMETERS[verb](self, rest)
        if verb in _RESETS:
            self._mail, self._sender = False, b""
            return _RESETS[verb]
        if verb == b"DATA":
            return _NO_RECIPIENTS if self._mail else self._mistake(_OUT_OF_ORDER)
        if verb == b"QUIT":
            return self._end(_BYE)
        if verb in _HTTP:
            return self._end(b"")
        if verb == b"NOOP":
            return _OK
        if verb == b"HELP":
            return self._texts.help
        if verb == b"STARTTLS" and self._tests is not None and self._tests.starttls:
            self._tests.took_tls = True
            return self._texts.no_tls
        return self._mistake(_NOT_HERE if verb in _UNAVAILABLE else _UNKNOWN)

    def _extensions(self, rest: bytes) -> bytes:
        """EHLO."""
        self._mail, self._sender = False, b""
        tests = self._tests
        rest = _EHLO
        if tests is not None:
            tests.ehlo = True
            rest = (_STARTTLS if tests.starttls else b"") + (_ODD if tests.odd else b"") + _EHLO
            if tests.slowly:
                tests.slowly = False  # once
                self._rest = rest
                return _EHLO_BEGINS
        return _EHLO_BEGINS + rest

    def _refusal(self, rest: bytes) -> bytes:
        """RCPT, in order or not, well-formed or not: the explanation is the purpose of the dialogue."""
        self.refused += 1
        how = NOW
        if self._tests is not None and self._mail:
            how = self._tests.refusal(self._sender, rest)
        return self._texts.now if how == NOW else self._texts.later if how == LATER else self._texts.returned

    def _mail_from(self, rest: bytes) -> bytes:
        """MAIL."""
        if self._mail:
            return self._mistake(_OUT_OF_ORDER)
        if rest[:4].upper() != b"FROM":
            return self._mistake(_MALFORMED)
        self._mail = True
        if self._tests is None:
            return _SENDER_OK
        self._sender, self._tests.mail = rest, True
        return _SENDER_OK_ODD if self._tests.odd else _SENDER_OK

    def _bdat(self, rest: bytes) -> bytes:
        """The chunk comes in any case (RFC 3030 section 2). One that is too large ends the connection at its end."""
        size = rest.split(None, 1)[0] if rest else b""
        if not size.isdigit() or len(size) > 20:
            return self._mistake(_MALFORMED)
        self._swallow = int(size)
        return self._mistake(_OUT_OF_ORDER)

    def _mistake(self, reply: bytes) -> bytes:
        self._mistakes += 1
        return self._end(_TOO_MANY_MISTAKES) if self._mistakes > MAX_MISTAKES else reply

    def _end(self, reply: bytes) -> bytes:
        self.is_closed = True
        self._rest = b""
        self._buffer.clear()
        return reply


_WITH_PARAMETERS = {
    b"EHLO": Dialogue._extensions,
    b"MAIL": Dialogue._mail_from,
    b"RCPT": Dialogue._refusal,
    b"BDAT": Dialogue._bdat,
}
