"""The EST server, without sockets, on both stores: who gets a certificate, and what a hostile request gets."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.enrol import register
from cpe_filter.collect.store.base import Store
from tests.collect import ca
from tests.collect.conftest import Opener
from tests.collect.enrol.isp import ROOT, ROUTER, Isp, digest, new_key, program, request_for, signed

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> ca.Authority:
    return ca.Authority(tmp_path_factory.mktemp("ca"))


def with_two(opener: Opener, authority: ca.Authority, work: Callable[[Isp, Isp], Awaitable[None]]) -> None:
    """Two processes of `est`: each has its own store, on the same database."""

    async def inside() -> None:
        stores = [opener(), opener()]
        for store in stores:
            await store.open()
        try:
            await work(Isp(authority, stores[0]), Isp(authority, stores[1]))
        finally:
            for store in stores:
                await store.close()

    asyncio.run(inside())


# ── one use ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_nonce_is_used_once_whichever_process_gets_it(opener: Opener, authority: ca.Authority) -> None:
    async def work(one: Isp, other: Isp) -> None:
        factory, request = new_key(), request_for(new_key())
        await one.know(ROUTER, digest(factory))
        proof = signed(factory, await one.nonce(request), request)
        assert (await one.enrol(request, proof)).status == 200
        for process in (one, other):
            answer = await process.enrol(request, proof)
            assert (answer.status, answer.why) == (401, "the nonce was used before\n")
            assert answer.nonce
        assert len(await one.listed()) == 1

    with_two(opener, authority, work)


def test_a_nonce_that_comes_twice_at_once(opener: Opener, authority: ca.Authority) -> None:
    async def work(one: Isp, other: Isp) -> None:
        factory, request = new_key(), request_for(new_key())
        await one.know(ROUTER, digest(factory))
        proof = signed(factory, await one.nonce(request), request)
        answers = await asyncio.gather(*(process.enrol(request, proof) for process in (one, other) * 4))
        assert sorted(answer.status for answer in answers) == [200, *[401] * 7]
        assert len(await one.listed()) == 1

    with_two(opener, authority, work)


def test_a_nonce_is_forgotten_when_it_has_expired(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        assert await register.use_nonce(store, "one", 1000, 1300)
        assert not await register.use_nonce(store, "one", 1100, 1300)
        assert await register.use_nonce(store, "two", 1300, 1600)
        assert await store.read("SELECT nonce FROM enrol_nonce") == [{"nonce": "two"}]

    with_store(work)


def test_a_token_is_for_one_key_whichever_process_gets_it(opener: Opener, authority: ca.Authority) -> None:
    async def work(one: Isp, other: Isp) -> None:
        token = await one.token()
        requests = [request_for(new_key()) for _ in range(6)]
        answers = await asyncio.gather(
            *((one, other)[n % 2].enrol(request, token) for n, request in enumerate(requests))
        )
        assert sorted(answer.status for answer in answers)[0] == 200
        assert {answer.status for answer in answers[1:] + answers[:1]} <= {200, 401, 403}
        assert [answer.status for answer in answers].count(200) == 1
        assert len(await one.listed()) == 1
        winner = requests[[answer.status for answer in answers].index(200)]
        assert (await other.enrol(winner, token)).status == 200  # its answer may have been lost

    with_two(opener, authority, work)


def test_a_token_outlives_an_authority_that_cannot_sign(
    with_store: WithStore, authority: ca.Authority, tmp_path: Path
) -> None:
    async def work(store: Store) -> None:
        broken = Isp(authority, store, program(tmp_path, "exit 3"))
        token = await broken.token()
        answer = await broken.enrol(request_for(new_key()), token)
        assert (answer.status, answer.why) == (503, "the authority cannot sign now; try again later\n")
        assert answer.headers["retry-after"] == ["60"]
        # The router was reset in between: it has another key.
        assert (await Isp(authority, store).enrol(request_for(new_key()), token)).status == 200

    with_store(work)


def test_a_token_that_was_replaced_while_the_authority_signed(
    with_store: WithStore, authority: ca.Authority, tmp_path: Path
) -> None:
    """The new token stays whole, and whoever had the old one gets nothing."""

    async def work(store: Store) -> None:
        isp = Isp(authority, store, signing(authority, tmp_path, wait=True))
        waiting = asyncio.create_task(isp.enrol(request_for(new_key()), await isp.token()))
        await until(tmp_path / "asked")
        token = await isp.token()
        (tmp_path / "go").touch()
        assert (await waiting).status == 401
        assert await isp.listed() == []
        assert (await isp.enrol(request_for(new_key()), token)).status == 200

    with_store(work)


def test_a_router_that_is_revoked_while_the_authority_signs(
    with_store: WithStore, authority: ca.Authority, tmp_path: Path
) -> None:
    async def work(store: Store) -> None:
        isp = Isp(authority, store, signing(authority, tmp_path, wait=True))
        factory, request = new_key(), request_for(new_key())
        await isp.know(ROUTER, digest(factory))
        waiting = asyncio.create_task(isp.enrol(request, signed(factory, await isp.nonce(request), request)))
        await until(tmp_path / "asked")
        await register.revoke(store, ROUTER, "stolen", int(time.time()), ROOT)
        (tmp_path / "go").touch()
        answer = await waiting
        assert (answer.status, answer.why) == (403, "this router is revoked\n")
        assert await isp.listed() == []

    with_store(work)


def signing(authority: ca.Authority, folder: Path, wait: bool = False) -> tuple[str, ...]:
    """A sign_command by openssl. wait: it makes the file `asked`, and goes on once there is one named `go`."""
    from tests.collect.enrol.isp import key_file

    more = f"touch {folder}/asked; while ! [ -e {folder}/go ]; do sleep 0.05; done\n" if wait else ""
    return program(
        folder,
        f"cat >{folder}/csr.$$\n{more}exec openssl x509 -req -in {folder}/csr.$$ -CA {authority.certificate}"
        f' -CAkey {key_file(authority)} -set_serial 0x$$ -days "$2" 2>/dev/null',
    )


async def until(path: Path) -> None:
    for _ in range(400):
        if os.path.exists(path):  # noqa: ASYNC240
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path} did not appear")
