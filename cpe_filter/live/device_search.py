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
    devices = list(all_devices)
    found = _of_this_name(text, devices, host_name)
    compromised = [device for device in devices if device.score.standing == COMPROMISED]
    known = f"compromised: {_listed(compromised, host_name)}" if compromised else "no device is compromised"
    if not found:
        raise PolicyError(f"no device is called {shown(text)}; {known}")
    matching = [device for device in found if device in compromised]
    if len(matching) == 1:
        return matching[0]
    if len(found) > 1:
        raise PolicyError(f"{shown(text)} is the name of {_listed(found, host_name)}; name one by its MAC")
    name, standing = called(found[0], host_name(found[0])), found[0].score.standing
    raise PolicyError(f"{name} is {standing}, not compromised; {known}")


def _of_this_name(text: str, devices: list[Device], host_name: Callable[[Device], str]) -> list[Device]:
    """Those with this name or MAC; else with this host name; else the unknown device of the home."""
    key = parse_mac(text)
    found = [device for device in devices if text == device.name or (key is not None and key == device.key)]
    if not found and text:
        found = [device for device in devices if host_name(device).lower() == text.lower()]
    if not found and text == HOME_WORD:
        found = [device for device in devices if device.key == HOME]
    return found


def _listed(devices: list[Device], host_name: Callable[[Device], str]) -> str:
    more = f" and {len(devices) - MAX_NAMED} more" if len(devices) > MAX_NAMED else ""
    return ", ".join([called(device, host_name(device)) for device in devices[:MAX_NAMED]]) + more
