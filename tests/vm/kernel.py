"""Debian's own kernel, only unpacked: `python -m tests.vm.kernel` gets it into `.vm/` (not in git). No root needed.

`.vm/kernel/` then holds `vmlinuz`, `busybox` (static, for the guest's first process) and `modules/RELEASE/`, of which
only what a router's network needs. Knows apt and dpkg. Must not know what runs in the guest.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.lab.net import PROJECT

UNPACKED = PROJECT / ".vm"
KERNEL = UNPACKED / "kernel"
#: The package that names the current kernel, and what gives the guest its shell and modprobe.
META, SHELL = "linux-image-amd64", "busybox-static"

#: What is kept of 4,000 modules: 9p and overlay for the guest's root, and the network's with its tunnels.
_MODULES = re.compile(
    r"\./lib/modules/[^/]+/(modules\.(builtin|order)[^/]*"
    r"|kernel/(arch|crypto|lib|drivers/virtio|fs/(9p|fscache|netfs|overlayfs)|drivers/net/(veth|dummy|tun)\.ko"
    r"|drivers/net/(ppp|slip|wireguard)|net/(802|8021q|9p|bridge|core|ipv4|ipv6|llc|netfilter|packet|sched))(/.*)?)$"
)
#: Which modules were unpacked: those of `_MODULES` at that time.
_LIST = KERNEL / "modules.wanted"


class KernelMissingError(RuntimeError):
    """The kernel could not be got; the text says why."""


def why_not() -> str:
    """Why no guest can be started here; "" where it can."""
    if platform.machine() != "x86_64":
        return f"the virtual machine needs an x86-64 host, this is {platform.machine()}"
    if not shutil.which("qemu-system-x86_64"):
        return "the virtual machine needs qemu-system-x86_64 (package qemu-system-x86)"
    if not _current():
        return f"no kernel in {UNPACKED.name}/, or one with fewer modules (python -m tests.vm.kernel gets it)"
    return ""


def _current() -> bool:
    """Whether the unpacked kernel has the modules that are wanted now."""
    return _LIST.is_file() and _LIST.read_text() == _MODULES.pattern


def get() -> None:
    """Downloads and unpacks the kernel where there is none yet, or one with other modules.

    Raises `KernelMissingError`.
    """
    if _current():
        return
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise KernelMissingError("the kernel comes as a Debian package, and there is no apt-get or dpkg-deb here")
    UNPACKED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED) as name:
        folder, root = Path(name), Path(name, "kernel")
        root.mkdir()
        _unpack(_download(_image(), folder), root, re.compile(rf"\./boot/vmlinuz-.*|{_MODULES.pattern}"))
        _unpack(_download(SHELL, folder), root, re.compile(r"\./(usr/)?bin/busybox"))
        (release,) = (path.name for path in (root / "lib/modules").iterdir())
        (root / "boot" / f"vmlinuz-{release}").rename(root / "vmlinuz")
        (found,) = root.glob("**/bin/busybox")
        found.rename(root / "busybox")
        _run([str(root / "busybox"), "depmod", "-b", str(root), release], folder)
        (root / "lib/modules").rename(root / "modules")
        for part in ("boot", "lib", "bin", "usr"):
            shutil.rmtree(root / part, ignore_errors=True)
        (root / _LIST.name).write_text(_MODULES.pattern)
        if KERNEL.is_dir():
            KERNEL.rename(folder / "old")
        root.rename(KERNEL)


def _image() -> str:
    """The package of the current kernel itself."""
    depends = _run(["apt-cache", "depends", META], UNPACKED)
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise KernelMissingError(f"apt knows no package {META} (Debian's; after apt-get update)")
    return found[1]


def _download(package: str, folder: Path) -> Path:
    # A root-only folder: apt's own user cannot write there.
    _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], folder)
    (archive,) = folder.glob(f"{package}_*.deb")
    return archive


def _unpack(archive: Path, root: Path, wanted: re.Pattern[str]) -> None:
    """What of a package is `wanted`: the whole would be 400 MB."""
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archived,
    ):
        for member in archived:
            if member.isfile() and wanted.fullmatch(member.name):
                archived.extract(member, root)
    if process.returncode:
        raise KernelMissingError(f"{archive.name} could not be unpacked")


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise KernelMissingError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    try:
        get()
    except KernelMissingError as error:
        sys.exit(str(error))
