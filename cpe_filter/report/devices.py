"""What is known of a device, as replay and status tell it alike.

Knows the device's memory and the table of indicators. Must not judge, and keeps nothing.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from cpe_filter.detect.device import Device
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.detect.score import CONVICT_AT


def device_facts(device: Device) -> dict[str, Any]:
    """A device as an object for JSON. Times: POSIX seconds; score, threshold, weights: nats."""
    score = device.score
    return {
        "device": device.name,
        "addresses": sorted(str(ip_address(address)) for address in device.addresses),
        "standing": score.standing,
        "score": round(score.value, 2),
        "threshold": CONVICT_AT,
        "families": score.families,
        "connections": device.connections,
        "sessions": device.sessions,
        "destinations": len(device.destinations),
        "messages": device.messages,
        "recipients": device.recipients,
        "first_seen": round(device.first_seen, 6),
        "last_seen": round(device.last_seen, 6),
        "suspected_at": _moment(device.suspected_at),
        "compromised_at": _moment(device.compromised_at),
        "evidence": _evidence(device),
    }


def _moment(value: tuple[float, int] | None) -> dict[str, Any] | None:
    return None if value is None else {"time": round(value[0], 6), "connection": value[1]}


def _evidence(device: Device) -> list[dict[str, Any]]:
    """The weightiest first. `weight`: what it added in all."""
    tallies = sorted(device.score.tallies.items(), key=lambda item: -item[1].weight)
    return [
        {
            "indicator": name,
            "family": INDICATORS[name].family,
            "count": tally.count,
            "weight": round(tally.weight, 2),
        }
        for name, tally in tallies
    ]
