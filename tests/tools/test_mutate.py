"""The sample of changes: each is one change, compiles, and is the same for the same seed."""

from __future__ import annotations

from tools.mutate import ROOMS, changes, sample, suites

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
    assert drawn == sample(list(ROOMS), 20, 25)
    assert drawn != sample(list(ROOMS), 20, 26)
    assert {one.path.split("/")[1] for one in drawn} == set(ROOMS)
    assert len({one.kind for one in drawn}) == 5


def test_a_modules_own_tests_come_first() -> None:
    first, rest = suites("cpe_filter/enforce/nftables.py")
    assert "tests/enforce/test_nftables.py" in first
    assert rest[0] == "tests/enforce"
