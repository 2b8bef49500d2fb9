"""The chains that lead a compromised device's plain HTTP to the notice, as text.

Knows nft's language, the notice's port, and the set of devices that the filter fills. Must not know why a device is in
it. Only new connections to TCP port 80 of the Internet are led away, before the routing; HTTPS, other ports, the router
and the home's own hosts are not touched. What fails, fails to the side of the Internet: without the server's switch,
which the filter refreshes only while the server answers, HTTP goes where it was meant to. So does what is more than the
server should have to answer. A firewall that refuses the server's port to a network cannot be overruled from here, as
each base chain may refuse. So a device that our input chain lets in, and that does not arrive behind all others, is in
a set: its HTTP passes for an hour, then one connection tries it again.

A device in quarantine reaches the router, DNS servers and helpful addresses. Its HTTP leads to the notice, also that
which would leave by an interface that is not watched (a VPN), because that is refused, too. All else is
refused at once, before the firewall's own rules, so that nothing of it is offloaded. Its element lasts for a minute and
is refreshed by the filter, so if the filter is gone the device is released.

The frames of a client are noted, because an address alone does not say which device it is: a neighbour can claim any
by ARP.
"""

from __future__ import annotations

from cpe_filter.enforce.ruleset_names import (
    FAMILIES,
    HELPFUL,
    HELPFUL_NAMES,
    LAST,
    NOTICE_CLIENTS,
    NOTICE_SERVED,
    NOTICE_SHUT,
    NOTICED,
    NOTICED_PER_SECOND,
    QUARANTINED,
    QUESTIONS_PER_SECOND,
    SERVED_PER_SECOND,
)
from cpe_filter.enforce.ruleset_parts import REDIRECTED, SWITCH, base_chain, leaves_elsewhere, one_of, quoted
from cpe_filter.enforce.ruleset_sets import PRIVATE4, PRIVATE6
from cpe_filter.policy.model import Policy

_PORT, _DNS = 80, 53


def notice_chains(policy: Policy) -> list[str]:
    port, lan = policy.notice.show_port, quoted(policy.network.lan)
    over = f"limit rate over {NOTICED_PER_SECOND}/second burst {4 * NOTICED_PER_SECOND} packets"
    all_over = f"limit rate over {SERVED_PER_SECOND}/second burst {2 * SERVED_PER_SECOND} packets"
    return [
        "\tchain to_notice {",
        f"\t\tether saddr @{NOTICE_SHUT} return",
        *(_helpful(f"ether saddr @{QUARANTINED} ") if policy.notice.quarantine else []),
        f"\t\tip daddr {one_of(list(PRIVATE4))} return",
        f"\t\tip6 daddr {one_of(list(PRIVATE6))} return",
        *([f"\t\tether saddr @{QUARANTINED} goto held_to_notice"] if policy.notice.quarantine else []),
        *leaves_elsewhere(policy),
        "\t\tgoto lead_to_notice",
        "\t}",
        "\tchain lead_to_notice {",
        f"\t\tupdate @led_rate {{ ether saddr {over} }} return",
        f"\t\t{all_over} return",
        f"\t\tmeta l4proto tcp counter name led redirect to :{port}",
        "\t}",
        # Before the router's own port forwards. Only new connections come here.
        "\tchain notice_prerouting {",
        "\t\ttype nat hook prerouting priority -105; policy accept;",
        f"\t\ttcp dport {_PORT} iifname {lan} ether saddr @{NOTICED} {SWITCH} @{NOTICE_SERVED} jump to_notice",
        "\t}",
        # People of the home may open it at the router's address, too.
        *base_chain("notice_input", "input", "filter - 5"),
        f"\t\ttcp dport {port} ct state new jump at_notice",
        # Each packet counts, also one with an answer. Only who has made the handshake gets a place.
        *(
            f"\t\ttcp dport {port} ct state established iifname {lan} "
            f"update @{NOTICE_CLIENTS}{family} {{ {ip} saddr . ether saddr }}"
            for family, ip in FAMILIES
        ),
        "\t}",
        "\tchain at_notice {",
        f"\t\tiifname != {quoted(policy.network.lan, ['lo'])} reject with tcp reset",
        # Those that were led here have been counted.
        f"\t\t{REDIRECTED} goto enters_notice",
        f"\t\tupdate @served_rate {{ ether saddr {over} }} drop",
        f"\t\t{all_over} drop",
        "\t\tgoto enters_notice",
        "\t}",
        "\tchain enters_notice {",
        f"\t\tadd @{NOTICE_SHUT} {{ ether saddr }}",
        "\t}",
        # Behind the firewall.
        *base_chain("notice_entered", "input", str(LAST)),
        f"\t\ttcp dport {port} ct state new iifname {lan} delete @{NOTICE_SHUT} {{ ether saddr }}",
        "\t}",
        *(_quarantine(policy) if policy.notice.quarantine else []),
    ]


def _helpful(condition: str = "") -> list[str]:
    names = (HELPFUL, HELPFUL_NAMES)
    return [f"\t\t{condition}{ip} daddr @{name}{family} return" for name in names for family, ip in FAMILIES]


def _quarantine(policy: Policy) -> list[str]:
    """What a device in quarantine sends out of the home. Answers alone bring nothing, so they need no rule."""
    lan, few = quoted(policy.network.lan), f"{QUESTIONS_PER_SECOND}/second burst {5 * QUESTIONS_PER_SECOND} packets"
    return [
        # Whichever way out it would take, it would be refused there; so only what stays in the home passes.
        "\tchain held_to_notice {",
        "\t\tfib daddr type local return",
        f"\t\tfib daddr . mark oifname {lan} return",
        "\t\tgoto lead_to_notice",
        "\t}",
        *base_chain("quarantine_forward", "forward", "filter - 5"),
        f"\t\tether saddr @{QUARANTINED} iifname {lan} oifname != {lan} goto in_quarantine",
        "\t}",
        "\tchain in_quarantine {",
        f"\t\tip daddr {one_of(list(PRIVATE4))} return",
        f"\t\tip6 daddr {one_of(list(PRIVATE6))} return",
        *_helpful(),
        # Systems ask their own resolvers before they look for a notice. The rate keeps a tunnel, or a flood, small.
        f"\t\tmeta l4proto {{ tcp, udp }} th dport {_DNS} update @questions {{ ether saddr limit rate {few} }} return",
        "\t\tmeta l4proto tcp counter name quarantine reject with tcp reset",
        "\t\tcounter name quarantine reject with icmpx type admin-prohibited",
        "\t}",
    ]
