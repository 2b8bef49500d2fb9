"""The exemptions that `cpe-filter exempt` keeps, in a file of their own besides the policy's.

Knows how they are changed, and which are in force. Must not know the kernel, the engine or the control socket; other
modules read the file (exemptions_file) and write it (exemptions_store). Bounded: `MAX_KEPT` exemptions.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from cpe_filter.inputs import shown
from cpe_filter.lean.clocks import Posix
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.policy.model import Exemption, Network, PolicyError, parse_exemption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


#: More than a home will ever have.
MAX_KEPT = 256
MAX_ID = 10**9
MAX_BY = 100
#: Seconds from the year 1 to the year 9999: what TOML can hold.
EARLIEST, LATEST = -62135596800.0, 253402300799.0


class Kept(NamedTuple):
    """An exemption of the file. added: POSIX time; by: who added it."""

    id: int
    exemption: Exemption
    added: Posix | None
    by: str


class Contents(NamedTuple):
    """The file. next: the next exemption's id."""

    next: int = 1
    kept: tuple[Kept, ...] = ()


def toml_time(seconds: Posix) -> str:
    """POSIX seconds as TOML's date and time, UTC."""
    moment = time.gmtime(min(max(seconds, EARLIEST), LATEST))
    return f"{moment[0]:04}-{moment[1]:02}-{moment[2]:02}T{moment[3]:02}:{moment[4]:02}:{moment[5]:02}Z"


# ── changes ─────────────────────────────────────────────────────────────────────────────────────────


def added(
    contents: Contents, exemption: Exemption, now: Posix, by: str, shortens: bool = True
) -> tuple[Contents, Kept, bool]:
    """Adds one. Returns the file, the new one, and whether it replaces one of the same device and destination.

    now: POSIX time. shortens: whether it may replace one that ends later; else that one stays, and is returned. Raises
    `PolicyError` if there are too many.
    """
    for place, one in enumerate(contents.kept):
        if one.exemption[:2] == exemption[:2]:
            if not shortens and _lasts(one.exemption) >= _lasts(exemption):
                return contents, one, True
            new = Kept(one.id, exemption, Posix(int(now)), by)
            kept = (*contents.kept[:place], new, *contents.kept[place + 1 :])
            return contents._replace(kept=kept), new, True
    if len(contents.kept) >= MAX_KEPT:
        raise PolicyError(f"there are {MAX_KEPT} exemptions, the most that are kept; remove one first")
    new = Kept(contents.next, exemption, Posix(int(now)), by)
    return Contents(contents.next + 1, (*contents.kept, new)), new, False


def _lasts(exemption: Exemption) -> float:
    return exemption.until if exemption.until is not None else float("inf")


def without(contents: Contents, ids: Iterable[int]) -> Contents:
    """Without those of these ids."""
    gone = frozenset(ids)
    return contents._replace(kept=tuple(one for one in contents.kept if one.id not in gone))


def expired(exemption: Exemption, wall: Posix) -> bool:
    """Whether it has expired at POSIX time `wall`."""
    return exemption.until is not None and wall > exemption.until


def in_force(exemptions: Iterable[Exemption], wall: Posix) -> tuple[Exemption, ...]:
    """Those that have not expired, without their end: their holder must ask again.

    The wall clock decides when they expire, and it may jump. The engine's clock does not, so the engine cannot decide.
    """
    return tuple(one._replace(until=None) for one in exemptions if not expired(one, wall))


# ── for people ──────────────────────────────────────────────────────────────────────────────────────


def device_text(device: bytes | None) -> str:
    return device.hex(":") if device else "any"


def destination_text(destination: Network | None) -> str:
    """A network of one address as that address."""
    if destination is None:
        return "any"
    return str(destination.network_address if destination.num_addresses == 1 else destination)


def describe(exemption: Exemption) -> str:
    """In one line."""
    until = f"until {clock(exemption.until)} UTC" if exemption.until is not None else "never expires"
    reason = f" ({exemption.reason})" if exemption.reason else ""
    destination = destination_text(exemption.destination)
    return f"device {device_text(exemption.device)}, destination {destination}, {until}{reason}"


def clock(seconds: Posix) -> str:
    """POSIX seconds as `2027-01-31 23:59:59`, UTC."""
    return toml_time(seconds).replace("T", " ").rstrip("Z")


def rows(
    policy: Iterable[Exemption], path: str, contents: Contents, file: str, wall: Posix
) -> Iterator[dict[str, Any]]:
    """All exemptions, those of the policy file `path` first, as objects for `exempt list`."""
    listed: list[tuple[str, Exemption, Posix | None, str, str]]
    listed = [(f"policy-{number}", one, None, "", path) for number, one in enumerate(policy, 1)]
    listed += [(str(one.id), one.exemption, one.added, one.by, file) for one in contents.kept]
    for name, exemption, added, by, where in listed:
        yield {
            "id": name,
            "device": device_text(exemption.device),
            "destination": destination_text(exemption.destination),
            "until": exemption.until,
            "reason": exemption.reason,
            "added": added,
            "by": by,
            "file": where,
            "in_force": not expired(exemption, wall),
        }


def chosen(
    contents: Contents,
    policy: Iterable[Exemption],
    path: str,
    names: Iterable[str],
    device: str | None,
    destination: str | None,
) -> list[int]:
    """The ids of the exemptions to remove: those named, and those of this device and destination.

    None for a device or destination means any. Raises `PolicyError` for unknown ids, and for those of the policy file.
    """
    ids = {str(one.id): one.id for one in contents.kept}
    out: list[int] = []
    for name in names:
        if name.startswith("policy-"):
            raise PolicyError(f"{shown(name)} comes from the policy file {path}; remove it there and run reload")
        if name not in ids:
            known = f"known: {', '.join(ids)}" if ids else "there are no exemptions"
            raise PolicyError(f"no exemption with id {shown(name)}; {known}")
        out.append(ids[name])
    if device is None and destination is None:
        return out
    wanted = parse_exemption({"device": device or "any", "destination": destination or "::", "reason": ""}, "exempt:")

    def matches(one: Exemption) -> bool:
        return (device is None or one.device == wanted.device) and (
            destination is None or one.destination == wanted.destination
        )

    found = [one.id for one in contents.kept if matches(one.exemption)]
    if not found:
        if any(map(matches, policy)):
            raise PolicyError(f"the exemption comes from the policy file {path}; remove it there and run reload")
        raise PolicyError("no exemption for this device and destination; `exempt list` shows them")
    return out + found
