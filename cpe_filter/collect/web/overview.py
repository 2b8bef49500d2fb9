"""The page of the fleet, the overview: how many subscribers are compromised, where, and whether the fleet reports.

Knows figures and how they are shown. Must not know HTTP or SQL. Names of regions, models, versions and routers are
hostile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cpe_filter.collect.web import draw, funnel_card
from cpe_filter.collect.web.figures import FLEET_S, PERIODS, Found, Share, View
from cpe_filter.collect.web.layout import choose, link, listing, option, plain, span, when
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.texts.html import Column, count, note, shown, table

PATH = "/fleet"
_MAX_NAME = 200


def parse(query: Mapping[str, str]) -> View:
    """What a query asks for; an invalid value counts as missing."""
    days = query.get("days", "")
    period = int(days) if days in {str(one) for one in PERIODS} else PERIODS[0]
    return View(period, plain(query.get("region", ""), _MAX_NAME), plain(query.get("model", ""), _MAX_NAME))


def page(found: Found, view: View) -> str:
    """The page's content."""
    return "".join(
        [
            _head(found, view),
            _filter(found, view),
            _tiles(found, view),
            _days(found),
            _months(found),
            '<div class="pair"><div>',
            funnel_card.card(found.funnel, view.days),
            _shares("By region", "Region", found.regions, view, "region"),
            _shares("By model", "Model", found.models, view, "model"),
            "</div>",
            _indicators(found, view),
            "</div>",
            _coverage(found),
        ]
    )


def _now(found: Found) -> int:
    return found.compromised[-1] if found.compromised else 0


def _of(view: View) -> str:
    chosen = [shown(text) for text in (view.region, view.model) if text]
    return f" in {', '.join(chosen)}" if chosen else ""


def _head(found: Found, view: View) -> str:
    now = _now(found)
    headline = f"{now:,} {'subscriber' if now == 1 else 'subscribers'} compromised{_of(view)}"
    before = found.compromised[0] if found.compromised else 0
    went = "As many as" if now == before else f"{'Up' if now > before else 'Down'} from {before:,}"
    first = found.days[0] if found.days else ""
    fresh = found.heartbeats[0].number if found.heartbeats else 0
    return (
        f'<h1>{headline}</h1><p class="lead">{went} on {first}. '
        f"{fresh:,} of {count(found.routers, 'router')} sent a heartbeat within a day.</p>"
    )


def _filter(found: Found, view: View) -> str:
    days = [(str(one), f"{one} days") for one in PERIODS]
    regions = [("", "all"), *((name, option(name)) for name in _with(found.all_regions, view.region))]
    models = [("", "all"), *((name, option(name)) for name in _with(found.all_models, view.model))]
    return (
        f'<form class="filter" method="get" action="{PATH}" role="search" aria-label="What the overview shows">'
        + choose("days", "Period", days, str(view.days))
        + choose("region", "Region", regions, view.region)
        + choose("model", "Model", models, view.model)
        + '<div class="go"><button>Show</button></div></form>'
    )


def _with(names: Sequence[str], chosen: str) -> list[str]:
    """The chosen name stays among the choices, even if no case has it."""
    return [*names, *([chosen] if chosen and chosen not in names else [])]


def _tiles(found: Found, view: View) -> str:
    new, again, cleared = sum(found.new), sum(found.recurring), sum(found.cleared)
    clean = found.funnel.stage("clean")
    fresh = found.heartbeats[0].number if found.heartbeats else 0
    period = f"in {view.days} days"
    tiles = [
        ("New", f"{new:,}", period),
        ("Recurring", f"{again:,}", f"{draw.percent(again, new + again)} of all that began {period}"),
        ("Cleared", f"{cleared:,}", period),
        ("From notice to clean", span(clean.median_s), f"median of {count(clean.devices, 'device')} that became clean"),
        ("Coverage", draw.percent(fresh, found.routers), "routers with a heartbeat within a day"),
    ]
    rows = "".join(
        f'<div><dt>{title}</dt><dd>{value}<span class="note">{text}</span></dd></div>' for title, value, text in tiles
    )
    return f'<dl class="tiles">{rows}</dl>'


def _days(found: Found) -> str:
    highest = max(found.compromised, default=0)
    at = found.days[found.compromised.index(highest)] if found.days else ""
    words = (
        f"From {found.compromised[0]:,} on {found.days[0]} to {_now(found):,} on {found.days[-1]}; "
        f"most on {at}: {highest:,}. In all {sum(found.new):,} new, {sum(found.recurring):,} recurring, "
        f"{sum(found.cleared):,} cleared."
        if found.days
        else "Nothing yet."
    )
    ticks = [day[5:] for day in found.days]
    total = draw.Series("Compromised at the day's end", "total", found.compromised)
    level = draw.Chart("level", "Compromised subscribers per day", words, "Day", found.days, ticks, (), total)
    moves = draw.Chart(
        "moves",
        "What changed each day",
        f"Above the line {sum(found.new):,} new and {sum(found.recurring):,} recurring in all, below it "
        f"{sum(found.cleared):,} cleared.",
        "Day",
        found.days,
        ticks,
        (
            draw.Series("New", "new", found.new),
            draw.Series("Recurring", "recurring", found.recurring),
            draw.Series("Cleared", "cleared", found.cleared, down=True),
        ),
    )
    over = [draw.Series("Ended, cleared or not", "over", found.over)]
    return (
        '<section class="card"><h2>Compromised subscribers per day</h2>'
        '<p class="note">A subscriber counts once, however many devices are compromised. At the end of each day (UTC); '
        f"today: now.</p>{draw.figure(level)}<h3>What changed each day</h3>"
        '<p class="note">New: for the first time. Recurring: again after it had ended. Cleared: the last '
        f"compromised device is clean.</p>{draw.figure(moves, over)}</section>"
    )


def _months(found: Found) -> str:
    if not found.months:
        return '<section class="card"><h2>Per month</h2><p class="none">No month is complete yet.</p></section>'
    names = [row["month"] for row in found.months]
    new, again, cleared, all_, expired = (
        [row[name] for row in found.months] for name in ("new", "recurring", "cleared", "subscribers", "expired")
    )
    carried = [max(0, total - first - more) for total, first, more in zip(all_, new, again, strict=True)]
    chart = draw.Chart(
        "months",
        "Compromised subscribers per month",
        "; ".join(
            f"{names[at]}: {all_[at]:,}, of these {new[at]:,} new and {again[at]:,} recurring; {cleared[at]:,} cleared"
            for at in range(len(names))
        ),
        "Month",
        names,
        names,
        (
            draw.Series("From the month before", "carried", carried),
            draw.Series("New", "new", new),
            draw.Series("Recurring", "recurring", again),
            draw.Series("Cleared by its end", "cleared", cleared, down=True),
        ),
    )
    extra = [
        draw.Series("All", "all", all_),
        draw.Series("Expired", "expired", expired),
        draw.Series("Notified", "notified", [row["notified"] for row in found.months]),
        draw.Series("Acknowledged", "acknowledged", [row["acknowledged"] for row in found.months]),
    ]
    return (
        '<section class="card"><h2>Compromised subscribers per month</h2>'
        '<p class="note">At any time in the month. Figures of months are never deleted.</p>'
        f"{draw.figure(chart, extra)}</section>"
    )


def _indicators(found: Found, view: View) -> str:
    rows = []
    for share in found.indicators:
        known = INDICATORS.get(share.name)
        what = known.desk if known else "Unknown to this version."
        family = f" &middot; {known.family}" if known else ""
        name = f"{shown(what)}{note(f'<code>{shown(share.name)}</code>{family}')}"
        bar = draw.bar(share.number, found.cases)
        rows.append(("", [name, f"{share.number:,}", draw.percent(share.number, found.cases), bar]))
    columns = [Column("Indicator"), Column("Cases", "n"), Column("Share", "n"), Column("", "share-cell narrow-off")]
    body = f'<div class="quiet">{table("Indicators", columns, rows)}</div>' if rows else _none()
    return (
        '<section class="card"><h2>Indicators</h2>'
        f'<p class="note">How many of the {found.cases:,} cases of {view.days} days have each indicator.</p>'
        f"{body}</section>"
    )


def _shares(title: str, what: str, shares: Sequence[Share], view: View, by: str) -> str:
    """Names with the number compromised now, and per 1,000 routers if their number is known."""
    most = max([share.number for share in shares], default=0)
    rated = any(share.routers is not None for share in shares)
    query = {"days": str(view.days), "region": view.region, "model": view.model}
    rows = []
    for share in shares:
        name = shown(share.name) if share.name else '<span class="soft">unknown</span>'
        if share.name and not share.name.endswith(" others"):
            name = f'<a href="{link(PATH, query, **{by: share.name})}">{name}</a>'
        cells = [name, f"{share.number:,}"]
        if rated:
            cells.append(f"{1000 * share.number / share.routers:.1f}" if share.routers else "&ndash;")
        rows.append(("", [*cells, draw.bar(share.number, most)]))
    columns = [Column(what), Column("Compromised", "n"), *([Column("Per 1,000", "n")] if rated else [])]
    columns.append(Column("", "share-cell narrow-off"))
    body = f'<div class="quiet">{table(title, columns, rows)}</div>' if rows else _none()
    return f'<section class="card"><h2>{title}</h2><p class="note">Subscribers compromised now.</p>{body}</section>'


def _coverage(found: Found) -> str:
    parts = []
    for title, what, shares in (
        ("Last heartbeat", "Last heartbeat", found.heartbeats),
        ("Policy version", "Policy", found.policies),
        ("Filter version", "Version", found.versions),
    ):
        rows = []
        for share in shares:
            name = shown(share.name) if share.name else '<span class="soft">none</span>'
            bar = draw.bar(share.number, found.routers)
            rows.append(("", [name, f"{share.number:,}", draw.percent(share.number, found.routers), bar]))
        columns = [Column(what), Column("Routers", "n"), Column("Share", "n"), Column("", "share-cell narrow-off")]
        parts.append(f'<div><h3>{title}</h3><div class="quiet">{table(title, columns, rows)}</div></div>')
    facts = [
        ("Routers", f"{found.routers:,}", f"that reported in {FLEET_S // 86_400} days"),
        ("Dropped from spools", f"{found.drops:,}", f"events, at {count(found.dropping, 'router')}"),
        ("Exemptions", f"{found.exempt:,}", f"at {count(found.exempting, 'router')}"),
        ("Packet failures", f"{found.failing:,}", "routers that could not process packets"),
        ("Mail not watched", f"{found.unwatched:,}", "routers where it leaves by or comes from another interface"),
        ("Unknown subscriber", f"{found.unmapped:,}", "routers with cases"),
    ]
    items = "".join(f"<div><dt>{title}</dt><dd>{value}{note(text)}</dd></div>" for title, value, text in facts)
    return (
        '<section class="card"><h2>Coverage of the fleet</h2><p class="note">All regions and models.</p>'
        f'<dl class="facts">{items}</dl><div class="three">{"".join(parts)}</div>{_troubled(found)}</section>'
    )


def _troubled(found: Found) -> str:
    if not found.troubled:
        return ""
    rows = [
        (
            "",
            [
                f'<span class="code">{shown(one.router)}</span>',
                shown(one.model) if one.model else "&ndash;",
                f"{one.drops:,}",
                f"{one.failures:,}",
                f"{one.restored:,}",
                when(one.heard_at),
            ],
        )
        for one in found.troubled
    ]
    columns = [
        Column("Router"),
        Column("Model", "narrow-off"),
        Column("Dropped", "n"),
        Column("Failures", "n"),
        Column("Ruleset restored", "n"),
        Column("Last report", "n"),
    ]
    listed = listing("The worst routers with drops, failures or a lost ruleset", columns, rows)
    return f"<h3>Routers to check</h3>{listed}"


def _none() -> str:
    return '<p class="none">None.</p>'
