"""The subscriber map: a router id and a time -> the subscriber and the public addresses of the line at that time.

Knows a row of the map, which the ISP provides as a CSV file (`file`) or by an HTTP lookup (`http`). Must not know
cases. A router may move between subscribers, and the address of a line may change: each row holds from `since` to
`until`. A router that is not in the map is unknown; nothing is guessed.

Names of columns, in the file and in the answer of the lookup; `router` and `subscriber` are required, the others may be
empty or missing:

    router      the router id, as in its certificate
    subscriber  the ISP's own, opaque id
    region, line, model, contact   what the desk filters by, and a reference to a contact
    email       where notices are sent ([mail]); kept nowhere else, and never logged
    language    of notices: ISO 639-1, the first one first, separated by spaces
    asn         number of the autonomous system
    address     public addresses or prefixes of the line, separated by spaces
    ports       1024-2047: the line shares its address with others and has these source ports
    since, until   ISO 8601 with zone (2026-11-24T12:00:00Z); empty: no bound. since is included, until is not.

Several rows may hold for one router at a time, one for each address say, if they name the same subscriber.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, Protocol

COLUMNS = (
    "router", "subscriber", "region", "line", "model", "contact", "asn", "address", "ports", "since", "until", "email",
    "language",
)  # fmt: skip
#: Characters of one field.
MAX_FIELD = 256
#: Rows of one router.
MAX_ROWS_PER_ROUTER = 1000
_ALWAYS = (-(1 << 62), 1 << 62)

Place = IPv4Address | IPv6Address | IPv4Network | IPv6Network


class MapError(ValueError):
    """A map that cannot be used. The text has a line for each error: where and what."""


class MapUnavailableError(Exception):
    """The map cannot be read now; the same call may succeed later."""


class Owned(NamedTuple):
    """An address or prefix of the line. ports: the first and last port of the line; None: all ports."""

    place: Place
    ports: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the map. since, until: POSIX seconds."""

    router: str
    subscriber: str
    region: str
    line: str
    model: str
    contact: str
    asn: int | None
    places: tuple[Owned, ...]
    since: int
    until: int
    email: str = ""
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of a router's line at one time. places: of all rows that hold then."""

    subscriber: str
    region: str
    line: str
    model: str
    contact: str
    asn: int | None
    places: tuple[Owned, ...]
    #: As the map has it; it may be unusable (mail_address.problem).
    email: str = ""
    languages: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Changes with anything that the columns of a case have from the map."""
        return "\x1f".join([self.subscriber, self.region, self.line, self.model, self.contact, str(self.asn)])


class Subscribers(Protocol):
    """The map."""

    async def find(self, router: str, at: int) -> Line | None:
        """None if it is not in the map. Raises `MapUnavailableError`."""

    async def refresh(self, now: float) -> bool:
        """To be called regularly: True if the line of any router may have changed."""


class EmptyMap:
    """No map: every router is unknown."""

    async def find(self, router: str, at: int) -> Line | None:
        return None

    async def refresh(self, now: float) -> bool:
        return False


def line_at(rows: Iterable[Row], at: int) -> Line | None:
    """The line of a router at a time, from its rows. The row that began last names it."""
    holding = sorted((row for row in rows if row.since <= at < row.until), key=lambda row: row.since)
    if not holding:
        return None
    last = holding[-1]
    places = dict.fromkeys(place for row in holding for place in row.places)
    return Line(
        last.subscriber,
        last.region,
        last.line,
        last.model,
        last.contact,
        last.asn,
        tuple(places),
        last.email,
        last.languages,
    )


# ── one row ─────────────────────────────────────────────────────────────────────────────────────


def row(values: dict[str, str]) -> Row:
    """Columns -> a row. Raises `MapError` with the column's name and what is allowed."""
    text = {name: _text(name, values.get(name, "")) for name in COLUMNS}
    for name in ("router", "subscriber"):
        if not text[name]:
            raise MapError(f"{name} is empty")
    ports = _ports(text["ports"])
    places = tuple(Owned(_place(word), ports) for word in text["address"].split())
    if ports and not places:
        raise MapError("ports without an address")
    since, until = _time("since", text["since"], _ALWAYS[0]), _time("until", text["until"], _ALWAYS[1])
    if since >= until:
        raise MapError("until is not after since")
    return Row(
        text["router"],
        text["subscriber"],
        text["region"],
        text["line"],
        text["model"],
        text["contact"],
        _asn(text["asn"]),
        places,
        since,
        until,
        text["email"],
        _languages(text["language"]),
    )


def check_overlaps(rows: Iterable[Row]) -> None:
    """Rows of one router. Raises `MapError` if two subscribers have it at the same time, or there are too many."""
    ordered = sorted(rows, key=lambda one: one.since)
    if len(ordered) > MAX_ROWS_PER_ROUTER:
        raise MapError(f"router has more than {MAX_ROWS_PER_ROUTER} rows")
    latest: dict[str, int] = {}  # subscriber -> until; there are two at most
    for one in ordered:
        if any(until > one.since for subscriber, until in latest.items() if subscriber != one.subscriber):
            raise MapError("two subscribers have the router at the same time")
        latest = {one.subscriber: max(one.until, latest.get(one.subscriber, one.until))}


def _text(name: str, value: str) -> str:
    value = value.strip()
    if len(value) > MAX_FIELD:
        raise MapError(f"{name} has more than {MAX_FIELD} characters")
    if not value.isprintable():
        raise MapError(f"{name} has characters that cannot be printed")
    return value


def _languages(text: str) -> tuple[str, ...]:
    """`de tr`, also `de-AT`: a language without texts is passed over when a notice is made."""
    found = tuple(dict.fromkeys(word.lower().partition("-")[0] for word in text.split()))
    if not all(len(word) in (2, 3) and word.isascii() and word.isalpha() for word in found):
        raise MapError("language is not like de, or de tr")
    return found


def _ports(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    first, _, last = text.partition("-")
    numbers = [int(word) if word.isascii() and word.isdigit() and len(word) < 6 else 0 for word in (first, last)]
    if not 1 <= numbers[0] <= numbers[1] <= 65535:
        raise MapError("ports is not like 1024-2047")
    return numbers[0], numbers[1]


def _place(word: str) -> Place:
    try:
        found: Place = ip_network(word) if "/" in word else ip_address(word)
    except ValueError:
        raise MapError("address is not an address or prefix") from None
    if not public(found):
        raise MapError("address is not public")
    return found


def public(place: Place) -> bool:
    """Whether it is reachable from the Internet: not private, shared, reserved, for documentation or multicast."""
    return place.is_global and not place.is_multicast


def _asn(text: str) -> int | None:
    digits = text.upper().removeprefix("AS")
    if not digits:
        return None
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and 0 < int(digits) < 1 << 32):
        raise MapError("asn is not a number from 1 to 4294967295")
    return int(digits)


def _time(name: str, text: str, default: int) -> int:
    if not text:
        return default
    try:
        # Python 3.10 does not know Z.
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1] in "Zz" else text)
    except ValueError:
        raise MapError(f"{name} is not like 2026-11-24T12:00:00Z") from None
    if moment.tzinfo is None:
        raise MapError(f"{name} has no time zone; Z means UTC")
    return int(moment.timestamp())
