"""Boxes: real mail programs of Debian unpacked side by side, each run in a root of its own on one of the lab's hosts.

Postfix, Exim and OpenSMTPD exclude each other as packages and would start services; PHP is large. So these are only
downloaded and unpacked, into `.peers/<name>/` (not in git). A box is a private mount and PID namespace: a tmpfs root
whose /usr is an overlay of the unpacked package over this machine's /usr, read-only; /etc and /var are its own. When
the process that holds the namespace ends, everything in it is ended by the kernel and its files are gone.

Knows apt, dpkg and namespaces. Must not know mail. Needs root, and a kernel with overlayfs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tests.lab.net import PROJECT, Lab

UNPACKED = PROJECT / ".peers"
#: Name of a box -> the Debian package, whose missing libraries come along.
PACKAGES = {"postfix": "postfix", "exim": "exim4-daemon-light", "opensmtpd": "opensmtpd", "php": "php-cli"}
#: Programs that may be installed beside any other: the command -> its packages.
COMMANDS = {
    "swaks": ("swaks", "libnet-ssleay-perl", "libio-socket-inet6-perl"),  # without these no TLS and no IPv6
    "msmtp": ("msmtp",),
    "curl": ("curl",),
    "openssl": ("openssl",),
}

#: Users and groups of the boxes; those of the mail programs have the names that Debian's builds expect.
_USERS = {"root": 0, "mail": 8, "nobody": 65534, "postfix": 901, "Debian-exim": 902, "opensmtpd": 903, "opensmtpq": 904}
_GROUPS = {**_USERS, "postdrop": 905, "nogroup": 65534}

#: $1 the root to be, $2 the unpacked package.
_BUILD = """
mount -t tmpfs -o mode=755 box "$1"
cd "$1"
mkdir usr etc var proc dev tmp run root
for name in bin sbin lib lib32 lib64 libx32; do [ ! -L "/$name" ] || ln -s "usr/$name" "$name"; done
mount -t overlay -o "lowerdir=$2/usr:/usr" box usr
mount --rbind /dev dev
mount -t proc proc proc
cp -a "$2/etc/." etc
cp -a "$2/var/." var
cp /etc/nsswitch.conf /etc/services /etc/protocols etc
ln -s /run var/run
mkdir -p var/log var/tmp var/spool
mkdir -p -m 1777 var/mail
chmod 1777 tmp var/tmp var/log
echo ready
exec sleep infinity
"""


def missing() -> list[str]:
    """Boxes and commands that are not here, each with what it lacks."""
    lacking = [f"{name} is not unpacked in {UNPACKED.name}/" for name in PACKAGES if not (UNPACKED / name).is_dir()]
    for name, packages in COMMANDS.items():
        absent = [package for package in packages if not _installed(name, package)]
        lacking += [f"{name} is not installed ({', '.join(absent)})"] if absent else []
    return lacking


def _installed(name: str, package: str) -> bool:
    if package == name:
        return bool(shutil.which(name))
    module = {"libnet-ssleay-perl": "Net::SSLeay", "libio-socket-inet6-perl": "IO::Socket::INET6"}[package]
    return (
        bool(shutil.which("perl"))
        and not subprocess.run(["perl", f"-M{module}", "-e1"], capture_output=True).returncode
    )


def get() -> list[str]:
    """Downloads, unpacks, installs what is missing (Debian, Ubuntu; root); returns what could not be got, and why."""
    lacking = missing()
    if lacking and not shutil.which("apt-get"):
        return [f"{text}, and there is no apt-get here" for text in lacking]
    if lacking:
        _apt("update")
    failed = []
    for name, package in PACKAGES.items():
        if not (UNPACKED / name).is_dir():
            failed += [f"{name}: {why}" for why in _unpack(package, UNPACKED / name)]
    for name, packages in COMMANDS.items():
        if any(text.startswith(f"{name} ") for text in lacking):
            done = _apt("install", "--yes", "--no-install-recommends", *packages)
            failed += [f"{name}: {done.stderr.strip()}"] if done.returncode else []
    return failed


def _apt(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(["apt-get", "-qq", *arguments], capture_output=True, text=True, env=environment)


def _unpack(package: str, target: Path) -> list[str]:
    """Downloads a package and what it needs and this machine has not; unpacks all of it. Returns errors."""
    UNPACKED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED) as folder:
        archives, root = Path(folder, "archives"), Path(folder, "root")
        (archives / "partial").mkdir(parents=True)
        words = ["--download-only", "--reinstall", "--no-install-recommends", "--yes", "-o", f"Dir::Cache={folder}"]
        # A root-only folder: apt's own user cannot write there.
        done = _apt("install", *words, "-o", "APT::Sandbox::User=root", package)
        if done.returncode:
            return [done.stderr.strip()]
        for archive in sorted(archives.glob("*.deb")):
            unpacked = subprocess.run(["dpkg", "-x", str(archive), str(root)], capture_output=True, text=True)
            if unpacked.returncode:
                return [unpacked.stderr.strip()]
        for part in ("bin", "sbin", "lib", "lib64"):  # the same folders where /usr is merged
            if (root / part).is_dir():
                shutil.copytree(root / part, root / "usr" / part, symlinks=True, dirs_exist_ok=True)
        for part in ("etc", "var", "usr"):
            (root / part).mkdir(exist_ok=True)
        root.rename(target)
    return []


class Box:
    """A running box: run programs in it with `run` and `start`, read and write its files below `files`."""

    def __init__(self, lab: Lab, host: str, name: str) -> None:
        self.lab = lab
        self.host = host
        self._root = lab.folder / f"{host}-{name}"
        self._root.mkdir()
        program = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", _BUILD, "box"]
        self._holder = lab.start(host, [*program, str(self._root), str(UNPACKED / name)], subprocess.PIPE)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline().strip() != "ready":
            assert self._holder.stderr is not None
            raise RuntimeError(f"no box for {name}: {self._holder.stderr.read().strip()}")
        self.files = Path(f"/proc/{self._holder.pid}/root", *self._root.parts[1:])
        users = "".join(f"{user}:x:{n}:{n}::/nonexistent:/bin/sh\n" for user, n in _USERS.items())
        groups = "".join(f"{group}:x:{n}:\n" for group, n in _GROUPS.items())
        self.write("etc/passwd", users)
        self.write("etc/group", groups)
        # No name server is asked: there is none, and 127.0.0.1 says so at once.
        self.write("etc/resolv.conf", "nameserver 127.0.0.1\n")
        self.write("etc/hosts", "127.0.0.1 localhost\n")

    def __enter__(self) -> Box:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, path: str, text: str, mode: int = 0o644, owner: str = "root") -> None:
        """Writes a file of the box, making its folder."""
        file = self.files / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        os.chown(file, _USERS[owner], _GROUPS[owner])

    def folder(self, path: str, owner: str, mode: int = 0o755) -> None:
        """Makes a folder of the box, or sets its owner."""
        folder = self.files / path
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
        os.chown(folder, _USERS[owner], _GROUPS[owner])

    def read(self, path: str) -> str:
        """A file's text; "" where there is none yet."""
        file = self.files / path
        return file.read_bytes().decode(errors="surrogateescape") if file.exists() else ""

    def _command(self, arguments: list[str]) -> list[str]:
        pid = self._holder.pid
        enter = ["nsenter", f"--mount=/proc/{pid}/ns/mnt", f"--pid=/proc/{pid}/ns/pid_for_children"]
        return [*enter, "chroot", str(self._root), *arguments]

    def run(self, arguments: list[str], given: str = "", check: bool = True) -> str:
        """Runs a program of the box to its end; returns what it printed."""
        return self.lab.run(self.host, self._command(arguments), given, check=check).stdout

    def start(self, arguments: list[str]) -> subprocess.Popen[str]:
        """Starts a program of the box; it is ended with the box. Its stderr goes to the box's log/stderr."""
        with (self.files / "var/log/stderr").open("a") as log:
            return self.lab.start(self.host, self._command(arguments), log)

    def close(self) -> None:
        """Ends every program of the box; its files are gone."""
        self._holder.kill()
        self._holder.wait(10)
