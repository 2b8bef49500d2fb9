"""A home under attack: a lab that is used for many attacks, one after the other, and what came through.

Knows the lab, the filter's programs and files, and of its ruleset no more than that it is there. An attack is a
function of a home. `control` tries it at a home without a filter first: an attacker that cannot deliver there proves
nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.lab.net import PATIENCE, RELAY4, RELAY6, Filter, Lab, mx4, mx6
from tests.lab.netns import forget_connections, inside
from tests.lab.peers import Certificate
from tests.lab.rawtcp import Card, Connection

#: A whole message at one go; no server of the lab minds the pipelining.
LETTER = (
    b"HELO mail.home.example\r\nMAIL FROM:<ann@home.example>\r\nRCPT TO:<ben@friends.example>\r\nDATA\r\n"
    b"Subject: hello\r\n\r\nA line.\r\n.\r\n"
)
QUEUED = b"Ok: queued"
WEB_PORT = 8080
#: What the filter's log says with each change of a standing.
STANDING_CHANGED = " is now "
_NAT = "table ip lab_nat { chain post { type nat hook postrouting priority srcnat; oifname wan masquerade; }; }\n"
#: What came out at the Internet's end that could be mail or begin it: SYNs, data, and what is too long to have none.
_LEFT = (
    "table inet left\ndelete table inet left\n"
    "table inet left { counter left { }; chain early { type filter hook prerouting priority -450; "
    f"ip saddr 198.18.0.0/15 return; ip6 saddr 2001:db8:100::/40 return; tcp dport {WEB_PORT} return; "
    f"ip daddr {RELAY4} return; ip6 daddr {RELAY6} return; meta l4proto {{ icmp, icmpv6 }} return; "
    "ip daddr != 198.18.0.0/15 return; ip6 daddr != 2001:db8:100::/40 return; "
    "ip frag-off & 0x1fff != 0 counter name left return; tcp flags & (syn | psh) != 0 counter name left return; "
    "meta length > 80 counter name left; }; }"
)


class ControlError(AssertionError):
    """The attack does not do without a filter what it is tried for."""


class Home:
    """A lab with three devices and all mail servers. `run` starts a filter, `clean` undoes what an attack did."""

    def __init__(self) -> None:
        self.lab = Lab(devices=3)
        self._cards: dict[str, Card] = {}
        self._filters: list[Filter] = []
        self._responder: subprocess.Popen[str] | None = None
        self._before = 0
        self._taken = self.lab.folder / "taken.jsonl"
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        certificate, key = Certificate(self.lab.folder, short=True).files
        options = ["--taken", str(self._taken), "--certificate", str(certificate), "--key", str(key)]
        # Fast Open without cookies on every listener, and SRv6: the servers refuse nothing that could be a way out.
        open_to_all = [
            "net.ipv4.tcp_fastopen=0x603",
            "net.ipv6.conf.all.seg6_enabled=1",
            "net.ipv6.conf.isp.seg6_enabled=1",
        ]
        self.lab.run("internet", ["sysctl", "-qw", *open_to_all], check=False)
        self.lab.start_servers(*options)
        self._start_web()
        self.clean()

    def _start_web(self) -> None:
        with inside(self.lab.namespace("internet")):
            self._web = http.server.ThreadingHTTPServer(("0.0.0.0", WEB_PORT), _Page)
        threading.Thread(target=self._web.serve_forever, args=(0.1,), daemon=True).start()

    def close(self) -> None:
        for card in self._cards.values():
            card.close()
        if hasattr(self, "_web"):
            self._web.shutdown()
            self._web.server_close()
        self.lab.close()

    def clean(self) -> None:
        """No filter, no foreign rules, no connections, no state, nothing counted."""
        self.end()
        self.lab.nft("router", "flush ruleset\n" + _NAT)
        forget_connections(self.lab.namespace("router"))
        self.lab.run("router", ["ip", "neigh", "flush", "dev", "br-lan"], check=False)
        shutil.rmtree(self.lab.folder / "flash", ignore_errors=True)
        for name in ("state", "status.json"):
            (self.lab.folder / name).unlink(missing_ok=True)
        self.count_from_now()

    def end(self) -> None:
        """Kills the filter and the responder. Their rules, and all else, stay until `clean`."""
        for running in [each.process for each in self._filters] + ([self._responder] if self._responder else []):
            if running.poll() is None:
                running.send_signal(signal.SIGKILL)
                running.wait()
        self._filters.clear()
        self._responder = None

    # ── the filter ──────────────────────────────────────────────────────────────────────────────

    @property
    def filter(self) -> Filter:
        return self._filters[-1]

    def run(self, policy: str, responder: bool = False, clean: bool = True) -> Filter:
        """Starts a filter, and the responder before it, on a clean home."""
        if clean:
            self.clean()
        self._policy = self.lab.policy(policy)
        if responder:
            self.start_responder()
        return self.start_again()

    def start_again(self) -> Filter:
        """Starts a filter with the policy there was, after one has ended."""
        self._filters.append(self.lab.start_filter(self._policy))
        return self.filter

    def start_responder(self) -> None:
        self._responder = self.lab.start_responder(self._policy)

    def kill_responder(self) -> None:
        if self._responder:
            self._responder.kill()
            self._responder.wait()
            self._responder = None

    def kill(self) -> None:
        """SIGKILL; when this returns the filter holds nothing any more."""
        self.filter.process.kill()
        self.filter.process.wait()

    def signal(self, number: int) -> None:
        self.filter.process.send_signal(number)

    def reload(self, policy: str) -> None:
        self.lab.policy(policy)
        self.signal(signal.SIGHUP)

    def standing(self, device: str) -> str:
        found = self.filter.device(device)
        return found["standing"] if found else "unknown"

    def judged(self) -> bool:
        """Whether the standing of any device has changed (see test_evidence for its control)."""
        time.sleep(0.3 * PATIENCE)
        return STANDING_CHANGED in self.filter.log()

    # ── attackers and people ────────────────────────────────────────────────────────────────────

    def card(self, host: str = "device2") -> Card:
        if host not in self._cards:
            self._cards[host] = Card(self.lab, host)
        return self._cards[host]

    def connection(self, family: str, number: int = 0, host: str = "device2", **words: Any) -> Connection:
        """A connection of the attacker's to a stranger that takes mail."""
        return self.card(host).connection(server(family, number), **words)

    def mail(self, to: str, host: str = "device1", timeout: float = 5) -> str:
        """A person's mail by smtplib: "sent", or why not."""
        try:
            with (
                inside(self.lab.namespace(host)),
                smtplib.SMTP(to, 25, "laptop.home.example", timeout * PATIENCE) as smtp,
            ):
                smtp.sendmail("ann@home.example", ["ben@friends.example"], "Subject: hello\r\n\r\nA line.\r\n")
            return "sent"
        except (OSError, smtplib.SMTPException) as error:
            return f"{type(error).__name__}: {error}"

    def socket(self, host: str, to: str, port: int = 25, timeout: float = 3) -> socket.socket:
        """A connected socket of the host's own TCP. Raises OSError."""
        with inside(self.lab.namespace(host)):
            return socket.create_connection((to, port), timeout * PATIENCE)

    def web(self, host: str = "device1") -> str:
        """Fetches a page from the Internet: "page", or why not."""
        try:
            with inside(self.lab.namespace(host)):
                web = http.client.HTTPConnection("198.18.0.25", WEB_PORT, timeout=3 * PATIENCE)
                web.connect()
            web.request("GET", "/")
            text = web.getresponse().read().decode()
            web.close()
            return text
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"

    @contextlib.contextmanager
    def flooded(self, rate: int, seconds: float, *words: str, host: str = "device3") -> Iterator[None]:
        """A flood of SYNs from another device (see tests.faults.flood) at least as long as the context lasts."""
        from tests.faults.flood import SILENT
        from tests.lab.net import PYTHON

        self.lab.nft(
            "internet",
            "table inet silent\ndelete table inet silent\ntable inet silent { chain early { "
            f"type filter hook prerouting priority raw; ip daddr {SILENT}/16 drop; }}; }}",
        )
        words = (self.lab.address4(host), str(rate), str(seconds), *words)
        process = self.lab.start(host, [PYTHON, "-m", "tests.faults.flood", *words])
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.wait()

    @contextlib.contextmanager
    def setting(self, **sysctls: int) -> Iterator[None]:
        """Settings of the router's conntrack, net.netfilter.nf_conntrack_NAME, and back."""
        names = [f"net.netfilter.nf_conntrack_{name}" for name in sysctls]
        before = self.lab.run("router", ["sysctl", "-n", *names]).stdout.split()
        self.lab.run("router", ["sysctl", "-qw", *map("{}={}".format, names, sysctls.values())])
        try:
            yield
        finally:
            self.lab.run("router", ["sysctl", "-qw", *map("{}={}".format, names, before)])

    def forget_connections(self) -> None:
        forget_connections(self.lab.namespace("router"))

    # ── what came of it ─────────────────────────────────────────────────────────────────────────

    def count_from_now(self) -> None:
        """What was taken and what left until now does not count."""
        self._before = len(self._lines())
        self.lab.nft("internet", _LEFT)

    def _lines(self) -> list[str]:
        return self._taken.read_text().splitlines() if self._taken.exists() else []

    def delivered(self) -> int:
        """Messages that strangers took."""
        return len(self.servers())

    def servers(self) -> list[str]:
        """The strangers that took a message, one for each."""
        found = [json.loads(line)["server"] for line in self._lines()[self._before :]]
        return [each for each in found if each not in (RELAY4, RELAY6)]

    def left(self) -> int:
        """Packets that arrived at strangers' addresses and could be mail: SYNs, data, fragments."""
        return counter(self.lab, "internet", "left", "left")

    def settle(self, least: int = 0, seconds: float = 0.2) -> int:
        """Waits for what is under way, or until so many messages are taken; how many are."""
        end = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < end and not (least and self.delivered() >= least):
            time.sleep(0.02)
        return self.delivered()


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"page")

    def log_message(self, format: str, *args: object) -> None:
        pass


Attack = Callable[[Home], object]


def server(family: str, number: int = 0) -> str:
    return mx6(number) if family == "IPv6" else mx4(number)


def relay(family: str) -> str:
    return RELAY6 if family == "IPv6" else RELAY4


def counter(lab: Lab, host: str, table: str, name: str) -> int:
    text = lab.run(host, ["nft", "list", "counter", "inet", table, name]).stdout
    found = re.search(r"packets (\d+)", text)
    assert found is not None
    return int(found[1])


def deliver(connection: Connection, patience: float = 1.0) -> bool:
    """Sends the letter on an open connection; whether the server says that it has it."""
    connection.say(LETTER)
    taken = QUEUED in connection.wait(patience * PATIENCE, QUEUED, b"\r\n55")
    connection.reset()
    return taken


def control(home: Home, attack: Attack, least: int = 1) -> None:
    """The attack without a filter delivers so many messages. Raises ControlError."""
    home.clean()
    attack(home)
    if home.settle(least, 2.0) < least:
        raise ControlError(
            f"{home.delivered()} of at least {least} delivered without a filter, {home.left()} packets left"
        )


def control_leaves(home: Home, attack: Attack) -> None:
    """The attack without a filter gets packets out, though nobody takes mail from them. Raises ControlError."""
    home.clean()
    attack(home)
    time.sleep(0.1)
    if not home.left():
        raise ControlError("nothing left the home without a filter")


def must_hold(home: Home, unfiltered: Home, attack: Attack, fail: str, responder: str, least: int = 1) -> None:
    """Asserts that the attack, which delivers so many messages without a filter, gets nothing out of mode block."""
    control(unfiltered, attack, least)
    home.run(block(fail), responder == "responder")
    attack(home)
    nothing_leaves(home)


def block(fail: str, text: str = "") -> str:
    """A policy of mode block."""
    return f'[filter]\nmode = "block"\nfail = "{fail}"\n{text}'


def policy(mode: str, fail: str = "open", text: str = "") -> str:
    return f'[filter]\nmode = "{mode}"\nfail = "{fail}"\n{text}'


def nothing_leaves(home: Home) -> None:
    """Asserts that no message was taken, and that not even the beginning of one got out."""
    delivered, left = home.settle(), home.left()
    assert (delivered, left) == (0, 0), f"{delivered} messages delivered, {left} packets left the home"
