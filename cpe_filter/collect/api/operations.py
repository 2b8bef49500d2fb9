"""All operations of the API: path, role, parameters, bodies, answers. The routes and the documentation are made from
this table, and requests are checked by it.

Must not know how an operation is done.
"""

from __future__ import annotations

from typing import NamedTuple, get_args

from cpe_filter.collect.api.query import Parameter
from cpe_filter.collect.api.schemas import Schema, moment, one_of, string
from cpe_filter.collect.api.tokens import Role
from cpe_filter.collect.cases.history import STATES
from cpe_filter.collect.cases.model import STAGES
from cpe_filter.collect.cases.needs import NEEDS
from cpe_filter.collect.cases.notifications import MAIL_STATES
from cpe_filter.collect.rollout.routers import LISTS
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.sql_documents import TYPES
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.texts.notice import LANGUAGES

PREFIX = "/api/v1"
#: Rows of a part of a list.
MAX_LIMIT, LIMIT = 200, 50
#: Orders of the list of cases: the word -> column, and whether the latest come first.
#: Days of figures. In place of a user's name: cases that are assigned to none.
FIGURE_DAYS, NOBODY = 90, "-"
#: In place of the type of a document that no router could verify.
UNKNOWN = "unknown"
ORDERS = {"last": ("last_at", True), "opened": ("opened_at", True), "changed": ("changed_at", False)}


class Operation(NamedTuple):
    """name: operationId, and which function does it. path: after `PREFIX`. role: None if no token is needed.
    body, answer: of SCHEMAS; no body: None. status: when it is done. versioned: the answer has an ETag, and an act
    needs If-Match. problems: besides those that every operation may have.
    """

    name: str
    method: str
    path: str
    role: Role | None
    summary: str
    answer: str | None
    about: str = ""
    parameters: tuple[str, ...] = ()
    body: str | None = None
    status: int = 200
    versioned: bool = False
    problems: tuple[str, ...] = ()


def _words(words: tuple[str, ...]) -> Schema:
    return {"type": "array", "items": {"type": "string", "enum": list(words)}}


_NAME = 200
PARAMETERS: dict[str, Parameter] = {
    one.name: one
    for one in (
        Parameter("cursor", string("", 1024), "`next` of the part before."),
        Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": LIMIT}, "Rows at most."),
        Parameter("order", one_of(tuple(ORDERS), ""),
                  "last: last seen first (default). opened: last opened first. changed: oldest change first, so that a "
                  "client that goes on with `cursor` misses no change."),
        Parameter("state", _words((*STATES, "active")), "Any of these; active: all but clean and closed."),
        Parameter("stage", one_of(tuple(STAGES), ""), "At this stage, from the notice to clean."),
        Parameter("need", one_of(tuple(name for name in NEEDS if name != "mine"), ""),
                  "Waits for the desk, as on the first page."),
        Parameter("assigned", string("", 64), f"Assigned to this user; `{NOBODY}`: to none."),
        Parameter("days", {"type": "integer", "minimum": 1, "maximum": 365, "default": FIGURE_DAYS},
                  "Devices found within so many days."),
        Parameter("region", string("", _NAME), "Exactly this region."),
        Parameter("model", string("", _NAME), "Exactly this model."),
        Parameter("subscriber", string("", _NAME), "Exactly this subscriber."),
        Parameter("router", string("", _NAME), "Exactly this router."),
        Parameter("indicator", one_of(tuple(INDICATORS), ""), "With this indicator."),
        Parameter("text", string("", _NAME), "Part of case, subscriber, router, device, contact or line."),
        Parameter("since", moment(""), "Last seen (audit: done) at this time or later."),
        Parameter("until", moment(""), "Last seen (audit: done) before this time."),
        Parameter("changed_since", moment(""), "Changed at this time or later."),
        Parameter("mail_state", _words(MAIL_STATES), "Any of these."),
        Parameter("case", string("", 64), "Of this case."),
        Parameter("who", string("", 100), "Done by this user or token."),
        Parameter("what", one_of(tuple(audit.KINDS), ""), "This was done."),
        Parameter("via", one_of(get_args(audit.Via), ""), "By this way."),
        Parameter("type", one_of((*TYPES, UNKNOWN), ""), "Of this type; required. unknown: a bad signature."),
        Parameter("doc", string("", 16), "The document with this digest; none: those that could not be read."),
        Parameter("result", one_of(LISTS, ""), "What became of it; required. silent: in force, no report for 2 days."),
        Parameter("why", string("", 64), "Exactly this code."),
        Parameter("language", one_of(LANGUAGES, ""), "Default: `[notice] language`."),
    )
}  # fmt: skip

_LIST = ("cursor", "limit")
_FILTERS = (
    "state", "stage", "need", "assigned", "region", "model", "subscriber", "router", "indicator",
    "text", "since", "until", "changed_since",
)  # fmt: skip
_ONE = ("not-found",)
_ACT = ("not-found", "state")
_KEPT = "The user in the history is `token:NAME`."

OPERATIONS: tuple[Operation, ...] = (
    Operation("listCases", "GET", "/cases", "read", "List cases", "Cases",
              "Filters hold together. Without `state` cases of all states are listed.",
              parameters=(*_LIST, "order", *_FILTERS)),
    Operation("getCase", "GET", "/cases/{id}", "read", "One case with history, evidence and notices", "CaseDetail",
              versioned=True, problems=_ONE),
    Operation("getNotice", "GET", "/cases/{id}/notice", "read", "The notice as the subscriber reads it", "Notice",
              parameters=("language",), problems=_ACT),
    Operation("addNote", "POST", "/cases/{id}/notes", "desk", "Add a note", "Case", _KEPT,
              body="NoteOrder", problems=_ACT),
    Operation("acknowledgeCase", "POST", "/cases/{id}/acknowledge", "desk", "The desk or the subscriber works on it",
              "Case", _KEPT, body="ActOrder", versioned=True, problems=_ACT),
    Operation("markNotified", "POST", "/cases/{id}/notified", "desk", "The subscriber was notified by other means",
              "Case", _KEPT, body="ActOrder", versioned=True, problems=_ACT),
    Operation("sendNotice", "POST", "/cases/{id}/notify", "desk", "Send the notice by e-mail", "Mail",
              "It is queued, within the bounds of `[mail]`. The case is notified once the relay has accepted it.",
              body="ActOrder", status=202, versioned=True, problems=(*_ACT, "not-set-up")),
    Operation("assignCase", "POST", "/cases/{id}/assign", "desk", "Assign a case to a user, or to none", "Case", _KEPT,
              body="AssignOrder", versioned=True, problems=_ACT),
    Operation("releaseDevice", "POST", "/cases/{id}/release", "desk", "Have the router release the device", "Case",
              "A signed instruction travels to the router with its next report; the case shows what became of it.",
              body="ReasonOrder", status=202, versioned=True, problems=(*_ACT, "not-set-up")),
    Operation("exemptDevice", "POST", "/cases/{id}/exempt", "desk", "Have the router exempt the device", "Case",
              "As releaseDevice, for so many days.",
              body="ExemptOrder", status=202, versioned=True, problems=(*_ACT, "not-set-up")),
    Operation("endQuarantine", "POST", "/cases/{id}/end-quarantine", "desk", "Have the router end the quarantine",
              "Case", "As releaseDevice; the device stays compromised.",
              body="ReasonOrder", status=202, versioned=True, problems=(*_ACT, "not-set-up")),
    Operation("closeCase", "POST", "/cases/{id}/close", "desk", "Close a case, with its outcome", "Case", _KEPT,
              body="CloseOrder", versioned=True, problems=_ACT),
    Operation("reopenCase", "POST", "/cases/{id}/reopen", "desk", "Reopen what was closed by the desk", "Case", _KEPT,
              body="ActOrder", versioned=True, problems=_ACT),
    Operation("getFigures", "GET", "/figures", "read", "From the notice to a clean device, as on the fleet page",
              "Figures", "They are computed once a minute.", parameters=("days", "region", "model"),
              problems=("not-set-up",)),
    Operation("listSubscribers", "GET", "/subscribers", "read", "Subscribers with cases, by id", "Subscribers",
              "Their cases: `/cases?subscriber=`.", parameters=(*_LIST, "subscriber")),
    Operation("listMails", "GET", "/mails", "read", "Notices by e-mail, the latest first", "Mails",
              parameters=(*_LIST, "mail_state", "case", "subscriber")),
    Operation("getRollout", "GET", "/rollout", "read", "How far signed documents have come, and whether to halt one",
              "Rollout", "They can be some minutes old where the store is slow. The ETag changes with the figures.",
              versioned=True, problems=("not-set-up",)),
    Operation("listDocumentRouters", "GET", "/rollout/routers", "read", "The routers on which a document ended so",
              "DocumentRouters", "Sorted by id.", parameters=(*_LIST, "type", "doc", "result", "why")),
    Operation("getMe", "GET", "/me", "read", "The token of this request", "Me"),
    Operation("listTokens", "GET", "/tokens", "admin", "All tokens", "Tokens",
              "New ones are made on the command line only."),
    Operation("revokeToken", "POST", "/tokens/{name}/revoke", "admin", "End a token at once", "Token", problems=_ONE),
    Operation("listAudit", "GET", "/audit", "admin", "The audit log, the latest first", "Audit",
              parameters=(*_LIST, "who", "case", "what", "via", "since", "until")),
    Operation("getDocument", "GET", "/openapi.json", None, "This document", None),
)  # fmt: skip

BY_NAME = {one.name: one for one in OPERATIONS}
#: What the parts of a path may be; anything else is not found.
PATH_RULES = {"id": r"[0-9A-Za-z-]{1,64}", "name": r"[0-9A-Za-z][0-9A-Za-z._-]{0,39}"}
