"""What the running filter knows, as a file that others read: written atomically, shown by `cpe-filter status`.

Knows the engine's devices and counters. Must not judge. The file holds MACs, addresses, counts and what devices call
themselves in DHCP, so it stays on the router; no names from mail.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from cpe_filter.detect.device import Device
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.engine import Engine
from cpe_filter.report.devices import device_facts, why

VERSION = 1


def snapshot(engine: Engine, about: dict[str, Any], now: float, named: Callable[[Device], str]) -> dict[str, Any]:
    """The status object. `about`: what the router adds (pid, since, handoff, counters); `now`: POSIX seconds.

    `named`: a device's host name, "" where none is known.
    """
    return {
        "version": VERSION,
        "updated": round(now, 3),
        "mode": engine.policy.mode,
        "packets": engine.packets,
        "mail_packets": engine.mail_packets,
        "unread_packets": engine.refusals,
        "flows": engine.flow_count,
        **about,
        "devices": [_device(engine, device, named(device)) for device in engine.devices],
    }


def _device(engine: Engine, device: Device, name: str) -> dict[str, Any]:
    """What replay tells, and what only a running filter knows."""
    mode = effective_mode(engine.policy, device)
    return {**device_facts(device), "mode": mode, "refused": device.refused, "name": name or None}


def write(path: str, content: dict[str, Any]) -> None:
    """Replaces the file in one step, so that a reader sees the old or the new whole. Raises OSError."""
    temporary = f"{path}.new"
    # The name is ours and the folder root's; still, never write through somebody's link.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
    with os.fdopen(handle, "w") as file:
        json.dump(content, file, separators=(",", ":"))
        file.write("\n")
    os.replace(temporary, path)


def command(path: str, as_json: bool) -> int:
    """`cpe-filter status`: 0 and the status, or 1 and one line where no filter runs."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(64 << 20)
        content = json.loads(text)
        pid = content["pid"]
    except FileNotFoundError:
        return _not_running(f"no filter is running (there is no {path})")
    except OSError as error:
        return _not_running(f"{path}: {error.strerror}")
    except (KeyError, IndexError, RecursionError, TypeError, ValueError):
        return _not_running(f"{path}: not a status file")
    if not isinstance(pid, int) or pid < 1:
        return _not_running(f"{path}: not a status file")
    if not _alive(pid):
        return _not_running(f"the filter that wrote {path} (process {pid}) does not run any more")
    if as_json:
        sys.stdout.write(text)
        return 0
    try:
        lines = describe(content)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return _not_running(f"{path}: not a status file")
    print("\n".join(lines))
    return 0


def _not_running(why: str) -> int:
    print(f"cpe-filter: {why}", file=sys.stderr)
    return 1


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def describe(content: dict[str, Any]) -> list[str]:
    """A status object for people, in lines."""
    from cpe_filter.detect.evidence import INDICATORS
    from cpe_filter.report.text import clock, table

    up = int(content["updated"] - content["since"])
    age = time.time() - content["updated"]
    lines = [
        f"cpe-filter is running (process {content['pid']}, up {up // 3600}:{up % 3600 // 60:02}:{up % 60:02}), "
        f"mode {content['mode']}, queue {content['queue']} by {content['handoff']}",
        f"{content['mail_packets']} packets of mail looked at, {content['flows']} connections open, "
        f"{content['failures']} failures; as of {age:.0f} s ago",
    ]
    devices = content["devices"]
    if not devices:
        return [*lines, "No device has sent mail straight to a stranger's server."]
    lines.append("")
    titles = ["device", "standing", "mode now", "score", "connections", "refused", "networks", "messages", "recipients"]
    rows = [
        [
            device["device"],
            device["standing"],
            device["mode"],
            f"{device['score']:.1f}/{device['threshold']:g}",
            device["connections"],
            device["refused"],
            device["networks"],
            device["messages"],
            device["recipients"],
        ]
        for device in devices
    ]
    named = any(device.get("name") for device in devices)
    if named:
        titles.insert(1, "name")
        for row, device in zip(rows, devices, strict=True):
            row.insert(1, device.get("name") or "-")
    lines += table(titles, rows, right_from=3 + named)
    for device in devices:
        if device["standing"] == "clear":
            continue
        at = device["compromised_at"] or device["suspected_at"]
        since = f" since {clock(at['time'])} UTC, its connection {at['connection']}" if at else ""
        known = ", ".join([*([device["name"]] if device.get("name") else []), *device["addresses"][:4]])
        lines += ["", f"{device['device']} ({known}) is {device['standing']}{since}:"]
        lines.append(f"  {why(device)}")
        for item in device["evidence"][:5]:
            indicator = INDICATORS.get(item["indicator"])
            if indicator and item["weight"] > 0:
                lines.append(f"  {item['weight']:+6.1f}  {item['count']:>5} x  {indicator.meaning}")
    return lines
