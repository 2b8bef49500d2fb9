"""The API as an OpenAPI 3.1 document, and as docs/api.md: made from `operations`, `schemas` and `problem`.

Must not know how an operation is done.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from cpe_filter import __version__
from cpe_filter.collect.api.operations import OPERATIONS, PARAMETERS, PATH_RULES, PREFIX, Operation
from cpe_filter.collect.api.problem import MEDIA_TYPE, PROBLEMS
from cpe_filter.collect.api.schemas import SCHEMAS, Schema, ref
from cpe_filter.detect.evidence import INDICATORS

Json = dict[str, Any]

_PATH = re.compile(r"\{(\w+)\}")
_MATCH = r'^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*"){0,7})$'
_ALWAYS = ("bad-request", "too-long", "too-many-requests", "internal", "unavailable")
_TOKEN = ("unauthorized", "forbidden")
_BODY = ("timeout", "too-large", "media-type", "in-progress", "key-reused")
_VERSION = ("stale-version", "version-required")
_ABOUT = """\
Cases of the abuse desk for other systems: read them, and act on them.

Every request needs a token, `Authorization: Bearer cpe_...`; cookies are not read. Times are RFC 3339 in UTC. Lists
come in parts: go on with `cursor=NEXT` until `next` is null. Unknown parameters and properties are errors.

A POST that is sent again with the same `Idempotency-Key` is done once: within a day the first answer is sent again.
Acts that change the state of a case need `If-Match` with the ETag of the case as it was read: if it has changed
meanwhile, nothing is done (412). The ETag changes with what was decided and sent, not with counts."""


def problems_of(one: Operation) -> list[str]:
    """The kinds of problem that an operation may answer with."""
    codes = [*_ALWAYS, *(_TOKEN if one.role else ()), *one.problems]
    if one.method == "POST":
        codes += [*_BODY, *(_VERSION if one.versioned else ())]
    return [code for code in PROBLEMS if code in codes]


@cache
def document() -> Json:
    """The document. Do not change it: it is made once."""
    paths: dict[str, Json] = {}
    for one in OPERATIONS:
        paths.setdefault(PREFIX + one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cpe-filter collector",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "cpe_ID_SECRET",
                    "description": "Made by `cpe-filter collector token create`. Roles: read; desk, which also acts on "
                    "cases; admin, which also lists and revokes tokens.",
                }
            },
        },
    }


def _operation(one: Operation) -> Json:
    out: Json = {
        "operationId": one.name,
        "summary": one.summary,
        "description": " ".join(filter(None, [one.about, f"Role {one.role}." if one.role else "Needs no token."])),
        "security": [{"token": []}] if one.role else [],
        "parameters": [*_in_path(one), *_in_query(one), *_in_headers(one)],
        "responses": {**_done(one), **_problems(one)},
    }
    if one.body:
        out["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref(one.body)}}}
    return out


def _in_path(one: Operation) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{PATH_RULES[name]}$"}}
        for name in _PATH.findall(one.path)
    ]


def _in_query(one: Operation) -> list[Json]:
    out = []
    for parameter in (PARAMETERS[name] for name in one.parameters):
        schema: Schema = {key: value for key, value in parameter.schema.items() if key != "description"}
        if schema["type"] == "string" and "enum" not in schema:
            schema |= {"minLength": 1, **({} if "format" in schema else {"pattern": r"^[^\u0000]*$"})}
        listed = {"style": "form", "explode": False} if schema["type"] == "array" else {}
        if listed:
            schema["minItems"] = 1
        out.append({"name": parameter.name, "in": "query", "description": parameter.about, "schema": schema, **listed})
    return out


def _in_headers(one: Operation) -> list[Json]:
    if one.method != "POST":
        return []
    key: Json = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "1 to 64 letters, digits and - _ . that belong to this request, such as a UUID.",
        "schema": {"type": "string", "pattern": "^[0-9A-Za-z._-]{1,64}$"},
    }
    if not one.versioned:
        return [key]
    match: Json = {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "description": "The ETag of the case as it was read; `*` for any version.",
        "schema": {"type": "string", "maxLength": 200, "pattern": _MATCH},
    }
    return [key, match]


def _done(one: Operation) -> Json:
    schema: Schema = ref(one.answer) if one.answer else {"type": "object"}
    answer: Json = {"description": one.summary, "content": {"application/json": {"schema": schema}}}
    if one.versioned or one.answer == "Case":
        answer["headers"] = {
            "ETag": {"description": "The version of the case, or of the figures.", "schema": {"type": "string"}}
        }
    return {str(one.status): answer}


def _problems(one: Operation) -> Json:
    by_status: dict[int, list[str]] = {}
    for code in problems_of(one):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {
        str(status): {
            "description": "; or: ".join(f"`{code}`: {PROBLEMS[code].title}" for code in codes),
            "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
        }
        for status, codes in sorted(by_status.items())
    }


# ── docs/api.md ─────────────────────────────────────────────────────────────────────────────────

OPERATION_HEADER = "| operation | role | does | parameters, body | answers |\n|---|---|---|---|---|\n"
PARAMETER_HEADER = "| parameter | value | selects |\n|---|---|---|\n"
PROPERTY_HEADER = "| object | property | type | meaning |\n|---|---|---|---|\n"
PROBLEM_HEADER = "| status | `type`, after `urn:problem-type:cpe-filter:` | what to do |\n|---|---|---|\n"


def operation_rows() -> str:
    rows = []
    for one in OPERATIONS:
        given = [f"`{name}`" for name in one.parameters]
        given += [f"body {one.body}"] if one.body else []
        given += ["`If-Match`"] if one.versioned and one.method == "POST" else []
        about = f" {one.about}" if one.about else ""
        answer = one.answer or "OpenAPI 3.1"
        rows.append(
            f"| `{one.method} {PREFIX}{one.path}` | {one.role or 'none'} | {one.summary}.{about} | {', '.join(given)} |"
            f" {one.status} {answer} |"
        )
    return "\n".join(rows)


def parameter_rows() -> str:
    return "\n".join(f"| `{one.name}` | {_type(one.schema)} | {one.about} |" for one in PARAMETERS.values())


def property_rows() -> str:
    return "\n".join(
        f"| {name} | `{key}`{'' if key in schema['required'] else ' (optional)'} | {_type(value)} |"
        f" {value.get('description', '')} |"
        for name, schema in SCHEMAS.items()
        for key, value in schema["properties"].items()
    )


def problem_rows() -> str:
    return "\n".join(f"| {kind.status} | `{code}` | {kind.meaning} |" for code, kind in PROBLEMS.items())


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    null = " or null" if "null" in kinds else ""
    if schema.get("enum"):
        words = [word for word in schema["enum"] if word]
        if len(words) >= 12:
            return f"{'a code of docs/detect.md' if words[0] in INDICATORS else 'a word of openapi.json'}{null}"
        return f"{', '.join(words)}{null}"
    if kinds[0] == "array":
        return f"list of {_type(schema['items'])}{null}"
    if schema.get("format") == "date-time":
        return f"time{null}"
    bounds = f", {schema['minimum']} to {schema['maximum']}" if "minimum" in schema else ""
    most = f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    return f"{kinds[0]}{bounds}{most}{null}"
