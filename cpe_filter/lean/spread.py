"""Spreads what many routers do over time: each has its own place, always the same.

Knows a hash. Must not know what is done at the time.
"""

from __future__ import annotations

from cpe_filter.lean.sha256 import sha256


def place_of(router: bytes, purpose: bytes) -> float:
    """Where a router comes among all, from 0 to below 1. router: its name. purpose: another word, another order."""
    return int.from_bytes(sha256(purpose + b" " + router).digest()[:8], "big") / 2**64
