"""The card of the overview that shows how many were notified, saw the notice, answered, and became clean.

Knows the figures (funnel) and how they are shown. Must not know SQL. Each share says of what it is one.
"""

from __future__ import annotations

from cpe_filter.collect.web import draw
from cpe_filter.collect.web.funnel import WITHIN_DAYS, Compared, Funnel, Group, Stage, StageName
from cpe_filter.collect.web.layout import listing, span
from cpe_filter.texts.html import Column, count, note

_TITLES: dict[StageName, str] = {
    "found": "Found",
    "notified": "Notified",
    "seen": "Seen",
    "answered": "Answered",
    "clean": "Clean",
    "relapsed": "Relapsed",
}
_KINDS: dict[StageName, str] = {"found": "recurring", "notified": "new", "clean": "cleared", "relapsed": "recurring"}
#: The stage that is the denominator, in words; and from when the median counts.
_OF: dict[StageName, tuple[str, str]] = {
    "found": ("", ""),
    "notified": ("found", "from found"),
    "seen": ("notified", "from found"),
    "answered": ("who saw it", "from found"),
    "clean": ("notified long enough ago", "from the notice"),
    "relapsed": ("clean", "from clean"),
}
_GROUPS: dict[Group, str] = {
    "router": "Notice opened at the router, alone",
    "mail": "E-mail alone",
    "webhook": "Webhook alone",
    "desk": "The desk alone",
    "several": "Several channels",
    "none": "No notice",
}
_CHANNELS = {
    "router": "the notice opened at the router",
    "mail": "e-mail",
    "webhook": "the webhook",
    "desk": "the desk",
}


def card(found: Funnel, days: int) -> str:
    """The section, as HTML."""
    return (
        '<section class="card"><h2>From notice to clean</h2>'
        f'<p class="note">Devices found compromised in {days} days; each time counts.</p>'
        f"<p>{sentence(found)}</p>"
        f'<div class="quiet">{_stages(found)}</div>'
        f'<p class="note">{_remarks(found)}</p>{_comparison(found)}</section>'
    )


def sentence(found: Funnel) -> str:
    """The funnel of homes in one sentence."""
    notified, seen, answered = (found.stage(name) for name in ("notified", "seen", "answered"))
    if not notified.homes:
        return "No home was notified."
    return (
        f"Of {count(notified.homes, 'home')} that {'was' if notified.homes == 1 else 'were'} notified, "
        f"{seen.homes:,} saw the notice and {answered.homes:,} answered it."
    )


def _stages(found: Funnel) -> str:
    first = found.stage("found").devices
    rows = [("", _stage(stage, first)) for stage in found.stages]
    columns = [
        Column("Stage"),
        Column("Devices", "n"),
        Column("Share", "n"),
        Column("", "share-cell wide-only"),
        Column("Median time", "n"),
    ]
    return listing("Devices by stage", columns, rows)


def _stage(stage: Stage, first: int) -> list[str]:
    of, since = _OF[stage.name]
    share = f"{draw.percent(stage.devices, stage.of)}{note(f'of {stage.of:,} {of}')}" if of else ""
    took = f"{span(stage.median_s)}{note(since)}" if stage.median_s is not None else ""
    return [
        _TITLES[stage.name],
        f"{stage.devices:,}{note(count(stage.homes, 'home'))}",
        share,
        draw.bar(stage.devices, first, _KINDS.get(stage.name, "")),
        took,
    ]


def _remarks(found: Funnel) -> str:
    notified = found.stage("notified").devices
    used = [f"{_CHANNELS[name]} {number:,}" for name, number in found.channels.items() if number]
    parts = []
    if used:
        parts.append(f"Notified, of {notified:,}, by: {', '.join(used)} (some by several).")
    parts.append(f"Clean: no finding for {found.clean_days} days.")
    if found.waiting:
        parts.append(f"{count(found.waiting, 'device')} notified more recently than that cannot be known to be clean.")
    if found.clean_without_notice:
        parts.append(f"{count(found.clean_without_notice, 'device')} became clean without a notice.")
    if found.false_alarms:
        parts.append(f"{count(found.false_alarms, 'false alarm')} not counted.")
    if found.cut:
        parts.append("Only the latest are counted.")
    return " ".join(parts)


def _comparison(found: Funnel) -> str:
    rows = [("", _compared(one)) for one in found.compared if one.devices]
    if not rows:
        return ""
    columns = [Column("Notified by"), Column("Clean", "n"), Column("Share", "n"), Column("95 % interval", "n")]
    return (
        f"<h3>Clean within {WITHIN_DAYS} days, by channel</h3>"
        f'<p class="note">Devices of {WITHIN_DAYS + found.clean_days} days ago or earlier, counted from the notice, or '
        "where there was none from when they were found. Who is notified by which channel is not random: a notice "
        "is opened only where people are at home.</p>"
        f'<div class="quiet">{listing("Clean in time, by channel", columns, rows)}</div>'
    )


def _compared(one: Compared) -> list[str]:
    return [
        _GROUPS[one.group],
        f"{one.clean:,} of {one.devices:,}",
        draw.percent(one.clean, one.devices),
        f"{100 * one.low:.0f} to {100 * one.high:.0f} %",
    ]
