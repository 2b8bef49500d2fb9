"""Work in rounds, as long as the collector runs.

Knows the store's failures. Must not know what a round does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cpe_filter.collect.store.base import StoreError


async def repeat(step: Callable[[], Awaitable[object]], every_s: float, log: logging.Logger, what: str) -> None:
    """Does a step every so many seconds, until it is cancelled. What fails is logged as `what`, and tried again."""
    while True:
        try:
            await step()
        except StoreError as error:
            log.error(what, extra={"fields": {"why": str(error)}})
        except Exception:  # a bug here must not keep routers from reporting
            log.exception("%s failed", what)
        await asyncio.sleep(every_s)
