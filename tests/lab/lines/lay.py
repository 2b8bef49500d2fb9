"""The lines: each lays itself in a lab, whose home had plain Ethernet to the Internet before.

Knows addresses, routes and firewalls of routers as OpenWrt sets them up. Must not know the filter or mail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.lab.lines import programs
from tests.lab.lines.links import ENDS, PROVIDER, ROUTER, cable, has, ip, tunnel
from tests.lab.net import Lab

#: A prefix of the provider's own (RFC 6052): tayga translates no test networks by the well-known 64:ff9b::/96.
PREFIX64 = "2001:db8:64::"
#: Of a lab for lines: a person's device, and a bot for each family.
CLIENT, BOTS = "device1", {4: "device2", 6: "device3"}
DEVICES = 3


@dataclass
class Laid:
    """A line as it is now. `leaves` says by which interfaces the bots' mail leaves, by family."""

    by: str
    leaves: dict[int, tuple[str, ...]]
    lan: list[str] = field(default_factory=lambda: ["br-lan"])
    wan: list[str] = field(default_factory=lambda: ["wan"])
    #: What a list has that was made before the line changed; the interfaces that it lacks are not watched.
    old_lan: list[str] = field(default_factory=lambda: ["br-lan"])
    old_wan: list[str] = field(default_factory=lambda: ["wan"])
    #: Before a server's IPv4 address, where devices have no IPv4.
    prefix: str = ""
    #: What else the policy's table [network] has.
    network: str = ""
    #: The firewall keeps refused clients from the responder without an answer, as the documentation says.
    silent: bool = False


@dataclass(frozen=True)
class Line:
    """A kind of line. `needs`: the link whose real kind only some kernels have (see `links.has`); "" if all have it."""

    title: str
    lay: Callable[[Lab], Laid]
    needs: str = ""
    program: str = ""


def ethernet(lab: Lab) -> Laid:
    return Laid("veth", {4: ("wan",), 6: ("wan",)})


def pppoe(lab: Lab, name: str = "pppoe-wan") -> Laid:
    for host, (interface, *_) in ENDS.items():
        ip(lab, host, f"addr flush dev {interface} scope global")
    by = tunnel(lab, name, "pppoe")
    _address(lab, name, 4, 6)
    _default(lab, name, 4, 6)
    _masquerade(lab, name)
    return Laid(by, {4: (name,), 6: (name,)}, wan=["wan", name])


def ds_lite(lab: Lab, name: str = "ds-wan6_4") -> Laid:
    """RFC 6333: IPv4 in IPv6 to the provider's AFTR, which translates addresses."""
    _without4(lab)
    by = tunnel(lab, name, "ipip6")
    ip(lab, ROUTER, f"addr add 192.0.0.2/29 dev {name}")
    ip(lab, PROVIDER, "addr add 192.0.0.1/29 dev peer")
    _default(lab, name, 4)
    _masquerade(lab, name)
    _translate(lab, PROVIDER, "input", 'iifname "peer"', "203.0.113.1")
    return Laid(by, {4: (name,), 6: ("wan",)}, wan=["wan", name])


def map_e(lab: Lab, name: str = "map-wan6_4") -> Laid:
    """RFC 7597: IPv4 in IPv6, from a public address that this home shares; it has some of its ports."""
    _without4(lab)
    by = tunnel(lab, name, "ipip6")
    ip(lab, ROUTER, f"addr add 192.0.2.18/32 dev {name}")
    ip(lab, PROVIDER, "route add 192.0.2.18 dev peer")
    _default(lab, name, 4)
    _translate(lab, ROUTER, "postrouting", f'oifname "{name}" meta l4proto tcp', "192.0.2.18:4864-5119")
    return Laid(by, {4: (name,), 6: ("wan",)}, wan=["wan", name])


def six_rd(lab: Lab, name: str = "6rd-wan6") -> Laid:
    """RFC 5969: IPv6 in IPv4."""
    for host, (interface, *_) in ENDS.items():
        ip(lab, host, f"-6 addr flush dev {interface} scope global")
    by = tunnel(lab, name, "sit")
    _address(lab, name, 6)
    _default(lab, name, 6)
    return Laid(by, {4: ("wan",), 6: (name,)}, wan=["wan", name])


def xlat464(lab: Lab, name: str = "464-wan6_4") -> Laid:
    """RFC 6877: the router translates IPv4 to IPv6 (CLAT), and the provider back (NAT64).

    As with OpenWrt's nat46 module, what was translated comes back from the same device, and leaves by wan.
    """
    _without4(lab)
    _nat64(lab)
    # The CLAT's own IPv6 prefix, and in it the address that stands for the router's 192.0.0.1.
    _tayga(lab, ROUTER, name, "192.0.0.2", [f"prefix {PREFIX64}/96", "map 192.0.0.1 2001:db8:2:464::1"])
    ip(lab, ROUTER, f"addr add 192.0.0.1/32 dev {name}")
    ip(lab, ROUTER, f"route replace default dev {name}")
    ip(lab, ROUTER, f"-6 route add 2001:db8:2:464::1 dev {name}")
    ip(lab, PROVIDER, f"-6 route add 2001:db8:2:464::/64 via {ENDS[ROUTER][2]}")
    _masquerade(lab, name)
    return Laid("tayga as CLAT (TUN) and NAT64", {4: (name,), 6: ("wan",)}, wan=["wan", name])


def nat64_only(lab: Lab) -> Laid:
    """Devices have IPv6 only; DNS64 gives them addresses of the provider's NAT64 for servers that have IPv4."""
    _without4(lab)
    _nat64(lab)
    ip(lab, ROUTER, "addr flush dev br-lan scope global")
    ip(lab, ROUTER, "-6 addr add 2001:db8:1::1/64 dev br-lan nodad")
    for device in lab.devices:
        ip(lab, device, "-4 addr flush dev eth0")
    network = f'nat64 = ["{PREFIX64}/96"]\n'
    return Laid("tayga as NAT64", {4: ("wan",), 6: ("wan",)}, prefix=PREFIX64, network=network)


def vlan(lab: Lab, name: str = "wan.7") -> Laid:
    """The provider's Internet is VLAN 7 on the cable."""
    real = has(lab, "vlan")
    for host, (interface, *_) in ENDS.items():
        ip(lab, host, f"addr flush dev {interface} scope global")
        if real:
            device = name if host == ROUTER else "peer"
            ip(lab, host, f"link add link {interface} name {device} type vlan id 7")
            ip(lab, host, f"link set {device} up")
    if not real:
        cable(lab, name)
    _address(lab, name, 4, 6)
    _default(lab, name, 4, 6)
    _masquerade(lab, name)
    return Laid(
        "the kernel's 8021q" if real else "veth of that name", {4: (name,), 6: (name,)}, wan=[name], old_wan=["wan"]
    )


def wireguard_pbr(lab: Lab, name: str = "wg0") -> Laid:
    """Policy routing as pbr's: a mark for the bots' packets, and a table for the mark whose default is a VPN."""
    by = tunnel(lab, name, "wireguard")
    _second_way(lab, name)
    ip(lab, ROUTER, f"route add default dev {name} table 257")
    ip(lab, ROUTER, f"-6 route add default dev {name} table 257")
    _rule(lab, "fwmark 0x20000/0xff0000 lookup 257 priority 29998")
    _mark_bots(lab)
    return Laid(f"{by}, fwmark and ip rule", {4: (name,), 6: (name,)}, wan=["wan", name])


#: What sends the bots' mail, or all mail of the home, to another way out; iproute2's words, by version of IP.
RULES = {
    "source": {family: f"from {address}" for family, address in ((4, "192.168.1.102"), (6, "2001:db8:1::103"))},
    "fwmark": {4: "fwmark 0x20000/0xff0000", 6: "fwmark 0x20000/0xff0000"},
    "dport": {4: "ipproto tcp dport 25", 6: "ipproto tcp dport 25"},
    "iif": {4: "iif br-lan", 6: "iif br-lan"},
}


def other_way(lab: Lab, name: str, by: str) -> Laid:
    """A second way out `name`, taken by one of `RULES`, or for some connections by `multipath`."""
    cable(lab, name)
    _second_way(lab, name)
    for family, (first, second) in {4: (ENDS[PROVIDER][1], "10.9.0.1"), 6: (ENDS[PROVIDER][2], "fd09::1")}.items():
        if by == "multipath":
            hops = f"nexthop via {first} dev wan nexthop via {second} dev {name}"
            ip(lab, ROUTER, f"-{family} route del default")
            ip(lab, ROUTER, f"-{family} route add default {hops}")
            continue
        ip(lab, ROUTER, f"-{family} route add default via {second} dev {name} table 257")
        ip(lab, ROUTER, f"-{family} rule add {RULES[by][family]} lookup 257 priority 29998")
    if by == "fwmark":
        _mark_bots(lab)
    leaves = ("wan", name) if by == "multipath" else (name,)
    return Laid("veth", {4: leaves, 6: leaves}, wan=["wan", name])


def two_uplinks(lab: Lab, name: str = "wanb") -> Laid:
    """Balanced as by mwan3: a mark for each new connection, in turn, kept by conntrack; a table for each uplink."""
    cable(lab, name)
    _second_way(lab, name)
    for number, (device, gateway4, gateway6) in enumerate(
        (("wan", ENDS[PROVIDER][1], ENDS[PROVIDER][2]), (name, "10.9.0.1", "fd09::1")), 1
    ):
        ip(lab, ROUTER, f"route add default via {gateway4} dev {device} table {number}")
        ip(lab, ROUTER, f"-6 route add default via {gateway6} dev {device} table {number}")
        # Without the LAN's routes answers would leave by the uplink that they came from.
        ip(lab, ROUTER, f"route add 192.168.1.0/24 dev br-lan table {number}")
        ip(lab, ROUTER, f"-6 route add 2001:db8:1::/64 dev br-lan table {number}")
        _rule(lab, f"fwmark {number * 0x100:#x}/0x3f00 lookup {number} priority {2000 + number}")
    lab.nft(
        ROUTER,
        "table inet lab_mwan { chain p { type filter hook prerouting priority mangle; "
        "meta mark set ct mark & 0x3f00; "
        "iifname br-lan ct state new meta mark set numgen inc mod 2 map { 0 : 0x100, 1 : 0x200 }; "
        "iifname br-lan ct state new ct mark set meta mark; }; }",
    )
    return Laid("veth, marks, rules and tables", {4: ("wan", name), 6: ("wan", name)}, wan=["wan", name])


def vlan_bridge(lab: Lab) -> Laid:
    """A bridge that filters VLANs; the devices' ports are untagged in VLAN 20, and the router is in it by br-lan.20."""
    real = has(lab, "vlan_filtering") and has(lab, "vlan")
    if real:
        ip(lab, ROUTER, "link set br-lan type bridge vlan_filtering 1 vlan_default_pvid 0")
        for number in (10, 20):
            lab.run(ROUTER, ["bridge", "vlan", "add", "dev", "br-lan", "vid", str(number), "self"])
            ip(lab, ROUTER, f"link add link br-lan name br-lan.{number} type vlan id {number}")
            ip(lab, ROUTER, f"link set br-lan.{number} up")
        for device in lab.devices:
            lab.run(ROUTER, f"bridge vlan add dev p{device[6:]} vid 20 pvid untagged".split())
        _move_lan(lab, "br-lan.20")
    else:
        ip(lab, ROUTER, "link add br-lan.10 type bridge")
        _other_bridge(lab, "br-lan.20")
    by = "the kernel's VLAN filtering and 8021q" if real else "bridges of these names"
    return Laid(by, {4: ("wan",), 6: ("wan",)}, lan=["br-lan.10", "br-lan.20"], old_lan=["br-lan.10"])


def guest(lab: Lab, verdict: str, more: str = "") -> Laid:
    """The devices are in a second network, whose zone forwards to wan and has this `input`, as fw4 renders it."""
    _other_bridge(lab, "br-guest")
    answer = "meta l4proto tcp reject with tcp reset; reject;" if verdict == "reject" else "drop;"
    lab.nft(
        ROUTER,
        "table inet fw4 { "
        "chain input_guest { icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept; "
        f"udp dport {{ 53, 67 }} accept; tcp dport 53 accept; {more} {answer} }}; "
        "chain input { type filter hook input priority filter; policy accept; iifname lo accept; "
        'ct state established,related accept; iifname "br-guest" jump input_guest; }; }',
    )
    by = f"nft's {verdict} in chain input"
    silent = verdict == "drop" and not more
    return Laid(by, {4: ("wan",), 6: ("wan",)}, lan=["br-lan", "br-guest"], silent=silent)


#: The line's name -> what it is.
LINES = {
    "ethernet": Line("Ethernet", ethernet),
    "pppoe": Line("PPPoE", pppoe, "pppoe"),
    "ds-lite": Line("DS-Lite", ds_lite, "ipip6"),
    "464xlat": Line("464XLAT", xlat464, program="tayga"),
    "map-e": Line("MAP-E", map_e, "ipip6"),
    "6rd": Line("6rd", six_rd, "sit"),
    "nat64": Line("NAT64 only", nat64_only, program="tayga"),
    "vlan": Line("VLAN on wan", vlan, "vlan"),
    "wireguard": Line("WireGuard + pbr", wireguard_pbr, "wireguard"),
    "uplinks": Line("two uplinks (mwan3)", two_uplinks),
    "bridge": Line("bridge with VLAN filtering", vlan_bridge, "vlan_filtering"),
    "guest-reject": Line("guest zone, input REJECT", lambda lab: guest(lab, "reject")),
    "guest-drop": Line("guest zone, input DROP", lambda lab: guest(lab, "drop")),
    "guest-open": Line(
        "guest zone, input DROP, port 2525 accepted", lambda lab: guest(lab, "drop", "tcp dport 2525 accept;")
    ),
}


def lay(lab: Lab, name: str) -> Laid:
    """Lays a line. Raises RuntimeError where a program of it fails."""
    # As on OpenWrt: what a bridge forwards meets no IP firewall. With 1 a reset for a packet that came over a bridge
    # leaves past NAT, so a client whose connection was redirected does not know it.
    for key in ("iptables", "ip6tables"):
        lab.run(ROUTER, ["sysctl", "-qw", f"net.bridge.bridge-nf-call-{key}=0"], check=False)
    return LINES[name].lay(lab)


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────


def _without4(lab: Lab) -> None:
    """The cable to the provider has IPv6 only."""
    for host, (interface, *_) in ENDS.items():
        ip(lab, host, f"-4 addr flush dev {interface}")


def _address(lab: Lab, name: str, *families: int) -> None:
    """The ends' addresses on a line's own link; PPP has set IPv4's already where it negotiated it."""
    for host, device in ((ROUTER, name), (PROVIDER, "peer")):
        for family in families:
            size = {4: 24, 6: 64}[family]
            if family == 4 and "inet " in lab.run(host, ["ip", "-4", "addr", "show", "dev", device]).stdout:
                continue
            ip(lab, host, f"addr add {ENDS[host][family // 2 - 1]}/{size} dev {device}{' nodad' * (family == 6)}")


def _default(lab: Lab, name: str, *families: int) -> None:
    """The router's way to the Internet is `name`; the Internet's way to the home `peer`."""
    for family in families:
        ethernet = "link/ether" in lab.run(ROUTER, ["ip", "link", "show", "dev", name]).stdout
        via = f" via {ENDS[PROVIDER][family // 2 - 1]}" if ethernet else ""
        ip(lab, ROUTER, f"-{family} route replace default{via} dev {name}")
        if family == 6:
            via = f" via {ENDS[ROUTER][2]}" if ethernet else ""
            ip(lab, PROVIDER, f"-6 route replace 2001:db8:1::/64{via} dev peer")


def _masquerade(lab: Lab, name: str, family: str = "ip") -> None:
    lab.nft(
        ROUTER,
        f"table {family} lab_line_nat {{ chain post {{ type nat hook postrouting priority srcnat; "
        f'oifname "{name}" masquerade; }}; }}',
    )


def _translate(lab: Lab, host: str, hook: str, condition: str, source: str) -> None:
    lab.nft(
        host,
        f"table ip lab_line_nat {{ chain s {{ type nat hook {hook} priority 100; "
        f"ip saddr 192.0.0.0/8 {condition} snat to {source}; }}; }}",
    )


def _second_way(lab: Lab, name: str) -> None:
    """Addresses of a second way to the Internet, and its NAT, of IPv6, too: the home's prefix is the first one's."""
    ip(lab, ROUTER, f"addr add 10.9.0.2/24 dev {name}")
    ip(lab, ROUTER, f"addr add fd09::2/64 dev {name} nodad")
    ip(lab, PROVIDER, "addr add 10.9.0.1/24 dev peer")
    ip(lab, PROVIDER, "addr add fd09::1/64 dev peer nodad")
    _masquerade(lab, name, "inet")


def _mark_bots(lab: Lab) -> None:
    """As pbr's policies do."""
    macs = ", ".join(lab.mac(device) for device in BOTS.values())
    lab.nft(
        ROUTER,
        "table inet lab_pbr { chain p { type filter hook prerouting priority mangle; "
        f"iifname br-lan ether saddr {{ {macs} }} meta mark set meta mark & 0xff00ffff | 0x00020000; }}; }}",
    )


def _rule(lab: Lab, words: str) -> None:
    for family in (4, 6):
        ip(lab, ROUTER, f"-{family} rule add {words}")


def _nat64(lab: Lab) -> None:
    """The provider's NAT64: IPv6 to the prefix becomes IPv4."""
    lab.run(PROVIDER, ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
    _tayga(lab, PROVIDER, "nat64", "192.0.0.9", [f"prefix {PREFIX64}/96", "dynamic-pool 10.64.0.0/16"])
    ip(lab, PROVIDER, f"-6 route add {PREFIX64}/96 dev nat64")
    ip(lab, PROVIDER, "route add 10.64.0.0/16 dev nat64")


def _tayga(lab: Lab, host: str, name: str, address: str, lines: list[str]) -> None:
    """A translator with the TUN device `name`. Its own addresses are for ICMP errors."""
    folder = lab.folder / f"tayga-{host}"
    folder.mkdir()
    own6 = {ROUTER: "2001:db8:2:464::2", PROVIDER: "2001:db8:164::2"}[host]
    config = folder / "tayga.conf"
    words = [f"tun-device {name}", f"ipv4-addr {address}", f"ipv6-addr {own6}", f"data-dir {folder}", *lines]
    config.write_text("\n".join([*words, ""]))
    program = programs.find("tayga")
    lab.run(host, [program, "-c", str(config), "--mktun"])
    ip(lab, host, f"link set {name} up")
    lab.start(host, [program, "-c", str(config), "--nodetach"])


def _move_lan(lab: Lab, name: str) -> None:
    """The router's addresses in the LAN move to another of its interfaces."""
    ip(lab, ROUTER, "addr flush dev br-lan scope global")
    ip(lab, ROUTER, f"addr add 192.168.1.1/24 dev {name}")
    ip(lab, ROUTER, f"addr add 2001:db8:1::1/64 dev {name} nodad")


def _other_bridge(lab: Lab, name: str) -> None:
    """The devices are in another bridge than br-lan."""
    ip(lab, ROUTER, f"link add {name} address 02:00:00:00:01:fd type bridge")
    ip(lab, ROUTER, f"link set {name} up")
    for device in lab.devices:
        ip(lab, ROUTER, f"link set p{device[6:]} master {name}")
    _move_lan(lab, name)
