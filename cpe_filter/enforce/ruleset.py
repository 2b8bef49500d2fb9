"""policy -> ruleset, as text, and what its marks mean.

Knows nft's language. Must not know the kernel (see nftables), packets, devices' standings or the queue's loop.

Each connection is looked at as its client means it: what the client sends before the router rewrites the destination
(prerouting, and output for the router itself), what comes back after the router has undone its NAT (postrouting, and
input). So a connection that is redirected to the responder is seen like one that reaches its server, with the address
that the device meant. There are three stages: *classify* picks the packets that need a decision, *hand-off* queues
them, *verdict* carries out what came back as a packet mark: a ct mark for a connection that is decided, an element of
`blocked` or `limited` for a device. No process is started on the way of a packet. Their priorities, -160 and -140,
enclose iptables' table `mangle` (-150), where the hand-off is if nft has none; conntrack is before them (-200),
destination NAT behind (-100).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, collapse_addresses

from cpe_filter.policy import Exemption, Network, Policy

TABLE = "cpe_filter"
#: The hand-off's chain where nft has no queue, and the table of iptables that it is in.
XTABLES_CHAIN, XTABLES_TABLE = "CPE_FILTER", "mangle"

#: The bits of packet and connection marks that are ours; mwan3 uses 0x3f00, pbr 0xff0000, qosify none.
MARK_MASK = 0x0F000000
HAND_OFF = 0x01000000  # packets on their way to the queue
# What is decided. On a packet: what the filter says. On a connection: what is done with its further packets.
DONE = 0x02000000  # nothing to read any more: FIN and RST only
REFUSED = 0x03000000  # a reset
BLOCKED = 0x04000000  # a packet's only: a reset, and the whole device into the set
LIMITED = 0x05000000  # a packet's only: a reset, and the device's next connections for a while
EXPLAINED = 0x06000000  # the responder's
CONTENT = 0x07000000  # of the client FIN and RST only, of the server everything
LOOK = 0x08000000  # a packet's only: everything again; a connection has no mark then
OVER = 0x09000000  # nothing
_REST = 0xFFFFFFFF ^ MARK_MASK

NATIVE, XTABLES = "nft queue", "xtables NFQUEUE through iptables-nft"

#: IPv4: RFC 1918, RFC 6598, RFC 3927, loopback. IPv6: RFC 4193, link-local, loopback.
PRIVATE4 = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
PRIVATE6 = ("::1/128", "fc00::/7", "fe80::/10")

#: Seconds for which the kernel refuses a device's new connections without asking, once it is over its limit.
LIMITED_S = 10
#: A blocked device's connections that the responder still gets: how many at once, and how many a minute.
EXPLAINED_BURST, EXPLAINED_PER_MINUTE = 2, 6
#: So many SYNs more than the limit of connections may be in the queue.
SYNS_MORE = 4
#: The named counters.
COUNTERS = ("queued", "refused", "blocked", "limited", "explained", "guarded")


def render(policy: Policy, handoff: str) -> str:
    """The whole ruleset, to be loaded in one transaction; replaces an earlier one."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\n" + _table(policy, handoff)


def _table(policy: Policy, handoff: str) -> str:
    lines = [
        f"table inet {TABLE} {{",
        *_sets(policy),
        *_early(policy),
        *_classify(policy),
        *_inspect(policy, handoff),
        *_verdict(policy, handoff),
        *(_explain(policy) if policy.refusal == "explain" else []),
        "}",
    ]
    return "\n".join(lines) + "\n"


def replacement(policy: Policy, handoff: str) -> str:
    """The same in place of a running one: what the kernel has learnt and counted stays, and so do the base chains.

    To take a base chain away, if only to put it back, makes the kernel drop all packets that wait in a queue.
    """
    static = [name for name, *_ in _static_sets(policy)]
    declared = [f"table inet {TABLE} {{", *_sets(policy), "}"]
    flushed = [f"flush table inet {TABLE}", *(f"flush set inet {TABLE} {name}" for name in static)]
    return "\n".join(declared + flushed) + "\n" + _table(policy, handoff)


def _static_sets(policy: Policy) -> list[tuple[str, str, str, list[str]]]:
    """Name, type, flags and elements of the sets that the policy fills."""
    private = (PRIVATE4, PRIVATE6) if policy.private_destinations == "pass" else ((), ())
    relays = _by_family(policy.relays)
    anywhere = dict.fromkeys(rule.device.hex(":") for rule in policy.exempt if rule.device and not rule.destination)
    from_any = _by_family(rule.destination for rule in policy.exempt if rule.destination and not rule.device)
    sets = [("exempt_devices", "ether_addr", "", list(anywhere))]
    for family, networks in (("4", private[0]), ("6", private[1])):
        address = f"ipv{family}_addr"
        sets += [
            (f"relays{family}", address, "interval", relays[family]),
            (f"private{family}", address, "interval", list(networks)),
            (f"exempt{family}", address, "interval", from_any[family]),
            (f"exempt_pairs{family}", f"ether_addr . {address}", "interval", _pairs(policy.exempt, family)),
        ]
    return sets


def _pairs(exempt: Iterable[Exemption], family: str) -> list[str]:
    """Device and destination together. Overlapping networks of a device are merged, as interval sets want them."""
    by_device: dict[bytes, list[Network]] = {}
    for rule in exempt:
        if rule.device and rule.destination:
            by_device.setdefault(rule.device, []).append(rule.destination)
    return [
        f"{device.hex(':')} . {network}"
        for device, networks in by_device.items()
        for network in _by_family(networks)[family]
    ]


def _sets(policy: Policy) -> list[str]:
    lines: list[str] = []
    for name, kind, flags, elements in _static_sets(policy):
        lines += _set(name, kind, flags, elements)
    for name in ("blocked", "limited", "explained", "syns", "guard"):
        lines += _dynamic_set(name, "ether_addr")
    for family in "46":
        lines += _dynamic_set(f"guard_replies{family}", f"ipv{family}_addr")
    lines += [f"\tcounter {name} {{ }}" for name in COUNTERS]
    return lines


def _by_family(networks: Iterable[Network]) -> dict[str, list[str]]:
    """Networks by family, overlapping ones merged, as interval sets want them."""
    networks = list(networks)
    four = [n for n in networks if isinstance(n, IPv4Network)]
    six = [n for n in networks if not isinstance(n, IPv4Network)]
    return {"4": [str(n) for n in collapse_addresses(four)], "6": [str(n) for n in collapse_addresses(six)]}


def _set(name: str, kind: str, flags: str, elements: Iterable[str]) -> list[str]:
    content = ", ".join(elements)
    return [
        f"\tset {name} {{",
        f"\t\ttype {kind}",
        *([f"\t\tflags {flags}"] if flags else []),
        *([f"\t\telements = {{ {content} }}"] if content else []),
        "\t}",
    ]


def _dynamic_set(name: str, kind: str) -> list[str]:
    """Filled by rules. Its elements go by themselves; a minute is longer than any meter's memory."""
    return [
        f"\tset {name} {{",
        f"\t\ttype {kind}",
        "\t\tsize 1024",
        "\t\tflags dynamic,timeout",
        "\t\ttimeout 1m",
        "\t}",
    ]


_SYN = "tcp flags & (fin | syn | rst | ack) == syn"


def _early(policy: Policy) -> list[str]:
    """A blocked device's connections end before conntrack hears of them; relays and exemptions excepted."""
    few = f"limit rate {EXPLAINED_PER_MINUTE}/minute burst {EXPLAINED_BURST} packets"
    return [
        "\tchain early {",
        "\t\ttype filter hook prerouting priority raw; policy accept;",
        f"\t\tiifname {_names(policy.lan)} tcp dport {_ports(policy)} {_SYN} ether saddr @blocked jump blocked_early",
        "\t}",
        "\tchain blocked_early {",
        "\t\tfib daddr type local return",
        "\t\tip daddr @relays4 return",
        "\t\tip6 daddr @relays6 return",
        "\t\tip daddr @private4 return",
        "\t\tip6 daddr @private6 return",
        *_EXEMPT,
        *([f"\t\tupdate @explained {{ ether saddr {few} }} return"] if policy.refusal == "explain" else []),
        "\t\tgoto blocked_device",
        "\t}",
        "\tchain blocked_device {",
        *_refuse("blocked"),
        "\t}",
    ]


#: The rules that let a device's exempt packets return; before NAT, so an address is what the device meant.
_EXEMPT = (
    "\t\tether saddr @exempt_devices return",
    "\t\tip daddr @exempt4 return",
    "\t\tip6 daddr @exempt6 return",
    "\t\tether saddr . ip daddr @exempt_pairs4 return",
    "\t\tether saddr . ip6 daddr @exempt_pairs6 return",
)


def _refuse(why: str) -> list[str]:
    """Refuses without asking the filter, so the kernel's own log says so, a few times a minute."""
    return [
        f'\t\tlimit rate 2/minute burst 3 packets log prefix "cpe-filter {why}: " level info',
        f"\t\tcounter name {why} reject with tcp reset",
    ]


def _classify(policy: Policy) -> list[str]:
    """Which packets are mail's, at the four places where they pass."""
    lan, wan = _names(policy.lan), _names(policy.wan)
    there = f"meta l4proto tcp ct direction original ct original proto-dst {_ports(policy)}"
    back = f"meta l4proto tcp ct direction reply ct original proto-dst {_ports(policy)}"
    router = [
        *_base("classify_output", "output", "mangle - 10"),
        f"\t\toifname {wan} {there} jump inspect_out",
        "\t}",
        *_base("classify_input", "input", "mangle - 10"),
        f"\t\tiifname {wan} {back} jump inspect_in",
        "\t}",
    ]
    # The router's own connection to the responder comes back over lo.
    answered = _names((*policy.lan, "lo")) if policy.router_output else lan
    return [
        *_base("classify_prerouting", "prerouting", "mangle - 10"),
        f"\t\tiifname {lan} {there} jump leaving",
        "\t}",
        # Where a packet goes is looked up for those alone that still have to be looked at: a message's content is many.
        "\tchain leaving {",
        *_SETTLED,
        f"\t\tfib daddr oifname {wan} jump inspect_out",
        "\t}",
        *_base("classify_postrouting", "postrouting", "mangle - 10"),
        f"\t\toifname {answered} {back} jump inspect_in",
        "\t}",
        *(router if policy.router_output else []),
        # A connection may be refused on account of what its server says. That passes, so that the client goes on and is
        # told by a reset; what the server says then is answered by one as well.
        *_base("refused_forward", "forward", "filter + 40"),
        f"\t\tiifname {wan} oifname {lan} {back} {_decided(REFUSED)} reject with tcp reset",
        "\t}",
    ]


def _base(name: str, hook: str, priority: str) -> list[str]:
    return [f"\tchain {name} {{", f"\t\ttype filter hook {hook} priority {priority}; policy accept;"]


def _decided(value: int) -> str:
    return f"ct mark & {MARK_MASK:#010x} == {value:#010x}"


_OVER_ALREADY = f"\t\t{_decided(OVER)} return"
#: What of a client's decided connections need not be seen: all, or content and what follows it.
_SETTLED = (
    _OVER_ALREADY,
    f"\t\tct mark & {MARK_MASK:#010x} {{ {DONE:#010x}, {CONTENT:#010x} }} tcp flags & (fin | rst) == 0 return",
)


def _inspect(policy: Policy, handoff: str) -> list[str]:
    """Which of them need a decision."""
    if handoff == NATIVE:
        bypass = "flags bypass " if policy.fail == "open" else ""
        queue = f"\t\tcounter name queued queue {bypass}to {policy.queue}"
    else:
        queue = f"\t\tcounter name queued meta mark set meta mark & {_REST:#010x} | {HAND_OFF:#010x}"
    known = [
        "\t\tct original ip daddr @relays4 return",
        "\t\tct original ip6 daddr @relays6 return",
        "\t\tct original ip daddr @private4 return",
        "\t\tct original ip6 daddr @private6 return",
    ]
    no_end = "tcp flags & (fin | rst) == 0 return"
    # Pure acknowledgements, told by exact header lengths (with timestamps, without, with one SACK block); no
    # payload fits in these. Plain rules: as a concatenated set they crash `nft list` of nft 1.0.6.
    acks = [
        *(
            f"\t\tip hdrlength 5 ip length {20 + 4 * doff} tcp doff {doff} tcp flags & (syn | fin | rst) == 0 return"
            for doff in (8, 5, 11)
        ),
        *(
            f"\t\tip6 nexthdr tcp ip6 length {4 * doff} tcp doff {doff} tcp flags & (syn | fin | rst) == 0 return"
            for doff in (8, 5, 11)
        ),
    ]
    over = f"limit rate over {policy.queue_rate}/second burst {2 * policy.queue_rate} packets"
    # Where nothing is limited, what is too much passes unseen. Elsewhere it must not: it is sent again, later.
    too_much = ["\t\tcounter name guarded return"]
    if policy.mode != "monitor" or policy.fail == "closed":
        too_much = [f"\t\t{_SYN} counter name guarded reject with tcp reset", "\t\tcounter name guarded drop"]
    # Where connections are limited a device cannot be within its limit with more of them at once. So in a flood the
    # kernel does not have to wait for the filter's word.
    syns = []
    if policy.mode != "monitor":
        rate = f"{1 + policy.connections_per_hour // 1800}/second burst {policy.connections_burst + SYNS_MORE} packets"
        syns = [f"\t\t{_SYN} update @syns {{ ether saddr limit rate over {rate} }} jump limited_device"]
    return [
        "\tchain inspect_out {",
        *_SETTLED,
        *known,
        f"\t\t{_decided(REFUSED)} counter name refused reject with tcp reset",
        *acks,
        f"\t\t{_SYN} ether saddr @limited jump limited_device",
        *syns,
        # A blocked device's other connections: those that run, and whatever begins without a SYN.
        f"\t\t{_decided(0)} tcp flags & syn == 0 ether saddr @blocked jump blocked_running",
        f"\t\tupdate @guard {{ ether saddr {over} }} goto guarded",
        queue,
        "\t}",
        "\tchain limited_device {",
        *_EXEMPT,
        *_refuse("limited"),
        "\t}",
        "\tchain blocked_running {",
        *_EXEMPT,
        "\t\tgoto blocked_device",
        "\t}",
        "\tchain guarded {",
        *too_much,
        "\t}",
        "\tchain inspect_in {",
        _OVER_ALREADY,
        *acks,  # first: of what a server sends to a client that writes to it nearly all are these
        *known,
        f"\t\t{_decided(REFUSED)} return",
        f"\t\t{_decided(DONE)} {no_end}",
        f"\t\tupdate @guard_replies4 {{ ip daddr {over} }} counter name guarded return",
        f"\t\tupdate @guard_replies6 {{ ip6 daddr {over} }} counter name guarded return",
        queue,
        "\t}",
    ]


def _verdict(policy: Policy, handoff: str) -> list[str]:
    """What the filter has said, by mark."""

    def marked(value: int) -> str:
        return f"meta mark & {MARK_MASK:#010x} == {value:#010x}"

    def keep(value: int) -> str:
        return f"ct mark set ct mark & {_REST:#010x} | {value:#010x}"

    clean = f"\t\tmeta mark set meta mark & {_REST:#010x}"
    # Only what came in from the LAN carries the device's address.
    lan = f"iifname {_names(policy.lan)}"
    blocked = f"update @blocked {{ ether saddr timeout {policy.block_minutes}m }}"
    settled = [f"\t\t{marked(value)} {keep(value)}" for value in (DONE, CONTENT, OVER)]
    settled += [f"\t\t{marked(LOOK)} {keep(0)}", clean]
    explained = [
        f"\t\t{marked(BLOCKED)} ct state new {_SYN} goto explained",
        f"\t\t{marked(EXPLAINED)} goto explained",
    ]
    # In fail closed the filter takes the hand-off's mark away. A packet that has it was not queued: iptables' part of
    # the ruleset is not there yet, or no more.
    unseen = []
    if handoff == XTABLES and policy.fail == "closed":
        unseen = [f"\t\t{marked(HAND_OFF)} counter name guarded drop"]
    lines = [
        "\tchain verdict_out {",
        *unseen,
        f"\t\t{marked(BLOCKED)} {lan} {blocked}",
        f"\t\t{marked(LIMITED)} {lan} update @limited {{ ether saddr timeout {LIMITED_S}s }}",
        *(explained if policy.refusal == "explain" else []),
        f"\t\tmeta mark & {MARK_MASK:#010x} {{ {REFUSED:#010x}, {BLOCKED:#010x}, {LIMITED:#010x} }} jump refuse",
        *settled,
        "\t}",
        "\tchain refuse {",
        f"\t\t{keep(REFUSED)}",
        "\t\tcounter name refused reject with tcp reset",
        "\t}",
        "\tchain explained {",
        f"\t\t{keep(EXPLAINED)} counter name explained",
        clean,
        "\t}",
        "\tchain verdict_in {",
        *unseen,
        f"\t\tmeta mark & {MARK_MASK:#010x} {{ {REFUSED:#010x}, {BLOCKED:#010x}, {LIMITED:#010x} }} {keep(REFUSED)}",
        *settled,
        "\t}",
    ]
    hooks = [("prerouting", "out"), ("postrouting", "in")]
    if policy.router_output:
        hooks += [("output", "out"), ("input", "in")]
    for hook, way in hooks:
        lines += [
            *_base(f"verdict_{hook}", hook, "mangle + 10"),
            f"\t\tmeta mark & {MARK_MASK:#010x} != 0 jump verdict_{way}",
            "\t}",
        ]
    return lines


def _explain(policy: Policy) -> list[str]:
    """The way to the responder. If nobody listens there the router's own reset refuses, which is the other way."""
    redirect = f"tcp dport {_ports(policy)} {_decided(EXPLAINED)} redirect to :{policy.explain_port}"
    hooks = ("prerouting", "output") if policy.router_output else ("prerouting",)
    lines = []
    for hook in hooks:  # before the router's own port forwards
        lines += [
            f"\tchain redirect_{hook} {{",
            f"\t\ttype nat hook {hook} priority -105; policy accept;",
            f"\t\t{redirect}",
            "\t}",
        ]
    return [
        *lines,
        *_base("explain_input", "input", "filter - 5"),
        # Only those redirected may talk to it.
        f'\t\tiifname != "lo" tcp dport {policy.explain_port} ct original proto-dst != {_ports(policy)} '
        "reject with tcp reset",
        "\t}",
    ]


def _names(interfaces: Iterable[str]) -> str:
    return _one_of([f'"{name}"' for name in interfaces])


def _ports(policy: Policy) -> str:
    return _one_of([str(port) for port in policy.ports])


def _one_of(values: list[str]) -> str:
    """To compare with one value costs a packet less than to look it up in a set of one."""
    return values[0] if len(values) == 1 else "{ " + ", ".join(values) + " }"
