"""The audit log on both engines: lines with their action or not at all, the chain, filters, retention."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from cpe_filter.collect.cases.history import BOUNCED, QUIET, RELAPSED, ActionKind
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store, UnstorableError
from cpe_filter.collect.store.sqlite import SQLite
from tests.collect.conftest import Opener
from tests.collect.reports import NOW
from tests.collect.running import toml
from tests.lab.net import DEADLINE_S, PROJECT

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]
ANNA = audit.By("anna", audit.PAGE, "192.0.2.9")
MARK = "INSERT INTO desk_mark (name, value, holder) VALUES (:name, 1, '')"


def test_lines_are_numbered_and_found_again(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await audit.record(store, ANNA, "login", now=NOW)
        await audit.record(store, ANNA, "closed", "case-1", "two\nlines\0", NOW + 5)
        await audit.record(store, audit.By("crm", audit.API), "note", "case-2", now=NOW + 9)
        rows, total = await audit.listed(store, audit.Filter())
        assert [row["n"] for row in rows] == [3, 2, 1]
        assert total == 3
        assert rows[1]["reason"] == "two lines?"
        for want, expected in (
            (audit.Filter(who="anna"), [2, 1]),
            (audit.Filter(case="case-2"), [3]),
            (audit.Filter(what="login"), [1]),
            (audit.Filter(via="api"), [3]),
            (audit.Filter(since=NOW + 5), [3, 2]),
            (audit.Filter(until=NOW + 5), [1]),
            (audit.Filter(who="anna", since=NOW + 5, until=NOW + 9), [2]),
            (audit.Filter(who="anna' OR 1=1 --"), []),
        ):
            assert [row["n"] for row in (await audit.listed(store, want))[0]] == expected, want
        assert [row["n"] for row in (await audit.listed(store, audit.Filter(), 1, 1))[0]] == [2]
        assert await audit.people(store) == ["anna", "crm"]

    with_store(work)


def test_an_action_and_its_line_are_committed_together(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        assert await audit.record(store, ANNA, "closed", also=[(MARK, {"name": "one"})]) == [1]
        with pytest.raises(UnstorableError):
            await audit.record(store, ANNA, "closed", also=[(MARK, {"name": "two"}), (MARK, {"name": "one"})])
        assert (await store.read("SELECT name FROM desk_mark")) == [{"name": "one"}]
        assert (await audit.head(store))[0] == 1

    with_store(work)


def test_writers_at_the_same_time_make_one_chain(opener: Opener) -> None:
    """Two processes: each has its own store."""

    async def work() -> None:
        stores = [opener(), opener()]
        for store in stores:
            await store.open()
        try:
            await asyncio.gather(
                *(audit.record(stores[n % 2], ANNA, "note", f"case-{n}", now=NOW + n) for n in range(30))
            )
            assert await audit.verify(stores[0]) == 30
        finally:
            for store in stores:
                await store.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("UPDATE desk_audit SET reason = 'another' WHERE n = 3", 3),
        ("UPDATE desk_audit SET at = at + 1 WHERE n = 1", 1),
        ("DELETE FROM desk_audit WHERE n = 3", 4),
        ("DELETE FROM desk_audit WHERE n = 1", 2),
        ("UPDATE desk_audit SET n = 9 WHERE n = 5", 9),
    ],
)
def test_a_line_that_was_changed_is_found(with_store: WithStore, change: str, where: int) -> None:
    async def work(store: Store) -> None:
        for number in range(5):
            await audit.record(store, ANNA, "note", f"case-{number}", now=NOW + number)
        assert await audit.verify(store) == 5
        await store.write([(change, {})])
        assert await audit.verify(store) == audit.Broken(where)

    with_store(work)


def test_retention_deletes_the_oldest_and_the_chain_goes_on(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        assert await audit.prune(store, NOW) == 0
        for number in range(6):
            await audit.record(store, ANNA, "note", f"case-{number}", now=NOW + number)
        assert await audit.prune(store, NOW + 4, most=3) == 4
        assert await audit.verify(store) == 2
        assert [row["n"] for row in (await audit.listed(store, audit.Filter()))[0]] == [6, 5]
        assert await audit.prune(store, NOW + 99) == 2
        assert await audit.verify(store) == 0
        assert (await audit.head(store))[0] == 6
        await audit.record(store, ANNA, "note", now=NOW + 100)
        assert await audit.verify(store) == 1
        assert (await audit.head(store))[0] == 7
        assert await audit.prune(store, NOW) == 0

    with_store(work)


def test_words_are_the_ones_of_actions() -> None:
    assert set(get_args(ActionKind)) - {BOUNCED, QUIET, RELAPSED} <= set(audit.KINDS)


def test_the_command_prints_it_and_finds_a_change(tmp_path: Path) -> None:
    listen = {"certificate": "/c", "key": "/k", "client_ca": "/a"}
    path, database = tmp_path / "collector.toml", tmp_path / "collector.db"
    path.write_text(toml({"listen": listen, "store": {"path": str(database)}}))

    async def fill(*changes: str) -> None:
        store = SQLite(str(database))
        await store.open()
        if changes:
            await store.write([(change, {}) for change in changes])
        else:
            await audit.record(store, ANNA, "note", "case-1", "called", NOW)
            await audit.record(store, audit.By("crm", audit.API), "closed", "case-1", now=NOW + 86_400)
        await store.close()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cpe_filter", "collector", "--config", str(path), "audit", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=DEADLINE_S)

    asyncio.run(fill())
    done = run()
    assert done.returncode == 0, done.stderr
    assert "2 lines; each follows the one before." in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["n"], line["who"], line["via"], line["what"]) for line in lines] == [
        (1, "anna", "page", "note"),
        (2, "crm", "api", "closed"),
    ]
    assert lines[0]["at"].endswith("Z")
    assert len(run("--since", lines[1]["at"]).stdout.splitlines()) == 1
    asyncio.run(fill("UPDATE desk_audit SET who = 'berta' WHERE n = 1"))
    done = run()
    assert done.returncode == 2
    assert "line 1 does not follow the line before it" in done.stderr
    assert "Traceback" not in done.stderr
