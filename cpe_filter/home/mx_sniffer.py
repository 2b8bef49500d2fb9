"""Live lookups: questions for MX records of devices in the home, captured on the LAN interfaces.

Knows packet sockets (packet(7)) and classic BPF. Must not know devices, nor judge: packets that pass the kernel's
filter go to the engine, which reads them exactly. Passive: it sends nothing and delays nothing. Needs CAP_NET_RAW.
Without it, or if an interface is missing, the filter runs on without lookups and logs so once.

The kernel's filter drops everything but MX queries. BPF cannot loop, so it cannot skip the name to reach the question's
type. But type and class end the question, and behind them is nothing, or an OPT record (RFC 6891) of a few sizes. So it
compares the bytes at these places, counted from the packet's end. Not seen: queries with other options (client subnet,
padding), in fragments or behind IPv6 extension headers, several in one TCP segment, and encrypted ones; nor packets
that never reach the router's processor: between two hosts of one bridge, or on a connection that flow offload carries.
"""

from __future__ import annotations

import array
import select
import struct
from collections.abc import Callable

from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.log import Log, LogOnce, warning
from cpe_filter.policy.interfaces import is_pattern, matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.clocks import PacketTime

#: Frames read from a socket in one turn, and from all sockets within a second. A flood costs no more than that.
TURN = 32
FRAMES_PER_S = 128
#: Seconds until a missing interface is tried again.
RETRY_S = 30.0
#: The most interfaces on which packets are read.
MOST_INTERFACES = 64

_ETH_P_ALL, _IPV4, _IPV6 = 0x0003, 0x0800, 0x86DD
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; the same on ARM, MIPS, RISC-V and x86
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23  # linux/if_packet.h, Linux 4.20
_RECEIVE_BUFFER = 1 << 15
#: Bytes of a packet that the kernel copies to the socket. Headers, the longest name and an OPT record fit.
_COPIED = 576

#: Bytes that may follow the question: none; an empty OPT record; one with a cookie (RFC 7873) as a client first sends
#: it (8 bytes), and with the usual server's part (16 more).
BEHIND = (0, 11, 23, 39)

# Operations of classic BPF (linux/bpf_common.h); _X: relative to the register X.
_LOAD_U32, _LOAD_U16, _LOAD_U8, _LOAD_U32_X, _LOAD_U16_X = 0x20, 0x28, 0x30, 0x40, 0x48
_X_IS_IPV4_HEADER, _X_IS_A, _ADD, _SUBTRACT = 0xB1, 0x07, 0x04, 0x14
_EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x15, 0x35, 0x45, 0x06
# What the kernel knows besides the bytes (linux/filter.h, SKF_AD_...).
_PROTOCOL, _PACKET_TYPE, _VLAN_TAG = 0xFFFFF000, 0xFFFFF004, 0xFFFFF02C

_MX_IN = 15 << 16 | 1
#: UDP's header and the shortest query: header, the root's name, type and class.
_SHORTEST = 8 + 12 + 1 + 4

#: Operation, operand, target if true and if false: a label of `_assemble`, or "" for the next instruction.
_Instruction = tuple[int, int, str, str]


def _do(operation: int, operand: int = 0) -> _Instruction:
    return operation, operand, "", ""


_FILTER: list[_Instruction | str] = [
    # To the router's own MAC, and in this network: packets of a VLAN on top of it are seen on the VLAN's interface.
    _do(_LOAD_U32, _PACKET_TYPE),
    (_EQUAL, 0, "", "drop"),
    _do(_LOAD_U32, _VLAN_TAG),
    (_ANY_BIT, 0xFFF, "drop", ""),
    _do(_LOAD_U32, _PROTOCOL),
    (_EQUAL, _IPV6, "ipv6", ""),
    (_EQUAL, _IPV4, "", "drop"),
    # UDP or TCP, not a fragment, to port 53. A = the packet's length by its header, because short frames are padded.
    _do(_LOAD_U8, 9),
    (_EQUAL, 17, "ipv4", ""),
    (_EQUAL, 6, "", "drop"),
    "ipv4",
    _do(_LOAD_U16, 6),
    (_ANY_BIT, 0x3FFF, "drop", ""),
    _do(_X_IS_IPV4_HEADER, 0),
    _do(_LOAD_U16_X, 2),
    (_EQUAL, 53, "", "drop"),
    _do(_LOAD_U16, 2),
    (_AT_LEAST, 20 + _SHORTEST, "question", "drop"),
    "ipv6",
    _do(_LOAD_U8, 6),
    (_EQUAL, 17, "ipv6 port", ""),
    (_EQUAL, 6, "", "drop"),
    "ipv6 port",
    _do(_LOAD_U16, 42),
    (_EQUAL, 53, "", "drop"),
    _do(_LOAD_U16, 4),
    _do(_ADD, 40),
    (_AT_LEAST, 40 + _SHORTEST, "question", "drop"),
    # X = the place of type and class with the longest record behind them; never below 0.
    "question",
    _do(_SUBTRACT, BEHIND[-1] + 4),
    _do(_X_IS_A),
]
for _bytes in BEHIND:
    _FILTER += [_do(_LOAD_U32_X, BEHIND[-1] - _bytes), (_EQUAL, _MX_IN, "pass", "")]
_FILTER += ["drop", _do(_RETURN, 0), "pass", _do(_RETURN, _COPIED)]


def assemble(lines: list[_Instruction | str]) -> bytes:
    """Instructions, with labels before them, in the kernel's form: 8 bytes each (`sock_filter`)."""
    places: dict[str, int] = {}
    code: list[_Instruction] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(code)
        else:
            code.append(line)
    out = b""
    for at, (operation, operand, yes, no) in enumerate(code):
        jumps = [places[place] - at - 1 if place else 0 for place in (yes, no)]
        out += struct.pack("=HBBI", operation, *jumps, operand)
    return out


def attach_filter(filtered: socket.socket, lines: list[_Instruction | str]) -> None:
    """Makes the kernel drop packets that this filter does not pass. Raises OSError."""
    code = array.array("B", assemble(lines))
    # struct sock_fprog: how many instructions, and a pointer to them.
    fprog = struct.pack("HP", len(code) // 8, code.buffer_info()[0])
    filtered.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def is_ours(address: bytes) -> bool:
    """Whether a packed address is this host's own: the kernel binds only such addresses. Nothing is sent."""
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((socket.inet_ntop(family, address), 0))
    except OSError:
        return False
    return True


class Lookups:
    """Packet sockets on `interfaces`, registered with `poll`. Calls `tell(sender's MAC or None, IP packet)`.

    Call `tick` every second, and `serve` when `poll` returns a descriptor of ours (`in`). `seen` counts the packets
    that passed the kernel's filter, `failures` those for which `tell` raised.
    """

    def __init__(
        self,
        interfaces: tuple[str, ...],
        poll: select.poll,
        on_query: Callable[[bytes | None, bytes], None],
        log: Log,
        retry_s: float = RETRY_S,
    ) -> None:
        self.seen = 0
        self.failures = 0
        self._interfaces = interfaces
        self._poll = poll
        self._on_query = on_query
        self._log_once = LogOnce(log)
        self._retry_s = retry_s
        self._next_try = 0.0
        self._sockets: dict[int, tuple[str, socket.socket]] = {}
        self._left = FRAMES_PER_S
        self._resting = False

    def __contains__(self, fd: int) -> bool:
        return fd in self._sockets

    def __len__(self) -> int:
        return len(self._sockets)

    def tick(self, time: PacketTime) -> None:
        """A second has passed: reads on if the last second's share was used up, and looks for missing interfaces."""
        self._left = FRAMES_PER_S
        if self._resting:
            self._resting = False
            for fd in self._sockets:
                self._poll.register(fd, select.POLLIN)
        names = self._interfaces
        if time >= self._next_try and (len(self._sockets) < len(names) or any(map(is_pattern, names))):
            self._next_try = time + self._retry_s
            self._open_missing()

    def serve(self, fd: int) -> None:
        """Reads what waits, at most `TURN` frames."""
        _, packet_socket = self._sockets[fd]
        for _ in range(min(TURN, self._left)):
            try:
                packet, address = packet_socket.recvfrom(_COPIED)
            except BlockingIOError:
                return
            except OSError as error:  # the interface is down or gone
                self._close(fd, error)
                return
            self._left -= 1
            self.seen += 1
            hwaddr = address[4]
            try:
                self._on_query(hwaddr if len(hwaddr) == 6 else None, packet)
            except Exception as error:  # a defect; mail still needs its verdicts
                self.failures += 1
                self._log_once.first("failure", warning(f"a lookup could not be read: {type(error).__name__}: {error}"))
        if self._left <= 0 and not self._resting:
            self._resting = True
            for one in self._sockets:
                self._poll.unregister(one)

    def close(self) -> None:
        for fd, (_, packet_socket) in self._sockets.items():
            if not self._resting:
                self._poll.unregister(fd)
            packet_socket.close()
        self._sockets.clear()

    def _open_missing(self) -> None:
        there = [name for name, _ in self._sockets.values()]
        for name in self._names():
            if name in there:
                continue
            try:
                packet_socket = _open(name)
            except PermissionError:
                self._log_once.first("", warning("MX lookups are not watched: that needs the capability CAP_NET_RAW"))
                self._interfaces = ()
                return
            except OSError as error:
                self._log_once.first(name, warning(f"MX lookups are not watched on {name}: {error.strerror}"))
                continue
            self._sockets[packet_socket.fileno()] = name, packet_socket
            if not self._resting:
                self._poll.register(packet_socket.fileno(), select.POLLIN)

    def _names(self) -> list[str]:
        """The interfaces to watch, at most `MOST_INTERFACES`; a pattern means all that are there."""
        patterns = [name for name in self._interfaces if is_pattern(name)]
        found = [name for name in self._interfaces if not is_pattern(name)]
        if patterns:
            found += [name for _, name in socket.if_nameindex() if matches(name, patterns) and name not in found]
        return found[:MOST_INTERFACES]

    def _close(self, fd: int, error: OSError) -> None:
        name, packet_socket = self._sockets.pop(fd)
        if not self._resting:
            self._poll.unregister(fd)
        packet_socket.close()
        self._log_once.first(name, warning(f"MX lookups are not watched on {name} until it is back: {error.strerror}"))


def _open(name: str) -> socket.socket:
    """A packet socket with the filter on one interface. Raises OSError."""
    # DGRAM: packets begin with their IP header, on links without Ethernet, too, and the sender's MAC comes separately.
    # Bound to protocol 0 first, so that nothing arrives before the filter is in place.
    packet_socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    try:
        attach_filter(packet_socket, _FILTER)
        packet_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        # Otherwise each packet that the router sends would be copied for us before the filter drops it.
        packet_socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        packet_socket.setblocking(False)
        # All protocols, although we need two. A socket of one protocol comes after IP's own turn, so IP works on a
        # clone of every packet, and then the queue silently loses the first packet of each connection (measured with
        # Linux 6.18 and a bridge). A socket of all protocols comes first, and IP gets the packet itself.
        packet_socket.bind((name, _ETH_P_ALL))
    except OSError:
        packet_socket.close()
        raise
    return packet_socket
