"""The first page: what waits for the desk, the oldest first, with links into the list of cases.

Knows needs and how they are shown. Must not know HTTP or SQL. Strings of subscribers and routers are hostile.
"""

from __future__ import annotations

from cpe_filter.collect.cases import bulk, query, saved
from cpe_filter.collect.cases.model import Case, Listed
from cpe_filter.collect.cases.needs import NEEDS, Need
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.web import caselist
from cpe_filter.collect.web.caselist import Context, state
from cpe_filter.collect.web.layout import link, span
from cpe_filter.texts.html import count, shown

#: Cases of each kind that the page names.
_NAMED = 5


async def page(store: Store, context: Context) -> str:
    """The page's content. Raises `StoreError`."""
    found = {}
    for name in NEEDS:
        wanted = caselist.parse({"need": name}).wanted(context.person.name, context.answered_before)
        found[name] = await query.listed(store, wanted, "oldest", 0, _NAMED)
    states = await query.states(store)
    filters = await saved.listed(store, context.person.name)
    cut = await bulk.interrupted(store, context.person.name, context.now)
    waiting = [name for name in NEEDS if found[name].total]
    active = sum(states[name] for name in ("open", "recurring", "notified", "acknowledged"))
    title = "What needs you now" if waiting else "Nothing needs you now"
    return "".join(
        [
            f'<h1>{title}</h1><p class="lead">{count(active, "active case")}, '
            f"{states['acknowledged']:,} of them acknowledged. A case can be in several lists.</p>",
            _interrupted(cut),
            caselist.links(filters),
            '<div class="needs">',
            *(_need(NEEDS[name], found[name], context) for name in waiting),
            "</div>",
            _empty([NEEDS[name] for name in NEEDS if name not in waiting]),
        ]
    )


def _interrupted(batches: list[bulk.Batch]) -> str:
    if not batches:
        return ""
    items = "".join(
        f'<li><a href="{link(f"/bulk/{one.id}", {})}">{count(len(one.of(bulk.WAITING)), "case")} not done</a></li>'
        for one in batches
    )
    return (
        f'<section class="message wrong"><h2>Interrupted actions</h2><p>An action of yours on several cases was '
        f"interrupted.</p><ul>{items}</ul></section>"
    )


def _need(need: Need, found: Listed, context: Context) -> str:
    path = link("/cases", {"need": need.name})
    rows = "".join(_row(case, need, context.now) for case in found.cases)
    oldest = _age(found.cases[0], need, context.now)
    hint = need.hint.format(days=count(context.answer_days, "day"))
    rest = found.total - len(found.cases)
    more = f'<p class="more"><a href="{path}">{rest:,} more</a></p>' if rest > 0 else ""
    return (
        f'<section class="card need {need.name}"><h2><a href="{path}">{need.title}</a></h2>'
        f'<p class="figure"><strong>{found.total:,}</strong> '
        f'<span class="note">{"case" if found.total == 1 else "cases"}; the oldest waits for {oldest}</span></p>'
        f'<p class="note">{hint}</p><ol class="oldest">{rows}</ol>{more}</section>'
    )


def _row(case: Case, need: Need, now: int) -> str:
    who = shown(case.subscriber, 40) if case.subscriber else f"router {shown(case.router, 40)}"
    whose = f", {shown(case.assignee, 30)}" if case.assignee and need.name != "mine" else ""
    return (
        f'<li><a href="{link(f"/cases/{case.id}", {})}">{who}</a> <span class="note">{state(case.state)}{whose}</span>'
        f'<span class="age">{_age(case, need, now)}</span></li>'
    )


def _age(case: Case, need: Need, now: int) -> str:
    since: int | None = getattr(case, need.since)
    return span(None if since is None else max(0, now - since))


def _empty(needs: list[Need]) -> str:
    if not needs:
        return ""
    items = ", ".join(f'<a href="{link("/cases", {"need": need.name})}">{need.title}</a>' for need in needs)
    return f'<p class="note">None in: {items}.</p>'
