"""Finds devices by the names that people use: name in the status, MAC, name in DHCP.

Knows devices and their names. Must not know the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cpe_filter.detect.device import HOME, HOME_WORD, Device
from cpe_filter.detect.score import COMPROMISED
from cpe_filter.inputs import shown
from cpe_filter.policy.model import PolicyError, parse_mac

#: Devices named in an error.
MAX_NAMED = 8


def called(device: Device, host_name: str) -> str:
    """A device for people, with its name in DHCP, which may be ""."""
    return f"{device.name} ({host_name})" if host_name else device.name


def compromised_device(text: str, all_devices: Iterable[Device], host_name: Callable[[Device], str]) -> Device:
    """The compromised device of this name; `home` is the unknown device of this home. Raises `PolicyError`."""
    key, devices = parse_mac(text), list(all_devices)

    def listed(some: list[Device]) -> str:
        more = f" and {len(some) - MAX_NAMED} more" if len(some) > MAX_NAMED else ""
        return ", ".join([called(device, host_name(device)) for device in some[:MAX_NAMED]]) + more

    found = [device for device in devices if text == device.name or (key is not None and key == device.key)]
    if not found and text:
        found = [device for device in devices if host_name(device).lower() == text.lower()]
    if not found and text == HOME_WORD:
        found = [device for device in devices if device.key == HOME]
    bad = [device for device in devices if device.score.standing == COMPROMISED]
    known = f"compromised: {listed(bad)}" if bad else "no device is compromised"
    if len(found) > 1:
        bad_ones = [device for device in found if device in bad]
        if len(bad_ones) != 1:
            raise PolicyError(f"{shown(text)} is the name of {listed(found)}; name one by its MAC")
        found = bad_ones
    if not found:
        raise PolicyError(f"no device is called {shown(text)}; {known}")
    if found[0] not in bad:
        device = found[0]
        raise PolicyError(f"{called(device, host_name(device))} is {device.score.standing}, not compromised; {known}")
    return found[0]
