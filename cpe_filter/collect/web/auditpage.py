"""The audit log as a page: who did what when, by person, case, kind and day.

Knows the filter and how lines are shown. Must not know SQL or routes. Reasons are hostile text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, get_args

from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.web import zone
from cpe_filter.collect.web.layout import attribute, choose, link, listing, option, plain, when
from cpe_filter.texts.html import Column, shown

PATH = "/audit"
PAGE = 100
_LAST_PAGE = 10_000
_VIAS = {"page": "the page", "api": "the API", "command": "the command line", "service": "the collector itself"}


class View(NamedTuple):
    """As in the URL; empty if missing. since, until: days in the zone of the page, both included. page: from 1."""

    who: str
    case: str
    what: str
    via: str
    since: str
    until: str
    page: int

    def query(self) -> dict[str, str]:
        values = {**self._asdict(), "page": str(self.page) if self.page > 1 else ""}
        return {name: str(value) for name, value in values.items()}


def parse(query: Mapping[str, str]) -> View:
    """What a query asks for; an invalid value counts as missing."""
    what, via, page = query.get("what", ""), query.get("via", ""), query.get("page", "")
    since, until = query.get("since", ""), query.get("until", "")
    return View(
        plain(query.get("who", ""), audit.MAX_NAME).strip(),
        plain(query.get("case", ""), audit.MAX_NAME).strip(),
        what if what in audit.KINDS else "",
        via if via in get_args(audit.Via) else "",
        since if zone.day_start(since) is not None else "",
        until if zone.day_end(until) is not None else "",
        max(1, min(_LAST_PAGE, int(page))) if page.isascii() and page.isdecimal() and len(page) < 9 else 1,
    )


async def page(store: Store, view: View) -> str:
    """The page's content. Raises `StoreError`."""
    since = zone.day_start(view.since) if view.since else None
    until = zone.day_end(view.until) if view.until else None
    want = audit.Filter(view.who, view.case, view.what, view.via, since, until)
    rows, total = await audit.listed(store, want, (view.page - 1) * PAGE, PAGE)
    people = await audit.people(store)
    lead = (
        "Who did what, also through the API and on the command line. Lines are added and never changed; each one has "
        "the checksum of the one before. Old ones are deleted after <code>[retention] audit_days</code>."
    )
    return f'<h1>Audit log</h1><p class="lead">{lead}</p>{_filter(view, people)}{_list(rows, total, view)}'


def _filter(view: View, people: list[str]) -> str:
    people = [*people, view.who] if view.who and view.who not in people else people
    kinds = sorted(audit.KINDS.items(), key=lambda item: item[1])
    return (
        f'<form class="filter card loose" method="get" action="{PATH}" role="search" aria-label="Which lines">'
        + choose("who", "Person", [("", "all"), *((name, option(name)) for name in people)], view.who)
        + choose("what", "Kind", [("", "all"), *kinds], view.what)
        + choose("via", "By way of", [("", "all"), *_VIAS.items()], view.via)
        + f'<div><label for="f-case">Case</label><input id="f-case" name="case" value="{attribute(view.case)}" '
        f'maxlength="{audit.MAX_NAME}" spellcheck="false"></div>'
        + _day("since", "From", view.since)
        + _day("until", "To", view.until)
        + f'<div class="go"><button class="main">Show</button><a href="{PATH}">Reset</a></div></form>'
    )


def _day(name: str, title: str, value: str) -> str:
    field = f'<input id="f-{name}" name="{name}" type="date" value="{attribute(value)}">'
    return f'<div><label for="f-{name}">{title}</label>{field}</div>'


def _list(rows: list[Row], total: int, view: View) -> str:
    if not rows:
        text = "This page is empty." if total else "No matching line."
        return f'<div class="card"><p class="none" role="status">{text}</p>{_pages(total, view)}</div>'
    columns = [
        Column("Time"),
        Column("Person"),
        Column("What"),
        Column("Case"),
        Column("Reason", "reason"),
        Column("Address", "narrow-off"),
        Column("No.", "n narrow-off"),
    ]
    first = (view.page - 1) * PAGE
    caption = f"{first + 1:,} to {first + len(rows):,} of {total:,}, the latest first"
    listed = listing(caption, columns, [("", _cells(row)) for row in rows])
    return f'<div class="card audit">{listed}{_pages(total, view)}</div>'


def _cells(row: Row) -> list[str]:
    way = "" if row["via"] == audit.PAGE else f'<br><span class="note">by {_VIAS.get(row["via"], "?")}</span>'
    case = row["case_id"]
    return [
        when(row["at"], exact=True),
        (shown(row["who"], 64) if row["who"] else '<span class="soft">unknown</span>') + way,
        audit.KINDS.get(row["what"], shown(row["what"], 40)),
        f'<a class="code nowrap" href="{link(f"/cases/{case}", {})}">{shown(case, 40)}</a>' if case else "&ndash;",
        shown(row["reason"], audit.MAX_REASON) if row["reason"] else "&ndash;",
        f'<span class="code nowrap">{shown(row["peer"], 45)}</span>' if row["peer"] else "&ndash;",
        f"{row['n']:,}",
    ]


def _pages(total: int, view: View) -> str:
    last = max(1, min(_LAST_PAGE, -(-total // PAGE)))
    if last == 1 and view.page == 1:
        return ""
    query, links = view.query(), []
    if view.page > 1:
        back = link(PATH, query, page=str(min(view.page - 1, last)))
        links.append(f'<a class="button" rel="prev" href="{back}">Later</a>')
    if view.page < last:
        links.append(f'<a class="button" rel="next" href="{link(PATH, query, page=str(view.page + 1))}">Earlier</a>')
    return (
        f'<nav class="pages" aria-label="Pages of the log"><span class="soft">Page {view.page:,} of {last:,}</span>'
        f'<span class="links">{"".join(links)}</span></nav>'
    )
