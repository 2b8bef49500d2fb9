"""The operations that change something: the same functions as on the fleet page, with a token as the user.

Knows what each does. Must not know HTTP or tokens' rights.
"""

from __future__ import annotations

import asyncio

from cpe_filter.collect.api import answers, tokens, versions
from cpe_filter.collect.api.problem import ProblemError
from cpe_filter.collect.api.reads import Call, Done, Work, counts, detail, tag
from cpe_filter.collect.cases import actions, history
from cpe_filter.collect.cases import query as cases
from cpe_filter.collect.cases.history import ActionKind
from cpe_filter.collect.cases.instructions import Action
from cpe_filter.collect.cases.model import Case, CaseError, CaseNotFoundError, InvalidStateError
from cpe_filter.collect.mail import outbox

_OUTCOMES: dict[str, ActionKind] = {
    "confirmed": history.CONFIRMED,
    "false-alarm": history.FALSE_ALARM,
    "none": history.CLOSED,
}
#: Tries of an act with `If-Match: *`, while others act on the case; seconds between.
_TRIES, _PAUSE_S = 20, 0.1


class _Claimed:
    """A version of the case that only this request acts on."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._claim: tuple[str, str] | None = None

    async def __aenter__(self) -> Case:
        call = self._call
        for left in reversed(range(_TRIES)):
            case = await _case(call)
            version = answers.version(case, (await counts(call.store, [case.id])).get(case.id, 0))
            versions.check(call.match, version)
            try:
                await versions.claim(call.store, case.id, version, call.now)
            except ProblemError:
                if (call.match or "").strip() != "*":
                    raise
                if not left:
                    raise ProblemError("in-progress", headers={"retry-after": "1"}) from None
                await asyncio.sleep(_PAUSE_S)
                continue
            self._claim = case.id, version
            return case
        raise AssertionError("unreachable")

    async def __aexit__(self, *_error: object) -> None:
        # Whatever was done has made another version.
        if self._claim is not None:
            await versions.give_back(self._call.store, *self._claim)


async def _case(call: Call) -> Case:
    case = await cases.find(call.store, call.path["id"])
    if case is None:
        raise ProblemError("not-found", "There is no such case")
    return case


async def _act(call: Call, case: Case, kind: ActionKind, assignee: str | None = None) -> Done:
    try:
        after = await actions.act(call.store, case.id, kind, call.who.user, _text(call), call.now, call.by, assignee)
    except CaseNotFoundError:
        raise ProblemError("not-found", "There is no such case") from None
    except InvalidStateError as error:
        raise ProblemError("state", str(error)) from None
    except CaseError:
        raise ProblemError("state", "The case has too many entries, or this text cannot be stored") from None
    return await _answer(call, after)


async def _answer(call: Call, case: Case) -> Done:
    mails = (await counts(call.store, [case.id])).get(case.id, 0)
    return Done(answers.case_(case, mails), tag(case, mails))


def _text(call: Call) -> str:
    return "\n".join(line.rstrip() for line in str(call.body.get("text", "")).split("\n")).strip()


def _kind(kind: ActionKind) -> Work:
    async def work(call: Call) -> Done:
        async with _Claimed(call) as case:
            return await _act(call, case, kind)

    return work


async def add_note(call: Call) -> Done:
    if not _text(call):
        raise ProblemError("bad-request", "A note needs text")
    return await _act(call, await _case(call), history.NOTE)


async def close_case(call: Call) -> Done:
    async with _Claimed(call) as case:
        return await _act(call, case, _OUTCOMES[call.body["outcome"]])


async def assign_case(call: Call) -> Done:
    assignee, people = call.body["assignee"] or "", call.setup.people
    if assignee and people and assignee not in people:
        raise ProblemError("bad-request", "Body, assignee: no user of the page has this name and may act on cases")
    async with _Claimed(call) as case:
        return await _act(call, case, history.ASSIGNED, assignee)


def _instruct(action: Action) -> Work:
    async def work(call: Call) -> Done:
        instructions = call.setup.instructions
        if instructions is None:
            raise ProblemError("not-set-up", "Instructions to routers are not set up")
        if not _text(call):
            raise ProblemError("bad-request", "An instruction needs a reason")
        async with _Claimed(call) as case:
            problem = await instructions.issue(case, action, call.body.get("days", 0), _text(call), call.by, call.now)
            if problem is not None:
                raise ProblemError("state", problem)
            return await _answer(call, await _case(call))

    return work


async def send_notice(call: Call) -> Done:
    desk = call.setup.desk
    if desk is None:
        raise ProblemError("not-set-up", "[mail] is not set up")
    async with _Claimed(call) as case:
        found = await detail(call)
        place = (await counts(call.store, [case.id])).get(case.id, 0)
        problem = await desk.queue(found, place, call.by, call.now)
        if problem is not None:
            raise ProblemError("state", problem)
        rows = await outbox.of_case(call.store, case.id)
        return Done(answers.mail(rows[-1]), tag(case, len(rows)))


async def revoke_token(call: Call) -> Done:
    name = call.path["name"]
    try:
        await tokens.revoke(call.store, name, call.now, call.by)
    except tokens.TokenError:
        raise ProblemError("not-found", "There is no such token") from None
    row = next(row for row in await tokens.listed(call.store) if row["name"] == name)
    return Done(answers.token(row, call.now))


ACTS: dict[str, Work] = {
    "addNote": add_note,
    "acknowledgeCase": _kind(history.ACKNOWLEDGED),
    "markNotified": _kind(history.NOTIFIED),
    "assignCase": assign_case,
    "releaseDevice": _instruct("release"),
    "exemptDevice": _instruct("exempt"),
    "endQuarantine": _instruct("end-quarantine"),
    "closeCase": close_case,
    "reopenCase": _kind(history.REOPENED),
    "sendNotice": send_notice,
    "revokeToken": revoke_token,
}
