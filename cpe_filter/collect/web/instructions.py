"""Instructions for the router on the page of a case: what was sent and what the router has answered, and the page that
asks for a confirmation.

Knows HTML. Must not know how an instruction is signed or travels.
"""

from __future__ import annotations

from cpe_filter.collect.cases import instructions, query
from cpe_filter.collect.cases.instructions import (
    ACTIONS,
    END_QUARANTINE,
    EXEMPT,
    MAX_EXEMPT_DAYS,
    MAX_REMARK,
    RELEASE,
    Action,
    Desk,
)
from cpe_filter.collect.cases.model import Case
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.web.access import Person
from cpe_filter.collect.web.http import Form, Refusal
from cpe_filter.collect.web.layout import form, link, when
from cpe_filter.texts.html import shown

#: The message after an action.
DONE = {f"router-{name}": "The instruction is queued. It goes to the router with the next report." for name in ACTIONS}
DEFAULT_DAYS = 30
_BUTTONS = {
    RELEASE: "Release on the router",
    EXEMPT: "Exempt on the router",
    END_QUARANTINE: "End the quarantine",
}
_DOES = {
    RELEASE: "The router no longer treats the device as compromised. New evidence blocks it again, sooner than the "
    "first time.",
    EXEMPT: "The router lets all mail of the device pass until then. It stays watched.",
    END_QUARANTINE: "The device reaches the whole Internet again, except that its direct mail stays refused: it stays "
    "compromised. A new conviction begins a new quarantine.",
}
_TITLES = {
    RELEASE: "Release the device on its router?",
    EXEMPT: "Exempt the device on its router?",
    END_QUARANTINE: "End the device's quarantine?",
}
_STATES = {
    instructions.QUEUED: "waiting for the router's next report",
    instructions.SENT: "sent, not answered yet",
    instructions.APPLIED: "applied",
    instructions.EXPIRED: "expired without an answer",
}
#: Codes of the router, in words.
_WHYS = {
    "key": "the router does not know the key of this collector",
    "revoked": "the key of this collector is revoked on the router",
    "purpose": "the key is not for instructions of the desk",
    "signature": "the signature is wrong: the document was changed on the way",
    "agent": "the router's version is too old",
    "audience": "it is for another router: the certificate of the router has another name",
    "early": "the router's clock is too early",
    "expired": "it had expired by the router's clock",
    "sequence": "a later instruction was taken before",
    "content": "the router's version does not know this instruction",
    "device": "the router does not know the device any more",
    "nothing": "the device is not compromised any more",
    "quarantine": "the device is not in quarantine any more",
    "no-mac": "the device has no MAC that can be exempted",
    "failed": "the router could not carry it out; its log says why",
    "state": "the router cannot read which instructions it has taken",
}


def parse(act: str) -> Action | None:
    """The action of the last part of a URL, behind `router-`."""
    return next((name for name in ACTIONS if act == name), None)


async def section(store: Store, desk: Desk | None, case: Case, person: Person, now: int) -> str:
    """A part of the page of a case; "" without a key and without instructions. Raises `StoreError`."""
    rows = await instructions.of_case(store, case.id)
    if desk is None and not rows:
        return ""
    may = ""
    if desk is not None and person.may_act:
        links = []
        for action in ACTIONS:
            if await desk.problem(case, action, now) is None:
                path = link(f"/cases/{case.id}/router-{action}", {})
                links.append(f'<a class="button" href="{path}">{_BUTTONS[action]}</a>')
        may = f"<p>{' '.join(links)}</p>" if links else '<p class="note">Nothing can be sent to the router now.</p>'
    items = "".join(f"<li>{when(row['made_at'])}: {line(row)}</li>" for row in reversed(rows))
    listed = f"<ul>{items}</ul>" if rows else '<p class="none">No instructions yet.</p>'
    return f'<section class="card"><h2>On the router</h2>{listed}{may}</section>'


def line(row: Row) -> str:
    """An instruction: what was asked, its author, and the answer of the router."""
    asked = {RELEASE: "release", END_QUARANTINE: "end of the quarantine"}.get(row["action"], "exempt until ")
    if row["until_at"] is not None:
        asked += when(row["until_at"])
    if row["state"] == instructions.REFUSED:
        code = row["why"] or ""
        if code == "nothing" and row["action"] == END_QUARANTINE:
            code = "quarantine"
        state = f"refused: {_WHYS.get(code, '')}{'' if code in _WHYS else shown(code, 20)}"
    else:
        state = _STATES.get(row["state"], "?")
    at = f" {when(row['done_at'])}" if row["done_at"] is not None else ""
    remark = f'<br><span class="text">{shown(row["remark"], MAX_REMARK)}</span>' if row["remark"] else ""
    return f"{asked}, by {shown(row['made_by'], 64)}: <strong>{state}</strong>{at}{remark}"


async def page(store: Store, desk: Desk, number: str, action: Action, person: Person, now: int) -> str | None:
    """The page that asks for a confirmation; None if the case does not exist. Raises `StoreError`."""
    case = await query.find(store, number)
    if case is None:
        return None
    problem = await desk.problem(case, action, now)
    if problem is None:
        path = link(f"/cases/{case.id}/router-{action}", {})
        ask = form(path, person, _fields(action))
    else:
        ask = f"<p>It cannot be sent. {shown(problem, 160)}.</p>"
    title = _TITLES[action]
    whose = f"subscriber {shown(case.subscriber, 60)}, " if case.subscriber else ""
    return (
        f'<p class="back"><a href="{link(f"/cases/{case.id}", {})}">Back to the case</a></p><h1>{title}</h1>'
        f'<p class="lead">Case <span class="code">{shown(case.id)}</span>, {whose}router '
        f'<span class="code">{shown(case.router)}</span>.</p><section class="card"><h2>This will be sent</h2>'
        f"<p>{_DOES[action]}</p><p class=note>Signed, for this router alone, valid for {desk.days} days. The router "
        f"gets it in the answer to its next report: within minutes while the device is compromised, else within a day. "
        f"The remark stays here.</p>{ask}</section>"
    )


def _fields(action: Action) -> str:
    days = ""
    if action == EXEMPT:
        days = (
            f'<label for="days">Days, 1 to {MAX_EXEMPT_DAYS}</label><input id="days" name="days" type="number" min="1" '
            f'max="{MAX_EXEMPT_DAYS}" value="{DEFAULT_DAYS}" required>'
        )
    return (
        f'{days}<label for="text">Reason</label><textarea id="text" name="text" maxlength="{MAX_REMARK}" rows="2" '
        f'required></textarea><div class="acts"><button class="main">{_BUTTONS[action]}</button></div>'
    )


async def send(
    store: Store, desk: Desk, number: str, action: Action, filled: Form, by: audit.By, now: int
) -> Refusal | None:
    """Queues the instruction: None when it is done. Raises `StoreError`."""
    remark = " ".join(filled.get("text", "").split())
    days = filled.get("days", "1")
    if not remark or len(remark) > MAX_REMARK or not remark.isprintable():
        return Refusal(400, f"A reason of at most {MAX_REMARK} characters is required.")
    if not (days.isascii() and days.isdecimal() and len(days) < 4 and 1 <= int(days) <= MAX_EXEMPT_DAYS):
        return Refusal(400, f"Days are a whole number from 1 to {MAX_EXEMPT_DAYS}.")
    case = await query.find(store, number)
    if case is None:
        return Refusal(404, "No such case.")
    problem = await desk.issue(case, action, int(days), remark, by, now)
    return None if problem is None else Refusal(409, f"{problem}.")
