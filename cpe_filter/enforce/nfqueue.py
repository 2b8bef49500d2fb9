"""The queue: packets from the kernel to a function, its verdicts back.

Knows NFQUEUE through the netfilterqueue library and that library's traps. Must not know SMTP or policy. Every
packet gets a verdict, whatever happens: an exception in the callback would leak a slot of the kernel's queue.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from cpe_filter.enforce.nftables import BLOCKED, DONE, MARK_MASK, REFUSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from netfilterqueue import Packet

#: Bytes of a packet that are copied to us. With the library's own 4016 large (GSO) packets would hang.
COPY_RANGE = 2048
#: Packets handled in one turn before timers and signals get theirs: the library alone starves them under a flood.
TURN = 64
_RECEIVE_BUFFER = 1 << 20
_REST = 0xFFFFFFFF ^ MARK_MASK

#: From the engine's verdicts to marks; "accept" has none.
MARKS = {"done": DONE, "reset": REFUSED, "block": BLOCKED}

#: (netfilter hook, sender's MAC or None, IP packet) -> one of the engine's verdicts.
Judge = Callable[[int, bytes | None, bytes], str]


class QueueTaken(OSError):
    """The queue's number is in use or cannot be bound; the text says which."""


class Queue:
    """A bound queue. `serve` handles what waits; `failures` counts packets on which `judge` raised."""

    def __init__(self, number: int, length: int, judge: Judge, drop_on_failure: bool) -> None:
        from netfilterqueue import COPY_PACKET, NetfilterQueue

        self.failures = 0
        self.last_failure = ""
        self._judge = judge
        self._drop = drop_on_failure
        self._queue = NetfilterQueue()
        try:
            self._queue.bind(number, self._packet, length, COPY_PACKET, COPY_RANGE, _RECEIVE_BUFFER)
        except OSError as error:
            holder = queue_holder(number)
            why = f"the program with netlink port {holder} holds it" if holder else str(error)
            raise QueueTaken(f"queue {number} cannot be bound: {why}") from None
        self.fd: int = self._queue.get_fd()
        os.set_blocking(self.fd, False)
        self._turn = _Turn(self.fd)

    def serve(self) -> None:
        """Handles what waits, at most `TURN` packets."""
        self._turn.left = TURN
        run: Any = self._queue.run_socket  # declared for a socket, of which it uses recv alone
        run(self._turn)

    def close(self) -> None:
        """Gives the queue back; what waits in it is then the kernel's bypass's matter."""
        self._queue.unbind()
        self._turn.close()

    def _packet(self, packet: Packet) -> None:
        try:
            hwaddr = packet.get_hw()
            verdict = self._judge(packet.hook, hwaddr[:6] if hwaddr else None, packet.get_payload())
            mark = MARKS.get(verdict)
            if mark is not None:
                packet.set_mark(packet.get_mark() & _REST | mark)
        except Exception as error:  # whatever it is: the packet must get its verdict
            self.failures += 1
            self.last_failure = f"{type(error).__name__}: {error}"
            if self._drop:
                packet.drop()
                return
        packet.accept()


class _Turn:
    """A socket that runs dry after so many datagrams, for the library's `run_socket`."""

    def __init__(self, fd: int) -> None:
        self.left = 0
        self._socket = socket.socket(fileno=os.dup(fd))

    def recv(self, size: int) -> bytes:
        if self.left <= 0:
            raise BlockingIOError(errno.EAGAIN, "the turn is over")
        self.left -= 1
        return self._socket.recv(size)

    def close(self) -> None:
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
