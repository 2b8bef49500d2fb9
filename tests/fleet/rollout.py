"""Simulated routers that get a bad policy at 10 permille, and its halt: `make rollout`.

What decides is the real code: `policy sign`, `publish` and `halt` at the ISP; on each router `policy fetch` with ETags,
signatures (verified once for each document), audience, permille, sequences, the folders of documents, the trial and its
end, at the times that OpenWrt's service is given; and the verdict of the collector's rollout page. Simulated are time,
power, the line, clocks, flash, and what works under a policy. Must not know HTTP or the kernel.

    python -m tests.fleet.rollout [--routers N] [--seed N] [SCENARIO...]

The fleet: 70 % of the routers are always on, with short interruptions of the line; 15 % are off each night; 10 % are
off for 1 to 14 days around the rollout; 5 % have a line that drops for hours each day. Besides, 1 % never have a
synchronised clock; for 1 to 3 days 0.2 % have a wrong one (1970 or 2106) that the kernel calls synchronised, and 0.1 %
a full flash.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import errno
import heapq
import io
import random
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

from cpe_filter.collect import published
from cpe_filter.collect.rollout import spread
from cpe_filter.lean.clocks import Uptime
from cpe_filter.policy.model import Policy
from cpe_filter.provision import apply, command, effective, etags, folder, judge, news, place, trial
from cpe_filter.provision import fetch as getting
from cpe_filter.provision.fetch import Fetched, FetchError
from cpe_filter.provision.folder import digest_of
from cpe_filter.provision.news import REFUSED, Outcome
from cpe_filter.provision.place import Place
from cpe_filter.report import schedule
from cpe_filter.signed import keys, sequence, signify, verify
from cpe_filter.signed.document import POLICY_BUNDLE, Document, Recipient
from cpe_filter.uci import provision
from tests.collect.publisher import Isp

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
PERMILLE = 10
#: Days after which a simulation ends whatever is left.
MOST_DAYS = 40
#: Seconds from the collector's alert, or from a call, until a person has halted.
REACTION_S = 10 * MINUTE
#: Fetches that are an hour apart at most, after a document has come into force (openwrt's cpe-filter-repeat).
SOON = 24
#: Seconds until the filter sees what has become of a document, at most.
_POLL_S = 5.0
_URL = "https://policy.isp.example/routers.signed"
MODELS = ("box-1", "box-2", "box-3", "box-4", "box-5")
#: Scenario -> what it is; on which models the trial of the bad policy fails; seconds after which people halt it, None
#: for as soon as the collector's verdict says so.
SCENARIOS: dict[str, tuple[str, tuple[str, ...], float | None]] = {
    "fails": ("the bad policy fails its trial on every router, and the collector's alert is followed", MODELS, None),
    "model": ("it fails its trial on one model of five, and the alert is followed", MODELS[:1], None),
    "passes": ("it passes its trial everywhere; people halt it after 12 h", (), 12 * HOUR),
    "fails-late": ("it fails its trial on every router, and is halted after 48 h", MODELS, 48 * HOUR),
    "passes-late": ("it passes its trial everywhere, and is halted after 48 h", (), 48 * HOUR),
}

Span = tuple[float, float]


class Life(NamedTuple):
    """Seconds of the simulation, in order, not overlapping. off: without power; down: without a line."""

    off: tuple[Span, ...] = ()
    down: tuple[Span, ...] = ()
    wrong_clock: tuple[Span, float] | None = None
    full: Span | None = None
    synchronised: bool = True


class PowerError(BaseException):
    """The power goes while something is done."""


class Router:
    """index, name, model: which one. acts: (time, digest) since when the filter has had which policy."""

    __slots__ = ("acts", "boot", "files", "life", "model", "name", "next_try", "noted", "soon", "where")

    def __init__(self, index: int, life: Life, booted: float) -> None:
        self.name = f"cpe-{index:06d}"
        self.model = MODELS[zlib.crc32(self.name.encode()) // 7 % len(MODELS)]
        self.life, self.boot = life, booted
        self.files: dict[str, bytes] = {}
        self.acts: list[tuple[float, str]] = []
        self.noted: set[tuple[str, str, str]] = set()
        self.next_try, self.soon = MINUTE, 0
        self.where = Place("base", "out", self.name, "keys", self.model)


def _inside(spans: tuple[Span, ...], at: float) -> float:
    """When the span that has this moment ends; 0 if none has it."""
    found = bisect.bisect_right(spans, (at, float("inf"))) - 1
    return spans[found][1] if found >= 0 and at < spans[found][1] else 0.0


def _next(spans: tuple[Span, ...], at: float) -> float:
    """When the next span begins."""
    found = bisect.bisect_right(spans, (at, float("inf")))
    return spans[found][0] if found < len(spans) else float("inf")


def life(chance: random.Random) -> Life:
    """Of one router."""
    kind = chance.random()
    off: list[Span] = []
    down: list[Span] = []
    if kind < 0.70:
        for day in range(MOST_DAYS):
            if chance.random() < 0.2:
                begins = (day + chance.random()) * DAY
                down.append((begins, begins + chance.uniform(1, 60) * MINUTE))
    elif kind < 0.85:
        begins, lasts = chance.uniform(21, 25) * HOUR, chance.uniform(6, 9) * HOUR
        off = [(begins + day * DAY, begins + day * DAY + lasts) for day in range(-1, MOST_DAYS)]
    elif kind < 0.95:
        begins = chance.uniform(-7, 7) * DAY
        off = [(begins, begins + chance.uniform(1, 14) * DAY)]
    else:
        for day in range(MOST_DAYS):
            begins = (day + chance.uniform(0, 0.5)) * DAY
            down.append((begins, begins + chance.uniform(2, 10) * HOUR))
    wrong = full = None
    if chance.random() < 0.002:
        begins = chance.uniform(-1, 2) * DAY
        wrong = ((begins, begins + chance.uniform(1, 3) * DAY), chance.choice((0.0, 4.3e9)))
    if chance.random() < 0.001:
        begins = chance.uniform(-1, 2) * DAY
        full = (begins, begins + chance.uniform(1, 3) * DAY)
    return Life(tuple(off), tuple(sorted(down)), wrong, full, chance.random() >= 0.01)


class Figures(NamedTuple):
    """first: routers among the permille. applied: those under which the bad policy counted, tried or confirmed.

    confirmed, taken_back: outcomes. acted: seconds for which it counted, for each of these; powered: the same without
    the time without power. reached: seconds from the halt until each of the confirmed had it in force; without: how
    many never. fleet: seconds until each router of the fleet had the halt. alert: seconds until the collector's verdict
    was halt, None if it never was; alert_of: routers that failed and answered then. halted: seconds until the halt.
    busiest: the most fetches in a minute. refused: (code) -> routers at the bad policy or the halt."""

    routers: int
    first: int
    applied: int
    confirmed: int
    taken_back: int
    acted: list[float]
    powered: list[float]
    reached: list[float]
    without: int
    fleet: list[float]
    alert: float | None
    alert_of: tuple[int, int]
    halted: float
    busiest: int
    fetches: int
    refused: dict[str, int]


class World:
    """All routers, the ISP and time. now: seconds since the bad policy was published."""

    def __init__(self, routers: int, seed: int, scenario: str, folder_: Path) -> None:
        _, self.failing, self.noticed = SCENARIOS[scenario]
        self.now = 0.0
        self.epoch = float(int(time.time()))
        self.isp = Isp(folder_)
        self.keys = keys.load(str(self.isp.keys))
        self.current = b""
        self.etag = ""
        chance = random.Random(seed)
        self.routers = [Router(index, life(chance), chance.uniform(-30, 0) * DAY) for index in range(routers)]
        self.router = self.routers[0]
        self.line = self._arguments()
        self.events: list[tuple[float, int, Any]] = []
        self.minutes: dict[int, int] = {}
        self.counted = 0
        self.baseline, self.bad, self.halt = b"", b"", b""
        self.halted = float("inf")
        self.alert: float | None = None
        self.alert_of = (0, 0)
        self.verdicts: spread.Spread | None = None
        self.refused: dict[str, int] = {}
        self._chance = chance
        self._order = 0

    @staticmethod
    def _arguments() -> Callable[[str], tuple[float, float]]:
        """Seconds between two fetches, and of uptime before the first, as the service gets them."""
        settings = provision.Provision(urls=(_URL,))

        def of(name: str) -> tuple[float, float]:
            _, every, first = provision.lines(settings, name)[0].split()
            return float(every), float(first)

        return of

    # ── the ISP ─────────────────────────────────────────────────────────────────────────────────

    def publish(self, work: Callable[[], int]) -> bytes:
        """Does a command of the ISP at this time; the document that routers get then."""
        now = self.epoch + self.now
        with mock.patch.object(time, "time", return_value=now), contextlib.redirect_stdout(io.StringIO()):
            assert work() == 0
        self.current = (self.isp.web / "routers.signed").read_bytes()
        self.etag = f'"{published.etag(self.current)}"'
        return self.current

    def _halt(self) -> None:
        self.halted = self.now
        self.halt = self.publish(lambda: self.isp.do("halt"))

    # ── one router ──────────────────────────────────────────────────────────────────────────────

    def sleep(self, seconds: float) -> None:
        """Within a trial. Raises `PowerError`."""
        goes = _next(self.router.life.off, self.now)
        if goes <= self.now + seconds:
            self.now = goes
            raise PowerError
        self.now += seconds

    def fetch(self, url: str, ca: str, user: str, etag: str) -> Fetched:
        minute = int(self.now // MINUTE)
        self.minutes[minute] = self.minutes.get(minute, 0) + 1
        self.counted += 1
        if _inside(self.router.life.down, self.now):
            raise FetchError("no line")
        return Fetched(None if etag == self.etag else self.current, self.etag)

    def writes(self, where: Place, without: bytes = b"") -> bool:
        """In place of effective.write: which document counts from now on."""
        found = effective.counting(where, POLICY_BUNDLE, without)
        digest = _digest(found) if found is not None else ""
        router = self.router
        if not router.acts or router.acts[-1][1] != digest:
            router.acts.append((self.now, digest))
        return True

    def note(self, where: Place, *outcomes: Outcome) -> None:
        """In place of news.note: it is reported at the router's own second of a minute, once there is a line."""
        for one in outcomes:
            router = self.router
            key = one.result, one.digest, one.why
            if one.result == "" or key in router.noted:
                continue
            router.noted.add(key)
            self.refused[one.why or one.result] = self.refused.get(one.why or one.result, 0) + 1
            if one.digest != _digest(self.bad):
                continue
            seen = self.now + self._chance.uniform(0, _POLL_S)
            for _ in range(100):
                until = max(_inside(router.life.off, seen), _inside(router.life.down, seen))
                if not until:
                    break
                seen = until + self._chance.uniform(0, 2 * MINUTE)
            slot = zlib.crc32(router.name.encode()) % int(DAY)
            self._push(float(schedule.own_second(Uptime(seen), slot)), one)

    def _push(self, at: float, what: Any) -> None:
        self._order += 1
        heapq.heappush(self.events, (at, self._order, what))

    def _turn(self, router: Router) -> None:
        """What the service does at its time; when it comes again."""
        self.router = router
        boots = _inside(router.life.off, self.now)
        if boots:
            self._push(boots, ("boot", router))
            return
        every, _ = self.line(router.name)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                code = command.fetch([_URL], "", 0, router.where, lambda: 0, self._say)
        except PowerError:
            self._push(_inside(router.life.off, self.now), ("boot", router))
            return
        if code == apply.EXIT_NOT_FETCHED:
            wait, router.next_try = router.next_try, min(HOUR, 2 * router.next_try)
        else:
            wait, router.next_try = every, MINUTE
            if router.soon:
                router.soon -= 1
                wait = min(wait, HOUR)
        self._again(router, self.now + wait)

    def _say(self, text: str) -> None:
        """As the service does (cpe-filter-repeat), which reads it."""
        if text.endswith(" is in force"):
            self.router.soon = SOON

    def _again(self, router: Router, at: float) -> None:
        """Unless it has the halt in force, and so will not change any more."""
        if self.halt and router.files.get(f"{router.name}/policy/good") == self.halt:
            return
        goes = _next(router.life.off, self.now)
        if goes < at:
            self._push(_inside(router.life.off, goes), ("boot", router))
        else:
            self._push(at + self._chance.uniform(0, 20), ("fetch", router))  # the shell looks every 20 s

    def _boots(self, router: Router) -> None:
        self.router = router
        router.boot = self.now
        router.next_try, router.soon = MINUTE, 0
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(OSError):
            command.make(router.where)
        self._again(router, self.now + self.line(router.name)[1])

    # ── time ────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> Figures:
        with _simulated(self):
            self._begin()
            while self.events:
                at, _, what = heapq.heappop(self.events)
                if at > MOST_DAYS * DAY:
                    break
                self.now = at
                if isinstance(what, Outcome):
                    self._hear(what)
                elif what[0] == "halt":
                    if not self.halt:
                        self._halt()
                elif what[0] == "boot":
                    self._boots(what[1])
                else:
                    self._turn(what[1])
        return self._figures()

    def _begin(self) -> None:
        """A policy is in force everywhere; the bad one is published."""
        self.now = -10 * DAY
        self.baseline = self.publish(lambda: self.isp.publish('[filter]\nmode = "monitor"\n'))
        made = effective.kept(self.baseline)._replace(key=signify.signed_message(self.baseline).number)
        for router in self.routers:
            self.router = router
            self.now = -9 * DAY
            taken = sequence.Taken()
            taken.take(made)
            taken.save(f"{router.name}/policy/taken")
            router.files[f"{router.name}/policy/good"] = self.baseline
            router.acts.append((self.now, _digest(self.baseline)))
            etags.Etags(router.where, recipient(None, router.where)).note(_URL, self.etag)
        self.now = 0.0
        self.bad = self.publish(lambda: self.isp.publish('[filter]\nmode = "block"\n', PERMILLE))
        self.verdicts = spread.Spread(POLICY_BUNDLE, 0, _digest(self.bad))
        if self.noticed is not None:
            self._push(self.noticed, ("halt",))
        for router in self.routers:
            every, first = self.line(router.name)
            phase = (router.boot + first) % every
            self.router = router
            boots = _inside(router.life.off, 0.0)
            self._push(boots or phase, ("boot" if boots else "fetch", router))

    def _hear(self, one: Outcome) -> None:
        """A report comes; a person halts it a while after the collector's verdict."""
        assert self.verdicts is not None
        outcomes = self.verdicts.outcomes
        outcomes[one.result] = outcomes.get(one.result, 0) + 1
        self.verdicts.excused += one.result == REFUSED and one.why in spread.EXCUSED
        if self.alert is None and self.verdicts.verdict(spread.Terms().halt_at) == spread.HALT:
            self.alert = self.now
            self.alert_of = self.verdicts.failed, self.verdicts.answered
            if self.noticed is None:
                self._push(self.now + REACTION_S, ("halt",))

    def _figures(self) -> Figures:
        bad, halt = _digest(self.bad), _digest(self.halt)
        made = effective.kept(self.bad)
        first = sum(made.is_rolled_out_to(router.name) for router in self.routers)
        acted, powered, reached, confirmed, taken_back, without = [], [], [], 0, 0, 0
        fleet = []
        for router in self.routers:
            spans = [
                (begins, ends)
                for (begins, digest), (ends, _) in zip(
                    router.acts, [*router.acts[1:], (MOST_DAYS * DAY, "")], strict=True
                )
                if digest == bad
            ]
            has = router.files.get(f"{router.name}/policy/good") == self.halt
            since = next((at for at, digest in reversed(router.acts) if digest == halt), None)
            if has and since is not None:
                fleet.append(since + trial.SETTLE_S - self.halted)
            if not spans:
                continue
            acted.append(sum(ends - begins for begins, ends in spans))
            powered.append(sum(_powered(router.life.off, *span) for span in spans))
            stayed = max(ends - begins for begins, ends in spans) > trial.LIMIT_S + 2 * trial.LOOK_S
            confirmed += stayed
            taken_back += not stayed
            if has and since is not None:
                reached.append(since + trial.SETTLE_S - self.halted)
            else:
                without += 1
        busiest = max(self.minutes.values(), default=0)
        return Figures(
            len(self.routers), first, len(acted), confirmed, taken_back, acted, powered, reached, without, fleet,
            self.alert, self.alert_of, self.halted, busiest, self.counted, self.refused,
        )  # fmt: skip


def _powered(off: tuple[Span, ...], begins: float, ends: float) -> float:
    without = sum(max(0.0, min(ends, until) - max(begins, since)) for since, until in off)
    return ends - begins - without


_digests: dict[int, str] = {}


def _digest(document: bytes) -> str:
    """Few documents are the same object for all routers."""
    known = _digests.get(id(document))
    if known is None:
        known = _digests[id(document)] = digest_of(document)
        _kept.append(document)
    return known


_kept: list[bytes] = []


def recipient(_: object, where: Place) -> Recipient:
    """In the simulation a router's folder has its name."""
    return Recipient(where.folder, where.model)


def recipient_named(name: str) -> Callable[[object, Place], Recipient]:
    """For a router on files."""
    return lambda _, where: Recipient(name, where.model)


# ── what the real code meets in place of this machine ───────────────────────────────────────────────


@contextlib.contextmanager
def _simulated(world: World) -> Iterator[None]:
    """A router's files, clocks and the network, for the modules that decide."""
    files = SimpleNamespace(
        read=lambda path, most: _read(world, path), replace=lambda path, data: _write(world, path, data)
    )

    class File:
        """In place of AtomicFile."""

        def __init__(self, path: str, mode: int = 0o600) -> None:
            self.path, self.data = path, b""

        def write(self, data: bytes) -> None:
            self.data += data

        def finish(self, durable: bool = False) -> None:
            _write(world, self.path, self.data)

    def wall() -> float:
        wrong = world.router.life.wrong_clock
        if wrong is not None and wrong[0][0] <= world.now < wrong[0][1]:
            return wrong[1]
        return world.epoch + world.now

    class Looker:
        """What works before and after a change."""

        def __init__(self, before: Policy, after: Policy) -> None:
            self.before = {"filter": True, "rules": True, "collector": True}
            self._fails = after.filter.mode == "block" and world.router.model in world.failing

        def after(self) -> trial.Looks:
            return {**self.before, "collector": not self._fails}

    real_wait = trial.wait

    def wait(before: trial.Looks, look_again: Callable[[], trial.Looks], limit_s: float, settle_s: float) -> list[str]:
        return real_wait(before, look_again, limit_s, settle_s, lambda: world.now, world.sleep)

    def policy_with(where: Place, made: Document) -> Policy:
        return effective.tables(where, replaced=made)[1]

    once = _Once()
    patches: list[tuple[Any, str, Any]] = [
        (folder, "files", files),
        (sequence, "files", files),
        (etags, "files", files),
        (etags, "AtomicFile", File),
        (etags, "_digest", lambda path: etags._short(world.router.files.get(path, b""))),
        (folder.Folder, "_remove", lambda self, name: world.router.files.pop(self._of(name), None)),
        (folder.Folder, "is_unfinished", property(lambda self: self._of("trial") in world.router.files)),
        (apply, "_lock", lambda where, wait_s: 0),
        (apply, "os", SimpleNamespace(close=lambda fd: None, path=SimpleNamespace(isdir=lambda path: True))),
        (apply, "time", SimpleNamespace(monotonic=lambda: world.now)),
        (apply, "_keep", lambda path: None),
        (apply, "_forget", lambda path: None),
        (apply, "base_of", lambda where: ({}, Policy())),
        (command, "base_of", lambda where: ({}, Policy())),
        (apply, "recipient_of", recipient),
        (command, "recipient_of", recipient),
        (news, "note", world.note),
        (trial, "wait", wait),
        (trial, "Looker", Looker),
        (effective, "write", world.writes),
        (effective, "policy_of", lambda where: Policy()),
        (effective, "policy_with", once.of(policy_with, lambda where, made: made.digest)),
        (effective, "base_of", lambda where: ({"network": {"lan": ["lan"], "wan": ["wan"]}}, Policy())),
        (effective, "kept", once.of(effective.kept, lambda data: data)),
        (folder, "digest_of", _digest),
        (judge, "digest_of", _digest),
        (judge, "synchronised", lambda: world.router.life.synchronised),
        (etags, "synchronised", lambda: world.router.life.synchronised),
        (judge, "time", SimpleNamespace(time=wall)),
        (keys, "load", lambda path="": world.keys),
        (verify, "authenticated", once.of(verify.authenticated, lambda data, *_: data)),
        (place, "boot", lambda: str(world.router.boot)),
        (place, "uptime", lambda: world.now - world.router.boot),
        (getting, "fetch", world.fetch),
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        for where, name, value in patches:
            stack.enter_context(mock.patch.object(where, name, value))
        yield


class _Once:
    """Results of pure work, by what it depends on."""

    def __init__(self) -> None:
        self._known: dict[object, Any] = {}

    def of(self, work: Callable[..., Any], key: Callable[..., object]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            name = (work, key(*arguments))
            if name not in self._known:
                self._known[name] = work(*arguments)
            return self._known[name]

        return call


def _read(world: World, path: str) -> bytes:
    try:
        return world.router.files[path]
    except KeyError:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path) from None


def _write(world: World, path: str, data: bytes) -> None:
    full = world.router.life.full
    if full is not None and full[0] <= world.now < full[1]:
        raise OSError(errno.ENOSPC, "No space left on device", path)
    world.router.files[path] = data


# ── figures ─────────────────────────────────────────────────────────────────────────────────────────


def simulate(scenario: str, routers: int, seed: int = 1) -> Figures:
    """One scenario, from the first second to the last router."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        return World(routers, seed, scenario, Path(path)).run()


def span(seconds: float) -> str:
    """For people."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.1f} h" if seconds < 2 * DAY else f"{seconds / DAY:.1f} days"


def spread_of(values: list[float]) -> str:
    """Median, 99 of 100, and the longest."""
    if not values:
        return "-"
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return f"{span(statistics.median(ordered))} / {span(p99)} / {span(ordered[-1])}"


def rows(found: Figures) -> list[tuple[str, str]]:
    """What is measured, and the figure."""
    alert = f"{span(found.alert)} ({found.alert_of[0]} of {found.alert_of[1]} failed)" if found.alert else "never"
    return [
        ("routers; among the first 10 of 1000", f"{found.routers:,}; {found.first:,}"),
        ("the bad policy counted on", f"{found.applied:,}"),
        ("of these confirmed; taken back", f"{found.confirmed:,}; {found.taken_back:,}"),
        ("for how long (median / p99 / longest)", spread_of(found.acted)),
        ("the same with the power on", spread_of(found.powered)),
        ("the collector's verdict was halt after", alert),
        ("halt published after", span(found.halted)),
        ("routers of these that never got the halt", str(found.without)),
        ("the halt in force on these after (median / p99 / longest)", spread_of(found.reached)),
        ("routers of the fleet with the halt in force", f"{len(found.fleet):,}"),
        ("fetches; the most in a minute", f"{found.fetches:,}; {found.busiest:,}"),
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.rollout")
    parser.add_argument("scenario", nargs="*", help=", ".join(SCENARIOS))
    parser.add_argument("--routers", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    for scenario in options.scenario or SCENARIOS:
        begun = time.monotonic()
        found = simulate(scenario, options.routers, options.seed)
        print(f"{scenario}: {SCENARIOS[scenario][0]}")
        for name, figure in rows(found):
            print(f"  {name:<60} {figure}")
        print(f"  outcomes: {found.refused}; took {time.monotonic() - begun:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
