"""The operations that read.

Knows what each asks of the store. Must not know HTTP, tokens' rights or how a query is written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from cpe_filter.collect.api import answers, openapi, query, rollout_answers, times, tokens, versions
from cpe_filter.collect.api.operations import FIGURE_DAYS, LIMIT, NOBODY, ORDERS, UNKNOWN
from cpe_filter.collect.api.problem import ProblemError
from cpe_filter.collect.cases import instructions, notice
from cpe_filter.collect.cases import query as cases
from cpe_filter.collect.cases.history import ACTIVE, STATES
from cpe_filter.collect.cases.model import Case, Detail, Filter
from cpe_filter.collect.mail import outbox
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.rollout import routers
from cpe_filter.collect.rollout.figures import Rollouts
from cpe_filter.collect.rollout.routers import Ask
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.store.retention import DAY

Json = dict[str, Any]


class Instructions(Protocol):
    """Signs instructions for routers, and has them delivered."""

    async def issue(
        self, case: Case, action: instructions.Action, days: int, remark: str, by: audit.By, now: int
    ) -> str | None:
        """None when it is queued, else why not. days: of an exemption. Raises `StoreError`."""


#: Days, region and model ("" for all), POSIX seconds -> figures of the fleet page. Raises `StoreError`.
Figures = Callable[[int, str, str, int], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Setup:
    """What operations work with. texts: for notices. desk: sends them. figures: as on the page. instructions: for
    routers. rollouts: figures of signed documents. None where one is not set up. answer_days: as [page] has it.
    people: users that cases can be assigned to; none: any name."""

    store: Store
    texts: notice.Terms
    desk: Desk | None = None
    figures: Figures | None = None
    instructions: Instructions | None = None
    rollouts: Rollouts | None = None
    answer_days: int = 7
    people: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One request. token: None where none is needed. query: times as POSIX seconds. match: If-Match. peer: the address
    of the client."""

    setup: Setup
    token: tokens.Token | None
    now: int
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    match: str | None = None
    peer: str = ""

    @property
    def store(self) -> Store:
        return self.setup.store

    @property
    def by(self) -> audit.By:
        """For the audit log, and the history of a case."""
        return audit.By(self.who.user, audit.API, self.peer)

    @property
    def who(self) -> tokens.Token:
        """The token of an operation that needs one."""
        if self.token is None:
            raise ProblemError("unauthorized")
        return self.token


class Done(NamedTuple):
    """What is answered."""

    value: Json
    headers: Mapping[str, str] = {}


Work = Callable[[Call], Awaitable[Done]]


async def list_cases(call: Call) -> Done:
    asked = call.query
    column, latest = ORDERS[asked.get("order", "last")]
    limit = asked.get("limit", LIMIT)
    start = query.after(asked["cursor"], str, int, str) if "cursor" in asked else None
    if start and start[0] != column:
        raise ProblemError("bad-request", "Parameter cursor is of another order")
    names = ("region", "model", "subscriber", "router", "indicator", "since", "until", "changed_since", "stage")
    states = asked.get("state", [])
    wanted = tuple(state for state in STATES if state in states or ("active" in states and state in ACTIVE))
    given: dict[str, Any] = {name: asked.get(name) for name in names}
    assigned = asked.get("assigned")
    filter_ = Filter(
        wanted,
        text=asked.get("text", ""),
        need=asked.get("need", ""),
        answered_before=call.now - call.setup.answer_days * DAY,
        assigned="" if assigned == NOBODY else assigned,
        **given,
    )
    found = await cases.after(call.store, filter_, column, latest, (start[1], start[2]) if start else None, limit + 1)
    mails = await counts(call.store, [case.id for case in found[:limit]])
    more = query.cursor(column, getattr(found[limit - 1], column), found[limit - 1].id) if len(found) > limit else None
    return Done({"cases": [answers.case_(case, mails.get(case.id, 0)) for case in found[:limit]], "next": more})


async def counts(store: Store, ids: list[str]) -> dict[str, int]:
    """How many notices each case has."""
    if not ids:
        return {}
    names = {f"id{place}": number for place, number in enumerate(ids)}
    rows = await store.read(
        f"SELECT case_id, COUNT(*) AS n FROM desk_mail WHERE case_id IN ({', '.join(':' + name for name in names)})"
        " GROUP BY case_id", **names,
    )  # fmt: skip
    return {row["case_id"]: int(row["n"]) for row in rows}


async def get_case(call: Call) -> Done:
    found = await detail(call)
    mails = await outbox.of_case(call.store, found.case.id)
    orders = await instructions.of_case(call.store, found.case.id)
    return Done(answers.detail(found, mails, orders), tag(found.case, len(mails)))


async def detail(call: Call) -> Detail:
    found = await cases.detail(call.store, call.path["id"])
    if found is None:
        raise ProblemError("not-found", "There is no such case")
    return found


def tag(case: Case, mails: int) -> dict[str, str]:
    return {"etag": versions.etag(answers.version(case, mails))}


async def get_notice(call: Call) -> Done:
    found = await detail(call)
    terms = call.setup.texts._replace(language=call.query.get("language", call.setup.texts.language))
    try:
        return Done(answers.notice(notice.notice(notice.facts_of(found), terms)))
    except notice.NoNoticeError:
        raise ProblemError("state", "The case has ended, or its device is only suspected: there is no notice") from None


async def get_figures(call: Call) -> Done:
    if call.setup.figures is None:
        raise ProblemError("not-set-up")
    asked = call.query
    days = asked.get("days", FIGURE_DAYS)
    found = await call.setup.figures(days, asked.get("region", ""), asked.get("model", ""), call.now)
    return Done(answers.figures(found, await cases.states(call.store), days))


async def get_rollout(call: Call) -> Done:
    if call.setup.rollouts is None:
        raise ProblemError("not-set-up")
    value = rollout_answers.rollout(await call.setup.rollouts.of(call.now))
    return Done(value, {"etag": versions.etag(rollout_answers.version(value))})


async def list_document_routers(call: Call) -> Done:
    asked = call.query
    for name in ("type", "result"):
        if name not in asked:
            raise ProblemError("bad-request", f"Parameter {name} is missing")
    limit = asked.get("limit", LIMIT)
    after = query.after(asked["cursor"], str)[0] if "cursor" in asked else ""
    kind = "" if asked["type"] == UNKNOWN else asked["type"]
    want = Ask(kind, asked.get("doc", ""), asked["result"], asked.get("why", ""), after, limit + 1)
    rows = await routers.listed(call.store, want, call.now)
    more = query.cursor(rows[limit - 1]["router"]) if len(rows) > limit else None
    return Done({"routers": [rollout_answers.router(row) for row in rows[:limit]], "next": more})


async def list_subscribers(call: Call) -> Done:
    asked = call.query
    limit = asked.get("limit", LIMIT)
    start = query.after(asked["cursor"], str)[0] if "cursor" in asked else ""
    values: dict[str, Any] = {"start": start, "most": limit + 1}
    only = ""
    if "subscriber" in asked:
        only, values["only"] = " AND subscriber = :only", asked["subscriber"]
    rows = await call.store.read(_SUBSCRIBERS.format(only=only), **values)
    more = query.cursor(rows[limit - 1]["subscriber"]) if len(rows) > limit else None
    return Done({"subscribers": [answers.subscriber(row) for row in rows[:limit]], "next": more})


_SUBSCRIBERS = f"""
SELECT subscriber, COUNT(DISTINCT router) AS routers, COUNT(*) AS cases,
    SUM(CASE WHEN state IN ({", ".join(f"'{state}'" for state in ACTIVE)}) THEN 1 ELSE 0 END) AS active,
    MAX(last_at) AS last_seen
FROM desk_case WHERE subscriber > :start{{only}} GROUP BY subscriber ORDER BY subscriber LIMIT :most
"""


async def list_mails(call: Call) -> Done:
    asked = call.query
    limit = asked.get("limit", LIMIT)
    parts: list[str] = []
    values: dict[str, Any] = {"most": limit + 1}
    if "cursor" in asked:
        values["at"], values["id"] = query.after(asked["cursor"], int, str)
        parts.append("(made_at < :at OR (made_at = :at AND id > :id))")
    for name, column in (("case", "case_id"), ("subscriber", "subscriber")):
        if name in asked:
            parts.append(f"{column} = :{name}")
            values[name] = asked[name]
    if "mail_state" in asked:
        names = {f"state{place}": state for place, state in enumerate(asked["mail_state"])}
        parts.append(f"state IN ({', '.join(':' + name for name in names)})")
        values.update(names)
    where = f"WHERE {' AND '.join(parts)}" if parts else ""
    rows: list[Row] = await call.store.read(
        f"SELECT * FROM desk_mail {where} ORDER BY made_at DESC, id LIMIT :most", **values
    )
    more = query.cursor(rows[limit - 1]["made_at"], rows[limit - 1]["id"]) if len(rows) > limit else None
    return Done({"mails": [answers.mail(row) for row in rows[:limit]], "next": more})


async def get_me(call: Call) -> Done:
    token = call.who
    return Done({"id": token.id, "name": token.name, "role": token.role, "expires_at": times.written(token.expires_at)})


async def list_tokens(call: Call) -> Done:
    rows = await tokens.listed(call.store)
    return Done({"tokens": [answers.token(row, call.now) for row in rows]})


async def list_audit(call: Call) -> Done:
    asked = call.query
    limit = asked.get("limit", LIMIT)
    start = query.after(asked["cursor"], int)[0] if "cursor" in asked else None
    names = {name: asked.get(name, "") for name in ("who", "case", "what", "via")}
    want = audit.Filter(**names, since=asked.get("since"), until=asked.get("until"))
    rows = await audit.before(call.store, want, start, limit + 1)
    more = query.cursor(rows[limit - 1]["n"]) if len(rows) > limit else None
    return Done({"lines": [answers.audit_line(row) for row in rows[:limit]], "next": more})


async def get_document(_call: Call) -> Done:
    return Done(openapi.document())


READS: dict[str, Work] = {
    "listCases": list_cases,
    "getCase": get_case,
    "getNotice": get_notice,
    "getFigures": get_figures,
    "getRollout": get_rollout,
    "listDocumentRouters": list_document_routers,
    "listSubscribers": list_subscribers,
    "listMails": list_mails,
    "getMe": get_me,
    "listTokens": list_tokens,
    "listAudit": list_audit,
    "getDocument": get_document,
}
