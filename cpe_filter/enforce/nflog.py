"""NFLOG: packets that the kernel shows without waiting for a verdict.

Knows its messages (linux/netfilter/nfnetlink_log.h). Must not know SMTP or policy. The kernel collects packets and
sends several together. Packets that find the socket full are lost, which costs an observation; they are counted.
"""

from __future__ import annotations

import errno
import struct

from cpe_filter.enforce.packets import Found, Reader
from cpe_filter.lean import netlink
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.netlink import attribute, messages, netfilter_header

#: Bytes of a packet that the kernel copies to the socket.
COPY_RANGE = 2048
#: The most packets that the kernel collects before it sends them, and hundredths of a second that it waits for more.
TOGETHER, WAIT_CS = 16, 1
#: Bytes that it may collect, for which it reserves memory in each datagram; with the kernel's own overhead they fit 8
#: kB. And bytes of datagrams that may wait in the socket, which hold some 16,000 packets.
_COLLECTED, _RECEIVE_BUFFER = 7680, 1 << 22
#: Datagrams read in one turn.
TURN = 16

_PACKET, _CONFIGURE = 4 << 8, 4 << 8 | 1  # NFNL_SUBSYS_ULOG, NFULNL_MSG_...
_COMMAND, _MODE, _BUFFER, _TIMEOUT, _THRESHOLD, _FLAGS = 1, 2, 3, 4, 5, 6  # NFULA_CFG_...
_BIND, _COPY_PACKET, _NUMBERED = 1, 2, 1
_HWADDR, _PAYLOAD, _SEQUENCE = 8, 9, 12  # NFULA_...


class LogBusyError(RuntimeError):
    """The group is in use or cannot be bound; the text says which."""


class PacketLog:
    """A bound NFLOG group. `read` returns packets; `lost`: packets that were lost since the start."""

    def __init__(self, group: int) -> None:
        """Raises `LogBusyError`."""
        self.lost = 0
        self._next = 0  # the number that the kernel gives the next packet
        self._reader = Reader(_PACKET, 2, _HWADDR, _PAYLOAD)
        try:
            self._socket = netlink.connect(netlink.NETLINK_NETFILTER)
        except OSError as error:
            raise LogBusyError(f"NFLOG group {group} cannot be bound: {error.strerror}") from None
        self.fd: int = self._socket.fileno()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, netlink.SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            self._configure(group, attribute(_COMMAND, bytes((_BIND,))))
            settings = attribute(_MODE, struct.pack(">IBx", COPY_RANGE, _COPY_PACKET))
            for kind, value in ((_BUFFER, _COLLECTED), (_TIMEOUT, WAIT_CS), (_THRESHOLD, TOGETHER)):
                settings += attribute(kind, value.to_bytes(4, "big"))
            settings += attribute(_FLAGS, _NUMBERED.to_bytes(2, "big"))
            self._configure(group, settings)
        except OSError as error:
            self._socket.close()
            if error.errno in (errno.EBUSY, errno.EPERM):  # only the holder may change a group
                raise LogBusyError(f"NFLOG group {group} is in use by another program") from None
            raise LogBusyError(f"NFLOG group {group} cannot be bound: {error.strerror}") from None

    def _configure(self, group: int, attributes: bytes) -> None:
        content = netfilter_header(0, group) + attributes
        self._socket.send(netlink.message(_CONFIGURE, netlink.REQUEST | netlink.ACKNOWLEDGE, 1, content))
        # The kernel answers before the request returns. Packets before the answer are dropped: they are not ours yet.
        for _ in range(TURN):
            for kind, _, sequence, body in messages(self._socket.recv(1 << 16)):
                if kind == netlink.ERROR and sequence == 1:
                    netlink.raise_error(body)
                    return

    def read(self) -> list[Found]:
        """The packets of the next datagram; none if nothing waits."""
        for _ in range(2):
            try:
                datagram = self._socket.recv(1 << 17)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # a loss is reported once; `lost` is counted by numbers
                    raise
                continue
            found = self._reader.read(datagram)
            number = self._reader.first(datagram, _SEQUENCE)
            if found and number is not None:
                first = int.from_bytes(number, "big")
                self.lost += (first - self._next) & 0xFFFFFFFF
                self._next = (first + len(found)) & 0xFFFFFFFF
            return found
        return []

    def close(self) -> None:
        self._socket.close()
