"""What is counted of evidence that the detector leaves out."""

from __future__ import annotations

from tests.evaluate.world.left_out import Shown, answers_lines, lists_lines, shown
from tests.evaluate.world.measure import Task, remember_readings
from tests.evaluate.world.sets import DEVELOPMENT


def test_one_program_has_one_list_and_a_queue_returns() -> None:
    remember_readings()
    server = shown(Task(DEVELOPMENT, "self-hosted", 0, "block", 60), "mta")
    assert server.lists == 1
    assert server.answers["returned"] > 0
    assert server.answers["waited"] > 0
    assert "talked-early" not in server.answers


def test_a_developer_s_machine_has_many_lists() -> None:
    assert shown(Task(DEVELOPMENT, "developer", 0, "block", 60), "appliance").lists > 2


def test_tables_count_devices() -> None:
    found = [Shown("mta", 1, {"waited": 3}), Shown("mta", 1, {"waited": 1, "returned": 2}), Shown("guests", 4, {})]
    assert list(lists_lines(found))[1:] == [f"{'mta':16} 1: 2", f"{'guests':16} 4: 1"]
    assert list(answers_lines(found))[1].split()[1:4] == ["4", "/", "2"]
