"""The table of attacks in docs/provisioning.md names tests that are there."""

from __future__ import annotations

import re

from tests.lab.net import PROJECT

HEADING = "## What holds against what"


def test_each_attack_has_a_test_that_is_there() -> None:
    text = (PROJECT / "docs" / "provisioning.md").read_text().partition(HEADING)[2]
    rows = [line for line in re.split("\n##+ ", text)[0].splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        for file, test in named:
            assert f"\ndef {test}(" in (PROJECT / file).read_text(), (file, test)
