"""Debian's packages, only unpacked: installed they would start services. Knows apt and dpkg. No root needed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path


def unpack(packages: Sequence[str], folder: Path) -> str:
    """Downloads them, and unpacks them into a folder; returns why that failed, or ""."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return f"there is no apt-get or dpkg-deb here to get {', '.join(packages)} with"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as downloads:
        # A root-only folder: apt's own user cannot write there.
        command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages]
        done = subprocess.run(command, capture_output=True, text=True, cwd=downloads)
        if done.returncode:
            return done.stderr.strip()
        for archive in Path(downloads).glob("*.deb"):
            done = subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], capture_output=True, text=True)
            if done.returncode:
                return done.stderr.strip()
    return ""
