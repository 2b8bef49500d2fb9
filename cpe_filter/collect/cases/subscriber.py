"""One subscriber: all cases and routers, what was sent and answered; and which subscriber an address was at a time.

Knows the tables of cases and the subscriber map. Must not know HTTP. Only subscribers with a case are found, as long as
retention keeps it: this is not a directory of all subscribers. An address is compared with the line of each router that
has a case near that time (`NEAR_S`), as the map has it for exactly that time; nothing is guessed, and nothing of the
search is kept here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from cpe_filter.collect.cases import instructions, query
from cpe_filter.collect.cases.model import Case, Filter
from cpe_filter.collect.rollout.routers import of_routers
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.subscribers.map import Line

#: Cases and moments that are read, the latest.
MAX_CASES, MAX_MOMENTS = 200, 300
#: Routers whose signed documents are read, the latest.
MAX_DOCUMENTED = 20
#: Subscribers in the result of a search.
MAX_FOUND = 50
#: How near to the time of a search a device must have been seen.
NEAR_S = 7 * 86_400
#: Routers that a search by address asks the map for, and for how long, seconds.
MAX_ROUTERS, SEARCH_S = 5000, 10.0

Address = IPv4Address | IPv6Address
#: The line of a router at a time. Raises `MapUnavailableError`.
LineOf = Callable[[str, int], Awaitable[Line | None]]


class Moment(NamedTuple):
    """at: POSIX seconds. channel: mail, webhook, router, desk. what: a word. more: what a person or program wrote."""

    at: int
    case: str
    channel: str
    what: str
    more: str


class Found(NamedTuple):
    """A subscriber in the result of a search. shared: the port was not given, and others have the address, too."""

    subscriber: str
    router: str
    cases: int
    last_at: int
    shared: bool = False


class Subscriber(NamedTuple):
    """cases: the latest first. total: their number. routers: router -> row of router_state, {} without one.
    instructions: for these routers (`instructions.of_subscriber`). documents: router -> in force, and outcomes
    (`rollout.routers.of_routers`)."""

    subscriber: str
    cases: list[Case]
    total: int
    routers: dict[str, Row]
    moments: list[Moment]
    instructions: list[Row]
    documents: dict[str, tuple[list[Row], list[Row]]]


async def read(store: Store, subscriber: str) -> Subscriber | None:
    """None if it has no case. Raises `StoreError`."""
    if not subscriber or "\0" in subscriber:
        return None
    found = await query.listed(store, Filter(subscriber=subscriber), "last", 0, MAX_CASES)
    if not found.cases:
        return None
    routers: dict[str, Row] = {case.router: {} for case in found.cases}
    for router in routers:
        rows = await store.read(
            "SELECT model, heard_at, heartbeat_at, exempt FROM router_state WHERE router = :router", router=router
        )
        routers[router] = rows[0] if rows else {}
    asked = await instructions.of_subscriber(store, subscriber)
    documents = await of_routers(store, list(routers)[:MAX_DOCUMENTED])
    moments = await _moments(store, subscriber)
    return Subscriber(subscriber, found.cases, found.total, routers, moments, asked, documents)


_CASES = "SELECT id FROM desk_case WHERE subscriber = :subscriber"


async def _moments(store: Store, subscriber: str) -> list[Moment]:
    """Notices and answers, the latest first."""
    values = {"subscriber": subscriber, "most": MAX_MOMENTS}
    out: list[Moment] = []
    for row in await store.read(
        f"SELECT * FROM desk_mail WHERE case_id IN ({_CASES}) ORDER BY made_at DESC LIMIT :most", **values
    ):
        why = f"{row['why'] or ''} {row['status'] or ''}".strip()
        if row["sent_at"] is not None:
            out.append(Moment(row["sent_at"], row["case_id"], "mail", "sent", row["languages"]))
        if row["state"] in ("failed", "bounced"):
            out.append(Moment(row["done_at"] or row["made_at"], row["case_id"], "mail", row["state"], why))
        elif row["state"] == "queued":
            out.append(Moment(row["made_at"], row["case_id"], "mail", "waits", why))
    for row in await store.read(
        f"SELECT case_id, kind, done_at FROM desk_event WHERE case_id IN ({_CASES}) AND state = 'delivered'"
        " ORDER BY done_at DESC LIMIT :most", **values,
    ):  # fmt: skip
        out.append(Moment(row["done_at"] or 0, row["case_id"], "webhook", "delivered", row["kind"]))
    for row in await store.read(
        f"SELECT case_id, at, who, what FROM desk_case_action WHERE case_id IN ({_CASES})"
        " AND what NOT IN ('note', 'quiet', 'relapsed')"
        " ORDER BY at DESC LIMIT :most", **values,
    ):  # fmt: skip
        if row["who"] not in ("mail", "webhook"):
            out.append(Moment(row["at"], row["case_id"], "desk", row["what"], row["who"]))
    for row in await store.read(
        "SELECT d.case_id, i.notice, i.seen_at, i.seen_home_at, i.answered_at, i.answer FROM desk_incident d"
        " JOIN incident i ON i.router = d.router AND i.id = d.incident"
        f" WHERE d.case_id IN ({_CASES}) AND i.notice IS NOT NULL"
        " ORDER BY i.updated_at DESC LIMIT :most", **values,
    ):  # fmt: skip
        notice = json.loads(row["notice"])
        if row["seen_at"] is not None:
            out.append(Moment(row["seen_at"], row["case_id"], "router", "opened", _times(notice.get("shown", 0))))
        if row["seen_home_at"] is not None:
            times = f"at other devices, {_times(notice.get('others', 0))}"
            out.append(Moment(row["seen_home_at"], row["case_id"], "router", "opened", times))
        if row["answered_at"] is not None:
            out.append(Moment(row["answered_at"], row["case_id"], "router", "answered", row["answer"] or ""))
    return sorted(out, key=lambda one: -one.at)[:MAX_MOMENTS]


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


async def search(store: Store, text: str) -> list[Found]:
    """Subscribers whose id or router has this text, the latest first. Raises `StoreError`."""
    if not text.strip():
        return []
    plain = text.strip().lower().replace("\0", "").encode(errors="replace").decode()[:200]
    pattern = plain.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    rows = await store.read(
        "SELECT subscriber, MAX(router) AS router, COUNT(*) AS cases, MAX(last_at) AS last_at FROM desk_case"
        " WHERE subscriber <> '' AND (LOWER(subscriber) LIKE :text ESCAPE '!' OR LOWER(router) LIKE :text ESCAPE '!')"
        " GROUP BY subscriber ORDER BY MAX(last_at) DESC, subscriber LIMIT :most",
        text=f"%{pattern}%", most=MAX_FOUND,
    )  # fmt: skip
    return [Found(row["subscriber"], row["router"], int(row["cases"]), row["last_at"]) for row in rows]


async def by_address(
    store: Store, line_of: LineOf, address: Address, port: int | None, at: int
) -> tuple[list[Found], bool]:
    """Who had an address, and the source port if it is given, at a time; and whether all routers were looked at.

    Raises `StoreError` and `MapUnavailableError`.
    """
    rows = await store.read(
        "SELECT router, COUNT(*) AS cases, MAX(last_at) AS last_at FROM desk_case"
        " WHERE first_at <= :after AND last_at >= :before GROUP BY router"
        " ORDER BY MAX(last_at) DESC, router LIMIT :most",
        before=at - NEAR_S, after=at + NEAR_S, most=MAX_ROUTERS + 1,
    )  # fmt: skip
    end = time.monotonic() + SEARCH_S
    out: list[Found] = []
    for row in rows[:MAX_ROUTERS]:
        if time.monotonic() > end:
            return out, False
        line = await line_of(row["router"], at)
        if line is None:
            continue
        fits = [ports for place, ports in line.places if _has(place, address)]
        fits = [ports for ports in fits if ports is None or port is None or ports[0] <= port <= ports[1]]
        if fits:
            shared = port is None and all(ports is not None for ports in fits)
            out.append(Found(line.subscriber, row["router"], int(row["cases"]), row["last_at"], shared))
    return out, len(rows) <= MAX_ROUTERS


def _has(place: Address | IPv4Network | IPv6Network, address: Address) -> bool:
    if isinstance(place, IPv4Network | IPv6Network):
        return place.version == address.version and address in place
    return place == address
