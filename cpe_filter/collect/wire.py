"""A report's bytes -> `Report`: checked against the published schema, with times of this server.

Knows the wire format (cpe_filter/collect/report-v1.schema.json). Must not know HTTP, who may send, or where reports are
stored. Routers have no reliable clock, so times are uptimes: the time of an event is the receipt of its report, less
how long before the report it happened. What a router sends is hostile: an error says where and which rule, and never
repeats what was sent.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from typing import Any, NoReturn

import jsonschema_rs

VERSION = 1
#: Sequence numbers below this are sent back for rejected events.
_MAX_SEQ = 1 << 32
#: Kinds of events besides those of incidents: each has a definition of its own in the schema.
_APART = ("heartbeat", "instruction", "document")

Event = dict[str, Any]


class ReportError(ValueError):
    """Bytes that are not a report. The text says why."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that was not accepted. seq: None if it has none that can be sent back. index: its place, from 0."""

    seq: int | None
    index: int
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    """One report of a router, as it is kept.

    router: its id, from the certificate. address: where the connection came from, None if not known. received: POSIX
    seconds, this server's. boot, up, t, synced, pol, ver, model, dropped: as in the schema; t is the router's own
    clock and for information only. events: those that fit the schema, each seq once.
    """

    router: str
    address: str | None
    received: int
    boot: str
    up: int
    t: int | None
    synced: bool
    pol: str
    ver: str
    model: str | None
    dropped: int
    events: tuple[Event, ...] = field(default=())

    def at(self, up: int) -> int:
        """The POSIX time of an uptime in this report, by the clock of this server; never later than the report."""
        return self.received - max(0, self.up - up)

    def pack(self) -> bytes:
        """For a queue; `unpack` reads it."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def unpack(data: bytes) -> Report:
    """What `Report.pack` wrote. Raises `ReportError`."""
    try:
        values = json.loads(data)
        return Report(**{**values, "events": tuple(values["events"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ReportError(f"not a packed report: {error}") from None


@cache
def schema() -> dict[str, Any]:
    """The published JSON Schema."""
    text = resources.files("cpe_filter.collect").joinpath("report-v1.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def _validators() -> dict[str, Any]:
    """One for the report without its events, one for each kind of event: so errors name the violated rule."""
    whole = schema()
    base = {"$schema": whole["$schema"], "$defs": whole["$defs"]}
    envelope = {key: value for key, value in whole.items() if key not in ("$id", "properties")}
    envelope["properties"] = {
        **whole["properties"],
        "events": {key: value for key, value in whole["properties"]["events"].items() if key != "items"},
    }
    return {
        "report": jsonschema_rs.Draft202012Validator(envelope),
        **{
            name: jsonschema_rs.Draft202012Validator({**base, "$ref": f"#/$defs/{name}"})
            for name in ("incident", *_APART)
        },
    }


def parse(data: bytes, router: str, address: str | None, received: int) -> tuple[Report, list[Rejected]]:
    """Parses the JSON of a report. Raises `ReportError` if nothing of it is usable; returns rejected events apart."""
    body = _json(data)
    why = _fault("report", body)
    if why:
        raise ReportError(why)
    events: dict[int, Event] = {}
    rejected = []
    for index, event in enumerate(body["events"]):
        kind = event.get("kind") if isinstance(event, dict) else None
        why = _fault(kind if kind in _APART else "incident", event)
        if why:
            rejected.append(Rejected(_seq(event), index, why))
        else:
            events.setdefault(int(event["seq"]), _whole(event))
    report = Report(
        router=router,
        address=address,
        received=received,
        boot=body["boot"],
        up=int(body["up"]),
        t=None if body["t"] is None else int(body["t"]),
        synced=body["synced"],
        pol=body["pol"],
        ver=body["ver"],
        model=body.get("model"),
        dropped=int(body["dropped"]),
        events=tuple(events.values()),
    )
    return report, rejected


def _json(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise ReportError("not UTF-8 text") from None
    except RecursionError:
        raise ReportError("JSON nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, or int()'s own refusal of thousands of digits
        where = f" (byte {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise ReportError(f"not JSON{where}") from None


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _fault(name: str, value: Any) -> str | None:
    """The first violated rule, and where; None if none is. It contains nothing of the value."""
    try:
        error = next(_validators()[name].iter_errors(value), None)
    except (ValueError, RecursionError):  # lone surrogates
        return "text is not Unicode"
    if error is None:
        return None
    rule = [str(step) for step in error.schema_path]
    # Only names of the schema say where; names in the instance may be the sender's.
    place = [rule[i + 1] for i, step in enumerate(rule[:-1]) if step == "properties" and i + 1 < len(rule)]
    place += [str(step) for step in error.instance_path if isinstance(step, int)]
    missing = getattr(error.kind, "property", None) if rule[-1] == "required" else None
    text = f"{rule[-1]} {missing}" if isinstance(missing, str) else rule[-1]
    return f"{' '.join(place)}: {text}" if place else text


def _seq(event: Any) -> int | None:
    seq = event.get("seq") if isinstance(event, dict) else None
    good = isinstance(seq, int) and not isinstance(seq, bool) and 0 <= seq < _MAX_SEQ
    return seq if good else None


def _whole(value: Any) -> Any:
    """JSON Schema accepts 3.0 as an integer; the store gets 3."""
    if isinstance(value, float):
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value
