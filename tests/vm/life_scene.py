"""The life of the packages on a router's root: `python -m tests.vm.life_scene SCENE opkg|apk OLD NEW`.

Installed by their own scripts, set up, upgraded, removed. OLD and NEW are folders that tools.ipk has written. It prints
a JSON object for each thing seen; lived says what they must be. Runs on a root of its own
(tests/openwrt/root.sh, or a guest): it writes to /etc, /usr and /lib.

SCENE: whole, a life in one go; first and second, a longer one over two boots of a guest, whose flash is kept in /kept;
short, a life of a minute; flash, a flash that is full or read-only.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.lab.net import RELAY4, Lab, mx4
from tests.openwrt.packager import Apk, Opkg
from tests.vm import bad_flash
from tests.vm.life import PACKAGES, PAST, Life
from tests.vm.life_router import RUNNING, LifeRouter, install
from tests.vm.service_scene import RUN, see

#: The flash of a guest between two boots.
ARCHIVE = Path("/kept/flash.tar")
CLOSED = (
    "config filter 'filter'\n\toption mode 'monitor'\n\toption fail 'closed'\n"
    f"config network 'network'\n\tlist relays '{RELAY4}'\n"
)


def whole(life: Life) -> None:
    """In fail open: fail closed outlives the filter only where nft itself can queue."""
    life.router.start()
    life.first_minutes()
    life.upgrade()
    life.firewall()
    life.uplink()
    life.remove()
    life.return_()


def short(life: Life) -> None:
    """One boot's proof, in fail closed: it filters, and lets nothing out while it is upgraded, or stopped."""
    router, names = life.router, PACKAGES[:1]
    router.start()
    install(life.packager, life.old, names)
    see("bare", running=router.wait_for(RUNNING), mode=router.status().get("mode"))
    closed = router.successor()
    Path("/etc/config/cpe-filter").write_text(CLOSED)
    router.service("reload")
    see("started", anew=closed())
    rules = router.lab.run("router", ["nft", "list", "chain", "inet", "cpe_filter", "hand_off"]).stdout
    see("queue", handoff=router.status().get("handoff"), native="queue to 25" in rules, xtables="xt target" in rules)
    see("mail", laptop=router.sends("device1", mx4(0)), bot=router.bot(10, 14))
    router.wait_for("is now compromised")
    see("convicted", bot=router.standing("device2"), laptop=router.standing("device1"))
    delivered = len(router.lab.mail())
    see("refused", bot=router.bot(40, 2), delivered=len(router.lab.mail()) - delivered)
    life.upgrade_closed(names)
    router.service("stop")
    see("stopped", laptop=router.sends("device1", mx4(0)), relay=router.sends("device1", RELAY4),
        rules=router.filters())  # fmt: skip


def first(life: Life) -> None:
    """Up to a power cut."""
    life.router.start()
    life.first_minutes()
    life.upgrade()
    life.fail_closed()
    life.upgrade_closed()
    life.firewall()
    life.stopped()
    life.uplink()
    life.clock()
    life.router.keep(ARCHIVE)


def second(life: Life) -> None:
    """Switched on again, by a router without a clock: first the firewall's rules, then the filter, then the time."""
    router, now = life.router, time.time()
    time.clock_settime(time.CLOCK_REALTIME, PAST)
    router.take(ARCHIVE)
    router.start()
    see("before", laptop=router.sends("device1", mx4(0)), relay=router.sends("device1", RELAY4), known=RUN.exists())
    if any(Path("/etc/rc.d").glob("S21cpe-filter")):
        router.service("boot")
    see("booted", running=router.wait_for(RUNNING), known=router.wait_for("devices known from"),
        bot=router.standing("device2"), mode=router.status().get("mode"), laptop=router.sends("device1", mx4(0)),
        bot_sends=router.sends("device2", mx4(4)))  # fmt: skip
    time.clock_settime(time.CLOCK_REALTIME, now)
    see("time set", laptop=router.sends("device1", mx4(0)), bot=router.standing("device2"),
        bot_sends=router.sends("device2", mx4(4)), convictions=router.said("is now compromised"))  # fmt: skip
    life.remove()
    life.return_()


def flash(life: Life) -> None:
    life.router.start()
    bad_flash.bad_flash(life.router, life.packager, life.new)


def main() -> None:
    scene, kind, old, new = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    with Lab(devices=3) as lab:
        lab.start_servers()
        router = LifeRouter(lab)
        if scene == "flash":  # before procd has mounts of its own
            bad_flash.mount()
        router.prepare()
        within = lab.command("router", [])
        life = Life(router, Opkg(within) if kind == "opkg" else Apk(within), old, new)
        try:
            {"whole": whole, "first": first, "second": second, "short": short, "flash": flash}[scene](life)
        finally:
            see("log", text=router.log.read_text() if router.log.exists() else "")


if __name__ == "__main__":
    main()
