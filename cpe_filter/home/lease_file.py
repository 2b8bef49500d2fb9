r"""The formats of lease files: dnsmasq's (lease.c) and odhcpd's (statefiles.c, before 2024 dhcpv6-ia.c).

Knows what the two servers write, and what a client can make them write. Must not know files or devices. Everything in
a line but MAC and address was chosen by a device, so lines are read from the ends that the server writes:

- dnsmasq keeps only names of letters, digits and `-_.`, and writes in place: the last line may be cut.
- odhcpd before 2026-06 (23.05, 24.10) writes a name as it came, up to 255 bytes of anything but NUL, with `broken\x20`
  before it unless it is a valid host name. Spaces make fields, line breaks make lines. Later ones write `\xNN`.

A name that breaks its line goes on to the fields that end it, and what looks like leases in it is a part of the name.
One case is open: a client that writes an end of its own, and then the beginning of a line, can turn its lease into one
of another MAC, or hide the one that follows. It gains no more than by asking for a lease under that MAC, and replaces
no lease of the file.
"""

from __future__ import annotations

from collections.abc import Iterator

from cpe_filter.detect.mac_rotation import Lease
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.clocks import Posix
from cpe_filter.lean.named_tuple import NamedTuple

#: Leases of one file.
MAX_LEASES = 2048
NAME_LENGTH = 63
#: Bytes of a line; the longest of odhcpd's have a name in escapes and a dozen addresses.
_MAX_LINE = 4096
#: Bytes of a name that a client can choose (a DHCPv4 option; odhcpd's buffer for DHCPv6).
_MAX_NAME = 255
_MAX_ID = 130
_MAX_ADDRESSES = 16
_KEPT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
#: odhcpd's mark of a name that is not a valid host name.
_BROKEN = "broken\\x20"
#: Numbers below are lengths of leases in seconds, not times: dnsmasq with HAVE_BROKEN_RTC, for routers without a clock.
_FIRST_TIME = 1e9
#: dnsmasq's length of a lease that does not end.
_ENDLESS = 0xFFFFFFFF
#: A time long ago: odhcpd writes 0 for a lease that has expired and is still in its list.
_EXPIRED = 1.0


def parse(data: bytes) -> list[Lease]:
    """The leases of a file of either kind, at most `MAX_LEASES`. Lines that are not leases are skipped."""
    records = _Records()
    for start, line, is_whole in _lines(data):
        records.take(start, line, is_whole)
        if len(records.leases) >= MAX_LEASES:
            break
    return records.undisputed()


def clean(name: str) -> str:
    """A host name that is safe to show anywhere: at most `NAME_LENGTH` of letters, digits, `-_.`, others as `?`."""
    if name in ("*", "-"):  # the servers' words for no name
        return ""
    return "".join(c if c in _KEPT else "?" for c in name[:NAME_LENGTH])


def _lines(data: bytes) -> Iterator[tuple[int, str, bool]]:
    """Each line with its offset, and whether it has an end: without one it may be cut."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        is_whole = end >= 0
        end = end if is_whole else len(data)
        if end - start <= _MAX_LINE:
            yield start, data[start:end].decode("latin-1"), is_whole
        start = end + 1


class _Head(NamedTuple):
    """The beginning of a line of odhcpd: `# ifname DUID IAID`, or `# ifname MAC ipv4`."""

    interface: str
    hwaddr: bytes  # b"" for DHCPv6
    client_id: bytes


class _Tail(NamedTuple):
    """Its end: `until assigned length address/length...`."""

    until: Posix
    addresses: tuple[bytes, ...]
    words: int  # before it


class _RawName:
    """A name that odhcpd has not escaped: where it began, and the lease that it belongs to."""

    __slots__ = ("address", "at", "head", "index", "is_open", "text")

    def __init__(self, at: int, head: _Head, text: str, index: int) -> None:
        self.at = at
        self.head = head
        self.text = text
        self.index = index
        self.is_open = True  # no end of its line has come
        self.address = b""


class _Records:
    """The leases so far. Call `take` with each line, then `undisputed`."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self._raw: _RawName | None = None
        self._in_doubt: set[int] = set()  # indices of leases where a raw name could still go on

    def take(self, start: int, line: str, is_whole: bool) -> None:
        """The next line, and its offset in the file."""
        fields = line.split(" ")
        head = _head(fields)
        tail = _tail(fields, 5 if head else 1, is_whole)
        is_record = head is not None and tail is not None and _is_same_family(head, tail)
        raw = self._raw
        if raw is not None and start - raw.at > _MAX_NAME:
            raw = self._raw = None
        if raw is not None and (raw.is_open or not is_record or _is_forged(raw, head, tail, fields)):
            raw.text = f"{raw.text}\n{line}"[:_MAX_NAME]
            self._end(raw, _tail(fields, 1, is_whole))
        elif head is not None:
            at = start + len(" ".join(fields[:4])) + 1
            self._odhcpd(at, head, tail if is_record else None, fields)
        else:
            lease = _dnsmasq(fields, is_whole)
            if lease is not None:
                self.leases.append(lease)

    def _odhcpd(self, at: int, head: _Head, tail: _Tail | None, fields: list[str]) -> None:
        """at: the offset of the name."""
        name = " ".join(fields[4 : tail.words if tail else None])
        if self._raw is not None:
            self._in_doubt.add(len(self.leases))
        elif not _is_plain(name) if tail else name.startswith(_BROKEN):
            self._raw = _RawName(at, head, name, len(self.leases))
            self._end(self._raw, tail)
            return
        if tail is not None:
            self.leases.append(_lease(head, tail, name))

    def _end(self, raw: _RawName, tail: _Tail | None) -> None:
        """The name's line may end here. What looked like an end before, and like leases, was in the name."""
        if tail is None or not _is_same_family(raw.head, tail):
            return
        del self.leases[raw.index :]
        self._in_doubt = {index for index in self._in_doubt if index < raw.index}
        self.leases.append(_lease(raw.head, tail, raw.text))
        raw.is_open = False
        raw.address = tail.addresses[0] if tail.addresses else b""

    def undisputed(self) -> list[Lease]:
        """Without those in doubt that have the MAC, the identifier or an address of another one."""
        if not self._in_doubt:
            return self.leases
        sure = [lease for index, lease in enumerate(self.leases) if index not in self._in_doubt]
        taken = {key for lease in sure for key in (lease.hwaddr, lease.client_id, *lease.addresses) if key}
        return [
            lease
            for index, lease in enumerate(self.leases)
            if index not in self._in_doubt or taken.isdisjoint((lease.hwaddr, lease.client_id, *lease.addresses))
        ]


def _head(fields: list[str]) -> _Head | None:
    if fields[0] != "#" or len(fields) < 5:
        return None
    if fields[3] == "ipv4":
        hwaddr = _mac(fields[2])
        return _Head(fields[1], hwaddr, b"") if hwaddr else None
    if not (_is_hex(fields[2]) and _is_hex(fields[3]) and len(fields[3]) <= 8):
        return None
    return _Head(fields[1], b"", _identifier(fields[2], b""))


def _tail(fields: list[str], least: int, is_whole: bool) -> _Tail | None:
    """least: fields before it."""
    end = len(fields)
    addresses: list[bytes] = []
    while end:
        address, slash, length = fields[end - 1].partition("/")
        packed = _address(address) if slash and _is_decimal(length, 128) else None
        if packed is None:
            break
        addresses.append(packed)
        end -= 1
    if end < least + 3 or not (_is_decimal(fields[end - 1], 128) and _is_hex(fields[end - 2])):
        return None
    until = _number(fields[end - 3])
    if until is None or not (addresses or is_whole):
        return None
    return _Tail(Posix(until), tuple(addresses[: -_MAX_ADDRESSES - 1 : -1]), end - 3)


def _is_same_family(head: _Head, tail: _Tail) -> bool:
    if head.hwaddr:
        return len(tail.addresses) == 1 and len(tail.addresses[0]) == 4
    return all(len(address) == 16 for address in tail.addresses)


def _is_forged(raw: _RawName, head: _Head | None, tail: _Tail | None, fields: list[str]) -> bool:
    """What odhcpd would not write behind this name.

    It marks names with spaces, and has an interface's IPv4 leases in the order of their addresses.
    """
    if head is None or tail is None:
        return True
    name = " ".join(fields[4 : tail.words])
    if not (_is_plain(name) or name.startswith(_BROKEN)):
        return True
    is_same = bool(head.hwaddr and raw.head.hwaddr) and head.interface == raw.head.interface
    return is_same and tail.addresses[0] <= raw.address


def _lease(head: _Head, tail: _Tail, name: str) -> Lease:
    until = Posix(_EXPIRED) if head.hwaddr and not tail.until else max(Posix(0.0), tail.until)
    return Lease(head.hwaddr, tail.addresses, _unescape(name), head.client_id, until)


def _unescape(name: str) -> str:
    r"""Without odhcpd's mark (`broken ` in some versions of 2025-12); `\xNN`, its escape, becomes `?NN`."""
    name = name.removeprefix(_BROKEN) if name.startswith(_BROKEN) else name.removeprefix("broken ")
    return clean(name.replace("\\x", "?"))


def _is_plain(name: str) -> bool:
    """Whether an odhcpd that escapes can have written it."""
    return all(c in _KEPT or c == "\\" for c in name)


def _dnsmasq(fields: list[str], is_whole: bool) -> Lease | None:
    """`expiry MAC address name client-id`; DHCPv6: `expiry IAID address name DUID`. Other lines begin with a word."""
    if len(fields) < 5:
        return None
    number, address = _number(fields[0]), _address(fields[2])
    if number is None or number < 0 or address is None:
        return None
    hwaddr = _mac(fields[1]) if len(address) == 4 else b""
    if hwaddr is None:
        return None
    client_id = _identifier(fields[4], hwaddr) if is_whole else b""  # it may be cut
    length = number if 0 < number < _FIRST_TIME else 0.0
    expires = Posix(0.0 if length or number >= _ENDLESS else number)
    return Lease(hwaddr, (address,), clean(fields[3]), client_id, expires, length)


def _number(text: str) -> float | None:
    """Seconds; -1 for never (odhcpd)."""
    if text == "-1":
        return -1.0
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 13 else None


def _is_decimal(text: str, most: int) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 4 and int(text) <= most


def _is_hex(text: str) -> bool:
    return bool(text) and all(c in "0123456789abcdefABCDEF" for c in text)


def _address(text: str) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return None


def _mac(text: str) -> bytes | None:
    """`02:00:00:12:34:56`, without leading zeros (odhcpd), or as one number (odhcpd before 2025-11-30)."""
    parts = text.split(":") if ":" in text else [text[n : n + 2] for n in range(0, 12, 2)] if len(text) == 12 else []
    if len(parts) != 6 or not all(len(part) < 3 and _is_hex(part) for part in parts):
        return None
    return bytes(int(part, 16) for part in parts)


def _identifier(text: str, hwaddr: bytes) -> bytes:
    """A client identifier or DUID in hex, with colons or without; b"" for none and for one that only repeats the MAC.

    An identifier of RFC 4361 (255, IAID, DUID) gives only the DUID, because the IAID may change with the MAC.
    """
    try:
        found = bytes.fromhex(text.replace(":", "")) if len(text) <= 3 * _MAX_ID else b""
    except ValueError:
        return b""
    if len(found) > 5 and found[0] == 255:
        found = found[5:]
    return b"" if hwaddr and found[-6:] == hwaddr else found
