"""What kind of device asks for an address: by its DHCP request, as the hook of dnsmasq's script has kept it.

Knows the file (a line a device: MAC, option 55 as numbers with commas, vendor class) and a small table. Must not judge:
whoever sends a request can make it up, so a class is shown to people and is never evidence. All but the MAC was chosen
by the device; what is malformed is left out.

Sources: Android's DhcpClient (AOSP, NetworkStack: `android-dhcp-` and its list of options), [MS-DHCPE] (`MSFT 5.0`),
ISC dhclient's and Apple's lists as in PRADS' dhcp.fp and wifi_taxonomy's dhcp.py, BusyBox' udhcpc (`udhcp`), HP's
printers (`Hewlett-Packard JetDirect`). One class may be several kinds of device: Android is a phone, a tablet or a TV
box, and udhcp a camera, a NAS or a set-top box.
"""

from __future__ import annotations

import os

from cpe_filter.lean.files import read

#: Devices and bytes of a file that are read.
MOST, LONGEST = 256, 1 << 17
#: How option 55 begins -> class, before and behind the vendor class. The first that fits counts.
_ANDROID = (("1,3,6,15,26,28,51,58,59,43", "android"), ("1,33,3,6,15,26,28,51,58,59", "android"))
_ASKED = (
    ("1,3,6,15,31,33,43,44,46,47,", "windows"),
    ("1,15,3,6,44,46,47,31,33,", "windows"),
    ("1,28,2,3,15,6,", "linux"),
    ("1,3,6,12,15,28,", "embedded"),
)
#: How a vendor class begins -> class.
_VENDORS = (
    ("android-dhcp-", "android"),
    ("MSFT_", "windows"),
    ("udhcp", "embedded"),
    ("dhcpcd", "linux"),
    ("Hewlett-Packard_", "printer"),
    ("HP_", "printer"),
    ("PS3", "console"),
    ("PS4", "console"),
)


def device_class(asked: str, vendor: str) -> str:
    """android, windows, mac, apple (a phone, tablet or TV of Apple), linux, embedded, printer or console; else ""."""
    if asked.startswith(("1,121,3,6,15,", "1,3,6,15,119,")) and ",252" in asked:
        return "mac" if ",95," in asked else "apple"
    for text, table in ((asked, _ANDROID), (vendor, _VENDORS), (asked, _ASKED)):
        for begin, kind in table:
            if text.startswith(begin):
                return kind
    return ""


class DeviceClasses:
    """The classes in a file. Call `refresh` now and then."""

    def __init__(self, status_file: str) -> None:
        self._path = os.path.join(os.path.dirname(status_file), "dhcp")
        self._stamp: tuple[int, int, int] | None = None
        self._by_mac: dict[bytes, str] = {}

    def of(self, mac: bytes) -> str:
        return self._by_mac.get(mac, "")

    def refresh(self) -> None:
        """Reads the file if it has changed. Never raises; without a file, or if others can write it, none is known."""
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._by_mac = parse(read(self._path, LONGEST))
                self._stamp = stamp
        except OSError:
            self._by_mac, self._stamp = {}, None


def parse(data: bytes) -> dict[bytes, str]:
    """By packed MAC: the class. Malformed lines, and those that say nothing, are left out."""
    found: dict[bytes, str] = {}
    for line in data.decode("ascii", "replace").split("\n")[:MOST]:
        mac, _, rest = line.partition(" ")
        asked, _, vendor = rest.partition(" ")
        kind = device_class(asked, vendor)
        try:
            packed = bytes.fromhex(mac.replace(":", ""))
        except ValueError:
            continue
        if kind and len(packed) == 6:
            found.setdefault(packed, kind)
    return found
