"""A router on which packages come and go: OpenWrt's own part, as far as the stand-ins have it.

Knows the places of OpenWrt's programs and of a router's flash. Must not know what is tried. For a root of its own
(tests/openwrt/root.sh, or a guest): it writes to /etc, /usr and /lib.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.lab.net import PYTHON
from tests.openwrt import light, package
from tests.openwrt.packager import Apk, Opkg
from tests.vm.service_scene import NETWORK, RUN, STAND_IN, Router, see, wait

#: Where something of the packages could stay: on flash, and in memory.
FLASH = ("/etc", "/www", "/usr/bin", "/usr/libexec", "/usr/share/nftables.d", "/lib/upgrade")
MEMORY = ("/var/run", "/tmp")
#: Folders of OpenWrt's own packages.
BASE = ("/www/luci-static/resources/view", "/usr/libexec/rpcd", "/usr/share/nftables.d/ruleset-post", "/tmp/hosts")
#: Where the package managers keep what is installed.
LISTS = ("/usr/lib/opkg/info", "/lib/apk/db/scripts", "/lib/apk/packages")
FIREWALL = (
    "config zone\n\toption name 'lan'\n\tlist network 'lan'\n"
    "config zone\n\toption name 'wan'\n\tlist network 'wan'\n"
    "config forwarding\n\toption src 'lan'\n\toption dest 'wan'\n"
)
RUNNING = "running: queue 25"
USERS = [Path("/etc", name) for name in ("passwd", "shadow", "group")]
#: fw4's table for these zones, in short; then what other packages have put next to it, in the same transaction.
FW4 = """
table inet fw4
flush table inet fw4
table inet fw4 {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "br-lan" oifname "wan" accept
    }
    chain srcnat { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
}
include "/usr/share/nftables.d/ruleset-post/*.nft"
"""


class LifeRouter(Router):
    """A router whose packages come and go."""

    def prepare(self) -> None:
        """OpenWrt's own part, before any package of ours, up to the firewall's start."""
        os.environ["PYTHONPATH"] = str(light.site_packages(Path("/")))
        os.environ["STAND_IN"] = str(STAND_IN)
        for name in ("messages", "up", "events"):
            (STAND_IN / name).mkdir(parents=True)
        programs = {
            "uci": f'exec {PYTHON} -I -S {package.UCI} "$@"',
            "ubus": f'exec {PYTHON} -I -S {package.UBUS} "$@"',
            "logger": f'[ $# -lt 5 ] && cat >>{self.log} || printf "%s\\n" "$5" >>{self.log}',
            "reload_config": f"exec busybox ash {package.STAND_IN / 'reload_config'}",
        }
        for name, text in programs.items():
            path = Path("/usr/bin", name)
            path.unlink(missing_ok=True)
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        # A router's Python, and its shell.
        for place, target in (("/usr/bin/python3", os.path.realpath(PYTHON)), ("/bin/sh", package.BUSYBOX)):
            Path(f"{place}.new").symlink_to(target)
            os.replace(f"{place}.new", place)
        shutil.copy(package.STAND_IN / "rc.common", "/etc/rc.common")
        shutil.copy(package.STAND_IN / "packages.sh", "/lib/functions.sh")
        for place in ("/etc/config", "/etc/rc.d", "/etc/uci-defaults", "/var/run", "/lib/upgrade/keep.d", *BASE):
            Path(place).mkdir(parents=True, exist_ok=True)
        Path("/etc/config/network").write_text(NETWORK)
        Path("/etc/config/firewall").write_text(FIREWALL)
        Path("/etc/init.d/rpcd").write_text(f'#!/bin/sh\necho "$@" >>{STAND_IN}/rpcd\n')
        Path("/etc/init.d/rpcd").chmod(0o755)
        self.base = there(FLASH)

    def start(self) -> None:
        """The boot's last steps, but for our service: scripts of init.d start in the order of their numbers."""
        self.ash("/usr/bin/reload_config")  # in /etc/init.d/boot
        self.lab.run("router", ["nft", "delete", "table", "ip", "lab_nat"])
        self.firewall("start")
        self.start_procd()
        for network, device in (("lan", "br-lan"), ("wan", "wan")):
            (STAND_IN / "up" / network).write_text(f"{device}\n")

    # ── its flash, which outlives it ────────────────────────────────────────────────────────────

    def keep(self, archive: Path) -> None:
        """What is on flash beyond OpenWrt's own."""
        added = sorted(there(FLASH) - self.base) + [str(path) for path in USERS]
        folders = [*LISTS, str(light.site_packages(Path("/")) / "cpe_filter")]
        with tarfile.open(archive, "w") as file:
            for place in added:
                file.add(place, recursive=False)
            for place in folders:
                if os.path.isdir(place):
                    file.add(place)

    def take(self, archive: Path) -> None:
        with tarfile.open(archive) as file:
            for member in file:
                if not (member.isdir() and os.path.isdir(f"/{member.name}")):
                    file.extract(member, "/")

    # ── OpenWrt's programs ──────────────────────────────────────────────────────────────────────

    def reload_config(self) -> None:
        self.ash("/usr/bin/reload_config")

    def firewall(self, action: str) -> None:
        """`/etc/init.d/firewall`: fw4 replaces its own table, and its stop removes everybody's."""
        if action == "stop":
            self.lab.run("router", ["nft", "flush", "ruleset"])
        else:
            self.lab.nft("router", FW4)

    def interface(self, network: str, device: str) -> bool:
        """netifd's event: the network is up with this device; "" if it is down. Whether our service has looked."""
        looked = RUN / "sources"
        before = looked.stat().st_mtime_ns
        up = STAND_IN / "up" / network
        if device:
            up.write_text(f"{device}\n")
        else:
            up.unlink()
        (STAND_IN / "events" / network).write_text("")
        return wait(lambda: looked.exists() and looked.stat().st_mtime_ns != before)

    def link(self, *words: str) -> None:
        self.lab.run("router", ["ip", *words])

    def shown(self) -> list[str]:
        return self.lab.run("router", ["uci", "show", "cpe-filter"]).stdout.splitlines()

    # ── the filter ──────────────────────────────────────────────────────────────────────────────

    def exempt(self, destination: str, *words: str) -> str:
        """What `exempt add` says against it; "" if nothing."""
        command = ["/usr/bin/cpe-filter", "exempt", "add", "--destination", destination, "--reason", "x", *words]
        done = self.lab.run("router", command, check=False)
        return done.stderr.strip() if done.returncode else ""

    def pid(self) -> int:
        path = RUN / "run.pid"
        return int(path.read_text() or 0) if path.exists() else 0

    def restored(self) -> int:
        """How often the filter has restored rules. (The log says so once a minute at most.)"""
        return int(self.status().get("restored", 0))

    def restores(self, before: int) -> bool:
        return wait(lambda: self.restored() > before)

    def successor(self) -> Callable[[], bool]:
        """Asked later: whether another process runs than now. It waits for that."""
        pid, times = self.pid(), self.said(RUNNING)
        return lambda: self.wait_for(RUNNING, times + 1) and self.pid() not in (0, pid)


def install(packager: Opkg | Apk, folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (ipk,) = folder.glob(f"{name}_*.ipk")
        said = packager.install(ipk if isinstance(packager, Opkg) else folder / "apk" / name)
        if said:
            see("said", by=name, text=said)


def there(places: tuple[str, ...]) -> set[str]:
    """All files and folders below, without those of the stand-ins and the lab."""
    found: set[str] = set()
    for place in places:
        for folder, folders, files in os.walk(place):
            folders[:] = [name for name in folders if not name.startswith(("cpe-filter-lab-", "netns", "stand-in"))]
            found.update(os.path.join(folder, name) for name in (*folders, *files))
    return {path for path in found if not path.startswith("/tmp/pytest")}
