"""A store of each earlier version, with rows in all its tables, is brought to this one, and loses nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cpe_filter.collect.store import schema
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.store.sqlite import SQLite
from tests.collect.conftest import Opener
from tests.collect.reports import heartbeat, incident, report

EARLIER = [one.version for one in schema.migrations()][:-1]


async def columns(store: Store) -> dict[str, dict[str, str]]:
    """Each table's columns, and the type of each."""
    if isinstance(store, SQLite):
        tables = await store.read("SELECT name FROM sqlite_master WHERE type = 'table'")
        found = {}
        for table in (str(row["name"]) for row in tables):
            rows = await store.read(f"SELECT name, type FROM pragma_table_info('{table}')")  # noqa: S608 - of the schema
            found[table] = {str(row["name"]): str(row["type"]) for row in rows}
    else:
        found = {}
        for row in await store.read(
            "SELECT table_name AS t, column_name AS c, data_type AS d FROM information_schema.columns"
            " WHERE table_schema = 'public'"
        ):
            found.setdefault(str(row["t"]), {})[str(row["c"])] = str(row["d"])
    found.pop("schema_version")
    return {table: of for table, of in found.items() if not table.startswith("sqlite_")}


def rows_for(table: str, of: dict[str, str]) -> list[dict[str, Any]]:
    """Three rows, different in every column."""

    def value(column: str, kind: str, n: int) -> Any:
        if kind.upper() in ("TEXT", "CHARACTER VARYING"):
            return f"{table}-{column}-{n}"
        return 1_700_000_000 + n if kind.upper() in ("BIGINT", "INTEGER") else float(n)

    return [{column: value(column, kind, n) for column, kind in of.items()} for n in (1, 2, 3)]


def insert(table: str, row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    names = ", ".join(row)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join(':' + name for name in row)})", row  # noqa: S608 - of the schema


@pytest.mark.parametrize("version", EARLIER)
def test_no_row_is_lost(version: int, opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = schema.migrations()

    async def work() -> None:
        monkeypatch.setattr(schema, "migrations", lambda: everything[:version])
        store = opener()
        await store.open()
        before = await columns(store)
        rows = {table: rows_for(table, of) for table, of in before.items()}
        await store.write([insert(table, row) for table, many in rows.items() for row in many])
        await store.close()

        monkeypatch.setattr(schema, "migrations", lambda: everything)
        store = opener()
        await store.open()
        after = await columns(store)
        for table, of in before.items():
            names = ", ".join(of)
            kept = await store.read(f"SELECT {names} FROM {table}")  # noqa: S608 - of the schema
            assert sorted(map(repr, kept)) == sorted(map(repr, rows[table])), table
            assert of.items() <= after[table].items()
        assert await store.add([report(incident(1), heartbeat(2))]) == 2
        await store.close()

    asyncio.run(work())


@pytest.mark.parametrize("version", [6, 7])
def test_what_the_funnel_needs_is_computed(version: int, opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the migration that adds its columns, from notices as versions 6 and 7 kept them."""
    everything = schema.migrations()

    async def work() -> None:
        monkeypatch.setattr(schema, "migrations", lambda: everything[:version])
        store = opener()
        await store.open()
        row = rows_for("incident", (await columns(store))["incident"])[0]
        row["notice"] = '{"answer":"server","shown":2}'
        other = {**row, "id": "b", "notice": '{"shown":0}'}
        await store.write([insert("incident", row), insert("incident", other)])
        await store.close()
        monkeypatch.setattr(schema, "migrations", lambda: everything)
        store = opener()
        await store.open()
        found = await store.read("SELECT id, seen_at, answer, objected_at FROM incident ORDER BY id")
        times = {str(one["id"]): tuple(one.values())[1:] for one in found}
        at = row["updated_at"]
        assert times == {"b": (None, None, None), row["id"]: (at, "server", at)}
        await store.close()

    asyncio.run(work())
