"""`cpe-filter send`: delivers what waits in the spool to the Internet provider's collector.

Knows privileges, the spool's folder, the schedule, and what an answer means for the events that were sent. Must not
know devices or packets. It is a process of its own for two reasons: the filter, which may change the network, connects
to nothing, and TLS costs the router 15 MB only for the second that it takes.

There are three ways to start it:

- With `--wait` it sleeps until something is due, does one exchange and ends. This is for a supervisor that starts it
  again. A Python without TLS waits. Nothing is late, and a crash, a leak or an old policy lasts until the next start.
- Without an option it ends at once if nothing is due within a minute. This is for cron, once a minute, and costs a
  start of Python each minute instead of memory.
- With `--once` it sends now what there is, whatever the schedule says. This is for people.

Started by root it acts as [report] user from the beginning. It takes root back once, to read the private key, then
drops root for good, and only then opens a connection. An exchange is noted before it begins, so a process that is
killed in it, or cannot write, does not try again within a minute.

Exit codes: 0 delivered, or nothing to do; 1 nothing delivered: events without an answer of the collector wait, and the
schedule says when to try again; 2 policy, key, certificates or user cannot be used, and all events wait.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from cpe_filter.lean.checksum import CorruptStateError
from cpe_filter.lean.clocks import Uptime, posix
from cpe_filter.lean.files import already_running
from cpe_filter.lean.log import Line, err, info, log, warning
from cpe_filter.policy.model import Policy
from cpe_filter.privileges import PrivilegeError, act_as
from cpe_filter.report import schedule, spool_dir
from cpe_filter.report.certificate import Certificate
from cpe_filter.report.clock_state import synchronised
from cpe_filter.report.events import HEARTBEAT
from cpe_filter.report.schedule import Plan
from cpe_filter.report.spool import SpoolHeader, Waiting
from cpe_filter.report.spool_dir import INSTRUCTIONS, LAST, PLAN, uptime
from cpe_filter.report.spool_reader import SpoolReader
from cpe_filter.send.protocol import MAX_EVENTS
from cpe_filter.send.rights import CannotSendError, check_files

__all__ = ["CannotSendError", "NoReportsError", "Sender", "batches", "check_files", "report", "run"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.send.upstream import Answer, Collector

    #: Exit code, the plan from now on, and what happened, for people.
    _Done = tuple[int, Plan, str]

DONE, UNDELIVERED = 0, 1
#: Bytes of a report (as JSON, so of a request more than enough), and reports of an exchange.
MOST_REPORT, MOST_REPORTS = 60 << 10, 24
#: How many events are given up one by one if the collector accepts none; then the report itself must be wrong.
MOST_GIVEN_UP = 4
#: Reports that are kept for `cpe-filter report show`, and their characters.
KEPT, MOST_KEPT = 8, 64 << 10
#: Seconds between two checks while waiting; the longest wait of a start without `--wait`, and of one with it.
LOOK_S, SHORT_S, LONG_S = 5.0, 60.0, 6 * 3600.0
_MODEL = "/tmp/sysinfo/board_name"  # noqa: S108 - OpenWrt's; only read, and not trusted


class NoReportsError(RuntimeError):
    """No filter has left anything to send."""


def say(line: Line) -> None:
    """One line of the log, by the name of this command."""
    log(Line(f"send: {line}", line.severity))


def run(policy: Policy, how: str) -> int:
    """how: "once", "wait" or "". Returns the exit code; raises `CannotSendError`, `NoReportsError`."""
    if not policy.report.url:
        raise CannotSendError("[report] url is empty: nothing is reported")
    if any(c in policy.report.url for c in "?#"):
        raise CannotSendError(f"[report] url {policy.report.url}: no ? or # can be in it")
    own = check_files(policy)
    reader = _opened(policy, how)
    try:
        user = act_as(policy.report.user, "[report] user")
        if not reader.lock():
            say(info(already_running(reader.holder())))
            return DONE
        return Sender(policy, own, reader, how, user.give_up).run()
    except PrivilegeError as error:
        raise CannotSendError(str(error)) from None
    except (OSError, CorruptStateError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        say(err(f"what waits cannot be read or noted: {reason}"))
        if how == "wait":
            time.sleep(LOOK_S)
        return UNDELIVERED
    finally:
        reader.close()


def _opened(policy: Policy, how: str) -> SpoolReader:
    """The spool's folder; with `--wait` as soon as it exists. Raises `CannotSendError`, `NoReportsError`."""
    path = spool_dir.folder(policy.status.status_file)
    end = time.monotonic() + LONG_S
    while True:
        try:
            return SpoolReader(path)
        except FileNotFoundError:
            if how != "wait" or time.monotonic() >= end:
                raise NoReportsError(f"no filter has made reports yet (there is no {path})") from None
            time.sleep(LOOK_S)
        except OSError as error:
            raise CannotSendError(f"{path}: {error.strerror} (it is for root and [report] user)") from None


# ── one exchange ────────────────────────────────────────────────────────────────────────────────────


class _SoFar:
    """The outcome of an exchange's events. heartbeat: the collector has answered for one."""

    def __init__(self) -> None:
        self.delivered = self.rejected = self.given_up = 0
        self.heartbeat = False

    @property
    def answered_for(self) -> int:
        """Events for which the collector has answered."""
        return self.delivered + self.rejected

    @property
    def text(self) -> str:
        parts = [f"{self.delivered} event{'' if self.delivered == 1 else 's'} delivered"]
        parts += [f"{self.rejected} rejected"] if self.rejected else []
        return ", ".join([*parts, *([f"{self.given_up} given up"] if self.given_up else [])])


class Sender:
    """Waits, sends, notes. give_up: does one last thing with the rights at the start."""

    def __init__(
        self,
        policy: Policy,
        own: Certificate,
        reader: SpoolReader,
        how: str,
        give_up: Callable[[Callable[[], Any]], Any],
        draw: Callable[[], float] | None = None,
    ) -> None:
        self._policy = policy
        self._reader = reader
        self._how = how
        self._give_up = give_up
        self._draw = draw or _draw
        self._boot = spool_dir.boot_id()
        self._slot = zlib.crc32(own.name.encode()) % int(schedule.DAY_S)

    def run(self) -> int:
        """Raises OSError, `CorruptStateError`."""
        plan = schedule.known(self._reader.read(PLAN), self._boot)
        if plan is None:
            plan = schedule.begin(self._boot, uptime(), self._draw)
            self._reader.write(PLAN, plan)
        ready = self._wait(plan)
        if ready is None:
            return DONE
        header, events = ready
        self._reader.write(PLAN, plan._replace(due=Uptime(uptime() + schedule.MINUTE_S)))
        collector = self._give_up(self._collector)
        try:
            code, plan, text = self._exchange(collector, plan, header, events)
        finally:
            collector.close()
        self._reader.write(PLAN, plan)
        severity = info if code == DONE else warning
        say(severity(f"{text}; not again within {max(0.0, plan.due - uptime()):.0f} s"))
        return code

    def _collector(self) -> Collector:
        """Reads all that is needed, including Python's modules, because the later user may not be able to."""
        from cpe_filter.send import upstream

        policy = self._policy
        synchronised()  # for ctypes
        try:
            tls = upstream.context(policy.report.ca, policy.report.certificate, policy.report.key)
            return upstream.Collector(policy.report.url, tls)
        except upstream.TlsSetupError as error:
            raise CannotSendError(str(error)) from None

    def _wait(self, plan: Plan) -> tuple[SpoolHeader, list[Waiting]] | None:
        """The events to send if it is time; else None."""
        begun = uptime()
        most = {"wait": LONG_S, "once": 0.0}.get(self._how, SHORT_S)
        stamp, ready, due = (-1, -1), None, None
        while True:
            if self._reader.stamp() != stamp:
                stamp = self._reader.stamp()
                ready = self._reader.spool(self._boot)
                due = schedule.next_at(plan, ready[1], self._slot) if ready else None
            up = uptime()
            if ready and ready[1] and self._how == "once":
                return ready
            if ready and due is not None and up >= due:
                return ready[0], schedule.to_send(plan, ready[1], up)
            left = begun + most - up
            if left <= 0 or (self._how != "wait" and (due is None or due - up > left)):
                if self._how != "wait":
                    print("nothing waits to be sent" if due is None else f"the next is due in {due - up:.0f} s")
                return None
            time.sleep(min(LOOK_S, left, max(0.05, due - up) if due is not None else LOOK_S))

    def _exchange(self, collector: Collector, plan: Plan, header: SpoolHeader, events: list[Waiting]) -> _Done:
        """Sends the events in as many reports as necessary."""
        from cpe_filter.send import upstream

        waiting, so_far = deque(batches(events)), _SoFar()
        for _ in range(MOST_REPORTS):
            if not waiting:
                break
            batch = waiting.popleft()
            body = report(header, batch, uptime())
            try:
                answer = collector.post(upstream.compress(body))
            except upstream.UnreachableError as error:
                self._keep(body, str(error))
                return self._refused(plan, str(error)) if error.refused else self._later(plan, 0.0, str(error))
            self._keep(body, str(answer.status))
            plan = schedule.tuned(plan, answer.splay, answer.policy)
            answered = f"{collector.host} answers {answer.status}"
            if answer.what == upstream.TAKEN:
                if answer.instructions:
                    self._leave(answer.instructions)
                if not self._take(answer, batch, so_far):
                    return self._later(plan, 0.0, f"{answered} and names nothing that was sent")
            elif answer.what == upstream.WRONG and len(batch) > 1:
                half = len(batch) // 2
                waiting.extendleft((batch[half:], batch[:half]))
            elif answer.what == upstream.WRONG:
                if so_far.given_up >= MOST_GIVEN_UP and not so_far.answered_for:
                    break
                so_far.given_up += 1
                say(err(f"the collector answers {answer.status} to {_called(batch[0])}: given up"))
                self._reader.note(self._boot, [batch[0].seq])
            elif answer.what == upstream.LATER:
                return self._later(plan, answer.after, f"{answered}, {so_far.text}")
            else:
                return self._refused(plan, f"{answered}: it does not take reports from here")
        if not so_far.answered_for:
            return self._refused(plan, f"{collector.host} takes none of {len(events)} events")
        plan = schedule.delivered(plan, uptime(), posix(), self._slot, so_far.heartbeat, None, None)
        return DONE if so_far.delivered else UNDELIVERED, plan, so_far.text

    def _take(self, answer: Answer, batch: list[Waiting], so_far: _SoFar) -> bool:
        """Notes what a 200 says about each event. False if it says nothing about any. Raises OSError."""
        delivered = [event for event in batch if event.seq in answer.acked]
        rejected = [event for event in batch if event.seq in answer.rejected and event.seq not in answer.acked]
        for event in rejected:
            reason = answer.rejected[event.seq] or "no reason"
            say(err(f"the collector rejects {_called(event)}: {reason}"))
        settled = delivered + rejected
        if not settled:
            return False
        self._reader.note(self._boot, [event.seq for event in settled])
        so_far.delivered += len(delivered)
        so_far.rejected += len(rejected)
        so_far.heartbeat = so_far.heartbeat or any(event.kind == HEARTBEAT for event in settled)
        return True

    def _refused(self, plan: Plan, text: str) -> _Done:
        return UNDELIVERED, schedule.refused(plan, uptime(), self._draw), text

    def _later(self, plan: Plan, after: float, text: str) -> _Done:
        return UNDELIVERED, schedule.failed(plan, uptime(), after, self._draw), text

    def _leave(self, instructions: tuple[str, ...]) -> None:
        """Leaves the collector's instructions to the filter, which judges them. They come again until it answers."""
        try:
            self._reader.write(INSTRUCTIONS, instructions)
        except OSError as error:
            say(err(f"instructions of the collector not kept: {error.strerror}"))

    def _keep(self, body: bytes, how: str) -> None:
        """Keeps the last reports, byte for byte, and their outcomes, for `cpe-filter report show`."""
        last = self._reader.read(LAST)
        kept = [one for one in last if isinstance(one, dict)][-KEPT + 1 :] if isinstance(last, list) else []
        kept.append({"at": int(time.time()), "how": how, "report": body.decode()})
        while len(kept) > 1 and sum(len(str(one.get("report"))) for one in kept) > MOST_KEPT:
            del kept[0]
        try:
            self._reader.write(LAST, kept)
        except OSError:
            pass  # no space; what arrives is more important


def _draw() -> float:
    """0 to 1, from the kernel: after a power cut many routers would start from one seed."""
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)


def _called(event: Waiting) -> str:
    return f"event {event.seq} ({event.kind})"


# ── the report ──────────────────────────────────────────────────────────────────────────────────────


def batches(events: Iterable[Waiting]) -> list[list[Waiting]]:
    """As few reports as the bounds allow, the oldest event first."""
    made: list[list[Waiting]] = []
    size = MOST_REPORT + 1
    for event in sorted(events):
        if size + len(event.line) > MOST_REPORT or len(made[-1]) >= MAX_EVENTS:
            made.append([])
            size = 0
        made[-1].append(event)
        size += len(event.line)
    return made


def report(header: SpoolHeader, events: Iterable[Waiting], up: Uptime) -> bytes:
    """The JSON text; it has the events byte for byte as in the spool."""
    now = time.time()
    content: dict[str, Any] = {
        "v": 1,
        "boot": header.boot,
        "up": int(up),
        "t": int(now) if 0 <= now < 253402300799 else None,
        "synced": synchronised(),
        "pol": header.pol,
        "ver": header.ver,
    }
    model = _model()
    if model:
        content["model"] = model
    content["dropped"] = header.dropped
    head = json.dumps(content, separators=(",", ":")).encode()
    return head[:-1] + b',"events":[' + b",".join(event.line.rstrip() for event in events) + b"]}"


def _model() -> str:
    try:
        with open(_MODEL, "rb") as file:
            text = file.read(256).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)[:64]
