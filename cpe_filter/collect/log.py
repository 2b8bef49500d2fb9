"""Log lines as JSON objects on stderr: `{"time","level","event",...}`, and the caller's `fields`: no secrets.

Knows the form of a line. Must not know what is logged.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

#: Lines about one refusal or failure (event and reason) in a minute: every client that can connect causes them.
MAX_PER_MINUTE = 300


class Lines(logging.Formatter):
    """One JSON object a line; no content can begin another line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Sparing(logging.Filter):
    """Limits the lines about one event and reason in a minute; the next line says how many were left out.

    Events and reasons are texts of this program, so there are few.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        fields: dict[str, Any] = getattr(record, "fields", {})
        if record.levelno < logging.WARNING and "reason" not in fields:
            return True  # an action, not a refusal
        thing = record.getMessage(), str(fields.get("reason", ""))
        began, count = self._seen.get(thing, (float("-inf"), 0))
        if self._clock() - began >= 60:
            if count > MAX_PER_MINUTE:
                record.fields = {**fields, "left_out": count - MAX_PER_MINUTE}
            began, count = self._clock(), 0
        self._seen[thing] = began, count + 1
        return count < MAX_PER_MINUTE


def set_up(level: str) -> None:
    """level: debug, info, warning or error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    handler.addFilter(Sparing())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("uvicorn.error", "nats"):  # they log details of clients; what matters is logged here
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("uvicorn.access").disabled = True
