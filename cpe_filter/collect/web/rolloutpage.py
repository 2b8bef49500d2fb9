"""The page of rollouts: how many routers have which signed document, which took one back and why, whether to halt.

Knows figures of `rollout.spread` and how they are shown. Must not know SQL or HTTP. It only advises: no key is here.
Digests, numbers and reasons are routers' words; reasons and channels are escaped.
"""

from __future__ import annotations

from cpe_filter.collect.rollout.spread import GOOD, HALT, WAIT, Found, Spread, wilson
from cpe_filter.collect.web import draw
from cpe_filter.collect.web.layout import listing, when
from cpe_filter.texts.html import Column, count, note, shown, table

PATH = "/rollout"
_RESULTS = {
    "applied": "applied",
    "refused": "refused",
    "taken-back": "taken back",
    "rolled-back": "rolled back by hand",
}
#: As `wait`: what is known does not exclude a mistake.
_WORDS = {HALT: "Halt", WAIT: "Wait", GOOD: "Go on"}
_PILLS = {HALT: "compromised", WAIT: "suspected", GOOD: "clear"}


def page(found: Found) -> str:
    """The page's content."""
    judged = found.current
    bad = [one for one in judged if one.verdict(found.halt_at) == HALT]
    head = f"Halt {_name(bad[0])}" if bad else f"{count(len(judged), 'document')} on the way or in force"
    lead = (
        "What routers report of signed policies, tables, texts and instructions. A router tries a document, and takes"
        f" it back where something fails that worked before. {count(found.routers, 'router')} reported within 30 days."
    )
    problem = f'<p class="message wrong">The index of published documents: {shown(found.problem)}</p>'
    parts = [f'<h1>{head}</h1><p class="lead">{lead}</p>', problem if found.problem else ""]
    parts += [_document(one, found, at) for at, one in enumerate(judged)]
    if not judged:
        parts.append(
            '<section class="card"><p class="none" role="status">No router has reported a document.</p></section>'
        )
    return "".join([*parts, _all(found), _instructions(found)])


def _name(one: Spread) -> str:
    channel = f" in {shown(one.channel, 64)}" if one.channel else ""
    return f"{one.type} {one.sequence}{channel}"


def verdict(one: Spread, halt_at: int) -> str:
    """The line that says whether to halt, with its numbers."""
    what = one.verdict(halt_at)
    if what not in _WORDS:
        return "No router has tried it yet."
    low, high = wilson(one.taken_back, one.tried)
    share = (
        f"{one.taken_back:,} of {count(one.tried, 'router')} that tried it took it back"
        f" ({draw.percent(one.taken_back, one.tried)}; 95 %: {100 * low:.1f} to {100 * high:.1f} %)"
    )
    says = {
        HALT: f"more than {halt_at} %. Run: <code>cpe-filter policy halt</code>",
        WAIT: f"whether that is more than {halt_at} % is not certain",
        GOOD: f"less than {halt_at} %",
    }
    return f'<span class="pill {_PILLS[what]}">{_WORDS[what]}</span> {share}: {says[what]}.'


def _document(one: Spread, found: Found, at: int) -> str:
    entry = one.entry
    wave = "not known: set [provision] published"
    if entry is not None:
        wave = "all routers" if entry.permille == 1000 else f"{entry.permille} of 1000 routers"
        audience = ", ".join(entry.audience[:3]) + (
            f" and {len(entry.audience) - 3} more" if len(entry.audience) > 3 else ""
        )
        wave += note(f"for {shown(audience, 200)}, since {when(entry.published)}")
    unheard = "&ndash;" if one.unheard is None else f"about {one.unheard:,}"
    facts = [
        ("In force", f"{one.in_force:,}" + note(f"{draw.percent(one.in_force, found.routers)} of the fleet")),
        ("Tried", f"{one.tried:,}" + note("applied it, have it, or took it back")),
        ("Taken back", f"{one.taken_back:,}" + note(f"of {one.tried:,} that tried it")),
        ("Refused", f"{one.refused:,}" + note(f"of {one.tried + one.refused:,} that answered")),
        ("Not heard", unheard + note("should have it, and have not answered")),
        ("Wave", wave),
    ]
    items = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in facts)
    return (
        f'<section class="card"><h2>{_name(one)}</h2><p>{verdict(one, found.halt_at)}</p>'
        f'<dl class="facts">{items}</dl>{_reasons(one)}{_course(one, at)}</section>'
    )


def _reasons(one: Spread) -> str:
    if not one.reasons:
        return ""
    rows = []
    for (result, why), number in sorted(one.reasons.items(), key=lambda item: -item[1]):
        whole = one.tried + one.refused if result == "refused" else one.tried
        rows.append(("", [_RESULTS.get(result, "?"), shown(why, 20), f"{number:,}", draw.percent(number, whole)]))
    columns = [Column("Result"), Column("Why"), Column("Routers", "n"), Column("Share", "n")]
    return f"<h3>Why</h3>{listing('Reasons', columns, rows)}"


def _course(one: Spread, at: int) -> str:
    if not one.course:
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
        digest = f'<span class="code">{shown(one.digest or "unreadable", 20)}</span>'
        numbers = (one.in_force, one.tried, one.taken_back, one.refused)
        rows.append(("", [f"{_name(one)}{note(digest)}", state, *(f"{n:,}" for n in numbers), when(one.since)]))
    columns = [
        Column("Document"), Column("State"), Column("In force", "n"), Column("Tried", "n"), Column("Taken back", "n"),
        Column("Refused", "n"), Column("Since", "n"),
    ]  # fmt: skip
    listed = listing("Documents, the current ones first", columns, rows)
    none = ", ".join(f"{kind}: {number:,}" for kind, number in sorted(found.none.items()))
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
