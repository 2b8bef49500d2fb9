"""The NAT64 prefixes that the upstream router announces in Router Advertisements (RFC 8781).

Knows raw ICMPv6 sockets (ipv6(7), RFC 3542). Must not know what is done with a prefix. Passive: nothing is sent. Only
link-local routers on the WAN interfaces are heard. Still any host on that link can announce a prefix, so a prefix may
change how servers are counted, and never what passes. Needs CAP_NET_RAW; without it the filter runs on without these
prefixes and logs so once.
"""

from __future__ import annotations

import select
import struct
from ipaddress import IPv6Network

from cpe_filter.home.mx_sniffer import attach_filter
from cpe_filter.inspect.nat64 import announced
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.log import Log, LogOnce, warning
from cpe_filter.policy.interfaces import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.clocks import PacketTime

#: Prefixes that are kept.
MOST = 8
#: Messages read in one turn, and within a second. A flood costs no more than that.
TURN, MESSAGES_PER_S = 8, 16
#: Seconds until a socket that could not be opened is tried again, and between two checks of the LAN's interfaces.
RETRY_S = 30.0

_ICMPV6, _IPV6 = 58, 41
_ICMP6_FILTER, _RECVHOPLIMIT, _HOPLIMIT = 1, 51, 52  # linux/icmpv6.h, linux/in6.h
#: A bit for each type that is dropped: all but Router Advertisements.
_TYPES = b"".join(struct.pack("=I", 0xFFFFFFFF & ~(1 << 134 % 32 if word == 134 // 32 else 0)) for word in range(8))
#: The hop limit of a message that no router has forwarded (RFC 4861 section 6.1.2).
_FROM_THE_LINK = [(_IPV6, _HOPLIMIT, struct.pack("=i", 255))]
_LINK_LOCAL = ("fe8", "fe9", "fea", "feb")
_RECEIVE_BUFFER = 1 << 14
#: How many LAN interfaces the kernel's filter can compare: it jumps over at most 255 instructions.
_MOST_DROPPED = 200
#: Bytes of a message that are read: more than Ethernet carries. The last option of a longer message is cut.
_LONGEST = 2048
# Classic BPF: operations, and the interface's number (linux/bpf_common.h; SKF_AD_IFINDEX in linux/filter.h).
_LOAD_U32, _EQUAL, _RETURN, _INTERFACE = 0x20, 0x15, 0x06, 0xFFFFF008


class Advertisements:
    """A socket, registered with `poll` while its `fd` is not -1. wan, lan: names of interfaces; they may be changed.

    Call `tick` every second, and `serve` when `poll` returns `fd`. Neither raises.
    """

    def __init__(
        self,
        wan: tuple[str, ...],
        lan: tuple[str, ...],
        poll: select.poll,
        log: Log,
        retry_s: float = RETRY_S,
    ) -> None:
        self.fd = -1
        self.wan = wan
        self.lan = lan
        self._poll = poll
        self._log_once = LogOnce(log)
        self._retry_s = retry_s
        self._now = self._next_try = 0.0
        self._socket: socket.socket | None = None
        self._dropped: list[int] = []  # numbers of interfaces whose messages the kernel drops
        self._left = MESSAGES_PER_S
        self._resting = False
        self._ends: dict[IPv6Network, float] = {}

    def prefixes(self) -> tuple[IPv6Network, ...]:
        """The prefixes whose lifetime had not ended at the last tick, at most `MOST`."""
        return tuple(self._ends)

    def tick(self, time: PacketTime) -> None:
        """A second has passed. time: of a clock that never goes back, in seconds."""
        self._now = time
        self._left = MESSAGES_PER_S
        if self._resting:
            self._resting = False
            self._poll.register(self.fd, select.POLLIN)
        for prefix in [prefix for prefix, end in self._ends.items() if time >= end]:
            del self._ends[prefix]
        if time >= self._next_try:
            self._next_try = time + self._retry_s
            try:
                self._open()
            except OSError as error:
                self._failed(error)

    def serve(self) -> None:
        """Reads what waits, at most `TURN` messages."""
        if self._socket is None:
            return
        for _ in range(min(TURN, self._left)):
            try:
                message, ancillary, _, address = self._socket.recvmsg(_LONGEST, 64)
            except BlockingIOError:
                return
            except OSError as error:
                self._failed(error)
                return
            self._left -= 1
            if ancillary == _FROM_THE_LINK and address[0].startswith(_LINK_LOCAL) and self._is_wan(address[3]):
                self.take(message)
        if self._left <= 0 and not self._resting:
            self._resting = True
            self._poll.unregister(self.fd)

    def take(self, message: bytes) -> None:
        """A Router Advertisement of the upstream router, from its ICMPv6 header on."""
        for prefix, lifetime_s in announced(message):
            if not lifetime_s:
                self._ends.pop(prefix, None)
            elif prefix in self._ends or len(self._ends) < MOST:
                self._ends[prefix] = self._now + lifetime_s

    def close(self) -> None:
        if self.fd >= 0 and not self._resting:
            self._poll.unregister(self.fd)
        if self._socket is not None:
            self._socket.close()
        self._socket, self.fd, self._resting = None, -1, False

    def _is_wan(self, number: int) -> bool:
        # Compare the current name, because an uplink that was down returns under another number.
        try:
            return matches(socket.if_indextoname(number), self.wan)
        except OSError:
            return False

    def _open(self) -> None:
        """Opens the socket if there is none, and makes the kernel drop messages of the LAN. Raises OSError."""
        if self._socket is None:
            # The kernel verifies checksums. Messages to all nodes arrive without joining their group.
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, _ICMPV6)
            self._socket.setsockopt(_ICMPV6, _ICMP6_FILTER, _TYPES)
            self._socket.setsockopt(_IPV6, _RECVHOPLIMIT, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._socket.setblocking(False)
        # `serve` accepts only messages of the WAN. This keeps a device's flood from filling the buffer.
        lan = [number for number, name in socket.if_nameindex() if matches(name, self.lan)][:_MOST_DROPPED]
        if lan != self._dropped or self.fd < 0:
            attach_filter(
                self._socket,
                [
                    (_LOAD_U32, _INTERFACE, "", ""),
                    *((_EQUAL, number, "drop", "") for number in lan),
                    (_RETURN, 0xFFFF, "", ""),
                    "drop",
                    (_RETURN, 0, "", ""),
                ],
            )
            self._dropped = lan
        if self.fd < 0:
            self.fd = self._socket.fileno()
            self._poll.register(self.fd, select.POLLIN)

    def _failed(self, error: OSError) -> None:
        self.close()
        denied = isinstance(error, PermissionError)
        reason = "that needs the capability CAP_NET_RAW" if denied else error.strerror
        self._log_once.first("", warning(f"NAT64 prefixes in Router Advertisements are not read: {reason}"))
