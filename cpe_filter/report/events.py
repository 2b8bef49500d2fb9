"""Events of the wire format (report-v1.schema.json), as the running filter makes them.

Knows incidents, and how an event says what is known of one. Must not know when there is an event (see tracker), files,
sockets or clocks. Pure. An event has all but `seq`, which the spool gives it.
"""

from __future__ import annotations

import math

from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.detect.score import COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.detect.unusual import takes_mail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal

    from cpe_filter.detect.device import Device
    from cpe_filter.lean.clocks import PacketTime, Uptime
    from cpe_filter.policy.model import Policy
    from cpe_filter.report.document_news import Ended
    from cpe_filter.report.incident import EndReason, Incident

    #: An event as the wire format has it.
    Wire = dict[str, Any]
    EventKind = Literal["opened", "raised", "updated", "closed", "heartbeat", "instruction", "document"]

OPENED: EventKind = "opened"
RAISED: EventKind = "raised"
UPDATED: EventKind = "updated"
CLOSED: EventKind = "closed"
HEARTBEAT: EventKind = "heartbeat"
INSTRUCTION: EventKind = "instruction"
DOCUMENT: EventKind = "document"

CLEARED: EndReason = "cleared"
RELEASED: EndReason = "released"
EXPIRED: EndReason = "expired"
EXEMPT: EndReason = "exempt"
MERGED: EndReason = "merged"

_MAX_NUMBER = (1 << 32) - 1
#: The outcome of an instruction that was carried out.
APPLIED = "applied"
#: Unwatched ways in a heartbeat, as many networks, and as many devices at submission ports; bytes of an interface's
#: name (IFNAMSIZ without the NUL).
_MAX_WAYS, _MAX_NAME = 8, 15


def incident_event(kind: EventKind, incident: Incident, now: PacketTime, booted: PacketTime) -> Wire:
    """now, booted: the engine's time, and that of the router's start."""
    counts = incident.counts
    event: Wire = {"up": max(0, _up(now, booted)), "kind": kind, "id": incident.id, "dev": incident.dev}
    if incident.oui:
        event["oui"] = incident.oui
    if incident.name:
        event["name"] = incident.name
    event["standing"] = incident.standing
    if kind == CLOSED:
        event["why"] = incident.reason
    event.update(
        first=_up(incident.first, booted),
        last=_up(incident.last, booted),
        conns=_number(counts.connections),
        nets=_number(counts.networks),
        msgs=_number(counts.messages),
        rcpts=_number(counts.recipients),
        refused=_number(counts.refused),
        ind={name: _number(counts.indicators[name]) for name in INDICATORS if counts.indicators.get(name)},
        act=incident.act,
    )
    event.update(incident.device_facts)
    if incident.examples:
        event["sp"] = [
            {"up": _up(example.time, booted), "port": example.port, "family": example.family}
            for example in incident.examples
        ]
    return event


def device_facts(device: Device, now: PacketTime) -> Wire:
    """What an event says of a device besides its mail. Where it has nothing, it has no field for it."""
    found: Wire = {}
    if device.submissions[0]:
        found["sub"] = _submission(device.submissions)
    if takes_mail(device, now):
        found["serves"] = True
    shown, answer, quarantine = device.notice
    if any(notice_news(device)):
        found["notice"] = {"shown": _number(shown), **({"answer": answer} if answer else {})}
        others, seen = device.notice_elsewhere
        if others:
            found["notice"]["others"] = _number(others)
        if seen:
            found["notice"]["others_seen"] = True
    if quarantine:
        held = quarantine == "held"
        found["notice"]["quarantine"] = {"state": "quarantined"} if held else {"state": "released", "who": quarantine}
    if device.dhcp_class:
        found["class"] = device.dhcp_class
    return found


def notice_news(device: Device) -> tuple[str, str, int]:
    """What an event is made for at once, as `Incident.notice_news` has it."""
    shown, answer, quarantine = device.notice
    others, seen = device.notice_elsewhere
    return answer, quarantine, (shown > 0) + 2 * (others > 0) + 4 * seen


def _submission(counts: Iterable[int]) -> Wire:
    return dict(zip(("servers", "conns", "fails"), map(_number, counts), strict=True))


def heartbeat(devices: Iterable[Device], policy: Policy, up: Uptime, figures: dict[str, Any]) -> Wire:
    """The daily heartbeat. figures: exempt, packets, failures, restored; ways and unlisted, as in the status (there
    `unwatched`, `unlisted`); submission: pseudonym and counts of each device with many servers; docs: type, digest and
    sequence of each signed document in force.

    Where there is none it has no field for them, nor for unusual devices, so that collectors that do not know the field
    accept the heartbeat.
    """
    standings = [device.score.standing for device in devices]
    unusual = standings.count(UNUSUAL)
    ways = [{**_interface(way), "route": bool(way["default_route"])} for way in figures.get("ways", ())]
    submission = [{"dev": dev, **_submission(counts)} for dev, *counts in figures.get("submission", ())]
    unlisted = [_interface(network) for network in figures.get("unlisted", ())]
    return {
        "up": int(up),
        "kind": HEARTBEAT,
        "devices": len(standings),
        "suspected": standings.count(SUSPECTED),
        "compromised": standings.count(COMPROMISED),
        "exempt": _number(figures["exempt"]),
        "mode": policy.filter.mode,
        "fail": policy.filter.fail,
        "packets": _number(figures["packets"]),
        "failures": _number(figures["failures"]),
        "restored": _number(figures["restored"]),
        **({"unusual": unusual} if unusual else {}),
        **({"sub": submission[:_MAX_WAYS]} if submission else {}),
        **({"ways": ways[:_MAX_WAYS]} if ways else {}),
        **({"unlisted": unlisted[:_MAX_WAYS]} if unlisted else {}),
        **({"docs": [_in_force(*one) for one in figures["docs"]]} if figures.get("docs") else {}),
    }


def instruction_event(up: Uptime, digest: str, outcome: str, action: str, dev: str) -> Wire:
    """What has become of an instruction. outcome: `applied`, or the code of its refusal. action, dev: "" where it could
    not be read."""
    event: Wire = {"up": int(up), "kind": INSTRUCTION, "doc": digest}
    if action:
        event["act"] = action
    if dev:
        event["dev"] = dev
    applied = outcome == APPLIED
    return {**event, "result": APPLIED if applied else "refused", **({} if applied else {"why": outcome})}


def document_event(up: Uptime, ended: Ended) -> Wire:
    """What has become of a signed document for many routers."""
    event: Wire = {"up": int(up), "kind": DOCUMENT}
    for name, value in (("type", ended.type), ("doc", ended.digest), ("number", ended.sequence)):
        if value:
            event[name] = value
    event["result"] = ended.result
    if ended.why and ended.result != APPLIED:
        event["why"] = ended.why
    return event


def _in_force(kind: str, digest: str, sequence: int) -> Wire:
    return {"type": kind, "doc": digest, "number": sequence}


def _interface(one: dict[str, Any]) -> Wire:
    """An interface by which mail leaves unwatched, or from which it comes."""
    return {
        "if": "".join(c if "!" <= c <= "~" else "?" for c in one["interface"])[:_MAX_NAME],
        "families": list(one["families"]),
        "conns": _number(one["connections"]),
    }


def _up(time: PacketTime, booted: PacketTime) -> int:
    """Seconds since boot; negative before it."""
    return min(_MAX_NUMBER, max(-_MAX_NUMBER, math.floor(time - booted)))


def _number(count: int) -> int:
    return min(count, _MAX_NUMBER)
