"""The lab's mail servers: aiosmtpd on every address of the lab's Internet, one temper for each address.

`python -m tests.lab.servers LOGFILE` prints "ready" and serves until it is ended. The relay takes everything. A
stranger's temper follows the third number of its address (see `TEMPERS`). Each session ends as a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from ipaddress import ip_address
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

#: By the last digit of a stranger's number; 8 refuses the connection and 9 is silent (see net).
TEMPERS = ("takes", "unknown", "listed", "unknown", "takes", "grey", "unknown", "listed", "takes", "takes")


def temper_of(address: str) -> str:
    """How the server at this address treats strangers."""
    packed = ip_address(address.split("%", maxsplit=1)[0]).packed
    if packed[:12] == bytes(10) + b"\xff\xff":
        packed = packed[12:]
    if len(packed) == 4:
        return TEMPERS[packed[2] % 10] if packed[0] == 198 else "relay"
    number = packed[5]
    return "relay" if number == 0xFF else TEMPERS[number % 10]


class Stranger:
    """aiosmtpd's hooks: answers by temper, and keeps a record."""

    def __init__(self) -> None:
        self.record: dict[str, Any] = {
            "server": "",
            "peer": "",
            "helo": None,
            "ehlo": False,
            "messages": [],
            "rcpt": [],
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
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        temper = self._meet(server, session)
        answer = {
            "unknown": f"550 5.1.1 <{address}>: Recipient address rejected: User unknown in virtual mailbox table",
            "listed": f"554 5.7.1 Service unavailable; Client host [{self.record['peer']}] blocked using xbl.example",
            "grey": f"450 4.2.0 <{address}>: Recipient address rejected: Greylisted for 300 seconds",
        }.get(temper)
        self.record["rcpt"].append([address, answer[:3] if answer else "250"])
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        self.record["messages"].append(
            {"mail_from": envelope.mail_from, "rcpt_to": envelope.rcpt_tos, "bytes": len(content)}
        )
        return "250 2.0.0 Ok: queued"


class LoggingSMTP(SMTP):
    """aiosmtpd that writes its handler's record when the connection is gone."""

    log = sys.stdout

    def connection_lost(self, error: Exception | None) -> None:
        record = self.event_handler.record
        if not record["server"] and self.transport is not None:
            record["server"] = self.transport.get_extra_info("sockname")[0].removeprefix("::ffff:")
        record["lost"] = error is not None
        self.log.write(json.dumps(record) + "\n")
        self.log.flush()
        super().connection_lost(error)


async def main(path: str) -> None:
    loop = asyncio.get_running_loop()
    LoggingSMTP.log = open(path, "a", buffering=1)  # noqa: ASYNC230 - open as long as the program runs
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)

    def make() -> LoggingSMTP:
        return LoggingSMTP(Stranger(), hostname="mx.lab.example", enable_SMTPUTF8=True, loop=loop)

    for host in ("0.0.0.0", "::"):
        await loop.create_server(make, host, 25, backlog=512)
    print("ready", flush=True)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
