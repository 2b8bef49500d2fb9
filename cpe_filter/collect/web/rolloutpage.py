"""The page of rollouts: how many routers have which signed document, which took one back and why, whether to halt.

Knows figures of `rollout` and how they are shown. Must not know SQL or HTTP. It only advises: no key is here. Digests,
numbers, reasons, models and routers' ids are routers' words; they are escaped, as are channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cpe_filter.collect.rollout.routers import LISTS, Ask
from cpe_filter.collect.rollout.spread import (
    GOOD,
    HALT,
    IN_FORCE,
    REFUSED,
    ROLLED_BACK,
    SILENT,
    TAKEN_BACK,
    TYPES,
    WAIT,
    Found,
    Spread,
    command,
    next_command,
    wilson,
)
from cpe_filter.collect.store.base import Row
from cpe_filter.collect.web import draw
from cpe_filter.collect.web.layout import link, listing, plain, when
from cpe_filter.texts.html import Column, count, escape, note, shown, table

PATH, LIST = "/rollout", "/rollout/routers"
#: Rows of a part of a list of routers; documents with a card of their own; lines on the fleet page.
MAX_ROWS, MAX_CARDS, MAX_LINES = 50, 16, 12
_RESULTS = {
    "applied": "applied",
    "refused": "refused",
    "taken-back": "taken back",
    "rolled-back": "rolled back by hand",
}
_LISTS = {**_RESULTS, IN_FORCE: "in force", SILENT: "in force, no report for 2 days"}
#: As `wait`: what is known does not exclude a mistake.
_WORDS = {HALT: "Halt", WAIT: "Wait", GOOD: "Go on"}
_PILLS = {HALT: "compromised", WAIT: "suspected", GOOD: "clear"}


def page(found: Found) -> str:
    """The page's content."""
    judged = found.current
    bad = [one for one in judged if one.verdict(found.terms.halt_at) == HALT]
    head = f"Halt {_name(bad[0])}" if bad else f"{count(len(judged), 'document')} on the way or in force"
    lead = (
        "What routers report of signed policies, tables, texts and instructions. A router tries a document, and takes"
        f" it back where something fails that worked before. {count(found.routers, 'router')} reported within 30 days."
        f" Figures of {when(found.now)}."
    )
    problem = f'<p class="message wrong">The index of published documents: {shown(found.problem)}</p>'
    parts = [f'<h1>{head}</h1><p class="lead">{lead}</p>', problem if found.problem else ""]
    parts += [_document(one, found, at) for at, one in enumerate(judged[:MAX_CARDS])]
    if not judged:
        parts.append(
            '<section class="card"><p class="none" role="status">No router has reported a document.</p></section>'
        )
    return "".join([*parts, _all(found), _instructions(found)])


def card(found: Found) -> str:
    """For the page of the fleet: documents by type and version, and the way to this page."""
    rows = []
    for one in _seen(found)[:MAX_LINES]:
        cells = [_name(one), f"{one.in_force:,}", draw.percent(one.in_force, found.routers)]
        rows.append(("", [*cells, f"{one.taken_back:,}", f"{one.refused:,}"]))
    columns = [
        Column("Document"), Column("In force", "n"), Column("Share", "n"), Column("Taken back", "n"),
        Column("Refused", "n"),
    ]  # fmt: skip
    body = listing("The current ones first", columns, rows) if rows else '<p class="none">None.</p>'
    bad = [one for one in found.current if one.verdict(found.terms.halt_at) == HALT]
    halt = f'<p><span class="pill {_PILLS[HALT]}">Halt</span> {_name(bad[0])}</p>' if bad else ""
    more = f'<p><a href="{PATH}">How far each has come, and why it failed</a></p>'
    return f'<section class="card"><h2>Signed documents</h2>{halt}{body}{more}</section>'


def _seen(found: Found) -> list[Spread]:
    return [one for one in found.documents if one.is_current or one.in_force or one.outcomes]


def _name(one: Spread) -> str:
    channel = f", channel {shown(one.channel, 64)}" if one.channel else ""
    return f"{_kind(one.type, one.sequence, one.digest)}{channel}"


def _kind(kind: str, sequence: int | None, digest: str) -> str:
    known = shown(kind or "document", 20)
    if not digest:
        return f"{known}, not readable"
    return f"{known} {sequence}" if sequence else f"{known} of unknown number"


def verdict(one: Spread, found: Found) -> str:
    """The line that says whether to halt, with its numbers."""
    halt_at = found.terms.halt_at
    what = one.verdict(halt_at)
    if what not in _WORDS:
        return "No router has tried it yet."
    by = one.judged(halt_at)
    low, high = wilson(by.failed, by.answered)
    step = "" if by is one else f"The same content as {_name(by)}: "
    share = (
        f"{step}{by.failed:,} of {count(by.answered, 'router')} that answered took it back or refused it"
        f" ({draw.percent(by.failed, by.answered)}; 95 %: {100 * low:.1f} to {100 * high:.1f} %)"
    )
    says = {
        HALT: f"more than {halt_at} %. Where its key is, run",
        WAIT: f"whether that is more than {halt_at} % is not certain.",
        GOOD: f"less than {halt_at} %.",
    }
    go_on = next_command(one, found.terms) if what == GOOD else None
    run = command(one, found.terms) if what == HALT else go_on
    if go_on:
        says[GOOD] += " The next step, where its key is:"
    code = f"</p><p><code>{escape(run)}</code>" if run else ""
    return f'<span class="pill {_PILLS[what]}">{_WORDS[what]}</span> {share}: {says[what]}{code}'


def _document(one: Spread, found: Found, at: int) -> str:
    items = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in _facts(one, found))
    return (
        f'<section class="card"><h2>{_name(one)}</h2><p>{verdict(one, found)}</p>{_halts(one)}'
        f'<dl class="facts even">{items}</dl>{_reasons(one)}{_models(one)}{_course(one, at)}</section>'
    )


def _halts(one: Spread) -> str:
    if one.entry is None or one.entry.halts is None:
        return ""
    left = "" if one.left is None else f" {count(one.left, 'router')} still {'has' if one.left == 1 else 'have'} that."
    return f"<p>It halts {shown(one.type, 20)} {one.entry.halts}.{left}</p>"


def _facts(one: Spread, found: Found) -> list[tuple[str, str]]:
    entry = one.entry
    wave, reached = "not known: set [provision] published", draw.percent(one.in_force, found.routers) + " of the fleet"
    if entry is not None:
        wave = "all routers" if entry.permille == 1000 else f"{entry.permille} of 1000 routers"
        names = ", ".join(entry.audience[:3]) + (f" and {len(entry.audience) - 3} more" if entry.audience[3:] else "")
        wave += note(f"for {shown(names, 200)}, since {when(entry.published)}")
        if one.reached is not None:
            reached = f"{one.reached:,} of 1000 of its {count(one.audience or 0, 'router')}; {entry.permille:,} planned"
    by_hand = one.outcomes.get(ROLLED_BACK, 0)
    hand = f", {_of(one, ROLLED_BACK, f'{by_hand:,} by hand')}" if by_hand else ""
    missing = "&ndash;" if one.not_heard is None else f"about {one.not_heard:,}"
    excused = f"; {one.excused:,} for their version, audience or clock do not count" if one.excused else ""
    quiet = f"of those that have it; {draw.percent(found.silent, found.routers)} of the fleet"
    share = draw.percent(one.silent, one.in_force) if one.in_force else "0 %"
    return [
        ("In force", _of(one, IN_FORCE, f"{one.in_force:,}") + note(reached)),
        ("Answered", f"{one.answered:,}" + note("tried it, or refused it")),
        (
            "Taken back",
            _of(one, TAKEN_BACK, f"{one.taken_back - by_hand:,}") + hand + note(f"of {one.tried:,} that tried it"),
        ),
        ("Refused", _of(one, REFUSED, f"{one.refused:,}") + note(f"before they tried it{excused}")),
        ("Not heard", missing + note("should have it, and have not answered")),
        ("No report for 2 days", _of(one, SILENT, f"{one.silent:,}") + note(f"{share} {quiet}")),
        ("Wave", wave),
    ]


def _of(one: Spread, result: str, text: str, why: str = "") -> str:
    """A number as a link to the list of these routers; plain where there are none."""
    if text.startswith("0"):
        return text
    query = {"type": one.type, "doc": one.digest, "result": result, "why": why}
    return f'<a href="{link(LIST, query)}">{text}</a>'


def _reasons(one: Spread) -> str:
    if not one.reasons:
        return ""
    rows = []
    for (result, why), number in sorted(one.reasons.items(), key=lambda item: -item[1]):
        whole = one.tried + one.refused if result == REFUSED else one.tried
        numbers = [_of(one, result, f"{number:,}", why), draw.percent(number, whole)]
        rows.append(("", [_RESULTS.get(result, "?"), shown(why, 20), *numbers]))
    columns = [Column("Result"), Column("Why"), Column("Routers", "n"), Column("Share", "n")]
    return f"<h3>Why</h3>{listing('Reasons', columns, rows)}"


def _models(one: Spread) -> str:
    if not one.models:
        return ""
    rows = [
        ("", [shown(name, 60) if name else '<span class="soft">unknown</span>', f"{bad:,} of {whole:,}",
              draw.percent(bad, whole)])
        for name, bad, whole in one.models
    ]  # fmt: skip
    columns = [Column("Model"), Column("Took it back or refused it", "n"), Column("Share", "n")]
    return f"<h3>On which models</h3>{table('Models on which it fails', columns, rows)}"


def _course(one: Spread, at: int) -> str:
    if not any(map(sum, one.course)):
        return ""
    hours = [f"{hour} h" for hour in range(len(one.course))]
    applied, back, refused = (list(values) for values in zip(*one.course, strict=True))
    words = f"{sum(applied):,} applied it, {sum(back):,} took it back, {sum(refused):,} refused it."
    chart = draw.Chart(
        f"course{at}", f"{_name(one)} by the hour", words, "Hour since then", hours, hours,
        (
            draw.Series("Applied", "cleared", applied),
            draw.Series("Taken back", "recurring", back, down=True),
            draw.Series("Refused", "new", refused, down=True),
        ),
    )  # fmt: skip
    return f"<h3>By the hour</h3>{draw.figure(chart)}"


def _all(found: Found) -> str:
    if not found.documents:
        return ""
    rows = []
    for one in found.documents:
        state = one.entry.state if one.entry is not None else "not published here"
        if one.entry is not None and one.entry.permille < 1000:
            state += note(f"{one.entry.permille} of 1000")
        digest = f'<span class="code">{shown(one.digest or "unreadable", 20)}</span>'
        numbers = [
            _of(one, IN_FORCE, f"{one.in_force:,}"), f"{one.tried:,}", _of(one, TAKEN_BACK, f"{one.taken_back:,}"),
            _of(one, REFUSED, f"{one.refused:,}"),
        ]  # fmt: skip
        rows.append(("", [f"{_name(one)}{note(digest)}", state, *numbers, when(one.since)]))
    columns = [
        Column("Document"), Column("State"), Column("In force", "n"), Column("Tried", "n"), Column("Taken back", "n"),
        Column("Refused", "n"), Column("Since", "n"),
    ]  # fmt: skip
    listed = listing("Documents, the current ones first", columns, rows)
    none = ", ".join(f"{shown(kind, 20)}: {number:,}" for kind, number in sorted(found.none.items()))
    more = f'<p class="note">Routers without one, {none}.</p>' if none else ""
    return f'<section class="card"><h2>All documents</h2>{listed}{more}</section>'


def _instructions(found: Found) -> str:
    if not found.instructions:
        return ""
    rows = []
    for (action, state), number in sorted(found.instructions.items()):
        whole = sum(n for (other, _), n in found.instructions.items() if other == action)
        why = [f"{shown(text, 20)} {n:,}" for (of, text), n in found.instruction_reasons.items() if of == action]
        because = note(", ".join(why)) if state == "refused" and why else ""
        rows.append(("", [shown(action, 20), f"{shown(state, 20)}{because}", f"{number:,} of {whole:,}"]))
    columns = [Column("Instruction"), Column("State"), Column("Number", "n")]
    return f'<section class="card"><h2>Instructions of 90 days</h2>{table("Instructions", columns, rows)}</section>'


# ── the routers of one number ───────────────────────────────────────────────────────────────────────


def parse(query: Mapping[str, str]) -> Ask | None:
    """What a query asks for; None if there is no such list."""
    kind, result = query.get("type", ""), query.get("result", "")
    if kind not in TYPES or result not in LISTS:
        return None
    words = {name: plain(query.get(name, ""), width) for name, width in (("doc", 64), ("why", 64), ("after", 256))}
    return Ask(kind, words["doc"], result, words["why"], words["after"], MAX_ROWS + 1)


def routers(ask: Ask, rows: Sequence[Row]) -> str:
    """The page with a part of a list. rows: of `rollout.routers.listed`."""
    part = rows[:MAX_ROWS]
    number = next((row["sequence"] for row in part if row["sequence"] is not None), None)
    name = _kind(ask.type, number, ask.digest)
    why = f": {shown(ask.why, 40)}" if ask.why else ""
    head = (
        f'<p class="back"><a href="{PATH}">All documents</a></p><h1>{name}: routers</h1>'
        f'<p class="lead">{_LISTS[ask.result].capitalize()}{why}. Document <span class="code">'
        f"{shown(ask.digest or 'unreadable', 20)}</span>.</p>"
    )
    if not part:
        return f'{head}<section class="card"><p class="none" role="status">No router.</p></section>'
    columns = [
        Column("Router"), Column("Model"), Column("Version"), Column("Why"), Column("Since", "nowrap"),
        Column("Last report", "nowrap"),
    ]  # fmt: skip
    listed = listing("In the order of their ids", columns, [("", _router(row)) for row in part])
    more = ""
    query = {"type": ask.type, "doc": ask.digest, "result": ask.result, "why": ask.why}
    if len(rows) > MAX_ROWS:
        after = link(LIST, query, after=str(part[-1]["router"]))
        more = (
            '<nav class="pages" aria-label="Parts of the list"><span class="links">'
            f'<a class="button" rel="next" href="{after}">More</a></span></nav>'
        )
    return f'{head}<section class="card">{listed}{more}</section>'


def _router(row: Row) -> list[str]:
    """The id leads to the search for its subscriber."""
    where = link("/subscribers", {"text": plain(row["router"], 200)})
    return [
        f'<a class="code" href="{where}">{shown(row["router"])}</a>',
        *(shown(row[name], 60) if row[name] else "&ndash;" for name in ("model", "ver", "why")),
        when(row["at"]),
        when(row["heard_at"]),
    ]


def of_router(in_force: Sequence[Row], outcomes: Sequence[Row]) -> str:
    """What one router has and what became of others, for the page of its subscriber."""
    there = ", ".join(f"{shown(row['type'], 20)} {row['sequence']}" for row in in_force)
    said = "".join(
        f"<li>{when(row['at'])}, {_kind(row['type'], row['sequence'], row['digest'])}: "
        f"{_RESULTS.get(row['result'], '?')}{': ' + shown(row['why'], 40) if row['why'] else ''}</li>"
        for row in outcomes
    )
    return f"<p>In force: {there or 'none'}.</p>" + (f"<ul>{said}</ul>" if said else "")
