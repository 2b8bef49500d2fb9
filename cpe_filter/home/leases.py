"""DHCP leases from the files of dnsmasq and odhcpd: the addresses of devices, and the names that they chose.

Knows the files and their formats (dnsmasq's lease.c, odhcpd's statefiles.c). Must not judge. Everything in them but
MAC and address was chosen by a device. Names are reduced to letters, digits and `-_.`. They are shown locally and never
sent upstream. A file that is missing, truncated or malformed gives the leases that can be read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from cpe_filter.detect.device import RESERVED, Device
from cpe_filter.detect.mac_rotation import Lease
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.named_tuple import NamedTuple

#: Seconds between two looks at the files.
INTERVAL_S = 30.0
MAX_BYTES = 1 << 20
#: Leases of one file.
MAX_LEASES = 2048
NAME_LENGTH = 63
_MAX_ID = 130
_KEPT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


class _File(NamedTuple):
    stamp: tuple[int, int, int]  # modified (ns), size, inode
    leases: list[Lease]


class Leases:
    """The leases of some files. Call `refresh` now and then. `name` of a device is "" if none is known."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = tuple(paths)
        self._files: dict[str, _File] = {}
        self._next = 0.0
        self._by_mac: dict[bytes, str] = {}
        self._by_address: dict[bytes, str] = {}
        self._macs: frozenset[bytes] = frozenset()

    def holds(self, mac: bytes) -> bool:
        """Whether a packed MAC has a lease."""
        return mac in self._macs

    def __iter__(self) -> Iterator[Lease]:
        return (lease for file in self._files.values() for lease in file.leases)

    def refresh(self, time: float) -> bool:
        """Checks the files, at most every `INTERVAL_S`, and reads those that have changed. False: it was too soon."""
        if time < self._next:
            return False
        self._next = time + INTERVAL_S
        before = dict(self._files)
        for path in self._paths:
            self._look(path)
        if self._files != before:
            self._name()
            self._macs = frozenset(lease.hwaddr for lease in self if lease.hwaddr)
        return True

    def name(self, device: Device) -> str:
        """The name that this device chose, with `?` for anything but letters, digits and `-_.`."""
        if device.key in RESERVED:
            return ""
        name = self._by_mac.get(device.key, "")
        if name or not self._by_address:
            return name
        return next((self._by_address[a] for a in device.addresses if a in self._by_address), "")

    def _look(self, path: str) -> None:
        try:
            self._files[path] = _read(path, self._files.get(path))
        except OSError:
            self._files.pop(path, None)

    def _name(self) -> None:
        """MACs that the servers saw come first, then MACs in DUIDs, then addresses of devices without a MAC."""
        self._by_mac, self._by_address = {}, {}
        guessed: dict[bytes, str] = {}
        for file in self._files.values():
            for lease in file.leases:
                if not lease.name:
                    continue
                if lease.hwaddr:
                    self._by_mac[lease.hwaddr] = lease.name
                else:
                    guessed[_mac_of_duid(lease.client_id)] = lease.name
                for address in lease.addresses:
                    self._by_address[address] = lease.name
        guessed.pop(b"", None)
        self._by_mac = {**guessed, **self._by_mac}


def _read(path: str, known: _File | None) -> _File:
    """The file as it is now, read only if it has changed. Raises OSError, also for folders and FIFOs."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO in its place must not block us
    try:
        about = os.fstat(handle)
        stamp = (about.st_mtime_ns, about.st_size, about.st_ino)
        if known is not None and known.stamp == stamp:
            return known
        return _File(stamp, parse(os.pread(handle, MAX_BYTES, 0)))
    finally:
        os.close(handle)


def parse(data: bytes) -> list[Lease]:
    """The leases of a file of either kind, at most `MAX_LEASES`. Lines that are not leases are skipped."""
    found: list[Lease] = []
    for line in data.decode("latin-1").split("\n"):
        fields = line.split(" ")
        lease = _odhcpd(fields) if fields[0] == "#" else _dnsmasq(fields)
        if lease is not None:
            found.append(lease)
            if len(found) >= MAX_LEASES:
                break
    return found


def clean(name: str) -> str:
    """A host name that is safe to show anywhere: at most `NAME_LENGTH` of letters, digits, `-_.`, others as `?`."""
    if name in ("*", "-"):  # the servers' words for no name
        return ""
    return "".join(c if c in _KEPT else "?" for c in name[:NAME_LENGTH])


def _dnsmasq(fields: list[str]) -> Lease | None:
    """`expiry MAC address name client-id`; DHCPv6: `expiry IAID address name DUID`. Other lines begin with a word."""
    if len(fields) < 5:
        return None
    expires, address = _number(fields[0]), _address(fields[2])
    if expires is None or address is None:
        return None
    hwaddr = _mac(fields[1]) if len(address) == 4 else b""
    if hwaddr is None:
        return None
    return Lease(hwaddr, (address,), clean(fields[3]), _identifier(fields[4], hwaddr), expires)


def _odhcpd(fields: list[str]) -> Lease | None:
    """`# ifname DUID IAID name until assigned length address/length...`, IPv4: `# ifname MAC ipv4 name until ...`."""
    if len(fields) < 8:
        return None
    until = _number(fields[5])
    if until is None:
        return None
    name = _unescape(fields[4])
    addresses = tuple(a for a in (_address(f.partition("/")[0]) for f in fields[8:24]) if a is not None)
    if fields[3] != "ipv4":
        return Lease(b"", addresses, name, _identifier(fields[2], b""), until)
    hwaddr = _mac(fields[2])
    return Lease(hwaddr, addresses, name, b"", until) if hwaddr else None


def _unescape(name: str) -> str:
    r"""odhcpd writes anything but letters, digits and `-_.` as \xNN, and `broken\x20` before a name it does not use."""
    return clean(name.removeprefix("broken\\x20").replace("\\x", "?"))


def _number(text: str) -> float | None:
    """Seconds; 0 for never, which odhcpd writes as -1."""
    if text == "-1":
        return 0.0
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 13 else None


def _address(text: str) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return None


def _mac(text: str) -> bytes | None:
    """`02:00:00:12:34:56`, without leading zeros (odhcpd), or as one number (odhcpd before 2025-11-30)."""
    parts = text.split(":") if ":" in text else [text[n : n + 2] for n in range(0, 12, 2)] if len(text) == 12 else []
    if len(parts) != 6 or not all(0 < len(part) < 3 and part.isalnum() for part in parts):
        return None
    try:
        return bytes(int(part, 16) for part in parts)
    except ValueError:
        return None


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


def _mac_of_duid(duid: bytes) -> bytes:
    """The MAC in a DUID-LLT or DUID-LL of Ethernet (RFC 8415 section 11), else b""."""
    if (len(duid), duid[:4]) in ((14, b"\0\1\0\1"), (10, b"\0\3\0\1")):
        return duid[-6:]
    return b""
