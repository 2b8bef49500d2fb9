"""The life of the packages, step by step: each does something, and prints what is seen then.

Knows what a person or a router does to the packages. Must not know what has to be seen (lived), or in which order
the steps come (life_scene).
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.lab.net import RELAY4, mx4
from tests.openwrt import light
from tests.openwrt.packager import Apk, Opkg
from tests.vm.life_router import FLASH, MEMORY, RUNNING, USERS, LifeRouter, install, there
from tests.vm.no_filter import NoFilter
from tests.vm.service_scene import RULES, RUN, STAND_IN, see, wait

#: The packages of a life, in the order in which they are installed.
PACKAGES = ("cpe-filter", "luci-app-cpe-filter")
#: Seconds since 1970: of a build long ago, where a router without a clock starts, and of a time to come.
PAST, FUTURE = 1_400_000_000, 2_100_000_000


class Life:
    """The steps of a life. `before`: the files and users that were there before the first package."""

    def __init__(self, router: LifeRouter, packager: Opkg | Apk, old: Path, new: Path) -> None:
        self.router, self.packager, self.old, self.new = router, packager, old, new
        self.users = [path.read_text() for path in USERS]
        self.before = there((*FLASH, *MEMORY)) | {"/var/run/config.md5"}  # reload_config's

    def first_minutes(self) -> None:
        router = self.router
        # Nothing is set.
        install(self.packager, self.old, PACKAGES)
        running = router.wait_for(RUNNING)
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

    def upgrade(self) -> None:
        """In fail open."""
        router, anew, config = self.router, self.router.successor(), self.router.shown()
        # What the first versions wrote at their installation.
        router.uci("add_list", "cpe-filter.network.lan_network=lan")
        router.uci("add_list", "cpe-filter.network.wan_network=wan")
        install(self.packager, self.new, PACKAGES)
        see("upgraded", anew=anew(), bot=router.standing("device2"), mode=router.status().get("mode"),
            config=router.shown() == config, laptop=router.sends("device1", mx4(0)),
            bot_sends=router.sends("device2", mx4(4)), version=self._version())  # fmt: skip

    def fail_closed(self) -> None:
        router, anew = self.router, self.router.successor()
        router.uci("set", "cpe-filter.filter.fail=closed")
        router.reload_config()
        see("closed", anew=anew(), rules=(RULES / "20-cpe-filter.nft").exists(),
            laptop=router.sends("device1", mx4(0)))  # fmt: skip

    def upgrade_closed(self, names: tuple[str, ...] = PACKAGES) -> None:
        """Nothing leaves between the old filter and the new one, not even to a server that the device knows well."""
        router = self.router
        settled = [router.sends("device3", mx4(0)) for _ in range(2)]
        successor, config = router.successor(), router.shown()
        with NoFilter(router.lab, int((STAND_IN / "procd.pid").read_text()), "device3", mx4(0)) as seen:
            install(self.packager, self.new, names)
            anew = successor()
        see("upgraded closed", settled=settled, anew=anew, bot=router.standing("device2"),
            mode=router.status().get("mode"), config=router.shown() == config, **seen.facts(),
            laptop=router.sends("device1", mx4(0)), bot_sends=router.sends("device2", mx4(4)))  # fmt: skip

    def firewall(self) -> None:
        router, pid = self.router, self.router.pid()
        for action in ("reload", "stop"):
            restored = router.restored()
            router.firewall(action)
            back = router.restores(restored)
            rules = wait(router.filters)
            if action == "stop":
                router.firewall("start")
            see(f"fw4 {action}", back=back, rules=rules, same=router.pid() == pid,
                laptop=router.sends("device1", mx4(0)), bot_sends=router.sends("device2", mx4(4)))  # fmt: skip

    def stopped(self) -> None:
        """Stopped in fail closed, and the firewall restarts meanwhile."""
        router, times = self.router, self.router.said(RUNNING)
        router.service("stop")
        router.firewall("stop")
        router.firewall("start")
        see("stopped", laptop=router.sends("device1", mx4(0)), relay=router.sends("device1", RELAY4),
            rules=router.filters())  # fmt: skip
        router.service("start")
        see("started", running=router.wait_for(RUNNING, times + 1),
            laptop=router.sends("device1", mx4(0)), bot=router.standing("device2"))  # fmt: skip

    def uplink(self) -> None:
        """The line goes, with its interface, and comes back."""
        router, pid = self.router, self.router.pid()
        router.link("link", "set", "wan", "down")
        router.link("link", "set", "wan", "name", "gone")
        down = router.interface("wan", "")
        see("wan down", looked=down, same=router.pid() == pid, rules=router.filters())
        router.link("link", "set", "gone", "name", "wan")
        router.link("link", "set", "wan", "up")
        router.link("addr", "add", "2001:db8:2::1/64", "dev", "wan", "nodad")
        router.link("route", "add", "default", "via", "192.0.2.254")
        router.link("-6", "route", "add", "default", "via", "2001:db8:2::fe")
        up = router.interface("wan", "wan")
        see("wan up", looked=up, same=router.pid() == pid, laptop=router.sends("device1", mx4(0)),
            bot_sends=router.sends("device2", mx4(4)))  # fmt: skip

    def clock(self) -> None:
        """The clock jumps ahead and back while the filter runs, and before its next start."""
        router, now = self.router, int(time.time())
        router.uci("set", "cpe-filter.limits=limits")
        for key, value in (("messages_per_hour", 120), ("messages_burst", 2)):
            router.uci("set", f"cpe-filter.limits.{key}={value}")
        router.uci("set", "cpe-filter.filter.mode=limit")
        router.reload_config()
        limits = wait(lambda: router.status().get("mode") == "limit")
        router.exempt(mx4(30), "--until", "2030-01-01")
        pid = router.pid()
        see("limit", told=limits, exempt=[router.sends("device1", mx4(30)) for _ in range(4)],
            reached=not all(router.sends("device1", mx4(0)) for _ in range(4)))  # fmt: skip
        for name, date in (("ahead", FUTURE), ("back", PAST)):
            time.clock_settime(time.CLOCK_REALTIME, date)
            still = not all(router.sends("device1", mx4(0)) for _ in range(3))
            see(f"clock {name}", limits=still, passes=wait(lambda: router.sends("device1", mx4(0))),
                same=router.pid() == pid, standings=self._standings(), **self._told())  # fmt: skip
        # A start with a clock that is behind the saved state, as on a router without one.
        time.clock_settime(time.CLOCK_REALTIME, PAST)
        successor = router.successor()
        router.service("restart")
        anew = successor()
        passes = wait(lambda: router.sends("device1", mx4(0)))
        time.clock_settime(time.CLOCK_REALTIME, now)
        see("clock at a start", anew=anew, passes=passes, later=wait(lambda: router.sends("device1", mx4(0))),
            bot_sends=router.sends("device2", mx4(4)), standings=self._standings(), **self._told())  # fmt: skip
        router.uci("set", "cpe-filter.filter.mode=monitor")
        router.reload_config()
        wait(lambda: router.status().get("mode") == "monitor")

    def _standings(self) -> list[str]:
        return [self.router.standing(device) for device in ("device1", "device2", "device3")]

    def _told(self) -> dict[str, object]:
        """What is told of exemptions that end, and whether the status can be read."""
        router = self.router
        done = router.lab.run("router", ["/usr/bin/cpe-filter", "status"], check=False)
        return {"expired": router.said("has expired"), "in_force": router.said("in force again"),
                "convictions": router.said("is now compromised"), "status": done.returncode}  # fmt: skip

    def remove(self, names: tuple[str, ...] = PACKAGES) -> None:
        router = self.router
        # A person's part: an exemption, and a changed configuration.
        see("exempted", against=router.exempt(mx4(9)))
        for name in reversed(names):
            said = self.packager.remove(name)
            if said:
                see("said", by=name, text=said)
        left = sorted(there((*FLASH, *MEMORY)) - self.before)
        see("removed", running=bool(RUN.exists()), rules=router.filters(), laptop=router.sends("device2", mx4(4)),
            left=left, users=[path.read_text() for path in USERS] == self.users, site=_modules_left(),
            rpcd=(STAND_IN / "rpcd").exists() and (STAND_IN / "rpcd").read_text().split())  # fmt: skip

    def return_(self) -> None:
        install(self.packager, self.new, PACKAGES)
        see("back", running=wait(lambda: bool(self.router.status())), mode=self.router.status().get("mode"))

    def _version(self) -> str:
        return self.router.lab.run("router", ["/usr/bin/cpe-filter", "--version"]).stdout.split()[-1]


def _modules_left() -> bool:
    return (light.site_packages(Path("/")) / "cpe_filter").exists()
