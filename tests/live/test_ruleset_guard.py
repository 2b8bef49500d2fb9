"""The ruleset guard: its figures, changes of our own, and what is left at the end."""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpe_filter.enforce import nftables, offload
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live.rules_in_kernel import RulesInKernel
from cpe_filter.live.ruleset_guard import RulesetGuard
from cpe_filter.policy.model import Policy
from tests.lab.alone import network
from tests.policies import changed_policy, make_policy

# ── in a namespace of its own ───────────────────────────────────────────────────────────────────────


class Home:
    """An installed ruleset and its guard."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.log: list[str] = []
        self.now = 1000.0
        nftables.install(policy, "")
        self.poll = select.poll()
        self.guard = RulesetGuard(
            lambda: self.policy, self.poll, lambda: self.now, self._install, lambda: None, self.log.append
        )

    def _install(self) -> None:
        nftables.install(self.policy, "")

    def turn(self, now: float) -> None:
        """What the daemon's loop would do, until a repair that was begun is done."""
        self.now = now
        self._serve(0)
        self.guard.tick(PacketTime(now))
        while self.guard.is_repairing:
            self._serve(1000)

    def _serve(self, wait_ms: int) -> None:
        ready = self.poll.poll(wait_ms)
        assert all(fd in self.guard for fd, _ in ready)
        for fd, _ in ready:
            self.guard.serve(fd)


@pytest.fixture
def home(live: None, tmp_path: Path) -> Iterator[Home]:
    with network():
        nft("table inet fw4 { chain forward { accept; }; }")
        home = Home(make_policy(lan=("lo",), metrics_file=str(tmp_path / "m.prom"), metrics_interval_s=60))
        yield home
        home.guard.close()


def nft(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def listed() -> list[str]:
    """The whole ruleset, without elements that come and go."""
    text = subprocess.run(["nft", "-s", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return [line for line in text.splitlines() if " timeout " not in line]


def applied(rules: RulesInKernel, policy: Policy, guard: RulesetGuard) -> None:
    """Another policy in place of the one that is in force, as the daemon has it done."""
    steps = rules.apply(policy, guard)
    try:
        call = next(steps)
        while True:
            while not call.poll():
                time.sleep(0.005)
            try:
                value = call.result()
            except Exception as error:
                call = steps.throw(error)
            else:
                call = steps.send(value)
    except StopIteration:
        pass


def count(number: int) -> None:
    """As if the kernel had queued so many packets."""
    nft(f"table inet cpe_filter {{ counter queued2 {{ packets {number} bytes {60 * number} }}; }}")


@pytest.mark.live
def test_figures(home: Home) -> None:
    found = home.guard.facts()
    assert found["kernel"]["queued"] == [0, 0]
    assert found["restored"] == 0
    assert found["queue_state"] == {}
    assert home.log == []


@pytest.mark.live
def test_counters_never_go_back_when_the_rules_are_put_back(home: Home) -> None:
    count(100)
    assert home.guard.facts()["kernel"]["queued2"] == [100, 6000]
    home.turn(1000.0)
    nft("flush ruleset")
    assert home.guard.facts()["kernel"]["queued2"] == [100, 6000]
    home.turn(1010.0)
    assert home.guard.facts()["restored"] >= 1
    count(100)  # as many as before, of which none may be missing
    assert home.guard.facts()["kernel"]["queued2"] == [200, 12000]
    nft("flush ruleset")  # and again, this time without a look in between
    home.turn(1020.0)
    count(150)
    assert home.guard.facts()["kernel"]["queued2"] == [350, 21000]


@pytest.mark.live
def test_our_own_changes_are_right(home: Home) -> None:
    home.policy = changed_policy(home.policy, ports=(25, 2525), relays=())
    applied(RulesInKernel(home.log.append), home.policy, home.guard)
    assert offload.installed(home.policy)
    for second in range(5):
        home.turn(1000.0 + 10 * second)
    assert home.guard.facts()["restored"] == 0
    assert home.log == []


@pytest.mark.live
@pytest.mark.parametrize("rules_stay", [True, False])
def test_the_end(home: Home, rules_stay: bool) -> None:
    """What keeps mail before the ruleset stays as long as the ruleset does."""
    rules = RulesInKernel(home.log.append)
    rules.install(home.policy)
    home.guard.end_repairs()
    if not rules_stay:
        rules.remove()
    home.guard.close()
    assert offload.installed(home.policy) is rules_stay
    assert nftables.is_installed() is rules_stay
    assert home.poll.poll(0) == []
    assert home.log == []


@pytest.mark.live
def test_nothing_is_put_back_after_the_end_of_repairs(home: Home) -> None:
    home.turn(1000.0)
    home.guard.end_repairs()
    nft("flush ruleset")
    home.turn(1010.0)
    assert not nftables.is_installed()


@pytest.mark.live
def test_a_policy_that_the_kernel_refuses_changes_nothing(home: Home) -> None:
    home.turn(1000.0)
    before = listed()
    with pytest.raises(nftables.KernelError, match="nft refused the ruleset"):
        applied(RulesInKernel(home.log.append), changed_policy(home.policy, lan=("a" * 40,)), home.guard)
    assert listed() == before
    nft("flush ruleset")  # it is guarded again
    home.turn(1010.0)
    assert nftables.is_installed()


@pytest.mark.live
def test_a_policy_waits_for_a_repair_that_runs(home: Home) -> None:
    """Two programs nft at once would leave the ruleset of the one that came last."""
    home.turn(1000.0)
    nft("flush ruleset")
    home.now = 1010.0
    home._serve(1000)
    assert home.guard.is_repairing
    steps = RulesInKernel(home.log.append).apply(home.policy, home.guard)
    first = next(steps)
    assert not first.poll()
    home.turn(1010.0)
    assert first.poll()
    steps.close()


@pytest.mark.live
@pytest.mark.parametrize(
    ("were_there", "fail", "mode", "stay"),
    [
        (False, "open", "monitor", False),
        (False, "closed", "monitor", False),
        (True, "open", "monitor", False),
        (True, "closed", "monitor", True),
        (True, "open", "block", True),
    ],
)
def test_rules_after_a_failed_start(live: None, were_there: bool, fail: str, mode: str, stay: bool) -> None:
    """What this start has installed goes. What denied before it goes on denying."""
    with network():
        policy = changed_policy(Policy(), lan=("lo",), fail=fail, mode=mode)
        if were_there:
            nftables.install(policy, "")
        rules = RulesInKernel(print)
        rules.install(policy)
        rules.undo(policy)
        assert nftables.is_installed() is stay
