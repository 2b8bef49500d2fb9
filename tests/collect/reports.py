"""Reports as routers send them, for tests: small, right, and easy to make wrong."""

from __future__ import annotations

import gzip
import json
from typing import Any

from cpe_filter.collect import wire

#: 2026-11-24 12:00:00 UTC.
NOW = 1_795_521_600
BOOT = "11111111-2222-4333-8444-555555555555"
BOOT2 = "99999999-2222-4333-8444-555555555555"

Json = dict[str, Any]


def incident(seq: int, up: int | None = None, kind: str = "updated", number: int = 1, **more: Any) -> Json:
    """An event of incident `number`; up: 100 s + seq by default."""
    up = 100 + seq if up is None else up
    standing = {"opened": "suspected", "closed": "clear"}.get(kind, "compromised")
    event = {
        "seq": seq,
        "up": up,
        "kind": kind,
        "id": f"{number:016x}",
        "dev": f"{number % 8:016x}",
        "oui": "b827eb",
        "standing": standing,
        "first": up - 60,
        "last": up,
        "conns": 4 + seq,
        "nets": 4,
        "msgs": 1,
        "rcpts": 3,
        "refused": seq,
        "ind": {"helo-dynamic": 4, "new-destination": 4},
        "act": "explain",
        "sp": [{"up": up - 5, "port": 40000, "family": 4}],
    }
    if kind == "closed":
        event["why"] = "cleared"
    return {**event, **more}


def heartbeat(seq: int, up: int | None = None, **more: Any) -> Json:
    return {
        "seq": seq,
        "up": 100 + seq if up is None else up,
        "kind": "heartbeat",
        "devices": 3,
        "suspected": 0,
        "compromised": 1,
        "exempt": 0,
        "mode": "block",
        "fail": "open",
        "packets": 12345,
        "failures": 0,
        "restored": 0,
        **more,
    }


def body(*events: Any, up: int = 1000, boot: str = BOOT, **more: Any) -> Json:
    return {
        "v": 1,
        "boot": boot,
        "up": up,
        "t": NOW,
        "synced": True,
        "pol": "7",
        "ver": "0.1.0",
        "model": "tplink,archer-c7-v2",
        "dropped": 0,
        "events": list(events),
        **more,
    }


def packed(value: Any) -> bytes:
    return gzip.compress(json.dumps(value).encode(), mtime=0)


def report(
    *events: Any, router: str = "r1", received: int = NOW, address: str | None = "192.0.2.7", **more: Any
) -> wire.Report:
    """As the collector has it after parsing; every event must be right."""
    parsed, rejected = wire.parse(json.dumps(body(*events, **more)).encode(), router, address, received)
    assert not rejected, rejected
    return parsed
