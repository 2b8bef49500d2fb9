"""Replay: runs captures through the engine; the result is the object that `--json` prints.

Knows captures and the engine. Must not judge, because it asks the engine what the router would do, and must not know
how results are shown (`output`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any, NamedTuple

from cpe_filter.detect.detector import StandingChanged
from cpe_filter.engine import DOUBTED, Engine, Flow
from cpe_filter.home.leases import Leases
from cpe_filter.inspect.facts import Limits, Transaction
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.policy.model import FilterTable, Network, Policy
from cpe_filter.replay.capture import CaptureError, Frame, Warn, frames
from cpe_filter.replay.feed import Feed
from cpe_filter.replay.links import LINK_TYPES
from cpe_filter.replay.order import in_order
from cpe_filter.replay.packet_clock import PacketClock
from cpe_filter.replay.timeline import Timeline, as_json
from cpe_filter.status.devices import device_facts

#: Without a policy nothing is refused until a device is suspected, as on a router in mode monitor.
#: A capture shows servers' own answers, not the responder's.
DEFAULT_POLICY = Policy(FilterTable(mode="monitor", refusal="reset"))
#: The machine that replays a file has more memory than a router.
_LIMITS = Limits(waiting=20000, waiting_bytes=1 << 20, transactions=1000, recipients=10000)
_FLOWS = 1 << 17
#: So many packets out of order, and 1 % of all, are worth a line.
_LATE = 10
#: Sessions that are listed, at most: each takes memory.
SESSIONS = 200_000


class Options(NamedTuple):
    """policy: for the decisions. lan: networks whose connections count (empty: all). addresses: show complete ones.

    timeline: each device gets its own in the result. leases: lease files that name the devices.
    """

    policy: Policy = DEFAULT_POLICY
    lan: tuple[Network, ...] = ()
    addresses: bool = False
    sessions: bool = False
    timeline: bool = False
    leases: tuple[str, ...] = ()


def replay(
    path: str,
    options: Options,
    warn: Warn,
    timeline: Timeline | None = None,
    source: Callable[[Warn], Iterable[Frame]] | None = None,
    watch: Callable[[StandingChanged], None] | None = None,
) -> dict[str, Any]:
    """Runs one capture through an engine of its own; returns the object that `--json` prints.

    If a `timeline` is passed it is filled, whatever the options. source: gives the frames, instead of the file `path`.
    watch: called with each change of a standing, as it happens.
    Raises `capture.CaptureError` for unusable input, `OSError` if the file cannot be read.
    """
    flows = _Sessions() if options.sessions else None
    limits = _LIMITS._replace(local_parts=options.addresses)
    if timeline is None and options.timeline:
        timeline = Timeline()
    trace = timeline.step if timeline else None
    ended = flows.ended if flows else None
    engine = Engine(options.policy, limits, options.lan, _FLOWS, ended=ended, trace=trace, checksums=DOUBTED)
    # A capture may hold more devices and servers than a home.
    engine.devices.limit = engine.recent_mx.limit = 1 << 16
    feed = Feed(engine)
    start, end = _play(source or (lambda warn: frames(path, warn)), feed, engine, warn, watch)
    result: dict[str, Any] = {
        "capture": path,
        "packets": feed.count,
        "smtp_packets": engine.mail_packets,
        "accounting": feed.account(),
        "start": _time(start),
        "end": _time(end),
        "devices": [device_facts(device) for device in engine.devices],
    }
    if options.leases:
        leases = Leases(options.leases)
        leases.refresh(PacketTime(max(0.0, end or 0.0)))
        for facts, device in zip(result["devices"], engine.devices, strict=True):
            facts["name"] = leases.name(device) or None
    if timeline:
        timeline.finish()
    if timeline and options.timeline:
        for device in result["devices"]:
            device["timeline"] = as_json(timeline.tracks.get(device["device"]))
    if flows:
        result["sessions"] = [_session(flow) for flow in sorted(flows.kept, key=lambda flow: flow.session.start)]
        if flows.left_out:
            warn(f"{flows.left_out} sessions more than {SESSIONS} are not listed")
    return result


class _Sessions:
    """The connections with a dialogue, as many as are listed."""

    def __init__(self) -> None:
        self.kept: list[Flow] = []
        self.left_out = 0

    def ended(self, flow: Flow) -> None:
        if not flow.session.spoken:
            return
        if len(self.kept) < SESSIONS:
            self.kept.append(flow)
        else:
            self.left_out += 1


def _play(
    source: Callable[[Warn], Iterable[Frame]],
    feed: Feed,
    engine: Engine,
    warn: Warn,
    watch: Callable[[StandingChanged], None] | None = None,
) -> tuple[float | None, float | None]:
    """Feeds the engine with a capture. Returns the times of the first and the last packet."""
    start = end = None
    clock = PacketClock()

    def damaged(text: str) -> None:
        feed.damaged = True
        warn(text)

    # Who follows a live capture must not wait for frames that come later.
    given = source(damaged)
    for frame in given if watch else in_order(given):
        time = frame.time
        if end is None or time > end:
            start = time if start is None else start
            end = time
        feed.frame(frame, clock.at(time))
        if engine.events:
            _pass_on(engine, watch)
    feed.finish()
    engine.finish(clock.now)
    _pass_on(engine, watch)
    _warn(feed, warn)
    if clock.jumps:
        warn(clock.note())
    if not watch and clock.late > max(_LATE, feed.count // 100):
        warn(
            f"{clock.late} of {feed.count} packets are far from the place that their times have; "
            "sessions may lack parts: put them in order with reordercap IN OUT"
        )
    return start, end


def _pass_on(engine: Engine, watch: Callable[[StandingChanged], None] | None) -> None:
    """Takes the engine's events; nothing else does."""
    events, engine.events = engine.events, []
    for event in events:
        if watch and isinstance(event, StandingChanged):
            watch(event)


def _warn(feed: Feed, warn: Warn) -> None:
    """Raises `CaptureError` where no packet has a link type that can be read."""
    unread = feed.account()["unread"]
    if unread and all(item["reason"].startswith("link type") for item in unread) and not feed.layers.read:
        names = ", ".join(dict.fromkeys(name for name, _ in LINK_TYPES.values()))
        raise CaptureError(f"{unread[0]['reason']} is not supported; supported: {names}")
    if feed.cut:
        warn(f"{feed.cut} of {feed.count} packets were cut off when captured; what is missing counts as lost data")
    for item in unread:
        warn(f"{item['packets']} of {feed.count} packets could not be looked into: {item['meaning']}; {item['advice']}")


def _time(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _session(flow: Flow) -> dict[str, Any]:
    session = flow.session
    dialogue = session.dialogue
    return {
        "client": str(ip_address(session.client)),
        "client_port": session.client_port,
        "server": str(ip_address(session.server)),
        "server_port": session.server_port,
        "device": flow.device.name,
        "connection": flow.attempt,
        "start": _time(session.start),
        "helo": dialogue.facts.helo,
        "tls": dialogue.facts.tls,
        "tls_server_name": dialogue.facts.client_hello.server_name if dialogue.facts.client_hello else None,
        "tls_fingerprint": dialogue.facts.client_hello.ja4 if dialogue.facts.client_hello else None,
        "transactions": [_transaction(transaction) for transaction in dialogue.transactions],
        "last_reply": dialogue.facts.last_reply.text if dialogue.facts.last_reply else None,
        "violations": sorted(dialogue.facts.violations),
        "opaque": dialogue.facts.opaque_reason or None,
        "ended": session.phase,
        "decision": flow.decision.action,
        "reason": flow.decision.reason,
    }


def _transaction(transaction: Transaction) -> dict[str, Any]:
    return {
        "mail_from": transaction.mail_from,
        "rcpt_to": transaction.rcpt_to,
        "recipients_accepted": transaction.accepted,
        "outcome": transaction.outcome,
        "bytes": transaction.size,
    }
