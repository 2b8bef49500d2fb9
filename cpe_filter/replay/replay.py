"""Replay: runs capture files through the engine and shows the result, for people or as JSON.

Knows captures, the engine and how to show results. Must not judge: it asks the engine what the router would do.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, NamedTuple

from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.engine import DOUBTED, Engine, Flow
from cpe_filter.home.leases import Leases
from cpe_filter.inspect.facts import Limits, Transaction
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.lean.log_output import one_line
from cpe_filter.policy.model import FilterTable, Network, Policy
from cpe_filter.replay.capture import CaptureError, Warn, frames
from cpe_filter.replay.feed import Feed
from cpe_filter.replay.links import LINK_TYPES
from cpe_filter.replay.timeline import Timeline, Track, as_json
from cpe_filter.status.devices import device_facts, why
from cpe_filter.texts.terminal import clock, shorten, table

#: Without a policy nothing is refused until a device is suspected, as on a router in mode monitor.
#: A capture shows servers' own answers, not the responder's.
DEFAULT_POLICY = Policy(FilterTable(mode="monitor", refusal="reset"))
#: The machine that replays a file has more memory than a router.
_LIMITS = Limits(waiting=20000, waiting_bytes=1 << 20, transactions=1000, recipients=10000)
_FLOWS = 1 << 17


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


def replay(path: str, options: Options, warn: Warn, timeline: Timeline | None = None) -> dict[str, Any]:
    """Runs one capture through an engine of its own; returns the object that `--json` prints.

    If a `timeline` is passed it is filled, whatever the options.
    Raises `capture.CaptureError` for unusable input, `OSError` if the file cannot be read.
    """
    flows: list[Flow] = []
    limits = _LIMITS._replace(local_parts=options.addresses)
    if timeline is None and options.timeline:
        timeline = Timeline()
    trace = timeline.step if timeline else None
    engine = Engine(options.policy, limits, options.lan, _FLOWS, ended=flows.append, trace=trace, checksums=DOUBTED)
    # A capture may hold more devices and servers than a home.
    engine.devices.limit = engine.recent_mx.limit = 1 << 16
    feed = Feed(engine)
    start, end = _play(path, feed, engine, warn)
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
    if options.sessions:
        spoken = sorted((flow for flow in flows if flow.session.spoken), key=lambda flow: flow.session.start)
        result["sessions"] = [_session(flow) for flow in spoken]
    return result


def _play(path: str, feed: Feed, engine: Engine, warn: Warn) -> tuple[float | None, float | None]:
    """Feeds the engine with a capture. Returns the times of the first and the last packet."""
    start = end = None
    now = 0.0

    def damaged(text: str) -> None:
        feed.damaged = True
        warn(text)

    for frame in frames(path, damaged):
        start = frame.time if start is None else start
        end = frame.time if end is None else max(end, frame.time)
        now = max(now, frame.time)
        feed.frame(frame, now)
    feed.finish()
    engine.finish(PacketTime(now))
    _warn(feed, warn)
    return start, end


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


def show(
    result: dict[str, Any],
    out: Callable[[str], None],
    timeline: Timeline | None = None,
    encoding: str | None = None,
) -> None:
    """Prints a result of `replay` for people, with the `timeline`s where given, in characters of this encoding."""
    packets, mail = result["packets"], result["smtp_packets"]
    when = f", {clock(result['start'])} to {clock(result['end'])} UTC" if result["start"] is not None else ""
    out(f"{one_line(result['capture'])}: {packets} packets, {mail} of mail{when}")
    for line in _account_lines(result):
        out(f"  {line}")
    if not result["devices"]:
        seen = bool(result.get("sessions"))
        out(f"  {'of no connection the beginning is here' if seen else _nothing(result)}")
        if seen:
            _show_sessions(result["sessions"], out)
        return
    rows = [
        [
            shorten(device["device"], 42),
            device["standing"],
            f"{device['score']:.1f}/{device['threshold']:g}",
            device["connections"],
            device["sessions"],
            device["networks"],
            device["messages"],
            device["recipients"],
        ]
        for device in result["devices"]
    ]
    titles = ["device", "standing", "score", "connections", "sessions", "networks", "messages", "recipients"]
    for line in table(titles, rows, right_from=2):
        out("  " + line)
    for device in result["devices"]:
        _show_device(device, out)
        if timeline and device["device"] in timeline.tracks:
            _show_track(timeline.tracks[device["device"]], out, encoding)
    if timeline and timeline.crowded:
        out("")
        out(f"  Of these devices the {timeline.limit} whose scores rose highest have timelines.")
    if "sessions" in result:
        _show_sessions(result["sessions"], out)


def _account_lines(result: dict[str, Any]) -> list[str]:
    """What could not be looked into, and what was left out."""
    account, packets = result["accounting"], result["packets"]
    lines = []
    unread = sum(item["packets"] for item in account["unread"])
    if unread:
        reasons = ", ".join(f"{item['packets']} {item['meaning']}" for item in account["unread"])
        lines.append(f"{unread} of {packets} packets ({_share(unread, packets)}) could not be looked into: {reasons}")
    if account["damaged"]:
        lines.append("the capture is damaged; what follows the damage is not known")
    if account["copies"]:
        lines.append(f"{account['copies']} packets are copies of others, and do not count again")
    return lines


def _share(part: int, whole: int) -> str:
    """Of 100 %, never rounded to nothing or to all."""
    share = 100 * part / whole
    if part < whole:
        return "less than 0.1%" if share < 0.1 else f"{min(share, 99.9):.1f}%"
    return "all"


def _nothing(result: dict[str, Any]) -> str:
    """The result where no device is known."""
    if result["accounting"]["complete"]:
        return "no device sent mail here"
    if result["accounting"]["read"]:
        return "no device sent mail in what could be looked into; what the rest holds is not known"
    return "nothing could be looked into; whether a device sent mail here is not known"


def _show_device(device: dict[str, Any], out: Callable[[str], None]) -> None:
    if not device["evidence"]:
        return
    out("")
    known = ", ".join([*_name(device), *(shorten(address, 39) for address in device["addresses"][:4])])
    more = f" and {len(device['addresses']) - 4} more" if len(device["addresses"]) > 4 else ""
    head = "" if known == device["device"] else f" ({known}{more})"
    out(f"  {device['device']}{head}")
    for word in ("unusual", "suspected", "compromised"):
        at = device[f"{word}_at"]
        if at:
            out(f"    {word} at its connection {at['connection']}, {clock(at['time'])}")
    out(f"    {why(device)}")
    for item in device["evidence"]:
        meaning = INDICATORS[item["indicator"]].meaning
        out(f"    {item['weight']:+6.1f}  {item['count']:>5} x  {item['indicator']:<22} {item['family']:<12} {meaning}")


def _name(device: dict[str, Any]) -> list[str]:
    return [device["name"]] if device.get("name") else []


def _show_track(track: Track, out: Callable[[str], None], encoding: str | None) -> None:
    from cpe_filter.replay import chart

    out("")
    for line in chart.lines(track, encoding):
        out(f"    {line}")


def _show_sessions(sessions: list[dict[str, Any]], out: Callable[[str], None]) -> None:
    out("")
    rows = []
    for session in sessions:
        transactions = session["transactions"]
        first = transactions[0] if transactions else None
        rows.append(
            [
                clock(session["start"])[11:],
                shorten(session["client"], 25),
                shorten(session["server"], 25),
                shorten(session["helo"] if session["helo"] is not None else "-", 28),
                "yes" if session["tls"] else "no",
                shorten(
                    f"{first['mail_from'] or '-'} > {', '.join(first['rcpt_to'][:2]) or '-'}" if first else "-", 44
                ),
                f"{first['outcome']}{f' +{len(transactions) - 1}' if len(transactions) > 1 else ''}" if first else "-",
                session["decision"],
                shorten(session["last_reply"] or "-", 40),
            ]
        )
    titles = ["start", "client", "server", "helo", "tls", "envelope", "outcome", "decision", "last reply"]
    for line in table(titles, rows, right_from=99):
        out("  " + line)
