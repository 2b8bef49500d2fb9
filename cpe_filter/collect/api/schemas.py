"""What requests and answers of the API look like: JSON Schema 2020-12, as OpenAPI 3.1 has it.

Knows names and types. Must not know where values come from. `docs/api.md` and the document at /api/v1/openapi.json are
made from these.
"""

from __future__ import annotations

from typing import Any

from cpe_filter.collect.api.tokens import ROLES
from cpe_filter.collect.cases import instructions
from cpe_filter.collect.cases.actions import MAX_TEXT
from cpe_filter.collect.cases.history import STATES
from cpe_filter.collect.cases.notifications import EVENT_STATES, MAIL_STATES
from cpe_filter.collect.published import STATES as DOCUMENT_STATES
from cpe_filter.collect.rollout.routers import LISTS
from cpe_filter.collect.rollout.spread import RESULTS, VERDICTS
from cpe_filter.collect.users import NAME
from cpe_filter.texts.notice import LANGUAGES

Schema = dict[str, Any]

OUTCOMES = ("confirmed", "false-alarm", "none")

#: A string without control characters other than tab and line feed.
_TEXT = r"^[^\u0000-\u0008\u000b-\u001f\u007f]*$"


def string(about: str, most: int | None = None, **more: Any) -> Schema:
    return {"type": "string", "description": about, **({} if most is None else {"maxLength": most}), **more}


def number(about: str) -> Schema:
    return {"type": "integer", "description": about}


def moment(about: str) -> Schema:
    return {"type": "string", "format": "date-time", "description": about}


def one_of(words: tuple[str, ...], about: str) -> Schema:
    return {"type": "string", "enum": list(words), "description": about}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **more}


def object_(about: str, properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """No other properties: a client that sends an unknown one has misread something."""
    return {
        "type": "object",
        "description": about,
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(name: str) -> Schema:
    return {"type": "array", "items": ref(name)}


_COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
_MORE = maybe(string("Send it as `cursor` for the next part; null at the end."))
_REASON = string("Kept in the history of the case.", MAX_TEXT, pattern=_TEXT)
_REMARK = {
    **string("Kept with the instruction; it does not travel.", instructions.MAX_REMARK, pattern=_TEXT),
    "minLength": 1,
}

_CASE: dict[str, Schema] = {
    "id": string("Of the case. It may change when the map of subscribers does; an old id finds the case still."),
    "version": string("Changes with the state, the history and the notices of the case: also the ETag."),
    "state": one_of(STATES, "See *Cases* in docs/collector.md."),
    "standing": string("Of the device now: clear, unusual, suspected or compromised."),
    "subscriber": maybe(string("null while the router is not in the map of subscribers.")),
    "contact": maybe(string("From the map.")),
    "region": maybe(string("From the map.")),
    "line": maybe(string("From the map.")),
    "model": maybe(string("From the map, or as the router reports it.")),
    "asn": maybe(number("From the map.")),
    "router": string("Its id."),
    "device": string("Its pseudonym: 16 hex digits."),
    "vendor_oui": maybe(string("The first 6 hex digits of its MAC.")),
    "action": string("What the filter does to its mail: monitor, limit, explain or reset."),
    "first_seen": moment("First evidence."),
    "last_seen": moment("Last evidence."),
    "incidents": number("Of the case."),
    "episodes": number("How often the device was found compromised."),
    "connections": number("To port 25."),
    "networks": number("Of servers."),
    "messages": number("Accepted by servers."),
    "recipients": number("Of messages."),
    "refused": number("Connections that the filter refused."),
    "indicators": {**_COUNTS, "description": "Indicator -> connections."},
    "opened_at": moment("The first episode began."),
    "begun_at": moment("The latest episode began."),
    "notified_at": maybe(moment("The subscriber was notified.")),
    "acknowledged_at": maybe(moment("The subscriber or the desk began to work on it.")),
    "clean_at": maybe(moment("The device was clean.")),
    "closed_at": maybe(moment("The case was closed.")),
    "closed_why": maybe(string("desk, expired, exempt, merged or silent.")),
    "changed_at": moment("The last news."),
    "assignee": maybe(string("Who works on it.")),
    "told_at": maybe(moment("The subscriber was first notified, by any channel.")),
    "told_by": {"type": "array", "items": {"type": "string"}, "description": "router, mail, webhook, desk."},
    "seen_at": maybe(moment("The notice was opened in the home.")),
    "answered_at": maybe(moment("The notice was answered there.")),
    "answer": maybe(string("seen, cleaned, server or mistake.")),
    "objection": {"type": "boolean", "description": "It waits for the desk."},
    "clean_since": maybe(moment("The last finding before enough days without one.")),
    "relapsed_at": maybe(moment("The first finding after these.")),
    "allowed": {"type": "array", "items": {"type": "string"}, "description": "Acts that have an effect now."},
}

_FUNNEL = ("told_at", "seen_at", "answered_at", "answer", "clean_since", "relapsed_at")

SCHEMAS: dict[str, Schema] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457.",
        "properties": {
            "type": string("`urn:problem-type:cpe-filter:` and the kind of problem."),
            "title": string("The same for each problem of a kind."),
            "status": number("Of HTTP."),
            "detail": string("What is wrong."),
        },
        "required": ["type", "title", "status"],
    },
    "Case": object_("A compromised device of a subscriber.", _CASE),
    "Cases": object_("A part of the list.", {"cases": list_of("Case"), "next": _MORE}),
    "Episode": object_(
        "From when a device was found compromised until it was clean or the case was closed.",
        {
            "number": number("0 for the first."),
            "begun_at": moment("It began."),
            **{name: _CASE[name] for name in _FUNNEL},
            **{name: _CASE[name] for name in ("notified_at", "acknowledged_at", "clean_at", "closed_at", "closed_why")},
        },
    ),
    "Incident": object_(
        "What a router reported.",
        {
            "id": string("Of the incident, at its router."),
            "standing": string("Of the device."),
            "opened_at": moment("First report."),
            "raised_at": maybe(moment("The device was compromised.")),
            "closed_at": maybe(moment("It ended.")),
            "why": maybe(string("Why it ended: cleared, released, expired, exempt, merged or silent.")),
            "name": maybe(string("The DHCP name that the device chose; deleted with the evidence.")),
            "address": maybe(string("Of the router; deleted with the evidence.")),
            **{
                name: _CASE[name]
                for name in (
                    "first_seen",
                    "last_seen",
                    "connections",
                    "networks",
                    "messages",
                    "recipients",
                    "refused",
                    "indicators",
                    "action",
                )
            },
            "examples": {
                "type": "array",
                "description": "Example connections, for lines that share an address (RFC 6302).",
                "items": object_(
                    "A connection.",
                    {
                        "at": moment("It began."),
                        "source_port": number("Behind the NAT of the router."),
                        "family": number("4 or 6."),
                    },
                ),
            },
        },
    ),
    "HistoryEntry": object_(
        "What a user, a token or the mail has done.",
        {
            "at": moment("When."),
            "who": string("A user of the page, `token:NAME`, `mail`, `webhook` or `collector`."),
            "what": string("notified, acknowledged, closed, confirmed, false-alarm, reopened, note, assigned, ..."),
            "text": string("The reason or note."),
            "assignee": maybe(string("Of `assigned`: the user, empty for none; null for all else.")),
        },
    ),
    "Notification": object_(
        "An event for the webhook.",
        {
            "id": string("`webhook-id`."),
            "kind": string("opened, recurring, raised, clean or closed."),
            "at": moment("It happened."),
            "state": one_of(EVENT_STATES, "Of the delivery."),
            "done_at": maybe(moment("It was delivered or given up.")),
            "why": maybe(string("Why the last attempt failed.")),
        },
    ),
    "Mail": object_(
        "A notice by e-mail. The address is in the map of subscribers alone.",
        {
            "id": string("Of the message: 20 hex digits."),
            "case": string("Its id."),
            "subscriber": string("Its id."),
            "state": one_of(MAIL_STATES, "sent: the relay has accepted it."),
            "made_at": moment("It was queued."),
            "made_by": maybe(string("The user or token; null where it is automatic.")),
            "sent_at": maybe(moment("The relay accepted it.")),
            "tries": number("Attempts."),
            "next_at": maybe(moment("The next attempt, while it is queued.")),
            "status": maybe(string("The last status code (RFC 3463).")),
            "why": maybe(string("What it means.")),
            "languages": {"type": "array", "items": {"type": "string"}, "description": "As it was sent."},
        },
    ),
    "Mails": object_("A part of the list.", {"mails": list_of("Mail"), "next": _MORE}),
    "Instruction": object_(
        "A signed instruction for the router of a case.",
        {
            "id": string("16 hex digits of the SHA-256 of the signed text."),
            "action": string("release, exempt or end-quarantine."),
            "until": maybe(moment("The exemption ends.")),
            "text": string("The reason."),
            "made_at": moment("It was signed."),
            "made_by": string("The user or token."),
            "expires_at": moment("The router takes it until then."),
            "state": one_of(instructions.STATES, "What became of it."),
            "sent_at": maybe(moment("The router received it.")),
            "done_at": maybe(moment("The router answered.")),
            "why": maybe(string("Why the router refused it.")),
        },
    ),
    "CaseDetail": object_(
        "All there is of a case: at most 100 incidents and notifications, the newest.",
        {
            "case": ref("Case"),
            "episodes": list_of("Episode"),
            "incidents": list_of("Incident"),
            "history": list_of("HistoryEntry"),
            "notifications": list_of("Notification"),
            "mails": list_of("Mail"),
            "instructions": list_of("Instruction"),
        },
    ),
    "Notice": object_(
        "The notice as the subscriber reads it.",
        {
            "language": one_of(LANGUAGES, "Of the text."),
            "subject": string("One line."),
            "body": string("Plain text."),
            "sms": string("160 characters."),
        },
    ),
    "Subscriber": object_(
        "A subscriber with cases.",
        {
            "subscriber": string("Its id."),
            "routers": number("With cases."),
            "cases": number("In all."),
            "active": number("Cases that are open, recurring, notified or acknowledged."),
            "last_seen": moment("Last evidence."),
        },
    ),
    "Subscribers": object_("A part of the list.", {"subscribers": list_of("Subscriber"), "next": _MORE}),
    "Token": object_(
        "A token, without its secret.",
        {
            "id": string("The 8 hex digits after `cpe_`."),
            "name": string("As the history names it."),
            "role": one_of(ROLES, "What it may do."),
            "state": one_of(("valid", "expired", "revoked"), "Now."),
            "created_at": moment("It was made."),
            "expires_at": moment("It ends."),
            "revoked_at": maybe(moment("It was revoked.")),
            "used_at": maybe(moment("The last use, to the minute.")),
        },
    ),
    "Tokens": object_("All tokens.", {"tokens": list_of("Token")}),
    "AuditLine": object_(
        "Who did what when.",
        {
            "n": number("1, 2, 3 ... without a gap."),
            "at": moment("When."),
            "who": maybe(string("A user, `token:NAME`, or a user of the system; null if unknown.")),
            "via": string("page, api, command or service."),
            "what": string("A word of the audit log."),
            "case": maybe(string("Its id.")),
            "reason": string("As it was given."),
            "peer": maybe(string("The address of the browser or client.")),
            "chain": string("SHA-256 of the line before and of this line."),
        },
    ),
    "Audit": object_("A part of the log.", {"lines": list_of("AuditLine"), "next": _MORE}),
    "Me": object_(
        "The token of this request.",
        {
            "id": string("The 8 hex digits after `cpe_`."),
            "name": string("As the history names it."),
            "role": one_of(ROLES, "What it may do."),
            "expires_at": moment("It ends."),
        },
    ),
    "Stage": object_(
        "A stage from the notice to a clean device.",
        {
            "name": string("found, notified, seen, answered, clean or relapsed; docs/collector.md defines each."),
            "devices": number("That reached it."),
            "homes": number("Their homes."),
            "of_devices": number("Of so many that could."),
            "of_homes": number("Their homes."),
            "median_s": maybe(number("Seconds until then: from found; clean from the notice; relapsed from clean.")),
        },
    ),
    "Figures": object_(
        "Figures of the fleet page.",
        {
            "days": number("Devices found within so many days count."),
            "cases": {**_COUNTS, "description": "State -> cases, all of them."},
            "stages": list_of("Stage"),
            "channels": {**_COUNTS, "description": "Channel -> devices whose home was notified by it."},
            "clean_days": number("So many days without a finding make a device clean."),
            "clean_without_notice": number("Clean devices whose home was not notified before."),
            "waiting": number("Notified too short a time ago to be known to be clean."),
            "false_alarms": number("In no other number."),
            "cut": {"type": "boolean", "description": "There were more devices than are counted."},
            "routers": number("Of the fleet."),
        },
    ),
    "Rollout": object_(
        "How far each signed document has come on routers: docs/provisioning.md defines each number.",
        {
            "computed_at": moment("The figures are from then."),
            "routers": number("Of the fleet: they reported within 30 days."),
            "silent": number("Of these, without a report for 2 days."),
            "halt_at": number("Percent of the routers that answered."),
            "published": {"type": "boolean", "description": "The index of what is published was read."},
            "problem": maybe(string("Why the index cannot be used.")),
            "documents": list_of("Document"),
            "without": {**_COUNTS, "description": "Type -> routers without a document of it."},
            "instructions": list_of("InstructionCount"),
        },
    ),
    "Document": object_(
        "One signed document. Counts are of routers.",
        {
            "type": string("policy, table or replies; empty where its signature was not good."),
            "doc": string("Its digest: 16 hex digits; empty for what routers could not read."),
            "number": number("Its sequence; 0 where it is not known."),
            "channel": maybe(string("As published; null if it was not published here.")),
            "state": maybe(one_of(DOCUMENT_STATES, "As published.")),
            "permille": maybe(number("Of its audience, as published.")),
            "for": maybe({"type": "array", "items": {"type": "string"}, "description": "Its audience, as published."}),
            "halts": maybe(number("The sequence that it took back, as published.")),
            "since": maybe(moment("It was published, or first reported.")),
            "verdict": maybe(one_of(VERDICTS, "Whether to halt it; null if another one has taken its place.")),
            "in_force": number("It is in force."),
            "silent": number("It is in force, and the router has not reported for 2 days."),
            "answered": number("Tried it, or refused it for a reason that counts."),
            "failed": number("Took it back, or refused it for a reason that counts."),
            "excused": number("Refused it for a reason that does not count."),
            "by_heartbeat": number("It is in force, and no event of the last 90 days says how."),
            "audience": maybe(number("It is for these; null for a region, or if it was not published here.")),
            "expected": maybe(number("Its permille of the audience.")),
            "not_heard": maybe(number("Should have it, and have not answered.")),
            "left": maybe(number("Still have what it halts.")),
            "reached_permille": maybe(number("In force, of 1000 of its audience.")),
            "applied": number("Applied it last."),
            "refused": number("Refused it."),
            "taken_back": number("Took it back."),
            "rolled_back": number("A person took it back."),
            "reasons": list_of("DocumentReason"),
            "models": list_of("DocumentModel"),
            "course": list_of("DocumentHour"),
        },
    ),
    "DocumentReason": object_(
        "Why it was refused or taken back; the most frequent.",
        {"result": one_of(RESULTS, "What became of it."), "why": string("A code."), "routers": number("So many.")},
    ),
    "DocumentModel": object_(
        "On which models it fails; the worst.",
        {"model": string("Empty if it is not known."), "failed": number("Of these."), "answered": number("So many.")},
    ),
    "DocumentHour": object_(
        "One hour since then, the first first.",
        {name: number("So many routers.") for name in ("applied", "taken_back", "refused")},
    ),
    "InstructionCount": object_(
        "Instructions of 90 days.",
        {"action": string("What to do."), "state": string("What became of it."), "number": number("So many.")},
    ),
    "DocumentRouters": object_("A part of the list.", {"routers": list_of("DocumentRouter"), "next": _MORE}),
    "DocumentRouter": object_(
        "What became of a document on one router.",
        {
            "router": string("Its id."),
            "model": maybe(string("As it reports it.")),
            "result": one_of(LISTS, "As asked for."),
            "why": maybe(string("A code; null where it was applied.")),
            "version": maybe(string("Of cpe-filter there.")),
            "number": maybe(number("The sequence, as the router read it.")),
            "at": moment("It happened, or has been in force since."),
            "heard_at": maybe(moment("The last report.")),
        },
    ),
    "ReasonOrder": object_("A reason.", {"text": _REMARK}),
    "ExemptOrder": object_(
        "For how long, and why.",
        {
            "days": {"type": "integer", "minimum": 1, "maximum": 365, "description": "The exemption ends then."},
            "text": _REMARK,
        },
    ),
    "AssignOrder": object_(
        "The user that it is assigned to.",
        {
            "assignee": {
                "type": ["string", "null"],
                "pattern": f"^{NAME.pattern}$",
                "description": "A user who may act; null for none. With a proxy or single sign-on any name.",
            },
            "text": _REASON,
        },
        optional=("text",),
    ),
    "NoteOrder": object_("A remark.", {"text": {**_REASON, "minLength": 1}}),
    "ActOrder": object_("A reason.", {"text": _REASON}, optional=("text",)),
    "CloseOrder": object_(
        "An outcome: confirmed cases and false alarms teach the detector.",
        {"outcome": one_of(OUTCOMES, "none: without a finding."), "text": _REASON},
        optional=("text",),
    ),
}
