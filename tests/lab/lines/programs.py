"""Real programs of lines: Debian's pppd, pppoe-server, tayga and wg, only unpacked into `.peers/lines/` (not in git).

`python -m tests.lab.lines.programs` gets them. Installed they would start services. Knows apt and dpkg. No root needed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.lab.net import PROJECT
from tests.unpacked import unpack

UNPACKED = PROJECT / ".peers" / "lines"
#: Program -> its package. Its libraries are on every Debian that has tcpdump.
PACKAGES = {"tayga": "tayga", "pppd": "ppp", "pppoe-server": "pppoe", "wg": "wireguard-tools"}


def find(name: str) -> str:
    """The program's path; "" where it is not here."""
    folders = [f"{UNPACKED}/usr/sbin", f"{UNPACKED}/usr/bin", "/usr/sbin", "/usr/bin"]
    return shutil.which(name, path=":".join(folders)) or ""


def pppd_plugin() -> str:
    """The plugin with which pppd uses the kernel's PPPoE; "" where it is not here."""
    found = [path for root in (UNPACKED, Path("/")) for path in root.glob("usr/lib/pppd/*/pppoe.so")]
    return str(found[0]) if found else ""


def get() -> str:
    """Downloads and unpacks what is missing; returns why that failed, or ""."""
    missing = [package for name, package in PACKAGES.items() if not find(name)]
    return unpack(missing, UNPACKED) if missing else ""


if __name__ == "__main__":
    sys.exit(get() or None)
