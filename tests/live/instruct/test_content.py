"""An instruction can only relax, and is read strictly."""

from __future__ import annotations

from typing import Any

import pytest

from cpe_filter import toml_file
from cpe_filter.live.instruct import content

DEV = "0123456789abcdef"
ISSUED = 1_800_000_000  # 2027-01-15


def parsed(text: str) -> content.Instruction:
    data: dict[str, Any] = toml_file.parse(text.encode(), "t", ValueError)
    return content.parse(data, ISSUED)


def test_what_there_is() -> None:
    made = parsed(f'[instruction]\naction = "release"\ndevice = "{DEV}"\nreason = "case 1"\n')
    assert made == ("release", DEV, "case 1", 0)
    made = parsed(f'[instruction]\naction = "end-quarantine"\ndevice = "{DEV}"\nreason = "case 1"\n')
    assert made == ("end-quarantine", DEV, "case 1", 0)
    made = parsed(f'[instruction]\naction = "exempt"\ndevice = "{DEV}"\nuntil = 2027-02-01T00:00:00Z\n')
    assert made == ("exempt", DEV, "", 1_801_440_000)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected one table"),
        ("instruction = 1", "expected one table"),
        ("[[instruction]]", "expected one table"),
        ('[instruction]\n[filter]\nmode = "block"', "expected one table"),
        ("[instruction]", "action is"),
        ('[instruction]\naction = "block"', 'action is "block"'),
        ("[instruction]\naction = []", "action is"),
        ('[instruction]\naction = "release"\nmode = 1', 'unknown key "mode"'),
        ('[instruction]\naction = "release"', "device is"),
        ('[instruction]\naction = "release"\ndevice = "any"', "device is"),
        (f'[instruction]\naction = "release"\ndevice = "{DEV.upper()}"', "device is"),
        (f'[instruction]\naction = "release"\ndevice = "{DEV}"\nreason = "a\\nb"', "reason"),
        (f'[instruction]\naction = "release"\ndevice = "{DEV}"\nreason = "{"x" * 121}"', "reason"),
        (f'[instruction]\naction = "release"\ndevice = "{DEV}"\nuntil = 2027-02-01T00:00:00Z', "until: expected"),
        (
            f'[instruction]\naction = "end-quarantine"\ndevice = "{DEV}"\nuntil = 2027-02-01T00:00:00Z',
            "until: expected",
        ),
        (f'[instruction]\naction = "exempt"\ndevice = "{DEV}"', "until: expected"),
        (f'[instruction]\naction = "quarantine"\ndevice = "{DEV}"', 'action is "quarantine"'),
        (f'[instruction]\naction = "exempt"\ndevice = "{DEV}"\nuntil = 5', "until is 5"),
        (f'[instruction]\naction = "exempt"\ndevice = "{DEV}"\nuntil = 2027-02-01T00:00:00', "until is a date"),
        (f'[instruction]\naction = "exempt"\ndevice = "{DEV}"\nuntil = 2026-02-01T00:00:00Z', "not later than issued"),
        (f'[instruction]\naction = "exempt"\ndevice = "{DEV}"\nuntil = 2029-02-01T00:00:00Z', "later than allowed"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    with pytest.raises(content.ContentError, match=problem) as refusal:
        parsed(text)
    assert "\n" not in str(refusal.value)
