"""Filters of the list of cases that people have saved by a name, for themselves or for all.

Knows the table desk_filter. Must not know HTTP, or what a filter means: it is a query as in the URL, which the list
reads again. Number and length are bounded.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from cpe_filter.collect.store.base import Store

#: Filters of one user, and those that all share.
MAX_OWN, MAX_SHARED = 30, 60
#: Characters.
MAX_NAME, MAX_QUERY = 60, 1000


class SavedError(Exception):
    """A filter that cannot be saved; a sentence without its full stop."""


class Saved(NamedTuple):
    """owner: "" where all users share it."""

    id: str
    owner: str
    name: str
    query: str
    made_by: str


async def listed(store: Store, person: str) -> list[Saved]:
    """Those of a person, then the shared ones, by name. Raises `StoreError`."""
    rows = await store.read(
        "SELECT id, owner, name, query, made_by FROM desk_filter WHERE owner IN ('', :person)"
        " ORDER BY CASE WHEN owner = '' THEN 1 ELSE 0 END, name, id",
        person=person,
    )
    return [Saved(row["id"], row["owner"], row["name"], row["query"], row["made_by"]) for row in rows]


async def save(store: Store, person: str, name: str, query: str, shared: bool, now: int) -> None:
    """Saves a filter; one of the same name is replaced. Raises `SavedError`, `StoreError`."""
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise SavedError(f"A name has 1 to {MAX_NAME} printable characters")
    if len(query) > MAX_QUERY:
        raise SavedError(f"This filter is too long to be saved; allowed: {MAX_QUERY} characters")
    values = {
        "id": secrets.token_hex(8),
        "owner": "" if shared else person,
        "name": name,
        "query": query,
        "now": now,
        "person": person,
        "most": MAX_SHARED if shared else MAX_OWN,
    }
    if not (await store.write([(_SAVE, values)]))[0]:
        whose = f"There are {MAX_SHARED} shared filters" if shared else f"You have {MAX_OWN} filters"
        raise SavedError(f"{whose}, as many as are allowed. Delete one first")


async def delete(store: Store, person: str, number: str) -> bool:
    """Deletes a filter of a person, or a shared one; False if there is none. Raises `StoreError`."""
    sql = "DELETE FROM desk_filter WHERE id = :id AND owner IN ('', :person)"
    return (await store.write([(sql, {"id": number, "person": person})]))[0] == 1


_SAVE = """
INSERT INTO desk_filter (id, owner, name, query, made_at, made_by)
SELECT :id, :owner, :name, :query, :now, :person
WHERE (SELECT COUNT(*) FROM desk_filter WHERE owner = :owner AND name <> :name) < :most
ON CONFLICT (owner, name) DO UPDATE SET query = excluded.query, made_at = excluded.made_at, made_by = excluded.made_by
"""
