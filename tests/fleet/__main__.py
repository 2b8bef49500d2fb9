"""`python -m tests.fleet [--routers N] [--seconds S]`: a collector with a fleet, to look at.

Makes a test authority and a certificate for each router, starts `cpe-filter collector` on SQLite with the fleet page,
reports some weeks of history to it, and goes on live until Ctrl-C. Everything is in one folder, deleted at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpe_filter.collect.cases import age_tables
from cpe_filter.collect.cases.update import CaseUpdater
from cpe_filter.collect.password import hashed
from cpe_filter.collect.store.sqlite import SQLite
from cpe_filter.collect.subscribers.file import File
from cpe_filter.collect.users import ADMIN, VIEWER
from tests.collect.ca import Authority
from tests.collect.running import Collector
from tests.fleet import documents, lives, people
from tests.fleet.senders import Counts, Sender, summary, tell_history
from tests.ports import free_port

_TELL_S = 15.0


class Fleet:
    """`with Fleet(folder, routers) as it:`: the collector and its page run; then `await it.history()`, `it.live()`."""

    def __init__(self, folder: Path, routers: int, port: int = 0, seed: int = 1) -> None:
        self.folder = folder
        self.lives = lives.fleet(routers, seed)
        self.authority = Authority(folder / "ca")
        self.map = folder / "subscribers.csv"
        people.write_map(self.map, self.lives)
        self.published = documents.publish(folder / "isp")
        self.port = port or free_port()
        #: name -> password.
        self.users = {"admin": secrets.token_urlsafe(9), "guest": secrets.token_urlsafe(9)}
        roles = {"admin": ADMIN, "guest": VIEWER}
        users = [f"{name}:{roles[name]}:{hashed(given)}" for name, given in self.users.items()]
        tables: dict[str, dict[str, Any]] = {
            "answer": {"policy_version": lives.POLICIES[0][0]},
            "subscribers": {"file": str(self.map)},
            "cases": {"every_s": 2},
            "provision": {"published": str(self.published)},
            "page": {"address": f"127.0.0.1:{self.port}", "users": users},
        }
        self.collector = Collector(folder, self.authority, "run", **tables)
        self.counts = Counts()
        self.senders: list[Sender] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> Fleet:
        self.collector.start()
        for number, life in enumerate(self.lives):
            context = self.authority.client_context(self.authority.router(life.router))
            self.senders.append(Sender(life, context, self.collector.port, self.counts, number))
        return self

    def __exit__(self, *_: object) -> None:
        self.collector.stop()

    async def history(self) -> None:
        """The weeks before now: reports by the routers, then what was done about the cases."""
        await tell_history(self.senders)
        store = SQLite(str(self.folder / "collector.db"))
        await store.open()
        try:
            now = int(time.time())
            subscribers = File(str(self.map))
            await subscribers.refresh(now)
            book = CaseUpdater(store, subscribers)
            await book.catch_up(now, full=True)
            await people.act(store, now)
            await documents.report(store, self.published, self.lives, now)
            await book.rebuild(now)
            await people.share_out(store, now)
            await age_tables.roll_up(store, now)
        finally:
            await store.close()

    async def live(self, seconds: float | None) -> None:
        """Lets the routers report, and says now and then what has come; until cancelled, or for so long."""
        tasks = [asyncio.create_task(sender.live()) for sender in self.senders]
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while end is None or time.monotonic() < end:
                before = replace(self.counts)
                left = _TELL_S if end is None else min(_TELL_S, max(0.0, end - time.monotonic()))
                await asyncio.sleep(left)
                say(summary(before, self.counts))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def say(text: str) -> None:
    print(text, flush=True)


async def _run(fleet: Fleet, seconds: float | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    work = asyncio.create_task(_show(fleet, seconds))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in (work, stopped):
        task.cancel()
    for result in await asyncio.gather(work, stopped, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def _show(fleet: Fleet, seconds: float | None) -> None:
    begun = time.monotonic()
    await fleet.history()
    counts = fleet.counts
    took = time.monotonic() - begun
    say(f"{lives.HISTORY_DAYS} days of history: {counts.reports} reports with {counts.events} events in {took:.1f} s")
    say("")
    say(f"  The fleet page: {fleet.url}")
    for name, given in fleet.users.items():
        say(f"  log in as {name} with {given}" + (" (looks only)" if name == "guest" else ""))
    say("")
    say("Routers report live now, each about once a minute. Ctrl-C ends it." if seconds is None else "Live now.")
    await fleet.live(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--routers", type=int, default=200, metavar="N", help="how many (default 200)")
    parser.add_argument("--seconds", type=float, default=None, metavar="S", help="live for so long, then end")
    parser.add_argument("--port", type=int, default=0, metavar="P", help="of the page (default: a free one)")
    options = parser.parse_args()
    if not 1 <= options.routers <= 5000:
        parser.error("--routers: 1 to 5000")
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        say(f"Making {options.routers} routers with their certificates, and starting the collector ...")
        with Fleet(Path(folder), options.routers, options.port) as fleet:
            asyncio.run(_run(fleet, options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
