"""A share of the table of lines on this kernel: mail is filtered, or passes and is said to be unwatched."""

from __future__ import annotations

import pytest

from tests.lab.lines.measure import here, impossible, setting_of

pytestmark = pytest.mark.live

#: Line and setting: each line once, each mode with all interfaces and with one missing.
SHARE = (
    ("pppoe", "limit-open-1"),
    ("ds-lite", "block-open-0"),
    ("464xlat", "block-open-1"),
    ("464xlat", "monitor-open-0"),
    ("map-e", "monitor-open-1"),
    ("6rd", "block-closed-0"),
    ("nat64", "block-open-1"),
    ("vlan", "limit-open-0"),
    ("wireguard", "monitor-open-0"),
    ("uplinks", "block-open-0"),
    ("bridge", "block-open-0"),
    ("guest-reject", "block-open-1"),
    ("guest-reject", "limit-closed-0"),
    ("guest-open", "block-open-1"),
)


@pytest.mark.parametrize(("line", "setting"), SHARE)
def test_mail_is_filtered_or_said_to_be_unwatched(live: None, line: str, setting: str) -> None:
    if line in impossible():
        pytest.skip(impossible()[line])
    found = list(here([line], [setting_of(setting)]))
    assert {row.family for row in found} == {4, 6}
    assert not [row for row in found if row.wrong]
