"""promtool, of Debian's package prometheus, only unpacked into `.peers/watching/` (not in git).

`python -m tests.packaging.programs` gets it. Installed, the package would start a service. Knows apt and dpkg; no root
needed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab.net import PROJECT

UNPACKED = PROJECT / ".peers" / "watching"


def promtool() -> str:
    """Its path; "" where it is not here."""
    return shutil.which("promtool", path=f"{UNPACKED}/usr/bin:/usr/local/bin:/usr/bin") or ""


def get() -> str:
    """Downloads and unpacks it if it is missing; returns why that failed, or ""."""
    if promtool():
        return ""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return "there is no apt-get or dpkg-deb here to get prometheus with"
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED.parent) as folder:
        # A root-only folder: apt's own user cannot write there.
        words = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "prometheus"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            return done.stderr.strip()
        (archive,) = Path(folder).glob("prometheus_*.deb")
        done = subprocess.run(["dpkg-deb", "-x", str(archive), folder], capture_output=True, text=True)
        if done.returncode:
            return done.stderr.strip()
        (UNPACKED / "usr" / "bin").mkdir(parents=True, exist_ok=True)
        shutil.move(f"{folder}/usr/bin/promtool", UNPACKED / "usr" / "bin" / "promtool")
    return ""


if __name__ == "__main__":
    sys.exit(get() or None)
