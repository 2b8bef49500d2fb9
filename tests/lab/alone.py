"""A network namespace of its own for the running test: what it does to the kernel's rules nobody else sees.

Lighter than the lab: no hosts, no processes. Knows unshare(2) and setns(2). Needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def network() -> Iterator[None]:
    """This thread, its sockets and the programs that it starts are in a new namespace until the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            if libc.setns(before, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(before)
