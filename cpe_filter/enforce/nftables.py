"""The ruleset into the kernel and out again.

Knows nft's and iptables' programs and what they say; what is in the ruleset is ruleset's matter. Must not know packets,
devices' standings or the queue's loop. Verbs: `find_handoff`, `install`, `update`, `release`, `remove`. Data reaches
nft on its standard input.
"""

from __future__ import annotations

from cpe_filter.enforce import command
from cpe_filter.enforce.ruleset import (
    HAND_OFF,
    MARK_MASK,
    NATIVE,
    TABLE,
    XTABLES,
    XTABLES_CHAIN,
    XTABLES_TABLE,
    render,
    replacement,
)
from cpe_filter.policy import Policy

#: What the hand-off through xtables takes; the package iptables has all four.
_XTABLES_PROGRAMS = ("iptables-nft", "ip6tables-nft", "iptables-nft-restore", "ip6tables-nft-restore")
_HOOKS = ("PREROUTING", "POSTROUTING", "OUTPUT", "INPUT")


class KernelError(RuntimeError):
    """The kernel, nft or iptables would not do it; the text says which and why."""


def find_handoff(policy: Policy) -> str:
    """NATIVE where nft and the kernel can queue, else XTABLES. Raises `KernelError` where neither works."""
    if command.find("nft") is None:
        raise KernelError("nft is not installed (package nftables)")
    chain = f"chain c {{ type filter hook forward priority 0; queue to {policy.queue}; }}"
    probe = f"table inet {TABLE}_probe {{ {chain}; }}\n"  # without the semicolon behind it nft 1.0.6 sees no end
    first = _nft(probe, check=True)
    if not first:
        return NATIVE
    if "Operation not permitted" in first:
        raise KernelError("nft may not change the ruleset: the capability CAP_NET_ADMIN is missing")
    if any(command.find(name) is None for name in _XTABLES_PROGRAMS):
        raise KernelError(
            "the kernel has no nft queue (kmod-nft-queue), and iptables-nft is not installed to do without"
        )
    return XTABLES


def install(policy: Policy, handoff: str) -> None:
    """Loads the ruleset, replacing an earlier one. All or nothing; raises `KernelError`.

    In fail closed where there was one before, and xtables refuses: all but its part, and mail is dropped.
    """
    closed = handoff == XTABLES and policy.fail == "closed" and not _call("nft", "list", "table", "inet", TABLE)
    error = _nft(render(policy, handoff))
    if error:
        raise KernelError(f"nft refused the ruleset: {error}")
    if handoff != XTABLES:
        return
    try:
        for tables in ("iptables-nft", "ip6tables-nft"):
            _hook_xtables(tables, policy)
    except KernelError:
        if not closed:
            remove(handoff)
        raise


def update(policy: Policy, handoff: str) -> None:
    """Loads the ruleset of another policy, running connections undisturbed. All or nothing; raises `KernelError`.

    What the kernel has learnt (`blocked`) and counted stays. The queue's number and `fail` must be those of `install`.
    """
    if _nft(replacement(policy, handoff)):
        install(policy, handoff)  # from another version's table there may be no way but anew


def release(mac: bytes) -> str:
    """The kernel refuses this device's connections by itself no more. "" or why not."""
    element = f"{{ {mac.hex(':')} }}"
    verbs = [f"{verb} element inet {TABLE} {name} {element}" for name in ("blocked", "limited") for verb in _ANYHOW]
    return _nft("\n".join(verbs) + "\n")


#: So that it does not matter whether it is there: deleting what is not is an error.
_ANYHOW = ("add", "delete")


def remove(handoff: str) -> None:
    """Takes everything out again; what is not there is no error."""
    if handoff == XTABLES:
        for tables, family in (("iptables-nft", "ip"), ("ip6tables-nft", "ip6")):
            for hook in _HOOKS:
                while not _call(tables, "-w", "-t", XTABLES_TABLE, "-D", hook, "-j", XTABLES_CHAIN):
                    pass
            _call(tables, "-w", "-t", XTABLES_TABLE, "-F", XTABLES_CHAIN)
            _call(tables, "-w", "-t", XTABLES_TABLE, "-X", XTABLES_CHAIN)
            rules = _output(tables, "-w", "-t", XTABLES_TABLE, "-S").splitlines()
            _remove_unused(family, rules)
    _nft(f"table inet {TABLE}\ndelete table inet {TABLE}\n")


def remove_left() -> bool:
    """Takes out a ruleset that a filter has left behind. False where there is none; raises `KernelError`."""
    listed = ("list", "table", "inet", TABLE)
    missing = _call("nft", *listed)
    for reason in ("not installed", "not permitted"):
        if reason in missing:
            raise KernelError(missing)
    hooked = command.find("iptables-nft") and not _call("iptables-nft", "-w", "-t", XTABLES_TABLE, "-S", XTABLES_CHAIN)
    if missing and not hooked:
        return False
    remove(XTABLES if hooked else NATIVE)
    if not _call("nft", *listed):
        raise KernelError(f"nft did not remove the table inet {TABLE}")
    return True


def _remove_unused(family: str, rules: list[str]) -> None:
    """iptables left base chains without rules, and perhaps a table of nothing else: as if we had never been there."""
    used = {rule.split()[1] for rule in rules if not (rule.startswith("-P ") and rule.endswith(" ACCEPT"))}
    if rules and not used:
        _call("nft", "delete", "table", family, XTABLES_TABLE)
        return
    for hook in _HOOKS:
        if hook not in used:
            _call("nft", "delete", "chain", family, XTABLES_TABLE, hook)


def _hook_xtables(tables: str, policy: Policy) -> None:
    """The hand-off where nft has no queue: one rule in iptables' table `mangle`.

    In one transaction: while one of ours is replaced no packet passes between the old rule and the new.
    """
    there = _output(tables, "-w", "-t", XTABLES_TABLE, "-S").splitlines()
    jumps = [f"-A {hook} -j {XTABLES_CHAIN}" for hook in _HOOKS]
    bypass = " --queue-bypass" if policy.fail == "open" else ""
    queue = f"-j NFQUEUE --queue-num {policy.queue}{bypass}"
    rules = [
        f"*{XTABLES_TABLE}",
        f":{XTABLES_CHAIN} - [0:0]",  # empties it, if it is there
        f"-A {XTABLES_CHAIN} -m mark --mark {HAND_OFF:#x}/{MARK_MASK:#x} {queue}",
        *(jump for jump in jumps if jump not in there),
        "COMMIT",
    ]
    error = _call(f"{tables}-restore", "--noflush", given="\n".join(rules) + "\n")
    if error:
        raise KernelError(f"{tables}-restore refused the hand-off to the queue: {error}")


def load(rules: str) -> str:
    """Any other rules, in one transaction; "" or why not."""
    return _nft(rules)


def _nft(ruleset: str, check: bool = False) -> str:
    return _call("nft", *(["-c"] if check else []), "-f", "-", given=ruleset)


def _call(name: str, *arguments: str, given: str = "") -> str:
    """Runs a program; "" where it succeeded, else the first line that says why not."""
    try:
        done = command.run(name, *arguments, given=given.encode())
    except FileNotFoundError:
        return f"{name} is not installed"
    except OSError as error:
        return f"{name}: {error.strerror}"
    if not done.code:
        return ""
    lines = [line for line in done.errors.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[0].strip() if lines else f"{name} failed with {done.code}"


def _output(name: str, *arguments: str) -> str:
    try:
        return command.run(name, *arguments).out.decode("utf-8", "replace")
    except OSError:
        return ""
