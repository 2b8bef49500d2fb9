"""The queue: packets from the kernel that wait for a verdict, and verdicts back.

Knows NFQUEUE over netlink (linux/netfilter/nfnetlink_queue.h). Must not know SMTP or policy. Every packet gets its
verdict. A queue that nobody reads fast enough fills, and the kernel drops what finds it full; senders send it again.
"""

from __future__ import annotations

import errno
import os
import struct

from cpe_filter.enforce.nfnetlink import attribute, messages
from cpe_filter.enforce.packets import Found, Reader
from cpe_filter.lean import plain_socket as socket

#: Bytes of a packet that are copied to us.
COPY_RANGE = 2048
#: Packets handled in one turn, and seconds after which no other is begun, before timers and signals get theirs.
TURN, TURN_S = 64, 0.02
_RECEIVE_BUFFER = 1 << 20

_NETLINK_NETFILTER = 12
_REQUEST, _ACKNOWLEDGE, _ERROR = 0x1, 0x4, 2
_PACKET, _VERDICT, _CONFIGURE = 3 << 8, 3 << 8 | 1, 3 << 8 | 2  # NFNL_SUBSYS_QUEUE, NFQNL_MSG_...
_COMMAND, _PARAMETERS, _LENGTH = 1, 2, 3  # NFQA_CFG_...
_BIND, _COPY_PACKET = 1, 2
_HWADDR, _PAYLOAD, _VERDICT_HEADER = 9, 10, 2  # NFQA_...
_SOL_NETLINK, _NO_ENOBUFS, _SO_RCVBUFFORCE = 270, 5, 33
_HEADER = struct.Struct("=IHHII")
#: Verdicts: the packet is dropped; goes on; meets the chain's rules again, which have learnt something.
DROP, ACCEPT, REPEAT = 0, 1, 4


class QueueTaken(OSError):
    """The queue's number is in use or cannot be bound; the text says which."""


class Queue:
    """A bound queue. length: packets that may wait; beyond, the kernel drops them."""

    def __init__(self, number: int, length: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self.fd: int = self._socket.fileno()
        self._number = number.to_bytes(2, "big")
        self._reader = Reader(_PACKET, 6, _HWADDR, _PAYLOAD)
        self._early: list[bytes] = []  # packets that came while the queue was being set up
        try:
            self._socket.bind((0, 0))
            self._socket.setblocking(False)
            # What the kernel cannot send us it drops, and its sender sends it again: it need not be said.
            self._socket.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            self._configure(attribute(_COMMAND, struct.pack(">BBH", _BIND, 0, 0)))
            parameters = attribute(_PARAMETERS, struct.pack(">IB", COPY_RANGE, _COPY_PACKET))
            self._configure(parameters + attribute(_LENGTH, length.to_bytes(4, "big")))
        except OSError as error:
            self._socket.close()
            holder = queue_holder(number)
            why = f"the program with netlink port {holder} holds it" if holder else error.strerror
            raise QueueTaken(f"queue {number} cannot be bound: {why}") from None

    def _configure(self, attributes: bytes) -> None:
        content = b"\0\0" + self._number + attributes
        header = _HEADER.pack(_HEADER.size + len(content), _CONFIGURE, _REQUEST | _ACKNOWLEDGE, 1, 0)
        self._socket.send(header + content)
        # The kernel answers before the request returns; packets may come first, where rules outlived another filter.
        while True:
            datagram = self._socket.recv(1 << 16)
            for kind, _, sequence, body in messages(datagram):
                if kind == _ERROR and sequence == 1:
                    code = -struct.unpack_from("=i", body)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
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
