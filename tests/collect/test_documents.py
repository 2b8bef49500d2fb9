"""What routers report of signed documents, by each way into each store, next to what else they report.

A report is stored before it is answered, or goes through NATS; then the same rows are there, each event once. Cases,
exports and metrics see nothing but incidents.
"""

from __future__ import annotations

import asyncio
import csv
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.store.base import Store
from cpe_filter.collect.store.postgres import Postgres
from cpe_filter.collect.store.sqlite import SQLite
from tests.collect import streams
from tests.collect.ca import Authority
from tests.collect.cluster import Cluster
from tests.collect.reports import body, heartbeat, incident
from tests.collect.running import Collector
from tests.collect.test_faults import until
from tests.lab.net import PROJECT

A, B, C, D = (letter * 16 for letter in "abcd")
_MADE = {"kind": "document", "type": "policy"}
EVENTS: list[dict[str, Any]] = [
    incident(1, kind="raised"),
    {**_MADE, "seq": 2, "up": 102, "doc": A, "number": 41, "result": "applied"},
    {**_MADE, "seq": 3, "up": 103, "doc": B, "number": 42, "result": "taken-back", "why": "filter"},
    {"kind": "document", "seq": 4, "up": 104, "doc": C, "result": "refused", "why": "signature"},
    {"kind": "document", "seq": 5, "up": 105, "type": "table", "doc": D, "number": 3, "result": "applied"},
    {"kind": "document", "seq": 6, "up": 106, "type": "table", "doc": D, "number": 3, "result": "rolled-back"},
    heartbeat(7, docs=[{"type": "policy", "doc": A, "number": 41}]),
    incident(8, kind="closed"),
]
OUTCOMES = [
    ("r1", "", C, None, "refused", "signature"),
    ("r1", "policy", A, 41, "applied", None),
    ("r1", "policy", B, 42, "taken-back", "filter"),
    ("r1", "table", D, 3, "rolled-back", None),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


async def _rows(store: Store) -> tuple[list[tuple[Any, ...]], ...]:
    await store.open()
    try:
        ended = await store.read("SELECT * FROM router_document ORDER BY router, type, digest")
        in_force = await store.read("SELECT * FROM router_in_force WHERE digest <> ''")
        events = await store.read("SELECT kind, seq FROM report ORDER BY seq")
    finally:
        await store.close()
    names = ("router", "type", "digest", "sequence", "result", "why")
    return (
        [tuple(row[name] for name in names) for row in ended],
        [tuple(row[name] for name in names[:4]) for row in in_force],
        [(row["kind"], row["seq"]) for row in events],
    )


def stored(opened: Callable[[], Store]) -> tuple[list[tuple[Any, ...]], ...]:
    return asyncio.run(_rows(opened()))


EXPECTED = (OUTCOMES, [("r1", "policy", A, 41)], [(event["kind"], event["seq"]) for event in EVENTS])


def test_stored_before_it_is_answered(tmp_path: Path, authority: Authority, postgres: Cluster) -> None:
    stores: dict[str, tuple[dict[str, Any], Callable[[], Store]]] = {
        "sqlite": ({}, partial(SQLite, str(tmp_path / "sqlite" / "collector.db"))),
        "postgresql": (
            {"engine": "postgresql", "dsn": (dsn := postgres.create("documents_run"))},
            partial(Postgres, dsn),
        ),
    }
    pair = authority.router("r1")
    for name, (tables, store) in stores.items():
        with Collector(tmp_path / name, authority, "run", store=tables, cases={"every_s": 1}) as it:
            for _ in range(2):  # a repetition is accepted and changes nothing
                said = it.post(pair, body(*EVENTS))
                assert (said.status, said.body["rejected"]) == (200, [])
                assert sorted(said.body["acked"]) == [event["seq"] for event in EVENTS]
            assert stored(store) == EXPECTED
            counted = it.metrics()
            assert counted['cpe_collector_events_total{outcome="stored"}'] == len(EVENTS)
            assert counted['cpe_collector_events_total{outcome="duplicate"}'] == len(EVENTS)
            until(partial(_has_one_case, it))
            _exported(it)
            assert it.stop() == 0
            assert not [line for line in it.lines() if line["level"] in ("error", "critical")], it.log.read_text()


def _has_one_case(it: Collector) -> bool:
    return sum(value for name, value in it.metrics().items() if name.startswith("cpe_collector_cases{")) == 1


def _exported(it: Collector) -> None:
    """The case's incident and nothing of documents."""
    out = it.folder / "cases.csv"
    words = [*it.command("export"), "csv", "--output", str(out)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=PROJECT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(list(csv.reader(out.open()))) == 2
    assert "document" not in out.read_text()


def test_by_way_of_nats(tmp_path: Path, authority: Authority, cluster: streams.Streams) -> None:
    pair = authority.router("r1")
    nats: dict[str, Any] = {"nats": {"servers": cluster.urls, "max_bytes": 1 << 28}}
    with (
        Collector(tmp_path / "ingest", authority, "ingest", **nats) as ingest,
        Collector(tmp_path / "consume", authority, "consume", **nats) as consume,
    ):
        assert ingest.post(pair, body(*EVENTS)).body["rejected"] == []
        assert ingest.post(pair, body(*EVENTS)).status == 200
        store = partial(SQLite, str(consume.folder / "collector.db"))
        until(lambda: len(stored(store)[2]) == len(EVENTS))
        assert stored(store) == EXPECTED
        assert (ingest.stop(), consume.stop()) == (0, 0)
        for one in (ingest, consume):
            assert "Traceback" not in one.log.read_text()
