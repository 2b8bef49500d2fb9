"""Instructions of the desk for the router of a case: made, signed and queued; what has become of them.

Knows the table desk_instruction, and what an instruction may ask for. Must not know HTTP, or how it travels
(intake.outgoing). An instruction can only relax, for one device of one router, and it expires. The remark of the desk
stays here: the document has the id of the case as its reason.
"""

from __future__ import annotations

import datetime
import json
from typing import Literal, NamedTuple, get_args

from cpe_filter.collect import signing
from cpe_filter.collect.cases.model import Case
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Store, UnstorableError
from cpe_filter.signed import document

Action = Literal["release", "exempt", "end-quarantine"]
ACTIONS: tuple[Action, ...] = get_args(Action)
RELEASE, EXEMPT, END_QUARANTINE = ACTIONS
InstructionState = Literal["queued", "sent", "applied", "refused", "expired"]
QUEUED, SENT, APPLIED, REFUSED, EXPIRED = STATES = get_args(InstructionState)

DAY = 86_400
#: Days of an exemption from here; instructions of one router that wait.
MAX_EXEMPT_DAYS, MAX_WAITING = 365, 4
MAX_REMARK = 500


class Terms(NamedTuple):
    """days: how long an instruction holds. per_day: instructions of all users in 24 hours."""

    days: int = 7
    per_day: int = 200


class Desk:
    """Makes instructions. key: signs them."""

    def __init__(self, store: Store, key: signing.SecretKey, terms: Terms | None = None) -> None:
        self._store, self._key, self._terms = store, key, terms or Terms()

    @property
    def days(self) -> int:
        return self._terms.days

    async def problem(self, case: Case, action: Action, now: int) -> str | None:
        """Why there cannot be such an instruction now, as a sentence without its full stop. Raises `StoreError`."""
        if action == RELEASE and case.standing != "compromised":
            return "The device is not compromised"
        if action == END_QUARANTINE and not await self._quarantined(case):
            return "The device is not in quarantine"
        rows = await self._store.read(_WAITING, router=case.router, now=now)
        if any(row["dev"] == case.dev and row["action"] == action for row in rows):
            return "The router has not answered the last one yet"
        if len(rows) >= MAX_WAITING:
            return f"{MAX_WAITING} instructions wait for the router"
        made = (await self._store.read(_MADE, since=now - DAY))[0]["n"]
        if made >= self._terms.per_day:
            return f"{made} instructions were made within 24 hours; [desk] instructions_per_day allows no more"
        return None

    async def _quarantined(self, case: Case) -> bool:
        rows = await self._store.read(_NOTICES, id=case.id)
        held = [json.loads(row["notice"]).get("quarantine", {}) for row in rows]
        return any(one.get("state") == "quarantined" for one in held)

    async def issue(self, case: Case, action: Action, days: int, remark: str, by: audit.By, now: int) -> str | None:
        """Signs an instruction and queues it, with its line in the audit log. days: of an exemption.

        None when it is done, else why not. Raises `StoreError`.
        """
        problem = await self.problem(case, action, now)
        if problem is not None:
            return problem
        for _ in range(3):  # another process may take the same number
            last = (await self._store.read(_LAST, router=case.router))[0]["n"]
            row = self._signed(case, action, days, max(now, (last or 0) + 1), now)
            try:
                add = _ADD, {**row, "remark": remark, "user": by.who}
                await audit.record(self._store, by, action, case.id, remark, now, [add])
            except UnstorableError:
                continue
            return None
        return "Another instruction was made at this moment. Try again"

    def _signed(self, case: Case, action: Action, days: int, sequence: int, now: int) -> Row:
        until = now + min(days, MAX_EXEMPT_DAYS) * DAY if action == EXEMPT else None
        lines = [
            "[instruction]",
            f"action = {signing.text(action)}",
            f"device = {signing.text(case.dev)}",
            f"reason = {signing.text(f'case {case.id}')}",
        ]
        if until is not None:
            moment = datetime.datetime.fromtimestamp(until, datetime.timezone.utc)
            lines.append(f"until = {moment:%Y-%m-%dT%H:%M:%SZ}")
        expires = now + self._terms.days * DAY
        header = signing.header(
            signing.Header(document.INSTRUCTION, sequence, now, expires, (f"router:{case.router}",))
        )
        message = (header + "\n".join(lines) + "\n").encode()
        return {
            "id": document.digest(message),
            "case_id": case.id,
            "router": case.router,
            "dev": case.dev,
            "action": action,
            "until_at": until,
            "now": now,
            "sequence": sequence,
            "expires_at": expires,
            "document": self._key.sign(message).decode(),
        }


async def of_case(store: Store, number: str) -> list[Row]:
    """The instructions of a case, oldest first. Raises `StoreError`."""
    return await store.read(
        "SELECT id, action, until_at, remark, made_at, made_by, expires_at, state, sent_at, done_at, why"
        " FROM desk_instruction WHERE case_id = :id ORDER BY made_at, sequence LIMIT 200",
        id=number,
    )


async def of_subscriber(store: Store, subscriber: str, most: int = 100) -> list[Row]:
    """The instructions of all cases of a subscriber, latest first. Raises `StoreError`."""
    return await store.read(
        "SELECT i.id, i.case_id, i.router, i.action, i.until_at, i.remark, i.made_at, i.made_by, i.state, i.done_at,"
        " i.why FROM desk_instruction i JOIN desk_case c ON c.id = i.case_id WHERE c.subscriber = :subscriber"
        " ORDER BY i.made_at DESC, i.sequence DESC, i.id LIMIT :most",
        subscriber=subscriber, most=most,
    )  # fmt: skip


_WAITING = f"""
SELECT dev, action FROM desk_instruction
WHERE router = :router AND state IN ('{QUEUED}', '{SENT}') AND expires_at > :now
"""
_NOTICES = """
SELECT i.notice FROM desk_incident d JOIN incident i ON i.router = d.router AND i.id = d.incident
WHERE d.case_id = :id AND i.closed_at IS NULL AND i.notice IS NOT NULL ORDER BY i.opened_at DESC, i.id LIMIT 100
"""
_MADE = "SELECT COUNT(*) AS n FROM desk_instruction WHERE made_at > :since"
_LAST = "SELECT MAX(sequence) AS n FROM desk_instruction WHERE router = :router"
_ADD = f"""
INSERT INTO desk_instruction (id, case_id, router, dev, action, until_at, remark, made_at, made_by, sequence,
    expires_at, state, document)
VALUES (:id, :case_id, :router, :dev, :action, :until_at, :remark, :now, :user, :sequence,
    :expires_at, '{QUEUED}', :document)
"""
