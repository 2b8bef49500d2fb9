"""The queue: packets from the kernel that wait for a verdict, and verdicts back.

Knows NFQUEUE over netlink (linux/netfilter/nfnetlink_queue.h). Must not know SMTP or policy. Every packet gets its
verdict. If the queue is not read fast enough it fills, and the kernel drops further packets; TCP sends them again.
"""

from __future__ import annotations

import errno
import struct

from cpe_filter.enforce.packets import Found, Reader
from cpe_filter.lean import netlink
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.netlink import attribute, messages

#: Bytes of a packet that the kernel copies to the socket.
COPY_RANGE = 2048
#: The most packets handled in one turn, before timers and signals.
TURN = 64
_RECEIVE_BUFFER = 1 << 20

_PACKET, _VERDICT, _CONFIGURE = 3 << 8, 3 << 8 | 1, 3 << 8 | 2  # NFNL_SUBSYS_QUEUE, NFQNL_MSG_...
_COMMAND, _PARAMETERS, _LENGTH = 1, 2, 3  # NFQA_CFG_...
_BIND, _COPY_PACKET = 1, 2
_HWADDR, _PAYLOAD, _VERDICT_HEADER = 9, 10, 2  # NFQA_...
_NO_ENOBUFS = 5
#: A verdict's message: the part before the queue's number, then the part before verdict and packet's number.
_VERDICT_START = netlink.HEADER.pack(32, _VERDICT, netlink.REQUEST, 0, 0) + b"\0\0"
_VERDICT_ATTRIBUTE = struct.pack("=HH", 12, _VERDICT_HEADER)
_verdict = struct.Struct(">II").pack
_QUEUES = "/proc/net/netfilter/nfnetlink_queue"
#: Verdicts: the packet is dropped; goes on; meets the chain's rules again, after a set has changed.
DROP, ACCEPT, REPEAT = 0, 1, 4


class QueueBusyError(RuntimeError):
    """The queue's number is in use or cannot be bound; the text says which."""


class Queue:
    """A bound queue. length: how many packets may wait; the kernel drops further ones."""

    def __init__(self, number: int, length: int) -> None:
        """Raises `QueueBusyError`."""
        try:
            self._socket = netlink.connect(netlink.NETLINK_NETFILTER)
        except OSError as error:
            raise QueueBusyError(f"queue {number} cannot be bound: {error.strerror}") from None
        self.fd: int = self._socket.fileno()
        self._number = number.to_bytes(2, "big")
        self._reader = Reader(_PACKET, 6, _HWADDR, _PAYLOAD)
        self._early: list[bytes] = []  # packets that came while the queue was being set up
        try:
            # The kernel drops what it cannot send us, and TCP sends it again. So errors need not be reported.
            self._socket.setsockopt(netlink.SOL_NETLINK, _NO_ENOBUFS, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, netlink.SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            self._configure(attribute(_COMMAND, struct.pack(">BBH", _BIND, 0, 0)))
            parameters = attribute(_PARAMETERS, struct.pack(">IB", COPY_RANGE, _COPY_PACKET))
            self._configure(parameters + attribute(_LENGTH, length.to_bytes(4, "big")))
        except OSError as error:
            self._socket.close()
            state = queue_state(number)
            reason = f"the program with netlink port {state.holder} holds it" if state else error.strerror
            raise QueueBusyError(f"queue {number} cannot be bound: {reason}") from None

    def _configure(self, attributes: bytes) -> None:
        content = b"\0\0" + self._number + attributes
        self._socket.send(netlink.message(_CONFIGURE, netlink.REQUEST | netlink.ACKNOWLEDGE, 1, content))
        # The kernel answers before the request returns. Packets may come first, if an earlier filter left its rules.
        while True:
            datagram = self._socket.recv(1 << 16)
            for kind, _, sequence, body in messages(datagram):
                if kind == netlink.ERROR and sequence == 1:
                    netlink.raise_error(body)
                    return
            self._early.append(datagram)

    def read(self) -> list[Found]:
        """The packets that wait, at most `TURN`. Each needs its verdict."""
        found: list[Found] = []
        while self._early:
            found += self._reader.read(self._early.pop(0))
        for _ in range(TURN):
            try:
                found += self._reader.read(self._socket.recv(1 << 16))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # the kernel has dropped what it could not send us
                    raise
        return found

    def answer(self, verdicts: list[tuple[int, int]]) -> None:
        """Packets' numbers and their verdicts. Raises nothing: a packet that is gone needs no verdict."""
        start = _VERDICT_START + self._number + _VERDICT_ATTRIBUTE
        parts = [start + _verdict(verdict, number) for number, verdict in verdicts]
        try:
            self._socket.send(b"".join(parts))
        except OSError:
            pass

    def close(self) -> None:
        """Releases the queue. The kernel drops the packets that wait in it; TCP sends them again."""
        self._socket.close()


class QueueState(NamedTuple):
    """A queue's state in the kernel. holder: netlink port of the program that holds it, usually its process id.

    Numbers of packets: waiting; dropped_queue: dropped because the queue was full; dropped_socket: the socket was.
    """

    holder: int
    waiting: int
    dropped_queue: int
    dropped_socket: int


def queue_state(number: int, path: str = _QUEUES) -> QueueState | None:
    """A queue's state; None if no program holds it, or the kernel does not say."""
    try:
        with open(path) as file:
            for line in file:
                fields = line.split()
                if len(fields) >= 7 and fields[0] == str(number):
                    return QueueState(int(fields[1]), int(fields[2]), int(fields[5]), int(fields[6]))
    except (OSError, ValueError):
        pass
    return None
