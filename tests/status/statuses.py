"""Status objects for tests: a small home as a router would report it."""

from __future__ import annotations

import os
from typing import Any

#: 2026-11-23 12:01:00 UTC.
UPDATED = 1795435260.0


def device(mac: str, standing: str = "clear", name: str | None = None, **more: Any) -> dict[str, Any]:
    """A device in a status."""
    at = {"time": UPDATED - 30, "connection": 8}
    return {
        "device": mac,
        "name": name,
        "addresses": ["192.168.1.7", "2001:db8:1::7"],
        "standing": standing,
        "mode": {"clear": "monitor", "unusual": "monitor", "suspected": "limit", "compromised": "block"}[standing],
        "score": {"clear": 0.0, "unusual": 2.0, "suspected": 8.4, "compromised": 12.5}[standing],
        "threshold": 11.3,
        "connections": 1234,
        "refused": 17,
        "networks": 240,
        "messages": 3,
        "recipients": 90,
        "suspected_at": at if standing in ("suspected", "compromised") else None,
        "compromised_at": at if standing == "compromised" else None,
        "unusual_at": at if standing == "unusual" else None,
        "held_against": [
            {"sender": "mta", "sum": 9.1, "needed": 12.0},
            {"sender": "newsletter", "sum": 9.9, "needed": 11.3},
            {"sender": "script", "sum": 3.2, "needed": 10.4},
        ],
        "evidence": [
            {"indicator": "unknown-user", "count": 3, "weight": 4.3},
            {"indicator": "dnsbl-listed", "count": 2, "weight": 2.9},
            {"indicator": "accepted", "count": 3, "weight": -1.3},
        ],
        **more,
    }


def status(*devices: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A status of a running filter: this process."""
    return {
        "version": 1,
        "pid": os.getpid(),
        "updated": UPDATED,
        "since": UPDATED - 3661,
        "mode": "monitor",
        "queue": 25,
        "handoff": "xtables NFQUEUE",
        "fail": "open",
        "packets": 120,
        "mail_packets": 118,
        "unread_packets": {"fragment": 2},
        "failures": 0,
        "flows": 7,
        "evicted_flows": 4,
        "lookup_packets": 5,
        "refusals": {"compromised": 3, "mode": 0, "recipients": 2},
        "kernel": {"observed": [118, 9000], "refused": [5, 300], "blocked": [2000000, 120000000], "new_one": [1, 60]},
        "queue_state": {"waiting": 3, "dropped_queue": 11, "dropped_socket": 2},
        "memory": 18_500_000,
        "restored": 2,
        "unwatched": [
            {
                "interface": "wg0",
                "families": [4, 6],
                "connections": 12,
                "since": UPDATED - 600,
                "last": UPDATED - 60,
                "default_route": [6],
                "standby_route": [],
            },
            {
                "interface": "wwan0",
                "families": [4],
                "connections": 0,
                "since": UPDATED - 600,
                "last": None,
                "default_route": [],
                "standby_route": [4],
            },
        ],
        "unlisted": [
            {"interface": "br-guest", "families": [4], "connections": 5, "since": UPDATED - 600, "last": UPDATED - 60}
        ],
        "submission": [
            {
                "device": "02:00:00:00:01:05",
                "name": "tv-box",
                "since": UPDATED - 7200,
                "servers": 64,
                "connections": 130,
                "failures": 120,
                "many": True,
            },
            {
                "device": "02:00:00:00:01:06",
                "name": None,
                "since": UPDATED - 7200,
                "servers": 2,
                "connections": 9,
                "failures": 1,
                "many": False,
            },
        ],
        "serving": [{"device": "02:00:00:00:01:07", "connections": 12, "last": UPDATED - 60}],
        "policy": {"file": "/etc/cpe-filter/policy.toml", "read": UPDATED - 3000, "refused": None},
        "exempt_count": 1,
        "exempt": [
            {
                "id": "policy-1",
                "device": "02:00:00:00:01:09",
                "destination": "192.0.2.0/24",
                "until": UPDATED + 86400,
                "reason": "its own mail server",
            }
        ],
        "devices": list(devices),
        **more,
    }
