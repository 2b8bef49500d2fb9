"""policy -> ruleset, as text, and the names of its sets and chains for userspace.

Knows nft's language. Must not know the kernel (see nftables), packets, devices' standings or the queue's loop.

The kernel denies, userspace admits. In mode block the rules refuse or redirect without the filter. In mode limit, for
devices whose standing limits them, and in fail closed, a new connection waits in the queue and passes only with the
filter's verdict. If its messages are limited, what the client says waits, too. Packets without a decision (the queue is
full, the packet cannot be read) are dropped there. In mode monitor all packets pass and are only shown. The filter uses
verdicts and elements of sets, never marks, because marks belong to other programs.

A connection's key in a set is the client's address and port and the server's address, as packets carry them in the
forward hook. Forwarded mail is looked at in that hook, behind the firewall's own filter. There it has survived what the
router itself would drop (TTL, the firewall), so what is observed is what leaves. A connection that is redirected to the
responder is shown with its first packet as the device sent it, and then on its way to the responder and back. If no
verdict is needed NFLOG shows the packet. A kernel without NFLOG shows packets through the queue, and then nothing of
what is denied.

`alive` has an element only while the filter refreshes it. If the filter hangs, mail that waits for its verdict passes
(fail open) or is refused (fail closed) within `ALIVE_S` seconds, and no rule changes. If the filter is gone that
happens at once, because the queue is bypassed or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from cpe_filter.inspect import nat64
from cpe_filter.policy.model import Network, Policy

TABLE = "cpe_filter"
#: The chain that hands packets to the queue. Where nft has no `queue`, nftables fills it with xtables' NFQUEUE.
HAND_OFF = "hand_off"
NATIVE, XTABLES = "nft queue", "xtables NFQUEUE"

#: IPv4: RFC 1918, RFC 6598, RFC 3927, loopback. IPv6: RFC 4193, link-local, loopback.
PRIVATE4 = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
PRIVATE6 = ("::1/128", "fc00::/7", "fe80::/10")
_PRIVATE4, _PRIVATE6 = (tuple(map(ip_network, names)) for names in (PRIVATE4, PRIVATE6))

#: Seconds after which a filter that no longer refreshes its element counts as dead.
ALIVE_S = 10
#: Seconds for which the kernel refuses a device's new connections without the filter, after it exceeded its limit.
LIMITED_S = 10
#: How many of a blocked device's connections the responder still gets, at once and in a minute.
EXPLAINED_BURST, EXPLAINED_PER_MINUTE = 2, 6
#: New connections a second, of all devices, that are redirected to the responder; the others get a reset.
EXPLAINED_PER_SECOND = 20
#: How many more SYNs than the limit of connections a device may send at once.
SYNS_MORE = 4
#: New connections a second of all strangers together (no lease, no past). A flood with made-up MACs must not take the
#: queue, conntrack or the responder from the devices of the home.
STRANGERS_PER_SECOND = 100
#: Connections that a set holds: more than the engine follows, so the engine's bound is reached first.
CONNECTIONS = 8192
DEVICES = 1024
#: Pairs of device and server that are let alone, and connections between them.
PAIRS = 4096
#: Seconds for which a connection of such a pair is recognised without packets.
_QUIET_S = 7440  # conntrack's time for an established connection on OpenWrt

#: Sets that the filter fills (enforce.sets): by device, by connection, by pair of device and server; and switches,
#: whose one element is the protocol of all mail.
BLOCKED, ASKED, LIMITED, FAMILIAR = "blocked", "asked", "limited", "familiar"
REFUSED, REFUSED_NEW, CONTENT, ENDS = "refused", "refused_new", "content", "ends"
KNOWN = "known"
ALIVE, ROUTER_BLOCKED = "alive", "router_blocked"
#: Switches of the home, for every device that is not `familiar`.
HOME_BLOCKED, HOME_ASKED = "home_blocked", "home_asked"
ADDRESS_BLOCKED = "address_blocked"
BY_DEVICE = (BLOCKED, ASKED, LIMITED, FAMILIAR)
BY_CONNECTION = (REFUSED, REFUSED_NEW, CONTENT, ENDS)
SWITCHES = (ALIVE, HOME_BLOCKED, HOME_ASKED, ROUTER_BLOCKED)

#: The named counters. observed: packets shown to the filter; queued: those that waited for its verdict. unobserved:
#: passed unseen, beyond the rate guard. refused, blocked, limited: resets. undecided: dropped without a decision.
#: explained: connections to the responder. known: connections of pairs that are let alone. flooded: SYNs of strangers
#: beyond the guard, dropped.
COUNTERS = (
    "observed",
    "queued",
    "unobserved",
    "refused",
    "blocked",
    "limited",
    "undecided",
    "explained",
    "known",
    "flooded",
)

_SYN = "tcp flags & (fin | syn | rst | ack) == syn"
_REDIRECTED = "ct status dnat"
_NO_END = "tcp flags & (fin | rst) == 0"
_FAMILIES = (("4", "ip"), ("6", "ip6"))
_FEW = f"{EXPLAINED_PER_MINUTE}/minute burst {EXPLAINED_BURST} packets"
#: Matches all mail: the key with which a switch is looked up.
_SWITCH = "meta l4proto"


def render(policy: Policy, handoff: str, log: bool = True) -> str:
    """The ruleset, to be loaded in one transaction; replaces an earlier one. log: the kernel has NFLOG."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\n" + _table(policy, handoff, log)


def replacement(policy: Policy, handoff: str, log: bool = True) -> str:
    """The same, to replace a running ruleset: the filled sets, the counters and the base chains stay.

    If a base chain is removed, even to add it again, the kernel drops all packets that wait in a queue.
    """
    static = [name for name, *_ in _static_sets(policy)]
    declared = [f"table inet {TABLE} {{", *_sets(policy), "}"]
    flushed = [f"flush table inet {TABLE}", *(f"flush set inet {TABLE} {name}" for name in static)]
    return "\n".join(declared + flushed) + "\n" + _table(policy, handoff, log)


def _table(policy: Policy, handoff: str, log: bool) -> str:
    lines = [
        f"table inet {TABLE} {{",
        *_sets(policy),
        *_observe(policy, log),
        *_hand_off(policy, handoff),
        *_refusals(),
        *([] if policy.filter.mode == "monitor" else _early(policy)),
        *(_leaving_block(policy, log) if policy.filter.mode == "block" else _leaving(policy, log)),
        *_returning(),
        *_hooks(policy, log),
        *(_explain(policy, log) if policy.filter.refusal == "explain" else []),
        "}",
    ]
    return "\n".join(lines) + "\n"


# ── sets ────────────────────────────────────────────────────────────────────────────────────────────


#: The sets that only the policy fills.
BY_POLICY = (
    "exempt_devices",
    *(f"{name}{family}" for family, _ in _FAMILIES for name in ("relays", "private", "exempt", "exempt_pairs")),
)


def _static_sets(policy: Policy) -> list[tuple[str, str, str, list[str]]]:
    """Name, type, flags and elements of the sets that the policy fills."""
    private = (_PRIVATE4, _PRIVATE6) if policy.network.private_destinations == "pass" else ((), ())
    relays = _by_family(policy.network.relays, policy.network.nat64)
    private4, private6 = private[0], _by_family((*private[0], *private[1]), policy.network.nat64)["6"]
    anywhere = dict.fromkeys(rule.device.hex(":") for rule in policy.exempt if rule.device and not rule.destination)
    free = [rule.destination for rule in policy.exempt if rule.destination and not rule.device]
    from_any = _by_family(free, policy.network.nat64)
    sets = [("exempt_devices", "ether_addr", "", list(anywhere))]
    for family, networks in (("4", [str(one) for one in private4]), ("6", private6)):
        address = f"ipv{family}_addr"
        sets += [
            (f"relays{family}", address, "interval", relays[family]),
            (f"private{family}", address, "interval", networks),
            (f"exempt{family}", address, "interval", from_any[family]),
            (f"exempt_pairs{family}", f"ether_addr . {address}", "interval", _pairs(policy, family)),
        ]
    return sets


def _pairs(policy: Policy, family: str) -> list[str]:
    """Device and destination together. Overlapping networks of a device are merged, as interval sets require."""
    by_device: dict[bytes, list[Network]] = {}
    for rule in policy.exempt:
        if rule.device and rule.destination:
            by_device.setdefault(rule.device, []).append(rule.destination)
    return [
        f"{device.hex(':')} . {network}"
        for device, networks in by_device.items()
        for network in _by_family(networks, policy.network.nat64)[family]
    ]


def _by_family(networks: Iterable[Network], prefixes: Iterable[IPv6Network]) -> dict[str, list[str]]:
    """Networks by family, overlapping ones merged, as interval sets require.

    prefixes: of NAT64. IPv6 clients reach an IPv4 network through each, and through the well-known one.
    """
    networks = list(networks)
    four = [n for n in networks if isinstance(n, IPv4Network)]
    six = [n for n in networks if not isinstance(n, IPv4Network)] + nat64.networks(four, prefixes)
    return {"4": [str(n) for n in collapse_addresses(four)], "6": [str(n) for n in collapse_addresses(six)]}


def _sets(policy: Policy) -> list[str]:
    lines: list[str] = []
    for name, kind, flags, elements in _static_sets(policy):
        content = [f"\t\telements = {{ {', '.join(elements)} }}"] if elements else []
        lines += _set(name, f"type {kind}", flags, content)
    for name in BY_DEVICE:
        # Devices with leases, and devices that have a past without one.
        size = 2 * DEVICES if name == FAMILIAR else DEVICES
        lines += _set(name, "type ether_addr", "timeout", [f"\t\tsize {size}"])
    for name in SWITCHES:
        # The filter that loads the ruleset lives. Otherwise fail closed would refuse until its first refresh.
        content = [f"\t\telements = {{ tcp timeout {ALIVE_S}s }}"] if name == ALIVE else []
        lines += _set(name, "type inet_proto", "timeout", content)
    for family in "46":
        address = f"ipv{family}_addr"
        for name in BY_CONNECTION:
            kind = f"type {address} . inet_service . {address}"
            lines += _set(name + family, kind, "timeout", [f"\t\tsize {CONNECTIONS}"])
        lines += _set(KNOWN + family, f"type ether_addr . {address}", "timeout", [f"\t\tsize {PAIRS}"])
        lines += _set(ADDRESS_BLOCKED + family, f"type {address}", "timeout", [f"\t\tsize {DEVICES}"])
        lines += _meter(f"guard_replies{family}", f"type {address}")
    for name in ("explained", "syns", "guard"):
        lines += _meter(name, "type ether_addr")
    lines += _set("quiet", "typeof ct id", "dynamic,timeout", [f"\t\tsize {PAIRS}", f"\t\ttimeout {_QUIET_S}s"])
    lines += [f"\tcounter {name} {{ }}" for name in COUNTERS]
    return lines


def _set(name: str, kind: str, flags: str, more: list[str]) -> list[str]:
    return [f"\tset {name} {{", f"\t\t{kind}", *([f"\t\tflags {flags}"] if flags else []), *more, "\t}"]


def _meter(name: str, kind: str) -> list[str]:
    """A set that rules fill. Its elements expire after a minute, which is longer than any meter's memory."""
    return _set(name, kind, "dynamic,timeout", [f"\t\tsize {DEVICES}", "\t\ttimeout 1m"])


# ── parts that several chains share ─────────────────────────────────────────────────────────────────


def _connection(name: str, action: str, condition: str = "", back: bool = False) -> list[str]:
    """`action` for packets of the connections in set `name`. back: those from the server."""
    lines = []
    for family, ip in _FAMILIES:
        key = f"{ip} daddr . tcp dport . {ip} saddr" if back else f"{ip} saddr . tcp sport . {ip} daddr"
        lines.append(f"\t\t{key} @{name}{family} {condition + ' ' if condition else ''}{action}")
    return lines


#: Destinations that every device reaches: the ISP's relays, and private ones if the policy permits them.
_PERMITTED = (
    "\t\tip daddr @relays4 return",
    "\t\tip6 daddr @relays6 return",
    "\t\tip daddr @private4 return",
    "\t\tip6 daddr @private6 return",
)
_PERMITTED_BACK = tuple(line.replace("daddr", "saddr") for line in _PERMITTED)


def _exempt(action: str) -> list[str]:
    """`action` for a device's exempt packets."""
    return [
        f"\t\tether saddr @exempt_devices {action}",
        f"\t\tip daddr @exempt4 {action}",
        f"\t\tip6 daddr @exempt6 {action}",
        f"\t\tether saddr . ip daddr @exempt_pairs4 {action}",
        f"\t\tether saddr . ip6 daddr @exempt_pairs6 {action}",
    ]


#: Pure acknowledgements, recognised by exact header lengths (with timestamps, without, with one SACK block), which
#: leave no room for a payload. Plain rules, because a concatenated set of them crashes `nft list` of nft 1.0.6.
_ACKS = (
    *(
        f"\t\tip hdrlength 5 ip length {20 + 4 * doff} tcp doff {doff} tcp flags & (syn | fin | rst) == 0 return"
        for doff in (8, 5, 11)
    ),
    *(
        f"\t\tip6 nexthdr tcp ip6 length {4 * doff} tcp doff {doff} tcp flags & (syn | fin | rst) == 0 return"
        for doff in (8, 5, 11)
    ),
)


def _observe(policy: Policy, log: bool) -> list[str]:
    """Packets that are shown to the filter and go on at once."""
    over = f"limit rate over {policy.filter.queue_rate}/second burst {2 * policy.filter.queue_rate} packets"
    # In the queue a packet would wait for a filter that hangs. In fail closed that is intended.
    dead = [f"\t\t{_SWITCH} != @{ALIVE} return"] if policy.filter.fail == "open" else []
    show = [f"\t\tcounter name observed log group {policy.filter.queue}"] if log else [*dead, f"\t\tgoto {HAND_OFF}"]
    return [
        # Filled below; declared here for the chains that jump to it.
        f"\tchain {HAND_OFF} {{",
        "\t}",
        "\tchain observe_out {",
        *_ACKS,
        *_connection(CONTENT, "return", _NO_END),
        *_connection(ENDS, "return", _NO_END),
        f"\t\tupdate @guard {{ ether saddr {over} }} counter name unobserved return",
        *show,
        "\t}",
        "\tchain observe_in {",
        *_connection(ENDS, "return", _NO_END, back=True),
        f"\t\tupdate @guard_replies4 {{ ip daddr {over} }} counter name unobserved return",
        f"\t\tupdate @guard_replies6 {{ ip6 daddr {over} }} counter name unobserved return",
        *show,
        "\t}",
    ]


def _hand_off(policy: Policy, handoff: str) -> list[str]:
    """The chain to the queue. In fail open a queue without a holder is bypassed; that admits nothing."""
    bypass = "flags bypass " if policy.filter.fail == "open" else ""
    queue = f" queue {bypass}to {policy.filter.queue}" if handoff == NATIVE else ""
    return [f"\tchain {HAND_OFF} {{", f"\t\tcounter name queued{queue}", "\t}"]


def _refusals() -> list[str]:
    """Chains that refuse. They write to the kernel's log a few times a minute."""

    def refuse(why: str) -> list[str]:
        return [
            f'\t\tlimit rate 2/minute burst 3 packets log prefix "cpe-filter {why}: " level info',
            f"\t\tcounter name {why} reject with tcp reset",
        ]

    return [
        "\tchain refuse {",
        "\t\tcounter name refused reject with tcp reset",
        "\t}",
        "\tchain limited_device {",
        *_exempt("return"),
        *refuse("limited"),
        "\t}",
        # Entered by a jump: permitted and exempt packets return.
        "\tchain blocked_device {",
        *_PERMITTED,
        *_exempt("return"),
        *refuse("blocked"),
        "\t}",
    ]


def _blocked(action: str) -> list[str]:
    """`action` for the packets of blocked devices."""
    return [
        f"\t\tether saddr @{BLOCKED} {action}",
        f"\t\t{_SWITCH} @{HOME_BLOCKED} ether saddr != @{FAMILIAR} {action}",
        # On a link without Ethernet a device is known by its address.
        f"\t\tmeta iiftype != ether ip saddr @{ADDRESS_BLOCKED}4 {action}",
        f"\t\tmeta iiftype != ether ip6 saddr @{ADDRESS_BLOCKED}6 {action}",
    ]


def _asked(chain: str) -> list[str]:
    """To `chain` with the packets of devices whose standing, or their home's, limits them."""
    return [
        f"\t\tether saddr @{ASKED} goto {chain}",
        f"\t\t{_SWITCH} @{HOME_ASKED} ether saddr != @{FAMILIAR} goto {chain}",
    ]


# ── new connections, before conntrack ───────────────────────────────────────────────────────────────


def _early(policy: Policy) -> list[str]:
    """Floods, and a blocked device's connections, end before conntrack; permitted ones go on.

    In mode monitor all pass, so nothing needs a guard, and one chain more would cost time for all the home's traffic.
    """
    # A device with more SYNs than this cannot be within its limit.
    limits, explains = policy.limits, policy.filter.refusal == "explain"
    rate = f"{1 + limits.connections_per_hour // 1800}/second burst {limits.connections_burst + SYNS_MORE} packets"
    strangers = f"{STRANGERS_PER_SECOND}/second burst {2 * STRANGERS_PER_SECOND} packets"
    return [
        *_base("early", "prerouting", "raw"),
        # In this order nearly all packets, which do not begin a connection, leave after a few steps.
        f"\t\t{_SYN} tcp dport {_ports(policy)} iifname {_names(policy.network.lan)} jump early_syn",
        "\t}",
        "\tchain early_syn {",
        *_PERMITTED,
        *_exempt("return"),
        "\t\tfib daddr type local return",
        *_blocked("goto early_blocked"),
        f"\t\tupdate @syns {{ ether saddr limit rate over {rate} }} goto limited_device",
        f"\t\tether saddr != @{FAMILIAR} limit rate over {strangers} counter name flooded drop",
        "\t}",
        "\tchain early_blocked {",
        *([f"\t\tupdate @explained {{ ether saddr limit rate {_FEW} }} return"] if explains else []),
        "\t\tgoto blocked_device",
        "\t}",
    ]


# ── mail on its way out ─────────────────────────────────────────────────────────────────────────────


def _leaving_block(policy: Policy, log: bool) -> list[str]:
    """Mode block: refuses what no rule admits. Needs no filter."""
    # With a responder the SYN was already shown before it was redirected.
    show = [f"\t\t{_SYN} jump observe_out"] if log and policy.filter.refusal != "explain" else []
    return ["\tchain leaving {", *_PERMITTED, *_exempt("goto observe_out"), *show, "\t\tgoto refuse", "\t}"]


def _leaving(policy: Policy, log: bool) -> list[str]:
    """Modes monitor and limit: blocked devices are refused; packets of others are shown, or wait for a verdict."""
    closed, limit = policy.filter.fail == "closed", policy.filter.mode == "limit"
    opening = ["\t\tgoto ask"] if limit or closed else [*_asked("ask"), "\t\tgoto observe_out"]
    running = ["\t\tgoto running"] if limit else [*_asked("running"), "\t\tgoto observe_out"]
    pairs = []
    if not limit:
        pairs = [f"\t\tether saddr . {ip} daddr @{KNOWN}{family} goto known" for family, ip in _FAMILIES]
    over = f"limit rate over {policy.filter.queue_rate}/second burst {2 * policy.filter.queue_rate} packets"
    return [
        "\tchain known {",
        "\t\tupdate @quiet { ct id } counter name known",
        "\t}",
        "\tchain leaving {",
        *_blocked("jump blocked_device"),
        *_PERMITTED,
        *_exempt("goto observe_out"),
        *([f"\t\t{_SWITCH} != @{ALIVE} goto refuse"] if closed else []),
        f"\t\t{_SYN} goto opening",
        *_connection(REFUSED, "goto refuse"),
        *running,
        "\t}",
        # Each SYN is decided separately, because conntrack may have forgotten the connection of an earlier decision.
        "\tchain opening {",
        *_connection(REFUSED_NEW, "goto refuse"),
        *pairs,
        "\t\tdelete @quiet { ct id }",
        *opening,
        "\t}",
        "\tchain running {",
        *_ACKS,
        *_connection(CONTENT, "return", _NO_END),
        *_connection(ENDS, "return", _NO_END),
        "\t\tgoto ask",
        "\t}",
        "\tchain ask {",
        *([] if closed else [f"\t\t{_SWITCH} != @{ALIVE} return"]),
        f"\t\t{_SYN} ether saddr @{LIMITED} goto limited_device",
        f"\t\tupdate @guard {{ ether saddr {over} }} goto guarded",
        # Packets that were shown earlier must reach the filter first: a log entry of one byte ends the collecting.
        *([f"\t\tlog group {policy.filter.queue} snaplen 1 queue-threshold 1"] if log else []),
        f"\t\tjump {HAND_OFF}",
        # Reached only if another program has emptied that chain: a queue ends the rules, with a holder or without.
        "\t\tcounter name undecided drop",
        "\t}",
        # Beyond the rate for the filter: a SYN is refused; the others are dropped and sent again later.
        "\tchain guarded {",
        f"\t\t{_SYN} goto limited_device",
        "\t\tcounter name undecided drop",
        "\t}",
    ]


# ── mail's answers ──────────────────────────────────────────────────────────────────────────────────


def _returning() -> list[str]:
    return [
        "\tchain returning {",
        *_ACKS,  # first: while a client sends, nearly all packets of the server are these
        *_PERMITTED_BACK,
        *_connection(REFUSED, "goto refuse", back=True),
        "\t\tgoto observe_in",
        "\t}",
    ]


def _hooks(policy: Policy, log: bool) -> list[str]:
    """The hooks for mail, behind the firewall's own chains, so packets that these drop are not seen."""
    lan, wan, ports = _names(policy.network.lan), _names(policy.network.wan), _ports(policy)
    # First, and cheap: most mail is between a clear device and a server that it has met. When a standing rises, these
    # sets are emptied, so it does not have to be looked up here.
    quiet = []
    if policy.filter.mode == "monitor":
        lives = f" {_SWITCH} @{ALIVE}" if policy.filter.fail == "closed" else ""
        quiet = [f"\t\tct id @quiet{lives} return"]
    explained = policy.filter.refusal == "explain" and log
    output, arriving = [], []
    if policy.network.router_output:
        output = [
            f"\t\ttcp dport {ports} oifname {wan} {_SWITCH} @{ROUTER_BLOCKED} jump blocked_device",
            f"\t\ttcp dport {ports} oifname {wan} jump leaving",
        ]
        arriving = [f"\t\ttcp sport {ports} iifname {wan} jump returning"]
    if explained:
        output.append(f"\t\ttcp sport {policy.explain.port} {_REDIRECTED} jump explained_back")
        arriving.append(f"\t\ttcp dport {policy.explain.port} {_REDIRECTED} jump observe_out")
    return [
        "\tchain forward_out {",
        *quiet,
        f"\t\tiifname {lan} oifname {wan} goto leaving",
        "\t}",
        "\tchain forward_in {",
        "\t\tct id @quiet return",
        f"\t\tiifname {wan} oifname {lan} goto returning",
        "\t}",
        *(["\tchain explained_back {", *_ACKS, "\t\tgoto observe_in", "\t}"] if explained else []),
        *_base("forward", "forward", "150"),
        # The protocol is compared once, not with each port.
        "\t\tmeta l4proto != tcp return",
        f"\t\tth dport {ports} jump forward_out",
        f"\t\tth sport {ports} jump forward_in",
        "\t}",
        *([*_base("output", "output", "150"), *output, "\t}"] if output else []),
        *([*_base("input", "input", "150"), *arriving, "\t}"] if arriving else []),
    ]


def _base(name: str, hook: str, priority: str) -> list[str]:
    return [f"\tchain {name} {{", f"\t\ttype filter hook {hook} priority {priority}; policy accept;"]


# ── the responder ───────────────────────────────────────────────────────────────────────────────────


def _explain(policy: Policy, log: bool) -> list[str]:
    """The way to the responder. If it does not run, the router's own reset refuses.

    Without a filter the dialogue would not be observed. Then a reset refuses, too.
    """
    port = policy.explain.port
    show = ["\t\tjump observe_out"] if log else []
    lines = [
        "\tchain explain {",
        *show,
        f"\t\t{_SWITCH} != @{ALIVE} return",
        f"\t\tmeta l4proto tcp limit rate {EXPLAINED_PER_SECOND}/second burst {2 * EXPLAINED_PER_SECOND} packets "
        f"counter name explained redirect to :{port}",
        "\t}",
        *_base("explain_input", "input", "filter - 5"),
        # Only redirected connections may reach it.
        f'\t\tiifname != "lo" tcp dport {port} ct original proto-dst != {_ports(policy)} reject with tcp reset',
        "\t}",
    ]
    for hook in ("prerouting", "output") if policy.network.router_output else ("prerouting",):
        network = policy.network
        source = f"iifname {_names(network.lan)} " if hook == "prerouting" else f"oifname {_names(network.wan)} "
        lines += [
            *_denied(policy, hook),
            # Before the router's own port forwards. Only new connections come here.
            f"\tchain redirect_{hook} {{",
            f"\t\ttype nat hook {hook} priority -105; policy accept;",
            f"\t\ttcp dport {_ports(policy)} {source}jump denied_{hook}",
            "\t}",
        ]
    return lines


def _denied(policy: Policy, hook: str) -> list[str]:
    """A chain that explains denied connections: all in mode block, else a few of those of blocked devices."""
    going = ["\t\tgoto explain"]
    if hook == "prerouting":
        going.insert(0, f"\t\tfib daddr oifname != {_names(policy.network.wan)} return")
    chain = [*_PERMITTED, *_exempt("return"), *going, "\t}"]
    name = f"denied_{hook}"
    if policy.filter.mode == "block":
        return [f"\tchain {name} {{", *chain]
    if policy.filter.mode == "monitor" and hook == "prerouting":  # otherwise they were counted before conntrack
        chain = [f"\t\tupdate @explained {{ ether saddr limit rate over {_FEW} }} return", *chain]
    blocked = f"goto {name}_blocked"
    whom = _blocked(blocked) if hook == "prerouting" else [f"\t\t{_SWITCH} @{ROUTER_BLOCKED} {blocked}"]
    return [f"\tchain {name}_blocked {{", *chain, f"\tchain {name} {{", *whom, "\t}"]


def _names(interfaces: Iterable[str]) -> str:
    return _one_of([f'"{name}"' for name in interfaces])


def _ports(policy: Policy) -> str:
    return _one_of([str(port) for port in policy.network.ports])


def _one_of(values: list[str]) -> str:
    """One value is compared, several are a set: a comparison costs less than a look-up in a set of one."""
    return values[0] if len(values) == 1 else "{ " + ", ".join(values) + " }"
