"""The page of one subscriber, and the search for one: by id, by router, or by address and time.

Knows how it is shown. Must not know SQL or routes. Strings of subscribers and routers are hostile. An address is
searched for by POST, so that no URL, history or log of a proxy has it; the audit log has who asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple

from cpe_filter.collect.cases import subscriber as found_in
from cpe_filter.collect.cases.subscriber import Address, Found, Moment, Subscriber
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.subscribers.map import Line, MapUnavailableError
from cpe_filter.collect.web import instructions as instructions_page
from cpe_filter.collect.web import rolloutpage, zone
from cpe_filter.collect.web.access import Person
from cpe_filter.collect.web.caselist import device, state
from cpe_filter.collect.web.layout import attribute, form, link, listing, plain, when, whose
from cpe_filter.texts.html import Column, count, note, shown

PATH = "/subscribers"
_MAX_TEXT = 256
_CHANNELS = {"mail": "E-mail", "webhook": "Webhook", "router": "Notice on the router", "desk": "Desk"}
_ANSWERS = {
    "seen": "I have seen this",
    "cleaned": "the device has been cleaned",
    "server": "it is a mail server (objection)",
    "mistake": "it is a mistake (objection)",
}


class AddressQuery(NamedTuple):
    """What is searched for. at: POSIX seconds."""

    address: Address
    port: int | None
    at: int

    @property
    def words(self) -> str:
        """For the audit log."""
        port = f" port {self.port}" if self.port is not None else ""
        return f"{self.address}{port} at {self.at}"


# ── search ──────────────────────────────────────────────────────────────────────────────────────


def parse_address(given: Mapping[str, str]) -> AddressQuery | str:
    """The fields of the form, or what is wrong with them."""
    try:
        address = ip_address(given.get("address", "").strip())
    except ValueError:
        return "The address is not an IPv4 or IPv6 address."
    port = given.get("port", "").strip()
    if port and not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536):
        return "The port is not a number from 1 to 65535."
    moments = zone.moments(given.get("time", "").strip().replace(" ", "T"))
    if not moments:
        return f"The time is not like 2026-10-25 14:30 ({zone.name()}) or 2026-10-25T12:30Z, or it did not exist."
    if len(moments) > 1:
        return (
            "The clock showed this time twice. Give it in UTC, such as 2026-10-25T00:30Z, or as 2026-10-25T02:30+02:00."
        )
    return AddressQuery(address, int(port) if port else None, moments[0])


async def search(store: Store, text: str, person: Person) -> str:
    """The page that searches by id and router. Raises `StoreError`."""
    text = plain(text, _MAX_TEXT).strip()
    result = _result(await found_in.search(store, text), "") if text else ""
    return f"<h1>Subscribers</h1>{_forms(text, {}, person)}{result}"


async def by_address(
    store: Store, desk: Desk | None, given: Mapping[str, str], query: AddressQuery | str, person: Person
) -> str:
    """The page after a search by address. Raises `StoreError`."""
    if isinstance(query, str):
        result = f'<p class="message wrong" role="alert">{query}</p>'
    else:
        result = await _by_address(store, desk, query)
    return f"<h1>Subscribers</h1>{_forms('', given, person)}{result}"


async def _by_address(store: Store, desk: Desk | None, query: AddressQuery) -> str:
    if desk is None:
        return '<p class="message wrong" role="alert">No subscriber map is configured.</p>'
    try:
        found, complete = await found_in.by_address(store, desk.line_of, query.address, query.port, query.at)
    except MapUnavailableError:
        return '<p class="message wrong" role="alert">The subscriber map is unavailable. Try again soon.</p>'
    port = f", source port {query.port}" if query.port is not None else ""
    said = (
        f"{shown(query.address)}{port}, at {when(query.at)}. Only lines with a case within 7 days of it are searched."
    )
    if not complete:
        said += " Not all of them could be searched in time."
    if any(one.shared for one in found):
        said += " The address is shared: give the source port to tell its lines apart."
    return _result(found, said)


def _forms(text: str, given: Mapping[str, str], person: Person) -> str:
    by_text = (
        f'<form class="filter card loose" method="get" action="{PATH}" role="search" aria-label="By id or router">'
        '<div class="wide"><label for="f-text">Subscriber or router</label><input id="f-text" name="text" '
        f'type="search" value="{attribute(text)}" maxlength="{_MAX_TEXT}"></div>'
        '<div class="go"><button class="main">Find</button></div></form>'
    )
    if not person.may_act:
        return by_text
    fields = (
        _field("address", "Address", given, "192.0.2.1 or 2001:db8::1")
        + _field("port", "Source port", given, "if known", required=False)
        + _field("time", f"Time ({shown(zone.name())})", given, "2026-10-25 14:30, or with Z")
    )
    body = f'{fields}<div class="go"><button class="main">Find by address</button></div>'
    return by_text + form(f"{PATH}", person, body, "filter card loose")


def _field(name: str, title: str, given: Mapping[str, str], hint: str, required: bool = True) -> str:
    need = " required" if required else ""
    value = attribute(plain(given.get(name, ""), 60))
    return (
        f'<div><label for="a-{name}">{title}</label><input id="a-{name}" name="{name}" value="{value}" maxlength="60" '
        f'placeholder="{hint}" autocomplete="off" spellcheck="false"{need}></div>'
    )


def _result(found: list[Found], said: str) -> str:
    lead = f'<p class="note">{said}</p>' if said else ""
    if not found:
        return f'<section class="card">{lead}<p class="none" role="status">No subscriber with a case.</p></section>'
    columns = [Column("Subscriber"), Column("Router"), Column("Cases", "n"), Column("Last seen", "nowrap")]
    rows = [
        (
            "",
            [
                whose(one.subscriber),
                f'<span class="code">{shown(one.router)}</span>',
                f"{one.cases:,}",
                when(one.last_at),
            ],
        )
        for one in found
    ]
    most = f'<p class="note">The latest {len(found)}.</p>' if len(found) == found_in.MAX_FOUND else ""
    return f'<section class="card">{lead}{listing(count(len(found), "subscriber"), columns, rows)}{most}</section>'


# ── one subscriber ──────────────────────────────────────────────────────────────────────────────


async def page(store: Store, desk: Desk | None, subscriber: str, now: int) -> str | None:
    """The content of the page; None if the subscriber has no case. Raises `StoreError`."""
    found = await found_in.read(store, subscriber)
    if found is None:
        return None
    lines: dict[str, Line | None] = {}
    away = desk is None
    if desk is not None:
        try:
            for router in found.routers:
                lines[router] = await desk.line_of(router, now)
        except MapUnavailableError:
            away = True
    counts = f"{count(found.total, 'case')}, {count(len(found.routers), 'router')}"
    return (
        f'<p class="back"><a href="{PATH}">All subscribers</a></p><h1>{shown(subscriber)}</h1>'
        f'<p class="lead">{counts}. Cases are kept as long as <code>[retention] case_days</code> says.</p>'
        f"{_facts(found, lines)}{_routers(found, lines, away)}{_cases(found)}{_moments(found.moments)}"
        f"{_instructions(found.instructions)}{_documents(found)}"
    )


def _facts(found: Subscriber, lines: Mapping[str, Line | None]) -> str:
    own = [line for line in lines.values() if line is not None and line.subscriber == found.subscriber]
    latest = found.cases[0]
    languages = sorted({word for line in own for word in line.languages})
    facts = [
        ("Contact", shown(latest.contact) if latest.contact else "&ndash;"),
        ("Region", shown(latest.region) if latest.region else "&ndash;"),
        ("Lines", ", ".join(sorted({shown(case.line) for case in found.cases if case.line})) or "&ndash;"),
        ("Language of notices", " ".join(shown(word) for word in languages) or "that of the configuration"),
        ("E-mail", ", ".join(sorted({shown(line.email) for line in own if line.email})) or "none in the map"),
    ]
    rows = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in facts)
    return f'<section class="card"><h2>Subscriber</h2><dl class="facts even">{rows}</dl></section>'


def _routers(found: Subscriber, lines: Mapping[str, Line | None], away: bool) -> str:
    columns = [
        Column("Router"),
        Column("Cases", "n"),
        Column("Seen"),
        Column("Now"),
        Column("Exemptions in force"),
    ]
    rows = []
    for router, row in found.routers.items():
        cases = [case for case in found.cases if case.router == router]
        seen = f"{when(min(case.first_at for case in cases))} to {when(max(case.last_at for case in cases))}"
        model = note(shown(cases[0].model)) if cases[0].model else ""
        cells = [f'<span class="code">{shown(router)}</span>{model}', f"{len(cases):,}", seen]
        rows.append(("", [*cells, _is_now(found.subscriber, lines.get(router), away), _exempt(row)]))
    return f'<section class="card"><h2>Routers</h2>{listing("The latest first", columns, rows)}</section>'


def _is_now(subscriber: str, line: Line | None, away: bool) -> str:
    if away:
        return "unknown: no subscriber map"
    if line is None:
        return "not in the map"
    return "this subscriber's" if line.subscriber == subscriber else "another subscriber's"


def _exempt(row: Row) -> str:
    """As the last heartbeat counts them: what is exempt only the router knows."""
    if row.get("exempt") is None:
        return "not reported"
    beat = when(row["heartbeat_at"])
    return f"{row['exempt']:,}{note(f'heartbeat of {beat}')}"


def _cases(found: Subscriber) -> str:
    columns = [
        Column("Case"),
        Column("State"),
        Column("Router", "narrow-off"),
        Column("Device"),
        Column("Opened", "nowrap"),
        Column("Last seen", "nowrap"),
        Column("Found", "n"),
    ]
    rows = [
        (
            "",
            [
                f'<a class="code nowrap" href="{link(f"/cases/{case.id}", {})}">{shown(case.id)}</a>',
                state(case.state),
                f'<span class="code">{shown(case.router)}</span>',
                device(case.dev, case.oui),
                when(case.opened_at),
                when(case.last_at),
                "once" if case.episodes == 1 else f"{case.episodes:,} times",
            ],
        )
        for case in found.cases
    ]
    caption = f"The latest {len(rows):,} of {found.total:,}" if found.total > len(rows) else "The latest first"
    return f'<section class="card"><h2>Cases</h2>{listing(caption, columns, rows)}</section>'


def _moments(moments: list[Moment]) -> str:
    if not moments:
        return '<section class="card"><h2>Notices and answers</h2><p class="none">None.</p></section>'
    columns = [Column("Time", "nowrap"), Column("Channel"), Column("What"), Column("Case")]
    rows = [
        (
            "",
            [
                when(one.at),
                _CHANNELS.get(one.channel, "?"),
                _what(one),
                f'<a class="code nowrap" href="{link(f"/cases/{one.case}", {})}">{shown(one.case, 40)}</a>',
            ],
        )
        for one in moments
    ]
    return f'<section class="card"><h2>Notices and answers</h2>{listing("The latest first", columns, rows)}</section>'


def _instructions(rows: list[Row]) -> str:
    """What the desk had routers do; nothing where it never did."""
    if not rows:
        return ""
    items = ""
    for row in rows:
        case = f'<a class="code nowrap" href="{link("/cases/" + row["case_id"], {})}">{shown(row["case_id"], 40)}</a>'
        where = f'case {case}, router <span class="code">{shown(row["router"])}</span>'
        items += f"<li>{when(row['made_at'])}, {where}: {instructions_page.line(row)}</li>"
    return f'<section class="card"><h2>Instructions to routers</h2><ul>{items}</ul></section>'


def _documents(found: Subscriber) -> str:
    """The ISP's signed documents on these routers; nothing where no router has reported one."""
    parts = [
        f'<h3><span class="code">{shown(router)}</span></h3>{rolloutpage.of_router(in_force, outcomes)}'
        for router, (in_force, outcomes) in found.documents.items()
        if in_force or outcomes
    ]
    return f'<section class="card"><h2>Signed documents</h2>{"".join(parts)}</section>' if parts else ""


def _what(one: Moment) -> str:
    if one.what == "answered":
        return f"answered: {shown(_ANSWERS.get(one.more, one.more))}"
    by = "by " if one.channel == "desk" else ""
    return shown(one.what, 40) + (note(f"{by}{shown(one.more, 160)}") if one.more else "")
