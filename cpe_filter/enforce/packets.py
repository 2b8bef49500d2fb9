"""Packets in the kernel's netlink messages, as NFQUEUE and NFLOG send them.

Knows attributes as the kernel lays them out (linux/netfilter/nfnetlink_queue.h, nfnetlink_log.h): the packet comes
last. Must not know sockets, or what becomes of a packet.
"""

from __future__ import annotations

import struct

_header = struct.Struct("=IH").unpack_from
_attribute = struct.Struct("=HH").unpack_from
#: nlmsghdr and nfgenmsg, then the attribute with id, protocol and hook, which is always the first.
_FIRST = 20
_HWADDR_SIZE = 16

#: Number that the kernel gave the packet (NFQUEUE), its hook, the sender's MAC or None, the IP packet.
Found = tuple[int, int, bytes | None, bytes]


class Reader:
    """Reads one kind of message. kind: its type; hook: offset of the hook's number in the first attribute's value.

    hwaddr, payload: types of these attributes. Where they stood last for a hook is where they are looked for first.
    """

    def __init__(self, kind: int, hook: int, hwaddr: int, payload: int) -> None:
        self._kind = kind
        self._hook = _FIRST + 4 + hook
        self._hwaddr = hwaddr
        self._payload = payload
        self._places: dict[int, tuple[int, int]] = {}

    def read(self, datagram: bytes) -> list[Found]:
        """All packets of a datagram, in order. What is malformed is left out."""
        found: list[Found] = []
        at, size = 0, len(datagram)
        while at + _FIRST + 12 <= size:
            length, kind = _header(datagram, at)
            end = at + length
            if length < _FIRST or end > size:
                break
            if kind == self._kind:
                number = int.from_bytes(datagram[at + _FIRST + 4 : at + _FIRST + 8], "big")
                hook = datagram[at + self._hook]
                place = self._places.get(hook)
                if place is None or not self._stands(datagram, at, end, place):
                    place = self._search(datagram, at, end)
                    if place is None:
                        at += (length + 3) & ~3
                        continue
                    self._places[hook] = place
                hwaddr, payload = place
                start = at + payload
                stop = start + _attribute(datagram, start)[0]
                mac = datagram[at + hwaddr + 8 : at + hwaddr + 14] if hwaddr else None
                found.append((number, hook, mac, datagram[start + 4 : stop]))
            at += (length + 3) & ~3
        return found

    def first(self, datagram: bytes, attribute: int) -> bytes | None:
        """The value of an attribute of the first packet in a datagram; None where there is none."""
        if len(datagram) < _FIRST:
            return None
        end, place = min(_header(datagram)[0], len(datagram)), _FIRST
        while place + 4 <= end:
            size, kind = _attribute(datagram, place)
            if size < 4 or place + size > end:
                return None
            if kind & 0x3FFF == attribute:
                return datagram[place + 4 : place + size]
            place += (size + 3) & ~3
        return None

    def _stands(self, datagram: bytes, at: int, end: int, place: tuple[int, int]) -> bool:
        """Whether the attributes are where they were in the last message: one more before them would move them."""
        hwaddr, payload = place
        start = at + payload
        if start + 4 > end:
            return False
        size, kind = _attribute(datagram, start)
        if kind != self._payload or not 0 <= end - start - size < 4:
            return False
        return not hwaddr or _attribute(datagram, at + hwaddr) == (_HWADDR_SIZE, self._hwaddr)

    def _search(self, datagram: bytes, at: int, end: int) -> tuple[int, int] | None:
        """Offsets of the MAC's attribute, 0 where there is none, and of the packet's. None where there is no packet."""
        hwaddr, place = 0, at + _FIRST
        while place + 4 <= end:
            size, kind = _attribute(datagram, place)
            if size < 4 or place + size > end:
                return None
            kind &= 0x3FFF
            if kind == self._hwaddr and size == _HWADDR_SIZE and datagram[place + 4 : place + 6] == b"\0\6":
                hwaddr = place - at
            elif kind == self._payload:
                return hwaddr, place - at
            place += (size + 3) & ~3
        return None
