"""How much a client sends in TLS when it is refused, and when it delivers a message: measured with real programs.

`python -m tests.evaluate.sealed --record` (root, after `make peers`; 4 minutes) plays sessions in the lab, each program
to each server with each of `CASES`, and prints a table of bytes after the ClientHello. With captures as arguments it
lists their sessions in TLS. `talk` has its ranges from here. On 2026-11-23:

    bytes after the ClientHello     n     min  median     max
    handshake failed               18       0       0       0
    recipient refused              28     259     301     711
    20 recipients refused          23     260    1381    2402
    sender refused                 19     207     249     622
    least message                  28     337     561     768
    one line                       28     469     581     896
    mail of 1 kB                   28    1345    1452    1873
    mail of 3 kB                   28    3316    3429    4438
    refused after content          19    1347    1446    1847
    put off                        28     258     300     711

By TLS 1.3, or 1.2 with elliptic curves, one recipient refused is 349 at most; RSA adds 225, Diffie-Hellman of finite
fields with CBC 362. Each further recipient adds about 55, pipelined about 35. Who is turned away sends less than the
least mail with headers (469), unless its handshake is old or its recipients are many; more than 2402 is a message. A
message of some words without headers is not told from a refusal. A client's certificate (2 kB or so) and a second
ClientHello after a HelloRetryRequest (RFC 8446 section 4.1.4) would count, too; none of the programs sent one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cpe_filter.inspect.facts import Limits
from cpe_filter.inspect.packet import SYN, Segment, parse
from cpe_filter.inspect.session import Session
from cpe_filter.replay.capture import frames
from tests.ip_packets import network_layer
from tests.lab import boxes
from tests.lab.clients import HOME, ONE_BY_ONE, Letter, Want
from tests.lab.mtas import Mta
from tests.lab.net import PYTHON, Lab, mx4
from tests.lab.peers import ANN, AWAY, BEN, LATER, MTAS, NOBODY, Aiosmtpd, Certificate, Server
from tests.lab.postfix import Postfix


class Seen(NamedTuple):
    """A session in TLS. size: bytes after the ClientHello, None where its end was not seen."""

    server: bytes
    fingerprint: str
    size: int | None


def seen_in(path: str, port: int = 25) -> list[Seen]:
    """The sessions in TLS of a capture, in the order in which they began."""
    sessions: list[Session] = []
    running: dict[tuple[bytes, int, bytes], Session] = {}
    for frame in frames(path, lambda text: None):
        found = network_layer(frame)
        segment = parse(found[1]) if found else ""
        if not isinstance(segment, Segment) or port not in (segment.sport, segment.dport):
            continue
        to = segment.dport == port
        key = (segment.src, segment.sport, segment.dst) if to else (segment.dst, segment.dport, segment.src)
        session = running.get(key)
        if session is None or (to and segment.flags & SYN and session.is_new_attempt(segment)):
            session = running[key] = Session(segment, frame.time, Limits(), to)
            sessions.append(session)
        session.segment(segment, frame.time, to)
    found_out = []
    for session in sessions:
        if not session.closed:
            session.end_of_input()
        told = {event.kind: event for event in session.dialogue.events}
        if "fingerprint" in told:
            size = told["tls-bytes"].number if "tls-bytes" in told else None
            found_out.append(Seen(session.server, told["fingerprint"].name, size))
    return found_out


# ── sessions of real programs ───────────────────────────────────────────────────────────────────


class Short(Letter):
    """The least that people's scripts send: a subject and a line."""

    def text(self) -> str:
        return "Subject: hi\n\nhello\n"


class Notice(Letter):
    """A line with the headers that a program adds which knows how mail is written (RFC 5322 section 3.6)."""

    def text(self) -> str:
        return "".join(Letter.text(self).partition("Hello,\n")[:2])


_TWENTY = tuple(f"nobody@friends{n}.example" for n in range(20))
#: What is measured: name -> letter. The one put off is last: it stays in a sender's queue.
CASES: dict[str, Letter] = {
    "recipient refused": Letter(ANN, (NOBODY,)),
    "20 recipients refused": Letter(ANN, _TWENTY),
    "sender refused": Letter("spammer@home.example", (BEN,)),
    "least message": Short(ANN, (BEN,)),
    "one line": Notice(ANN, (BEN,)),
    "mail of 1 kB": Letter(ANN, (BEN,), 800),
    "mail of 3 kB": Letter(ANN, (BEN,), 2800),
    "refused after content": Letter("bulk@home.example", (BEN,), 800),
    "put off": Letter(ANN, (LATER,)),
}
FAILED = "handshake failed"
#: A client that sent no more than this came to no command: Finished takes 80 bytes (TLS 1.3) or more, an alert 7.
HANDSHAKE = 120
EMPTY = ("recipient refused", "20 recipients refused", "sender refused", "put off")

#: smtplib by these handshakes: what it asks of ssl. A server that does not want it ends the handshake.
HANDSHAKES = {"TLS 1.3": "", "TLS 1.2": "", "TLS 1.2 RSA": "AES128-GCM-SHA256", "TLS 1.2 DHE": "DHE-RSA-AES256-SHA"}
_SMTPLIB = """
import json, smtplib, ssl, sys
server, version, ciphers, sender, recipients, text = json.load(sys.stdin)
context = ssl._create_unverified_context()
if version != "TLS 1.3":
    context.maximum_version = ssl.TLSVersion.TLSv1_2
if ciphers:
    context.set_ciphers(ciphers)
with smtplib.SMTP(server, 25, local_hostname="laptop.home.example", timeout=20) as smtp:
    smtp.starttls(context=context)
    smtp.sendmail(sender, recipients, text)
"""
CLIENTS = (*(f"smtplib {name}" for name in HANDSHAKES), *ONE_BY_ONE, *MTAS)
SERVERS = {"aiosmtpd": 40, "postfix": 10, "exim": 30}


def _deliver(client: str, lab: Lab, to: str, ends: list[Mta]) -> Callable[[Letter], None]:
    """How a client brings a letter to a server. An MTA is started by this, and put into `ends` to be ended."""
    if client in ONE_BY_ONE:
        return lambda letter: ONE_BY_ONE[client](lab, Want(to, tls=True), letter)
    if client in MTAS:
        sender = MTAS[client](lab, HOME)
        ends.append(sender)
        sender.send_through(to, True, False)

        def submit(letter: Letter) -> None:
            if letter.recipients != (BEN,):
                letter = letter._replace(sender="")  # else a bounce goes the same way, even in the same connection
            sender.submit(letter.sender, list(letter.recipients), letter.text())
            sender.idle()  # Exim sends when it is asked

        return submit
    handshake = client.removeprefix("smtplib ")

    def smtplib(letter: Letter) -> None:
        given = [to, handshake[:7], HANDSHAKES[handshake], letter.sender, letter.recipients, letter.text()]
        lab.run(HOME, [PYTHON, "-c", _SMTPLIB], json.dumps(given), check=False)

    return smtplib


class Measured(NamedTuple):
    """What a case took. size: bytes after the ClientHello."""

    case: str
    size: int
    who: str


def record(client: str, server: str) -> Iterator[Measured]:
    """Plays all cases from a client to a server."""
    to = mx4(SERVERS[server])
    ends: list[Mta] = []
    with Lab(devices=1) as lab:
        serving: Server = Aiosmtpd(lab, AWAY) if server == "aiosmtpd" else MTAS[server](lab, AWAY)
        try:
            serving.serve(to, Certificate(lab.folder))
            if isinstance(serving, Postfix):  # nobody at any domain
                rules = "nobody@ 550 5.1.1 User unknown\nlater@ 450 4.2.0 Greylisted for 300 seconds\n"
                serving.box.write("etc/postfix/recipients", rules)
            deliver = _deliver(client, lab, to, ends)
            for number, (case, letter) in enumerate(CASES.items()):
                if client in MTAS and letter.sender != ANN:
                    continue  # it would bounce to itself
                path = lab.folder / f"{number}.pcap"
                tcpdump = lab.capture("router", "br-lan", path)
                deliver(letter)
                size = _first_size(path)
                lab.stop(tcpdump)
                if size is not None:
                    yield Measured(case if size > HANDSHAKE else FAILED, size, f"{client} to {server}")
        finally:
            for mta in (*ends, serving):
                mta.close()


def _first_size(path: Path, timeout: float = 40) -> int | None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        time.sleep(0.2)
        if path.stat().st_size > 24:
            for seen in seen_in(str(path)):
                if seen.size is not None:
                    return seen.size
    return None


# ── the table ───────────────────────────────────────────────────────────────────────────────────


def table(measured: list[Measured]) -> list[str]:
    """A line for each case: how many, smallest, median, largest, and who sent the smallest and the largest."""
    lines = [f"{'bytes after the ClientHello':28}    n     min  median     max"]
    for case in (FAILED, *CASES):
        rows = sorted((row.size, row.who) for row in measured if row.case == case)
        if rows:
            sizes = [size for size, _ in rows]
            numbers = f"{len(rows):5}{sizes[0]:8}{sizes[len(rows) // 2]:8}{sizes[-1]:8}"
            lines.append(f"{case:28}{numbers}  {rows[0][1]} .. {rows[-1][1]}")
    return lines


def thresholds(measured: list[Measured]) -> tuple[int, int]:
    """The least that a mail with headers took, and the most that one took which was turned away."""
    least = min((row.size for row in measured if row.case == "one line"), default=0)
    return least, max((row.size for row in measured if row.case in EMPTY), default=0)


def record_all() -> list[Measured]:
    """Each client to each server, several at a time; what could not be played is told on stderr."""
    measured: list[Measured] = []

    def play(pair: tuple[str, str]) -> None:
        try:
            measured.extend(record(*pair))
        except (RuntimeError, OSError) as error:
            print(f"{' to '.join(pair)}: {error}", file=sys.stderr)

    with ThreadPoolExecutor(4) as pool:  # they mostly wait, each in a lab of its own
        list(pool.map(play, [(client, server) for client in CLIENTS for server in SERVERS]))
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.evaluate.sealed")
    parser.add_argument("--record", action="store_true", help="play the cases with real programs (root, make peers)")
    parser.add_argument("--port", type=int, default=25)
    parser.add_argument("captures", nargs="*", metavar="CAPTURE")
    options = parser.parse_args()
    for path in options.captures:
        for seen in seen_in(path, options.port):
            print(f"{Path(path).name}  {ip_address(seen.server)}  {seen.fingerprint}  {seen.size}")
    if options.record:
        for text in boxes.missing():
            print(f"left out: {text} (make peers)", file=sys.stderr)
        measured = record_all()
        print("\n".join(table(measured)))
        print("least mail with headers {}, most of who was turned away {}".format(*thresholds(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
