"""Headers of every answer of a listener for people and programs: the fleet page, the API.

Knows ASGI. Must not know which headers, or who counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import MutableHeaders

_SECURE = {"strict-transport-security": "max-age=31536000"}


class WithHeaders:
    """Wraps an application: sets these headers of every answer; secure: also that browsers use TLS alone.

    defaults: headers of answers that have none of that name. count: called with the status of each answer.
    """

    def __init__(
        self,
        app: Any,
        headers: Mapping[str, str],
        count: Callable[[int], None],
        secure: bool,
        defaults: Mapping[str, str] | None = None,
    ) -> None:
        self._app, self._count, self._defaults = app, count, defaults or {}
        self._headers = {**headers, **(_SECURE if secure else {})}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                for name, value in self._defaults.items():
                    headers.setdefault(name, value)
                self._count(message["status"])
            await send(message)

        await self._app(scope, receive, with_headers)
