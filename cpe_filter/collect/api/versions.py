"""ETag and If-Match (RFC 9110, section 13.1.1): two tools do not overwrite each other.

Knows the table api_claim. Must not know what a version is made of. Only one request may act on a version of a case: it
claims that version first, in whatever process it runs. A claim that led to nothing is given back, or lapses.
"""

from __future__ import annotations

import re

from cpe_filter.collect.api.problem import ProblemError
from cpe_filter.collect.store.base import Store

_STALE_S = 120
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
_MAX_TAGS = 8


def etag(version: str) -> str:
    return f'"{version}"'


def check(header: str | None, version: str) -> None:
    """Whether If-Match allows an act on this version. Raises `ProblemError`."""
    if header is None:
        raise ProblemError("version-required")
    if header.strip() == "*":
        return
    tags = [tag.strip() for tag in header.split(",")]
    if len(tags) > _MAX_TAGS or not all(_TAG.fullmatch(tag) for tag in tags):
        raise ProblemError("bad-request", "If-Match is not a list of ETags")
    # A weak tag never matches: comparison is strong.
    if etag(version) not in tags:
        raise ProblemError("stale-version")


async def claim(store: Store, case: str, version: str, now: int) -> None:
    """Raises `ProblemError` if another request acts on this version, and `StoreError`."""
    counts = await store.write(
        [(_FORGET, {"before": now - _STALE_S}), (_CLAIM, {"case": case, "version": version, "now": now})]
    )
    if counts[1] != 1:
        raise ProblemError("stale-version")


async def give_back(store: Store, case: str, version: str) -> None:
    """Nothing was done with a claim."""
    await store.write([("DELETE FROM api_claim WHERE case_id = :case AND version = :version",
                        {"case": case, "version": version})])  # fmt: skip


async def forget(store: Store, now: int) -> int:
    """Deletes claims that have lapsed, for retention: how many."""
    return (await store.write([(_FORGET, {"before": now - _STALE_S})]))[0]


_FORGET = "DELETE FROM api_claim WHERE at < :before"
_CLAIM = """
INSERT INTO api_claim (case_id, version, at) VALUES (:case, :version, :now) ON CONFLICT (case_id, version) DO NOTHING
"""
