"""Real programs of lines: Debian's pppd, pppoe-server, tayga and wg, only unpacked into `.peers/lines/` (not in git).

`python -m tests.lab.lines.programs` gets them. Installed they would start services. Knows apt and dpkg. No root needed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab.net import PROJECT

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
    if not missing:
        return ""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return f"there is no apt-get or dpkg-deb here to get {', '.join(missing)} with"
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED.parent) as folder:
        # A root-only folder: apt's own user cannot write there.
        command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *missing]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            return done.stderr.strip()
        for archive in Path(folder).glob("*.deb"):
            done = subprocess.run(["dpkg-deb", "-x", str(archive), str(UNPACKED)], capture_output=True, text=True)
            if done.returncode:
                return done.stderr.strip()
    return ""


if __name__ == "__main__":
    sys.exit(get() or None)
