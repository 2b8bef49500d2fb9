"""Incidents of cases -> files: XARF, IntelMQ, CSV. `cpe-filter collector --config F export ...`

Knows files and marks. Must not know how a format is laid out. A file is complete or absent. Under a mark each incident
is exported once: first a batch is recorded in the store with its number, then its files are written (the batch
determines their names and the ids in them), then it is marked as done. The next run finishes a batch that was
interrupted, with the same files.

An incident without a public address or a plausible time is held back and counted by its reason. It is exported when it
has both.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from cpe_filter.collect.cases.attribution import HELD, Held
from cpe_filter.collect.export import csv as csv_export
from cpe_filter.collect.export import intelmq as intelmq_export
from cpe_filter.collect.export.export_rows import ExportRow, Selection, export_rows
from cpe_filter.collect.export.xarf import Reporter
from cpe_filter.collect.export.xarf import report as xarf_report
from cpe_filter.collect.store import lease
from cpe_filter.collect.store.base import Statement, Store
from cpe_filter.collect.subscribers.map import Subscribers
from cpe_filter.lean.atomic_file import AtomicFile

#: Incidents in one batch.
BATCH = 1000
#: For one batch; a run that dies delays the next one no longer than this.
_LEASE_S = 300
_MARK = re.compile(r"[0-9A-Za-z._-]{1,64}")


class ExportError(Exception):
    """The text says why, in one line."""


@dataclass(slots=True)
class Done:
    """exported: how many; held: reason -> how many; files: how many were written."""

    exported: int = 0
    files: int = 0
    held: Counter[str] = field(default_factory=Counter)


#: An incident as text of the format, one line or more; or why it is held back.
Render = Callable[[ExportRow], "str | Held"]


def renderer(kind: str, reporter: Reporter) -> Render:
    """kind: of `arguments.KINDS`. Raises `ExportError` if the configuration does not name the reporter."""
    if kind == "xarf":
        if not (reporter.org and reporter.contact and reporter.domain):
            raise ExportError("XARF needs [export] org, contact and domain")
        return lambda item: _line(xarf_report(item, reporter))
    if kind == "intelmq":
        return lambda item: _line(intelmq_export.event(item, reporter.org))
    return lambda item: csv_export.text([item], header=False)


def _line(made: dict[str, object] | Held) -> str | Held:
    return made if isinstance(made, Held) else json.dumps(made, separators=(",", ":")) + "\n"


async def once(
    store: Store,
    subscribers: Subscribers,
    kind: str,
    render: Render,
    selection: Selection,
    output: str | None,
    now: int,
) -> Done:
    """Exports the whole selection. output: a folder, a file, None for stdout. Raises `ExportError`, `StoreError`."""
    done = Done()
    made = [pair async for pair in _rendered(export_rows(store, subscribers, selection, now), render, done)]
    if _is_folder(output) and output:
        _write_folder(output, kind, made, "all", done)
    elif output is not None:
        _write(output, _content(kind, made))
        done.files = 1
    else:
        sys.stdout.write(_content(kind, made))
        sys.stdout.flush()
    done.exported = len(made)
    return done


async def under(
    store: Store,
    subscribers: Subscribers,
    kind: str,
    render: Render,
    selection: Selection,
    output: str | None,
    name: str,
    now: int,
) -> Done:
    """Exports what has not been exported under this mark. output: a folder. Raises as `once`."""
    if not _MARK.fullmatch(name):
        raise ExportError("a mark has 1 to 64 letters, digits and . _ -")
    if output is None or not _is_folder(output):
        raise ExportError("a mark needs --output with a folder: a file could be overwritten before it is read")
    mark = f"{kind}/{name}"
    job = f"export {mark}"
    if not await lease.take(store, job, int(time.time()), _LEASE_S):
        raise ExportError(f"another export under mark {name} is running; if it has died, wait {_LEASE_S} s")
    done = Done()
    try:
        for row in await store.read(
            "SELECT DISTINCT batch FROM desk_export WHERE mark = :mark AND done = 0 ORDER BY batch", mark=mark
        ):
            again = export_rows(store, subscribers, Selection(under=mark, batch=row["batch"]), now)
            made = [pair async for pair in _rendered(again, render, Done())]
            await _finish(store, output, kind, mark, row["batch"], made, done)
        new = export_rows(store, subscribers, Selection(selection.since, selection.case, not_under=mark), now)
        async for made in _batches(_rendered(new, render, done)):
            if not await lease.take(store, job, int(time.time()), _LEASE_S):
                raise ExportError(f"export under mark {name} took so long that another one has started")
            number = await _plan(store, mark, made)
            await _finish(store, output, kind, mark, number, made, done)
        await store.write([_held(kind, reason, done.held[reason]) for reason in HELD])
    finally:
        with contextlib.suppress(Exception):
            await lease.give(store, job)
    return done


Made = tuple[ExportRow, str]


async def _rendered(found: AsyncIterator[ExportRow], render: Render, done: Done) -> AsyncIterator[Made]:
    async for item in found:
        text = render(item)
        if isinstance(text, Held):
            done.held[text.why] += 1
        else:
            yield item, text


async def _batches(made: AsyncIterator[Made]) -> AsyncIterator[list[Made]]:
    batch: list[Made] = []
    async for one in made:
        batch.append(one)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _plan(store: Store, mark: str, made: list[Made]) -> int:
    """Records what is in the next batch: its number."""
    rows = await store.read("SELECT COALESCE(MAX(batch), 0) AS last FROM desk_export WHERE mark = :mark", mark=mark)
    number = int(rows[0]["last"]) + 1
    at = int(time.time())
    await store.write(
        [
            (_EXPORT, {"mark": mark, "router": item.case.router, "incident": item.incident["id"], "batch": number,
                       "at": at})
            for item, _ in made
        ]
    )  # fmt: skip
    return number


async def _finish(store: Store, output: str, kind: str, mark: str, number: int, made: list[Made], done: Done) -> None:
    await asyncio.to_thread(_write_folder, output, kind, made, f"{mark.partition('/')[2]}-{number:08d}", done)
    out: list[Statement] = [
        ("UPDATE desk_export SET done = 1 WHERE mark = :mark AND batch = :batch", {"mark": mark, "batch": number})
    ]
    await store.write(out)
    done.exported += len(made)


_EXPORT = """
INSERT INTO desk_export (mark, router, incident, batch, done, at) VALUES (:mark, :router, :incident, :batch, 0, :at)
"""


def _held(kind: str, reason: str, count: int) -> Statement:
    """For /metrics: how many incidents the last run under a mark held back."""
    return (
        "INSERT INTO desk_mark (name, value, holder) VALUES (:name, :value, '')"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        {"name": f"held {kind} {reason}", "value": count},
    )


# ── files ───────────────────────────────────────────────────────────────────────────────────────


def _is_folder(output: str | None) -> bool:
    return output is not None and os.path.isdir(output)


def _content(kind: str, made: list[Made]) -> str:
    head = csv_export.text([]) if kind == "csv" else ""
    return head + "".join(text for _, text in made)


def _write_folder(folder: str, kind: str, made: list[Made], name: str, done: Done) -> None:
    """XARF: one file for each report, as its readers expect; other formats: one for all."""
    if kind == "xarf":
        for _, text in made:
            _write(os.path.join(folder, f"{json.loads(text)['report_id']}.json"), text)
            done.files += 1
    elif made:
        ending = "csv" if kind == "csv" else "jsonl"
        _write(os.path.join(folder, f"{kind}-{name}.{ending}"), _content(kind, made))
        done.files += 1


def _write(path: str, text: str) -> None:
    """A complete file or none. For its owner and group: it is about subscribers."""
    # Readers of folders ignore names that begin with a dot.
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.new")
    try:
        file = AtomicFile(path, 0o640, temporary, masked=True)
        file.write(text.encode())
        file.finish(durable=True)
    except OSError as error:
        raise ExportError(f"{path}: {error.strerror}") from None
