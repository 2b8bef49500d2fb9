"""What the running filter knows, as a file that others read: written atomically, and read for `cpe-filter status`.

Knows the engine's devices and counters. Must not judge. The file holds MACs, addresses, counts and what devices call
themselves in DHCP, so it stays on the router; no names from mail.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cpe_filter.detect.device import Device
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.engine import Engine
from cpe_filter.json_text import parts
from cpe_filter.policy import Policy
from cpe_filter.report.devices import device_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
#: Written by the router's service: the filter's process, as everybody else sees it.
_PID_FILE = "run.pid"
#: Exemptions in a status.
EXEMPT = 32
#: Bytes of a status file.
_LONGEST = 64 << 20


class NotRunning(Exception):
    """There is no status of a running filter; the text says why."""


def snapshot(engine: Engine, about: dict[str, Any], now: float, named: Callable[[Device], str]) -> dict[str, Any]:
    """The status object. `about`: what the router adds (pid, since, handoff, counters); `now`: POSIX seconds.

    `named`: a device's host name, "" where none is known. `devices` is an iterator: it can be read once, at once.
    """
    return {
        "version": VERSION,
        "updated": round(now, 3),
        "mode": engine.policy.mode,
        "packets": engine.packets,
        "mail_packets": engine.mail_packets,
        "unread_packets": engine.refusals,
        "flows": engine.flow_count,
        "evicted_flows": engine.evicted_flows,
        **about,
        # Not a list: 256 devices would take 0.7 MB for a moment, and Python seldom gives it back.
        "devices": (_device(engine, device, named(device)) for device in engine.devices),
    }


def exemptions(in_force: list[dict[str, Any]]) -> dict[str, Any]:
    """`exempt` has the first `EXEMPT` of them, as `exempt list` has them; `exempt_count` is how many there are."""
    kept = ("id", "device", "destination", "until", "reason")
    return {
        "exempt_count": len(in_force),
        "exempt": [{key: one[key] for key in kept} for one in in_force[:EXEMPT]],
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
        file.writelines(parts(content))
        file.write("\n")
    os.replace(temporary, path)


def read(path: str) -> tuple[str, dict[str, Any]]:
    """The file's text, and what it says, of a filter that runs. Raises `NotRunning`.

    Not more is looked at than the process: whoever shows the content must expect anything.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LONGEST)
        import json

        content = json.loads(text)
        pid = content["pid"]
    except FileNotFoundError:
        raise NotRunning(f"no filter is running (there is no {path})") from None
    except OSError as error:
        raise NotRunning(f"{path}: {error.strerror}") from None
    except (KeyError, IndexError, RecursionError, TypeError, ValueError):
        raise NotRunning(f"{path}: not a status file") from None
    if not isinstance(pid, int) or pid < 1:
        raise NotRunning(f"{path}: not a status file")
    in_jail = content.get("pid_namespace") not in (None, pid_namespace())
    if not (_alive_in_jail(path) if in_jail else _alive(pid)):
        raise NotRunning(f"the filter that wrote {path} (process {pid}) does not run any more")
    return text, content


def pid_namespace() -> int | None:
    """What tells this process's numbering of processes from others; None where the kernel has one only."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def of_service(path: str, name: str) -> str:
    """Where the router's service leaves a file: beside status file `path`, or where that is by default."""
    beside, usual = (os.path.join(os.path.dirname(one), name) for one in (path, Policy().status_file))
    return beside if os.path.exists(beside) else usual


def _alive_in_jail(path: str) -> bool:
    """Whether a filter in a jail runs. By itself it is process 1 there, which says nothing here."""
    try:
        with open(of_service(path, _PID_FILE), encoding="ascii") as file:
            pid = int(file.read(32))
            return pid > 0 and _alive(pid)
    except (OSError, ValueError):
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
