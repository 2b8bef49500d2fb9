"""When the daemon judges what `send` has left: whatever a collector sends, only so often."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from cpe_filter.detect.device import Device
from cpe_filter.detect.score import COMPROMISED, SUSPECTED
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live.instruct import part
from cpe_filter.live.instruct.part import FILES, FILES_PER_HOUR, LOOK_S, Instructions
from cpe_filter.live.reports import Reports
from tests.policies import make_policy

if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing


class Reporter:
    """A file of instructions, each time a new one; and how often each refusal was answered."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "instructions"
        self.answers = 0
        self.reporter = self

    def arrive(self) -> None:
        new = self.path.with_name("new")
        new.write_text("[]")
        self.path.unlink(missing_ok=True)
        new.rename(self.path)
        os.utime(self.path, ns=(self.answers, self.answers))

    def find(self, dev: str) -> Device | None:
        return Device(b"\2\0\0\0\0\1", PacketTime(0.0))

    def instructions(self) -> str:
        return str(self.path)

    def ask(self, asks: bool) -> None: ...

    def answer(self, digest: str, outcome: str, action: str, dev: str) -> None:
        self.answers += 1


class Child:
    """A child process that refuses one document."""

    def __init__(self, *of_the_call: object) -> None: ...

    def poll(self) -> bool:
        return True

    def result(self) -> list[Any]:
        return [("0" * 16, "format", "", "", "", 0, "not a document")]

    def stop(self, patience_s: float) -> None: ...


def test_documents_that_are_refused_are_judged_only_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "BackgroundCall", Child)
    reporter, log = Reporter(tmp_path), list[str]()
    policy = make_policy(state_state_file=str(tmp_path / "state"))
    instructions = Instructions(cast(Reports, reporter), lambda *asked: False, policy, log.append)
    hour = int(3600 / LOOK_S)
    for turn in range(hour):
        reporter.arrive()
        for step in range(3):
            instructions.tick(PacketTime(1000.0 + turn * LOOK_S + step / 10))
    assert FILES + FILES_PER_HOUR - 2 <= reporter.answers <= FILES + FILES_PER_HOUR
    assert len(log) == reporter.answers


def test_a_file_that_waits_is_judged_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "BackgroundCall", Child)
    reporter = Reporter(tmp_path)
    policy = make_policy(state_state_file=str(tmp_path / "state"))
    instructions = Instructions(cast(Reports, reporter), lambda *asked: False, policy, lambda line: None)
    now = 0.0
    while reporter.answers < FILES:
        reporter.arrive()
        instructions.tick(PacketTime(now := now + 0.1))
    reporter.arrive()
    for _ in range(3):
        instructions.tick(PacketTime(now := now + LOOK_S))
    assert reporter.answers == FILES
    for _ in range(3):
        instructions.tick(PacketTime(now := now + 3600 / FILES_PER_HOUR))
    assert reporter.answers == FILES + 1


def test_an_exemption_is_asked_for_so_that_it_shortens_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Good(Child):
        def result(self) -> list[Any]:
            return [("0" * 16, "", "exempt", "1" * 16, "case 7", 2000, "")]

    monkeypatch.setattr(part, "BackgroundCall", Good)
    asked: list[tuple[str, dict[str, Any]]] = []

    def ask(verb: str, requester: str, request: dict[str, Any], done: object) -> bool:
        asked.append((verb, request))
        return True

    reporter = Reporter(tmp_path)
    policy = make_policy(state_state_file=str(tmp_path / "state"))
    instructions = Instructions(cast(Reports, reporter), ask, policy, lambda line: None)
    reporter.arrive()
    for step in range(4):
        instructions.tick(PacketTime(1000.0 + step / 10))
    assert asked == [("exempt", {"device": "02:00:00:00:00:01", "reason": "case 7", "until": 2000, "relaxes": True})]


@pytest.mark.parametrize(
    ("standing", "quarantine", "outcome"),
    [
        (COMPROMISED, "held", None),
        (COMPROMISED, "time", "nothing"),
        (COMPROMISED, "", "nothing"),
        (SUSPECTED, "held", "nothing"),
    ],
)
def test_a_quarantine_is_ended_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standing: Standing, quarantine: str, outcome: str | None
) -> None:
    class Good(Child):
        def result(self) -> list[Any]:
            return [("0" * 16, "", "end-quarantine", "1" * 16, "case 7", 0, "")]

    class Held(Reporter):
        outcomes: list[str]

        def find(self, dev: str) -> Device | None:
            device = Device(b"\2\0\0\0\0\1", PacketTime(0.0))
            device.score.standing, device.notice = standing, (0, "", quarantine)
            return device

        def answer(self, digest: str, outcome: str, action: str, dev: str) -> None:
            self.outcomes.append(outcome)

    monkeypatch.setattr(part, "BackgroundCall", Good)
    asked: list[tuple[str, dict[str, Any]]] = []

    def ask(verb: str, requester: str, request: dict[str, Any], done: object) -> bool:
        asked.append((verb, request))
        return True

    reporter = Held(tmp_path)
    reporter.outcomes = []
    policy = make_policy(state_state_file=str(tmp_path / "state"))
    instructions = Instructions(cast(Reports, reporter), ask, policy, lambda line: None)
    reporter.arrive()
    for step in range(4):
        instructions.tick(PacketTime(1000.0 + step / 10))
    request = {"device": "02:00:00:00:00:01", "reason": "case 7"}
    assert asked == ([] if outcome else [("end-quarantine", request)])
    assert reporter.outcomes == ([outcome] if outcome else [])
