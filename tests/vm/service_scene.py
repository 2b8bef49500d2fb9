"""In the guest: the package on the guest's root as a service, `python -m tests.vm.service_scene first|second`.

It prints a JSON object for each thing seen; test_service says what they must be. The service runs in the lab's router
(a namespace), under the small procd. /kept is the router's flash: it outlives the guest. Only for the guest: it writes
to /etc, /usr and /lib.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.lab.net import DEADLINE_S, PATIENCE, PYTHON, RELAY4, Lab, mx4
from tests.openwrt import light, package

STAND_IN = Path("/tmp/stand-in")
RUN = Path("/var/run/cpe-filter")
RULES = Path("/usr/share/nftables.d/ruleset-post")
#: The router's folders on flash.
FLASH = ("etc/config", "etc/cpe-filter", "etc/rc.d", "usr/share/nftables.d/ruleset-post")
NETWORK = (
    "config interface 'lan'\n\toption device 'br-lan'\n\toption proto 'static'\n"
    "config interface 'wan'\n\toption device 'wan'\n\toption proto 'dhcp'\n"
)
WAIT_S = 60.0 * PATIENCE


def see(what: str, **facts: Any) -> None:
    print(json.dumps({"seen": what, **facts}), flush=True)


class Router:
    """The lab's router with the package installed."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.log = STAND_IN / "log"

    def install(self) -> None:
        """As opkg or an image would. What is on flash already is as it was."""
        fresh = not Path("/kept/etc").exists()
        for name in FLASH:
            Path("/kept", name).mkdir(parents=True, exist_ok=True)
            Path("/", name).mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "--bind", f"/kept/{name}", f"/{name}"], check=True)
        before = {} if fresh else {path: path.read_bytes() for path in Path("/etc/config").glob("[!.]*")}
        shutil.copytree("/kept/package", "/", dirs_exist_ok=True)
        for path, content in before.items():
            path.write_bytes(content)
        # The guest's Python is not a router's: it is another file, and looks for modules elsewhere.
        program = Path("/usr/bin/cpe-filter")
        program.write_text(program.read_text().replace("#!/usr/bin/python3", f"#!{PYTHON}", 1))
        os.environ["PYTHONPATH"] = str(light.site_packages(Path("/")))
        (STAND_IN / "messages").mkdir(parents=True)
        (STAND_IN / "up").mkdir()
        for name, text in (
            ("uci", f'exec {PYTHON} -I -S {package.UCI} "$@"'),
            ("ubus", f'STAND_IN={STAND_IN} exec {PYTHON} -I -S {package.UBUS} "$@"'),
            ("logger", f'[ $# -lt 5 ] && cat >>{self.log} || printf "%s\\n" "$5" >>{self.log}'),
        ):
            path = Path("/usr/bin", name)
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        Path("/etc/config/network").write_text(NETWORK)
        if fresh:
            self.ash("/etc/uci-defaults/90-cpe-filter")

    def start_procd(self) -> None:
        os.environ["STAND_IN"] = str(STAND_IN)
        self.lab.start("router", [PYTHON, "-m", "tests.openwrt.procd", str(STAND_IN)])
        wait((STAND_IN / "procd.pid").exists)

    def ash(self, *arguments: str) -> str:
        done = self.lab.run("router", ["busybox", "ash", *arguments], timeout=DEADLINE_S, check=False)
        if done.returncode or done.stderr:
            see("a script failed", arguments=arguments, code=done.returncode, said=done.stderr)
        return done.stdout

    def service(self, action: str) -> None:
        self.ash(str(package.STAND_IN / "rc.common"), "/etc/init.d/cpe-filter", action)

    def uci(self, *words: str) -> None:
        self.lab.run("router", ["uci", *words])
        self.lab.run("router", ["uci", "commit"])

    def status(self) -> dict[str, Any]:
        done = self.lab.run("router", ["/usr/bin/cpe-filter", "status", "--json"], check=False)
        found: dict[str, Any] = json.loads(done.stdout) if not done.returncode else {}
        return found

    def standing(self, name: str) -> str:
        mac = self.lab.mac(name)
        return next((one["standing"] for one in self.status().get("devices", []) if one["device"] == mac), "")

    def said(self, text: str) -> int:
        return self.log.read_text().count(text) if self.log.exists() else 0

    def wait_for(self, text: str, times: int = 1) -> bool:
        return wait(lambda: self.said(text) >= times)

    def tables(self) -> list[str]:
        return self.lab.run("router", ["nft", "list", "tables"]).stdout.split("\n")

    def filters(self) -> bool:
        return "table inet cpe_filter" in self.tables()

    # ── mail ────────────────────────────────────────────────────────────────────────────────────

    def sends(self, device: str, server: str) -> bool:
        done = self.lab.run(device, [PYTHON, "-m", "tests.lab.send", server], check=False)
        return done.stdout.startswith("sent")

    def bot(self, first: int, count: int) -> list[str]:
        """What each of its connections ended with."""
        options = ["--pause", "0.1", "--first", str(first), "--count", str(count)]
        done = self.lab.run("device2", [PYTHON, "-m", "tests.lab.bot", *options], timeout=DEADLINE_S)
        return [json.loads(line)["reply"][:40] for line in done.stdout.splitlines()]


def wait(what: Any, seconds: float = WAIT_S) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.1)
    return False


def modules(pid: int) -> str:
    """Which cpe_filter a process has: the folder that it was told to look in first."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    path = next(one for one in environment if one.startswith(b"PYTHONPATH="))
    folder = path.decode().removeprefix("PYTHONPATH=")
    return f"{words[1].decode()} with {folder}" if Path(folder, "cpe_filter").is_dir() else ""


def first(router: Router) -> None:
    """Installed, started, put to work and upset; then switched off in good order, fail closed."""
    router.uci("set", "cpe-filter.filter.mode=monitor")
    router.uci("add_list", f"cpe-filter.network.relays={RELAY4}")
    router.start_procd()
    router.service("enable")
    router.service("start")
    running = router.wait_for("running: queue 25")
    see("started", running=running, responder=router.wait_for("explaining on port 2525"))
    see("modules", of=modules(router.status()["pid"]))
    see("mail", laptop=router.sends("device1", mx4(0)), bot=router.bot(10, 20))
    router.wait_for("is now compromised")
    see("convicted", bot=router.standing("device2"), laptop=router.standing("device1"))
    delivered = len(router.lab.mail())
    see("refused", bot=router.bot(40, 3), delivered=len(router.lab.mail()) - delivered)

    router.lab.run("router", ["nft", "flush", "ruleset"])
    router.lab.nft(
        "router",
        "table ip lab_nat { chain post { type nat hook postrouting priority srcnat; oifname wan masquerade; }; }",
    )
    back = router.wait_for("restored")
    delivered = len(router.lab.mail())
    see("flushed", back=back, filters=router.filters(), bot=router.bot(50, 3), laptop=router.sends("device1", mx4(4)),
        delivered=len(router.lab.mail()) - delivered)  # fmt: skip

    pid = router.status()["pid"]
    router.uci("set", "cpe-filter.limits=limits")
    router.uci("set", "cpe-filter.limits.messages_burst=7")
    router.service("reload")
    see("reloaded", told=router.wait_for("reload by SIGHUP: "), same=router.status()["pid"] == pid)
    router.uci("set", "cpe-filter.limits.messages_burst=0")
    router.service("reload")
    see("bad", status=router.status().get("config_error"), same=router.status()["pid"] == pid)
    router.uci("set", "cpe-filter.limits.messages_burst=7")

    os.kill(pid, 9)
    wait(lambda: router.said("running: queue 25") >= 2)
    see("killed", again=router.status().get("pid") not in (None, pid), bot=router.standing("device2"))

    # fail is bound to the queue, so it takes a new start.
    pid = router.status()["pid"]
    router.uci("set", "cpe-filter.filter.fail=closed")
    router.service("reload")
    router.wait_for("running: queue 25", 3)
    see("closed", anew=router.status().get("pid") not in (None, pid), rules=(RULES / "20-cpe-filter.nft").exists())
    router.service("shutdown")
    see("off", running=bool(router.status()), state=Path("/etc/cpe-filter/state").exists(), rules=router.filters())


def second(router: Router) -> None:
    """Switched on again: the firewall's rules, no filter yet; then the filter; then its removal."""
    for path in sorted(RULES.glob("*.nft")):  # fw4's start
        router.lab.run("router", ["nft", "-f", str(path)])
    see("before", laptop=router.sends("device1", mx4(0)), relay=router.sends("device1", RELAY4), known=RUN.exists())
    router.start_procd()
    if any(Path("/etc/rc.d").glob("S21cpe-filter")):
        router.service("boot")
    see("started", running=router.wait_for("running: queue 25"), known=router.wait_for("devices known from"))
    delivered = len(router.lab.mail())
    see(
        "mail",
        bot=router.bot(60, 4),
        delivered=len(router.lab.mail()) - delivered,
        laptop=router.sends("device1", mx4(0)),
    )
    see("convicted", bot=router.standing("device2"))
    router.lab.run("router", ["nft", "-f", str(RULES / "20-cpe-filter.nft")])  # fw4 reloads
    back = router.wait_for("restored")
    see("firewall", back=back, bot=router.bot(70, 3), laptop=router.sends("device1", mx4(0)))
    router.service("stop")
    see(
        "stopped", laptop=router.sends("device1", mx4(4)), relay=router.sends("device1", RELAY4), rules=router.filters()
    )
    # An interface that comes later.
    for words in ("down", "name wan9"):
        router.lab.run("router", ["ip", "link", "set", "wan", *words.split()])
    router.service("start")
    waits = router.wait_for("waiting for the interface wan")
    for words in ("wan9 name wan", "wan up"):
        router.lab.run("router", ["ip", "link", "set", *words.split()])
    (STAND_IN / "up" / "wan").write_text("wan\n")
    (STAND_IN / "events" / "wan").write_text("")
    see("late", waits=waits, starts=router.wait_for("running: queue 25", 2))
    # What a package's removal does.
    router.service("disable")
    router.service("stop")
    left = sorted(path.name for path in RULES.iterdir())
    see("removed", rules=router.filters(), left=left, running=bool(router.status()))


def main() -> None:
    with Lab(devices=2) as lab:
        lab.start_servers()
        router = Router(lab)
        router.install()
        try:
            {"first": first, "second": second}[sys.argv[1]](router)
        finally:
            see("log", text=router.log.read_text() if router.log.exists() else "")


if __name__ == "__main__":
    main()
