"""What is known of a device, in the form that replay and status share.

Knows the device's memory and the table of indicators. Must not judge, and keeps nothing.
"""

from __future__ import annotations

from ipaddress import ip_address

from cpe_filter.detect.device import Device
from cpe_filter.detect.evidence import INDICATORS, PROFILE_NAMES
from cpe_filter.detect.score import CLEAR, COMPROMISED, CONVICT_AT, SUSPECT_AT, UNUSUAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
        "held_against": [
            {"sender": sender, "sum": round(found, 2), "needed": round(needed, 2)}
            for sender, found, needed in score.profile_margins
        ],
        "connections": device.connections,
        "sessions": device.sessions,
        "networks": device.networks,
        "messages": device.messages,
        "recipients": device.recipients,
        "mx_queries": device.mx_queries,
        "first_seen": round(device.first_seen, 6),
        "last_seen": round(device.last_seen, 6),
        "suspected_at": _moment(device.suspected_at),
        "compromised_at": _moment(device.compromised_at),
        "unusual_at": _moment(device.unusual_at),
        "evidence": _evidence(device),
    }


def why(facts: dict[str, Any]) -> str:
    """Why a device has its standing, from its `device_facts`: a sentence without its full stop."""
    held = [(one["sender"], one["sum"], one["needed"]) for one in facts["held_against"]]
    possible = sorted((one for one in held if one[1] < one[2]), key=lambda one: one[1] / one[2])
    if facts["standing"] == COMPROMISED:
        if possible:
            return "was unlike every legitimate sender; now it could be " + _senders(possible)
        nearest = min(held, key=lambda one: one[1] / one[2])
        return f"unlike every legitimate sender; nearest is {_senders([nearest])}"
    if facts["standing"] == UNUSUAL:
        return "passes for a mail server: it deals with many operators of mail servers, under one name"
    if facts["standing"] == CLEAR and facts["score"] < SUSPECT_AT:
        profile, so_far, _ = held[0]
        return f"like an ordinary {_called(profile)} so far ({so_far:.1f} of the {SUSPECT_AT:g} that make it suspected)"
    if not possible:
        return "unlike every legitimate sender, but only by one family of evidence, or only by signs outside of SMTP"
    return "it could still be " + _senders(possible)


def _senders(held: list[tuple[str, float, float]]) -> str:
    return " or ".join(f"a {_called(sender)} ({found:.1f} of {needed:.1f})" for sender, found, needed in held)


def _called(profile: str) -> str:
    """A profile as people call it; as it is where a filter of another version has written it."""
    return PROFILE_NAMES.get(profile, profile)


def _moment(value: tuple[float, int] | None) -> dict[str, Any] | None:
    return None if value is None else {"time": round(value[0], 6), "connection": value[1]}


def _evidence(device: Device) -> list[dict[str, Any]]:
    """The heaviest first. `weight`: what it added in all."""
    tallies = sorted(device.score.tallies.items(), key=lambda item: -item[1].weight)
    return [
        {
            "indicator": name,
            "family": INDICATORS[name].family,
            "count": tally.count,
            "weight": round(tally.weight, 2),
        }
        for name, tally in tallies
        if tally.count
    ]
