"""`cpe-filter collector`, the tasks that end: export xarf|intelmq|csv, rebuild, webhook list|retry,
notice --case ID, bounce, calibrate, audit, erase SUBSCRIBER, token create|list|revoke, enrol,
routers import|list|revoke|allow.

Knows the options of the command line. Must not do a task's work. Messages go to stderr; stdout has only the output of
the task.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timezone

from cpe_filter.collect.api import tokens
from cpe_filter.collect.cases import calibration, erasure, notice, query, queue, rates, worker
from cpe_filter.collect.cases.model import CaseError
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.enrol import desk
from cpe_filter.collect.export import exports
from cpe_filter.collect.export.export_rows import Selection
from cpe_filter.collect.export.exports import ExportError
from cpe_filter.collect.export.xarf import Reporter
from cpe_filter.collect.mail import bounce
from cpe_filter.collect.mail import setup as mail
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from cpe_filter.detect.evidence import INDICATORS

WORK = (
    "export", "rebuild", "webhook", "notice", "bounce", "calibrate", "audit", "erase", "token", "enrol", "routers"
)  # fmt: skip


class BadArgumentsError(Exception):
    """Arguments that do not go together. One line."""


@dataclass(frozen=True, slots=True)
class Options:
    """of: what to export, what to do with given-up events or tokens, a trial's folder, or a subscriber. The rest as on
    the command line."""

    of: str | None = None
    since: str | None = None
    case: str | None = None
    output: str | None = None
    relaxing: str | None = None
    mark: str | None = None
    language: str | None = None
    format: str | None = None
    host: str | None = None
    name: str | None = None
    role: str | None = None
    expires: str | None = None
    reason: str | None = None
    yes: str | None = None


async def run(config: Config, store: Store, work: str, options: Options) -> None:
    """Does the task. Raises `BadArgumentsError`, `worker.SetupError`, `StoreError`."""
    now = int(time.time())
    if work == "webhook":
        await _webhook(store, options, now)
    elif work == "notice":
        await _notice(config, store, options)
    elif work == "bounce":
        await _bounce(config, store, now)
    elif work == "calibrate":
        await _calibrate(store, options)
    elif work == "audit":
        await _audit(store, options)
    elif work == "erase":
        await _erase(config, store, options, now)
    elif work == "token":
        await _token(store, options, now)
    elif work in ("enrol", "routers"):
        await _routers(config, store, work, options, now)
    elif work == "rebuild":
        async with worker.subscriber_map(config) as subscribers:
            updater = await worker.updater(config, store, subscribers, now)
            count = await updater.rebuild(now) + await updater.remap(now)
        await _record(store, "rebuild", now)
        _report(f"rebuilt the cases of {count} devices")
    else:
        await _export(config, store, options, now)


async def _export(config: Config, store: Store, options: Options, now: int) -> None:
    async with worker.subscriber_map(config) as subscribers:
        updater = await worker.updater(config, store, subscribers, now)
        await updater.catch_up(now)
        selection = Selection(None if options.since is None else moment(options.since), options.case)
        kind = options.of or ""
        try:
            render = exports.renderer(kind, _reporter(config))
            if options.mark is None:
                done = await exports.once(store, subscribers, kind, render, selection, options.output, now)
            else:
                output, mark = options.output, options.mark
                done = await exports.under(store, subscribers, kind, render, selection, output, mark, now)
        except (ExportError, CaseError) as error:
            raise BadArgumentsError(str(error)) from None
    under = f" under mark {options.mark}" if options.mark else ""
    await _record(store, "export", now, f"{kind}{under}, {done.exported} incidents", options.case or "")
    held = ", ".join(f"{why} {count}" for why, count in sorted(done.held.items()))
    what = "incident" if done.exported == 1 else "incidents"
    _report(f"{done.exported} {what} exported" + (f"; held back: {held}" if held else ""))


async def _record(store: Store, what: str, now: int, reason: str = "", case: str = "") -> None:
    """What a command did, for the audit log."""
    await audit.record(store, audit.By(audit.os_user(), audit.COMMAND), what, case, reason, now)


def _reporter(config: Config) -> Reporter:
    export = config.export
    confidence = export.confidence_percent / 100 if export.confidence_percent else None
    return Reporter(export.org, export.contact, export.domain, confidence)


async def _webhook(store: Store, options: Options, now: int) -> None:
    if options.of == "retry":
        count = await queue.requeue(store, now)
        await _record(store, "webhook-retry", now, f"{count} events")
        _report(f"{count} events requeued")
        return
    for row in await queue.read_given_up(store):
        print(json.dumps(row))


async def _notice(config: Config, store: Store, options: Options) -> None:
    """To stdout; nothing is sent, and the case stays as it is."""
    found = await query.detail(store, options.case or "")
    if found is None:
        raise BadArgumentsError(f"no case {(options.case or '')[:40]!a}")
    case = found.case
    terms = worker.notice_terms(config)
    if options.language is not None:
        terms = terms._replace(language=options.language)
    try:
        made = notice.notice(notice.facts_of(found), terms)
    except notice.NoNoticeError as error:
        raise BadArgumentsError(str(error)) from None
    if options.format == "json":
        content = {"case": case.id, "subscriber": case.subscriber, "contact": case.contact, **made.plain()}
        print(json.dumps(content, ensure_ascii=False))
        return
    sys.stdout.buffer.write(notice.message(made))
    sys.stdout.buffer.flush()


async def _bounce(config: Config, store: Store, now: int) -> None:
    """One message on stdin. Whatever it is, it is dealt with: a mail system must not return it."""
    if not config.mail.bounce_address:
        raise BadArgumentsError("collector bounce needs [mail] bounce_address, which is empty")
    key = mail.bounce_key(config)
    raw = sys.stdin.buffer.read(bounce.MAX_MESSAGE)
    while sys.stdin.buffer.read(1 << 16):  # a writer would get SIGPIPE
        pass
    await bounce.apply(store, bounce.read(raw, config.mail.bounce_address, key), None, now)


async def _calibrate(store: Store, options: Options) -> None:
    """Rates to stdout; the proposed table into the file of --output, with its digest; what of it a signed document can
    bring into that of --relaxing."""
    cases = await calibration.labelled(store)
    for line in calibration.lines(cases):
        print(line)
    proposed = calibration.propose(cases)
    text = rates.encode(proposed)
    for name, row in proposed.items():
        print(f"proposed: {name}: {INDICATORS[name].bot:.4f} -> {row.bot:.4f}")
    print(f"proposed table: {len(proposed)} rows, SHA-256 {rates.digest(text)}")
    if options.output is not None:
        _leave(options.output, text)
    relaxing = rates.relaxing(proposed)
    print(f"of these as a signed table: {len(relaxing)} rows, their wider bounds")
    if options.relaxing is not None:
        _leave(options.relaxing, rates.encode(relaxing))


async def _audit(store: Store, options: Options) -> None:
    """The lines to stdout, and whether they are as they were written."""
    async for row in audit.lines(store, moment(options.since) if options.since is not None else 0):
        print(json.dumps({**row, "at": _time(row["at"])}))
    found = await audit.verify(store)
    if isinstance(found, audit.Broken):
        raise BadArgumentsError(
            f"audit log: line {found.n} does not follow the line before it; a line was changed, inserted or removed"
        )
    number, chain = await audit.head(store)
    _report(f"{found} lines; each follows the one before. The last is {number}, with chain {chain}")


async def _erase(config: Config, store: Store, options: Options, now: int) -> None:
    """Without --yes it only counts."""
    subscriber = options.of or ""
    async with worker.subscriber_map(config) as subscribers:
        await (await worker.updater(config, store, subscribers, now)).catch_up(now)
    if options.yes is None:
        done, verb = await erasure.found(store, subscriber), "would be deleted; --yes deletes them"
    else:
        by = audit.By(audit.os_user(), audit.COMMAND)
        done, verb = await erasure.erase(store, subscriber, by, now), "deleted"
    if not done.cases:
        raise BadArgumentsError(f"no case of subscriber {subscriber[:80]!a}")
    for table, count in done.rows.items():
        print(f"{table}: {count}")
    _report(f"{done.cases} cases of subscriber {subscriber} {verb}")


async def _token(store: Store, options: Options, now: int) -> None:
    """create: the token to stdout, once. list: a JSON object a line."""
    name, by = options.name or "", audit.By(audit.os_user(), audit.COMMAND)
    try:
        if options.of == "create":
            text = await tokens.create(store, name, options.role or "", int(options.expires or "0"), now, by)
            print(text)
            _report(f"token {name} created; it is shown only once")
        elif options.of == "revoke":
            ended = await tokens.revoke(store, name, now, by)
            _report(f"token {name} revoked" if ended else f"token {name} had been revoked before")
        else:
            for row in await tokens.listed(store):
                times = {key: None if row[key] is None else _time(row[key]) for key in row if key.endswith("_at")}
                print(json.dumps({**row, **times, "state": tokens.state(row, now)}))
    except tokens.TokenError as error:
        raise BadArgumentsError(str(error)) from None


async def _routers(config: Config, store: Store, work: str, options: Options, now: int) -> None:
    try:
        if work == "enrol":
            await desk.enrol(config, store, options.of or "", options.output, now)
        else:
            await desk.routers(store, options.of or "", options.name or "", options.reason or "", now)
    except desk.EnrolError as error:
        raise BadArgumentsError(str(error)) from None


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _leave(path: str, text: bytes) -> None:
    """Writes a new file; an old table may be in use."""
    try:
        with open(path, "xb") as file:
            file.write(text)
    except OSError as error:
        raise BadArgumentsError(f"--output {path}: {error.strerror}") from None


def moment(text: str) -> int:
    """`2026-11-24` (UTC) or `2026-11-24T12:00:00Z` -> POSIX seconds. Raises `BadArgumentsError`."""
    try:
        # Python 3.10 does not know Z.
        found = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
    except ValueError:
        raise BadArgumentsError(f"--since is {text[:40]!a}; expected 2026-11-24 or 2026-11-24T12:00:00Z") from None
    if found.tzinfo is None:
        if len(text) > 10:
            raise BadArgumentsError("--since has no time zone; Z means UTC")
        found = found.replace(tzinfo=timezone.utc)
    return int(found.timestamp())


def _report(text: str) -> None:
    print(text, file=sys.stderr)
