"""Sources of incidents, and the exports' files: once each, whole or not at all, nothing guessed."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import stat
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.arguments import KINDS
from cpe_filter.collect.cases.attribution import Held, Source, source
from cpe_filter.collect.cases.model import CaseNotFoundError
from cpe_filter.collect.export import exports
from cpe_filter.collect.export.export_rows import ExportRow, Selection, export_rows
from cpe_filter.collect.export.exports import Done, ExportError, once, renderer, under
from cpe_filter.collect.export.xarf import Reporter
from cpe_filter.collect.store import lease
from cpe_filter.collect.store.base import Store, StoreUnavailableError
from tests.collect.desks import ADDRESS, ADDRESS6, PC, TV, Map, WithStore, event, line, ours
from tests.collect.reports import NOW

LATER = NOW + 1000
REPORTER = Reporter("Example ISP", "abuse@isp.example", "isp.example")


def incident(*sp: tuple[int, int, int], **more: Any) -> dict[str, Any]:
    """sp: at (after NOW), port, family."""
    examples = [{"at": NOW + at, "port": port, "family": family} for at, port, family in sp]
    return {"router": "r1", "last_at": NOW, "sp": examples, **more}


SOURCES: list[tuple[str, list[dict[str, str]], dict[str, Any], Any]] = [
    ("v4", [line()], incident((0, 40000, 4)), (ADDRESS, 40000, 0)),
    ("v6", [line()], incident((0, 40000, 6)), (ADDRESS6, 40000, 0)),
    ("newest example", [line()], incident((-90, 1, 4), (-10, 2, 4), (-50, 3, 4)), (ADDRESS, 2, -10)),
    ("port unknown", [line()], incident((0, 0, 4)), (ADDRESS, None, 0)),
    ("no example", [line()], incident(), (ADDRESS, None, 0)),
    ("no row", [], incident((0, 40000, 4)), "unmapped"),
    ("row without address", [line(address="")], incident((0, 40000, 4)), "no-address"),
    ("no address of that family", [line(address=ADDRESS)], incident((0, 40000, 6)), "no-address"),
    ("an older example has one", [line(address=ADDRESS)], incident((0, 40000, 6), (-9, 7, 4)), (ADDRESS, 7, -9)),
    ("another subscriber's by then", [line(subscriber="S2")], incident((0, 40000, 4)), "unmapped"),
    ("address at that time",
     [line(address="8.8.2.2", until="2026-11-24T11:59:00Z"), line(since="2026-11-24T11:59:00Z")],
     incident((-61, 40000, 4)), ("8.8.2.2", 40000, -61)),
    ("moved meanwhile",
     [line("r1", "S1", until="2026-11-24T11:59:00Z"), line("r1", "S2", since="2026-11-24T11:59:00Z")],
     incident((0, 5, 4), (-70, 6, 4)), (ADDRESS, 6, -70)),
    ("shared, port is ours", [line(address=ADDRESS, ports="40000-40063")], incident((0, 40063, 4)),
     (ADDRESS, 40063, 0)),
    ("shared, port is not ours", [line(address=ADDRESS, ports="40000-40063")], incident((0, 40064, 4)),
     "shared-address"),
    ("shared, no port", [line(address=ADDRESS, ports="1-65535")], incident((0, 0, 4)), "shared-address"),
    ("shared, no example", [line(address=ADDRESS, ports="1-65535")], incident(), "shared-address"),
    ("prefix", [line(address="2a00:8::/56")], incident((0, 9, 6)), ("2a00:8::/56", 9, 0)),
    ("prefix of one", [line(address="8.8.1.1/32")], incident((0, 9, 4)), ("8.8.1.1", 9, 0)),
    ("address rather than prefix", [line(address="2a00:8::/56 8.8.1.1")], incident((0, 9, 6), (-9, 8, 4)),
     (ADDRESS, 8, -9)),
    ("in the future", [line()], incident((301, 9, 4)), "time"),
    ("in the past", [line()], incident((-NOW, 9, 4)), "time"),
    ("negative", [line()], incident(last_at=-5), "time"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "what", "expected"), [one[1:] for one in SOURCES], ids=[one[0] for one in SOURCES])
def test_sources(rows: list[dict[str, str]], what: dict[str, Any], expected: Any) -> None:
    found = asyncio.run(source(what, "S1", Map(*rows), NOW))
    said = (found.address, found.port, found.at - NOW) if isinstance(found, Source) else found.why
    assert said == expected


def test_no_source_where_nobody_is_known_or_can_be_asked() -> None:
    whose = Map(line())
    assert asyncio.run(source(incident((0, 9, 4)), "", whose, NOW)) == Held("unmapped")
    whose.away = True
    assert asyncio.run(source(incident((0, 9, 4)), "S1", whose, NOW)) == Held("map-away")


# ── what there is ───────────────────────────────────────────────────────────────────────────────


async def found(store: Store, whose: Map, **want: Any) -> list[tuple[str, str, int]]:
    all_of_them: list[ExportRow] = [item async for item in export_rows(store, whose, Selection(**want), NOW + 1000)]
    return [(one.case.router, one.case.dev, int(one.incident["id"], 16)) for one in all_of_them]


def test_incidents_of_cases(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpe_filter.collect.export.export_rows.PAGE", 2)

    async def work(store: Store) -> None:
        whose = Map(line(), line("r2", "S2"))
        await store.add(
            [
                event("raised", 0), event("closed", 5), event("raised", 10, 2), event("opened", 20, 3, dev=PC),
                event("raised", 10, 2, router="r2"), event("raised", 10, 9, router="r2", dev=PC),
            ]
        )  # fmt: skip
        book = ours(whose)(store)
        await book.catch_up(NOW)
        assert await found(store, whose) == [("r1", TV, 1), ("r1", TV, 2), ("r2", TV, 2), ("r2", PC, 9)]
        assert await found(store, whose, since=NOW + 10) == [("r1", TV, 2), ("r2", TV, 2), ("r2", PC, 9)]
        case = (await store.read("SELECT id FROM desk_case WHERE router = 'r2' AND dev = :dev", dev=PC))[0]["id"]
        assert await found(store, whose, case=case) == [("r2", PC, 9)]
        with pytest.raises(CaseNotFoundError):
            await found(store, whose, case="none")

    with_store(work)


# ── files ───────────────────────────────────────────────────────────────────────────────────────


async def some(store: Store, whose: Map, upto: int = 5) -> None:
    """One incident each of so many routers."""
    for number in range(upto):
        await store.add([event("raised", number, 1, router=f"r{number}", name="=cmd|' /C calc'!A0")])
    await ours(whose)(store).catch_up(NOW)


def everybody(upto: int = 5) -> Map:
    return Map(*(line(f"r{number}", f"S{number}") for number in range(upto)))


class Killed(BaseException):
    """What no handler takes for an error."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "out"
    made.mkdir()
    return made


def listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_file_folder_and_stdout_hold_the_same(
    with_store: WithStore, kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work(store: Store) -> None:
        whose = everybody()
        await some(store, whose)
        render = renderer(kind, REPORTER)
        file = folder.parent / "file"
        for output in (str(file), str(folder), None):
            done = await once(store, whose, kind, render, Selection(), output, LATER)
            assert (done.exported, done.held) == (5, Counter())
        text = file.read_bytes().decode()
        assert capsys.readouterr().out.encode() == file.read_bytes()
        in_folder = listed(folder)
        assert len(in_folder) == (5 if kind == "xarf" else 1)
        assert sorted("".join(one.read_bytes().decode() for one in in_folder)) == sorted(text)
        if kind == "csv":
            assert len(list(csv.reader(io.StringIO(text, newline="")))) == 6
        else:
            assert len([json.loads(row) for row in text.splitlines()]) == 5
        for one in (file, *in_folder):
            assert stat.S_IMODE(one.stat().st_mode) & 0o007 == 0
        assert not [one for one in (*listed(folder.parent), *in_folder) if one.name.startswith(".")]

    with_store(work)


def reports(folder: Path) -> list[str]:
    """What each router's incident is called in the folder: one entry for each time that it is there."""
    out = []
    for path in listed(folder):
        assert not path.name.startswith("."), path
        text = path.read_text()
        if path.suffix == ".csv":
            out += [row["router"] for row in csv.DictReader(io.StringIO(text, newline=""))]
        else:
            out += [one.get("extra.router") or one["report_id"] for one in map(json.loads, text.splitlines())]
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_under_a_mark_each_is_exported_once(
    with_store: WithStore, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BATCH", 2)

    async def work(store: Store) -> None:
        whose = everybody(8)
        render = renderer(kind, REPORTER)

        async def export(mark: str = "desk") -> int:
            return (await under(store, whose, kind, render, Selection(), str(folder), mark, LATER)).exported

        await some(store, whose)
        assert await export() == 5
        assert await export() == 0
        await some(store, whose, 8)
        assert await export() == 3
        assert len(reports(folder)) == len(set(reports(folder))) == 8
        # An update is no new incident; a recurrence is.
        await store.add([event("updated", 50, 1, router="r1"), event("raised", 90, 7, router="r1", dev=PC)])
        await ours(whose)(store).catch_up(NOW + 100)
        assert await export() == 1
        assert await export("other") == 9

    with_store(work)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["before the files", "after the files"])
def test_run_that_was_killed_is_finished(
    with_store: WithStore, kind: str, when: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: Store) -> None:
        whose = everybody()
        await some(store, whose)
        render = renderer(kind, REPORTER)
        write = exports._write_folder

        def killed(*arguments: Any) -> None:
            if when == "after the files":
                write(*arguments)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(exports, "_write_folder", killed)
            with pytest.raises(Killed):
                await under(store, whose, kind, render, Selection(), str(folder), "desk", LATER)
        before = {one.name: one.read_bytes() for one in listed(folder)}
        await some(store, everybody(6), 6)
        whose.rows += everybody(6).rows[5:]
        done = await under(store, whose, kind, render, Selection(), str(folder), "desk", LATER)
        assert done.exported == 6
        assert len(reports(folder)) == len(set(reports(folder))) == 6
        after = {one.name: one.read_bytes() for one in listed(folder)}
        assert {name: after[name] for name in before} == before
        assert (await under(store, whose, kind, render, Selection(), str(folder), "desk", LATER)).exported == 0

    with_store(work)


def test_held_back_and_counted_until_there_is_an_address(with_store: WithStore, folder: Path) -> None:
    async def work(store: Store) -> None:
        whose = Map(line("r0"), line("r1", address=""), line("r2", ports="1-9", address=ADDRESS))
        await some(store, whose, 4)
        render = renderer("xarf", REPORTER)

        async def export() -> Done:
            return await under(store, whose, "xarf", render, Selection(), str(folder), "desk", LATER)

        done = await export()
        assert done.exported == 1
        assert done.held == {"no-address": 1, "shared-address": 1, "unmapped": 1}
        held = await store.read("SELECT name, value FROM desk_mark WHERE value > 0 AND name LIKE :held", held="held%")
        assert {row["name"]: row["value"] for row in held} == {
            "held xarf no-address": 1, "held xarf shared-address": 1, "held xarf unmapped": 1,
        }  # fmt: skip
        whose.rows = everybody(4).rows
        await ours(whose)(store).remap(NOW)
        done = await export()
        assert (done.exported, done.held) == (3, {})
        assert len(listed(folder)) == 4

    with_store(work)


def test_one_export_under_a_mark_at_a_time(with_store: WithStore, folder: Path) -> None:
    async def work(store: Store) -> None:
        whose = everybody()
        await some(store, whose)
        render = renderer("csv", REPORTER)
        now = int(time.time())
        assert await lease.take(store, "export csv/desk", now, 300, "other")
        with pytest.raises(ExportError, match="another export under mark desk is running"):
            await under(store, whose, "csv", render, Selection(), str(folder), "desk", LATER)
        await lease.give(store, "export csv/desk", "other")
        assert (await under(store, whose, "csv", render, Selection(), str(folder), "desk", LATER)).exported == 5

    with_store(work)


def test_what_cannot_be(with_store: WithStore, folder: Path) -> None:
    async def work(store: Store) -> None:
        whose = everybody()
        await some(store, whose)
        render = renderer("csv", REPORTER)
        for mark in ("", "a/b", "a b", "x" * 65, "../x"):
            with pytest.raises(ExportError, match="a mark has"):
                await under(store, whose, "csv", render, Selection(), str(folder), mark, LATER)
        for output in (None, str(folder / "file"), str(folder / "none" / "x")):
            with pytest.raises(ExportError, match="a mark needs --output with a folder"):
                await under(store, whose, "csv", render, Selection(), output, "desk", LATER)
        with pytest.raises(ExportError, match="No such file"):
            await once(store, whose, "csv", render, Selection(), str(folder / "none" / "x"), LATER)
        target = folder / "there"
        target.write_text("old")
        (folder / "precious").write_text("old")
        os.symlink(folder / "precious", folder / f".there.{os.getpid()}.new")
        os.link(target, folder / "others")
        await once(store, whose, "csv", render, Selection(), str(target), LATER)
        assert not target.is_symlink()
        assert target.read_text().startswith('"case",')
        assert (folder / "precious").read_text() == "old"
        assert (folder / "others").read_text() == "old"
        for wrong in (REPORTER._replace(org=""), REPORTER._replace(contact=""), REPORTER._replace(domain="")):
            with pytest.raises(ExportError, match="org, contact and domain"):
                renderer("xarf", wrong)

    with_store(work)


def test_store_that_goes_away_leaves_no_half_mark(
    with_store: WithStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: Store) -> None:
        whose = everybody()
        await some(store, whose)
        render = renderer("csv", REPORTER)
        write = store.write
        calls = 0

        async def sometimes(statements: Any) -> list[int]:
            nonlocal calls
            calls += 1
            if calls == 4:  # ticking the batch off
                raise StoreUnavailableError("gone")
            return await write(statements)

        with monkeypatch.context() as patch:
            patch.setattr(store, "write", sometimes)
            with pytest.raises(StoreUnavailableError):
                await under(store, whose, "csv", render, Selection(), str(folder), "desk", LATER)
        assert (await under(store, whose, "csv", render, Selection(), str(folder), "desk", LATER)).exported == 5
        assert sorted(reports(folder)) == ["r0", "r1", "r2", "r3", "r4"]

    with_store(work)
