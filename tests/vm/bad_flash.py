"""A router's flash that is full, then read-only, then as it should be, and what the filter does meanwhile.

Knows the folder on flash. Must not know what has to be seen (lived).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

from tests.lab.net import RELAY4, mx4
from tests.openwrt.packager import Apk, Opkg
from tests.vm.life_router import LifeRouter, install
from tests.vm.service_scene import see, wait

STATE = Path("/etc/cpe-filter")


def mount() -> None:
    """A small flash. Before procd has mounts of its own."""
    STATE.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "flash", str(STATE)], check=True)


def bad_flash(router: LifeRouter, packager: Opkg | Apk, new: Path) -> None:
    """The router's flash is full, then read-only, then as it should be."""
    install(packager, new, ("cpe-filter",))
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
    _while_bad(router, "full", 1)
    (STATE / "filler").unlink()
    see("room", against=router.exempt(mx4(31)), kept=_exemptions(router))
    subprocess.run(["mount", "-o", "remount,ro", str(STATE)], check=True)
    router.bot(50, 14)
    router.wait_for("is now compromised", 2)
    _while_bad(router, "read-only", 2)
    subprocess.run(["mount", "-o", "remount,rw", str(STATE)], check=True)
    router.service("restart")
    router.wait_for("running: queue 25", 5)
    see("good", against=router.exempt(mx4(32)), kept=_exemptions(router), bot=router.standing("device2"),
        left=sorted(path.name for path in STATE.iterdir()))  # fmt: skip


def _exemptions(router: LifeRouter) -> int:
    return len(json.loads(router.lab.run("router", ["/usr/bin/cpe-filter", "exempt", "list", "--json"]).stdout))


def _while_bad(router: LifeRouter, what: str, turn: int) -> None:
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
