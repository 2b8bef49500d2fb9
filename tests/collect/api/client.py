"""A client of the API without sockets. Every answer is held against the OpenAPI document on the way."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs

from cpe_filter.collect.api import openapi, tokens
from cpe_filter.collect.api.app import Limits, application
from cpe_filter.collect.api.operations import PREFIX
from cpe_filter.collect.api.reads import Instructions, Setup
from cpe_filter.collect.cases import notice
from cpe_filter.collect.cases.update import CaseUpdater
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.rollout import spread
from cpe_filter.collect.rollout.figures import Rollouts
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.store.sqlite import SQLite
from cpe_filter.collect.web.listener import figures
from tests.collect.desks import Map, event, line
from tests.collect.reports import NOW

Ids = list[str]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def problem(self) -> str:
        """The kind of problem."""
        return str(self.body["type"]).rpartition(":")[2]


class Client:
    """On a store, with a token of each role: `read`, `desk`, `admin`."""

    def __init__(
        self,
        store: Store,
        mail: Desk | None = None,
        limits: Limits | None = None,
        instructions: Instructions | None = None,
        people: tuple[str, ...] = (),
        published: str = "",
    ) -> None:
        self.store = store
        self.metrics = Metrics()
        self._ticks = itertools.count(NOW + 1000)
        rollouts = Rollouts(store, spread.Terms(published))
        setup = Setup(store, notice.Terms(), mail, figures(store), instructions, rollouts, people=people)
        self.app = application(setup, limits or Limits(), self.metrics, lambda: next(self._ticks))
        self.tokens: dict[str, str] = {}

    async def with_tokens(self) -> Client:
        for role in tokens.ROLES:
            self.tokens[role] = await tokens.create(self.store, role, role, 30, NOW, audit.By("root", audit.COMMAND))
        return self

    async def ask(
        self,
        path: str,
        method: str = "GET",
        role: str = "read",
        body: bytes | None = None,
        headers: list[tuple[str, str]] | None = None,
        peer: str | None = "192.0.2.9",
        raw_query: bytes | None = None,
    ) -> Answer:
        """One request. role: "" for no token."""
        plain, _, query = path.partition("?")
        named = [("host", "api.example"), *(headers or [])]
        if role and not any(name == "authorization" for name, _ in named):
            named.append(("authorization", f"Bearer {self.tokens[role]}"))
        if body is not None and not any(name == "content-type" for name, _ in named):
            named.append(("content-type", "application/json"))
        scope = {
            "type": "http", "http_version": "1.1", "asgi": {"version": "3.0"}, "method": method, "path": plain,
            "raw_path": plain.encode(), "query_string": query.encode() if raw_query is None else raw_query,
            "root_path": "", "scheme": "https", "headers": [(n.encode(), v.encode("latin-1")) for n, v in named],
            "client": (peer, 1) if peer else None, "server": ("api.example", 443),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body or b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        data = b"".join(message.get("body", b"") for message in sent[1:])
        answer = Answer(sent[0]["status"], found, json.loads(data) if data else None)
        sound(method, plain, answer)
        return answer

    async def get(self, path: str, role: str = "read") -> Answer:
        return await self.ask(PREFIX + path, role=role)

    async def post(
        self, path: str, value: Any = None, match: str | None = None, key: str | None = None, role: str = "desk"
    ) -> Answer:
        headers = [("if-match", match)] if match is not None else []
        headers += [("idempotency-key", key)] if key is not None else []
        return await self.ask(PREFIX + path, "POST", role, json.dumps(value or {}).encode(), headers)

    async def etag(self, case: str) -> str:
        return (await self.get(f"/cases/{case}")).headers["etag"]


@cache
def _validator(schema: str) -> Any:
    parts = openapi.document()["components"]
    wanted = {"$ref": f"#/components/schemas/{schema}", "components": parts}
    return jsonschema_rs.Draft202012Validator(wanted, validate_formats=True)


def sound(method: str, path: str, answer: Answer) -> None:
    """What holds for every answer."""
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers
    assert not any(name.startswith("access-control") for name in answer.headers)
    kind = answer.headers.get("content-type", "")
    if answer.status >= 400:
        assert kind == "application/problem+json"
        assert answer.body["status"] == answer.status
        _validator("Problem").validate(answer.body)
    else:
        assert kind == "application/json"
    found = _operation(method, path)
    if found is None:
        assert answer.status in (404, 405), answer
        return
    assert str(answer.status) in found["responses"], (method, path, answer)
    schema = found["responses"][str(answer.status)]["content"][kind]["schema"]
    if "$ref" in schema:
        _validator(schema["$ref"].rpartition("/")[2]).validate(answer.body)


def _operation(method: str, path: str) -> Any:
    for template, by_method in openapi.document()["paths"].items():
        parts, wanted = path.split("/"), template.split("/")
        if len(parts) == len(wanted) and all(
            a == b or b.startswith("{") for a, b in zip(parts, wanted, strict=True)
        ):  # fmt: skip
            return by_method.get(method.lower())
    return None


Work = Callable[[Client, Ids], Awaitable[Any]]


async def filled(store: Store, count: int = 3) -> Ids:
    """`count` open cases of subscribers S0, S1, ...; r0's the latest: their ids."""
    people = Map(*(line(f"r{at}", f"S{at}", region=f"Region {at % 2}") for at in range(count)))
    for at in range(count):
        await store.add([event("raised", -at * 60, number=at + 1, router=f"r{at}", dev=f"{at:016x}", name=f"tv-{at}")])
    await CaseUpdater(store, people).catch_up(NOW, full=True)
    rows = await store.read("SELECT id FROM desk_case ORDER BY last_at DESC, id")
    return [row["id"] for row in rows]


def run(tmp_path: Path, work: Work, count: int = 3, **limits: int) -> None:
    """On SQLite."""

    async def inside() -> None:
        store = SQLite(str(tmp_path / "api.db"))
        await store.open()
        try:
            await on(store, work, count, (), **limits)
        finally:
            await store.close()

    asyncio.run(inside())


async def on(store: Store, work: Work, count: int = 3, people: tuple[str, ...] = (), **limits: int) -> None:
    ids = await filled(store, count)
    await work(await Client(store, limits=Limits(**limits), people=people).with_tokens(), ids)
