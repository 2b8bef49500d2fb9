"""DHCP leases from the files of dnsmasq and odhcpd: the addresses of devices, and the names that they chose.

Knows where the files are and when they have changed; `lease_file` knows their formats. Must not judge. Names are
reduced to letters, digits and `-_.`. They are shown locally and never sent upstream. A file that is missing, truncated
or malformed gives the leases that can be read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from cpe_filter.detect.device import RESERVED, Device
from cpe_filter.detect.mac_rotation import Lease
from cpe_filter.home.lease_file import MAX_LEASES, NAME_LENGTH, clean, parse
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.clocks import PacketTime

__all__ = ["INTERVAL_S", "MAX_BYTES", "MAX_LEASES", "NAME_LENGTH", "Leases", "clean", "parse"]

#: Seconds between two looks at the files.
INTERVAL_S = 30.0
MAX_BYTES = 1 << 20


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

    def refresh(self, time: PacketTime) -> bool:
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

    def name_of(self, mac: bytes) -> str:
        """The name that the device with this MAC chose, "" if none is known."""
        return self._by_mac.get(mac, "")

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
        status = os.fstat(handle)
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if known is not None and known.stamp == stamp:
            return known
        return _File(stamp, parse(os.pread(handle, MAX_BYTES, 0)))
    finally:
        os.close(handle)


def _mac_of_duid(duid: bytes) -> bytes:
    """The MAC in a DUID-LLT or DUID-LL of Ethernet (RFC 8415 section 11), else b""."""
    if (len(duid), duid[:4]) in ((14, b"\0\1\0\1"), (10, b"\0\3\0\1")):
        return duid[-6:]
    return b""
