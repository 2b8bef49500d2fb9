"""The queue: packets from the kernel to a function, its verdicts back.

Knows NFQUEUE through the netfilterqueue library and that library's traps. Must not know SMTP or policy. Every
packet gets a verdict, whatever happens: an exception in the callback would leak a slot of the kernel's queue.

A queue that nobody reads fast enough fills. The rule's bypass does not help then, it is for a queue that nobody holds;
the queue's own fail-open flag does: what finds the queue full passes. The library cannot set it, so it is set here, by
a message of our own on the library's socket: the kernel takes it from the queue's holder only.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import time
from collections.abc import Callable

from cpe_filter import plain_socket as socket
from cpe_filter.enforce.ruleset import (
    BLOCKED,
    CONTENT,
    DONE,
    EXPLAINED,
    LIMITED,
    LOOK,
    MARK_MASK,
    OVER,
    REFUSED,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from netfilterqueue import Packet

#: Bytes of a packet that are copied to us. With the library's own 4016 large (GSO) packets would hang.
COPY_RANGE = 2048
#: Packets handled in one turn, and seconds after which no other is begun, before timers and signals get theirs: the
#: library alone starves them under a flood. Where a packet takes a millisecond it is the time that counts.
TURN, TURN_S = 64, 0.02
_RECEIVE_BUFFER = 1 << 20
_REST = 0xFFFFFFFF ^ MARK_MASK

# linux/netlink.h and linux/netfilter/nfnetlink_queue.h
_REQUEST, _ACKNOWLEDGE, _ERROR = 0x1, 0x4, 2
_CONFIGURE = 3 << 8 | 2  # NFNL_SUBSYS_QUEUE, NFQNL_MSG_CONFIG
_CFG_MASK, _CFG_FLAGS, _FAIL_OPEN = 4, 5, 0x1
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_SEQUENCE = 0x6F70656E  # the library's own are seconds of the clock
#: Datagrams that may come before an answer: all packets that wait, and the library's queue is 1024 long at first.
_BEFORE_ANSWER = 4096

#: From the engine's verdicts to marks; "accept" has none.
MARKS = {
    "done": DONE,
    "reset": REFUSED,
    "block": BLOCKED,
    "limit": LIMITED,
    "explain": EXPLAINED,
    "content": CONTENT,
    "look": LOOK,
    "over": OVER,
}

#: (netfilter hook, sender's MAC or None, IP packet) -> one of the engine's verdicts.
Judge = Callable[[int, bytes | None, bytes], str]


class QueueTaken(OSError):
    """The queue's number is in use or cannot be bound; the text says which."""


class Queue:
    """A bound queue. `serve` handles what waits; `failures` counts packets on which `judge` raised.

    length: packets that may wait. fail_closed: a packet that finds the queue full, or on which `judge` raises, is
    dropped; else it passes. `warning`: a line for the log where the kernel would not have it so, else "".

    `judge` may be called before the constructor returns: a ruleset that outlived another filter queues at once.
    """

    def __init__(self, number: int, length: int, judge: Judge, fail_closed: bool) -> None:
        from netfilterqueue import COPY_PACKET, NetfilterQueue

        # Its run_socket imports the module socket, for the name socket.error alone. Where nobody else has done so it
        # gets ours, which has that name, and 0.4 MB are not loaded.
        sys.modules.setdefault("socket", socket)
        self.failures = 0
        self.last_failure = ""
        self._judge = judge
        self._drop = fail_closed
        self._queue = NetfilterQueue()
        try:
            self._queue.bind(number, self._packet, length, COPY_PACKET, COPY_RANGE, _RECEIVE_BUFFER)
        except OSError as error:
            holder = queue_holder(number)
            why = f"the program with netlink port {holder} holds it" if holder else str(error)
            raise QueueTaken(f"queue {number} cannot be bound: {why}") from None
        self.fd: int = self._queue.get_fd()
        os.set_inheritable(self.fd, False)  # a program that hangs must not hold the queue when we are gone
        os.set_blocking(self.fd, False)
        self._turn = _Turn(self.fd)
        refusal, earlier = set_fail_open(self.fd, number, not fail_closed)
        self.warning = ""
        if refusal and not fail_closed:  # a new queue has no flags
            self.warning = f"queue {number} has no fail-open flag ({refusal}): what finds it full is dropped"
        self._run(_Read(earlier))

    def serve(self) -> None:
        """Handles what waits, at most `TURN` packets and hardly longer than `TURN_S`."""
        self._turn.begin()
        self._run(self._turn)

    def _run(self, source: _Turn | _Read) -> None:
        run: Any = self._queue.run_socket  # declared for a socket, of which it uses recv alone
        run(source)

    def close(self) -> None:
        """Gives the queue back. The kernel drops what waits in it; its senders send it again."""
        self._queue.unbind()
        self._turn.close()

    def _packet(self, packet: Packet) -> None:
        try:
            hwaddr = packet.get_hw()
            verdict = self._judge(packet.hook, hwaddr[:6] if hwaddr else None, packet.get_payload())
            mark = MARKS.get(verdict)
            if mark is not None:
                packet.set_mark(packet.get_mark() & _REST | mark)
            elif self._drop:  # it has been here: one that still has the hand-off's mark was not
                packet.set_mark(packet.get_mark() & _REST)
        except Exception as error:  # whatever it is: the packet must get its verdict
            self.failures += 1
            self.last_failure = f"{type(error).__name__}: {error}"
            if self._drop:
                packet.drop()
                return
        packet.accept()


class _Turn:
    """A socket that runs dry after so many datagrams or so much time, for the library's `run_socket`."""

    def __init__(self, fd: int) -> None:
        self._left = 0
        self._end = 0.0
        self._socket = socket.socket(fileno=os.dup(fd))

    def begin(self) -> None:
        self._left = TURN
        self._end = time.monotonic() + TURN_S

    def recv(self, size: int) -> bytes:
        if self._left <= 0 or time.monotonic() > self._end:
            raise BlockingIOError(errno.EAGAIN, "the turn is over")
        self._left -= 1
        return self._socket.recv(size)

    def close(self) -> None:
        self._socket.close()


class _Read:
    """Datagrams that have been read already, for the library's `run_socket`."""

    def __init__(self, datagrams: list[bytes]) -> None:
        self._left = iter(datagrams)

    def recv(self, size: int) -> bytes:
        for datagram in self._left:
            return datagram
        raise BlockingIOError(errno.EAGAIN, "that was all")


def set_fail_open(fd: int, number: int, wanted: bool) -> tuple[str, list[bytes]]:
    """Sets or clears the flag of the queue that the non-blocking netlink socket `fd` holds.

    Returns why the kernel did not ("" where it did), and the datagrams that came before its answer: packets, which want
    their verdicts. The kernel answers before the request returns, so there is no waiting.
    """
    content = struct.pack(">BBH", 0, 0, number)  # nfgenmsg: family, version, queue
    content += _attribute(_CFG_MASK, _FAIL_OPEN) + _attribute(_CFG_FLAGS, _FAIL_OPEN if wanted else 0)
    earlier: list[bytes] = []
    with socket.socket(fileno=os.dup(fd)) as netlink:
        for sequence in (_SEQUENCE, _SEQUENCE + 1):  # an answer is lost where packets have filled the socket's buffer
            try:
                header = _HEADER.pack(_HEADER.size + len(content), _CONFIGURE, _REQUEST | _ACKNOWLEDGE, sequence, 0)
                netlink.send(header + content)
                code = _answer(netlink, sequence, earlier)
            except OSError as error:
                code = error.errno or errno.EIO
            if code is not None:
                return (os.strerror(code) if code else ""), earlier
    return "no answer", earlier


def _answer(netlink: socket.socket, sequence: int, earlier: list[bytes]) -> int | None:
    """The error number that the kernel answers, 0 for none; None where there is no answer. Keeps what comes before."""
    for _ in range(_BEFORE_ANSWER):
        try:
            datagram = netlink.recv(1 << 16)
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno == errno.ENOBUFS:  # something was lost; what follows was not
                continue
            raise
        if len(datagram) >= _HEADER.size + 4:
            _, kind, _, number, _ = _HEADER.unpack_from(datagram)
            if kind == _ERROR and number == sequence:
                code: int = struct.unpack_from("=i", datagram, _HEADER.size)[0]
                return -code
        earlier.append(datagram)
    return None


def _attribute(kind: int, value: int) -> bytes:
    return struct.pack("=HH", 8, kind) + value.to_bytes(4, "big")


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
