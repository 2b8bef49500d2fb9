"""The status file as the running filter writes it: in slices, while devices come, go and change, and disks get full."""

from __future__ import annotations

import errno
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.detect.device import Device, Devices
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.detect.score import COMPROMISED, SUSPECTED
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.engine import Engine
from cpe_filter.status import status
from cpe_filter.status.devices import device_facts
from tests.policies import make_policy

START = 1795500000.0


def failing(error: int) -> Callable[..., Any]:
    def fails(*_: Any, **__: Any) -> Any:
        raise OSError(error, os.strerror(error))

    return fails


class Written:
    """A status file of an engine with so many devices."""

    def __init__(self, folder: Path, devices: int = 0) -> None:
        self.path = folder / "status.json"
        self.engine = Engine(make_policy(mode="monitor"))
        self.log: list[str] = []
        self.names: dict[bytes, str] = {}
        self.about: dict[str, Any] = {"pid": 1}
        self.writer = status.Writer(
            self.engine, str(self.path), lambda: self.about, lambda one: self.names.get(one.key, ""), self.log.append
        )
        for number in range(devices):
            self.device(number)

    @property
    def devices(self) -> Devices:
        return self.engine.devices

    def device(self, number: int) -> Device:
        device = self.devices.get(bytes((2, 0, 0, 0, 0, number)), START)
        device.seen(START + number, bytes((192, 168, 1, number)))
        return device

    def content(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    def expected(self) -> list[dict[str, Any]]:
        """What the file has to say of the devices as they are now."""
        out = []
        for one in self.devices:
            mode, name = effective_mode(self.engine.policy, one), self.names.get(one.key)
            more = {"mode": mode, "refused": one.refused, "name": name, "class": one.dhcp_class or None}
            out.append({**device_facts(one), **more})
        found: list[dict[str, Any]] = json.loads(json.dumps(out))
        return found


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Written]:
    written = Written(tmp_path)
    yield written
    written.writer.close()


@pytest.fixture
def some(tmp_path: Path) -> Iterator[Written]:
    written = Written(tmp_path, 8)
    yield written
    written.writer.close()


@pytest.fixture
def one_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine on which a device takes longer than a slice should."""
    monkeypatch.setattr("cpe_filter.lean.atomic_file.SLICE_S", 0.0)


def test_without_a_device(empty: Written) -> None:
    empty.writer.write()
    assert empty.content()["devices"] == []
    assert empty.content()["pid"] == 1
    assert empty.path.read_text().endswith("}\n")
    assert empty.path.stat().st_mode & 0o777 == 0o640


def test_devices_are_counted_by_standing(some: Written) -> None:
    first, second = list(some.devices)[:2]
    first.score.standing, second.score.standing = COMPROMISED, SUSPECTED
    some.writer.write()
    counts = Counter(one["standing"] for one in some.content()["devices"])
    assert some.content()["standings"] == {"clear": 0, "unusual": 0, "suspected": 0, "compromised": 0, **counts}
    assert counts["compromised"] == counts["suspected"] == 1


def test_nothing_is_done_unless_asked(some: Written) -> None:
    assert not some.writer.step()
    assert not some.path.exists()


@pytest.mark.usefixtures("one_a_slice")
def test_in_slices_and_the_old_one_stays_meanwhile(some: Written) -> None:
    some.writer.write()
    before, file = some.path.read_text(), some.path.open()
    some.device(3).connections = 77
    some.about = {"pid": 2}
    some.writer.ask()
    turns = 0
    while some.writer.step():
        assert some.path.read_text() == before
        turns += 1
    assert turns == 11  # what is before the devices twice: made, written; each device; the end
    assert some.content()["pid"] == 2
    assert some.content()["devices"] == some.expected()
    assert file.read() == before
    file.close()
    assert os.listdir(some.path.parent) == ["status.json"]
    assert not some.writer.step()


@pytest.mark.usefixtures("one_a_slice")
def test_a_change_in_the_middle_is_in_the_next_one_which_follows_at_once(some: Written) -> None:
    some.writer.ask()
    for _ in range(6):
        assert some.writer.step()
    some.device(0).score.standing = COMPROMISED  # its text is written already
    some.writer.ask()
    turns = 0
    while some.writer.step():
        turns += 1
    assert turns < 3 * 8
    (first, *_) = some.content()["devices"]
    assert (first["standing"], first["mode"]) == ("compromised", "block")


@pytest.mark.usefixtures("one_a_slice")
def test_whatever_becomes_of_the_devices_between_slices(tmp_path: Path) -> None:
    """Each that is there all the time is in it once, and none twice."""
    rng = random.Random(3)
    for _ in range(60):
        written = Written(tmp_path)
        written.engine.devices.limit = 12
        for n in range(12):
            written.device(n)
        for _ in "ab":
            untouched = {one.name for one in written.devices}
            written.writer.ask()
            while written.writer.step():
                key = bytes((2, 0, 0, 0, 0, rng.randrange(40)))
                before = {one.name: one for one in written.devices}
                match rng.randrange(3):
                    case 0 if written.devices.find(key) is not None:  # in another one's place, too
                        written.devices.rekey(key, bytes((2, 0, 0, 0, 0, rng.randrange(12))))
                    case 1:
                        written.device(key[5])  # another one is forgotten for it
                    case _:
                        next(iter(written.devices)).connections += 1
                untouched &= {name for name, one in before.items() if one in set(written.devices)}
                untouched &= {one.name for one in written.devices}
            names = [one["device"] for one in written.content()["devices"]]
            assert len(set(names)) == len(names)
            assert untouched <= set(names)
        written.writer.write()
        assert written.content()["devices"] == written.expected()
        written.writer.close()
        assert written.log == []


def test_what_has_not_changed_is_copied_and_what_has_is_not(some: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def facts(device: Device) -> dict[str, Any]:
        made.append(device.name)
        return device_facts(device)

    monkeypatch.setattr("cpe_filter.status.status.device_facts", facts)
    some.writer.write()
    assert len(made) == 8
    made.clear()
    some.about = {"pid": 1, "longer": "x" * 5000}  # everything moves
    some.writer.write()
    assert made == []
    assert some.content()["devices"] == some.expected()
    some.device(5).refused += 1
    some.writer.write()
    assert made == [some.device(5).name]
    assert some.content()["devices"] == some.expected()


def changes() -> list[Callable[[Written, Device], None]]:
    def setter(field: str, value: Any) -> Callable[[Written, Device], None]:
        return lambda written, device: setattr(device, field, value)

    counts = ("connections", "sessions", "networks", "messages", "recipients", "mx_queries", "refused")
    return [
        *(setter(field, 5) for field in counts),
        setter("first_seen", START - 9),
        setter("last_seen", START + 900),
        setter("suspected_at", (START, 4)),
        setter("compromised_at", (START, 5)),
        setter("unusual_at", (START, 6)),
        lambda written, device: device.seen(device.last_seen, b"\x0a\0\0\1"),
        lambda written, device: setattr(device.score, "standing", "suspected"),
        lambda written, device: written.names.update({device.key: "tv"}),
        lambda written, device: device.score.release(),
        *(lambda written, device, name=name: device.score.add(name, 10.0) for name in INDICATORS),
        lambda written, device: written.engine.reload(make_policy(mode="limit")),
        lambda written, device: written.engine.reload(make_policy(mode="monitor", escalate=False)),
    ]


def test_every_change_that_is_shown_is_seen(some: Written) -> None:
    """What a stamp is made of is all that a device's text follows from."""
    device = some.device(4)
    some.writer.write()
    for number, change in enumerate(changes()):
        change(some, device)
        some.writer.write()
        assert some.content()["devices"] == some.expected(), number


@pytest.mark.parametrize("at", ["open", "write", "replace"])
def test_a_disk_that_is_full_is_told_once(some: Written, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    some.writer.write()
    before = some.path.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(f"cpe_filter.lean.atomic_file.os.{at}", failing(errno.ENOSPC))
        for number in range(4):
            some.device(2).connections = number
            some.writer.ask()
            while some.writer.step():
                pass
    assert some.log == [f"status not written: {some.path}: {os.strerror(errno.ENOSPC)}"]
    assert some.path.read_text() == before
    assert os.listdir(some.path.parent) == ["status.json"]
    some.writer.write()
    assert some.content()["devices"] == some.expected()


@pytest.mark.usefixtures("one_a_slice")
def test_a_disk_that_gets_full_in_the_middle(some: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was copied and what was not is told apart afterwards."""
    some.writer.write()
    before = some.path.read_text()
    for number in range(9):
        for one in some.devices:
            one.connections += 1
        some.writer.ask()
        for _ in range(number):
            assert some.writer.step()
        with monkeypatch.context() as patch:
            patch.setattr("cpe_filter.lean.atomic_file.os.write", failing(errno.ENOSPC))
            while some.writer.step():
                pass
        assert some.path.read_text() == before
    assert len(some.log) == 1
    some.writer.write()
    assert some.content()["devices"] == some.expected()


def test_a_file_that_somebody_has_cut_is_not_copied_from(some: Written) -> None:
    some.writer.write()
    os.truncate(some.path, 500)
    some.writer.write()
    assert some.content()["devices"] == some.expected()


def test_at_the_start_an_error_is_raised(tmp_path: Path) -> None:
    written = Written(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        written.writer.write()
    written.writer.close()
    assert written.log == []


def test_the_end_in_the_middle(some: Written) -> None:
    some.writer.write()
    some.writer.ask()
    assert some.writer.step()
    before = set(os.listdir("/proc/self/fd"))
    some.writer.close()
    assert os.listdir(some.path.parent) == []
    assert len(before - set(os.listdir("/proc/self/fd"))) == 2


def test_another_filter_s_file_is_left_alone(some: Written) -> None:
    some.path.write_text("another's")
    some.writer.close()
    assert some.path.read_text() == "another's"


def test_never_through_a_link(some: Written, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    some.path.symlink_to(other)
    Path(f"{some.path}.new").symlink_to(other)
    some.writer.write()
    assert other.read_text() == "precious"
    assert not some.path.is_symlink()
