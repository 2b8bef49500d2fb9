"""The page of notices by e-mail that did not reach their subscriber: retry or give up one, or all.

Knows the list and the form. Must not know SQL, SMTP or an address.
"""

from __future__ import annotations

from cpe_filter.collect.mail import outbox, undelivered
from cpe_filter.collect.mail.undelivered import Choice
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.web.access import Person
from cpe_filter.collect.web.http import Refusal
from cpe_filter.collect.web.layout import form, link, listing, when
from cpe_filter.texts.html import Column, count, note, shown

PATH = "/undelivered"
#: Names of fields.
MAIL, REASON = "mail", "reason"
#: The last part of the URL.
CHOICES: dict[str, Choice] = {"retry": "retry", "give-up": "give-up"}
DONE = {
    "retry": "What may be tried again is queued. It is sent within a minute, unless a bound is reached.",
    "give-up": "Given up. The cases still show what happened.",
}
MAX_REASON = 300
_STATES = {outbox.FAILED: "failed", outbox.BOUNCED: "came back", outbox.QUEUED: "waits"}


async def page(store: Store, person: Person) -> str:
    """The page's content. Raises `StoreError`."""
    rows, total = await undelivered.listed(store)
    lead = (
        "These subscribers have not been reached by e-mail. Put the address right in the subscriber map, then try "
        "again; or notify them in another way and give the notice up. A notice that came back is sent again "
        "from its case."
    )
    head = f'<h1>{count(total, "notice")} not delivered</h1><p class="lead">{lead}</p>'
    if not rows:
        return f'{head}<section class="card"><p class="none" role="status">None.</p></section>'
    columns = [
        Column("Queued", "nowrap"),
        Column("Case"),
        Column("Subscriber"),
        Column("State"),
        Column("Why", "reason"),
        Column("Attempts", "n narrow-off"),
    ]
    acts = person.may_act
    shown_rows = [("", _cells(row, acts)) for row in rows]
    most = f'<p class="note">The latest {len(rows):,} of {total:,}.</p>' if total > len(rows) else ""
    listed = f'<section class="card audit"><h2>Notices</h2>{listing("The latest first", columns, shown_rows)}{most}'
    if not acts:
        return f"{head}{listed}</section>"
    every = (
        f'<p class="pick"><input type="radio" id="m-all" name="{MAIL}" value="{undelivered.ALL}" required>'
        f'<label for="m-all">all {total:,}</label></p>'
    )
    ask = (
        f'<label for="reason">Reason, for the audit log</label><input id="reason" name="{REASON}" required '
        f'maxlength="{MAX_REASON}"><div class="acts"><button class="main">Try again</button>'
        f'<button formaction="{PATH}/give-up">Give up</button></div>'
    )
    body = f'{listed}{every}</section><section class="card"><h2>Selected notice</h2>{ask}</section>'
    return head + form(f"{PATH}/retry", person, body)


def _cells(row: Row, acts: bool) -> list[str]:
    pick = when(row["made_at"])
    if acts:
        number = shown_id(row["id"])
        field = f'<input type="radio" id="m-{number}" name="{MAIL}" value="{number}" required>'
        pick = f'<span class="pick">{field}<label for="m-{number}">{pick}</label></span>'
    case = link(f"/cases/{row['case_id']}", {})
    status = f" ({shown(row['status'], 20)})" if row["status"] else ""
    tried = note(f"tried again {when(row['retried_at'])}") if row["retried_at"] else ""
    following = note(f"next attempt {when(row['next_at'])}") if row["state"] == outbox.QUEUED else ""
    return [
        pick,
        f'<a class="code nowrap" href="{case}">{shown(row["case_id"], 40)}</a>',
        shown(row["subscriber"], 40),
        _STATES.get(row["state"], "?"),
        f"{shown(row['why'] or '', 160)}{status}{following}{tried}",
        f"{row['tries']:,}",
    ]


def shown_id(number: str) -> str:
    """The id of a message, for an attribute: hexadecimal."""
    return number if number.isalnum() and number.isascii() else ""


async def act(store: Store, name: str, number: str, reason: str, by: audit.By, now: int) -> Refusal | None:
    """Does one of `CHOICES`: None when it is done. Raises `StoreError`."""
    reason = " ".join(reason.split())
    if not reason or len(reason) > MAX_REASON:
        return Refusal(400, f"A reason has 1 to {MAX_REASON} characters.")
    if not (number.isascii() and number.isalnum() and len(number) <= 40):
        return Refusal(400, "Select a notice, or all.")
    if await undelivered.do(store, CHOICES[name], number, by, reason, now) == 0:
        return Refusal(409, "The list has changed, or this notice cannot be tried again. Reload the page.")
    return None
