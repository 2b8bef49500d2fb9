"""The notice by e-mail on the page of a case: as its subscriber will read it, what was sent and what became of it, and
the page that asks for a confirmation before the desk sends it.

Knows HTML. Must not know SMTP or the address.
"""

from __future__ import annotations

from cpe_filter.collect.cases import query
from cpe_filter.collect.mail import outbox
from cpe_filter.collect.mail.desk import Desk, Letter
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.web.access import Person
from cpe_filter.collect.web.http import Refusal
from cpe_filter.collect.web.layout import attribute, form, link, when
from cpe_filter.texts.html import shown

#: The hidden field with the number of messages that the case had when the form was made.
PLACE = "place"
#: The names of languages in themselves.
_NAMES = {"en": "English", "nl": "Nederlands", "de": "Deutsch", "tr": "Türkçe"}


async def page(store: Store, mail: Desk, number: str, person: Person, now: int) -> str | None:
    """The page that asks for a confirmation; None if the case does not exist. Raises `StoreError`."""
    found = await query.detail(store, number)
    if found is None:
        return None
    letter = await mail.letter(found, now)
    if letter.problem is None:
        button = '<div class="acts"><button class="main">Send this notice now</button></div>'
        place = f'<input type="hidden" name="{PLACE}" value="{len(letter.sent)}">'
        ask = form(link(f"/cases/{found.case.id}/mail", {}), person, f"{place}{button}")
    else:
        ask = f"<p>It cannot be sent. {shown(letter.problem, 160)}.</p>"
    return (
        f'<p class="back"><a href="{link(f"/cases/{found.case.id}", {})}">Back to the case</a></p>'
        f'<h1>Send the notice by e-mail?</h1><p class="lead">Case <span class="code">{shown(found.case.id)}</span>.'
        f'</p><section class="card"><h2>This will be sent</h2>{_text(letter)}{ask}</section>'
    )


async def send(store: Store, mail: Desk, number: str, place: str, by: audit.By, now: int) -> Refusal | None:
    """Queues the notice: None when it is done. Raises `StoreError`."""
    found = await query.detail(store, number)
    if found is None:
        return Refusal(404, "No such case.")
    if not (place.isascii() and place.isdecimal() and len(place) < 7):
        return Refusal(400, "Malformed form.")
    problem = await mail.queue(found, int(place), by, now)
    return None if problem is None else Refusal(409, f"{problem}.")


def section(letter: Letter, number: str, person: Person) -> str:
    """A part of the page of a case."""
    if not letter.texts and not letter.sent:
        return ""
    may = ""
    if letter.problem is not None:
        may = f'<p class="note">{shown(letter.problem, 160)}.</p>'
    elif person.may_act:
        path = link(f"/cases/{number}/mail", {})
        may = f'<p><a class="button" href="{path}">Send the notice by e-mail</a></p>'
    text = ""
    if letter.texts:
        text = (
            '<details class="data"><summary>The notice, as the subscriber will read it</summary>'
            f"{_text(letter)}</details>"
        )
    return f'<section class="card"><h2>Notice by e-mail</h2>{_sent(letter.sent)}{may}{text}</section>'


def _text(letter: Letter) -> str:
    named = ", ".join(_NAMES.get(text.language, text.language) for text in letter.texts)
    facts = [("To", shown(letter.to, 120) if letter.to else "&ndash;"), ("Language", named)]
    facts.append(("Subject", shown(letter.subject, 300)))
    rows = "".join(f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in facts)
    body = "".join(
        f'<div lang="{language}">' + "\n".join(attribute(line) for line in text.split("\n")) + "</div>"
        for language, text in letter.parts
    )
    return f'<dl class="facts">{rows}</dl><div class="letter">{body}</div>'


def _sent(rows: list[Row]) -> str:
    if not rows:
        return '<p class="none">None sent yet.</p>'
    items = "".join(
        f"<li>{when(row['sent_at'] or row['made_at'])}: {_state(row)}{_by(row)}</li>" for row in reversed(rows)
    )
    return f"<ul>{items}</ul>"


def moments(rows: list[Row]) -> list[tuple[int, str, str]]:
    """For the timeline: when, what, and more about it."""
    out = []
    for row in rows:
        if row["made_by"]:
            out.append((row["made_at"], f"Notice by e-mail, by {shown(row['made_by'], 64)}", ""))
        if row["sent_at"] is not None:
            out.append((row["sent_at"], "Notice sent by e-mail", f'<span class="note">{_languages(row)}</span>'))
        if row["state"] == outbox.FAILED:
            out.append((row["done_at"], "Notice by e-mail failed", f'<span class="note">{_why(row)}</span>'))
    return out


def _state(row: Row) -> str:
    if row["state"] == outbox.SENT:
        late = f", {_why(row)}" if row["why"] else ""
        return f"accepted by the relay{late} ({_languages(row)})"
    if row["state"] == outbox.BOUNCED:
        return f"returned: {_why(row)}"
    if row["state"] == outbox.QUEUED:
        return f"waiting: {_why(row)}; next attempt {when(row['next_at'])}" if row["why"] else "waiting"
    return f"{'failed' if row['state'] == outbox.FAILED else 'not sent'}: {_why(row)}"


def _why(row: Row) -> str:
    status = f" ({shown(row['status'], 20)})" if row["status"] else ""
    return f"{shown(row['why'] or '', 160)}{status}"


def _by(row: Row) -> str:
    return f", by {shown(row['made_by'], 64)}" if row["made_by"] else ", automatic"


def _languages(row: Row) -> str:
    return ", ".join(_NAMES.get(name, name) for name in row["languages"].split())
