"""The list of cases, with its filter and its pages.

Knows the filter and how cases are shown. Must not know HTTP or SQL. Strings of subscribers and routers are hostile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cpe_filter.collect.cases import query
from cpe_filter.collect.cases.history import ACTIVE, STATES, State
from cpe_filter.collect.cases.model import STAGES, Case, Filter, Listed
from cpe_filter.collect.cases.query import ORDERS
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.web import makers
from cpe_filter.collect.web.layout import attribute, choose, link, listing, option, plain, when
from cpe_filter.detect.evidence import INDICATORS, current
from cpe_filter.texts.html import Column, code, note, shown

PAGE = 50
#: The last page that is shown; use the filter to find older cases.
_LAST_PAGE = 2000
_MAX_TEXT = 200
_TODO = "active"
_SORTED = {
    "last": "last seen",
    "opened": "last opened",
    "changed": "last changed",
    "incidents": "most incidents",
    "refused": "most refused",
}


class View(NamedTuple):
    """As in the URL; empty if missing. page: from 1."""

    state: str
    region: str
    model: str
    indicator: str
    text: str
    order: str
    page: int
    stage: str = ""

    def query(self) -> dict[str, str]:
        values = {**self._asdict(), "page": str(self.page) if self.page > 1 else ""}
        return {name: str(value) for name, value in values.items()}


def parse(query: Mapping[str, str]) -> View:
    """What a query asks for; an invalid value counts as missing."""
    state, order, page = query.get("state", _TODO), query.get("order", ""), query.get("page", "")
    indicator = current(query.get("indicator", ""))
    return View(
        state if state in (_TODO, "all", *STATES) else _TODO,
        plain(query.get("region", ""), _MAX_TEXT),
        plain(query.get("model", ""), _MAX_TEXT),
        indicator if indicator in INDICATORS else "",
        plain(query.get("text", ""), _MAX_TEXT).strip(),
        order if order in ORDERS else "last",
        min(_LAST_PAGE, int(page)) if page.isascii() and page.isdecimal() and len(page) < 9 and int(page) else 1,
        query.get("stage", "") if query.get("stage", "") in STAGES else "",
    )


def _states(name: str) -> tuple[State, ...]:
    """Which states a filter selects; none means all."""
    return ACTIVE if name == _TODO else tuple(state for state in STATES if state == name)


async def page(store: Store, view: View) -> str:
    """The page's content. Raises `StoreError`."""
    want = Filter(
        states=_states(view.state),
        region=view.region or None,
        model=view.model or None,
        indicator=view.indicator or None,
        text=view.text,
        stage=view.stage or None,
    )
    found = await query.listed(store, want, view.order, (view.page - 1) * PAGE, PAGE)
    counts = await query.states(store)
    known = await query.choices(store)
    return f"<h1>Cases</h1>{_filter(view, counts, known)}{_list(found, view)}"


def _filter(view: View, counts: dict[str, int], known: dict[str, list[str]]) -> str:
    todo = sum(counts[state] for state in ACTIVE)
    states = [(_TODO, f"to do ({todo:,})"), *((state, f"{state} ({counts[state]:,})") for state in STATES)]
    states.append(("all", f"all ({sum(counts.values()):,})"))

    def names(of: str, chosen: str) -> list[tuple[str, str]]:
        there = known[of]
        there = [*there, chosen] if chosen and chosen not in there else there
        return [("", "all"), *((name, option(name)) for name in there)]

    indicators = [("", "all"), *((name, name) for name in INDICATORS)]
    return (
        '<form class="filter card loose" method="get" action="/cases" role="search" aria-label="Which cases">'
        f'<div class="wide"><label for="f-text">Text</label><input id="f-text" name="text" type="search" '
        f'value="{attribute(view.text)}" maxlength="{_MAX_TEXT}" '
        'placeholder="case, subscriber, router, device, contact, line"></div>'
        + choose("state", "State", states, view.state)
        + choose("stage", "Notice", [("", "all"), *((name, words) for name, (_, words) in STAGES.items())], view.stage)
        + choose("region", "Region", names("regions", view.region), view.region)
        + choose("model", "Model", names("models", view.model), view.model)
        + choose("indicator", "Indicator", indicators, view.indicator)
        + choose("order", "Order", list(_SORTED.items()), view.order)
        + '<div class="go"><button class="main">Show</button><a href="/cases">Reset</a></div></form>'
    )


def _list(found: Listed, view: View) -> str:
    if not found.cases:
        text = "This page is empty." if found.total else "No matching case."
        return f'<div class="card"><p class="none" role="status">{text}</p>{_pages(found, view)}</div>'
    columns = [
        Column("Case"),
        Column("State"),
        Column("Subscriber", "whose"),
        Column("Device", "narrow-off nowrap"),
        Column("Last seen", "n"),
        Column("Incidents", "n"),
        Column("Refused", "n narrow-off"),
        Column("Indicators", "narrow-off last"),
    ]
    first = (view.page - 1) * PAGE
    caption = f"{first + 1:,} to {first + len(found.cases):,} of {found.total:,}"
    rows = [("", _cells(case)) for case in found.cases]
    return f'<div class="card cases">{listing(caption, columns, rows)}{_pages(found, view)}</div>'


def _cells(case: Case) -> list[str]:
    where = [shown(text, 40) for text in (case.region, case.model) if text]
    top = sorted(case.ind, key=lambda name: -case.ind[name])
    return [
        f'<a class="code nowrap" href="{link(f"/cases/{case.id}", {})}">{shown(case.id)}</a>',
        state(case.state),
        (shown(case.subscriber, 40) if case.subscriber else f'<span class="soft">router {shown(case.router)}</span>')
        + (note(" &middot; ".join(where)) if where else ""),
        device(case.dev, case.oui),
        when(case.last_at),
        f"{case.incidents:,}" + (note(f"found {case.episodes} times") if case.episodes > 1 else ""),
        f"{case.refused:,}",
        ", ".join(f"<code>{shown(name, 32)}</code>" for name in top[:2])
        + (f" and&nbsp;{len(top) - 2}&nbsp;more" if len(top) > 2 else ""),
    ]


def _pages(found: Listed, view: View) -> str:
    last = max(1, min(_LAST_PAGE, -(-found.total // PAGE)))
    if last == 1 and view.page == 1:
        return ""
    links = []
    query = view.query()
    if view.page > 1:
        back = link("/cases", query, page=str(min(view.page - 1, last)))
        links.append(f'<a class="button" rel="prev" href="{back}">Previous</a>')
    if view.page < last:
        links.append(f'<a class="button" rel="next" href="{link("/cases", query, page=str(view.page + 1))}">Next</a>')
    return (
        f'<nav class="pages" aria-label="Pages of the list"><span class="soft">Page {view.page:,} of {last:,}</span>'
        f'<span class="links">{"".join(links)}</span></nav>'
    )


def state(name: str) -> str:
    """The state of a case: a mark of its own shape, and the word. name: of history.STATES."""
    known = name if name in STATES else ""
    return f'<span class="state {known}">{shown(name)}</span>'


#: What a device is by its DHCP request (home.dhcp_class).
CLASSES = {
    "android": "Android phone, tablet or TV box",
    "apple": "iPhone, iPad or Apple TV",
    "console": "game console",
    "embedded": "small Linux device: camera, NAS, set-top box",
    "linux": "Linux computer",
    "mac": "Mac",
    "printer": "printer",
    "windows": "Windows PC",
}


def by_dhcp(kind: str) -> str:
    """A class for people. A router of another version may have a word that is not known here."""
    return f"{shown(CLASSES.get(kind, kind))} (by DHCP)"


def device(dev: str, oui: str | None) -> str:
    """A device: its pseudonym and its maker."""
    return code(dev) + (note(maker(oui)) if oui else "")


def maker(oui: str) -> str:
    """Who made a device whose MAC begins with these three bytes: by the list of makers, where there is one."""
    prefix = shown(":".join(oui[i : i + 2] for i in (0, 2, 4)))
    if makers.is_local(oui):
        return f"randomised MAC ({prefix})"
    found = makers.current().find(oui)
    if found is None:
        return f"{'maker not in the list' if makers.current().date else 'maker code'} ({prefix})"
    if not found.sharing:
        return f"{shown(found.name, makers.MAX_NAME)} ({prefix})"
    some = ", ".join(shown(name, makers.MAX_NAME) for name in found.others)
    count = f"one of {found.sharing:,} makers" if found.others else "one of several makers"
    return (
        f"{count} that share {prefix}{f': {some}' if some else ''}{' ...' if found.sharing > len(found.others) else ''}"
    )
