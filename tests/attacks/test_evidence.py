"""What counts for or against a device: only what two ends agree on, read as a server would read it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.attacks.home import ControlError, Home, policy, server
from tests.attacks.variants import FAMILIES, variants
from tests.lab.advertise import advertise, advertisement, pref64
from tests.lab.mail import bot
from tests.lab.net import PYTHON, Lab
from tests.lab.rawtcp import ACK, PSH, RST, SYN, Connection

pytestmark = pytest.mark.live

NEIGHBOUR = "device1"
POOL = b"HELO 10-1-2-3.dyn.pool.example.net\r\n"


def spam(number: int) -> bytes:
    """What convicts a device that says it to a few servers."""
    return POOL + b"MAIL FROM: <x%d@d%d.example>\r\nRCPT TO: <a%d@b%d.example>\r\nDATA\r\n" % ((number,) * 4)


# ── a neighbour is framed ───────────────────────────────────────────────────────────────────────────


def data_alone(connection: Connection, number: int) -> None:
    connection.seq, connection.ack = 1000, 1
    connection.send(PSH | ACK, spam(number))


def syn_and_data(connection: Connection, number: int) -> None:
    """The server answers the neighbour, who resets: nobody has agreed."""
    connection.send(SYN)
    time.sleep(0.01)
    connection.seq += 1
    connection.ack = 12345
    connection.send(PSH | ACK, spam(number))


def handshake_guessed(connection: Connection, number: int) -> None:
    """SYN and ACK with a number of the server's that is a guess."""
    connection.send(SYN)
    connection.seq += 1
    connection.ack = 987654321
    connection.send(ACK)
    connection.send(PSH | ACK, spam(number))


def syn_with_data(connection: Connection, number: int) -> None:
    connection.send(SYN | PSH, spam(number))


def syns_alone(connection: Connection, number: int) -> None:
    """To a server that nobody answers for: nothing but SYNs (see below for the server)."""
    connection.send(SYN)


def both_sides_made_up(connection: Connection, number: int) -> None:
    """The server's answers, too, come from the LAN."""
    connection.send(SYN)
    card = connection.card
    answer = Connection(card, connection.source, connection.server, "", connection.sport, 25, 5000)
    answer.seq, answer.ack = 5000, connection.isn + 1
    answer.send(SYN | ACK)
    connection.seq, connection.ack = connection.isn + 1, 5001
    connection.send(ACK)
    connection.send(PSH | ACK, spam(number))
    answer.seq = 5001
    answer.send(PSH | ACK, b"550 5.1.1 user unknown\r\n")


FRAMED: dict[str, Callable[[Connection, int], None]] = {
    "data alone": data_alone,
    "SYN and data": syn_and_data,
    "guessed handshake": handshake_guessed,
    "SYN with data": syn_with_data,
    "SYNs alone": syns_alone,
    "both sides": both_sides_made_up,
}


@variants(how=FRAMED, mode=("monitor", "limit", "block"), family=FAMILIES)
def test_neighbour_is_not_framed(home: Home, how: str, mode: str, family: str) -> None:
    """Segments with a neighbour's MAC and address. The neighbour has sent a mail, so it is known."""
    source = home.lab.address6(NEIGHBOUR) if family == "IPv6" else home.lab.address4(NEIGHBOUR)
    home.run(policy(mode))
    assert (home.mail(server(family), NEIGHBOUR) == "sent") is (mode != "block")
    # 9 is silent, and so is what nobody has: those neither answer nor refuse.
    numbers = [n for n in range(30, 110) if (n % 10 == 9 if how == "SYNs alone" else n % 10 < 8)]
    for number in numbers[:40]:
        connection = home.connection(family, number, source=source, own=Lab.mac(NEIGHBOUR))
        FRAMED[how](connection, number)
        time.sleep(0.02)
    if home.judged():
        # SYNs of a MAC that the router knows make it suspected at most.
        standing = home.standing(NEIGHBOUR)
        assert standing in (("clear", "suspected") if how == "SYNs alone" else ("clear",)), standing
    if mode == "limit":
        # Packets with its MAC are limited like its own: for as long as they come, and some seconds more.
        end = time.monotonic() + 30
        while home.mail(server(family), NEIGHBOUR) != "sent":
            assert time.monotonic() < end
            time.sleep(1)
    elif mode == "monitor":
        assert home.mail(server(family), NEIGHBOUR) == "sent"


@variants(mode=("monitor", "limit"), family=FAMILIES)
def test_a_neighbours_mac_on_ones_own_address(home: Home, mode: str, family: str) -> None:
    """A whole dialogue in frames with a neighbour's MAC: the router's answers go to the address, and so to its host."""
    source = home.lab.address6("device2") if family == "IPv6" else home.lab.address4("device2")
    home.run(policy(mode))
    assert home.mail(server(family), NEIGHBOUR) == "sent"
    completed = 0
    for number in [n for n in range(30, 110) if n % 10 < 8][:48]:
        connection = home.connection(family, number, source=source, own=Lab.mac(NEIGHBOUR))
        if connection.open(0.5):
            completed += 1
            connection.say(spam(number))
            connection.wait(0.1, b"354", b"\r\n55", b"\r\n45")
            connection.reset()
    standings = {device["device"]: device["standing"] for device in home.filter.status()["devices"]}
    assert standings[Lab.mac(NEIGHBOUR)] == "clear", standings
    if mode == "monitor":
        if completed < 10:
            raise ControlError(f"{completed} handshakes were completed")
        assert standings[source] == "compromised", standings
        # Of its further connections none says anything, and the neighbour's pass.
        before = home.delivered()
        for number in range(120, 128):
            connection = home.connection(family, number, source=source, own=Lab.mac(NEIGHBOUR))
            if connection.open(0.5):
                connection.say(spam(number))
                assert b"\r\n250" not in connection.wait(0.3, b"354", b"\r\n55", b"\r\n45")
        assert home.delivered() == before
        assert home.mail(server(family), NEIGHBOUR) == "sent"


@variants(family=FAMILIES)
def test_the_same_words_convict_who_says_them(home: Home, family: str) -> None:
    """The control of the above: on connections with both ends they do."""
    home.run(policy("monitor"))
    for number in (n for n in range(30, 90) if n % 10 < 8):
        connection = home.connection(family, number)
        if connection.open(0.5):
            connection.say(spam(number))
            connection.wait(0.1, b"354", b"\r\n55", b"\r\n45")
            connection.reset()
    if home.standing("device2") != "compromised":
        raise ControlError(f"device2 is {home.standing('device2')}")


# ── a bot hides ─────────────────────────────────────────────────────────────────────────────────────


def padded(text: bytes, length: int) -> bytes:
    """The same command in so many octets, or its beginning."""
    return text[:-2] + b" " * (length - len(text)) + b"\r\n" if len(text) <= length else text[: length - 2] + b"\r\n"


#: How a decoy is sent so that it gets no further than the router, or is not taken by the server.
DECOYS: dict[str, Callable[[Connection, bytes], None]] = {
    "none": lambda connection, text: None,
    "hop limit 1": lambda connection, text: connection.send(PSH | ACK, text, ttl=1),
    "wrong checksum": lambda connection, text: connection.send(PSH | ACK, text, wrong_checksum=True),
    "both": lambda connection, text: connection.send(PSH | ACK, text, ttl=1, wrong_checksum=True),
    "acknowledges the future": lambda connection, text: connection.send(
        PSH | ACK, text, ack=connection.ack + (1 << 29)
    ),
    "no ACK": lambda connection, text: connection.send(PSH, text),
    "reset with hop limit 1": lambda connection, text: connection.send(RST | ACK, ttl=1),
    "reset with a wrong checksum": lambda connection, text: connection.send(RST | ACK, wrong_checksum=True),
    "reset out of the window": lambda connection, text: connection.send(RST, seq=connection.seq + (1 << 30)),
    "SYN in between": lambda connection, text: connection.send(SYN, seq=connection.seq + (1 << 29), ttl=1),
}


def hidden_dialogues(home: Home, decoy: str, family: str) -> None:
    """A spammer's dialogues; before each command a decoy of the same length, as of a decent client."""

    def command(real: bytes, innocent: bytes) -> bytes:
        DECOYS[decoy](connection, padded(innocent, len(real)))
        connection.say(real)
        return connection.line(0.3)

    for number in (n for n in range(40) if n % 10 < 8):
        connection = home.connection(family, number)
        if not connection.open(0.5) or not connection.line(0.5):
            continue
        command(POOL, b"EHLO mail.home.example\r\n")
        command(b"MAIL FROM: <x%d@d%d.example>\r\n" % (number, number), b"NOOP\r\n")
        if command(b"RCPT TO: <u%d@s.example>\r\n" % number, b"NOOP\r\n")[:3] == b"250":
            command(b"DATA\r\n", b"NOOP\r\n")
            command(b"Subject: s\r\n\r\nx\r\n.\r\n", b"NOOP\r\n")
        command(b"QUIT\r\n", b"QUIT\r\n")
        connection.reset()


@variants(decoy=DECOYS, checks=("conntrack checks sums", "it does not"), family=FAMILIES)
def test_decoys_hide_nothing(home: Home, unfiltered: Home, decoy: str, checks: str, family: str) -> None:
    # OpenWrt sets 0.
    checksum = int(checks == "conntrack checks sums")
    unfiltered.clean()
    with unfiltered.setting(checksum=checksum):
        hidden_dialogues(unfiltered, decoy, family)
    if unfiltered.settle(6, 1.0) < 6:
        raise ControlError(f"{decoy}: {unfiltered.delivered()} of 8 delivered without a filter")
    home.run(policy("monitor"))
    with home.setting(checksum=checksum):
        hidden_dialogues(home, decoy, family)
    standing = home.standing("device2")
    if decoy == "none" and standing != "compromised":
        raise ControlError(f"without decoys device2 is {standing}")
    # How many it delivers until then depends on how busy the machine is: in mode monitor nothing waits for the filter.
    assert standing == "compromised", f"{standing}, {home.delivered()} delivered"


# ── many are one ────────────────────────────────────────────────────────────────────────────────────


def one_of_many(home: Home, number: int, source: str, own: str) -> None:
    """One spammer's dialogue from an address and a MAC of its own."""
    target = server("IPv6" if ":" in source else "IPv4", number // 8 * 10 + number % 8)
    home.card().answer_for(source, own)
    connection = home.card().connection(target, source=source, own=own)
    if connection.open(0.5):
        connection.say(spam(number))
        if b"354" in connection.wait(0.3, b"354", b"\r\n55", b"\r\n45"):
            connection.say(b"Subject: s\r\n\r\nx\r\n.\r\n")
            connection.wait(0.3, b"queued", b"\r\n55")
        connection.reset()


def new_macs(home: Home, count: int) -> None:
    """A new MAC for each connection, always the same address."""
    for number in range(count):
        one_of_many(home, number, home.lab.address4("device2"), f"06:00:00:00:02:{number:02x}")


def new_macs_and_addresses(home: Home, count: int) -> None:
    for number in range(count):
        one_of_many(home, number, f"192.168.1.{150 + number}", f"06:00:00:00:02:{number:02x}")


def new_macs_by_ipv6(home: Home, count: int) -> None:
    for number in range(count):
        one_of_many(home, number, f"2001:db8:1::b{number:02x}", f"06:00:00:00:02:{number:02x}")


def new_prefixes(home: Home, count: int) -> None:
    """One MAC, which has 40 delegated /64s behind it (a second router's, or what says to be one)."""
    lab = home.lab
    lab.run("router", ["ip", "-6", "route", "replace", "2001:db8:7::/48", "via", lab.address6("device2")])
    lab.run("internet", ["ip", "-6", "route", "replace", "2001:db8:7::/48", "via", "2001:db8:2::1"])
    for number in range(count):
        one_of_many(home, number, f"2001:db8:7:{number:x}::1", lab.mac("device2"))


MANY: dict[str, Callable[[Home, int], None]] = {
    "MACs": new_macs,
    "MACs and addresses": new_macs_and_addresses,
    "MACs by IPv6": new_macs_by_ipv6,
    "prefixes": new_prefixes,
}


@variants(also=[("MACs", "limit"), ("prefixes", "monitor")], many=MANY, mode=("limit", "monitor"))
def test_rotating_gains_nothing(home: Home, unfiltered: Home, many: str, mode: str) -> None:
    """48 connections to as many servers, 10 of which would take a message. Mode limit has a burst of a home's."""
    unfiltered.clean()
    MANY[many](unfiltered, 48)
    if unfiltered.settle(10, 1.0) < 10:
        raise ControlError(f"{unfiltered.delivered()} of 12 delivered without a filter")
    home.run(policy(mode, "closed"))
    MANY[many](home, 48)
    time.sleep(1.5)
    judged = [each["standing"] for each in home.filter.status()["devices"] if each["standing"] != "clear"]
    assert judged, f"nobody is judged; {home.delivered()} delivered"
    assert home.delivered() <= 6


NAT64_SERVER = """
import socketserver, socket
class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6; allow_reuse_address = daemon_threads = True; request_queue_size = 200
class Dialogue(socketserver.StreamRequestHandler):
    def handle(self):
        # IP6T_SO_ORIGINAL_DST: a sockaddr_in6. The socket's own name is what the redirect made of it.
        number = self.request.getsockopt(41, 80, 28)[8 + 14]
        def say(text): self.wfile.write(text + b"\\r\\n")
        say(b"220 mx ESMTP")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"RCPT": say(b"550 5.1.1 user unknown" if number % 10 in (1, 3, 5, 6, 7) else b"250 ok")
            elif verb == b"DATA":
                say(b"354 go")
                for line in self.rfile:
                    if line == b".\\r\\n": break
                say(b"250 ok queued")
            elif verb == b"QUIT": say(b"221 bye"); return
            else: say(b"250 ok")
class Quiet(Server):
    def handle_error(self, *about): pass
with Quiet(("::", 2525), Dialogue) as server:
    print("ready", flush=True)
    server.serve_forever()
"""
PREFIXES = {"well-known": "64:ff9b::", "the network's": "2001:db8:64:64::"}


@variants(prefix=PREFIXES)
def test_servers_behind_nat64_are_as_many_as_they_are(home: Home, prefix: str) -> None:
    """An IPv6-only home: all of IPv4 is one /96 for it. A prefix of the network's own is announced (RFC 8781)."""
    lab, network = home.lab, PREFIXES[prefix]
    home.run(policy("monitor", text="escalate = false\n"))  # else a suspicion would limit it before it has met enough
    if prefix == "the network's":
        advertise(lab, advertisement(pref64(f"{network}/96")))
        home.filter.wait_for(f"NAT64 prefix {network}/96 found")
    lab.run("internet", ["ip", "-6", "route", "replace", "local", f"{network}/96", "dev", "lo"])
    lab.nft(
        "internet",
        "table ip6 nat64\ndelete table ip6 nat64\ntable ip6 nat64 { chain in { type nat hook prerouting "
        f"priority dstnat; ip6 daddr {network}/96 tcp dport 25 redirect to :2525; }}; }}",
    )
    process = lab.start("internet", [PYTHON, "-c", NAT64_SERVER])
    assert process.stdout is not None
    process.stdout.readline()
    try:
        taken = 0
        for number in (n for n in range(60) if n % 10 < 8):
            connection = home.card().connection(f"{network}198.18.{number}.25")
            if connection.open(0.5):
                connection.say(spam(number))
                if b"354" in connection.wait(0.3, b"354", b"\r\n55", b"\r\n45"):
                    connection.say(b"Subject: s\r\n\r\nx\r\n.\r\n")
                    taken += b"queued" in connection.wait(0.3, b"queued")
                connection.reset()
        standing = home.standing("device2")
        if not taken:
            raise ControlError("nobody behind the prefix takes mail")
        assert standing == "compromised", f"{standing}, {taken} delivered"
    finally:
        lab.stop(process)


def test_a_bot_is_convicted_all_the_same(home: Home) -> None:
    """The control of all of the above."""
    home.run(policy("monitor"))
    bot(home.lab, "--count", "16")
    home.filter.wait_for("compromised")
    assert home.judged()
