"""Packets in the kernel's netlink messages, as NFQUEUE and NFLOG send them.

Knows the kernel's layout of attributes (linux/netfilter/nfnetlink_queue.h, nfnetlink_log.h): the packet is the last
one. Must not know sockets, or what happens to a packet.
"""

from __future__ import annotations

import struct

_header = struct.Struct("=IH").unpack_from
_attribute = struct.Struct("=HH").unpack_from
#: nlmsghdr and nfgenmsg, then the attribute with id, protocol and hook, which is always the first.
_FIRST = 20
_HWADDR_SIZE = 16
#: The end of the number that the first attribute may begin with.
_BEGUN = _FIRST + 8

#: The number that the kernel gave the packet (NFQUEUE), its hook, the sender's MAC or None, the IP packet.
Found = tuple[int, int, bytes | None, bytes]
#: Messages that agree in so many bytes from the hook's number on nearly always have the same layout. And how many
#: layouts are remembered.
_ALIKE, _PLACES = 24, 32


class _Place:
    """Where a message's parts are. fields: reads length, type, number, the MAC's attribute, size and type of the last.

    nameless: there is no MAC.
    """

    __slots__ = ("fields", "hook", "nameless", "payload")

    def __init__(self, hook: int, hwaddr: int, payload: int) -> None:
        self.hook = hook
        self.payload = payload
        self.nameless = not hwaddr
        between = f"{hwaddr - _BEGUN}xHH4x6s{payload - hwaddr - 14}x" if hwaddr else f"0s0s0s{payload - _BEGUN}x"
        self.fields = struct.Struct(f"=IH{_FIRST - 2}x4s{between}HH").unpack_from


class Reader:
    """Reads one kind of message. kind: its type; hook: offset of the hook's number in the first attribute's value.

    hwaddr, payload: types of these attributes. They are expected where they were in an earlier message of this layout.
    """

    def __init__(self, kind: int, hook: int, hwaddr: int, payload: int) -> None:
        self._kind = kind
        self._hook = _FIRST + 4 + hook
        self._numbered = hook >= 4  # else the number is none
        self._hwaddr = hwaddr
        self._payload = payload
        self._places: dict[bytes, _Place] = {}

    def read(self, datagram: bytes) -> list[Found]:
        """All packets of a datagram, in order. Malformed messages are left out."""
        found: list[Found] = []
        at, size, begins, places, numbered = 0, len(datagram), self._hook, self._places, self._numbered
        while at + _FIRST + 12 <= size:
            # Hook and interfaces, which packets on the same way have in common.
            place = places.get(datagram[at + begins : at + begins + _ALIKE])
            if place is not None and at + place.payload + 4 <= size:
                length, kind, number, mac_size, mac_kind, mac, data_size, data_kind = place.fields(datagram, at)
                start = at + place.payload + 4
                end = at + length
                if (
                    kind == self._kind
                    and data_kind == self._payload
                    and end <= size
                    and 0 <= end + 4 - start - data_size < 4
                    and (place.nameless or (mac_kind == self._hwaddr and mac_size == _HWADDR_SIZE))
                ):
                    found.append(
                        (
                            int.from_bytes(number, "big") if numbered else 0,
                            place.hook,
                            None if place.nameless else mac,
                            datagram[start : start + data_size - 4],
                        )
                    )
                    at += (length + 3) & ~3
                    continue
            length, kind = _header(datagram, at)
            end = at + length
            if length < _FIRST or end > size:
                break
            if kind == self._kind:
                one = self._look(datagram, at, end)
                if one is not None:
                    found.append(one)
            at += (length + 3) & ~3
        return found

    def _look(self, datagram: bytes, at: int, end: int) -> Found | None:
        """The packet of a message, or None. Remembers where its parts are."""
        if at + self._hook >= end:
            return None
        place = self._search(datagram, at, end)
        if place is None:
            return None
        hwaddr, payload = place
        hook = datagram[at + self._hook]
        if len(self._places) >= _PLACES:
            self._places.clear()
        if payload >= _BEGUN and not 0 < hwaddr < _BEGUN:
            self._places[datagram[at + self._hook : at + self._hook + _ALIKE]] = _Place(hook, hwaddr, payload)
        start = at + payload
        mac = datagram[at + hwaddr + 8 : at + hwaddr + 14] if hwaddr else None
        number = int.from_bytes(datagram[at + _FIRST + 4 : at + _BEGUN], "big") if self._numbered else 0
        return number, hook, mac, datagram[start + 4 : start + _attribute(datagram, start)[0]]

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
