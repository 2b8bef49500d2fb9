"""Requests about exemptions, with or without a running filter: reads and checks their fields.

Knows the fields of a request. Must not know the daemon: `cpe-filter exempt` uses this module alone if no filter runs.
"""

from __future__ import annotations

from cpe_filter.home.leases import clean
from cpe_filter.lean.clocks import Posix
from cpe_filter.policy import exemptions
from cpe_filter.policy.exemptions import Contents, Kept, describe
from cpe_filter.policy.model import Exemption, Policy, PolicyError, parse_exemption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Answer = dict[str, Any]

#: Ids in one request.
MAX_IDS = 64


def asker(uid: int, sudo: object) -> str:
    """The requester, for log and file. sudo: the user who called sudo, [uid, name]; root could make it up."""
    if isinstance(sudo, list) and len(sudo) == 2 and all(isinstance(part, str) and part for part in sudo):
        return f"uid {uid}, through sudo uid {clean(sudo[0])} ({clean(sudo[1])})"[: exemptions.MAX_BY]
    return f"uid {uid}"


def requested_exemption(request: Answer, wall: Posix) -> Exemption:
    """The requested exemption: device, destination, until (POSIX time or none), reason. Raises `PolicyError`."""
    reason, until = request.get("reason"), request.get("until")
    if not isinstance(reason, str) or not reason.strip():
        raise PolicyError("exempt add: --reason is empty; expected one line that says what the exemption is for")
    entry = {name: request.get(name) or "any" for name in ("device", "destination")}
    exemption = parse_exemption({**entry, "reason": reason}, "exempt add:")
    if until is None:
        return exemption
    if isinstance(until, bool) or not isinstance(until, int | float) or not until <= exemptions.LATEST:
        raise PolicyError("exempt add: invalid --until; use a date before the year 10000")
    if until <= wall:
        now = exemptions.clock(wall)
        raise PolicyError(
            f"exempt add: --until {exemptions.clock(Posix(until))} UTC is in the past; now it is {now} UTC"
        )
    return exemption._replace(until=Posix(int(until)))


def ids_to_remove(request: Answer, contents: Contents, policy: Policy, path: str) -> list[int]:
    """The ids of the exemptions to remove. path: the policy's file. Raises `PolicyError`."""
    names, device, destination = request.get("ids", []), request.get("device"), request.get("destination")
    if not isinstance(names, list) or len(names) > MAX_IDS or not all(isinstance(name, str) for name in names):
        raise PolicyError(f"exempt remove: invalid list of ids; allowed: at most {MAX_IDS} ids")
    if not names and device is None and destination is None:
        raise PolicyError("exempt remove: expected an id, or --device or --destination to remove all that match")
    return exemptions.chosen(contents, policy.exempt, path, names, device, destination)


def added_line(one: Kept, replaces: bool) -> str:
    """What was done, for people."""
    return f"exemption {one.id} {'changed' if replaces else 'added'}: {describe(one.exemption)}"
