"""`policy halt --if-advised`: it halts what fails on too many routers, and nothing else."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from cpe_filter.collect.rollout.advice import advice
from cpe_filter.collect.rollout.spread import Terms
from cpe_filter.collect.store.sqlite import SQLite
from cpe_filter.outcome import UsageError
from tests.collect.publisher import Isp
from tests.collect.rollout.story import story


def prepared(folder: Path, halt_at: int = 2) -> tuple[Isp, str]:
    """The story, as if it were now; the ISP and a configuration."""

    async def fill() -> Isp:
        store = SQLite(str(folder / "collector.db"))
        await store.open()
        try:
            isp, _ = await story(store, folder)
            now = {"at": int(time.time()) - 600}
            moved = ("UPDATE router_state SET heard_at = :at", "UPDATE router_document SET at = :at")
            await store.write([(sql, now) for sql in moved])
        finally:
            await store.close()
        return isp

    isp = asyncio.run(fill())
    config = folder / "collector.toml"
    config.write_text(
        f'[listen]\naddress = ""\n[tls_proxy]\naddress = "unix:{folder}/socket"\n'
        f'[store]\npath = "{folder}/collector.db"\n'
        f"[provision]\nhalt_at = {halt_at}\n"
    )
    return isp, str(config)


def test_it_halts_what_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    isp, config = prepared(tmp_path)
    assert isp.do("halt", "--if-advised", "--config", config) == 0
    said = capsys.readouterr().out
    assert "policy 2: 6 of 17 routers that answered took it back or refused it (95 %: 17.3 to 58.7 %, " in said
    assert "halt_at 2 %): a halt is advised\n" in said
    assert isp.states[-2:] == [(2, 500, "halted"), (3, 1000, "current")]
    # Again: a halt is not halted.
    assert isp.do("halt", "--if-advised", "--config", config) == 1
    assert isp.channel["current"] == 3


def test_it_leaves_what_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    isp, config = prepared(tmp_path, 50)
    assert isp.do("halt", "--if-advised", "--config", config) == 1
    assert "halt_at 50 %): a halt is not advised" in capsys.readouterr().out
    assert isp.channel["current"] == 2


def test_what_is_not_known_is_no_reason_to_halt(tmp_path: Path) -> None:
    isp, config = prepared(tmp_path)
    with pytest.raises(UsageError, match="--if-advised needs --config"):
        isp.do("halt", "--if-advised")
    with pytest.raises(UsageError, match="whether a halt is advised is not known: "):
        isp.do("halt", "--if-advised", "--config", str(tmp_path / "none.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text(Path(config).read_text().replace("collector.db", "nowhere/collector.db"))
    with pytest.raises(UsageError, match="whether a halt is advised is not known: "):
        isp.do("halt", "--if-advised", "--config", str(broken))
    assert isp.channel["current"] == 2


def test_a_channel_that_is_not_there(tmp_path: Path) -> None:
    async def work() -> None:
        store = SQLite(str(tmp_path / "collector.db"))
        await store.open()
        try:
            _, terms = await story(store, tmp_path)
            now = int(time.time())
            assert await advice(store, terms, "south", now) == (False, "channel south: nothing is published")
            problem = await advice(store, Terms(str(tmp_path / "isp.sec")), "routers", now)
            assert not problem[0]
            assert "Not a directory" in problem[1]
        finally:
            await store.close()

    asyncio.run(work())
