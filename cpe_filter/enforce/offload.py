"""Keeps mail out of flow offload, which would carry it past the queue.

Knows the firewall's table `inet fw4` and flow tables. Must not know our own ruleset. Packets of an offloaded connection
pass no chain: three packets of a session would be seen, none with content. fw4 offloads with the first rule of its
chain `forward`, so the exemption must be inserted before that rule, again whenever fw4 writes its table. Its `accept`
does not end other tables' chains: the filter still sees what it accepts, and fw4 accepts established connections
itself.
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.enforce import nfnetlink, nftables
from cpe_filter.enforce.nfnetlink import Change, listing
from cpe_filter.enforce.watch import Guarded
from cpe_filter.lean.log import Log, LogOnce, warning
from cpe_filter.lean.netlink import attributes, name
from cpe_filter.policy.model import Policy

FIREWALL, CHAIN = "fw4", "forward"
COMMENT = "cpe-filter: no flow offload"

_FIREWALL, _CHAIN, _COMMENT = FIREWALL.encode(), CHAIN.encode(), COMMENT.encode()
_TABLE_NAME, _CHAIN_TABLE, _CHAIN_NAME, _RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE = 1, 1, 3, 1, 2, 3
#: The name of the expression `flow add` among a rule's bytes.
_FLOW_ADD = b"flow_offload\0"
_MOST_LOGGED = 16


def install(policy: Policy) -> None:
    """Puts the exemption first in fw4's chain `forward`, and replaces an earlier one. Raises `KernelError`.

    Without such a chain there is nothing to do.
    """
    rules = _our_rules()
    if rules is None:
        return
    # One for each port: nft 1.0.6 cannot read its own listing of a set of them.
    insertions = [
        f"insert rule inet {FIREWALL} {CHAIN} meta l4proto tcp ct original proto-dst {port} "
        f'ct state established accept comment "{COMMENT}"'
        for port in reversed(policy.network.ports)
    ]
    nftables.load("\n".join([*_deletions(rules), *insertions]) + "\n")


def installed(policy: Policy) -> bool:
    """Whether there is nothing to do: the exemption is there once, and first, or there is no fw4. Raises OSError."""
    rules = _rules()
    places = list(range(len(policy.network.ports)))
    return rules is None or [place for place, (_, ours) in enumerate(rules) if ours] == places


def remove() -> None:
    """Removes the exemption; a missing one is not an error. Raises `KernelError`."""
    deletions = _deletions(_our_rules() or [])
    if deletions:
        nftables.load("\n".join(deletions) + "\n")


def _our_rules() -> list[tuple[int, bool]] | None:
    """As `_rules`; raises `KernelError`."""
    try:
        return _rules()
    except OSError as error:
        raise nftables.KernelError(error.strerror or str(error)) from None


def others() -> list[str]:
    """Tables of other firewalls that offload connections, which we cannot keep mail out of. Raises OSError."""
    found = set()
    for family, data in listing(nfnetlink.RULE, nfnetlink.ANY):
        if _FLOW_ADD not in data:
            continue
        rule = dict(attributes(data))
        table, chain = name(rule.get(_RULE_TABLE, b"")), name(rule.get(_RULE_CHAIN, b""))
        if (family, table, chain) != (nfnetlink.INET, _FIREWALL, _CHAIN):
            found.add(f"{nfnetlink.FAMILIES.get(family, family)} {table.decode('utf-8', 'replace')}")
    return sorted(found)


def guarded(policy: Callable[[], Policy], log: Log) -> Guarded:
    """For enforce.watch. `policy` gives the one that is in force. Tables of others are logged once each."""
    log_once = LogOnce(log, _MOST_LOGGED)

    def concerns(change: Change) -> bool:
        if change.what == nfnetlink.FLOWTABLE:
            return True
        parts = (nfnetlink.TABLE, nfnetlink.CHAIN, nfnetlink.RULE)
        return change.what in parts and change.family == nfnetlink.INET and change.table == _FIREWALL

    def problem() -> str | None:
        for table in others():
            log_once.first(table, warning(f"flow offload in table {table} bypasses the filter"))
        return None if installed(policy()) else "is missing"

    return Guarded("exemption of mail from fw4's flow offload", concerns, problem, lambda: install(policy()))


def _rules() -> list[tuple[int, bool]] | None:
    """Handle of each rule of fw4's chain `forward`, and whether it is ours; None if there is no such chain."""
    chains = (dict(attributes(data)) for _, data in listing(nfnetlink.CHAIN, nfnetlink.INET))
    if not any(name(c.get(_CHAIN_TABLE, b"")) == _FIREWALL and name(c.get(_CHAIN_NAME, b"")) == _CHAIN for c in chains):
        return None
    rules = []
    try:
        given = ((_RULE_TABLE, _FIREWALL + b"\0"), (_RULE_CHAIN, _CHAIN + b"\0"))
        for _, data in listing(nfnetlink.RULE, nfnetlink.INET, *given):
            rule = dict(attributes(data))
            if name(rule.get(_RULE_TABLE, b"")) == _FIREWALL and name(rule.get(_RULE_CHAIN, b"")) == _CHAIN:
                rules.append((int.from_bytes(rule.get(_RULE_HANDLE, b""), "big"), _COMMENT in data))
    except FileNotFoundError:
        return None
    return rules


def _deletions(rules: list[tuple[int, bool]]) -> list[str]:
    return [f"delete rule inet {FIREWALL} {CHAIN} handle {handle}" for handle, ours in rules if ours]
