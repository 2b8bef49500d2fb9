"""Which changes of a policy are dangerous."""

from __future__ import annotations

from typing import Any

import pytest

from cpe_filter.collect.policy_changes import changes, dangers

DANGEROUS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "stricter": ({"filter": {"mode": "limit"}}, {"filter": {"mode": "block"}}, "'limit' -> 'block': stricter"),
    "strict where it was the router's": ({}, {"filter": {"mode": "limit"}}, "(the router's) -> 'limit': stricter"),
    "lower": ({"limits": {"messages_per_hour": 60}}, {"limits": {"messages_per_hour": 30}}, "60 -> 30: lower"),
    "perhaps lower": ({}, {"limits": {"connections_burst": 30}}, "perhaps lower than the router's own"),
    "relays": (
        {"network": {"relays": ["192.0.2.1", "192.0.2.2"]}}, {"network": {"relays": ["192.0.2.1"]}},
        "192.0.2.2 removed: mail to it is no longer let through unseen",
    ),
    "relays of the ISP alone": ({}, {"network": {"relays": ["192.0.2.1"]}}, "in place of the routers' own list"),
    "all relays": ({"network": {"relays": ["192.0.2.1"]}}, {}, "192.0.2.1 removed"),
    "a port": ({}, {"network": {"ports": [25, 587]}}, "filtered, too: 587"),
    "private": ({}, {"network": {"private_destinations": "filter"}}, "mail to private addresses is filtered, too"),
    "escalation": ({"filter": {"escalate": False}}, {"filter": {"escalate": True}}, "compromised devices are blocked"),
    "quarantine": ({}, {"notice": {"quarantine": True}}, "compromised devices reach helpful sites only"),
    "helpful": ({"notice": {"helpful": ["192.0.2.9"]}}, {"notice": {"helpful": []}}, "no longer reach it"),
    "emergency": (
        {"notice": {"emergency": ["02:00:00:00:00:01"]}}, {"notice": {"emergency": []}}, "it can be in quarantine"
    ),
    "fewer packets": ({"filter": {"queue_rate": 900}}, {"filter": {"queue_rate": 100}}, "900 -> 100: lower"),
    "a mode that is left to the routers": (
        {"filter": {"mode": "monitor"}}, {}, "'monitor' -> (the router's): the routers' own may be stricter",
    ),
    "a limit that is left to them": ({"limits": {"messages_burst": 99}}, {}, "the routers' own may be stricter"),
    "a flag that is left to them": ({"notice": {"quarantine": False}}, {}, "the routers' own may be stricter"),
    "wordings": ({}, {"detect": {"replies": ["listed: x"]}}, "can count against legitimate senders"),
    "exemptions": (
        {"exempt": [{"destination": "192.0.2.1"}, {"destination": "192.0.2.2"}]},
        {"exempt": [{"destination": "192.0.2.2"}]}, "[[exempt]]: 1 removed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DANGEROUS)
def test_dangerous(name: str) -> None:
    before, after, said = DANGEROUS[name]
    (found,) = dangers(before, after)
    assert said in found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"filter": {"mode": "block"}}, {"filter": {"mode": "monitor"}}),
        ({"filter": {"mode": "block"}}, {}),
        ({}, {"filter": {"mode": "monitor"}}),
        ({"network": {"private_destinations": "filter"}}, {}),
        ({"notice": {"quarantine": True}}, {}),
        ({"detect": {"replies": ["listed: x"]}}, {"detect": {"replies": []}}),
        ({"limits": {"messages_per_hour": 60}}, {"limits": {"messages_per_hour": 90}}),
        ({"network": {"relays": ["192.0.2.1"]}}, {"network": {"relays": ["192.0.2.2", "192.0.2.1"]}}),
        ({"network": {"ports": [25, 587]}}, {"network": {"ports": [25]}}),
        ({"exempt": []}, {"exempt": [{"destination": "192.0.2.1"}]}),
        ({"notice": {"provider": "A"}}, {"notice": {"provider": "B"}}),
    ],
)
def test_milder(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert dangers(before, after) == []
    assert changes(before, after) != ["  nothing changes"]
