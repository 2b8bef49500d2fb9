"""Which routers a document concerns: counted in a store as each router would decide."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.cli import commands
from cpe_filter.collect import signing
from cpe_filter.collect.rollout import reach
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.store.sqlite import SQLite
from cpe_filter.signed import document as documents
from cpe_filter.signed.document import Document
from tests.collect.publisher import MILD, STRICT, Isp
from tests.collect.reports import NOW, heartbeat
from tests.collect.store.test_sql_documents import docs, document, sent

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]
MODELS = ("acme,box-1", "acme,box-2")


def made(*audience: str, permille: int = 1000, min_agent: str = "") -> Document:
    header = signing.Header("policy", 9, NOW, NOW + 1000, audience or ("*",), permille, "spring", min_agent)
    return documents.parse(signing.header(header).encode(), "99.0")


async def fleet(store: Store, count: int = 300) -> None:
    """Every second one of another model, every third with policy 7, the last heard of long ago."""
    for n in range(count):
        events = [document(1, 100)] if n % 3 == 0 else [docs(1, 100)] if n % 3 == 1 else [heartbeat(1)]
        one = sent(*events, router=f"cpe-{n}")
        await store.add([replace_(one, model=MODELS[n % 2], ver="0.1.0" if n % 2 else "0.2.0")])
    await store.add([replace_(sent(heartbeat(1), router="gone"), received=NOW - 31 * 86400)])


def replace_(report: Any, **changes: Any) -> Any:
    return replace(report, **changes)


def test_by_audience_permille_and_policy(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_CHUNK", 64)

    async def work(store: Store) -> None:
        await fleet(store)
        found = await reach.count(store, made(), NOW)
        assert (found.routers, found.audience, found.first, found.regionless) == (300, 300, 300, 0)
        assert found.in_force == {"7": 100, "not reported": 200}
        staged = made("model:acme,box-1", "router:cpe-1", permille=100, min_agent="0.2.0")
        found = await reach.count(store, staged, NOW)
        audience = {f"cpe-{n}" for n in range(300) if n % 2 == 0 or n == 1}
        first = {name for name in audience if staged.is_rolled_out_to(name)}
        assert (found.audience, found.first) == (151, len(first))
        assert 5 < len(first) < 30
        assert found.models["acme,box-1"] == len(first - {"cpe-1"})
        assert found.old == len(first & {"cpe-1"})
        lines = reach.lines(found, staged)
        assert lines[0].startswith("routers: 300 reported within 30 days; 151 in the audience, ")

    with_store(work)


def test_regions_come_from_the_map(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await fleet(store, 10)
        found = await reach.count(store, made("region:north"), NOW, lambda router: "north" if router == "cpe-4" else "")
        assert (found.audience, found.regionless, found.regions) == (1, 9, {"north": 1})
        assert "the region of 9 is not known here" in reach.lines(found, made("region:north"))[1]
        found = await reach.count(store, made("region:north"), NOW)
        assert (found.audience, found.regionless) == (0, 10)

    with_store(work)


def test_the_command_counts_in_the_collectors_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, table = tmp_path / "collector.db", tmp_path / "map.csv"
    table.write_text("router,subscriber,region\n" + "".join(f"cpe-{n},S{n},north\n" for n in range(20)))
    config = tmp_path / "collector.toml"
    config.write_text(
        '[listen]\naddress = ""\n[tls_proxy]\naddress = "127.0.0.1:9"\n'
        f'[store]\npath = "{path}"\n[subscribers]\nfile = "{table}"\n'
    )

    async def fill() -> None:
        store = SQLite(str(path))
        await store.open()
        now = int(time.time())
        for n in range(40):
            await store.add([replace_(sent(heartbeat(1), router=f"cpe-{n}"), received=now, model="acme,box-1")])
        await store.close()

    asyncio.run(fill())
    isp = Isp(tmp_path)
    isp.publish(MILD)
    capsys.readouterr()
    document = isp.signed(STRICT, "--audience", "region:north")
    assert isp.do("publish", document, "--config", str(config)) == 3
    said = capsys.readouterr()
    assert "routers: 40 reported within 30 days; 20 in the audience\n" in said.out
    assert "the region of 20 is not known here" in said.out
    assert "by model: 'acme,box-1' 20\n  by region: 'north' 20\n  by policy now: 'not reported' 20\n" in said.out
    assert "'block': stricter (20 routers)\n" in said.out
    # A store that is away does not keep anybody from halting.
    isp.publish(STRICT, 10)
    config.write_text('[store]\npath = "/nowhere/x.db"\n[tls_proxy]\naddress = "127.0.0.1:9"\n')
    assert commands.run(["policy", "halt", "--published", str(isp.web), "--keys", str(isp.keys), "--key",
                         str(isp.secret), "--config", str(config)]) == 0  # fmt: skip
    assert "which routers it concerns is not known" in capsys.readouterr().err
    assert isp.channel["documents"][-1]["halts"] == 2
