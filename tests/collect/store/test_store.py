"""Both engines keep the same promise."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.store import schema
from cpe_filter.collect.store.base import SchemaError, Store, StoreUnavailableError, UnstorableError
from cpe_filter.collect.store.sqlite import SQLite
from tests.collect.cluster import Cluster
from tests.collect.conftest import Opener
from tests.collect.reports import BOOT, BOOT2, NOW, heartbeat, incident, report

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]

#: Everything of the store that does not say when it was written.
STATE = "SELECT * FROM incident ORDER BY router, id"


def test_an_event_is_kept_once(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        assert await store.add([report(incident(1), heartbeat(2))]) == 2
        assert await store.add([report(incident(1), heartbeat(2), incident(3))]) == 1
        assert await store.add([report(incident(1), router="r2")]) == 1
        assert await store.add([report(incident(1), boot=BOOT2)]) == 1
        twice = report(incident(9))
        assert await store.add([twice, twice]) == 1
        rows = await store.read("SELECT router, boot, seq, kind, incident FROM report ORDER BY router, boot, seq")
        assert [(row["router"], row["boot"], row["seq"]) for row in rows] == [
            ("r1", BOOT, 1), ("r1", BOOT, 2), ("r1", BOOT, 3), ("r1", BOOT, 9), ("r1", BOOT2, 1), ("r2", BOOT, 1),
        ]  # fmt: skip
        assert [row["kind"] for row in rows][:2] == ["updated", "heartbeat"]

    with_store(work)


def test_event_is_kept_as_it_came_with_this_servers_time(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        event = incident(1, up=400)
        await store.add([report(event, up=1000)])
        row = (await store.read("SELECT * FROM report"))[0]
        assert (row["received"], row["at"], row["address"]) == (NOW, NOW - 600, "192.0.2.7")
        assert json.loads(row["body"]) == event

    with_store(work)


STORY = [
    report(incident(1, up=100, kind="opened"), up=110, received=NOW - 890),
    report(incident(2, up=200, kind="raised", name="tv"), up=210, received=NOW - 790),
    report(incident(3, up=300, kind="updated", conns=50), up=310, received=NOW - 690),
    report(incident(4, up=400, kind="closed"), up=410, received=NOW - 590),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_state_does_not_depend_on_the_order(with_store: WithStore, order: tuple[int, ...]) -> None:
    async def work(store: Store) -> None:
        for place in order:
            await store.add([STORY[place]])
            await store.add([STORY[place]])
        await store.add(STORY)
        row = (await store.read(STATE))[0]
        del row["changed_at"]
        assert row == {
            "router": "r1", "id": f"{1:016x}", "dev": f"{1:016x}", "oui": "b827eb", "name": "tv", "kind": "closed",
            "standing": "clear", "why": "cleared", "act": "explain", "first_at": NOW - 660, "last_at": NOW - 600,
            "conns": 8, "nets": 4, "msgs": 1, "rcpts": 3, "refused": 4,
            "ind": '{"helo-dynamic":4,"new-destination":4}',
            "sp": json.dumps([{"at": NOW - 605, "family": 4, "port": 40000}], separators=(",", ":")),
            "address": "192.0.2.7", "boot": BOOT, "seq": 4, "opened_at": NOW - 900, "raised_at": NOW - 800,
            "updated_at": NOW - 600, "closed_at": NOW - 600, "sub": None, "serves": None, "class": None, "notice": None,
            "answer": None, "seen_at": None, "seen_home_at": None, "answered_at": None, "objected_at": None,
        }  # fmt: skip

    with_store(work)


def test_after_a_reboot_time_decides(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        later = report(incident(1, up=50, kind="updated", conns=9), up=60, boot=BOOT2, received=NOW + 100)
        earlier = report(incident(700, up=900, kind="raised", conns=3), up=1000, received=NOW)
        for reports in ([later, earlier], [earlier, later]):
            for one in reports:
                await store.add([one])
            row = (await store.read(STATE))[0]
            assert (row["boot"], row["conns"], row["raised_at"]) == (BOOT2, 9, NOW - 100)

    with_store(work)


def test_a_repetition_does_not_look_like_a_change(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([report(incident(1), received=NOW)])
        await store.add([report(incident(1), up=1500, received=NOW + 500)])
        assert (await store.read("SELECT changed_at FROM incident"))[0]["changed_at"] == NOW
        await store.add([report(incident(2), up=1600, received=NOW + 600)])
        assert (await store.read("SELECT changed_at FROM incident"))[0]["changed_at"] == NOW + 600

    with_store(work)


def test_incidents_of_one_name_are_the_routers_own(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([report(incident(1, kind="raised"), router="r1")])
        await store.add([report(incident(9, kind="closed"), router="r2")])
        rows = await store.read(STATE)
        assert [(row["router"], row["kind"]) for row in rows] == [("r1", "raised"), ("r2", "closed")]

    with_store(work)


def test_state_of_a_router(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        async def row() -> dict[str, Any]:
            return (await store.read("SELECT * FROM router_state"))[0]

        await store.add([report(up=1000, dropped=5, t=NOW + 7)])
        assert (await row())["heartbeat_at"] is None
        assert (await row())["clock_off"] == 7
        await store.add([report(heartbeat(1, up=1990, devices=4), up=2000, received=NOW + 1000, dropped=8, ver="2")])
        await store.add([report(up=1500, received=NOW + 1001, dropped=6, ver="1")])  # late
        now = await row()
        assert (now["ver"], now["dropped"], now["drops"], now["devices"]) == ("2", 8, 8, 4)
        assert now["heartbeat_at"] == NOW + 990
        await store.add([report(up=10, boot=BOOT2, received=NOW + 5000, dropped=2, synced=False, model="other")])
        now = await row()
        assert (now["boot"], now["dropped"], now["drops"], now["clock_off"]) == (BOOT2, 2, 10, None)
        assert (now["heard_first"], now["heard_at"], now["devices"], now["model"]) == (NOW, NOW + 5000, 4, "other")
        without = report(up=20, boot=BOOT2, received=NOW + 5010)
        await store.add([type(without)(**{**{f: getattr(without, f) for f in without.__slots__}, "model": None})])
        assert (await row())["model"] == "other"

    with_store(work)


NASTY = ["'; DROP TABLE report; --", "<script>alert(1)</script>", '" OR ""="', "%s %(router)s :router ?", "a\\", "$1"]


def test_text_is_only_text(with_store: WithStore) -> None:
    """The wire's patterns let little through; the store must not need them."""

    async def work(store: Store) -> None:
        for number, text in enumerate(NASTY):
            event = {**incident(number, number=number), "name": text, "why": text, "act": text, "ind": {text: 1}}
            one = report(router="r", up=1000)
            values = {name: getattr(one, name) for name in one.__slots__}
            values.update(events=(event,), pol=text, ver=text, model=text, router=text, address=text)
            assert await store.add([type(one)(**values)]) == 1
        rows = await store.read("SELECT router, name, act, ind FROM incident ORDER BY id")
        assert [row["router"] for row in rows] == NASTY
        assert [row["name"] for row in rows] == NASTY
        assert [json.loads(row["ind"]) for row in rows] == [{text: 1} for text in NASTY]
        assert sorted(row["model"] for row in await store.read("SELECT model FROM router_state")) == sorted(NASTY)
        found = await store.read("SELECT id FROM incident WHERE name = :name", name=NASTY[0])
        assert len(found) == 1

    with_store(work)


def test_all_or_nothing(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        one = report(incident(2))
        values = {name: getattr(one, name) for name in one.__slots__}
        bad = type(one)(**{**values, "events": ({**incident(3), "conns": 10**30},)})
        with pytest.raises(UnstorableError):
            await store.add([report(incident(1)), bad])
        assert await store.read("SELECT * FROM report") == []
        assert await store.add([report(incident(1))]) == 1  # and it goes on
        with pytest.raises(UnstorableError):
            await store.write(
                [("DELETE FROM report", {}), ("INSERT INTO schema_version VALUES (1, :name, 1)", {"name": "again"})]
            )
        assert len(await store.read("SELECT * FROM report")) == 1

    with_store(work)


def test_read_and_write(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([report(incident(n, number=n)) for n in range(1, 6)])
        counts = await store.write(
            [
                ("UPDATE incident SET name = :name WHERE seq > :least", {"name": "x", "least": 3}),
                ("DELETE FROM incident WHERE seq = :seq", {"seq": 1}),
            ]
        )
        assert counts == [2, 1]
        rows = await store.read("SELECT seq, name FROM incident WHERE seq >= :least ORDER BY seq", least=3)
        assert rows == [{"seq": 3, "name": None}, {"seq": 4, "name": "x"}, {"seq": 5, "name": "x"}]
        for wrong in ("SELEKT 1", "SELECT nothing FROM incident", "SELECT * FROM nowhere"):
            with pytest.raises(UnstorableError):
                await store.read(wrong)

    with_store(work)


def test_reads_and_writes_at_once(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        async def add(number: int) -> int:
            return await store.add([report(incident(n), router=f"r{number % 3}") for n in range(number, number + 5)])

        async def read() -> int:
            return len(await store.read("SELECT * FROM report"))

        done = await asyncio.gather(*(add(n) for n in range(20)), *(read() for _ in range(20)))
        assert sum(done[:20]) == len(await store.read("SELECT * FROM report"))

    with_store(work)


# ── migrations ──────────────────────────────────────────────────────────────────────────────────


def test_opening_twice_changes_nothing(opener: Opener) -> None:
    async def work() -> None:
        for new in (1, 0):
            store = opener()
            await store.open()
            assert await store.add([report(incident(1))]) == new
            rows = await store.read("SELECT version FROM schema_version ORDER BY version")
            assert [row["version"] for row in rows] == [one.version for one in schema.migrations()]
            await store.close()

    asyncio.run(work())


def test_several_open_an_empty_place_at_once(opener: Opener) -> None:
    async def work() -> None:
        stores = [opener() for _ in range(3)]
        await asyncio.gather(*(store.open() for store in stores))
        assert sum([await store.add([report(incident(1))]) for store in stores]) == 1
        await asyncio.gather(*(store.close() for store in stores))

    asyncio.run(work())


def test_newer_schema_is_refused(opener: Opener) -> None:
    async def work() -> None:
        store = opener()
        await store.open()
        newer = len(schema.migrations()) + 1
        await store.write([("INSERT INTO schema_version VALUES (:n, 'future', 0)", {"n": newer})])
        await store.close()
        store = opener()
        with pytest.raises(SchemaError, match=f"version {newer}, newer than this program"):
            await store.open()
        await store.close()

    asyncio.run(work())


def test_failed_migration_leaves_nothing(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    good = schema.migrations()
    wrong = schema.Migration(len(good) + 1, "wrong", ("CREATE TABLE half (a TEXT)", "CREATE TABEL other (b TEXT)"))

    async def work() -> None:
        monkeypatch.setattr(schema, "migrations", lambda: (*good, wrong))
        store = opener()
        with pytest.raises(UnstorableError):
            await store.open()
        await store.close()
        monkeypatch.setattr(schema, "migrations", lambda: good)
        store = opener()
        await store.open()
        with pytest.raises(UnstorableError):
            await store.read("SELECT * FROM half")
        assert await store.add([report(incident(1))]) == 1
        await store.close()

    asyncio.run(work())


def test_versions_left_out() -> None:
    known = (schema.Migration(1, "a", ()), schema.Migration(2, "b", ()), schema.Migration(3, "c", ()))
    assert schema.pending([], known) == known
    assert schema.pending([1, 2], known) == known[2:]
    with pytest.raises(SchemaError, match="are missing"):
        schema.pending([1, 3], known)
    with pytest.raises(SchemaError, match="newer"):
        schema.pending([1, 2, 3, 4], known)


# ── one file ────────────────────────────────────────────────────────────────────────────────────


def test_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.db"

    async def work() -> None:
        store = SQLite(str(path))
        await store.open()
        await store.add([report(incident(1))])
        assert {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in os.listdir(tmp_path)} == {0o600}
        rows = await store.write([("PRAGMA synchronous", {}), ("PRAGMA journal_mode", {})])
        assert rows == [-1, -1]
        assert store._connection is not None
        assert store._connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert store._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        await store.close()

    asyncio.run(work())


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, None])
def test_file_that_is_no_database(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "c.db"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)

    async def work() -> None:
        store = SQLite(str(path))
        with pytest.raises(StoreUnavailableError, match=r"c\.db"):
            await store.open()
        await store.close()

    asyncio.run(work())


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    async def work() -> None:
        store = SQLite(str(tmp_path / "none" / "c.db"))
        with pytest.raises(StoreUnavailableError):
            await store.open()
        await store.close()

    asyncio.run(work())


def test_database_that_is_not_there() -> None:
    from cpe_filter.collect.store.postgres import Postgres

    async def work() -> None:
        store = Postgres("host=/nonexistent dbname=x connect_timeout=1")
        with pytest.raises(StoreUnavailableError):
            await store.open()
        await store.close()

    asyncio.run(work())


def test_commits_are_durable_whatever_the_servers_default(postgres: Cluster) -> None:
    from cpe_filter.collect.store.postgres import Postgres

    dsn = postgres.create("lazy")

    async def work() -> None:
        store = Postgres(dsn)
        await store.open()
        await store.write([("ALTER DATABASE lazy SET synchronous_commit = off", {})])
        await store.close()
        store = Postgres(dsn)
        await store.open()
        assert await store.read("SHOW synchronous_commit") == [{"synchronous_commit": "on"}]
        await store.close()

    asyncio.run(work())
