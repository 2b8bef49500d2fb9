"""The chains that redirect refused connections to the responder, as text.

Knows nft's language and the responder's port. Must not know how mail leaves that is not refused.
"""

from __future__ import annotations

from cpe_filter.enforce.ruleset_names import ALIVE, EXPLAINED_PER_SECOND, ROUTER_BLOCKED
from cpe_filter.enforce.ruleset_parts import (
    FEW,
    PERMITTED,
    SWITCH,
    base_chain,
    blocked,
    exempt,
    leaves_elsewhere,
    port_set,
    quoted,
)
from cpe_filter.policy.model import Policy


def responder_chains(policy: Policy, log: bool) -> list[str]:
    """The way to the responder. If it does not run, the router's own reset refuses.

    Without a filter the dialogue would not be observed. Then a reset refuses, too.
    """
    port = policy.explain.port
    # What is not redirected goes on, and is shown where the kernel refuses it, if the firewall lets it get there.
    show = ["\t\tjump observe_out"] if log else []
    lines = [
        "\tchain explain {",
        f"\t\t{SWITCH} != @{ALIVE} return",
        f"\t\tlimit rate over {EXPLAINED_PER_SECOND}/second burst {2 * EXPLAINED_PER_SECOND} packets return",
        *show,
        f"\t\tmeta l4proto tcp counter name explained redirect to :{port}",
        "\t}",
        *base_chain("explain_input", "input", "filter - 5"),
        # Only redirected connections may reach it.
        f'\t\tiifname != "lo" tcp dport {port} ct original proto-dst != {port_set(policy)} reject with tcp reset',
        "\t}",
    ]
    for hook in ("prerouting", "output") if policy.network.router_output else ("prerouting",):
        network = policy.network
        source = f"iifname {quoted(network.lan)} " if hook == "prerouting" else f"oifname {quoted(network.wan)} "
        lines += [
            *_denied(policy, hook),
            # Before the router's own port forwards. Only new connections come here.
            f"\tchain redirect_{hook} {{",
            f"\t\ttype nat hook {hook} priority -105; policy accept;",
            f"\t\ttcp dport {port_set(policy)} {source}jump denied_{hook}",
            "\t}",
        ]
    return lines


def _denied(policy: Policy, hook: str) -> list[str]:
    """A chain that explains denied connections: all in mode block, else a few of those of blocked devices."""
    going = ["\t\tgoto explain"]
    if hook == "prerouting":
        going = [*leaves_elsewhere(policy), *going]
    chain = [*PERMITTED, *exempt("return"), *going, "\t}"]
    name = f"denied_{hook}"
    if policy.filter.mode == "block":
        return [f"\tchain {name} {{", *chain]
    if policy.filter.mode == "monitor" and hook == "prerouting":  # otherwise they were counted before
        chain = [f"\t\tupdate @explained {{ ether saddr limit rate over {FEW} }} return", *chain]
    target = f"goto {name}_blocked"
    whom = blocked(target) if hook == "prerouting" else [f"\t\t{SWITCH} @{ROUTER_BLOCKED} {target}"]
    return [f"\tchain {name}_blocked {{", *chain, f"\tchain {name} {{", *whom, "\t}"]
