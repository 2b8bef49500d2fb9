"""A bare Debian in a folder, in which commands run as root: `with System("bookworm", folder) as it: it.run(...)`.

Knows debootstrap, chroot and namespaces. Must not know what is tried there. The network is this machine's; so are the
certificates and settings with which pip and npm reach their registries.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.lab.net import PROJECT

KEPT = PROJECT / ".stock"
SUITES = ("bookworm", "trixie")
#: Variables by which a machine says how its registries are reached.
_PASSED = "PIP_CERT PIP_INDEX_URL PIP_DEFAULT_TIMEOUT NODE_EXTRA_CA_CERTS SSL_CERT_FILE HTTPS_PROXY HTTP_PROXY NO_PROXY"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Done(NamedTuple):
    """What a command printed, both streams as they came, and how long it took."""

    code: int
    output: str
    seconds: float


def why_not() -> str:
    """Why there can be no such system here; "" if there can."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("debootstrap", path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        return "debootstrap is not installed"
    return ""


def base(suite: str) -> Path:
    """The bare system, made on the first call. Raises RuntimeError with debootstrap's last words."""
    folder = KEPT / suite
    KEPT.mkdir(exist_ok=True)
    with (KEPT / f"{suite}.lock").open("w") as lock:  # tests of one file may be in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _make(suite, folder)
    return folder


def _make(suite: str, folder: Path) -> None:
    new = KEPT / f"{suite}.new{os.getpid()}"
    words = ["debootstrap", "--variant=minbase", "--include=ca-certificates", suite, str(new)]
    done = subprocess.run([*words, "http://deb.debian.org/debian"], capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(new, ignore_errors=True)
        raise RuntimeError(f"debootstrap: {(done.stdout + done.stderr).strip()[-500:]}")
    for archive in new.glob("var/cache/apt/archives/*.deb"):
        archive.unlink()
    new.rename(folder)


class System:
    """A copy of a bare system; it goes with the end."""

    def __init__(self, suite: str, folder: Path) -> None:
        self.root = folder / suite
        self._suite = suite

    def __enter__(self) -> System:
        subprocess.run(["cp", "-a", "--reflink=auto", str(base(self._suite)), str(self.root)], check=True)
        shutil.copy("/etc/resolv.conf", self.root / "etc" / "resolv.conf")
        if _CERTIFICATES.exists():
            shutil.copy(_CERTIFICATES, self.root / str(_CERTIFICATES).lstrip("/"))
        # No service starts in here, as in an image that is being made.
        policy = self.root / "usr" / "sbin" / "policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, command: str, seconds: float = 900, folder: str = "/") -> Done:
        """By its shell, with /proc and processes of its own."""
        environment = {name: os.environ[name] for name in _PASSED.split() if name in os.environ}
        environment |= {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        environment |= {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        inside = f"mount -t proc proc /proc && mount -t sysfs sysfs /sys && cd {shlex.quote(folder)} && {command}"
        # A mount of its own, so that `ip netns` can change how it is shared.
        enter = 'mount --bind "$1" "$1" && exec chroot "$1" /bin/sh -c "$2"'
        words = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            enter,
            "sh",
            str(self.root),
            inside,
        ]
        begun = time.monotonic()
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=environment, timeout=seconds,
        )  # fmt: skip
        return Done(done.returncode, done.stdout.decode(errors="replace"), time.monotonic() - begun)

    def must(self, command: str, seconds: float = 900, folder: str = "/") -> Done:
        """The same, for what has to succeed."""
        done = self.run(command, seconds, folder)
        assert done.code == 0, f"{command}: {done.code}\n{done.output[-3000:]}"
        return done

    def give(self, place: str = "/root/cpe-filter") -> None:
        """The project's files as git has them, without what was built here."""
        target = self.root / place.lstrip("/")
        listed = subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=PROJECT, capture_output=True, check=True
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (PROJECT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / name, target / name)
