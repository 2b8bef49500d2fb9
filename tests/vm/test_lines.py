"""Lines whose links only Debian's kernel has: PPPoE, tunnels, VLANs, WireGuard. Only in `make vm`."""

from __future__ import annotations

import pytest

from tests.conftest import LIVE_REQUIRED
from tests.lab.lines import programs
from tests.lab.lines.measure import Row, in_guest, setting_of
from tests.vm import ONLY_WHOLE, WHOLE, kernel

pytestmark = pytest.mark.skipif(not WHOLE, reason=ONLY_WHOLE)

#: The line -> what its link is there.
REAL = {
    "pppoe": "pppd with the kernel's pppoe",
    "ds-lite": "the kernel's ip6_tunnel",
    "map-e": "the kernel's ip6_tunnel",
    "6rd": "the kernel's sit",
    "vlan": "the kernel's 8021q",
    "wireguard": "the kernel's wireguard, fwmark and ip rule",
    "bridge": "the kernel's VLAN filtering and 8021q",
}
SETTINGS = ("block-open-1", "monitor-open-0")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    reason = kernel.why_not() or programs.get()
    if reason and LIVE_REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    return list(in_guest(list(REAL), [setting_of(word) for word in SETTINGS]))


@pytest.mark.parametrize("line", REAL)
def test_mail_is_filtered_or_said_to_be_unwatched(rows: list[Row], line: str) -> None:
    found = [row for row in rows if row.line == line]
    assert {row.by for row in found} == {REAL[line]}
    assert len(found) == 2 * len(SETTINGS)
    assert not [row for row in found if row.wrong]
