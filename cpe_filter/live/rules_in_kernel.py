"""The ruleset of the running filter: loaded at start, replaced with the policy, restored, removed.

Knows how the kernel passes packets on (nft queue or xtables, NFLOG or not). Packets must not wait, so while the filter
runs nft runs in child processes. Must not know what is in the ruleset.
"""

from __future__ import annotations

from cpe_filter.enforce import nftables, offload
from cpe_filter.enforce.nftables import KernelError
from cpe_filter.lean.forked import BackgroundCall, CallFailedError
from cpe_filter.lean.log import Log, err
from cpe_filter.live.job import Until
from cpe_filter.live.ruleset_guard import RulesetGuard
from cpe_filter.policy.model import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.live.job import Steps

#: Seconds that another policy's ruleset may take: nft is started up to five times, mostly once. Less than the time that
#: a command waits for its answer (control_socket.WAIT_S).
APPLY_WAIT_S = 30.0


class RulesInKernel:
    """`probe`, `install`; then `apply` and `install_again`; at the end `remove`, or `undo` after a failed start."""

    def __init__(self, log: Log) -> None:
        self.handoff = ""
        self.has_log = False  # packets are shown by NFLOG
        self.are_installed = False
        self._were_there = False
        self._log = log

    def probe(self, policy: Policy) -> None:
        """Finds how the kernel passes packets on. Raises `KernelError` if it cannot."""
        self.handoff = nftables.find_handoff(policy)
        self.has_log = nftables.find_log(policy)

    def install(self, policy: Policy) -> None:
        """At start: the decisions of a filter that was killed stay. Raises `KernelError`."""
        self._were_there = nftables.is_installed()
        nftables.update(policy, self.handoff, self.has_log)
        self.are_installed = True

    def install_again(self, policy: Policy) -> None:
        """After another program removed or changed the ruleset; waits for nft. Raises `KernelError`."""
        nftables.install(policy, self.handoff, self.has_log)

    def apply(self, policy: Policy, guard: RulesetGuard) -> Steps[bool]:
        """Replaces the ruleset by another policy's, or raises `KernelError` and changes nothing.

        Returns whether all of the sets' elements stayed.
        """
        yield Until(lambda: not guard.is_repairing)
        guard.hold(True)
        try:
            kept, offload_failure = yield BackgroundCall(lambda: self._update(policy), KernelError, APPLY_WAIT_S)
        except CallFailedError as error:
            raise KernelError(f"nft did not load the ruleset: {error}") from None
        finally:
            guard.hold(False)
        guard.rules_changed()
        if offload_failure:
            guard.offload_failed(offload_failure)
        return bool(kept)

    def _update(self, policy: Policy) -> tuple[bool, str | None]:
        """In a child process. Whether all elements stayed; why mail could not be kept out of flow offload, or None."""
        kept = nftables.update(policy, self.handoff, self.has_log)
        try:
            offload.install(policy)
        except KernelError as error:
            return kept, str(error)
        return kept, None

    def undo(self, policy: Policy) -> None:
        """After a failed start: removes what this start has installed.

        Rules that an earlier filter left, in fail closed or in mode block, go on denying.
        """
        if not self._were_there or (policy.filter.fail == "open" and policy.filter.mode != "block"):
            self.remove()

    def keep(self, policy: Policy) -> bool:
        """At the end in fail closed: what another program has just removed is loaded again. Returns whether it is."""
        if not self.are_installed or nftables.is_installed():
            return True
        try:
            self.install_again(policy)
        except KernelError as error:
            self._log(err(f"ruleset removed by another program and could not be restored: {error}"))
            return False
        return True

    def remove(self) -> bool:
        """Removes the ruleset and the exemption from flow offload. Returns whether the ruleset is gone."""
        if not self.are_installed:
            return True
        self.are_installed = False
        gone = True
        try:
            nftables.remove()
        except KernelError as error:
            gone = False
            self._log(err(f"the ruleset could not be removed: {error}"))
        try:
            offload.remove()
        except KernelError as error:
            self._log(err(f"the exemption from fw4's flow offload could not be taken out: {error}"))
        return gone
