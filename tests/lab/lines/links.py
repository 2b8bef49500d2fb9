"""A line's links between the lab's router and its provider: the kernel's devices, or substitutes that say so.

Knows ip, pppd, wg and `carrier`. Must not know which line uses a link, or mail.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.lab.lines import programs
from tests.lab.net import DEADLINE_S, PYTHON, Lab

ROUTER, PROVIDER = "router", "internet"
#: The two ends of the cable between them: interface, IPv4 and IPv6 address (see `net`).
ENDS = {ROUTER: ("wan", "192.0.2.1", "2001:db8:2::1"), PROVIDER: ("isp", "192.0.2.254", "2001:db8:2::fe")}

_IP6_TUNNEL = "type ip6tnl mode ipip6 encaplimit none"
#: What is tried in a host of the lab to see whether its kernel has the device.
_PROBES = {
    "ipip6": f"link add probe {_IP6_TUNNEL} local ::1 remote ::1",
    "sit": "link add probe type sit local 127.0.0.1 remote 127.0.0.1",
    "wireguard": "link add probe type wireguard",
    "vlan": "link add link wan name probe type vlan id 7",
    "vlan_filtering": "link add probe type bridge vlan_filtering 1",
}


def has(lab: Lab, kind: str) -> bool:
    """Whether this kernel has links of this kind, and the programs that it takes are here."""
    if kind == "pppoe":
        tried = lab.run(ROUTER, [PYTHON, "-c", "import socket; socket.socket(24, 1, 0)"], check=False)
        if not tried.returncode and not Path("/dev/ppp").exists():
            subprocess.run(["mknod", "/dev/ppp", "c", "108", "0"], check=True)
        return not tried.returncode and bool(programs.find("pppoe-server") and programs.pppd_plugin())
    if kind == "wireguard" and not programs.find("wg"):
        return False
    if ip(lab, ROUTER, _PROBES[kind], check=False):
        return False
    ip(lab, ROUTER, "link del probe")
    return True


def ip(lab: Lab, host: str, words: str, check: bool = True) -> str:
    """Runs ip on a host; returns its error. Raises RuntimeError, where `check`."""
    return lab.run(host, ["ip", *words.split()], check=check).stderr.strip()


def tunnel(lab: Lab, name: str, kind: str) -> str:
    """A point-to-point link `name` on the router; the provider's end is called `peer`. Returns what carries it.

    kind: ipip6 or sit, between the ends' addresses; wireguard; pppoe.
    """
    real = has(lab, kind)
    if kind == "pppoe":
        return _pppoe(lab, name) if real else _carried(lab, name, kind)
    if not real:
        return _carried(lab, name, kind)
    for host, device, other in ((ROUTER, name, PROVIDER), (PROVIDER, "peer", ROUTER)):
        _, local4, local6 = ENDS[host]
        _, remote4, remote6 = ENDS[other]
        words = {
            "ipip6": f"{_IP6_TUNNEL} local {local6} remote {remote6}",
            "sit": f"type sit local {local4} remote {remote4}",
            "wireguard": "type wireguard",
        }
        ip(lab, host, f"link add {device} {words[kind]}")
    if kind == "wireguard":
        _exchange_keys(lab, name)
    for host, device in ((ROUTER, name), (PROVIDER, "peer")):
        ip(lab, host, f"link set {device} up")
    module = {"ipip6": "ip6_tunnel"}.get(kind, kind)
    return f"the kernel's {module}"


def _carried(lab: Lab, name: str, kind: str) -> str:
    mtu = {"ipip6": 1460, "sit": 1480, "wireguard": 1420, "pppoe": 1492}[kind]
    for host, device, other in ((ROUTER, name, PROVIDER), (PROVIDER, "peer", ROUTER)):
        if kind == "pppoe":
            address = f"/sys/class/net/{ENDS[other][0]}/address"
            local, remote = ENDS[host][0], lab.run(other, ["cat", address]).stdout.strip()
        else:
            family = 2 if kind == "ipip6" else 1
            local, remote = ENDS[host][family], ENDS[other][family]
        process = lab.start(host, [PYTHON, "-m", "tests.lab.lines.carrier", device, kind, local, remote])
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"no carrier of {name} on {host}")
        ip(lab, host, f"link set {device} mtu {mtu} up")
    return f"TUN and a carrier in userspace ({kind})"


def _pppoe(lab: Lab, name: str) -> str:
    """Real discovery and negotiation between pppd with the kernel's PPPoE and Roaring Penguin's pppoe-server."""
    options = lab.folder / "pppoe-server-options"
    options.write_text("noauth\n+ipv6\nnodefaultroute\nlcp-echo-interval 30\nifname peer\nlocal\n")
    server = [programs.find("pppoe-server"), "-F", "-I", ENDS[PROVIDER][0], "-O", str(options), "-N", "1"]
    server += ["-L", ENDS[PROVIDER][1], "-R", ENDS[ROUTER][1]]
    server += ["-q", programs.find("pppd"), "-Q", programs.find("pppoe")]
    with (lab.folder / "pppoe.log").open("a") as log:
        lab.start(PROVIDER, server, log)
        client = [programs.find("pppd"), "plugin", programs.pppd_plugin(), ENDS[ROUTER][0], "ifname", name]
        client += ["noauth", "+ipv6", "nodefaultroute", "nodetach", "noipdefault", "persist", "maxfail", "0"]
        lab.start(ROUTER, [*client, "mtu", "1492", "mru", "1492"], log)
    end = time.monotonic() + DEADLINE_S
    while "inet " not in lab.run(ROUTER, ["ip", "-4", "addr", "show", "dev", name], check=False).stdout:
        if time.monotonic() > end:
            raise RuntimeError(f"PPPoE never came up: {(lab.folder / 'pppoe.log').read_text()[-2000:]}")
        time.sleep(0.2)
    return "pppd with the kernel's pppoe"


def _exchange_keys(lab: Lab, name: str) -> None:
    """The router's key and the provider's; each takes any address from the other."""
    wg = programs.find("wg")
    private = {host: lab.run(host, [wg, "genkey"]).stdout for host in ENDS}
    public = {host: lab.run(host, [wg, "pubkey"], key).stdout.strip() for host, key in private.items()}
    for host, device, other in ((ROUTER, name, PROVIDER), (PROVIDER, "peer", ROUTER)):
        key = lab.folder / f"wg-{host}"
        key.write_text(private[host])
        words = [wg, "set", device, "listen-port", "51820", "private-key", str(key), "peer", public[other]]
        lab.run(host, [*words, "allowed-ips", "0.0.0.0/0,::/0", "endpoint", f"{ENDS[other][1]}:51820"])


def cable(lab: Lab, name: str) -> None:
    """A link `name` with Ethernet between router and provider; the provider's end is called `peer`."""
    namespace = lab.namespace(PROVIDER)
    ip(lab, ROUTER, f"link add {name} type veth peer name peer netns {namespace}")
    for host, device in ((ROUTER, name), (PROVIDER, "peer")):
        ip(lab, host, f"link set {device} up")
