"""The register on both stores: what is kept, revoked, listed and forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cpe_filter.collect.enrol import register
from cpe_filter.collect.enrol.register import DAY, Certificate, RegisterError
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from tests.collect.conftest import Opener
from tests.collect.enrol.isp import ROOT
from tests.collect.reports import NOW

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]


def made(serial: str, router: str = "cpe-1", key: str = "", ends: int = NOW + 90 * DAY, at: int = NOW) -> Certificate:
    return Certificate(serial, router, key or f"key of {serial}", "factory", at, ends)


def test_only_a_router_that_is_allowed_gets_a_certificate(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        assert not await register.note(store, made("1"))
        await register.load(store, [("cpe-1", "aa")], NOW, ROOT)
        assert await register.note(store, made("1"))
        await register.revoke(store, "cpe-1", "", NOW, ROOT)
        assert not await register.note(store, made("2"))
        assert [row["serial"] for row in await register.listed(store, "")] == ["1"]

    with_store(work)


def test_revoked_certificates_stay_revoked(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await register.load(store, [("cpe-1", "aa"), ("cpe-2", "")], NOW, ROOT)
        await register.note(store, made("1"))
        await register.note(store, made("2", ends=NOW - 2 * DAY))
        await register.note(store, made("3", "cpe-2"))
        assert await register.revoked(store, NOW) == []
        assert await register.revoke(store, "cpe-1", "lost", NOW, ROOT) == 2
        assert await register.revoked(store, NOW) == [("1", NOW)]  # the other has expired
        assert await register.is_revoked(store, "1")
        assert not await register.is_revoked(store, "3")
        await register.allow(store, "cpe-1", NOW + 5, ROOT)
        await register.note(store, made("4"))
        assert await register.revoke(store, "cpe-1", "", NOW + 9, ROOT) == 1
        assert await register.revoked(store, NOW) == [("1", NOW), ("4", NOW + 9)]
        # A day longer than it is valid: a collector's clock may be slow.
        assert len(await register.revoked(store, NOW + 91 * DAY - 1)) == 2
        assert await register.revoked(store, NOW + 91 * DAY) == []

    with_store(work)


def test_a_revocation_and_a_certificate_at_the_same_time(opener: Opener) -> None:
    """In whatever order they come: no certificate of a revoked router is left that no list has."""

    async def work() -> None:
        stores = [opener(), opener()]
        for store in stores:
            await store.open()
        try:
            for n in range(40):
                router = f"cpe-{n}"
                await register.load(stores[0], [(router, "")], NOW, ROOT)
                noted, _ = await asyncio.gather(
                    register.note(stores[n % 2], made(f"{n:x}", router)),
                    register.revoke(stores[1 - n % 2], router, "", NOW, ROOT),
                )
                rows = await register.listed(stores[0], router)
                assert [row["revoked_at"] for row in rows] == ([NOW] if noted else [])
        finally:
            for store in stores:
                await store.close()

    asyncio.run(work())


def test_tokens(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        text = await register.make_token(store, "cpe-1", 72, NOW, ROOT)
        good = register.token_is_good
        assert await good(store, "cpe-1", text, "aa", NOW)
        assert await good(store, "cpe-1", text, "aa", NOW + 72 * 3600 - 1)
        for router, word, at in (
            ("cpe-1", text, NOW + 72 * 3600), ("cpe-1", "", NOW), ("cpe-1", text[:-1], NOW), ("cpe-1", text + "x", NOW),
            ("cpe-2", text, NOW), ("cpe-2", "", NOW), ("", text, NOW),
        ):  # fmt: skip
            assert not await good(store, router, word, "aa", at), (router, word, at)
        assert not await register.note(store, made("1", key="aa"), "another")
        assert await register.note(store, made("1", key="aa"), text)
        assert await good(store, "cpe-1", text, "aa", NOW)  # its answer may have been lost
        assert not await good(store, "cpe-1", text, "bb", NOW)
        assert not await register.note(store, made("2", key="bb"), text)
        assert await register.note(store, made("3", key="aa"), text)
        # A later one takes its place.
        later = await register.make_token(store, "cpe-1", 72, NOW, ROOT)
        assert not await good(store, "cpe-1", text, "aa", NOW)
        assert await good(store, "cpe-1", later, "bb", NOW)
        # None is kept as it is.
        rows = await store.read("SELECT * FROM enrol_token")
        assert later not in str(rows)
        await register.revoke(store, "cpe-1", "", NOW, ROOT)
        assert not await good(store, "cpe-1", later, "bb", NOW)
        with pytest.raises(RegisterError, match="router cpe-1 is revoked"):
            await register.make_token(store, "cpe-1", 72, NOW, ROOT)

    with_store(work)


def test_a_key_belongs_to_one_router(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await register.load(store, [("cpe-1", "factory"), ("cpe-2", "")], NOW, ROOT)
        await register.note(store, made("1", key="aa"))
        assert not await register.other_owner(store, "aa", "cpe-1")
        assert await register.other_owner(store, "aa", "cpe-2")
        # A factory key is never that of a certificate, not even its own router's.
        assert await register.other_owner(store, "factory", "cpe-1")
        assert await register.other_owner(store, "factory", "cpe-2")
        assert not await register.other_owner(store, "bb", "cpe-2")

    with_store(work)


def test_what_is_old_is_forgotten(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await register.load(store, [("cpe-1", "")], NOW, ROOT)
        await register.note(store, made("1", ends=NOW - 401 * DAY))
        await register.note(store, made("2", ends=NOW - 399 * DAY))
        await register.make_token(store, "cpe-1", 1, NOW - 2 * DAY, ROOT)
        await register.make_token(store, "cpe-2", 1, NOW, ROOT)
        await register.use_nonce(store, "old", NOW - 1000, NOW - 500)
        await register.use_nonce(store, "new", NOW - 1000, NOW + 500)
        assert await register.forget(store, NOW) == 3
        assert await register.forget(store, NOW) == 0
        assert [row["serial"] for row in await register.listed(store, "")] == ["2"]
        assert [row["router"] for row in await store.read("SELECT router FROM enrol_token")] == ["cpe-2"]
        assert await store.read("SELECT nonce FROM enrol_nonce") == [{"nonce": "new"}]
        assert (await register.known(store, "cpe-1")) == ("", "allowed")

    with_store(work)


def test_all_processes_make_nonces_by_one_secret(opener: Opener) -> None:
    """Also one that starts after the server's key was renewed."""

    async def work() -> None:
        stores = [opener() for _ in range(3)]
        for store in stores:
            await store.open()
        try:
            found = await asyncio.gather(*(register.nonce_secret(store) for store in stores))
            assert len(set(found)) == 1
            assert len(found[0]) == 32
        finally:
            for store in stores:
                await store.close()

    asyncio.run(work())


def test_routers_by_their_last_certificate(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        assert await register.standing(store, NOW) == {"valid": 0, "late": 0, "expired": 0}
        lives = {  # begins, ends: days from now
            "valid": [(-10, 80)],
            "due and not late": [(-74, 16)],
            "late": [(-76, 14)],
            "late and renewed": [(-76, 14), (-1, 89)],
            "expired": [(-91, -1)],
            "expired and renewed": [(-91, -1), (-2, 88)],
            "gone": [(-130, -31)],
            "revoked": [(-10, 80)],
            "one revoked": [(-76, 14), (-1, 89)],
        }
        await register.load(store, [(router, "") for router in [*lives, "never"]], NOW, ROOT)
        for router, dates in lives.items():
            for n, (begins, ends) in enumerate(dates):
                row = made(f"{router}{n}", router, ends=NOW + ends * DAY, at=NOW + begins * DAY)
                assert await register.note(store, row)
        await register.revoke(store, "revoked", "", NOW, ROOT)
        serial = "UPDATE enrol_certificate SET revoked_at = 1 WHERE serial = :serial"
        await store.write([(serial, {"serial": "one revoked1"})])
        assert await register.standing(store, NOW) == {"valid": 4, "late": 2, "expired": 1}

    with_store(work)


def test_many_routers_are_imported_at_once(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        count = 2 * register._BATCH + 7
        rows = ((f"cpe-{n}", f"{n:064x}") for n in range(count))
        assert await register.load(store, rows, NOW, ROOT) == count
        assert (await store.read("SELECT COUNT(*) AS n FROM enrol_router"))[0]["n"] == count
        line = (await audit.listed(store, audit.Filter()))[0][0]
        assert (line["what"], line["reason"]) == ("routers", f"{count} routers imported")

    with_store(work)


def test_names_are_values_and_never_sql(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        name = "x'; DELETE FROM enrol_router; --"
        await register.load(store, [("cpe-1", ""), (name, "%s :name")], NOW, ROOT)
        assert await register.known(store, name) == ("%s :name", "allowed")
        assert await register.known(store, "cpe-1") is not None

    with_store(work)
