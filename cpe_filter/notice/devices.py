"""Devices for the subscriber's page: what distinguishes each in the home, its standing, and why.

Knows the engine's devices and the policy. Must not know words or HTML (see page). Loaded only in the child process that
makes the page (see notice).
"""

from __future__ import annotations

from ipaddress import ip_address

from cpe_filter.detect.device import BEHIND, HOME, ROUTER, Device
from cpe_filter.detect.score import COMPROMISED, UNUSUAL, against
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.lean.clocks import PacketTime, Posix
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.notice.card import NOTICED
from cpe_filter.policy.model import Policy


class Entry(NamedTuple):
    """name: what it calls itself, or "". place: "", `router`, `home` (an unknown device of it) or `behind`. oui: the
    maker's part of the MAC, "" where there is none; random: the MAC is made up; tail: its end. mode: monitor, limit,
    block or held. Times: POSIX seconds. past: "", `released` or `cleared`, since past_at. indicators: the weightiest
    first. counts: its connections to mail servers, and those that were refused.
    """

    name: str
    place: str
    oui: str
    random: bool
    tail: str
    standing: str
    mode: str
    first: Posix | None
    last: Posix
    past: str
    past_at: Posix
    indicators: tuple[str, ...]
    counts: tuple[int, int] = (0, 0)


def entry(device: Device, policy: Policy, name: str, past: tuple[str, PacketTime], shift: float) -> Entry:
    """shift: from the engine's time to the wall's, seconds."""
    key = device.key
    own = key if len(key) == 6 else b""  # the MAC of a host behind a second router is that router's
    standing = device.score.standing
    at = device.compromised_at if standing == COMPROMISED else device.unusual_at if standing == UNUSUAL else None
    return Entry(
        name or _address(key),
        "router" if key == ROUTER else "home" if key == HOME else "behind" if len(key) in BEHIND else "",
        own[:3].hex(":").upper() if own and not own[0] & 3 else "",
        bool(own) and bool(own[0] & 2),
        own[4:].hex(":").upper(),
        standing,
        "held" if device.notice[2] == "held" else effective_mode(policy, device),
        None if at is None else Posix(at[0] + shift),
        Posix(device.last_seen + shift),
        past[0],
        Posix(past[1] + shift),
        against(device.score, 3 * NOTICED),  # more than are shown, because some mean the same in plain words
        (device.connections, device.refused),
    )


def _address(key: bytes) -> str:
    """What distinguishes a device that has no MAC of its own here."""
    if len(key) in (4, 16):
        return str(ip_address(key))
    if len(key) in BEHIND:
        return str(ip_address(key[6:])) if len(key) == 10 else f"{ip_address(key[6:] + bytes(8))}/64"
    return ""
