"""What the collector's processes do on their own, apart from listening."""

from __future__ import annotations

import json
import time

from cpe_filter.collect import service
from cpe_filter.collect.api import once, versions
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.store.base import Store
from tests.collect.desks import WithStore

DAY = 86_400


def test_retention_has_the_api_s_tables(with_store: WithStore) -> None:
    """No other request of the API is needed."""

    async def work(store: Store) -> None:
        now = int(time.time())
        for key in ("old", "new"):
            await once.begin(store, "t", key, "d", now - 60)
            await store.write([("UPDATE api_request SET status = 200, body = :body WHERE key = :key",
                                {"key": key, "body": json.dumps({"subscriber": "S1"})})])  # fmt: skip
        await store.write([("UPDATE api_request SET at = :at WHERE key = 'old'", {"at": now - DAY - 60})])
        await versions.claim(store, "case", "version", now - DAY)
        assert (await service.retain_once(store, Config()))["api"] == 2
        assert [row["key"] for row in await store.read("SELECT key FROM api_request")] == ["new"]

    with_store(work)
