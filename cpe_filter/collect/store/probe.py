"""Whether a store takes what is written: by writing. Knows the table desk_mark. Must not know who asks.

A store that can be read may be full, read-only or a standby: only a commit shows it.
"""

from __future__ import annotations

import time

from cpe_filter.collect.store.base import Store

_WRITE = """
INSERT INTO desk_mark (name, value, holder) VALUES ('probe', :now, '')
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""


async def write(store: Store) -> None:
    """Commits one row. Raises `StoreError`."""
    await store.write([(_WRITE, {"now": int(time.time())})])
