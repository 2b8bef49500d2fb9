"""Whole devices: a real program that writes directly to many servers outside, and a bot that uses STARTTLS.

`peers` shows one program and one server; these show all that a device is judged by. The MTAs look up MX records at the
home's router (see `resolver`), so a recording has these, too. The servers refuse by the envelope (`servers --rules`):
`nobody@` is unknown, `new@` is greylisted. `record` plays and records `SCENARIOS`. Each raises RuntimeError if it does
not show what its name says. `needs` says what a scenario lacks (`make peers` gets it).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from tests.lab import boxes
from tests.lab.bot import HELO as BOT_HELO
from tests.lab.boxes import Box
from tests.lab.clients import HOME
from tests.lab.exim import Exim
from tests.lab.mtas import Sessions
from tests.lab.net import PYTHON, Lab, mx4
from tests.lab.peers import Certificate
from tests.lab.postfix import Postfix
from tests.lab.resolver import domain

ROUTER = "192.168.1.1"

#: The queue: 60 messages to 40 domains, one of which has a server that is silent.
_SILENT = 29
_QUEUE_DOMAINS = [*[n for n in range(60) if n % 10 < 8][:39], _SILENT]
_QUEUE_UNKNOWN, _QUEUE_NEW = (7, 41), (3, 12, 20, 33, 45, 58)
#: The newsletter: one message to 46 domains.
_NEWS_DOMAINS = [n for n in range(100, 180) if n % 10 < 8][:46]
_NEWS_UNKNOWN = (11, 27, 43)

#: Sends each message of PHP's mail() to the MX of its recipient's domain. msmtp's own default for EHLO is `localhost`.
_SENDMAIL = """#!/bin/sh
message=$(cat; echo .)
domain=$(printf '%s' "$message" | sed -n 's/^To: .*@\\([a-z0-9.]*\\).*/\\1/p;/^$/q')
printf '%s' "${message%.}" | msmtp --host="mx.$domain" --port=25 --tls=off --auth=off --from=shop@home.example \
  --read-recipients
"""
#: Stdin: a JSON list of recipients.
_ORDERS = """
foreach (json_decode(stream_get_contents(STDIN)) as $number => $to)
    mail($to, "Your order $number", "Thank you.\\r\\nWe shall send it tomorrow.\\r\\n", "From: shop@home.example");
"""


def _begin(lab: Lab, *options: str) -> None:
    """Starts the strangers' servers and the router's resolver."""
    # Without TCP's timestamps a recording is a tenth shorter; nothing here looks at them.
    lab.run("internet", ["sysctl", "-qw", "net.ipv4.tcp_timestamps=0"])
    lab.start_servers(*options)
    process = lab.start("router", [PYTHON, "-m", "tests.lab.resolver", ROUTER])
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError("the router's resolver did not start")


def _text(recipient: str, number: int) -> str:
    return (
        f"From: ann@home.example\nTo: {recipient}\nSubject: letter {number}\nDate: Thu, 01 Jan 2026 12:00:00 +0000\n"
        f"Message-ID: <letter-{number}@home.example>\n\nHello,\nthis is what I meant to tell you.\nAnn\n"
    )


def _until(reached: Callable[[], bool], otherwise: str, timeout: float = 60) -> None:
    end = time.monotonic() + timeout
    while not reached():
        if time.monotonic() > end:
            raise RuntimeError(otherwise)
        time.sleep(0.3)


def _logged(lab: Lab) -> Sessions:
    """What the servers saw, once nothing was added for a while: a session is logged when it ends."""
    before = -1
    while before != (before := len(lab.mail())):
        time.sleep(2.5)
    return [record for record in lab.mail() if record["helo"] is not None]


def _count(logged: Sessions, reply: str) -> int:
    """How many recipients were answered so."""
    return sum(answer == reply for session in logged for _, answer in session["rcpt"])


def _must_show(logged: Sessions, **facts: bool) -> Sessions:
    absent = [name for name, there in facts.items() if not there]
    if absent:
        replies = {reply: _count(logged, reply) for reply in ("250", "450", "550")}
        raise RuntimeError(f"{len(logged)} sessions, recipients {replies}; not shown: {', '.join(absent)}")
    return logged


def postfix_queue_flush(lab: Lab) -> Sessions:
    """A home's own Postfix held its mail back and lets all of it go at once; some is greylisted and tried again."""
    _begin(lab, "--rules")
    postfix = Postfix(lab, HOME)
    try:
        postfix.hold_by_mx(ROUTER)
        for number in range(60):
            name = "nobody" if number in _QUEUE_UNKNOWN else "new" if number in _QUEUE_NEW else f"friend{number}"
            recipient = f"{name}@{domain(_QUEUE_DOMAINS[number % 40])}"
            postfix.submit("ann@home.example", [recipient], _text(recipient, number))
        _until(lambda: [queue for queue, _ in postfix.queue()] == ["deferred"] * 60, "60 messages were never held")
        postfix.flush()

        def only_the_silent() -> bool:
            return all(
                queue == "deferred" and to.endswith(f"@{domain(_SILENT)}") for queue, to in postfix.queue()
            ) and bool(lab.mail())

        _until(only_the_silent, "the queue was never empty")
        logged = _logged(lab)
    finally:
        postfix.close()
    return _must_show(
        logged,
        flushed=_count(logged, "250") == 57,
        greylisted=_count(logged, "450") >= len(_QUEUE_NEW),
        unknown=_count(logged, "550") == len(_QUEUE_UNKNOWN),
    )


def php_localhost(lab: Lab) -> Sessions:
    """A shop's PHP on a small computer: mail(), msmtp as its sendmail, `EHLO localhost`; one address is mistyped."""
    _begin(lab, "--rules")
    shops = [domain(number) for number in (60, 64, 70, 74)]
    recipients = [f"{'nobody' if n == 6 else f'customer{n}'}@{shops[n % 4 if n % 3 else 0]}" for n in range(12)]
    with Box(lab, HOME, "php") as box:
        box.write("etc/resolv.conf", f"nameserver {ROUTER}\n")
        box.write("etc/sendmail", _SENDMAIL, 0o755)
        php = min(path.name for path in box.files.glob("usr/bin/php?.?"))
        box.run([php, "-n", "-d", "sendmail_path=/etc/sendmail", "-r", _ORDERS], json.dumps(recipients))
        logged = _logged(lab)
    return _must_show(
        logged,
        localhost={session["helo"] for session in logged} == {"localhost"},
        delivered=_count(logged, "250") == 11,
        unknown=_count(logged, "550") == 1,
    )


def exim_newsletter(lab: Lab) -> Sessions:
    """A club's Exim at home sends its newsletter to 46 domains for the first time, by STARTTLS where it is offered."""
    certificate, key = Certificate(lab.folder, short=True).files
    _begin(lab, "--rules", "--certificate", str(certificate), "--key", str(key), "--plain-every", "4")
    recipients = [
        f"{'nobody' if n in _NEWS_UNKNOWN else f'member{n}'}@{domain(number)}" for n, number in enumerate(_NEWS_DOMAINS)
    ]
    exim = Exim(lab, HOME)
    try:
        exim.send_by_mx(ROUTER)
        exim.deliver("club@home.example", recipients, _text("members@home.example", 0))
        logged = _logged(lab)
    finally:
        exim.close()
    return _must_show(
        logged,
        delivered=_count(logged, "250") == 43,
        unknown=_count(logged, "550") == len(_NEWS_UNKNOWN),
        tls_where_offered=sum(session["tls"] for session in logged) == sum(n % 4 > 0 for n in _NEWS_DOMAINS),
    )


def appliance_refused(lab: Lab) -> Sessions:
    """A camera (swaks) reports to the one MX in its settings, whose user is long gone: refused 30 times of 30."""
    _begin(lab)
    program = ["swaks", "--server", mx4(1), "--port", "25", "--helo", "camera-0042", "--hide-all"]
    program += ["--from", "camera@home.example", "--to", f"ann@{domain(1)}", "--body", "Motion at the door."]
    for _ in range(30):
        lab.run(HOME, program, check=False)
    logged = _logged(lab)
    return _must_show(logged, refused=_count(logged, "550") == len(logged) == 30)


def bot_starttls(lab: Lab) -> Sessions:
    """A bot writes to 16 strangers' servers, all by STARTTLS; half of its recipients are unknown, which TLS hides."""
    certificate, key = Certificate(lab.folder, short=True).files
    _begin(lab, "--certificate", str(certificate), "--key", str(key))
    numbers = [str(number) for number in range(40) if number % 10 in (0, 1, 4, 6)]
    options = ["--starttls", "--helo", f"EHLO {BOT_HELO}", "--size", "1000", "--servers", *numbers]
    lab.run("device2", [PYTHON, "-m", "tests.lab.bot", *options])
    logged = _logged(lab)
    return _must_show(
        logged, tls=all(session["tls"] for session in logged), half=_count(logged, "550") == _count(logged, "250") == 8
    )


#: Name -> how it is played, and the programs that it needs.
_ALL: dict[str, tuple[Callable[[Lab], Sessions], tuple[str, ...]]] = {
    "legit-postfix-queue-flush": (postfix_queue_flush, ("postfix",)),
    "legit-php-localhost": (php_localhost, ("php", "msmtp")),
    "legit-exim-newsletter": (exim_newsletter, ("exim", "openssl")),
    "legit-appliance-refused": (appliance_refused, ("swaks",)),
    "bot-starttls": (bot_starttls, ("openssl",)),
}
SCENARIOS = {name: play for name, (play, _) in _ALL.items()}


def needs(name: str) -> list[str]:
    """What a scenario needs and is not here."""
    return [text for text in boxes.missing() if text.split()[0] in _ALL[name][1]]
