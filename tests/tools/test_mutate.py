"""The sample of changes: each is one change, compiles, and is the same for the same seed."""

from __future__ import annotations

from pathlib import Path

from tools.mutate import PROJECT, ROOMS, _fails_without, changes, run, sample, suites

TEXT = '''"""Head."""
TYPE_CHECKING = False
if TYPE_CHECKING:
    LATER = 5 < 6


def first(value: int, most: int = 9) -> bool:
    """What it does."""
    value += 1
    if value < most and not value:
        return False
    raise ValueError(f"{value + 1}")
'''


def test_every_kind_and_nothing_that_does_not_run() -> None:
    found = changes("x.py", TEXT)
    assert sorted((one.kind, one.before, one.after) for one in found) == [
        ("and/or", "value < most and not value", "(value < most or not value)"),
        ("comparison", "value < most", "(value <= most)"),
        ("condition", "value < most and not value", "(not (value < most and (not value)))"),
        ("constant", "1", "2"),
        ("constant", "9", "10"),
        ("constant", "False", "True"),
        ("statement", "value += 1", "pass"),
    ]
    for one in found:
        assert one.source != TEXT
        assert one.source.count("\n") == TEXT.count("\n"), "no other line moves"


def test_the_sample_is_the_same_each_time_and_of_every_room() -> None:
    drawn = sample(list(ROOMS), 20, 25)
    (fewest,) = sorted(ROOMS, key=lambda room: sum(1 for _ in (PROJECT / "cpe_filter" / room).rglob("*.py")))[:1]
    assert sample([fewest], 20, 25) == sample([fewest], 20, 25) != sample([fewest], 20, 26)
    assert {one.path.split("/")[1] for one in drawn} == set(ROOMS)
    assert len({one.kind for one in drawn}) == 5


def test_a_modules_own_tests_come_first() -> None:
    first, rest, live = suites("cpe_filter/enforce/nftables.py")
    assert "tests/enforce/test_nftables.py" in first
    assert rest[:3] == ["-m", "not live", "tests/enforce"]
    assert live[:3] == ["-m", "live", "tests/enforce"]


def test_a_test_that_fails_without_the_change_has_noticed_nothing(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    (tmp_path / "test_module.py").write_text(
        "from module import VALUE\n\n\ndef test_value() -> None:\n    assert VALUE == 1\n\n\n"
        "def test_that_always_fails() -> None:\n    assert VALUE == 3\n"
    )
    module.write_text("VALUE = 2\n")
    by = run(tmp_path, ["test_module.py"], 60.0)
    assert by.startswith("FAILED test_module.py::test_value")
    assert not _fails_without(by, tmp_path, module, "VALUE = 1\n", 60.0)
    always = by.replace("test_value", "test_that_always_fails")
    assert _fails_without(always, tmp_path, module, "VALUE = 1\n", 60.0)
