"""Reports as a part of the daemon: what was saved is read while packets go on."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live import reports
from cpe_filter.live.reports import Reports
from cpe_filter.policy.model import Policy
from tests.lab.net import DEADLINE_S

NOW = PacketTime(1000.0)


class Reporter:
    """What a reporter is asked to do."""

    def __init__(self, saved: tuple[Any, ...]) -> None:
        self.done: list[Any] = [saved]

    def encoded(self, now: float) -> bytes:
        return b"incidents"

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.done.append((name, *arguments))

    def tick(self, now: float) -> bool:
        self.done.append(("tick", now))
        return now > NOW


class Kept:
    """A part whose `read` waits for `allow`, or raises what `fails` says."""

    def __init__(self, folder: Path) -> None:
        self.log: list[str] = []
        self.companions: dict[str, Any] = {}
        self.made: list[Reporter] = []
        self.fails: OSError | None = None
        self._fifo = folder / "fifo"
        os.mkfifo(self._fifo)
        self.changed: list[float] = []
        state = SimpleNamespace(companions=self.companions, companion_changed=self.changed.append)
        self.part = Reports(self._read, cast(Any, self._make), ".x", Policy(), cast(Any, state), self.log.append)

    def _read(self, policy: Policy) -> tuple[Any, ...]:
        with open(self._fifo, "rb") as fifo:
            return (policy.report.url, fifo.read())

    def _make(self, policy: Policy, saved: tuple[Any, ...], now: PacketTime) -> Reporter:
        if self.fails is not None:
            raise self.fails
        self.made.append(Reporter(saved))
        return self.made[-1]

    def _has_read(self) -> bool:
        self.part.tick(NOW)
        return self.part._reading is None

    def allow(self) -> None:
        """What was saved can be read now; returns when it was."""
        reading = self.part._reading
        assert reading is not None
        self._fifo.write_bytes(b"saved")
        assert select.select([reading.fd], [], [], DEADLINE_S)[0]
        wait_for(self._has_read)


def wait_for(done: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def rekeyed(before: bytes, after: bytes) -> Any:
    return SimpleNamespace(before=before, device=SimpleNamespace(key=after))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    kept.part.close()


def test_nothing_waits_for_what_was_saved(kept: Kept) -> None:
    for _ in range(3):
        kept.part.tick(NOW)
    kept.part.reload(Policy())
    kept.part.save(NOW)
    assert (kept.made, kept.companions, kept.log) == ([], {}, [])
    kept.allow()
    (made,) = kept.made
    assert made.done[0] == ("", b"saved")
    assert made.done[-1] == ("tick", NOW)
    assert kept.companions[".x"](NOW) == b"incidents"


def test_what_a_reboot_must_not_lose_goes_to_flash(kept: Kept) -> None:
    kept.allow()
    assert kept.changed == []
    kept.part.tick(PacketTime(NOW + 1))
    assert kept.changed == [NOW + 1]


def test_keys_that_change_meanwhile_are_not_lost(kept: Kept) -> None:
    kept.part.device_rekeyed(rekeyed(b"old", b"new"))
    kept.allow()
    kept.part.device_rekeyed(rekeyed(b"new", b"newest"))
    assert [done for done in kept.made[0].done if done[0] == "rekeyed"] == [
        ("rekeyed", b"old", b"new"),
        ("rekeyed", b"new", b"newest"),
    ]


def test_such_keys_are_bounded(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_REKEYED", 2)
    for number in range(5):
        kept.part.device_rekeyed(rekeyed(b"%d" % number, b"x"))
    kept.allow()
    assert [done[1] for done in kept.made[0].done if done[0] == "rekeyed"] == [b"0", b"1"]


def test_a_failure_is_logged_and_the_next_reload_tries_again(kept: Kept) -> None:
    kept.fails = OSError(13, "Permission denied", "/var/run/report")
    kept.allow()
    assert kept.log == ["reporting disabled: /var/run/report: Permission denied"]
    assert kept.companions == {}
    kept.part.tick(NOW)
    assert kept.part._reading is None
    kept.fails = None
    kept.part.reload(Policy())
    kept.allow()
    assert len(kept.made) == 1
    assert len(kept.log) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    def read(policy: Policy) -> tuple[Any, ...]:
        raise OSError("/etc/state.key: Not a key of 16 bytes")

    log: list[str] = []
    part = Reports(read, cast(Any, None), ".x", Policy(), cast(Any, SimpleNamespace(companions={})), log.append)
    while not log:
        part.tick(NOW)
    assert log == ["reporting disabled: /etc/state.key: Not a key of 16 bytes"]
    part.save(NOW)
    part.close()


def test_the_end_does_not_wait_either(kept: Kept) -> None:
    reading = kept.part._reading
    assert reading is not None
    kept.part.save(NOW)
    kept.part.close()
    assert reading.done
    assert kept.companions == {}
