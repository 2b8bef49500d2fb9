"""Where mail really goes: domains, the servers that take their mail, and these servers' manners.

Knows shares and addresses. Must not know senders, nor what servers say (`manners`). Addresses are of 240.0.0.0/4,
reserved: nobody's. Sources: domains with mail at Google 22 %, Microsoft 18 %, hosters 40 %, their own server 20 % (Liu
et al., IMC 2021, rounded, as the brief has it); STARTTLS at 94 % (Google's transparency report); greylisting at 10-15
%; zen at half of hosters and two fifths of others, a fifth ask for a reverse name, half of Microsoft 365's tenants
refuse unknown users, a tenth of servers catches all (all the brief). Which hosters are large, how many networks each
has, who checks HELO, sender and SPF, IPv6, and the mix of consumers' providers are judgement (J).
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import NamedTuple

from cpe_filter.inspect.facts import Reply
from tests.evaluate.world.replies import reply

Range = tuple[float, float]
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "frost", "grove", "haven", "indigo", "juniper", "krypton")


class Manners(NamedTuple):
    """How a server, or all those of a provider, behave. kind: of `manners`. program: whose texts it has."""

    kind: str
    program: str
    style: int  # which of its texts
    tls: bool
    pipelining: bool
    greylists: bool = False
    zen: bool = False
    asks_ptr: bool = False
    asks_lists: bool = False  # of infected lines, without PBL
    checks_helo: bool = False
    checks_sender: bool = False
    checks_spf: bool = False
    user_first: bool = False  # is a recipient unknown before lists are asked?
    catch_all: bool = False
    late: bool = False  # takes unknown users, and bounces
    filters: float = 0.7  # how much of what is unwanted it refuses
    ipv6: bool = False

    name: str = "mx.example.net"  # in its greeting

    @property
    def offers(self) -> Reply:
        return offers(self.name, self.pipelining, self.tls)

    @property
    def greeting(self) -> Reply:
        return greeting(self.name, self.program, self.style)


@lru_cache(4096)
def offers(name: str, pipelining: bool, tls: bool) -> Reply:
    """The reply to EHLO."""
    extensions = ("PIPELINING|" if pipelining else "") + ("STARTTLS|" if tls else "")
    return reply(f"{name}|{extensions}SIZE 52428800|250 8BITMIME")


@lru_cache(4096)
def greeting(name: str, program: str, style: int) -> Reply:
    """A server's first reply; one in twenty names nobody."""
    if program == "exim":
        return reply(
            f"{name} ESMTP Exim 4.98.2 #2 Sun, 29 Nov 2026 12:00:00 +0000|"
            "We do not authorize the use of this system to transport unsolicited,|220 and/or bulk e-mail."
        )
    if style % 20 == 19 and program == "other":
        return reply("220 smtp ready")
    return reply(f"220 {name} {_PROGRAMS.get(program, 'ESMTP')}")


#: What servers call themselves, and the names of the large ones.
_PROGRAMS = {
    "postfix": "ESMTP Postfix", "exchange": "Microsoft ESMTP MAIL Service ready", "gmail": "ESMTP a1si123.4 - gsmtp",
    "outlook": "Microsoft ESMTP MAIL Service ready", "m365": "Microsoft ESMTP MAIL Service ready",
    "yahoo": "ESMTP ready", "gmx": "Nemesis ESMTP Service ready",
}  # fmt: skip
_NAMES = {
    "gmail": "mx.google.example", "outlook": "am7.olc.protection.outlook.example",
    "m365": "am7.mail.protection.outlook.example", "yahoo": "mtaproxy511.yahoodns.example", "gmx": "gmx.example",
    "tonline": "mx.t-online.example", "icloud": "mx01.mail.icloud.example",
}  # fmt: skip


class Host(NamedTuple):
    """A domain's mail. networks: the /24s of its MXes, the preferred ones first. fate: up, lost, closed."""

    number: int
    domain: str
    networks: tuple[int, ...]
    preferred: int  # how many of the networks answer for the first MX
    manners: Manners
    fate: str = "up"


#: Consumers' providers: kind, domain, /24s in all and for the first MX (J).
_CONSUMER = (
    ("gmail", "gmail.example", 6, 3),
    ("outlook", "outlook.example", 8, 4),
    ("yahoo", "yahoo.example", 8, 5),
    ("icloud", "icloud.example", 4, 3),
    ("gmx", "gmx.example", 2, 2),
    ("tonline", "t-online.example", 1, 1),
)
CONSUMERS = len(_CONSUMER)
#: Numbers of domains from here on are businesses, clubs, families.
DOMAINS = 100
_HOSTERS = 40  # large hosters
_SHARED = 600  # machines of shared hosting with an MX of their own
ADDRESS_BASE = 0xF0000000


class Internet:
    """All servers; each is made when it is first asked for. gone: share of domains whose server is no more."""

    def __init__(self, rng: random.Random, gone: Range = (0.003, 0.015), greylisting: Range = (0.10, 0.15)) -> None:
        self._rng = rng
        self._gone = rng.uniform(*gone)
        self._greylisting = rng.uniform(*greylisting)
        self._base = rng.randrange(1 << 16)
        self._hosts: dict[int, Host] = {}
        self._providers: dict[str, tuple[Manners, tuple[int, ...], int]] = {}
        self._next = 0
        # A country with strong providers of its own, or one where all are with the large ones (J).
        local = rng.uniform(0.02, 0.45)
        large = (rng.uniform(0.35, 0.60), rng.uniform(0.12, 0.25), rng.uniform(0.05, 0.18), rng.uniform(0.04, 0.12))
        self._mix = [share * (1 - local) / sum(large) for share in large] + [local * 0.65, local * 0.35]

    def consumer(self, rng: random.Random) -> int:
        """A consumers' provider, as they are spread in this home's country."""
        return rng.choices(range(CONSUMERS), self._mix)[0]

    def anyone(self, rng: random.Random, consumers: float) -> int:
        """A domain: a consumers' provider with this probability, else one of 300,000."""
        return self.consumer(rng) if rng.random() < consumers else DOMAINS + rng.randrange(300000)

    def host(self, number: int) -> Host:
        found = self._hosts.get(number)
        if found is None:
            found = self._hosts[number] = self._make(number)
        return found

    def address(self, rng: random.Random, host: Host, alternate: bool = False, ipv6: bool = False) -> bytes:
        """One of its addresses: of the first MX, or of another one; by IPv6 where both have it."""
        networks = host.networks
        if alternate and len(networks) > host.preferred:
            network = networks[rng.randrange(host.preferred, len(networks))]
        else:
            network = networks[rng.randrange(host.preferred)]
        if ipv6 and host.manners.ipv6:
            return bytes.fromhex("20010db8") + (network & 0xFFFF).to_bytes(2, "big") + bytes(9) + b"\x19"
        return (ADDRESS_BASE + (((self._base << 8) + network << 8) & 0x0FFFFF00) + 25 + host.number % 3).to_bytes(
            4, "big"
        )

    def _make(self, number: int) -> Host:
        rng = self._rng
        if number < CONSUMERS:
            kind, domain, total, preferred = _CONSUMER[number]
            manners, networks, first = self._provider(kind, total, preferred)
            return Host(number, domain, networks, first, manners)
        domain = f"{_WORDS[number % 11]}{number}.{'com' if number % 3 else 'example'}"
        draw = rng.random()
        fate = "up" if draw > self._gone else "lost" if draw > 0.5 * self._gone else "closed"
        where = rng.random()
        if where < 0.22:
            manners, networks, first = self._provider("gmail", 6, 3)
        elif where < 0.40:
            manners, networks, first = self._provider("m365", 14, 10)
            # Each tenant has one of the addresses.
            start = rng.randrange(len(networks))
            networks, first = (networks[start],), 1
            manners = manners._replace(late=rng.random() < 0.5)
        elif where < 0.60:
            manners, networks, first = self._provider(f"hoster{int(_HOSTERS * rng.random() ** 2)}", 3, 1)
        elif where < 0.80:
            manners, networks, first = self._provider(f"shared{rng.randrange(_SHARED)}", 1, 1)
        else:
            manners, networks, first = self._draw("own", f"mail.{domain}"), (self._network(),), 1
        return Host(number, domain, networks, first, manners, fate if where >= 0.4 else "up")

    def _provider(self, name: str, total: int, preferred: int) -> tuple[Manners, tuple[int, ...], int]:
        found = self._providers.get(name)
        if found is None:
            kind = "hoster" if name.startswith(("hoster", "shared")) else name
            networks = tuple(self._network() for _ in range(total))
            found = self._providers[name] = (self._draw(kind, f"mx1.{name}.example"), networks, preferred)
        return found

    def _network(self) -> int:
        self._next += 1
        return self._next

    def _draw(self, kind: str, name: str) -> Manners:
        rng = self._rng
        if kind in ("gmail", "outlook", "m365", "yahoo", "icloud", "gmx", "tonline"):
            return Manners(
                kind, kind, rng.randrange(100), True, kind != "tonline", filters=_LARGE_FILTERS[kind],
                ipv6=kind in ("gmail", "m365", "gmx"), name=_NAMES[kind],
            )  # fmt: skip
        program = rng.choices(("postfix", "exim", "exchange", "other"), (0.50, 0.25, 0.07, 0.18))[0]
        hoster = kind == "hoster"
        zen = rng.random() < (0.5 if hoster else 0.4)
        return Manners(
            kind,
            program,
            rng.randrange(100),
            rng.random() < 0.94,
            program != "other" or rng.random() < 0.6,
            greylists=rng.random() < self._greylisting,
            zen=zen,
            asks_ptr=rng.random() < 0.2,
            asks_lists=zen or rng.random() < 0.25,
            checks_helo=rng.random() < 0.2,
            checks_sender=rng.random() < 0.4,
            checks_spf=rng.random() < 0.3,
            user_first=rng.random() < 0.3,
            catch_all=rng.random() < 0.1,
            filters=rng.uniform(0.2, 0.9),
            ipv6=rng.random() < 0.35,
            name=name,
        )


#: How much of unwanted mail they refuse instead of putting it into a folder (J).
_LARGE_FILTERS = {
    "gmail": 0.5, "outlook": 0.15, "m365": 0.15, "yahoo": 0.5, "icloud": 0.5, "gmx": 0.6, "tonline": 0.6,
}  # fmt: skip
