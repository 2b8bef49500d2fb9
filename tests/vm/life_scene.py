"""The life of the packages on a router's root: `python -m tests.vm.life_scene opkg|apk|flash OLD NEW`.

Installed by their own scripts, set up, upgraded, removed. OLD and NEW are folders that tools.ipk has written. It prints
a JSON object for each thing seen; test_life says what they must be. Runs on a root of its own
(tests/openwrt/root.sh): it writes to /etc, /usr and /lib.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.lab.net import PYTHON, RELAY4, Lab, mx4
from tests.openwrt import light, package
from tests.openwrt.packager import Apk, Opkg
from tests.vm.service_scene import NETWORK, RUN, STAND_IN, Router, see, wait

#: Where something of the packages could stay.
PLACES = ("/etc", "/www", "/usr/bin", "/usr/libexec", "/usr/share/nftables.d", "/lib/upgrade", "/var/run", "/tmp")
#: Folders of OpenWrt's own packages.
BASE = ("/www/luci-static/resources/view", "/usr/libexec/rpcd", "/usr/share/nftables.d/ruleset-post", "/tmp/hosts")
FIREWALL = (
    "config zone\n\toption name 'lan'\n\tlist network 'lan'\n"
    "config zone\n\toption name 'wan'\n\tlist network 'wan'\n"
    "config forwarding\n\toption src 'lan'\n\toption dest 'wan'\n"
)
#: What the newest package's folders are called: the packages that the scene installs, in order.
PACKAGES = ("cpe-filter", "luci-app-cpe-filter")
USERS = [Path("/etc", name) for name in ("passwd", "shadow", "group")]


class LifeRouter(Router):
    """A router whose packages come and go."""

    def prepare(self) -> None:
        """OpenWrt's own part, before any package of ours."""
        os.environ["PYTHONPATH"] = str(light.site_packages(Path("/")))
        os.environ["STAND_IN"] = str(STAND_IN)
        for name in ("messages", "up", "events"):
            (STAND_IN / name).mkdir(parents=True)
        programs = {
            "uci": f'exec {PYTHON} -I -S {package.UCI} "$@"',
            "ubus": f'exec {PYTHON} -I -S {package.UCI.with_name("ubus.py")} "$@"',
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
        self.start_procd()
        for network, device in (("lan", "br-lan"), ("wan", "wan")):
            (STAND_IN / "up" / network).write_text(f"{device}\n")
        self.ash("/usr/bin/reload_config")

    def reload_config(self) -> None:
        self.ash("/usr/bin/reload_config")

    def shown(self) -> list[str]:
        return self.lab.run("router", ["uci", "show", "cpe-filter"]).stdout.splitlines()

    def exempt(self, destination: str) -> str:
        """What `exempt add` says against it; "" if nothing."""
        words = ["/usr/bin/cpe-filter", "exempt", "add", "--destination", destination, "--reason", "x"]
        done = self.lab.run("router", words, check=False)
        return done.stderr.strip() if done.returncode else ""

    def pid(self) -> int:
        return int(self.status().get("pid", 0))

    def runs_anew(self, pid: int) -> bool:
        return wait(lambda: self.pid() not in (0, pid))


def there() -> set[str]:
    """All files and folders of `PLACES`, without those of the stand-ins and the lab."""
    found: set[str] = set()
    for place in PLACES:
        for folder, folders, files in os.walk(place):
            folders[:] = [name for name in folders if not name.startswith(("cpe-filter-lab-", "netns", "stand-in"))]
            found.update(os.path.join(folder, name) for name in (*folders, *files))
    return {path for path in found if not path.startswith("/tmp/pytest")}


def life(router: LifeRouter, packager: Opkg | Apk, old: Path, new: Path) -> None:
    users = [path.read_text() for path in USERS]
    before = there()

    def install(folder: Path) -> None:
        _install(packager, folder, PACKAGES)

    # The first minutes: nothing is set.
    install(old)
    running = router.wait_for("running: queue 25")
    see("bare", running=running, mode=router.status().get("mode"), relay=router.sends("device1", RELAY4),
        straight=router.sends("device1", mx4(0)), user="cpe-filter:" in USERS[0].read_text())  # fmt: skip
    # The documented way takes effect at the first time.
    router.uci("add_list", f"cpe-filter.network.relays={RELAY4}")
    router.uci("set", "cpe-filter.filter.mode=block")
    router.reload_config()
    told = wait(lambda: router.status().get("mode") == "block")
    see("set", told=told, relay=router.sends("device1", RELAY4), straight=router.sends("device1", mx4(0)))
    router.reload_config()
    router.uci("set", "cpe-filter.filter.mode=monitor")
    router.reload_config()
    see("again", told=wait(lambda: router.status().get("mode") == "monitor"))

    router.bot(10, 14)
    router.wait_for("is now compromised")
    see("convicted", bot=router.standing("device2"))
    pid = router.pid()
    config = router.shown()
    # What the first versions wrote at their installation.
    router.uci("add_list", "cpe-filter.network.lan_network=lan")
    router.uci("add_list", "cpe-filter.network.wan_network=wan")
    install(new)
    see("upgraded", anew=router.runs_anew(pid), bot=router.standing("device2"), mode=router.status().get("mode"),
        config=router.shown() == config, laptop=router.sends("device1", mx4(0)),
        bot_sends=router.sends("device2", mx4(4)))  # fmt: skip

    # A person's part: an exemption, and a changed configuration.
    see("exempted", against=router.exempt(mx4(9)))
    for name in reversed(PACKAGES):
        said = packager.remove(name)
        if said:
            see("said", by=name, text=said)
    left = sorted(there() - before)
    see("removed", running=bool(RUN.exists()), rules=router.filters(), laptop=router.sends("device2", mx4(4)),
        left=left, users=[path.read_text() for path in USERS] == users, site=_modules_left(),
        rpcd=(STAND_IN / "rpcd").exists() and (STAND_IN / "rpcd").read_text().split())  # fmt: skip
    install(new)
    see("back", running=wait(lambda: router.pid() != 0), mode=router.status().get("mode"))


def _modules_left() -> bool:
    return (light.site_packages(Path("/")) / "cpe_filter").exists()


STATE = Path("/etc/cpe-filter")


def flash(router: LifeRouter, packager: Opkg | Apk, new: Path) -> None:
    """The router's flash is full, then read-only, then as it should be."""
    _install(packager, new, PACKAGES[:1])
    router.uci("add_list", f"cpe-filter.network.relays={RELAY4}")
    router.uci("set", "cpe-filter.filter.mode=monitor")
    router.wait_for("running: queue 25")
    router.reload_config()
    router.bot(10, 14)
    router.wait_for("is now compromised")
    router.exempt(mx4(30))
    router.service("restart")
    router.wait_for("running: queue 25", 2)
    with (STATE / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for _ in range(64):
            file.write(bytes(1024))
    release = ["/usr/bin/cpe-filter", "release", router.lab.mac("device2"), "--reason", "x"]
    router.lab.run("router", release)  # state to be written
    _bad_flash(router, "full", 1)
    (STATE / "filler").unlink()
    see("room", against=router.exempt(mx4(31)), kept=_exemptions(router))
    subprocess.run(["mount", "-o", "remount,ro", str(STATE)], check=True)
    router.bot(50, 14)
    router.wait_for("is now compromised", 2)
    _bad_flash(router, "read-only", 2)
    subprocess.run(["mount", "-o", "remount,rw", str(STATE)], check=True)
    router.service("restart")
    router.wait_for("running: queue 25", 5)
    see("good", against=router.exempt(mx4(32)), kept=_exemptions(router), bot=router.standing("device2"),
        left=sorted(path.name for path in STATE.iterdir()))  # fmt: skip


def _exemptions(router: LifeRouter) -> int:
    return len(json.loads(router.lab.run("router", ["/usr/bin/cpe-filter", "exempt", "list", "--json"]).stdout))


def _bad_flash(router: LifeRouter, what: str, turn: int) -> None:
    """A changed configuration, an exemption, and a new start, while nothing can be written."""
    lines = len(router.log.read_text().splitlines())
    files = {path.name: path.read_bytes() for path in STATE.iterdir()}
    router.uci("set", f"cpe-filter.limits.messages_burst={turn + 6}")
    told = router.said("in effect: changed")
    router.reload_config()
    changed = wait(lambda: router.said("in effect: changed") > told)
    against = router.exempt(mx4(40))
    router.service("restart")
    again = router.wait_for("running: queue 25", 2 + turn)
    see(what, changed=changed, against=against, again=again, bot=router.standing("device2"),
        laptop=router.sends("device1", mx4(0)), kept=_exemptions(router),
        same={path.name: path.read_bytes() for path in STATE.iterdir()} == files,
        said=router.log.read_text().splitlines()[lines:])  # fmt: skip


def _install(packager: Opkg | Apk, folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (ipk,) = folder.glob(f"{name}_*.ipk")
        said = packager.install(ipk if isinstance(packager, Opkg) else folder / "apk" / name)
        if said:
            see("said", by=name, text=said)


def main() -> None:
    kind, old, new = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with Lab(devices=2) as lab:
        lab.start_servers()
        router = LifeRouter(lab)
        if kind == "flash":  # before procd has mounts of its own
            STATE.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "flash", str(STATE)], check=True)
        router.prepare()
        within = lab.command("router", [])
        try:
            if kind == "flash":
                flash(router, Opkg(within), new)
            else:
                life(router, Opkg(within) if kind == "opkg" else Apk(within), old, new)
        finally:
            see("log", text=router.log.read_text() if router.log.exists() else "")


if __name__ == "__main__":
    main()
