"""The ruleset of the running filter: loaded at start, replaced with the policy, restored, removed.

Knows how the kernel passes packets on (nft queue or xtables, NFLOG or not). Packets must not wait, so while the filter
runs nft runs in child processes. Must not know what is in the ruleset.
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.enforce import nftables, offload
from cpe_filter.enforce.nftables import KernelError
from cpe_filter.lean.forked import BackgroundCall, CallFailedError
from cpe_filter.live.job import Until
from cpe_filter.live.ruleset_guard import RulesetGuard
from cpe_filter.policy.model import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.live.job import Steps

#: Seconds that another policy's ruleset may take: nft is started up to five times, mostly once.
APPLY_WAIT_S = 45.0


class RulesInKernel:
    """`probe`, `install`; then `apply` and `install_again`; at the end `remove`, or `undo` after a failed start."""

    def __init__(self, log: Callable[[str], None]) -> None:
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
        """In a child process, after another program removed or changed the ruleset. Raises `KernelError`."""
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

    def remove(self) -> None:
        """Removes the ruleset, and then the exemption from flow offload; if the first stays, so does the second."""
        if not self.are_installed:
            return
        self.are_installed = False
        try:
            nftables.remove()
        except KernelError as error:
            self._log(f"the ruleset could not be removed: {error}")
        try:
            offload.remove()
        except KernelError as error:
            self._log(f"the exemption from fw4's flow offload could not be taken out: {error}")
