"""Documents on flash: what counts after each step, and after a power cut before, between and after its writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cpe_filter.provision.folder import MOST_BAD, Folder, digest_of
from tests.power_cut import PowerCutError, power_cut

OLD, NEW, LATER = b"old", b"new", b"later"


def folder(tmp_path: Path) -> Folder:
    tmp_path.chmod(0o700)
    return Folder(str(tmp_path))


def test_a_trial_counts_until_its_end_and_in_its_boot(tmp_path: Path) -> None:
    it = folder(tmp_path)
    assert it.in_force("b1", 10) is None
    it.confirm(OLD)
    it.begin(NEW, "b1", 100.0)
    assert it.in_force("b1", 99) == NEW
    assert it.in_force("b1", 100) == OLD
    assert it.in_force("b2", 5) == OLD
    assert (it.left("b1", 99), it.left("b1", 100), it.left("b2", 5)) == (None, NEW, NEW)
    it.confirm(NEW)
    assert (it.good, it.former, it.in_force("b2", 0)) == (NEW, OLD, NEW)
    assert it.left("b2", 5) is None


def test_refused_is_not_tried_again(tmp_path: Path) -> None:
    it = folder(tmp_path)
    it.confirm(OLD)
    it.begin(NEW, "b1", 100.0)
    it.refuse(NEW, "why")
    assert it.in_force("b1", 1) == OLD
    assert it.bad() == {digest_of(NEW): "why"}
    it.begin(NEW, "b1", 100.0)
    assert it.in_force("b1", 1) == OLD
    for number in range(2 * MOST_BAD):
        it.refuse(str(number).encode(), "x" * 1000)
    assert len(it.bad()) == MOST_BAD


def test_back_to_the_former(tmp_path: Path) -> None:
    it = folder(tmp_path)
    assert it.roll_back() is None
    it.confirm(OLD)
    assert it.roll_back() is None
    it.confirm(NEW)
    assert it.roll_back() == OLD
    assert it.good == OLD


def test_damaged_files(tmp_path: Path) -> None:
    it = folder(tmp_path)
    it.confirm(OLD)
    for name, damage in (
        ("trial", b""),
        ("trial", b"b1 nan"),
        ("trial", b"\xff\xfe\n"),
        ("bad", b"{"),
        ("bad", b"[1]"),
    ):
        (tmp_path / name).write_bytes(damage)
        (tmp_path / name).chmod(0o600)
        assert it.in_force("b1", 1) == OLD, (name, damage)
    (tmp_path / "good").write_bytes(b"x" * (1 << 18))
    (tmp_path / "good").chmod(0o600)
    assert it.good is None


STEPS: dict[str, Callable[[Folder], object]] = {
    "begin": lambda it: it.begin(LATER, "b1", 100.0),
    "confirm": lambda it: it.confirm(NEW),
    "refuse": lambda it: it.refuse(NEW, "why"),
    "roll back": lambda it: it.roll_back(),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_power_cut_at_every_write(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power goes before the first change of the disk, after it, before the next one...; then the router boots."""
    for cut in range(8):
        place = tmp_path / str(cut)
        place.mkdir(mode=0o700)
        it = Folder(str(place))
        it.confirm(OLD)
        it.confirm(NEW) if step == "roll back" else it.begin(NEW, "b1", 100.0)
        with power_cut(monkeypatch, cut, "unlink"):
            try:
                STEPS[step](it)
                whole = True
            except PowerCutError:
                whole = False
        # Another boot: one of the two documents counts, whole; and a trial that was cut is known as such.
        found = it.in_force("b2", 1.0)
        assert found in (OLD, NEW), (cut, found)
        if step in ("begin", "refuse"):
            assert found == OLD
        left = it.left("b2", 1.0)
        assert left in (None, NEW, LATER)
        if left is not None:
            it.refuse(left, "cut")
        assert it.left("b2", 1.0) is None
        if whole:
            break
    else:
        pytest.fail("the step did not end")
