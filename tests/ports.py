"""Ports of this machine for servers of the tests.

Below those that the kernel gives to outgoing connections: such a port is free until somebody listens there.
"""

from __future__ import annotations

import random
import socket

_FIRST, _LAST = 20_000, 32_000
_given: set[int] = set()


def free_port() -> int:
    """A TCP port on which nobody listens, and that was not given before."""
    while True:
        port = random.SystemRandom().randint(_FIRST, _LAST)
        if port in _given:
            continue
        _given.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        return port
