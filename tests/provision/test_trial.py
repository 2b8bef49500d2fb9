"""The wait after a change: what worked before has to work, and what did not says nothing."""

from __future__ import annotations

import socket

from cpe_filter.policy.model import Policy
from cpe_filter.provision import trial

ALL = {"filter": True, "rules": True, "collector": True}


class Time:
    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def waited(looks: list[trial.Looks], before: trial.Looks = ALL) -> tuple[list[str], float]:
    clock, left = Time(), list(looks)

    def look() -> trial.Looks:
        return left.pop(0) if len(left) > 1 else left[0]

    return trial.wait(before, look, 60.0, 20.0, clock.now, clock.sleep), clock.at


def test_all_goes_on_working() -> None:
    assert waited([ALL]) == ([], 20.0)


def test_what_fails_for_a_while_is_waited_for() -> None:
    failing = {**ALL, "collector": False}
    assert waited([failing] * 6 + [ALL]) == ([], 30.0)


def test_what_fails_to_the_end_is_named() -> None:
    failing, seconds = waited([{**ALL, "rules": False, "collector": False}])
    assert failing == ["rules", "collector"]
    assert seconds == 60.0


def test_what_did_not_work_before_fails_nothing() -> None:
    assert waited([{**ALL, "collector": False}], {**ALL, "collector": False})[0] == []


def test_a_collector_is_reached_or_not() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        policy = Policy()
        policy = policy._replace(report=policy.report._replace(url=f"https://127.0.0.1:{port}/x"))
        assert trial.look(policy)["collector"]
    assert not trial.look(policy)["collector"]
    named = policy._replace(report=policy.report._replace(url="https://collector.invalid/"))
    assert trial.look(named)["dns"] is False
    assert "collector" not in trial.look(Policy())
