"""Loads the ruleset into the kernel and removes it.

Knows the program nft and its errors, and how to make a rule that nft cannot express; ruleset has the content of the
ruleset. Must not know packets, devices' standings or the queue's loop. Verbs: `find_handoff`, `find_log`, `install`,
`update`, `remove`. Each waits for nft, so while packets may wait a child process calls it. Data reaches nft on its
standard input.
"""

from __future__ import annotations

import struct

from cpe_filter.enforce import nfnetlink, process
from cpe_filter.enforce.nfnetlink import RULE, Request, Transactions, listing
from cpe_filter.enforce.ruleset import render, replacement
from cpe_filter.enforce.ruleset_names import HAND_OFF, NATIVE, TABLE, XTABLES
from cpe_filter.lean.netlink import attribute, attributes, name, nested
from cpe_filter.policy.model import Policy

# A rule's attributes and its expression `target` (linux/netfilter/nf_tables.h, nf_tables_compat.h), which carries a
# target of xtables, here NFQUEUE (linux/netfilter/xt_NFQUEUE.h, revision 3).
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS, _LIST_ELEMENT = 1, 2, 4, 1
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_TABLE_NAME, _TABLE_HANDLE, _CHAIN_TABLE, _CHAIN_NAME = 1, 4, 1, 3
_TARGET_NAME, _TARGET_REVISION, _TARGET_INFO = 1, 2, 3
_NFQUEUE, _REVISION, _BYPASS = "NFQUEUE", 3, 1


class KernelError(RuntimeError):
    """The kernel or nft would not do it; the text says which and why."""


def find_handoff(policy: Policy) -> str:
    """NATIVE if nft and the kernel can queue, else XTABLES. Raises `KernelError` if neither works."""
    if process.find("nft") is None:
        raise KernelError("nft is not installed (package nftables)")
    try:
        _probe(f"queue to {policy.filter.queue}")
        return NATIVE
    except KernelError as error:
        if "Operation not permitted" in str(error):
            raise KernelError("nft may not change the ruleset: the capability CAP_NET_ADMIN is missing") from None
    try:
        _probe_xtables(policy)
        return XTABLES
    except (KernelError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise KernelError(f"the kernel has neither nft queue (kmod-nft-queue) nor xtables NFQUEUE: {reason}") from None


def find_log(policy: Policy) -> bool:
    """Whether the kernel can show packets by NFLOG (kmod-nfnetlink-log)."""
    try:
        _probe(f"log group {policy.filter.queue}")
    except KernelError:
        return False
    return True


def _probe(statement: str) -> None:
    """Asks whether the kernel would take a rule with this statement, and changes nothing. Raises `KernelError`."""
    chain = f"chain c {{ type filter hook forward priority 0; {statement}; }}"
    # nft 1.0.6 needs the semicolon at the end.
    _nft(f"table inet {TABLE}_probe {{ {chain}; }}\n", check=True)


def _probe_xtables(policy: Policy) -> None:
    """The same for xtables' NFQUEUE. It makes a table of another name for a moment, because netlink has no dry run.

    Raises `KernelError` and OSError.
    """
    table = f"{TABLE}_probe"
    _nft(f"table inet {table} {{ chain {HAND_OFF} {{ }}; }}\n")
    try:
        _commit([_xtables_rule(table, policy)])
    finally:
        _nft(f"delete table inet {table}\n")


def is_installed() -> bool:
    """Whether there is a ruleset of ours, of this or of an earlier filter."""
    try:
        _call("nft", "list", "table", "inet", TABLE)
    except KernelError:
        return False
    return True


def install(policy: Policy, handoff: str, log: bool = True) -> None:
    """Loads the ruleset, replacing an earlier one. All or nothing; raises `KernelError`.

    If there is one, and the kernel refuses the part of xtables, the rest stays: mail that needs admission is refused.
    """
    before = is_installed()
    try:
        _nft(render(policy, handoff, log))
    except KernelError as error:
        raise KernelError(f"nft refused the ruleset: {error}") from None
    try:
        _fill(policy, handoff)
    except KernelError:
        if not before:
            remove()
        raise


def update(policy: Policy, handoff: str, log: bool = True) -> bool:
    """Loads the ruleset of another policy, running connections undisturbed. All or nothing; raises `KernelError`.

    The elements of sets (`blocked`, `refused`, ...) and the counters stay. The queue's number and `fail` must be those
    of `install`. If there is no ruleset yet, or one of another version, it is installed. Returns whether all of the
    sets' elements stayed.
    """
    before = _handle()
    chains = _chains(policy) if handoff == XTABLES else []
    try:
        _nft(replacement(policy, handoff, log, chains))
    except KernelError:
        install(policy, handoff, log)  # from another version's table there may be no other way
        return False
    if not chains:
        _fill(policy, handoff)
    return before != b"" and _handle() == before


def _chains(policy: Policy) -> list[str]:
    """All chains of our table, if the way to xtables' NFQUEUE is as `_fill` makes it; none if not.

    nft would replace it without that rule. Until `_fill` has added it packets that need admission would be dropped.
    """
    table = (_RULE_TABLE, TABLE.encode() + b"\0")
    try:
        chains = [dict(attributes(data)) for _, data in listing(nfnetlink.CHAIN, nfnetlink.INET)]
        chain = (_RULE_CHAIN, HAND_OFF.encode() + b"\0")
        rules = [data for _, data in listing(nfnetlink.RULE, nfnetlink.INET, table, chain)]
    except OSError:
        return []
    whole = len(rules) == 2 and b"counter" not in rules[1] and _nfqueue_info(policy) in rules[1]
    ours = [chain for chain in chains if name(chain.get(_CHAIN_TABLE, b"")) == TABLE.encode()]
    return [name(chain[_CHAIN_NAME]).decode() for chain in ours] if whole else []


def _handle() -> bytes:
    """The number of our table, which no other table gets again; empty if there is none, or the kernel does not say."""
    try:
        for _, data in listing(nfnetlink.TABLE, nfnetlink.INET):
            table = dict(attributes(data))
            if name(table.get(_TABLE_NAME, b"")) == TABLE.encode():
                return table.get(_TABLE_HANDLE, b"")
    except OSError:
        pass
    return b""


def _fill(policy: Policy, handoff: str) -> None:
    """Adds xtables' NFQUEUE to its chain if nft has no queue. Until then nothing is queued, and nothing admitted.

    The rule is in our own table, so no other program's rules are bypassed, and no mark is needed to find packets.
    """
    if handoff != XTABLES:
        return
    try:
        _commit([_xtables_rule(TABLE, policy)])
    except OSError as error:
        raise KernelError(f"the kernel refused the hand-off to the queue: {error.strerror or error}") from None


def _xtables_rule(table: str, policy: Policy) -> Request:
    target = nested(
        _LIST_ELEMENT,
        attribute(_EXPRESSION_NAME, b"target\0"),
        nested(
            _EXPRESSION_DATA,
            attribute(_TARGET_NAME, _NFQUEUE.encode() + b"\0"),
            attribute(_TARGET_REVISION, _REVISION.to_bytes(4, "big")),
            attribute(_TARGET_INFO, _nfqueue_info(policy)),
        ),
    )
    where = attribute(_RULE_TABLE, table.encode() + b"\0") + attribute(_RULE_CHAIN, HAND_OFF.encode() + b"\0")
    return Request(RULE, False, where + nested(_RULE_EXPRESSIONS, target))


def _nfqueue_info(policy: Policy) -> bytes:
    """struct xt_NFQ_info_v3, aligned to 8 bytes."""
    flags = _BYPASS if policy.filter.fail == "open" else 0
    return struct.pack("=HHH2x", policy.filter.queue, 1, flags)


def _commit(requests: list[Request]) -> None:
    transactions = Transactions()
    try:
        transactions.commit(requests)
    finally:
        transactions.close()


def remove() -> None:
    """Removes everything; a missing table is not an error. Raises `KernelError`."""
    _nft(f"table inet {TABLE}\ndelete table inet {TABLE}\n")


def remove_left() -> bool:
    """Removes a ruleset that a filter has left behind. False if there is none; raises `KernelError`."""
    try:
        _call("nft", "list", "table", "inet", TABLE)
    except KernelError as error:
        if any(reason in str(error) for reason in ("not installed", "not permitted")):
            raise
        return False
    remove()
    if is_installed():
        raise KernelError(f"nft did not remove the table inet {TABLE}")
    return True


def load(rules: str) -> None:
    """Any other rules, in one transaction. Raises `KernelError`."""
    _nft(rules)


def _nft(ruleset: str, check: bool = False) -> None:
    _call("nft", *(["-c"] if check else []), "-f", "-", given=ruleset)


def _call(program: str, *arguments: str, given: str = "") -> None:
    """Runs a program. Raises `KernelError` with the first line that says why it failed."""
    try:
        done = process.run(program, *arguments, given=given.encode())
    except FileNotFoundError:
        raise KernelError(f"{program} is not installed") from None
    except OSError as error:
        raise KernelError(f"{program}: {error.strerror}") from None
    if done.code:
        lines = [line for line in done.errors.decode("utf-8", "replace").splitlines() if line.strip()]
        raise KernelError(lines[0].strip() if lines else f"{program} failed with {done.code}")
