"""Guards the rules in the kernel: restores what other programs change, and continues the counters.

Knows the watch over the rules and the kernel's counters. Must not know packets or devices. No packet waits for nft: a
child process restores the rules. No failure here stops the filter.
"""

from __future__ import annotations

import select
from collections.abc import Callable

from cpe_filter.enforce import nftables, offload
from cpe_filter.enforce.nfqueue import queue_state
from cpe_filter.enforce.watch import Counters, Ruleset, Watch
from cpe_filter.lean.clocks import PacketTime, Posix, posix
from cpe_filter.lean.log import Log, err
from cpe_filter.live.part import Part
from cpe_filter.policy.model import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class RulesetGuard(Part):
    """Made once the ruleset is installed. Registers with `poll`.

    policy: gives the one in force. now: the engine's clock. install: loads the whole ruleset again, in a child process;
    raises `KernelError`. installed_again: what is to be done here after that.
    """

    def __init__(
        self,
        policy: Callable[[], Policy],
        poll: select.poll,
        now: Callable[[], PacketTime],
        install: Callable[[], None],
        installed_again: Callable[[], None],
        log: Log,
    ) -> None:
        self._policy = policy
        self._now = now
        self._log = log
        self._counters = Counters()
        self._ruleset = Ruleset(install, installed_again)
        self._unobserved_at: Posix | None = None
        self.rules_changed()
        try:
            offload.install(policy())
        except nftables.KernelError as error:
            self.offload_failed(str(error))
        self._watch = Watch([self._ruleset.guarded(), offload.guarded(policy, log)], poll, log)

    def __contains__(self, fd: int) -> bool:
        return fd in self._watch

    def serve(self, fd: int) -> None:
        self._watch.serve(self._now())

    def tick(self, now: PacketTime) -> None:
        self._watch.tick(now)

    @property
    def is_repairing(self) -> bool:
        return self._watch.is_repairing

    def hold(self, held: bool) -> None:
        """While held, nothing is repaired: the filter changes its own rules."""
        self._watch.hold(held)

    def rules_changed(self) -> None:
        """The filter has just changed its own rules: the current ones are right."""
        try:
            self._ruleset.installed()
        except OSError as error:
            self._log(err(f"the ruleset could not be read back: {error.strerror or error}"))

    def offload_failed(self, reason: str) -> None:
        self._log(err(f"mail could not be kept out of fw4's flow offload: {reason}"))

    def end_repairs(self) -> None:
        """From now on nothing is restored."""
        self._watch.close()

    def close(self) -> None:
        self._watch.close()

    @property
    def restored(self) -> int:
        """How often rules were restored."""
        return self._watch.repairs

    def facts(self) -> dict[str, Any]:
        """`kernel` (packets and bytes by counter), `queue_state`, `restored`.

        unobserved_at: when the rate guard last let packets pass uninspected, POSIX seconds; None where it never did.
        """
        before = self._counters.totals.get("unobserved", (0, 0))
        try:
            self._counters.read()
        except OSError:
            pass  # those of the last time then
        if self._counters.totals.get("unobserved", (0, 0)) > before:
            self._unobserved_at = posix()
        return {
            "unobserved_at": self._unobserved_at,
            "kernel": {name: list(counted) for name, counted in self._counters.totals.items()},
            "queue_state": _queue_figures(self._policy().filter.queue),
            "restored": self._watch.repairs,
        }


def _queue_figures(number: int) -> dict[str, int]:
    """The state of the kernel's queue, in packets; empty if no program holds it."""
    state = queue_state(number)
    if state is None:
        return {}
    return {"waiting": state.waiting, "dropped_queue": state.dropped_queue, "dropped_socket": state.dropped_socket}
