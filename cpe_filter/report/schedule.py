"""When the router contacts the collector: pure, times are uptimes in seconds.

Knows what happened before, as `Plan`, and what the collector answered. Must not know files, sockets or clocks.

Millions of routers do this at once, so no moment may be the same for many of them. After a boot the first report waits
a random part of the splay. After a failure the next try comes at a random time of a window that doubles (full jitter;
base `BASE_S`, at most `CAP_S`). When an outage lasts, the window is at least the splay, so the routers return over its
length and not at once. `Retry-After` is added to the jitter and does not replace it. The collector sets the splay. New
events of a router without failures are sent at its own second of the minute (a minute of its uptime, so no clock has to
be right); the heartbeat at its own time of the day. Where people have answered the notice, the desk is to see it within
a minute: that is sent at the router's own second of `ANSWER_S`, also soon after another exchange.

In the base package, although only `send` sends: `cpe-filter report show` reads the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cpe_filter.lean.clocks import Posix, Uptime
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.report.events import HEARTBEAT
from cpe_filter.report.spool import Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


#: Seconds: the splay until the collector sets another, and the range it may set.
SPLAY_S, MOST_SPLAY_S = 3600, 86400
#: Seconds of the first window after a failure (before it is doubled), and of the longest.
BASE_S, CAP_S = 20.0, 5120.0
#: How many failures in a row count as an outage.
OUTAGE = 4
#: Seconds in which a router that is well exchanges once, and those that are at least between two exchanges: half of
#: them, so that the one after an exchange that began or ended late is still at the router's own second.
MINUTE_S, PAUSE_S = 60.0, 30.0
#: The same as a minute for events with an answer of people's. Few have one: people answer at most ten times an hour.
ANSWER_S = 15.0
_ANSWER = b'"answer":"'
#: Seconds of the first window after a refusal of this router or its request, which only people can correct.
SLOW_S = 3600.0
#: The longest that `Retry-After` may ask for.
MOST_AFTER_S = 86400.0
DAY_S, HALF_DAY_S = 86400.0, 43200.0

Random = Callable[[], float]  # 0 to 1


class Plan(NamedTuple):
    """due: no exchange before it; beat: no heartbeat before it; failures: in a row. All of one boot.

    policy: the version that the collector says is current.
    """

    boot: str
    due: Uptime
    beat: Uptime = Uptime(0.0)
    failures: int = 0
    splay: int = SPLAY_S
    policy: str = ""


def begin(boot: str, up: Uptime, random: Random) -> Plan:
    """The first of a boot."""
    return Plan(boot, Uptime(up + random() * SPLAY_S))


def known(content: Any, boot: str) -> Plan | None:
    """A plan in its written form; None for anything else, and for a plan of another boot."""
    try:
        boot_of, due, beat, failures, splay, policy = content
        plan = Plan(str(boot_of), Uptime(due), Uptime(beat), int(failures), int(splay), str(policy))
    except (TypeError, ValueError):
        return None
    good = 0 <= plan.due < 1e12 and 0 <= plan.beat < 1e12 and plan.failures >= 0 and 0 <= plan.splay <= MOST_SPLAY_S
    return plan if plan.boot == boot and good else None


def next_at(plan: Plan, events: Iterable[Waiting], slot: int) -> Uptime | None:
    """When the next exchange is due; None if nothing waits. slot: this router's second of the day."""
    reports = [Uptime(event.up) for event in events if event.kind != HEARTBEAT]
    times = [own_second(min(reports), slot)] if reports else []
    times += [plan.beat for event in events if event.kind == HEARTBEAT]
    due = max(plan.due, min(times)) if times else None
    answered = [Uptime(event.up) for event in events if _ANSWER in event.line]
    if due is not None and answered and not plan.failures:
        first = min(answered)
        if plan.due <= first + MINUTE_S + PAUSE_S:  # else it waits after a boot
            return min(due, own_second(first, slot, ANSWER_S))
    return due


def own_second(up: Uptime, slot: int, every: float = MINUTE_S) -> Uptime:
    """The first time from `up` on that is at the router's own second of a minute, or of `every` seconds."""
    return Uptime(up + (slot - up) % every)


def to_send(plan: Plan, events: Iterable[Waiting], up: Uptime) -> list[Waiting]:
    """The events to send: all except a heartbeat that is not due."""
    return [event for event in events if event.kind != HEARTBEAT or up >= plan.beat]


def delivered(
    plan: Plan, up: Uptime, wall: Posix, slot: int, beat: bool, splay: int | None, policy: str | None
) -> Plan:
    """The plan after a success. wall: POSIX time; beat: a heartbeat was among the events."""
    plan = plan._replace(due=own_second(Uptime(up + PAUSE_S), slot), failures=0)
    if beat:
        # The next time of day that is ours, and not within half a day: the clock may have been set since.
        wait = (slot - wall) % DAY_S
        plan = plan._replace(beat=Uptime(up + (wait if wait >= HALF_DAY_S else wait + DAY_S)))
    return tuned(plan, splay, policy)


def tuned(plan: Plan, splay: int | None, policy: str | None) -> Plan:
    """The plan with the collector's splay and policy version."""
    if splay is not None:
        plan = plan._replace(splay=max(0, min(MOST_SPLAY_S, splay)))
    return plan if policy is None else plan._replace(policy=policy)


def failed(plan: Plan, up: Uptime, after: float, random: Random) -> Plan:
    """The plan after a failure: the collector was not reached, or asked to try again `after` so many seconds."""
    failures = plan.failures + 1
    window = min(CAP_S, BASE_S * 2 ** min(failures, 16))
    if failures >= OUTAGE:
        window = max(window, float(plan.splay))
    return plan._replace(due=Uptime(up + max(0.0, min(MOST_AFTER_S, after)) + random() * window), failures=failures)


def refused(plan: Plan, up: Uptime, random: Random) -> Plan:
    """The plan after the collector refused this router, or did not understand it."""
    window = min(DAY_S, SLOW_S * 2 ** min(plan.failures, 8))
    return plan._replace(due=Uptime(up + window / 2 + random() * window / 2), failures=plan.failures + 1)
