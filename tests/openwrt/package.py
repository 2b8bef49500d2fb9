"""The package's files where the recipe puts them, and how a router's shell runs them.

Knows the install list and busybox. Must not know what the scripts do. In a test they run below a folder of its own: the
paths in the copies are changed, and nothing else. `STAND_IN` is what stands for OpenWrt's own programs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

from tests.lab.net import DEADLINE_S, PROJECT

FILES = PROJECT / "openwrt" / "cpe-filter" / "files"
STAND_IN = Path(__file__).with_name("stand_in")
#: Where it is; empty where there is none.
BUSYBOX = shutil.which("busybox") or ""
UCI = Path(__file__).with_name("uci.py")
UBUS = Path(__file__).with_name("ubus.py")
#: syslog's facility, and the severities of `logger -p`.
DAEMON = 3
LOGGER = "case $4 in *.err) severity=3 ;; *.notice) severity=5 ;; *) exit 1 ;; esac"
#: File of the feed -> its place on the router and its mode.
INSTALL: dict[str, tuple[str, int]] = {
    "cpe-filter": ("/usr/bin/cpe-filter", 0o755),
    "cpe-filter.init": ("/etc/init.d/cpe-filter", 0o755),
    "cpe-filter.config": ("/etc/config/cpe-filter", 0o600),
    "cpe-filter.defaults": ("/etc/uci-defaults/90-cpe-filter", 0o755),
    "cpe-filter.dhcp": ("/etc/hotplug.d/dhcp/50-cpe-filter", 0o644),
    "cpe-filter.keep": ("/lib/upgrade/keep.d/cpe-filter", 0o644),
    "cpe-filter.capabilities": ("/etc/capabilities/cpe-filter.json", 0o644),
    "cpe-filter-send": ("/usr/libexec/cpe-filter-send", 0o755),
    "cpe-filter-repeat": ("/usr/libexec/cpe-filter-repeat", 0o755),
}
#: Programs of busybox that the scripts may use: those that OpenWrt's has by default.
APPLETS = (
    *("basename", "cat", "chmod", "cmp", "cp", "cut", "date", "grep", "head", "ln", "ls", "md5sum", "mkdir"),
    *("mv", "printf", "readlink", "rm", "sed", "sleep", "sort", "tail", "touch", "tr", "wc"),
)
_PATHS = re.compile(
    r"(?<![\w}])(/etc/(?:config|cpe-filter|init\.d|capabilities|rc\.d|uci-defaults)"
    r"|/usr/share/nftables\.d|/usr/libexec|/usr/bin/cpe-filter|/var/run/c(?:pe-filter|onfig\.md5)|/sys/class/net|/sbin/ujail|/www)\b"
)


def install(root: Path, below: str = "") -> None:
    """Every file in its place under `root`; with `below` its paths begin with that."""
    for name, (place, mode) in INSTALL.items():
        target = root / place[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (FILES / name).read_text()
        target.write_text(_PATHS.sub(rf"{below}\1", text) if below and name != "cpe-filter" else text)
        target.chmod(mode)


def why_not() -> str:
    """Why no router's shell can be had; "" where it can."""
    return "" if BUSYBOX else "the scripts run in busybox's shell (package busybox)"


def shell(programs: Path, script: str | Path, *arguments: str | Path) -> list[str]:
    """The command for a script in busybox's shell, where the programs of a folder come before busybox's own.

    The shell of Debian's busybox-static is built to run on its own (FEATURE_SH_STANDALONE): it takes an applet before
    it looks into PATH, and never gets to a program of ours with an applet's name. A function comes before both.
    """
    assert BUSYBOX, why_not()
    ours = sorted(path for path in programs.iterdir() if not path.is_symlink() and path.name.isidentifier())
    functions = "".join(f'{path.name}() {{ "{path}" "$@"; }}\n' for path in ours)
    return [BUSYBOX, "ash", "-c", f'{functions}. "$0"', str(script), *map(str, arguments)]


class Router:
    """A router's files below a folder: UCI, the package, and stand-ins for netifd, procd, nft, DNS and the log."""

    def __init__(self, folder: Path) -> None:
        self.root, self.stand_in, self.bin = folder / "root", folder / "stand-in", folder / "bin"
        for path in (self.root, self.bin, self.stand_in / "messages", self.stand_in / "up"):
            path.mkdir(parents=True)
        install(self.root, str(self.root))
        self._programs()
        (self.root / "usr/bin/cpe-filter").write_text(
            f"#!{sys.executable}\n"
            "from cpe_filter.home import translators\nfrom cpe_filter.cli.main import main\n"
            "from cpe_filter.lean.log import output\nfrom cpe_filter.uci import places\n\n"
            f"places.ROOT = {str(self.root)!r}\noutput._path = {self._bound_syslog()!r}\n"
            # The one path that the script takes from the policy and writes to.
            "beside = translators.answers_file\n"
            f"translators.answers_file = lambda status: {str(self.root)!r} + beside(status)\n"
            "main()\n"
        )
        self.config(
            "network",
            "config interface 'lan'\n\toption device 'br-lan'\n\toption proto 'static'\n"
            "config interface 'wan'\n\toption device 'wan'\n\toption proto 'dhcp'\n",
        )
        self.devices("br-lan", "wan")

    def _bound_syslog(self) -> str:
        """Has a socket in /dev/log's place; returns its path, which has to be short."""
        folder = tempfile.TemporaryDirectory(prefix="log-")
        self._syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        weakref.finalize(self, lambda *kept: [kept[0].close(), kept[1].cleanup()], self._syslog, folder)
        path = f"{folder.name}/log"
        self._syslog.bind(path)
        return path

    def _programs(self) -> None:
        assert BUSYBOX, why_not()
        for name in APPLETS:
            (self.bin / name).symlink_to(BUSYBOX)
        uci = os.environ.get("CPE_FILTER_UCI")  # the real one, where somebody has it
        if uci:
            self._script("uci", f'exec {uci} -c "$UCI_CONFIG_DIR" -t "$UCI_CONFIG_DIR/.state" "$@"')
        else:
            self._script("uci", f'exec {sys.executable} -I -S {UCI} "$@"')
        self._script("ubus", f'exec {sys.executable} -I -S {UBUS} "$@"')
        # What it would log, and what it would ask of the kernel. `tables` says what is there.
        # `answer` is what it does; without, it is busybox's where a name has no address of this type.
        self._script(
            "nslookup",
            f'echo "$@" >>{self.stand_in}/nslookup\nprintf "Server:\\t\\t127.0.0.1\\nAddress:\\t127.0.0.1:53\\n\\n"\n'
            f"[ ! -e {self.stand_in}/answer ] || . {self.stand_in}/answer",
        )
        self._script(
            "logger", f'{LOGGER}\nwhile IFS= read -r line; do echo "<$severity>$line"; done >>{self.stand_in}/log'
        )
        self._script(
            "nft",
            f'echo "$@" >>{self.stand_in}/nft\n[ "$1" != list ] || [ -e {self.stand_in}/table ] || exit 1\n'
            f"[ ! -e {self.stand_in}/refuses ]",
        )

    def _script(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    # ── what is there ───────────────────────────────────────────────────────────────────────────

    def config(self, name: str, text: str) -> None:
        """A configuration of UCI."""
        path = self.root / "etc/config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))

    def devices(self, *names: str) -> None:
        """These interfaces exist, and no others."""
        folder = self.root / "sys/class/net"
        shutil.rmtree(folder, ignore_errors=True)
        for name in names:
            (folder / name).mkdir(parents=True)

    def up(self, network: str, device: str, **more: str) -> None:
        """netifd has a logical network up. more: proto and zone, of one that is not configured: it is dynamic."""
        lines = [device, *(f"{name} {value}" for name, value in more.items())]
        (self.stand_in / "up" / network).write_text("".join(f"{line}\n" for line in lines))

    def down(self, network: str) -> None:
        (self.stand_in / "up" / network).unlink(missing_ok=True)

    def ujail(self, reason: str = "") -> None:
        """procd-ujail is installed. reason: what it says of a jail that it cannot build."""
        path = self.path("/sbin/ujail")
        path.parent.mkdir(exist_ok=True)
        fails = f"echo 'jail: {reason}' >&2\nexit 1\n" if reason else ""
        path.write_text(f'#!/bin/sh\necho "$@" >>{self.stand_in}/ujail\n{fails}')
        path.chmod(0o755)

    def path(self, place: str) -> Path:
        return self.root / place[1:]

    def text(self, place: str) -> str:
        return self.path(place).read_text()

    @property
    def log(self) -> str:
        """All lines, each with its severity in front, as `<3>`."""
        path = self.stand_in / "log"
        return path.read_text() if path.exists() else ""

    def _read_syslog(self) -> None:
        with (self.stand_in / "log").open("a") as file, contextlib.suppress(BlockingIOError):
            while True:
                head, _, text = self._syslog.recv(2048).decode().partition(" cpe-filter[")
                priority = int(head[1 : head.index(">")])
                assert priority >> 3 == DAEMON, head
                file.write(f"<{priority & 7}>{text.partition(']: ')[2]}\n")

    # ── what is done ────────────────────────────────────────────────────────────────────────────

    def ash(self, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        """busybox's shell with the router's programs and no others."""
        environment = {
            "PATH": str(self.bin),
            "STAND_IN": str(self.stand_in),
            "UCI_CONFIG_DIR": str(self.root / "etc/config"),
            "RC_D": str(self.root / "etc/rc.d"),
            "PYTHONPATH": str(PROJECT),
            "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
        }
        done = subprocess.run(
            shell(self.bin, *arguments),
            capture_output=True,
            env=environment,
            cwd=self.root,
            timeout=DEADLINE_S,
        )
        self._read_syslog()
        return done

    def policy(self) -> subprocess.CompletedProcess[bytes]:
        """The policy that UCI makes."""
        script = self.root / "policy.sh"
        script.write_text(f"exec {self.root}/usr/bin/cpe-filter uci policy\n")
        return self.ash(script)

    def init(self, action: str, *arguments: str) -> list[Message]:
        """An action of the init script; returns what it told procd."""
        script = self.root / "etc/init.d/cpe-filter"
        done = self.ash(STAND_IN / "rc.common", script, action, *arguments)
        assert not done.stderr, done.stderr.decode()
        messages = sorted((self.stand_in / "messages").iterdir())
        told = [Message(path.read_bytes()) for path in messages]
        for path in messages:
            path.unlink()
        return told


class Message:
    """What the init script tells procd: see stand_in/rc.common."""

    def __init__(self, data: bytes) -> None:
        calls: list[list[str]] = [[]]
        for word in data.decode("utf-8", "surrogateescape").split("\0")[:-1]:
            if word:
                calls[-1].append(word)
            else:
                calls.append([])
        self.verb, *self.about = calls[0]
        self.triggers = [call for call in calls[1:] if call and call[0].endswith("trigger")]
        self.instances: dict[str, dict[str, list[str]]] = {}
        name = ""
        for call in calls[1:]:
            if not call or call[0].endswith("trigger"):
                continue
            if call[0] == "open_instance":
                name = call[1]
                self.instances[name] = {}
            elif call[0] == "set_param":
                self.instances[name][call[1]] = call[2:]
            elif call[0].startswith("add_jail"):
                self.instances[name].setdefault(call[0][4:], []).extend(call[1:])
