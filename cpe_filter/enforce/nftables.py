"""policy -> ruleset, and how it gets into the kernel and out again.

Knows nft's and iptables' language. Must not know packets, devices' standings or the queue's loop. Four verbs:
`find_handoff`, `install`, `remove`, `render`. Commands are run without a shell; data reaches nft on its
standard input.

The ruleset has three stages, behind the router's own firewall (priority filter): *classify* picks the packets that need
a decision, *hand-off* queues them, *verdict* carries out what came back as a packet mark: a ct mark for a
connection that is decided, an element of `blocked` for a device. No process is started on the way of a packet.
Their priorities, 40 and 160, enclose iptables' table `security`, which is at 50 or 150 depending on its version.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Network, collapse_addresses

from cpe_filter.policy import Network, Policy

TABLE = "cpe_filter"
CHAIN = "CPE_FILTER"

#: The bits of packet and connection marks that are ours; mwan3 uses 0x3f00, pbr 0xff0000, qosify none.
MARK_MASK = 0x0F000000
HAND_OFF, DONE, REFUSED, BLOCKED = 0x01000000, 0x02000000, 0x03000000, 0x04000000
_REST = 0xFFFFFFFF ^ MARK_MASK

NATIVE, XTABLES = "nft queue", "xtables NFQUEUE through iptables-nft"

#: IPv4: RFC 1918, RFC 6598, RFC 3927, loopback. IPv6: RFC 4193, link-local, loopback.
PRIVATE4 = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
PRIVATE6 = ("::1/128", "fc00::/7", "fe80::/10")

_TIMEOUT_S = 20


class KernelError(RuntimeError):
    """The kernel, nft or iptables would not do it; the text says which and why."""


def render(policy: Policy, handoff: str) -> str:
    """The whole ruleset, to be loaded in one transaction; replaces an earlier one."""
    lines = [
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
        *_sets(policy),
        *_early(policy),
        *_classify(policy, handoff),
        *_verdict(policy),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _sets(policy: Policy) -> list[str]:
    lines: list[str] = []
    for family, networks in _by_family(policy.relays).items():
        lines += _set(f"relays{family}", f"ipv{family}_addr", "interval", networks)
    private = (PRIVATE4, PRIVATE6) if policy.private_destinations == "pass" else ((), ())
    lines += _set("private4", "ipv4_addr", "interval", private[0])
    lines += _set("private6", "ipv6_addr", "interval", private[1])
    anywhere = [rule.device.hex(":") for rule in policy.exempt if rule.device and not rule.destination]
    lines += _set("exempt_devices", "ether_addr", "", dict.fromkeys(anywhere))
    from_any = [rule.destination for rule in policy.exempt if rule.destination and not rule.device]
    for family, networks in _by_family(from_any).items():
        lines += _set(f"exempt{family}", f"ipv{family}_addr", "interval", networks)
    lines += [
        "\tset blocked {",
        "\t\ttype ether_addr",
        "\t\tsize 1024",
        "\t\tflags dynamic,timeout",
        "\t}",
        *(f"\tcounter {name} {{ }}" for name in ("queued", "refused", "blocked")),
    ]
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


def _early(policy: Policy) -> list[str]:
    """A blocked device's packets end before conntrack hears of them; relays and exemptions excepted."""
    pairs = []
    for rule in policy.exempt:
        if rule.device and rule.destination:
            family = "ip" if rule.destination.version == 4 else "ip6"
            pairs.append(f"\t\tether saddr {rule.device.hex(':')} {family} daddr {rule.destination} return")
    return [
        "\tchain early {",
        "\t\ttype filter hook prerouting priority raw; policy accept;",
        f"\t\tiifname {_names(policy.lan)} tcp dport {_ports(policy)} ether saddr @blocked jump blocked_device",
        "\t}",
        "\tchain blocked_device {",
        "\t\tfib daddr type local return",
        "\t\tip daddr @relays4 return",
        "\t\tip6 daddr @relays6 return",
        "\t\tip daddr @private4 return",
        "\t\tip6 daddr @private6 return",
        "\t\tether saddr @exempt_devices return",
        "\t\tip daddr @exempt4 return",
        "\t\tip6 daddr @exempt6 return",
        *pairs,
        "\t\tcounter name blocked reject with tcp reset",
        "\t}",
    ]


def _classify(policy: Policy, handoff: str) -> list[str]:
    lan, wan = _names(policy.lan), _names(policy.wan)
    mail = f"meta l4proto tcp ct original proto-dst {_ports(policy)}"
    if handoff == NATIVE:
        bypass = "flags bypass " if policy.fail == "open" else ""
        queue = f"counter name queued queue {bypass}to {policy.queue}"
    else:
        queue = f"counter name queued meta mark set meta mark & {_REST:#010x} | {HAND_OFF:#010x}"
    router = [
        "\tchain classify_output {",
        "\t\ttype filter hook output priority filter + 40; policy accept;",
        f"\t\toifname {wan} {mail} ct direction original jump inspect",
        "\t}",
        "\tchain classify_input {",
        "\t\ttype filter hook input priority filter + 40; policy accept;",
        f"\t\tiifname {wan} {mail} ct direction reply jump inspect",
        "\t}",
    ]
    return [
        "\tchain classify_forward {",
        "\t\ttype filter hook forward priority filter + 40; policy accept;",
        f"\t\tiifname {lan} oifname {wan} {mail} ct direction original jump inspect",
        f"\t\tiifname {wan} oifname {lan} {mail} ct direction reply jump inspect",
        "\t}",
        *(router if policy.router_output else []),
        "\tchain inspect {",
        "\t\tct original ip daddr @relays4 return",
        "\t\tct original ip6 daddr @relays6 return",
        "\t\tct original ip daddr @private4 return",
        "\t\tct original ip6 daddr @private6 return",
        f"\t\tct mark & {MARK_MASK:#010x} == {REFUSED:#010x} counter name refused reject with tcp reset",
        f"\t\tct mark & {MARK_MASK:#010x} == {DONE:#010x} tcp flags & (fin | rst) == 0 return",
        # Pure acknowledgements, told by exact header lengths (with timestamps, without, with one SACK block); no
        # payload fits in these. Plain rules: as a concatenated set they crash `nft list` of nft 1.0.6.
        *(
            f"\t\tip hdrlength 5 ip length {20 + 4 * doff} tcp doff {doff} tcp flags & (syn | fin | rst) == 0 return"
            for doff in (8, 5, 11)
        ),
        *(
            f"\t\tip6 nexthdr tcp ip6 length {4 * doff} tcp doff {doff} tcp flags & (syn | fin | rst) == 0 return"
            for doff in (8, 5, 11)
        ),
        f"\t\t{queue}",
        "\t}",
    ]


def _verdict(policy: Policy) -> list[str]:
    def marked(value: int) -> str:
        return f"meta mark & {MARK_MASK:#010x} == {value:#010x}"

    def keep(value: int) -> str:
        return f"ct mark set ct mark & {_REST:#010x} | {value:#010x}"

    clean = f"meta mark set meta mark & {_REST:#010x}"
    hooks = ("forward", "output", "input") if policy.router_output else ("forward",)
    lines = []
    for hook in hooks:
        lines += [
            f"\tchain verdict_{hook} {{",
            f"\t\ttype filter hook {hook} priority filter + 160; policy accept;",
            f"\t\tmeta mark & {MARK_MASK:#010x} != 0 jump verdict",
            "\t}",
        ]
    # Only what came in from the LAN carries the device's address: a server's packet carries its router's.
    names = _names(policy.lan)
    return [
        "\tchain verdict {",
        f"\t\t{marked(BLOCKED)} iifname {names} add @blocked {{ ether saddr timeout {policy.block_minutes}m }}",
        f"\t\t{marked(BLOCKED)} {keep(REFUSED)} counter name refused reject with tcp reset",
        f"\t\t{marked(REFUSED)} {keep(REFUSED)} counter name refused reject with tcp reset",
        f"\t\t{marked(DONE)} {keep(DONE)}",
        f"\t\t{clean}",
        "\t}",
        *lines,
    ]


def _names(interfaces: Iterable[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in interfaces) + " }"


def _ports(policy: Policy) -> str:
    return "{ " + ", ".join(str(port) for port in policy.ports) + " }"


# ── the kernel ──────────────────────────────────────────────────────────────────────────────────────


def find_handoff(policy: Policy) -> str:
    """NATIVE where nft and the kernel can queue, else XTABLES. Raises `KernelError` where neither works."""
    nft = program("nft")
    if nft is None:
        raise KernelError("nft is not installed (package nftables)")
    chain = f"chain c {{ type filter hook forward priority 0; queue to {policy.queue}; }}"
    probe = f"table inet {TABLE}_probe {{ {chain}; }}\n"  # without the semicolon behind it nft 1.0.6 sees no end
    first = _nft(probe, check=True)
    if not first:
        return NATIVE
    if "Operation not permitted" in first:
        raise KernelError("nft may not change the ruleset: the capability CAP_NET_ADMIN is missing")
    if program("iptables-nft") is None or program("ip6tables-nft") is None:
        raise KernelError(
            "the kernel has no nft queue (kmod-nft-queue), and iptables-nft is not installed to do without"
        )
    return XTABLES


def install(policy: Policy, handoff: str) -> None:
    """Loads the ruleset, replacing an earlier one. All or nothing; raises `KernelError`."""
    error = _nft(render(policy, handoff))
    if error:
        raise KernelError(f"nft refused the ruleset: {error}")
    if handoff != XTABLES:
        return
    try:
        for tables in ("iptables-nft", "ip6tables-nft"):
            _hook_xtables(tables, policy)
    except KernelError:
        remove(handoff)
        raise


def remove(handoff: str) -> None:
    """Takes everything out again; what is not there is no error."""
    if handoff == XTABLES:
        for tables, family in (("iptables-nft", "ip"), ("ip6tables-nft", "ip6")):
            for hook in _HOOKS:
                while not _call(tables, "-w", "-t", "security", "-D", hook, "-j", CHAIN):
                    pass
            _call(tables, "-w", "-t", "security", "-F", CHAIN)
            _call(tables, "-w", "-t", "security", "-X", CHAIN)
            rules = _output(tables, "-w", "-t", "security", "-S").splitlines()
            _remove_unused(family, rules)
    _nft(f"table inet {TABLE}\ndelete table inet {TABLE}\n")


_HOOKS = ("FORWARD", "OUTPUT", "INPUT")


def _remove_unused(family: str, rules: list[str]) -> None:
    """iptables left base chains without rules, and perhaps a table of nothing else: as if we had never been there."""
    used = {rule.split()[1] for rule in rules if not (rule.startswith("-P ") and rule.endswith(" ACCEPT"))}
    if rules and not used:
        _call("nft", "delete", "table", family, "security")
        return
    for hook in _HOOKS:
        if hook not in used:
            _call("nft", "delete", "chain", family, "security", hook)


def _hook_xtables(tables: str, policy: Policy) -> None:
    """The hand-off where nft has no queue: one rule in iptables' table `security`, behind filter, hardly ever used."""
    mark = f"{HAND_OFF:#x}/{MARK_MASK:#x}"
    bypass = ["--queue-bypass"] if policy.fail == "open" else []
    _call(tables, "-w", "-t", "security", "-N", CHAIN)
    queue = ["-m", "mark", "--mark", mark, "-j", "NFQUEUE", "--queue-num", str(policy.queue), *bypass]
    for arguments in (["-F", CHAIN], ["-A", CHAIN, *queue]):
        error = _call(tables, "-w", "-t", "security", *arguments)
        if error:
            raise KernelError(f"{tables} refused the hand-off to the queue: {error}")
    for hook in _HOOKS:
        if _call(tables, "-w", "-t", "security", "-C", hook, "-j", CHAIN):
            error = _call(tables, "-w", "-t", "security", "-A", hook, "-j", CHAIN)
            if error:
                raise KernelError(f"{tables} refused the hand-off to the queue: {error}")


def program(name: str) -> str | None:
    """Where a program is, looking where administrators' programs are as well."""
    for folder in (*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin"):
        path = os.path.join(folder, name)
        if folder and os.access(path, os.X_OK):
            return path
    return None


def _nft(ruleset: str, check: bool = False) -> str:
    return _call("nft", *(["-c"] if check else []), "-f", "-", given=ruleset)


def _call(name: str, *arguments: str, given: str = "") -> str:
    """Runs a program; "" where it succeeded, else the first line that says why not."""
    try:
        done = subprocess.run(
            [program(name) or name, *arguments],
            input=given.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        return f"{name} is not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{name}: {error}"
    if not done.returncode:
        return ""
    lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[0].strip() if lines else f"{name} failed with {done.returncode}"


def _output(name: str, *arguments: str) -> str:
    try:
        done = subprocess.run([program(name) or name, *arguments], capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
