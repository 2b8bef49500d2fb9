"""Another policy's ruleset: nft runs next to the daemon, and packets do not wait for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cpe_filter.enforce import nftables, offload
from cpe_filter.enforce.nftables import KernelError
from cpe_filter.live.rules_in_kernel import RulesInKernel
from cpe_filter.live.ruleset_guard import RulesetGuard
from cpe_filter.policy.model import Policy
from tests.lab.net import DEADLINE_S


class Guard:
    """Notes what the daemon's guard is told."""

    def __init__(self) -> None:
        self.is_repairing = False
        self.noted: list[object] = []

    def hold(self, held: bool) -> None:
        self.noted.append(held)

    def rules_changed(self) -> None:
        self.noted.append("changed")

    def offload_failed(self, reason: str) -> None:
        self.noted.append(reason)


class Reload:
    """A reload whose nft takes as long as the file `held` is there."""

    def __init__(self, folder: Path) -> None:
        self.held = folder / "held"
        self.held.touch()
        self.failure = ""
        self.guard = Guard()
        self.kept: bool | None = None

    def update(self, *_: Any) -> bool:
        end = time.monotonic() + DEADLINE_S
        while self.held.exists() and time.monotonic() < end:
            time.sleep(0.01)
        if self.failure:
            raise KernelError(self.failure)
        return True

    def steps(self) -> Iterator[None]:
        """One for each turn of the daemon's loop in which it is not done."""
        steps = RulesInKernel(print).apply(Policy(), cast(RulesetGuard, self.guard))
        call = next(steps)
        while True:
            if not call.poll():
                yield
                continue
            try:
                value = call.result()
            except KernelError as error:
                call = steps.throw(error)
                continue
            try:
                call = steps.send(value)
            except StopIteration as end:
                self.kept = end.value
                return


@pytest.fixture
def reload(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Reload:
    reload = Reload(tmp_path)
    monkeypatch.setattr(nftables, "update", reload.update)
    monkeypatch.setattr(offload, "install", lambda policy: None)
    return reload


def finish(steps: Iterator[None]) -> None:
    for _ in steps:
        time.sleep(0.01)


def test_no_packet_waits_for_nft(reload: Reload) -> None:
    begun, steps = time.monotonic(), reload.steps()
    for _ in range(3):
        next(steps)  # the loop goes on
    assert time.monotonic() - begun < DEADLINE_S
    assert (reload.held.exists(), reload.guard.noted, reload.kept) == (True, [True], None)
    reload.held.unlink()
    finish(steps)
    assert (reload.guard.noted, reload.kept) == ([True, False, "changed"], True)


def test_a_repair_ends_first(reload: Reload) -> None:
    reload.held.unlink()
    reload.guard.is_repairing = True
    steps = reload.steps()
    next(steps)
    assert reload.guard.noted == []
    reload.guard.is_repairing = False
    finish(steps)
    assert reload.kept is True


def test_a_ruleset_that_nft_refuses_changes_nothing(reload: Reload) -> None:
    reload.held.unlink()
    reload.failure = "nft refused the ruleset: why"
    with pytest.raises(KernelError, match="nft refused the ruleset: why"):
        finish(reload.steps())
    assert reload.guard.noted == [True, False]


def test_offload_that_stays_is_logged(reload: Reload, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(policy: Policy) -> None:
        raise KernelError("no flow add")

    monkeypatch.setattr(offload, "install", refuse)
    reload.held.unlink()
    finish(reload.steps())
    assert reload.guard.noted == [True, False, "changed", "no flow add"]
