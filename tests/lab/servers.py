"""The lab's mail servers: aiosmtpd on every address of the lab's Internet, one temper for each address.

`python -m tests.lab.servers LOGFILE` prints "ready" and serves until it is ended. The relay takes everything. A
stranger's temper follows the third number of its address (see `TEMPERS`). Each session ends as a line of JSON.

With `--taken FILE` each message is a line of JSON there as soon as it is taken: a session may last.

With `--rules`, servers refuse by the envelope, as those in `mtas` do, and offer AUTH in the clear; with
`--certificate FILE --key FILE` STARTTLS, too, all but one in N of them with `--plain-every N`.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import logging
import signal
import ssl
import sys
import time
from ipaddress import ip_address
from typing import Any, ClassVar, TextIO

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

#: By the last digit of a stranger's number; 8 refuses the connection and 9 is silent (see net).
TEMPERS = ("takes", "unknown", "listed", "unknown", "takes", "grey", "unknown", "listed", "takes", "takes")


def number_of(address: str) -> int | None:
    """Which stranger has this address (see `net`); None: it is the relay's."""
    packed = ip_address(address.split("%", maxsplit=1)[0]).packed
    if packed[:12] == bytes(10) + b"\xff\xff":
        packed = packed[12:]
    if len(packed) == 4:
        return packed[2] if packed[0] == 198 else None
    return None if packed[5] == 0xFF else packed[5]


def temper_of(address: str) -> str:
    """How the server at this address treats strangers."""
    number = number_of(address)
    return "relay" if number is None else TEMPERS[number % 10]


class Stranger:
    """aiosmtpd's hooks: answers by temper, and keeps a record."""

    #: Where a message is told of at once.
    taken: ClassVar[TextIO | None] = None

    def __init__(self) -> None:
        self.record: dict[str, Any] = {
            "server": "",
            "peer": "",
            "helo": None,
            "ehlo": False,
            "tls": False,
            "auth": "",
            "messages": [],
            "rcpt": [],
            "transactions": [],
        }

    def _meet(self, server: SMTP, session: Session) -> str:
        if not self.record["server"] and server.transport is not None:
            self.record["server"] = server.transport.get_extra_info("sockname")[0].removeprefix("::ffff:")
            self.record["peer"] = session.peer[0].removeprefix("::ffff:") if session.peer else ""
        return temper_of(self.record["server"])

    async def handle_HELO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> str:
        self._meet(server, session)
        self.record["helo"] = session.host_name = hostname
        return f"250 {server.hostname}"

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self._meet(server, session)
        self.record["helo"] = session.host_name = hostname
        self.record["ehlo"] = True
        self.record["tls"] = session.ssl is not None
        return responses

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        transaction: dict[str, Any] = {
            "mail_from": address or "<>",
            "rcpt_to": [],
            "recipients_accepted": 0,
            "outcome": "aborted",
            "bytes": None,
        }
        self.record["transactions"].append(transaction)
        answer = self._refusal_of_sender(address)
        if answer:
            transaction.update(outcome="rejected", rcpt_to=None)
            return answer
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    def _refusal_of_sender(self, address: str) -> str:
        return ""

    def _refusal_of_recipient(self, temper: str, address: str) -> str:
        return {
            "unknown": f"550 5.1.1 <{address}>: Recipient address rejected: User unknown in virtual mailbox table",
            "listed": f"554 5.7.1 Service unavailable; Client host [{self.record['peer']}] blocked using xbl.example",
            "grey": f"450 4.2.0 <{address}>: Recipient address rejected: Greylisted for 300 seconds",
        }.get(temper, "")

    def _refusal_of_message(self, envelope: Envelope) -> str:
        return ""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._refusal_of_recipient(self._meet(server, session), address)
        self.record["rcpt"].append([address, answer[:3] if answer else "250"])
        transaction = self.record["transactions"][-1]
        transaction["rcpt_to"].append(address)
        transaction["recipients_accepted"] += not answer
        transaction["outcome"] = "aborted" if transaction["recipients_accepted"] else "rejected"
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        # As on the wire: aiosmtpd has taken away the dot before each line that began with one.
        size = len(content) + content.startswith(b".") + content.count(b"\n.")
        answer = self._refusal_of_message(envelope)
        self.record["transactions"][-1].update(outcome="rejected" if answer else "accepted", bytes=size)
        if answer:
            return answer
        self.record["messages"].append({"mail_from": envelope.mail_from, "rcpt_to": envelope.rcpt_tos, "bytes": size})
        if self.taken:
            told = {"server": self.record["server"], "peer": self.record["peer"], "mail_from": envelope.mail_from}
            self.taken.write(json.dumps(told) + "\n")
        return "250 2.0.0 Ok: queued"


class Ruled(Stranger):
    """Refuses by the envelope; knows one user, for AUTH. Recipient `new@` is greylisted: put off for GREY_S."""

    USER, PASSWORD = b"ann", b"open-sesame-2718"
    GREY_S = 3.0
    #: (client, recipient) -> when it was put off first.
    _met: ClassVar[dict[tuple[str, str], float]] = {}

    def _refusal_of_sender(self, address: str) -> str:
        return "550 5.7.1 we know you" if address.startswith("spammer@") else ""

    def _refusal_of_recipient(self, temper: str, address: str) -> str:
        temper = {"nobody": "unknown", "later": "grey"}.get(address.partition("@")[0], "takes")
        if address.startswith("new@") and len(self._met) < 10_000:
            now = time.monotonic()
            if now - self._met.setdefault((self.record["peer"], address), now) < self.GREY_S:
                temper = "grey"
        return super()._refusal_of_recipient(temper, address)

    def _refusal_of_message(self, envelope: Envelope) -> str:
        return "554 5.7.1 this message is not wanted" if (envelope.mail_from or "").startswith("bulk@") else ""

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        """aiosmtpd's callback for PLAIN and LOGIN."""
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (self.USER, self.PASSWORD)
        self.record["auth"] = mechanism if right else ""
        return AuthResult(success=right, handled=False)

    async def auth_CRAM__MD5(self, server: SMTP, arguments: list[str]) -> AuthResult:
        """RFC 2195, which aiosmtpd leaves to its users."""
        challenge = b"<1896.697170952@mx.lab.example>"
        answer = await server.challenge_auth(challenge, encode_to_b64=True)
        if not isinstance(answer, bytes):
            return AuthResult(success=False, handled=True)
        right = self.USER + b" " + hmac.new(self.PASSWORD, challenge, "md5").hexdigest().encode()
        success = hmac.compare_digest(answer, right)
        self.record["auth"] = "CRAM-MD5" if success else ""
        return AuthResult(success=success, handled=False, auth_data=self.USER)


class LoggingSMTP(SMTP):
    """aiosmtpd that writes its handler's record when the connection is gone."""

    log = sys.stdout
    plain_every = 0
    _held = b""

    async def push(self, status: str | bytes) -> None:
        """Sends a reply whole, as other servers do; aiosmtpd sends each line on its own."""
        line = status if isinstance(status, bytes) else status.encode("utf-8" if self.enable_SMTPUTF8 else "ascii")
        if line[3:4] == b"-":
            self._held += line + b"\r\n"
        else:
            line, self._held = self._held + line, b""
            await super().push(line)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Called again when TLS begins; aiosmtpd asks for its context only before.
        number = number_of(transport.get_extra_info("sockname")[0])
        if self.plain_every and number is not None and number % self.plain_every == 0:
            self.tls_context = None
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        record = self.event_handler.record
        if not record["server"] and self.transport is not None:
            record["server"] = self.transport.get_extra_info("sockname")[0].removeprefix("::ffff:")
        record["lost"] = error is not None
        self.log.write(json.dumps(record) + "\n")
        self.log.flush()
        super().connection_lost(error)


async def main(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    LoggingSMTP.log = open(options.log, "a", buffering=1)  # noqa: ASYNC230 - open as long as the program runs
    if options.taken:
        Stranger.taken = open(options.taken, "a", buffering=1)  # noqa: ASYNC230
    LoggingSMTP.plain_every = options.plain_every
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    # aiosmtpd warns of its own attributes at each AUTH.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    more: dict[str, Any] = {}
    if options.certificate:
        more["tls_context"] = context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate, options.key)
        context.num_tickets = 0  # nobody resumes a session here, and a recording is shorter without

    def make() -> LoggingSMTP:
        handler: Stranger = Stranger()
        if options.rules:
            handler = ruled = Ruled()
            more.update(auth_require_tls=False, authenticator=ruled.authenticate)
        return LoggingSMTP(handler, hostname="mx.lab.example", enable_SMTPUTF8=True, loop=loop, **more)

    for host in ("0.0.0.0", "::"):
        await loop.create_server(make, host, 25, backlog=512)
    print("ready", flush=True)
    await ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("log")
    parser.add_argument("--taken")
    parser.add_argument("--rules", action="store_true")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--plain-every", type=int, default=0)
    asyncio.run(main(parser.parse_args()))
