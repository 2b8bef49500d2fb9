"""The chains that count submission (ports 465, 587, 2525) and mail that comes in from outside, as text.

Knows nft's language. Must not know what follows from a count. Nothing here drops, refuses or queues a packet, or shows
it to the filter: a program's own provider must always be reached (RFC 5068 section 3.1). Counts are elements of sets,
by MAC, with the kernel's counter, so a host without one (a link that is not Ethernet) is not counted.

A connection is counted with its first SYN, and its server if the device had no connection to it for a day. It is
answered if its second packet acknowledges, and short if the client ends it with at most `SHORT_PACKETS` and
`SHORT_BYTES`. These two need the kernel's count of a connection's packets and bytes (net.netfilter.nf_conntrack_acct,
which OpenWrt sets).

A device serves mail if it answers a connection from outside to one of the ports of mail: a SYN-ACK in the direction of
replies, so that a host of the home cannot make it up without one that connects from outside.
"""

from __future__ import annotations

from cpe_filter.enforce.ruleset_names import (
    DEVICES,
    FAMILIAR,
    FAMILIES,
    PAIR_S,
    SERVING,
    SHORT_BYTES,
    SHORT_PACKETS,
    SUBMISSION_PAIRS,
    SUBMISSION_S,
    SUBMISSIONS,
    SUBMITTED,
)
from cpe_filter.enforce.ruleset_parts import PERMITTED, SYN, exempt, one_of, quoted
from cpe_filter.policy.model import Policy

#: RFC 6409, RFC 8314; 2525 is what providers offer where networks block 587.
PORTS = (465, 587, 2525)
#: Where a mail server takes mail from outside.
SERVED = (25, 465, 587)
#: New servers of a device that are counted: many times what is reported, so that one device leaves room for others.
_NEW = "20/hour burst 100 packets"
#: Connections of all devices that the router does not know: their MACs can be made up.
_STRANGERS = "10/minute burst 60 packets"


def counting_sets() -> list[tuple[str, str, list[str]]]:
    """Name, type, and the other lines of each set."""
    size, hour, day = f"\t\tsize {DEVICES}", f"\t\ttimeout {SUBMISSION_S}s", f"\t\ttimeout {PAIR_S}s"
    pairs = [f"\t\tsize {SUBMISSION_PAIRS}", day]
    return [
        *((name, "type ether_addr", [size, hour, "\t\tcounter"]) for name in (*SUBMITTED, SERVING)),
        *((f"submission_pairs{f}", f"type ether_addr . ipv{f}_addr", pairs) for f, _ in FAMILIES),
        ("submission_new", "type ether_addr", [size, "\t\ttimeout 6h"]),
        # A connection that is counted, until it ends shortly.
        ("submission_opened", "typeof ct id", [f"\t\tsize {SUBMISSION_PAIRS}", "\t\ttimeout 10m"]),
    ]


def counting_chains(policy: Policy) -> list[str]:
    """What `counting_rules` jumps to."""
    if not policy.detect.submission:
        return []
    connections, servers, answered, short = SUBMITTED
    opened = "ct id @submission_opened"
    return [
        f"\tchain {SUBMISSIONS} {{",
        f"\t\t{SYN} goto submission_opening",
        "\t\ttcp flags & (syn | ack | fin | rst) == ack ct original packets 2 "
        f"{opened} update @{answered} {{ ether saddr }}",
        # A FIN comes again, or a RST behind it: each connection ends once.
        f"\t\ttcp flags & (fin | rst) != 0 ct original packets 1-{SHORT_PACKETS} ct original bytes 1-{SHORT_BYTES} "
        f"{opened} delete @submission_opened {{ ct id }} update @{short} {{ ether saddr }}",
        "\t}",
        "\tchain submission_opening {",
        f"\t\t{opened} return",  # a SYN that comes again
        *PERMITTED,
        *exempt("return"),
        f"\t\tether saddr != @{FAMILIAR} limit rate over {_STRANGERS} return",
        # If the set is full the rule ends at `add`: the connection is not counted. It is so with servers, below.
        f"\t\tadd @submission_opened {{ ct id }} update @{connections} {{ ether saddr }}",
        # Seen again: its day begins again.
        *(
            f"\t\tether saddr . {ip} daddr @submission_pairs{family} "
            f"update @submission_pairs{family} {{ ether saddr . {ip} daddr }} return"
            for family, ip in FAMILIES
        ),
        f"\t\tupdate @submission_new {{ ether saddr limit rate over {_NEW} }} return",
        *(
            f"\t\tadd @submission_pairs{family} {{ ether saddr . {ip} daddr }} update @{servers} {{ ether saddr }}"
            for family, ip in FAMILIES
        ),
        "\t}",
    ]


def counting_rules(policy: Policy) -> list[str]:
    """In the forward hook, for all TCP: two comparisons for a packet that has to do with neither."""
    lan, wan = quoted(policy.network.lan), quoted(policy.network.wan)
    rules = [
        f"\t\ttcp flags & (syn | ack) == (syn | ack) tcp sport {_ports(SERVED)} iifname {lan} oifname {wan} "
        f"ct direction reply update @{SERVING} {{ ether saddr }}"
    ]
    ports = [port for port in PORTS if port not in policy.network.ports]
    if policy.detect.submission and ports:
        rules.append(f"\t\tth dport {_ports(ports)} iifname {lan} oifname {wan} jump {SUBMISSIONS}")
    return rules


def _ports(ports: tuple[int, ...] | list[int]) -> str:
    return one_of([str(port) for port in ports])
