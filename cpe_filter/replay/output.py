"""The forms in which results leave: text, JSON, CSV, or nothing but the page.

Knows the object of `replay --json` and standard output. Must not judge.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from cpe_filter.replay import color, text
from cpe_filter.replay.spreadsheet import inert
from cpe_filter.replay.timeline import Timeline

FORMATS = ("table", "json", "csv", "html")


class Output:
    """Takes the results one by one. This one writes nothing: the page takes them, too."""

    as_json = False

    def add(self, result: dict[str, Any], timeline: Timeline) -> None:
        """A capture's result."""

    def write(self, line: str) -> None:
        print(line)


class _Text(Output):
    def __init__(self, timeline: bool, paint: color.Paint) -> None:
        self._timeline, self._paint = timeline, paint
        self._begun = False

    def add(self, result: dict[str, Any], timeline: Timeline) -> None:
        if self._begun:
            self.write("")
        self._begun = True
        text.show(result, self.write, timeline if self._timeline else None, sys.stdout.encoding, self._paint)


class _Json(Output):
    as_json = True

    def add(self, result: dict[str, Any], timeline: Timeline) -> None:
        self.write(json.dumps(result, ensure_ascii=False))


_COUNTS = ("connections", "sessions", "networks", "messages", "recipients", "mx_queries")
_STANDINGS = ("unusual_at", "suspected_at", "compromised_at")
#: What a device has to say; and its sessions.
DEVICE_COLUMNS = (
    "capture", "complete", "device", "name", "addresses", "standing", "score", "threshold", *_COUNTS,
    "first_seen", "last_seen", *_STANDINGS, "evidence",
)  # fmt: skip
SESSION_COLUMNS = (
    "capture", "complete", "device", "start", "client", "client_port", "server", "server_port", "helo", "tls",
    "mail_from", "rcpt_to", "outcome", "transactions", "last_reply", "violations", "decision", "reason",
)  # fmt: skip


class _Csv(Output):
    """A row for each device, or for each session. A capture without any has a row of its own: it was looked at."""

    def __init__(self, sessions: bool) -> None:
        self._sessions = sessions
        self._begun = False

    def add(self, result: dict[str, Any], timeline: Timeline) -> None:
        columns = SESSION_COLUMNS if self._sessions else DEVICE_COLUMNS
        rows = (
            [_session(item) for item in result["sessions"]]
            if self._sessions
            else [_device(item) for item in result["devices"]]
        )
        same = [result["capture"], "yes" if result["accounting"]["complete"] else "no"]
        lines = [same + row for row in rows] or [same + [""] * (len(columns) - 2)]
        self._write([*([] if self._begun else [columns]), *lines])
        self._begun = True

    def _write(self, rows: Sequence[Sequence[Any]]) -> None:
        import csv
        import io

        out = io.StringIO()
        csv.writer(out, lineterminator="\r\n").writerows([[inert(cell) for cell in row] for row in rows])
        sys.stdout.write(out.getvalue())


def _device(device: dict[str, Any]) -> list[Any]:
    evidence = " ".join(f"{item['indicator']}:{item['count']}" for item in device["evidence"])
    moments = [device[key] for key in _STANDINGS]
    return [
        device["device"], device.get("name"), " ".join(device["addresses"]), device["standing"], device["score"],
        device["threshold"], *(device[key] for key in _COUNTS), _time(device["first_seen"]), _time(device["last_seen"]),
        *(_time(moment["time"] if moment else None) for moment in moments), evidence,
    ]  # fmt: skip


def _session(session: dict[str, Any]) -> list[Any]:
    first = session["transactions"][0] if session["transactions"] else {}
    return [
        session["device"], _time(session["start"]), session["client"], session["client_port"], session["server"],
        session["server_port"], session["helo"], "yes" if session["tls"] else "no", first.get("mail_from"),
        " ".join(first.get("rcpt_to", ())), first.get("outcome"), len(session["transactions"]), session["last_reply"],
        " ".join(session["violations"]), session["decision"], session["reason"],
    ]  # fmt: skip


def _time(seconds: float | None) -> str | None:
    """UTC, as spreadsheets and RFC 3339 have it."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return "?"


def make_output(form: str, timeline: bool, sessions: bool, colors: str) -> Output:
    """form: one of `FORMATS`. colors: auto, always or never."""
    if form == "json":
        return _Json()
    if form == "csv":
        return _Csv(sessions)
    if form == "html":
        return Output()
    return _Text(timeline, color.Paint(color.enabled(colors, sys.stdout.isatty(), os.environ)))
