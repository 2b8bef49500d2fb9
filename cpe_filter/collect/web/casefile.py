"""The page of one case: facts, timeline, actions.

Knows cases and how they are shown. Must not know SQL or routes. Strings of subscribers and routers are hostile, and so
are remarks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from cpe_filter.collect.cases import actions, history, instructions, query
from cpe_filter.collect.cases.actions import KINDS, MAX_TEXT
from cpe_filter.collect.cases.model import Case, CaseError, CaseNotFoundError, Detail, InvalidStateError
from cpe_filter.collect.cases.notifications import DEAD, DELIVERED, QUEUED, SKIPPED
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.web import instructions as instructions_page
from cpe_filter.collect.web import mailform, makers
from cpe_filter.collect.web.access import Person
from cpe_filter.collect.web.caselist import by_dhcp, maker, state
from cpe_filter.collect.web.http import Refusal
from cpe_filter.collect.web.layout import form, link, listing, span, when, whose
from cpe_filter.collect.web.people import assignees
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.texts.html import Column, code, note, shown, table

#: The message after an action.
DONE = {
    "acknowledge": "The case is acknowledged.",
    "notified": "The subscriber is marked as notified.",
    "confirm": "The case is closed as confirmed.",
    "false-alarm": "The case is closed as a false alarm.",
    "close": "The case is closed.",
    "reopen": "The case is open again.",
    "note": "The note is saved.",
    "assign": "The case is assigned.",
    "mail": "The notice is queued. It is sent within a minute, unless a bound is reached.",
    **instructions_page.DONE,
}
_BUTTONS = {
    "acknowledge": "Acknowledge",
    "notified": "Mark as notified",
    "confirm": "Close as confirmed",
    "false-alarm": "Close as false alarm",
    "close": "Close without a finding",
    "reopen": "Reopen case",
    "note": "Add note",
}
_SHOWN_INCIDENTS = 50
_SHOWN_PORTS = 20
_SHOWN_MOMENTS = 200
_ENDS = {
    "cleared": "Cleared: its behaviour is clean again",
    "released": "Released by its owner",
    "expired": "Expired: not seen for a long time",
    "exempt": "Exempt",
    "merged": "Merged: continues under another MAC",
    "silent": "Silent: no reports for a long time",
}
_DID = {
    history.NOTIFIED: "Subscriber notified",
    history.ACKNOWLEDGED: "Acknowledged",
    history.CLOSED: "Closed",
    history.CONFIRMED: "Closed as confirmed",
    history.FALSE_ALARM: "Closed as a false alarm",
    history.REOPENED: "Reopened",
    history.NOTE: "Note",
    history.BOUNCED: "The notice by e-mail came back",
    history.QUIET: "Days without a finding",
    history.RELAPSED: "Relapsed: a finding again",
    history.ASSIGNED: "Assigned",
}
#: Answers to the notice on the router, in words.
_ANSWERS = {
    "seen": "read",
    "cleaned": "the device has been cleaned",
    "server": "it is a mail server (objection)",
    "mistake": "it is a mistake (objection)",
}
_CHANNELS = {
    "router": "the notice on the router",
    "mail": "e-mail",
    "webhook": "the webhook",
    "desk": "the desk",
}
#: Who has ended a quarantine.
_RELEASED = {"self": "by its users", "isp": "by the provider", "time": "because its longest time had passed"}
_ACTED = {
    "monitor": "monitored only",
    "limit": "limited",
    "explain": "refused, with an explanation",
    "reset": "refused",
}


async def act(store: Store, number: str, name: str, by: audit.By, text: str, now: int) -> Refusal | None:
    """Does one of `KINDS`: None when it is done. Raises `StoreError`."""
    text = "\n".join(line.rstrip() for line in text.replace("\r", "").split("\n")).strip()
    if len(text) > MAX_TEXT:
        return Refusal(400, f"A remark has at most {MAX_TEXT:,} characters.")
    if name == "note" and not text:
        return Refusal(400, "A note needs text.")
    try:
        await actions.act(store, number, KINDS[name], by.who, text, now, by)
    except CaseNotFoundError:
        return Refusal(404, "No such case.")
    except InvalidStateError:
        return Refusal(409, "The state of the case has changed. Reload the page.")
    except CaseError:
        return Refusal(400, "This remark cannot be saved.")
    return None


async def page(
    store: Store,
    number: str,
    person: Person,
    mail: Desk | None = None,
    now: int | None = None,
    people: Sequence[str] = (),
    instruct: instructions.Desk | None = None,
) -> str | None:
    """The content of the page; None if the case does not exist. people: who can get it; none: any name.
    Raises `StoreError`."""
    found = await query.detail(store, number)
    if found is None:
        return None
    case = found.case
    now = int(time.time()) if now is None else now
    letter = await mail.letter(found, now) if mail is not None else None
    on_router = await instructions_page.section(store, instruct, case, person, now)
    title = shown(case.subscriber, 60) if case.subscriber else f"router {shown(case.router)}"
    return "".join(
        [
            '<p class="back"><a href="/cases">All cases</a></p>',
            f'<h1>{title}</h1><p class="lead">Case <span class="code">{shown(case.id)}</span>, ',
            f"{state(case.state)}. {_sentence(case)}</p>",
            '<div class="both"><div>',
            _facts(found),
            _indicators(case),
            "</div><div>",
            _form(case, person, people),
            _timeline(found, letter.sent if letter else []),
            "</div></div>",
            mailform.section(letter, case.id, person) if letter else "",
            on_router,
            _incidents(found),
            _ports(found),
        ]
    )


def _sentence(case: Case) -> str:
    if case.state in history.ACTIVE:
        return f"Compromised since {when(case.begun_at)}; last seen {when(case.last_at)}."
    if case.state == history.CLEAN:
        took = span(case.clean_at - case.begun_at) if case.clean_at is not None else "&ndash;"
        return f"Clean since {when(case.clean_at)}, {took} after it was found."
    by = "by the desk" if case.why == history.DESK else _ENDS.get(case.why or "", "").lower()
    return f"Closed {when(case.closed_at)}{f': {by}' if by else ''}."


def _facts(found: Detail) -> str:
    case = found.case
    facts: list[tuple[str, str]] = [
        ("Subscriber", whose(case.subscriber) if case.subscriber else "unknown"),
        ("Contact", shown(case.contact) if case.contact else "&ndash;"),
        ("Region", shown(case.region) if case.region else "&ndash;"),
        ("Line", shown(case.line) if case.line else "&ndash;"),
        ("Router", f'<span class="code">{shown(case.router)}</span>'),
        ("Model", shown(case.model) if case.model else "&ndash;"),
        ("Device", code(case.dev)),
        ("Maker", _maker(case.oui)),
        ("Standing", shown(case.standing)),
        ("Its mail", _ACTED.get(case.act, shown(case.act))),
        ("Seen", f"{when(case.first_at)} to {when(case.last_at)}"),
        ("Assigned to", _assignee(case.assignee)),
        ("Found compromised", f"{case.episodes:,} times" if case.episodes != 1 else "once"),
        ("Connections", f"{case.conns:,}, {case.refused:,} of them refused"),
        ("Messages", f"{case.msgs:,} accepted by servers; {case.rcpts:,} recipients"),
        *_about(found),
    ]
    rows = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in facts)
    return f'<section class="card"><h2>Facts</h2><dl class="facts even">{rows}</dl></section>'


def _assignee(name: str) -> str:
    """With a link to all of this person's cases."""
    if not name:
        return "no one"
    return f'<a href="{link("/cases", {"assigned": name})}">{shown(name, 64)}</a>'


def _maker(oui: str | None) -> str:
    """With the date of the list. Routers report no bytes of a randomised MAC, nor of what is behind another router."""
    if not oui:
        return f"unknown{note('its MAC is randomised, or it is behind another router')}"
    date = makers.current().date
    return maker(oui) + (note(f"IEEE list of {date}") if date and not makers.is_local(oui) else "")


def _about(found: Detail) -> list[tuple[str, str]]:
    """What is known of the device besides its direct mail, where there is anything."""
    facts = []
    kind = next((row["class"] for row in found.incidents if row["class"]), None)
    if kind is not None:
        facts.append(("Kind of device", by_dhcp(kind)))
    if any(row["serves"] for row in found.incidents):
        facts.append(("Mail from outside", "it answers connections to ports 25, 465 or 587"))
    notices = [row["notice"] for row in found.incidents if row["notice"]]
    if notices:
        own, others = (sum(one.get(name, 0) for one in notices) for name in ("shown", "others"))
        where = f"opened {own:,} times at the device" + (f", {others:,} at others of the home" if others else "")
        answers = list(dict.fromkeys(_ANSWERS.get(row["answer"], "?") for row in found.incidents if row["answer"]))
        facts.append(("Notice on the router", f"{where}; {', '.join(answers) or 'not answered yet'}"))
    held = next((one["quarantine"] for one in notices if "quarantine" in one), None)
    if held is not None:
        facts.append(("Quarantine", _quarantine(held)))
    facts += _funnel(found.case)
    counts = found.submission
    if counts is not None:
        text = f"{counts['servers']:,} servers in a day; {counts['fails']:,} of {counts['conns']:,} connections failed"
        facts.append(("Submission", f"{text} (ports 465, 587, 2525; never blocked)"))
    return facts


def _funnel(case: Case) -> list[tuple[str, str]]:
    """How far the notice has come, since the device was last found."""
    facts = []
    if case.told_at is not None:
        by = ", ".join(_CHANNELS.get(name, "?") for name in case.told_by.split())
        facts.append(("Notified", f"{when(case.told_at)}, by {by}"))
    if case.objection:
        facts.append(("Objection", "waits for a decision: acknowledge or close the case"))
    if case.relapsed_at is not None:
        facts.append(("Relapsed", when(case.relapsed_at)))
    if case.clean_since is not None:
        facts.append(("No finding since", when(case.clean_since)))
    return facts


def _indicators(case: Case) -> str:
    rows = []
    for name in sorted(case.ind, key=lambda name: (-case.ind[name], name)):
        known = INDICATORS.get(name)
        meaning = known.desk if known else "Unknown to this version of the collector."
        family = f" &middot; {known.family}" if known else ""
        rows.append(("", [f"{shown(meaning)}{note(f'<code>{shown(name)}</code>{family}')}", f"{case.ind[name]:,}"]))
    columns = [Column("Indicator"), Column("Connections", "n")]
    body = f'<div class="quiet">{table("Indicators", columns, rows)}</div>' if rows else '<p class="none">None.</p>'
    return (
        '<section class="card"><h2>Indicators</h2><p class="note">Number of connections with each indicator, in all '
        f"incidents.</p>{body}</section>"
    )


def _form(case: Case, person: Person, people: Sequence[str]) -> str:
    if not person.may_act:
        return ""
    can_reopen = case.why == history.DESK
    names = [name for name, kind in KINDS.items() if kind in case.allowed and (kind != history.REOPENED or can_reopen)]
    buttons = "".join(
        f"<button{' class=main' if at == 0 and name != 'note' else ''} "
        f'formaction="{link(f"/cases/{case.id}/{name}", {})}">{_BUTTONS[name]}</button>'
        for at, name in enumerate(names)
    )
    body = (
        f'<label for="text">Remark, saved with the action (required for a note)</label>'
        f'<textarea id="text" name="text" maxlength="{MAX_TEXT}" rows="3"></textarea><div class="acts">{buttons}</div>'
    )
    made = form(link(f"/cases/{case.id}/note", {}), person, body)
    chosen = case.assignee if not people or case.assignee in people else ""
    give = form(
        link(f"/cases/{case.id}/assign", {}),
        person,
        f'{assignees(person, people, chosen)}<div class="go"><button>Assign</button></div>',
        "filter",
    )
    return f'<section class="card"><h2>Actions</h2>{made}{give}</section>'


#: Time, the place among those of one time, CSS class, title, and more as HTML.
_Moment = tuple[int, int, str, str, str]


def _moments(found: Detail, mails: list[Row]) -> list[_Moment]:
    """What happened, the latest first."""
    moments: list[_Moment] = []
    for row in found.incidents:
        if row["raised_at"] is None or row["opened_at"] < row["raised_at"]:
            moments.append((row["opened_at"], 0, "opened", "First reported", ""))
        if row["raised_at"] is not None:
            moments.append((row["raised_at"], 1, "raised", "Compromised", ""))
        if row["closed_at"] is not None:
            clean = "clean" if row["why"] in ("cleared", "released") else "closed"
            moments.append((row["closed_at"], 4, clean, _ENDS.get(row["why"] or "", "Ended"), ""))
        moments += _of_notice(row)
    for row in found.episodes[1:]:
        moments.append((row["begun_at"], 2, "recurring", f"Recurring, the {_nth(row['number'] + 1)} time", ""))
    for row in found.actions:
        text = f'<span class="text">{lines(row["text"])}</span>' if row["text"] else ""
        to = "" if row["assignee"] is None else f" to {shown(row['assignee'] or 'no one', 64)}"
        moments.append((row["at"], 3, "act", f"{_DID.get(row['what'], '?')}{to}, by {shown(row['who'], 64)}", text))
    for row in found.events:
        moments.append(
            (row["done_at"] or row["at"], 5, "notified", f"Notification: {shown(row['kind'])}", _delivery(row))
        )
    moments += [(at, 5, "notified", title, text) for at, title, text in mailform.moments(mails)]
    moments += _of_quarantine(found.reports)
    return sorted(moments, key=lambda one: (-one[0], -one[1]))


def _of_notice(row: Row) -> list[_Moment]:
    """What became of the notice on the router; in the words of the answer that was the last."""
    moments: list[_Moment] = []
    if row["seen_at"] is not None:
        moments.append((row["seen_at"], 2, "notified", "Notice opened at the device", ""))
    if row["seen_home_at"] is not None:
        moments.append((row["seen_home_at"], 2, "notified", "Notice opened at another device of the home", ""))
    if row["answered_at"] is not None:
        said = f'<span class="note">{_ANSWERS.get(row["answer"] or "", "?")}</span>'
        moments.append((row["answered_at"], 3, "act", "Notice answered", said))
    if row["objected_at"] is not None and row["objected_at"] != row["answered_at"]:
        moments.append((row["objected_at"], 3, "act", "Objection, on the notice", ""))
    return moments


def _quarantine(held: Any) -> str:
    """In words; a router of another version may have others."""
    if held.get("state") == "quarantined":
        return "quarantined: it reaches helpful sites only"
    return f"released {_RELEASED.get(held.get('who', ''), '')}".strip()


def _of_quarantine(reports: list[Row]) -> list[_Moment]:
    """When it began and ended, as the single events that are still kept have it. reports: newest first."""
    moments: list[_Moment] = []
    last: dict[str, Any] = {}
    for row in reversed(reports):
        held = (row["body"].get("notice") or {}).get("quarantine")
        if held is not None and held != last.get(row["incident"]):
            kind = "raised" if held.get("state") == "quarantined" else "notified"
            text = _quarantine(held)
            moments.append((row["at"], 2, kind, f"Quarantine: {text}", ""))
            last[row["incident"]] = held
    return moments


def _timeline(found: Detail, mails: list[Row]) -> str:
    moments = _moments(found, mails)
    items = "".join(
        f'<li class="{kind}">{when(at)}<strong>{title}</strong>{f"<br>{text}" if text else ""}</li>'
        for at, _, kind, title, text in moments[:_SHOWN_MOMENTS]
    )
    more = (
        f'<p class="note">The latest {_SHOWN_MOMENTS} of {len(moments):,}.</p>' if len(moments) > _SHOWN_MOMENTS else ""
    )
    return f'<section class="card"><h2>Timeline</h2>{more}<ol class="timeline">{items}</ol></section>'


def _delivery(row: Row) -> str:
    if row["state"] == DELIVERED:
        return ""
    why = f": {shown(row['why'], 120)}" if row["why"] else ""
    states = {QUEUED: "waiting", DEAD: "given up", SKIPPED: "not sent"}
    return f'<span class="note">{states.get(row["state"], "?")}{why}</span>'


def _incidents(found: Detail) -> str:
    columns = [
        Column("Incident"),
        Column("First reported", "nowrap"),
        Column("Compromised", "nowrap"),
        Column("Ended", "nowrap"),
        Column("Connections", "n"),
        Column("Networks", "n narrow-off"),
        Column("Messages", "n narrow-off"),
        Column("Refused", "n"),
        Column("Name", "narrow-off"),
    ]
    rows = []
    for row in found.incidents[:_SHOWN_INCIDENTS]:
        counts = [f"{row[name]:,}" for name in ("conns", "nets", "msgs", "refused")]
        over = when(row["closed_at"]) + (note(shown(row["why"])) if row["why"] else "")
        name = shown(row["name"]) if row["name"] else "&ndash;"
        rows.append(
            (
                "",
                [
                    f'<span class="code">{shown(row["id"])}</span>',
                    when(row["opened_at"]),
                    when(row["raised_at"]),
                    over,
                    *counts,
                    name,
                ],
            )
        )
    listed = listing(f"{len(rows)} incidents, the newest first" if len(rows) != 1 else "1 incident", columns, rows)
    return f'<section class="card"><h2>Incidents</h2>{listed}</section>'


def _ports(found: Detail) -> str:
    """Example connections, for networks that share addresses (RFC 6302)."""
    examples: list[tuple[int, Any, Any, str]] = []
    for row in found.incidents:
        for one in row["sp"]:
            examples.append((one["at"], one["port"], one["family"], row["address"] or ""))
    if not examples:
        return ""
    examples.sort(key=lambda one: -one[0])
    rows = [
        ("", [when(at), f"{port}", f"IPv{family}", shown(address) if address else "&ndash;"])
        for at, port, family, address in examples[:_SHOWN_PORTS]
    ]
    columns = [Column("Began"), Column("Source port", "n"), Column("Family"), Column("Address of the router")]
    return (
        '<section class="card"><h2>Example connections</h2><p class="note">Source ports behind the NAT of the router, '
        f"to find the line if addresses are shared.</p>{listing('The latest first', columns, rows)}</section>"
    )


def lines(text: str) -> str:
    """A text with its line ends, which the style shows."""
    return "\n".join(shown(line, MAX_TEXT) if line else "" for line in text.split("\n"))


def _nth(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"
