"""The frame of every page, and the pieces that several use: forms, links with a query, times.

Knows HTML and the style's class names. Must not know what a page is about. Arguments are HTML: strings from outside go
through `texts.html.shown` (or `attribute`) before they come here.
"""

from __future__ import annotations

import html
import re
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlencode

from cpe_filter import __version__
from cpe_filter.collect.web import zone
from cpe_filter.collect.web.access import Person
from cpe_filter.collect.web.style import ICON_PATH, STYLE_PATH
from cpe_filter.inputs import printable
from cpe_filter.texts.html import Column, shown

#: Names of a form's fields.
TOKEN = "token"
_TAG = re.compile(r"<[^>]*>")


#: Where a user chooses a time zone.
ZONE_PATH = "/zone"


class Section(NamedTuple):
    """only_admin: only users with role admin see it."""

    title: str
    path: str
    only_admin: bool = False


SECTIONS = (
    Section("Today", "/"),
    Section("Cases", "/cases"),
    Section("Fleet", "/fleet"),
    Section("Rollout", "/rollout"),
    Section("Subscribers", "/subscribers"),
    Section("Mail servers", "/mail-servers"),
    Section("Undelivered", "/undelivered"),
    Section("Audit", "/audit", only_admin=True),
)


def frame(title: str, body: str, person: Person | None, login: bool, section: str = "", message: str = "") -> str:
    """A complete page. login: whether there is a button to log out. section: the path of the section of this page.

    message: what has just been done, HTML.
    """
    top = ""
    if person is not None:
        links = "".join(
            f'<li><a href="{one.path}"{" aria-current=page" if one.path == section else ""}>{one.title}</a></li>'
            for one in SECTIONS
            if person.may_audit or not one.only_admin
        )
        out = ""
        if login:
            out = form("/logout", person, '<button class="plain">Log out</button>')
        top = (
            f'<header class="top"><strong>cpe-filter fleet</strong><nav aria-label="Pages"><ul>{links}</ul></nav>'
            f'<div class="who"><span>{html.escape(person.name)}, {person.role}</span>{out}</div></header>'
        )
    change = f' <a href="{ZONE_PATH}">Change the time zone</a>' if person is not None else ""
    notice = f'<p class="message" role="status">{message}</p>' if message else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{title} - cpe-filter fleet</title>'
        f'<link rel="stylesheet" href="{STYLE_PATH}"><link rel="icon" type="image/svg+xml" href="{ICON_PATH}">'
        "</head><body>"
        f'<a class="skip" href="#main">Skip to content</a><div class="page">{top}\n'
        f'<main id="main">{notice}{body}</main>\n'
        f"<footer>cpe-filter {__version__}. {_zone_text(time.time())}{change}</footer></div></body></html>\n"
    )


def form(action: str, person: Person, body: str, kind: str = "") -> str:
    """A form that changes something, with the token of this person. action: a path of this site."""
    named = f' class="{kind}"' if kind else ""
    return (
        f'<form method="post" action="{action}"{named}>'
        f'<input type="hidden" name="{TOKEN}" value="{html.escape(person.token)}">{body}</form>'
    )


def choose(name: str, title: str, choices: Sequence[tuple[str, str]], chosen: str) -> str:
    """A labelled list. choices: values and their HTML; values may be any string."""
    options = "".join(
        f'<option value="{attribute(value)}"{" selected" if value == chosen else ""}>{text}</option>'
        for value, text in choices
    )
    return f'<div><label for="f-{name}">{title}</label><select id="f-{name}" name="{name}">{options}</select></div>'


def listing(caption: str, columns: Sequence[Column], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table like `texts.html.table` that a narrow screen shows as one block for each row, nothing cut off.

    There each cell stands next to its column's title. For tables with more than three columns. Classes of columns:
    n: numbers; narrow-off: hidden on a phone; wide-only: shown from 77 rem on. The roles stay where a browser takes
    `display: block` for the end of the table.
    """
    head = "".join(f'<th scope="col" role="columnheader"{_class(one.kind)}>{one.title}</th>' for one in columns)
    titles = [html.escape(html.unescape(_TAG.sub("", one.title)), quote=True) for one in columns]
    body = []
    for kind, cells in rows:
        line = []
        for at, (column, title, cell) in enumerate(zip(columns, titles, cells, strict=True)):
            start = '<th scope="row" role="rowheader"' if at == 0 else f'<td role="cell" data-title="{title}"'
            line.append(f"{start}{_class(column.kind)}><div>{cell}</div>{'</td>' if at else '</th>'}")
        body.append(f'<tr role="row"{_class(kind)}>{"".join(line)}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{caption}"><table class="stack" role="table">'
        f'<caption>{caption}</caption><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(body)}</tbody></table></div>'
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def attribute(text: str) -> str:
    """Any string within double quotes, unchanged: for values that the browser sends back."""
    return html.escape("".join(c for c in text if c.isprintable()), quote=True)


def plain(text: str, width: int) -> str:
    """Any string as a search text: without unprintable characters, at most `width` long."""
    return "".join(c for c in text if c.isprintable())[:width]


def option(text: str, width: int = 60) -> str:
    """Any string as the text of an option, where no markup is allowed."""
    plain = printable(text)
    return html.escape(plain if len(plain) <= width else plain[: width - 3] + "...")


def link(path: str, query: Mapping[str, str], **change: str) -> str:
    """A path of this site with a query, for an attribute; empty values are left out."""
    values = {name: value for name, value in {**query, **change}.items() if value}
    encoded = urlencode(values, errors="replace")
    return html.escape(f"{path}?{encoded}" if encoded else path)


def whose(subscriber: str, width: int = 60) -> str:
    """A subscriber's id as a link to the page with all cases."""
    path = html.escape(f"/subscribers/{quote(subscriber, safe='', errors='replace')}")
    return f'<a href="{path}">{shown(subscriber, width)}</a>'


def when(seconds: int | None, exact: bool = False) -> str:
    """A time for people, in the zone of the request: `2026-11-24 05:27 CET`; a dash for none. exact: with seconds.

    The element has the same time in UTC. In UTC the abbreviation is left out: the foot of the page has it.
    """
    if seconds is None:
        return "&ndash;"
    try:
        moment, utc = zone.local(seconds), time.gmtime(seconds)
    except (OverflowError, ValueError, OSError):
        return "?"
    written = moment.strftime("%Y-%m-%d %H:%M:%S" if exact else "%Y-%m-%d %H:%M")
    plain = time.strftime("%Y-%m-%d %H:%M:%S" if exact else "%Y-%m-%d %H:%M", utc)
    machine = f'datetime="{plain.replace(" ", "T")}Z"'
    if zone.name() == zone.UTC:
        return f'<time {machine} class="nowrap">{written}</time>'
    short = html.escape(zone.abbreviation(moment))
    return f'<time {machine} title="{plain} UTC" class="nowrap">{written} <span class="tz">{short}</span></time>'


def _zone_text(now: float) -> str:
    """Which zone the times of a page are in."""
    if zone.name() == zone.UTC:
        return "All times are UTC."
    moment = zone.local(now)
    offset = moment.strftime("%z")
    short = html.escape(zone.abbreviation(moment))
    return f"Times are those of {html.escape(zone.name())}, now {short} (UTC{offset[:3]}:{offset[3:5]})."


def span(seconds: float | None) -> str:
    """How long: `40 min`, `5 h`, `3.2 days`; a dash for none."""
    if seconds is None:
        return "&ndash;"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.0f} h"
    days = seconds / 86_400
    return f"{days:.1f} days" if days < 10 else f"{days:.0f} days"
