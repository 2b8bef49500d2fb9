"""The OpenAPI document: it is valid and the API's, and docs/api.md is made from it. Hypothesis tries what it allows."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from cpe_filter.collect.api import openapi
from cpe_filter.collect.api.acts import ACTS
from cpe_filter.collect.api.app import Limits
from cpe_filter.collect.api.operations import OPERATIONS, PARAMETERS, PREFIX, Operation
from cpe_filter.collect.api.problem import PROBLEMS
from cpe_filter.collect.api.reads import READS
from cpe_filter.collect.api.schemas import SCHEMAS
from cpe_filter.collect.store.sqlite import SQLite
from tests.collect.api.client import Client, Ids, filled, run


def test_it_is_a_document_of_openapi_3_1() -> None:
    assert list(OpenAPIV31SpecValidator(openapi.document()).iter_errors()) == []


def test_it_is_served(tmp_path: Path) -> None:
    async def work(client: Client, _ids: Ids) -> None:
        answer = await client.ask(f"{PREFIX}/openapi.json", role="")
        assert answer.body == json.loads(json.dumps(openapi.document()))

    run(tmp_path, work, 1)


def test_each_operation_is_done_by_one_function() -> None:
    assert set(READS) == {one.name for one in OPERATIONS if one.method == "GET"}
    assert set(ACTS) == {one.name for one in OPERATIONS if one.method == "POST"}
    assert {name for one in OPERATIONS for name in one.parameters} == set(PARAMETERS)
    used = {one.answer for one in OPERATIONS} | {one.body for one in OPERATIONS}
    used |= set(re.findall(r"#/components/schemas/(\w+)", json.dumps(SCHEMAS)))
    assert set(SCHEMAS) - used == {"Problem"}
    named = {code for one in OPERATIONS for code in openapi.problems_of(one)}
    assert set(PROBLEMS) - named == {"method-not-allowed"}


#: Text as people and attackers send it.
_WILD = st.one_of(
    st.text(max_size=80),
    st.sampled_from(["\0", "'", '"', "%", "_", "!", "\r\nSet-Cookie: a=b", "../..", "\u202e", "\ud7ff", "A" * 300, "-1",
                     "99999999999999999999", "1e9", "NaN", "null", "true", "[]", "{}"]),
)  # fmt: skip


def _value(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    """A value that the schema allows, often; any text, else."""
    if schema["type"] == "array":
        words = st.lists(st.sampled_from(schema["items"]["enum"]), min_size=1, max_size=4).map(",".join)
    elif "enum" in schema:
        words = st.sampled_from(schema["enum"])
    elif schema["type"] == "integer":
        words = st.integers(schema["minimum"] - 1, schema["maximum"] + 1).map(str)
    elif schema.get("format") == "date-time":
        words = st.datetimes().map(lambda at: at.isoformat() + "Z")
    else:
        words = st.text(min_size=1, max_size=20)
    return st.one_of(words, words, _WILD)


def _json(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    texts = {name: st.one_of(_WILD, st.sampled_from(part.get("enum", ["x"]))) for name, part in
             schema["properties"].items()}  # fmt: skip
    wild = st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), _WILD),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_WILD, inner, max_size=3)),
        max_leaves=5,
    )
    return st.one_of(st.fixed_dictionaries({}, optional=texts), wild)


@st.composite
def _requests(draw: st.DrawFn, one: Operation, case: str) -> tuple[str, bytes | None, list[tuple[str, str]]]:
    path = PREFIX + one.path.replace("{id}", draw(st.sampled_from([case, "0", "a-b", "x" * 64])))
    path = path.replace("{name}", draw(st.sampled_from(["nobody", "a" * 40, "a.b"])))
    chosen = draw(st.lists(st.sampled_from([*one.parameters, "unknown"]), max_size=4, unique=True))
    query = "&".join(
        f"{name}={quote(draw(_value(PARAMETERS[name].schema) if name in PARAMETERS else _WILD), errors='replace')}"
        for name in chosen
    )
    body = None
    headers = []
    if one.method == "POST":
        value = draw(_json(SCHEMAS[one.body])) if one.body else {}
        body = json.dumps(value).encode()
        latin = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=20)
        headers = draw(st.lists(st.tuples(st.sampled_from(["if-match", "idempotency-key"]), st.one_of(
            st.sampled_from(["*", '"a"', "key-1"]), latin)), max_size=2))  # fmt: skip
    return path + (f"?{query}" if query else ""), body, headers


def test_whatever_is_sent_the_answer_is_as_documented(tmp_path: Path) -> None:
    """No request ends in 500, and each answer fits the document (`client.sound`)."""
    loop = asyncio.new_event_loop()
    store = SQLite(str(tmp_path / "api.db"))
    loop.run_until_complete(store.open())
    ids = loop.run_until_complete(filled(store, 2))
    client = loop.run_until_complete(
        Client(store, limits=Limits(requests_burst=100_000, acts_burst=100_000)).with_tokens()
    )  # fmt: skip

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(OPERATIONS))
        path, body, headers = data.draw(_requests(one, ids[0]))
        answer = loop.run_until_complete(client.ask(path, one.method, "admin", body, headers))
        assert answer.status not in (500, 503), answer

    try:
        check()
    finally:
        loop.run_until_complete(store.close())
        loop.close()
