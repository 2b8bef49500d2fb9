"""The rule of the hand-off that xtables' NFQUEUE carries: its bytes, without a kernel."""

from __future__ import annotations

import struct

import pytest

from cpe_filter.enforce import nftables
from tests.policies import make_policy


@pytest.mark.parametrize(("fail", "flags"), [("open", 1), ("closed", 0)])
def test_xtables_rule_has_the_bypass_in_fail_open_alone(fail: str, flags: int) -> None:
    """NFQ_FLAG_BYPASS is 1; 2 spreads packets over queues (linux/netfilter/xt_NFQUEUE.h)."""
    info = nftables._nfqueue_info(make_policy(fail=fail))
    assert struct.unpack("=HHH2x", info) == (25, 1, flags)
