"""Filters that people save: theirs and shared ones, bounded. On both engines."""

from __future__ import annotations

import pytest

from cpe_filter.collect.cases import saved
from cpe_filter.collect.cases.saved import MAX_NAME, MAX_OWN, MAX_QUERY, MAX_SHARED, SavedError
from cpe_filter.collect.store.base import Store
from tests.collect.desks import WithStore
from tests.collect.reports import NOW


def test_own_and_shared(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await saved.save(store, "anna", "  North,\n to do ", "region=north", False, NOW)
        await saved.save(store, "bob", "Relapsed", "need=relapsed", True, NOW)
        await saved.save(store, "bob", "Mine", "assigned=me", False, NOW)
        await saved.save(store, "anna", "North, to do", "region=north&state=open", False, NOW + 1)  # the same name
        hers = await saved.listed(store, "anna")
        assert [(one.name, one.owner, one.query, one.made_by) for one in hers] == [
            ("North, to do", "anna", "region=north&state=open", "anna"),
            ("Relapsed", "", "need=relapsed", "bob"),
        ]
        assert not await saved.delete(store, "bob", hers[0].id)
        assert await saved.delete(store, "anna", hers[0].id)
        assert not await saved.delete(store, "anna", hers[0].id)
        assert await saved.delete(store, "anna", hers[1].id)
        assert [one.name for one in await saved.listed(store, "bob")] == ["Mine"]

    with_store(work)


@pytest.mark.parametrize("name", ["", "  ", "x" * (MAX_NAME + 1), "a\0b", "a\u202eb"])
def test_names_that_are_none(with_store: WithStore, name: str) -> None:
    async def work(store: Store) -> None:
        with pytest.raises(SavedError, match="1 to 60 printable characters"):
            await saved.save(store, "anna", name, "", False, NOW)

    with_store(work)


def test_how_many_and_how_long(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        with pytest.raises(SavedError, match="too long"):
            await saved.save(store, "anna", "long", "x" * (MAX_QUERY + 1), False, NOW)
        for shared, most in ((False, MAX_OWN), (True, MAX_SHARED)):
            for number in range(most):
                await saved.save(store, "anna", f"n{number}", "x" * MAX_QUERY, shared, NOW)
            with pytest.raises(SavedError, match=f"{most}"):
                await saved.save(store, "anna", "one more", "", shared, NOW)
            await saved.save(store, "anna", "n0", "replaced", shared, NOW)  # no more than before
        assert len(await saved.listed(store, "anna")) == MAX_OWN + MAX_SHARED
        await saved.save(store, "bob", "his", "", False, NOW)

    with_store(work)
