"""The queue: packets from the kernel that wait for a verdict, and verdicts back.

Knows NFQUEUE (linux/netfilter/nfnetlink_queue.h); the netfilterqueue library binds it. Must not know SMTP or policy.
Every packet gets its verdict. A queue that nobody reads fast enough fills, and the kernel drops what finds it full; its
sender sends it again.
"""

from __future__ import annotations

import errno
import os
import struct

from cpe_filter import plain_socket as socket
from cpe_filter.enforce.packets import Found, Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netfilterqueue import Packet

#: Bytes of a packet that are copied to us.
COPY_RANGE = 2048
#: Packets handled in one turn, and seconds after which no other is begun, before timers and signals get theirs.
TURN, TURN_S = 64, 0.02
_RECEIVE_BUFFER = 1 << 20

_REQUEST = 0x1
_PACKET, _VERDICT = 3 << 8, 3 << 8 | 1  # NFNL_SUBSYS_QUEUE, NFQNL_MSG_...
_HWADDR, _PAYLOAD, _VERDICT_HEADER = 9, 10, 2  # NFQA_...
#: Verdicts: the packet is dropped; goes on; meets the chain's rules again, which have learnt something.
DROP, ACCEPT, REPEAT = 0, 1, 4


class QueueTaken(OSError):
    """The queue's number is in use or cannot be bound; the text says which."""


class Queue:
    """A bound queue. length: packets that may wait; beyond, the kernel drops them."""

    def __init__(self, number: int, length: int) -> None:
        from netfilterqueue import COPY_PACKET, NetfilterQueue

        self._queue = NetfilterQueue()
        try:
            self._queue.bind(number, _unexpected, length, COPY_PACKET, COPY_RANGE, _RECEIVE_BUFFER)
        except OSError as error:
            holder = queue_holder(number)
            why = f"the program with netlink port {holder} holds it" if holder else str(error)
            raise QueueTaken(f"queue {number} cannot be bound: {why}") from None
        self.fd: int = self._queue.get_fd()
        os.set_inheritable(self.fd, False)  # a program that hangs must not hold the queue when we are gone
        self._socket = socket.socket(fileno=os.dup(self.fd))
        self._socket.setblocking(False)
        self._reader = Reader(_PACKET, 6, _HWADDR, _PAYLOAD)
        self._number = number.to_bytes(2, "big")

    def read(self) -> list[Found]:
        """The packets that wait, at most `TURN`. Each needs its verdict."""
        found: list[Found] = []
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
        """Packets' numbers and what becomes of them. Raises nothing: a packet that is gone needs no verdict."""
        parts = []
        for number, verdict in verdicts:
            parts.append(
                struct.pack("=IHHII", 32, _VERDICT, _REQUEST, 0, 0)
                + b"\0\0"
                + self._number
                + struct.pack("=HH", 12, _VERDICT_HEADER)
                + struct.pack(">II", verdict, number)
            )
        try:
            self._socket.send(b"".join(parts))
        except OSError:
            pass

    def close(self) -> None:
        """Gives the queue back. The kernel drops what waits in it; its senders send it again."""
        self._socket.close()
        self._queue.unbind()


def _unexpected(packet: Packet) -> None:
    """The library reads nothing here; if it did, nobody would have decided."""
    packet.drop()


def queue_holder(number: int) -> int:
    """The netlink port (usually the process id) that holds a queue; 0 if none does or none can tell."""
    try:
        with open("/proc/net/netfilter/nfnetlink_queue") as file:
            for line in file:
                fields = line.split()
                if len(fields) > 1 and fields[0] == str(number):
                    return int(fields[1])
    except (OSError, ValueError):
        pass
    return 0
