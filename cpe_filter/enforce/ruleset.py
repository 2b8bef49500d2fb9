"""policy -> ruleset, as text: the chains through which mail passes. Names, sets and shared parts are next door.

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

from collections.abc import Sequence

from cpe_filter.enforce.ruleset_names import (
    ALIVE,
    CONTENT,
    ELSEWHERE,
    ENDS,
    FAMILIAR,
    FAMILIES,
    HAND_OFF,
    KNOWN,
    LAST,
    LIMITED,
    MARKED,
    NATIVE,
    REFUSED,
    REFUSED_NEW,
    ROUTER_BLOCKED,
    STRANGERS_PER_SECOND,
    SYNS_MORE,
    TABLE,
    UNLISTED,
    UNWATCHED,
)
from cpe_filter.enforce.ruleset_notice import notice_chains
from cpe_filter.enforce.ruleset_parts import (
    ACKS,
    EARLY,
    FEW,
    NO_END,
    PERMITTED,
    PERMITTED_BACK,
    REDIRECTED,
    SWITCH,
    SYN,
    acknowledgements,
    base_chain,
    blocked,
    connection,
    exempt,
    leaves_elsewhere,
    limited_devices,
    port_set,
    quoted,
)
from cpe_filter.enforce.ruleset_responder import responder_chains
from cpe_filter.enforce.ruleset_sets import sets, static_sets
from cpe_filter.enforce.ruleset_submission import counting_chains, counting_rules
from cpe_filter.policy.model import Policy


def render(policy: Policy, handoff: str, log: bool = True) -> str:
    """The ruleset, to be loaded in one transaction; replaces an earlier one. log: the kernel has NFLOG."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\n" + _table(policy, handoff, log)


def replacement(policy: Policy, handoff: str, log: bool = True, chains: Sequence[str] = ()) -> str:
    """The same, to replace a running ruleset: the filled sets, the counters and the base chains stay.

    If a base chain is removed, even to add it again, the kernel drops all packets that wait in a queue. chains: all of
    the running ruleset, to leave its way to the queue as it is; none: it is replaced, too.
    """
    static = [name for name, *_ in static_sets(policy)]
    declared = [f"table inet {TABLE} {{", *sets(policy), "}"]
    flushed = [f"flush chain inet {TABLE} {name}" for name in chains if name != HAND_OFF]
    flushed = flushed or [f"flush table inet {TABLE}"]
    flushed += [f"flush set inet {TABLE} {name}" for name in static]
    return "\n".join(declared + flushed) + "\n" + _table(policy, "" if chains else handoff, log)


def _table(policy: Policy, handoff: str, log: bool) -> str:
    """handoff: "" if the way to the queue is there."""
    lines = [
        f"table inet {TABLE} {{",
        *sets(policy),
        *_observe(policy, log),
        *(_hand_off(policy, handoff) if handoff else []),
        *_refusals(),
        *([] if policy.filter.mode == "monitor" else _early(policy)),
        *(_leaving_block(policy, log) if policy.filter.mode == "block" else _leaving(policy, log)),
        *_returning(),
        *_unwatched(policy),
        *counting_chains(policy),
        *_hooks(policy, log),
        *(responder_chains(policy, log) if policy.filter.refusal == "explain" else []),
        *(notice_chains(policy) if policy.notice.show != "off" else []),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _observe(policy: Policy, log: bool) -> list[str]:
    """Packets that are shown to the filter and go on at once."""
    over = f"limit rate over {policy.filter.queue_rate}/second burst {2 * policy.filter.queue_rate} packets"
    # In the queue a packet would wait for a filter that hangs. In fail closed that is intended.
    dead = [f"\t\t{SWITCH} != @{ALIVE} return"] if policy.filter.fail == "open" else []
    show = [f"\t\tcounter name observed log group {policy.filter.queue}"] if log else [*dead, f"\t\tgoto {HAND_OFF}"]
    return [
        # Filled below; declared here for the chains that jump to it.
        f"\tchain {HAND_OFF} {{",
        "\t}",
        "\tchain show_out {",
        f"\t\tupdate @guard {{ ether saddr {over} }} counter name unobserved return",
        *show,
        "\t}",
        "\tchain acknowledged {",
        f"\t\t{EARLY} goto show_out",
        "\t}",
        "\tchain observe_out {",
        *acknowledgements("goto acknowledged"),
        *connection(CONTENT, "return", NO_END),
        *connection(ENDS, "return", NO_END),
        "\t\tgoto show_out",
        "\t}",
        "\tchain observe_in {",
        *connection(ENDS, "return", NO_END, back=True),
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
        *exempt("return"),
        *refuse("limited"),
        "\t}",
        # Entered by a jump: permitted and exempt packets return.
        "\tchain blocked_device {",
        *PERMITTED,
        *exempt("return"),
        *refuse("blocked"),
        "\t}",
    ]


# ── new connections, before routing ─────────────────────────────────────────────────────────────────


def _early(policy: Policy) -> list[str]:
    """Floods, and a blocked device's connections, end before they are routed; permitted ones go on.

    Conntrack's table only takes what leaves. Other programs have set the marks that decide the route before. In mode
    monitor all pass, so nothing needs a guard, and one chain more would cost time for all the home's traffic.
    """
    # A device with more SYNs than this cannot be within its limit.
    limits, explains = policy.limits, policy.filter.refusal == "explain"
    rate = f"{1 + limits.connections_per_hour // 1800}/second burst {limits.connections_burst + SYNS_MORE} packets"
    strangers = f"{STRANGERS_PER_SECOND}/second burst {2 * STRANGERS_PER_SECOND} packets"
    return [
        *base_chain("early", "prerouting", str(MARKED)),
        # In this order nearly all packets, which do not begin a connection, leave after a few steps.
        f"\t\t{SYN} tcp dport {port_set(policy)} iifname {quoted(policy.network.lan)} jump early_syn",
        "\t}",
        "\tchain early_syn {",
        *PERMITTED,
        *exempt("return"),
        *leaves_elsewhere(policy),
        *blocked("goto early_blocked"),
        f"\t\tupdate @syns {{ ether saddr limit rate over {rate} }} goto limited_device",
        f"\t\tether saddr != @{FAMILIAR} limit rate over {strangers} counter name flooded drop",
        "\t}",
        "\tchain early_blocked {",
        *([f"\t\tupdate @explained {{ ether saddr limit rate {FEW} }} return"] if explains else []),
        "\t\tgoto blocked_device",
        "\t}",
    ]


# ── mail on its way out ─────────────────────────────────────────────────────────────────────────────


def _leaving_block(policy: Policy, log: bool) -> list[str]:
    """Mode block: refuses what no rule admits. Needs no filter."""
    show = [f"\t\t{SYN} jump observe_out"] if log else []
    return ["\tchain leaving {", *PERMITTED, *exempt("goto observe_out"), *show, "\t\tgoto refuse", "\t}"]


def _leaving(policy: Policy, log: bool) -> list[str]:
    """Modes monitor and limit: blocked devices are refused; packets of others are shown, or wait for a verdict."""
    closed, limit = policy.filter.fail == "closed", policy.filter.mode == "limit"
    opening = ["\t\tgoto ask"] if limit or closed else [*limited_devices("ask"), "\t\tgoto observe_out"]
    running = ["\t\tgoto running"] if limit else [*limited_devices("running"), "\t\tgoto observe_out"]
    pairs = []
    if not limit:
        pairs = [f"\t\tether saddr . {ip} daddr @{KNOWN}{family} goto known" for family, ip in FAMILIES]
    over = f"limit rate over {policy.filter.queue_rate}/second burst {2 * policy.filter.queue_rate} packets"
    return [
        "\tchain known {",
        "\t\tupdate @quiet { ct id } counter name known",
        "\t}",
        "\tchain leaving {",
        *blocked("jump blocked_device"),
        *PERMITTED,
        *exempt("goto observe_out"),
        *([f"\t\t{SWITCH} != @{ALIVE} goto refuse"] if closed else []),
        f"\t\t{SYN} goto opening",
        *connection(REFUSED, "goto refuse"),
        *running,
        "\t}",
        # Each SYN is decided separately, because conntrack may have forgotten the connection of an earlier decision.
        "\tchain opening {",
        *connection(REFUSED_NEW, "goto refuse"),
        *pairs,
        "\t\tdelete @quiet { ct id }",
        *opening,
        "\t}",
        "\tchain running {",
        *acknowledgements("goto acknowledged"),
        *connection(CONTENT, "return", NO_END),
        *connection(ENDS, "return", NO_END),
        "\t\tgoto ask",
        "\t}",
        "\tchain ask {",
        *([] if closed else [f"\t\t{SWITCH} != @{ALIVE} return"]),
        f"\t\t{SYN} ether saddr @{LIMITED} goto limited_device",
        f"\t\tupdate @guard {{ ether saddr {over} }} goto guarded",
        # Packets that were shown earlier must reach the filter first: a log entry of one byte ends the collecting.
        *([f"\t\tlog group {policy.filter.queue} snaplen 1 queue-threshold 1"] if log else []),
        f"\t\tjump {HAND_OFF}",
        # Reached only if another program has emptied that chain: a queue ends the rules, with a holder or without.
        "\t\tcounter name undecided drop",
        "\t}",
        # Beyond the rate for the filter: a SYN is refused; the others are dropped and sent again later.
        "\tchain guarded {",
        f"\t\t{SYN} goto limited_device",
        "\t\tcounter name undecided drop",
        "\t}",
    ]


# ── mail's answers ──────────────────────────────────────────────────────────────────────────────────


def _returning() -> list[str]:
    return [
        "\tchain returning {",
        *ACKS,  # first: while a client sends, nearly all packets of the server are these
        *PERMITTED_BACK,
        *connection(REFUSED, "goto refuse", back=True),
        "\t\tgoto observe_in",
        "\t}",
    ]


def _unwatched(policy: Policy) -> list[str]:
    """Mail that is not watched is counted once for each connection, and left alone.

    It leaves by an interface that is not in the policy, or comes from a network that is not.
    """
    lines = [
        "\tchain unlisted {",
        f"\t\tiifname {quoted(policy.network.wan)} return",
        f"\t\toifname {quoted(policy.network.wan)} goto unlisted_network",
        "\t}",
    ]
    for chain, name, interface in (("unwatched", UNWATCHED, "oifname"), ("unlisted_network", UNLISTED, "iifname")):
        lines += [
            f"\tchain {chain} {{",
            *PERMITTED,
            f"\t\tct id @{ELSEWHERE} update @{ELSEWHERE} {{ ct id }} return",
            f"\t\tupdate @{ELSEWHERE} {{ ct id }} goto {chain}_connection",
            # Reached only if that set is full.
            f"\t\t{SYN} goto {chain}_connection",
            "\t}",
            f"\tchain {chain}_connection {{",
            *(f"\t\tmeta nfproto ipv{family} update @{name}{family} {{ {interface} }}" for family, _ in FAMILIES),
            "\t}",
        ]
    return lines


def _hooks(policy: Policy, log: bool) -> list[str]:
    """The hooks for mail, behind the firewall's own chains, so packets that these drop are not seen."""
    lan, wan, ports = quoted(policy.network.lan), quoted(policy.network.wan), port_set(policy)
    # First, and cheap: most mail is between a clear device and a server that it has met. When a standing rises, these
    # sets are emptied, so it does not have to be looked up here.
    quiet = []
    if policy.filter.mode == "monitor":
        lives = f" {SWITCH} @{ALIVE}" if policy.filter.fail == "closed" else ""
        quiet = [f"\t\tct id @quiet{lives} return"]
    home = quoted(policy.network.lan, ["lo"])
    explained = policy.filter.refusal == "explain" and log
    output, arriving = [], []
    if policy.network.router_output:
        output = [
            f"\t\ttcp dport {ports} oifname {wan} {SWITCH} @{ROUTER_BLOCKED} jump blocked_device",
            f"\t\ttcp dport {ports} oifname {wan} jump leaving",
            f"\t\ttcp dport {ports} oifname != {quoted(policy.network.lan, policy.network.wan, ['lo'])} jump unwatched",
        ]
        arriving = [f"\t\ttcp sport {ports} ct id != @{ELSEWHERE} iifname != {home} jump returning"]
    if explained:
        output.append(f"\t\ttcp sport {policy.explain.port} {REDIRECTED} jump explained_back")
        arriving.append(f"\t\ttcp dport {policy.explain.port} {REDIRECTED} jump observe_out")
    return [
        "\tchain forward_out {",
        *quiet,
        f"\t\tiifname != {lan} goto unlisted",
        f"\t\toifname {wan} ct id @{ELSEWHERE} delete @{ELSEWHERE} {{ ct id }}",
        f"\t\toifname {wan} goto leaving",
        f"\t\toifname != {lan} goto unwatched",
        "\t}",
        # Answers may come in by any interface: only the way out is watched.
        "\tchain forward_in {",
        "\t\tct id @quiet return",
        f"\t\tct id @{ELSEWHERE} return",
        f"\t\tiifname != {lan} oifname {lan} goto returning",
        "\t}",
        *(["\tchain explained_back {", *ACKS, "\t\tgoto observe_in", "\t}"] if explained else []),
        *base_chain("forward", "forward", str(LAST)),
        # The protocol is compared once, not with each port.
        "\t\tmeta l4proto != tcp return",
        f"\t\tth dport {ports} jump forward_out",
        f"\t\tth sport {ports} jump forward_in",
        *counting_rules(policy),
        "\t}",
        *([*base_chain("output", "output", str(LAST)), *output, "\t}"] if output else []),
        *([*base_chain("input", "input", str(LAST)), *arriving, "\t}"] if arriving else []),
    ]
