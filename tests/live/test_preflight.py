"""Before the start: rights, as the kernel shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpe_filter.live.preflight import may_administer


@pytest.mark.parametrize(
    ("capabilities", "may"),
    [
        ("000001ffffffffff", True),  # root's
        ("0000000000001000", True),  # CAP_NET_ADMIN alone
        ("0000000000003000", True),  # and CAP_NET_RAW
        ("0000000000002000", False),  # CAP_NET_RAW alone
        ("000001ffffffefff", False),  # all others
        ("00000000a80425fb", False),  # root in a container
        ("0000000000000000", False),
    ],
)
def test_rights_are_the_effective_capability(tmp_path: Path, capabilities: str, may: bool) -> None:
    status = tmp_path / "status"
    status.write_text(
        "Name:\tcpe-filter\nUid:\t0\t0\t0\t0\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\n"
        f"CapEff:\t{capabilities}\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n"
    )
    assert may_administer(str(status)) is may


@pytest.mark.parametrize("content", ["", "Name:\tx\n", "CapEff:\tmany\n"])
def test_without_capabilities_root_may(tmp_path: Path, content: str) -> None:
    status = tmp_path / "status"
    status.write_text(content)
    assert may_administer(str(status)) is (os.geteuid() == 0)
    assert may_administer(str(tmp_path / "none")) is (os.geteuid() == 0)
