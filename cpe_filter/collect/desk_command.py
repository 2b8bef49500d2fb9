"""`cpe-filter collector --config F`: export xarf|intelmq|csv, rebuild, webhook list|retry, notice --case ID. Each does
its work and ends.

Knows the command line's words. What it says goes to stderr; stdout is for what was asked for.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timezone

from cpe_filter.collect.cases import cases, notice, webhook
from cpe_filter.collect.cases import worker as desk
from cpe_filter.collect.cases.cases import CaseError
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.export import exports
from cpe_filter.collect.export.export_rows import Want
from cpe_filter.collect.export.exports import CannotExport
from cpe_filter.collect.store.base import Store
from cpe_filter.texts.notice import LANGUAGES

WORK = ("export", "rebuild", "webhook", "notice")
#: Options, and what takes them.
_TAKEN = {"since": ("export",), "case": ("export", "notice"), "output": ("export",), "mark": ("export",),
          "language": ("notice",), "format": ("notice",)}  # fmt: skip
FORMATS = ("mail", "json")


class WrongWords(Exception):
    """A command line that cannot be followed. One line."""


@dataclass(frozen=True, slots=True)
class Asked:
    """of: what to export, or what to do with the webhook's events. The rest as on the command line."""

    of: str | None = None
    since: str | None = None
    case: str | None = None
    output: str | None = None
    mark: str | None = None
    language: str | None = None
    format: str | None = None


def check(work: str, asked: Asked) -> None:
    """Whether these words go together. Raises `WrongWords`."""
    wanted = {"export": exports.KINDS, "webhook": ("list", "retry")}.get(work, ())
    if wanted and asked.of not in wanted:
        raise WrongWords(f"collector {work} needs one of {', '.join(wanted)}")
    if not wanted and asked.of is not None:
        raise WrongWords(f"collector {work} takes no further word, such as {asked.of[:40]!a}")
    for name, taken in _TAKEN.items():
        if work not in taken and getattr(asked, name) is not None:
            raise WrongWords(f"--{name} is for collector {' and '.join(taken)}")
    if work == "notice" and asked.case is None:
        raise WrongWords("collector notice needs --case with a case's id")
    for name, known in (("language", LANGUAGES), ("format", FORMATS)):
        value = getattr(asked, name)
        if value is not None and value not in known:
            raise WrongWords(f"--{name} is {value[:40]!a}; allowed: {', '.join(known)}")
    if asked.since is not None:
        moment(asked.since)


async def run(config: Config, store: Store, work: str, asked: Asked) -> None:
    """Does it. Raises `WrongWords`, `desk.WrongDesk`, `StoreError`."""
    now = int(time.time())
    if work == "webhook":
        await _webhook(store, asked, now)
        return
    if work == "notice":
        await _notice(config, store, asked)
        return
    async with desk.mapped(config) as whose:
        book = await desk.casebook(config, store, whose, now)
        if work == "rebuild":
            _say(f"{await book.rebuild(now) + await book.remap(now)} devices' cases built anew")
            return
        await book.catch_up(now)
        want = Want(None if asked.since is None else moment(asked.since), asked.case)
        kind = asked.of or ""
        try:
            render = exports.renderer(kind, desk.reporter(config))
            if asked.mark is None:
                done = await exports.once(store, whose, kind, render, want, asked.output, now)
            else:
                done = await exports.under(store, whose, kind, render, want, asked.output, asked.mark, now)
        except (CannotExport, CaseError) as error:
            raise WrongWords(str(error)) from None
    held = ", ".join(f"{why} {count}" for why, count in sorted(done.held.items()))
    what = "incident" if done.exported == 1 else "incidents"
    _say(f"{done.exported} {what} exported" + (f"; held back: {held}" if held else ""))


async def _webhook(store: Store, asked: Asked, now: int) -> None:
    if asked.of == "retry":
        _say(f"{await webhook.revive(store, now)} events wait again")
        return
    for row in await webhook.dead(store):
        print(json.dumps(row))


async def _notice(config: Config, store: Store, asked: Asked) -> None:
    """To stdout; nothing is sent, and the case stays as it is."""
    found = await cases.detail(store, asked.case or "")
    if found is None:
        raise WrongWords(f"no case {(asked.case or '')[:40]!a}")
    case = found.case
    terms = desk.terms_of_notice(config)
    if asked.language is not None:
        terms = terms._replace(language=asked.language)
    name = next((row["name"] for row in found.incidents if row["name"]), "")
    facts = notice.Facts(
        case.id, case.state, case.standing, case.act, case.oui, name, case.begun_at, case.last_at
    )  # fmt: skip
    try:
        made = notice.notice(facts, terms)
    except notice.NothingToTell as error:
        raise WrongWords(str(error)) from None
    if asked.format == "json":
        told = {"case": case.id, "subscriber": case.subscriber, "contact": case.contact, **made.plain()}
        print(json.dumps(told, ensure_ascii=False))
        return
    sys.stdout.buffer.write(notice.message(made))
    sys.stdout.buffer.flush()


def moment(text: str) -> int:
    """`2026-11-24` (UTC) or `2026-11-24T12:00:00Z` -> POSIX seconds. Raises `WrongWords`."""
    try:
        # Python 3.10 does not know Z.
        found = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
    except ValueError:
        raise WrongWords(f"--since is {text[:40]!a}; 2026-11-24 or 2026-11-24T12:00:00Z is wanted") from None
    if found.tzinfo is None:
        if len(text) > 10:
            raise WrongWords("--since has no zone; Z says UTC")
        found = found.replace(tzinfo=timezone.utc)
    return int(found.timestamp())


def _say(text: str) -> None:
    print(text, file=sys.stderr)
