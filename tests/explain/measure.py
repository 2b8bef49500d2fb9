"""Which programs and bots pass the responder's tests: real programs in the lab, and captures of both.

    python -m tests.explain.measure programs [--minutes N]     (root; `make peers` gets the programs)
    python -m tests.explain.measure captures FILE...

`programs`: each program is a device of its own and sends one message to a running responder with all tests on. What the
filter makes of it is read from a capture. MTAs keep their own retry intervals, so this waits for them, for N minutes.
 `captures`: what clients did with the servers' own greetings, long replies, STARTTLS and 4yz; a capture of
bots shows how often these would pass. Knows programs and their options. Must not know what an answer weighs.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpe_filter.detect.detector import Connection
from cpe_filter.engine import Engine
from cpe_filter.inspect.facts import Event
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.policy.model import Policy
from cpe_filter.replay.capture import frames
from cpe_filter.replay.feed import Feed
from cpe_filter.replay.replay import _play
from tests.lab import boxes
from tests.lab.exim import Exim
from tests.lab.mtas import Mta
from tests.lab.net import PYTHON, Lab
from tests.lab.opensmtpd import OpenSmtpd
from tests.lab.postfix import Postfix
from tests.policies import make_policy

if TYPE_CHECKING:
    from cpe_filter.engine.verdicts import Verdict

TO, ROUTER = "ben@friends.example", "192.168.1.1"
LETTER = f"From: ann@home.example\nTo: {TO}\nSubject: a letter\n\nHello.\n"
#: Packages with a program more, unpacked as those of `boxes` are.
MORE = (
    *("nullmailer", "dma", "sendemail", "s-nail", "ssmtp", "esmtp", "mutt", "mailutils"),
    *("node-nodemailer", "libphp-phpmailer", "python3-aiosmtplib", "ruby"),
)
_SMTPLIB = """
import smtplib, sys
with smtplib.SMTP({host!r}, 25, "smtplib.home.example", timeout=60) as server:
    {tls}
    server.sendmail("ann@home.example", ["ben@friends.example"], sys.stdin.read())
"""
_NET_SMTP = """
use Net::SMTP;
my $smtp = Net::SMTP->new("192.168.1.1", Hello => "perl.home.example") or die "no connection: $@";
$smtp->mail("ann\\@home.example") && $smtp->to("ben\\@friends.example") or print $smtp->code, " ", $smtp->message;
$smtp->quit;
"""
_NODEMAILER = """
const mailer = require("/usr/share/nodejs/nodemailer");
const transport = mailer.createTransport({ host: "192.168.1.1", port: 25, name: "node.home.example" });
transport.sendMail({ from: "ann@home.example", to: "ben@friends.example", subject: "x", text: "Hello." })
    .catch(error => console.log(error.message, error.response));
"""
_PHPMAILER = """
foreach (["Exception", "SMTP", "PHPMailer"] as $name) require "/etc/phpmailer/$name.php";
$mail = new PHPMailer\\PHPMailer\\PHPMailer();
$mail->isSMTP();
$mail->Host = "192.168.1.1";
$mail->setFrom("ann@home.example");
$mail->addAddress("ben@friends.example");
$mail->Subject = $mail->Body = "Hello";
for ($n = 0; $n < 2; $n++) { $mail->send(); echo $mail->ErrorInfo, "\\n"; }
"""
_AIOSMTPLIB = """
import asyncio, sys
sys.path.insert(0, "/usr/lib/python3/dist-packages")
import aiosmtplib
asyncio.run(aiosmtplib.send("From: a\\n\\nHello.", sender="ann@home.example", recipients=["ben@friends.example"],
    hostname="192.168.1.1", port=25))
"""
_RUBY = """
require "net/smtp"
Net::SMTP.start("192.168.1.1", 25, helo: "ruby.home.example", tls_verify: false) do |smtp|
  smtp.send_message("Hello.", "ann@home.example", "ben@friends.example")
end
"""


def _run(*command: str) -> Callable[[Lab, str], str]:
    """A program that sends once, and what it shows."""

    def send(lab: Lab, device: str) -> str:
        done = lab.run(device, list(command), LETTER, check=False)
        return done.stdout + done.stderr

    return send


def _in_box(name: str, *command: str, files: tuple[tuple[str, str], ...] = ()) -> Callable[[Lab, str], str]:
    def send(lab: Lab, device: str) -> str:
        with boxes.Box(lab, device, name) as box:
            for file, text in files:
                box.write(file, text)
            box.write("etc/hosts", "127.0.0.1 localhost\n192.168.1.1 mx.friends.example\n")
            return box.run(["timeout", "60", "sh", "-c", '"$@" 2>&1', "sh", *command], LETTER, check=False)

    return send


def _postfix(tls: bool) -> Callable[[Lab, str], str]:
    def send(lab: Lab, device: str) -> str:
        mta = Postfix(lab, device)
        mta.send_through(ROUTER, tls=tls, together=False)
        return _submitted(mta)

    return send


def _exim(lab: Lab, device: str) -> str:
    mta = Exim(lab, device)
    mta.send_through(ROUTER, tls=True, together=False)
    mta.box.start(["exim4", "-bdf", "-q30m", "-oX", "127.0.0.1:2525"])  # Debian's interval
    mta.box.run(["exim4", "-odf", "-oi", "-f", "ann@home.example", "--", TO], LETTER)
    return mta.box.read("var/log/exim-main")


def _opensmtpd(lab: Lab, device: str) -> str:
    mta = OpenSmtpd(lab, device)
    mta._start(mta._CLIENT.format(scheme="smtp", to=ROUTER, verify=""))
    return _submitted(mta)


def _submitted(mta: Mta) -> str:
    mta.submit("ann@home.example", [TO], LETTER)
    time.sleep(12)
    return mta.box.read("var/log/postfix.log") + mta.box.read("var/log/stderr")


def _nullmailer(lab: Lab, device: str) -> str:
    box = boxes.Box(lab, device, "nullmailer")
    box.write("etc/nullmailer/remotes", f"{ROUTER} smtp\n")
    box.write("etc/nullmailer/me", "nullmailer.home.example\n")
    box.write("etc/mailname", "nullmailer.home.example\n")
    for folder in ("queue", "tmp", "failed"):
        box.folder(f"var/spool/nullmailer/{folder}", "mail", 0o700)
    box.run(["mkfifo", "-m", "622", "/var/spool/nullmailer/trigger"], check=False)
    box.start(["nullmailer-send"])
    box.run(["nullmailer-inject", "-f", "ann@home.example", TO], LETTER, check=False)
    time.sleep(12)
    return box.read("var/log/stderr")


def _dma(lab: Lab, device: str) -> str:
    box = boxes.Box(lab, device, "dma")
    box.write("etc/dma/dma.conf", f"SMARTHOST {ROUTER}\nSPOOLDIR /var/spool/dma\nOPPORTUNISTIC_TLS\nSTARTTLS\n")
    box.write("etc/dma/auth.conf", "")
    box.write("etc/mailname", "dma.home.example\n")
    box.folder("var/spool/dma", "mail", 0o2775)
    box.start(["sh", "-c", "while sleep 300; do dma -q1; done"])  # Debian's cron job
    box.run(["sh", "-c", 'dma -f ann@home.example "$1" >/dev/null 2>&1', "sh", TO], LETTER, check=False)
    time.sleep(12)
    return "(to syslog)"


def _phpmailer(lab: Lab, device: str) -> str:
    folder = boxes.UNPACKED / "libphp-phpmailer/usr/share/php/libphp-phpmailer/src"
    files = tuple((f"etc/phpmailer/{file.name}", file.read_text()) for file in folder.glob("*.php"))
    return _in_box("php", "sh", "-c", 'exec /usr/bin/php?.? -r "$1"', "sh", _PHPMAILER, files=files)(lab, device)


_SWAKS = ("swaks", "--server", ROUTER, "--from", "ann@home.example", "--to", TO, "--helo", "swaks.home.example")
_CURL = (
    *("curl", "-sS", "-v", "--url", f"smtp://{ROUTER}/curl.home.example", "--upload-file", "-"),
    *("--mail-from", "ann@home.example", "--mail-rcpt", TO),
)
_MSMTP = ("msmtp", f"--host={ROUTER}", "--domain=msmtp.home.example", "--from=ann@home.example")
_SNAIL = ("s-nail", "-S", "v15-compat", "-S", f"mta=smtp://{ROUTER}:25", "-S", "smtp-auth=none", "-S", "sendwait", "-r")
_SSMTP = f"mailhub={ROUTER}:25\nhostname=ssmtp.home.example\nFromLineOverride=YES\n"
_MUTT = f"set smtp_url=smtp://{ROUTER}:25/ from=ann@home.example copy=no ssl_starttls=yes ssl_force_tls=no"
PROGRAMS: dict[str, Callable[[Lab, str], str]] = {
    "Postfix, TLS if offered": _postfix(True),
    "Postfix, no TLS": _postfix(False),
    "Exim, TLS if offered": _exim,
    "OpenSMTPD, TLS if offered": _opensmtpd,
    "nullmailer": _nullmailer,
    "dma, TLS if offered": _dma,
    "msmtp, no TLS": _run(*_MSMTP, "--tls=off", "--", TO),
    "msmtp, TLS required": _run(*_MSMTP, "--tls=on", "--tls-starttls=on", "--tls-certcheck=off", "--", TO),
    "swaks": _run(*_SWAKS),
    "swaks, TLS if offered": _run(*_SWAKS, "--tls-optional"),
    "swaks, TLS required": _run(*_SWAKS, "--tls"),
    "curl": _run(*_CURL),
    "curl, TLS if offered": _run(*_CURL, "--ssl"),
    "curl, TLS required": _run(*_CURL, "--ssl-reqd"),
    "smtplib": _run(PYTHON, "-c", _SMTPLIB.format(host=ROUTER, tls="pass")),
    "smtplib, TLS required": _run(PYTHON, "-c", _SMTPLIB.format(host=ROUTER, tls="server.starttls()")),
    "Net::SMTP": _run("perl", "-e", _NET_SMTP),
    "sendEmail": _in_box("sendemail", "sendemail", "-s", ROUTER, "-f", "ann@home.example", "-t", TO, "-u", "x"),
    "ssmtp": _in_box("ssmtp", "ssmtp", "-v", TO, files=(("etc/ssmtp/ssmtp.conf", _SSMTP),)),
    "ssmtp, TLS required": _in_box(
        "ssmtp", "ssmtp", "-v", TO, files=(("etc/ssmtp/ssmtp.conf", _SSMTP + "UseSTARTTLS=YES\n"),)
    ),
    "esmtp": _in_box(
        "esmtp", "esmtp", "-f", "ann@home.example", TO, files=(("etc/esmtprc", f"hostname = {ROUTER}:25\n"),)
    ),
    "mutt": _in_box("mutt", "mutt", "-n", "-F", "/dev/null", "-e", _MUTT, "-s", "x", TO),
    "mailutils": _in_box(
        "mailutils", "mail.mailutils", "-E", f"set sendmail=smtp://{ROUTER}:25", "-r", "a@home.example", TO
    ),
    "nodemailer": _in_box("node-nodemailer", "node", "-e", _NODEMAILER),
    "PHPMailer": _phpmailer,
    "aiosmtplib": _in_box("python3-aiosmtplib", "/usr/bin/python3", "-c", _AIOSMTPLIB),
    "Ruby Net::SMTP": _in_box("ruby", "ruby", "-e", _RUBY),
    "s-nail": _in_box("s-nail", *_SNAIL, "ann@home.example", TO),
}


#: Each connection is explained. The lab's devices are strangers to a capture's reader, and share limits.
EVERYTHING = make_policy(
    mode="block", escalate=False, private_destinations="filter", connections_burst=10**5, destinations_burst=10**5
)
Seen = Callable[[Connection, Event, float, float], None]


class _Engine(Engine):
    """begun: by connection, when the greeting began whose end has not come."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.begun: dict[Connection, float] = {}

    def packet(self, time: PacketTime, *packet: Any) -> Verdict:
        verdict = super().packet(time, *packet)
        flow = self.flow
        if flow is not None and not flow.session.dialogue.greeted and flow.session.dialogue.replies is not None:
            self.begun.setdefault(flow.connection, time)
        return verdict


def read(path: Path, policy: Policy, seen: Seen) -> None:
    """Plays a capture to an engine. `seen` gets each event that the detector gets, its time, and a pause before it.

    The pause: seconds between the parts of a greeting.
    """
    engine = _Engine(policy)
    detector = engine._judge.detector
    passed = detector.event

    def event(connection: Connection, event: Event, time: float) -> None:
        seen(connection, event, time, time - engine.begun.pop(connection, time))
        passed(connection, event, time)

    detector.event = event  # type: ignore[method-assign]
    _play(lambda warn: frames(str(path), warn), Feed(engine), engine, lambda line: None)


def play(names: list[str], minutes: float = 0.0) -> dict[str, tuple[list[str], str]]:
    """What these programs answer, and what each has shown. Waits so long for further attempts."""
    shown: dict[str, str] = {}
    with Lab(devices=len(names)) as lab:
        lab.start_responder(lab.policy('[explain]\ntext = "Not from this line."\nport = 25\ntests = true\n'))
        path = lab.folder / "tests.pcap"
        capture = lab.capture("router", "br-lan", path)

        def send(name: str, device: str) -> None:
            try:
                shown[name] = PROGRAMS[name](lab, device)
            except (RuntimeError, OSError) as error:
                shown[name] = f"failed: {error}"

        devices = dict(zip(names, lab.devices, strict=True))
        threads = [threading.Thread(target=send, args=pair) for pair in devices.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(minutes * 60)
        lab.stop(capture)
        answers: dict[str, list[str]] = {name: [] for name in names}
        macs = {bytes.fromhex(lab.mac(device).replace(":", "")): name for name, device in devices.items()}

        def seen(connection: Connection, event: Event, time: float, pause: float) -> None:
            if event.kind == "responder":
                number = f" ({event.number} s)" if event.number else ""
                answers[macs[connection.device.key]].append(event.name + number)

        read(path, EVERYTHING, seen)
    return {name: (found, shown[name]) for name, found in answers.items()}


def programs(minutes: float, names: list[str]) -> None:
    """Gets what is missing, and prints a row for each program."""
    for name in MORE:
        if not (boxes.UNPACKED / name).is_dir():
            for why in boxes._unpack(name, boxes.UNPACKED / name):
                print(f"could not get {name}: {why}", file=sys.stderr)
    for name, (found, shown) in play(names or list(PROGRAMS), minutes).items():
        text = "text shown" if "Not from this line." in shown else f"no text: {shown.strip()[-160:]!r}"
        print(f"| {name} | {', '.join(found)} | {text} |")


# ── captures ────────────────────────────────────────────────────────────────────────────────────────


class Client:
    """What the client of one connection of a capture was asked by its server."""

    def __init__(self) -> None:
        self.asked = Counter[str]()
        self.domain = ""
        self.hasty = False


def captures(paths: list[Path]) -> None:
    """Prints a line for each file and question."""
    for path in paths:
        counts: Counter[str] = Counter()
        clients: dict[Connection, Client] = {}
        deferred: dict[tuple[bytes, str, str], float] = {}
        for_each = _counting(counts, clients, deferred)
        read(path, make_policy(mode="monitor", escalate=False), for_each)
        counts["connections that spoke"] = len(clients)
        print(path.name)
        for what, number in sorted(counts.items()):
            print(f"  {number:6} {what}")


def _counting(
    counts: Counter[str], clients: dict[Connection, Client], deferred: dict[tuple[bytes, str, str], float]
) -> Seen:
    def seen(connection: Connection, event: Event, time: float, pause: float) -> None:
        client = clients.setdefault(connection, Client())
        kind, name, reply = event.kind, event.name, event.reply
        if kind == "violation":
            counts[f"violation {name}"] += 1
            client.hasty |= name in ("early-talk", "blind-pipelining")
        elif kind == "greeting" and reply is not None and reply.before:
            parts = "in two parts, a second apart or more" if pause >= 1 else "of several lines"
            counts[f"greeting {parts}: {'talked early' if client.hasty else 'waited'}"] += 1
        elif kind == "hello":
            counts["EHLO" if event.number else "HELO"] += 1
            if event.number and reply is not None and len(reply.before) > 2:
                client.asked["lines"] += 1
                counts["EHLO's reply of several lines"] += 1
            if reply is not None and any(line[:8].upper() == "STARTTLS" for line in (*reply.before, reply.text[4:])):
                client.asked["tls"] += 1
                counts["STARTTLS offered"] += 1
        elif kind == "tls" or (kind == "reply" and name == "STARTTLS"):
            counts["STARTTLS taken"] += client.asked["tls"] > 0
        elif kind == "sender":
            client.domain = name.rpartition("@")[2]
            if client.asked.pop("lines", 0):
                counts["EHLO's reply of several lines: went on to MAIL"] += 1
        elif kind == "recipient" and reply is not None:
            key = (connection.device.key, client.domain, name)
            if key in deferred:
                counts[f"RCPT again after 4yz, {int(time - deferred.pop(key))} s"] += 1
            if 400 <= reply.code < 500:
                deferred[key] = time
                counts["RCPT answered with 4yz"] += 1

    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_programs = commands.add_parser("programs")
    of_programs.add_argument("--minutes", type=float, default=35.0)
    of_programs.add_argument("names", nargs="*", metavar="NAME", help="only these")
    commands.add_parser("captures").add_argument("files", nargs="+", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.command == "programs":
        programs(options.minutes, options.names)
    else:
        captures(options.files)


if __name__ == "__main__":
    main()
