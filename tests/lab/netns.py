"""Sockets in another network namespace, opened by this process: a test can be a host of the lab without a program.

Knows setns(2), and what of ctnetlink it takes to empty a connection table. A socket stays in the namespace in which it
was opened, whichever its process goes back to; so `inside` is short, and what it opens lives on. Needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_NETLINK_NETFILTER = 12
#: (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE; NLM_F_REQUEST | NLM_F_ACK.
_DELETE_CONNECTIONS, _REQUEST_ACK = 0x0102, 0x5
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """The calling thread is in this namespace (of `ip netns`) while the context lasts. Raises OSError."""
    with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{namespace}") as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def forget_connections(namespace: str) -> None:
    """Empties the namespace's connection table (`conntrack -F`). Raises OSError where the kernel refuses."""
    with inside(namespace), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        # nlmsghdr, and an nfgenmsg of no family: without attributes all of them are meant.
        netlink.sendto(struct.pack("=IHHIIBBH", 20, _DELETE_CONNECTIONS, _REQUEST_ACK, 1, 0, 0, 0, 0), (0, 0))
        _, _, _, _, _, error = struct.unpack_from("=IHHIIi", netlink.recv(4096))
        if error:
            raise OSError(-error, os.strerror(-error))
