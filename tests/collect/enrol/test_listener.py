"""The listener's files and jobs: names of the server, and the revocation list that others read."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from cpe_filter.collect.config.model import Config, EnrolTable
from cpe_filter.collect.enrol import listener, register
from cpe_filter.collect.enrol.authority import Authority
from cpe_filter.collect.enrol.listener import RevocationList
from cpe_filter.collect.intake.listener import ListenError
from cpe_filter.collect.store.base import Store, StoreUnavailableError
from tests.collect import ca
from tests.collect.conftest import Opener
from tests.collect.enrol.isp import ROOT, key_file

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]
NOW = int(time.time())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> ca.Authority:
    return ca.Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def own(authority: ca.Authority) -> Authority:
    return Authority(str(authority.certificate), str(key_file(authority)), (), 90)


async def revoked_router(store: Store, n: int) -> None:
    router = f"cpe-{n}"
    await register.load(store, [(router, "")], NOW, ROOT)
    row = register.Certificate(f"{n:x}", router, f"key {n}", "factory", NOW, NOW + 9 * register.DAY)
    assert await register.note(store, row)
    await register.revoke(store, router, "", NOW, ROOT)


def serials(path: Path) -> set[int]:
    return {one.serial_number for one in x509.load_pem_x509_crl(path.read_bytes())}


def test_the_list_is_made_at_once_when_something_is_revoked(
    with_store: WithStore, own: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "crl.pem"

    async def work(store: Store) -> None:
        lists = RevocationList(own, store, str(path))
        assert await lists.look(NOW)
        assert serials(path) == set()
        first = path.read_bytes()
        assert not await lists.look(NOW + 5)
        await revoked_router(store, 7)
        assert await lists.look(NOW + 10)
        assert serials(path) == {7}
        assert lists.current == path.read_bytes() != first
        assert not await lists.look(NOW + 15)
        # Nothing has changed, and its end comes nearer.
        assert not await lists.look(NOW + 10 + 3599)
        before = path.read_bytes()
        assert await lists.look(NOW + 10 + 3600)
        assert path.read_bytes() != before
        assert oct(path.stat().st_mode)[-3:] == "644"
        # What has expired leaves it.
        assert await lists.look(NOW + 11 * register.DAY)
        assert serials(path) == set()

    with_store(work)


def test_a_list_that_cannot_be_written_is_tried_again(with_store: WithStore, own: Authority, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "crl.pem"

    async def work(store: Store) -> None:
        lists = RevocationList(own, store, str(path))
        await revoked_router(store, 7)
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                await lists.look(NOW)
        await asyncio.to_thread(path.parent.mkdir)
        assert await lists.look(NOW)
        assert serials(path) == {7}

    with_store(work)


def test_the_job_goes_on_without_the_store(
    own: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "_LOOK_S", 0.01)

    class Away:
        asked = 0

        async def read(self, sql: str, /, **parameters: Any) -> list[Any]:
            self.asked += 1
            if self.asked < 3:
                raise StoreUnavailableError("away")
            return []

    async def work() -> None:
        store: Any = Away()
        task = asyncio.create_task(RevocationList(own, store, str(tmp_path / "crl.pem")).run())
        while not (tmp_path / "crl.pem").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(asyncio.wait_for(work(), 30))
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == ["revocation list"] * 2


def test_two_processes_write_one_list(opener: Opener, own: Authority, tmp_path: Path) -> None:
    """Whoever reads it in between sees a complete one. Here two threads with the numbers of two processes."""
    path = tmp_path / "crl.pem"

    async def writes(number: int) -> None:
        store = opener()
        await store.open()
        try:
            lists = RevocationList(own, store, str(path))
            for turn in range(20):
                await lists.look(NOW + turn * 4000)
        finally:
            await store.close()

    async def prepared() -> None:
        store = opener()
        await store.open()
        await revoked_router(store, 7)
        await store.close()

    asyncio.run(prepared())
    children = []
    for number in range(2):
        child = os.fork()
        if not child:
            code = 1
            try:
                asyncio.run(writes(number))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    seen = 0
    while children:
        done, status = os.waitpid(children[0], os.WNOHANG)
        if path.exists():
            assert serials(path) == {7}
            seen += 1
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            children.pop(0)
    assert seen
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith("crl")) == ["crl.pem"]


# ── files of the listener ───────────────────────────────────────────────────────────────────────────


def config_of(authority: ca.Authority, **more: str) -> Config:
    pair = authority.server("EST.isp.example", "*.est.example", "192.0.2.1", "2001:db8::1")
    tables = {
        "address": "127.0.0.1:0", "certificate": str(pair.certificate), "key": str(pair.key),
        "ca": str(authority.certificate), "ca_key": str(key_file(authority)), **more,
    }  # fmt: skip
    return Config(enrol=EnrolTable(**tables))  # type: ignore[arg-type]


def test_the_names_of_the_server(authority: ca.Authority) -> None:
    _, names = listener.tls(config_of(authority))
    assert names == {"est.isp.example", "*.est.example", "192.0.2.1", "2001:db8::1"}


def test_files_that_cannot_be_used(authority: ca.Authority, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    for more, why in (
        ({"factory_ca": str(tmp_path / "none")}, "none: No such file or directory"),
        ({"factory_ca": str(empty)}, "empty: "),
        ({"ca": str(tmp_path / "none")}, "none: No such file or directory"),
        ({"key": str(key_file(authority))}, "ca.key: "),
        ({"certificate": str(tmp_path / "none")}, "none, "),
    ):
        with pytest.raises(ListenError) as error:
            listener.tls(config_of(authority, **more))
        assert why in str(error.value)
        assert len(str(error.value).splitlines()) == 1
    nameless = authority.named("nameless", ["est.isp.example"])
    with pytest.raises(ListenError, match="no certificate with subject alternative names"):
        listener.tls(config_of(authority, certificate=str(nameless.certificate), key=str(nameless.key)))
