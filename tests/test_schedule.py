"""The suite's own schedule counts only if xdist asks it. Knows xdist's workers. Must not know what other tests test."""

from __future__ import annotations

import pytest

from tests import schedule


def test_auto_means_what_the_schedule_says(request: pytest.FixtureRequest) -> None:
    """A hook that is registered too late is never asked, and xdist takes one worker for each core."""
    given = getattr(request.config, "workerinput", {})
    if "auto" not in " ".join(given.get("mainargv", [])).split():
        pytest.skip("workers are not shared out by -n auto")
    assert given["workercount"] == schedule.workers()


def test_what_takes_longest_is_begun_first() -> None:
    assert schedule.rank(f"{schedule.LONGEST[0]}test_a.py::test_b") == 0
    assert schedule.rank("tests/policy/test_file.py::test_c") == len(schedule.LONGEST)
    assert schedule.file_of("tests/policy/test_file.py::test_c[a::b]") == "tests/policy/test_file.py"
