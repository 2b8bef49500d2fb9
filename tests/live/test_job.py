"""Work in steps: what a job waits for, and how it ends."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from cpe_filter.live.job import Job


class Call:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.is_done = False

    def poll(self) -> bool:
        return self.is_done

    def result(self) -> Any:
        return {"from": self.fd}

    def stop(self, patience_s: float = 0.0) -> None: ...


def test_a_job_waits_for_one_call_after_the_other() -> None:
    first, second = Call(7), Call(8)

    def steps() -> Generator[Call, Any, dict[str, Any]]:
        found = yield first
        assert found == {"from": 7}
        return {"found": (yield second)}

    job = Job(steps())
    assert job.fd == -1  # no descriptor: it has not begun
    assert job.advance() is None
    assert job.fd == 7
    first.is_done = True
    assert job.advance() is None
    assert job.fd == 8
    assert not job.is_done
    second.is_done = True
    assert job.advance() == {"found": {"from": 8}}
    assert job.is_done


def test_what_a_step_raises_ends_it() -> None:
    def steps() -> Generator[Call, Any, dict[str, Any]]:
        raise ValueError("why")
        yield Call(7)

    job = Job(steps())
    with pytest.raises(ValueError, match="why"):
        job.advance()
    assert job.is_done
