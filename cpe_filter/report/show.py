"""`cpe-filter report show`: what was and will be reported to the Internet provider, for the subscriber.

Knows the folder, the events of the wire format, and words for them. Must not change anything. It shows the texts that
were sent byte for byte, so nothing is sent upstream that cannot be read here. Only this router knows, and shows, which
device has a pseudonym.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from cpe_filter.detect.device import device_name
from cpe_filter.detect.evidence import INDICATORS, current
from cpe_filter.inputs import printable
from cpe_filter.lean import files
from cpe_filter.lean.checksum import CorruptStateError
from cpe_filter.policy.model import Policy
from cpe_filter.report import document_news, schedule, spool_dir
from cpe_filter.report.persistence import SavedIncidents, parse
from cpe_filter.report.spool_dir import LAST, PLAN, uptime
from cpe_filter.report.spool_reader import SpoolReader
from cpe_filter.texts.terminal import clock

#: Signs of an event that are put into words; all are in its text.
_SHOWN = 3
_KINDS = {
    "opened": "a device looks like a mail server",
    "raised": "a device is compromised",
    "updated": "it continues",
    "closed": "it has ended",
    "heartbeat": "the filter works",
    "instruction": "the Internet provider's instruction",
    "document": "the Internet provider's document",
}
_WHYS = {
    "cleared": "by its behaviour",
    "released": "its owner has released it",
    "expired": "not seen for a long time",
    "exempt": "it is exempt now",
    "merged": "it continues in another incident of the same device",
}


class NotShownError(RuntimeError):
    """There is nothing to show, or this user may not see it; the text says why."""


def show(policy: Policy, as_json: bool, out: Callable[[str], None]) -> None:
    """Raises `NotShownError`."""
    path = spool_dir.folder(policy.status.status_file)
    try:
        reader = SpoolReader(path)
    except FileNotFoundError:
        raise NotShownError(f"no reports are made ({path} does not exist)") from None
    except OSError as error:
        raise NotShownError(f"{path}: {error.strerror}; only root can read it") from None
    try:
        content = _gathered(policy, reader)
    except OSError as error:
        raise NotShownError(f"{path}: {error.strerror}; only root can read it") from None
    except CorruptStateError as error:
        raise NotShownError(f"{path}: the spool is {error}") from None
    finally:
        reader.close()
    if as_json:
        out(json.dumps(content))
        return
    for line in _lines(content):
        out(line)


def _gathered(policy: Policy, reader: SpoolReader) -> dict[str, Any]:
    boot = spool_dir.boot_id()
    spool = reader.spool(boot)
    try:
        incidents = SavedIncidents(parse(reader.incidents()))
        devices, begun = {dev: device_name(key) for dev, key in incidents.devices().items()}, incidents.open()
    except (OSError, CorruptStateError, ValueError):
        devices, begun = {}, []
    plan = schedule.known(reader.read(PLAN), boot)
    return {
        "url": policy.report.url,
        "devices": devices,
        "open": [{"dev": dev, "standing": standing, "since": _time(since)} for dev, standing, since in begun],
        "documents": _documents(policy),
        "sent": _sent(reader.read(LAST)),
        "waiting": [json.loads(event.line) for event in spool[1]] if spool else [],
        "dropped": spool[0].dropped if spool else 0,
        "next_in": max(0, round(plan.due - uptime())) if plan else None,
        "failures": plan.failures if plan else 0,
    }


def _time(when: float) -> str:
    """RFC 3339; empty for a time that no clock shows."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
    except (OverflowError, OSError, ValueError):
        return ""


def _documents(policy: Policy) -> list[dict[str, Any]]:
    """Each type of signed document: what is in force ("" and 0: nothing), and how the latest of its type has ended."""
    try:
        news = document_news.parse(
            files.read(document_news.path_of(policy.state.state_file), document_news.MAX_BYTES + 1)
        )
    except (OSError, CorruptStateError):
        return []
    in_force = {kind: (digest, sequence) for kind, digest, sequence in news.in_force}
    ended = {one.type: (one.result, one.why) for one in news.ended}
    found = []
    for kind in document_news.TYPES:
        if kind in in_force or kind in ended:
            (digest, sequence), (result, why) = in_force.get(kind, ("", 0)), ended.get(kind, ("", ""))
            found.append({"type": kind, "doc": digest, "number": sequence, "result": result, "why": why})
    return found


def _sent(last: Any) -> list[dict[str, Any]]:
    """`text` is what was sent, `report` the same as an object."""
    found = []
    for one in last if isinstance(last, list) else ():
        try:
            text = str(one["report"])
            found.append({"at": int(one["at"]), "how": str(one["how"]), "text": text, "report": json.loads(text)})
        except (KeyError, TypeError, ValueError, RecursionError):
            continue
    return found


def _lines(content: dict[str, Any]) -> list[str]:
    devices = content["devices"]
    lines = [f"Reports go to {content['url']}." if content["url"] else "Nothing is reported: [report] url is empty."]
    for one in content["sent"]:
        at = clock(one["at"])
        how = "accepted" if one["how"] == "200" else printable(one["how"])
        lines += ["", f"Sent {at} UTC: {how}"]
        events = one["report"].get("events") if isinstance(one["report"], dict) else None
        lines += [f"  {_words(event, devices)}" for event in (events if isinstance(events, list) else [])]
        lines += ["  word for word:", f"  {printable(one['text'])}"]
    lines += ["", f"Waiting to be sent: {_many(len(content['waiting']), 'event')}"]
    for event in content["waiting"]:
        lines += [f"  {_words(event, devices)}", f"    {json.dumps(event, separators=(',', ':'))}"]
    if content["dropped"]:
        lines.append(
            f"Dropped since the router started, because the spool was full: {_many(content['dropped'], 'event')}"
        )
    if content["waiting"] and content["next_in"] is not None:
        tries = f", after {_many(content['failures'], 'failure')}" if content["failures"] else ""
        lines.append(f"Not before {content['next_in']} s from now{tries}.")
    return lines


def _words(event: Any, devices: dict[str, str]) -> str:
    """An event in a sentence. What it is made of was read from a file that `send` wrote."""
    try:
        kind = event["kind"]
        what = _KINDS[kind]
        if kind == "heartbeat":
            return (
                f"{what}: {_many(int(event['devices']), 'device')}, {int(event.get('unusual', 0))} unusual, "
                f"{int(event['suspected'])} suspected, {int(event['compromised'])} compromised"
                + "".join([f"; {_submission(one, devices)}" for one in event.get("sub", ())])
                + "".join(
                    [f"; {printable(str(one['type']))} {int(one['number'])} in force" for one in event.get("docs", ())]
                )
            )
        if kind == "instruction":
            return f"{what}: {_instruction(event, devices)}"
        if kind == "document":
            why = f" ({printable(str(event['why']))})" if "why" in event else ""
            named = [printable(str(event[name])) for name in ("type", "number", "doc") if name in event]
            return f"{' '.join([what, *named])}: {printable(str(event['result']))}{why}"
        dev = str(event["dev"])
        why = f", {_WHYS[event['why']]}" if "why" in event else ""
        counted = ", ".join(
            _many(int(event[name]), word)
            for name, word in (
                ("conns", "connection"),
                ("nets", "new network"),
                ("msgs", "message"),
                ("rcpts", "recipient"),
            )
        )
        counts = {current(name): int(count) for name, count in event["ind"].items()}
        codes = sorted((name for name in counts if name in INDICATORS), key=lambda name: -counts[name])
        seen = "; ".join(INDICATORS[name].meaning for name in codes[:_SHOWN])
        seen += f"; and {_many(len(codes) - _SHOWN, 'more sign')}" if len(codes) > _SHOWN else ""
        device = f"{devices[dev]}, called {dev}" if dev in devices else f"the one called {printable(dev)}"
        return f"{what}{why}: {device}: {counted}, {int(event['refused'])} refused{'; it ' + seen if seen else ''}"
    except (AttributeError, KeyError, TypeError, ValueError):
        return "an event of another version"


def _instruction(event: Any, devices: dict[str, str]) -> str:
    """What it asked for, and what has become of it."""
    dev = str(event.get("dev", ""))
    device = f" {devices.get(dev) or f'the one called {printable(dev)}'}" if dev else ""
    asked = f"{printable(str(event['act']))}{device}, " if "act" in event else ""
    return f"{asked}{'applied' if event['result'] == 'applied' else 'refused: ' + printable(str(event['why']))}"


def _submission(one: Any, devices: dict[str, str]) -> str:
    """A device with many submission servers."""
    dev = str(one["dev"])
    called = devices.get(dev) or f"the one called {printable(dev)}"
    failed = f"{int(one['fails'])} of {_many(int(one['conns']), 'connection')} failed"
    return f"{called}: {_many(int(one['servers']), 'submission server')}, {failed}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
