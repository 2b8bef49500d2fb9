"""Checks before the filter starts: rights, nft, interfaces. Changes nothing.

Knows this host. Must not know how the filter works.
"""

from __future__ import annotations

import os

from cpe_filter.enforce import process
from cpe_filter.lean import plain_socket as socket
from cpe_filter.policy.interfaces import is_pattern
from cpe_filter.policy.model import Policy

_CAP_NET_ADMIN = 12


class RunError(RuntimeError):
    """The filter cannot start here; the text says what is missing."""


def check_host(policy: Policy) -> None:
    """Everything that can be known before anything is changed. Raises `RunError`."""
    if not may_administer():
        raise RunError("not allowed to filter: run it as root, or with the capability CAP_NET_ADMIN")
    if process.find("nft") is None:
        raise RunError("nft is not installed (package nftables)")
    present = [name for _, name in socket.if_nameindex()]
    for key, names in (("lan", policy.network.lan), ("wan", policy.network.wan)):
        # One that is missing now may come later: rules and parts compare names.
        if not any(is_pattern(name) or name in present for name in names):
            raise RunError(
                f"[network] {key} names {', '.join(names)}, and there is no such interface; there are "
                f"{', '.join(present)}"
            )


def may_administer(path: str = "/proc/self/status") -> bool:
    """Whether a process has CAP_NET_ADMIN, by its status file (proc(5)). Where that cannot be read, root may."""
    try:
        with open(path) as file:
            for line in file:
                if line.startswith("CapEff:"):
                    return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    except (OSError, ValueError):
        pass
    return os.geteuid() == 0
