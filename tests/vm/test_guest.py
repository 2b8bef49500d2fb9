"""The live filter in a virtual machine whose kernel has nft's own queue: each test here is one that ran in there.

Needs qemu-system-x86_64 (`.ci/setup test` installs it) and Debian's kernel in `.vm/` (`python -m tests.vm.kernel`); no
root. Where the host's own kernel has that queue the live tests show the same without it. Only in `make vm` (VM=all);
`test_service` has the short share of `make test`.
"""

from __future__ import annotations

import os
import re

import pytest

from cpe_filter.enforce.nftables import KernelError, find_handoff
from cpe_filter.enforce.ruleset_names import NATIVE
from cpe_filter.policy.model import Policy
from tests.conftest import LIVE_REQUIRED
from tests.lab.net import PYTHON
from tests.vm import ONLY_WHOLE, WHOLE, kernel
from tests.vm.machine import Ended, run

#: Seconds for all of it: only a guest that hangs takes so long. An idle machine of two cores takes about 300.
TIMEOUT_S = 3600

pytestmark = pytest.mark.skipif(not WHOLE, reason=ONLY_WHOLE)

_NATIVE = "tests/vm/test_native.py::"
_LIVE = "tests/live/test_live.py::"
_RULES = "tests/enforce/test_live_ruleset.py::"
_ATTACKS = "tests/attacks/test_"
#: What is run in the guest, the most important first.
IN_GUEST = (
    _NATIVE + "test_the_kernel_queues_without_iptables[open-queue flags bypass to 25]",
    _NATIVE + "test_flow_offload_blinds_unless_mail_is_kept_out[fw4]",
    _NATIVE + "test_flow_offload_blinds_unless_mail_is_kept_out[home]",
    _NATIVE + "test_lookups_leave_mail_alone",
    _RULES + "test_mode_block_explains_and_nothing_leaves[IPv4-device1]",
    _RULES + "test_mode_block_explains_and_nothing_leaves[IPv6-router]",
    _RULES + "test_a_message_shows_few_packets_whatever_its_size[100000]",
    "tests/enforce/test_nftables.py::test_an_update_keeps_what_the_kernel_has_learnt_and_replaces_what_the_policy_says",
    _LIVE + "test_compromised_device_keeps_its_exemption",
    _LIVE + "test_mail_of_the_router_itself_is_seen",
    _LIVE + "test_killed_filter_and_its_successor[closed]",
    _LIVE + "test_recipients_over_the_limit_end_the_session",
    _ATTACKS + "syns.py::test_syn_again_after_its_reset[2-same-0.5-IPv4-closed-no responder]",
    _ATTACKS + "packets.py::test_extension_headers[9 destination options-closed-no responder]",
    _ATTACKS + "conviction.py::test_conviction_ends_what_runs[idle-settled server-known not read-IPv4]",
    _ATTACKS + "foreign_marks.py::test_foreign_marks_admit_nothing[pbr's-first of all-meta-open-no responder-IPv4]",
    _ATTACKS
    + "foreign_marks.py::test_foreign_marks_change_nothing_and_stay"
    + "[an IPS's-behind conntrack-meta-before-monitor-IPv4]",
    _ATTACKS + "floods.py::test_interrupted[kill-IPv6-open-no responder]",
    "tests/live/test_live_outlook.py::test_a_flushed_ruleset_is_back_within_five_seconds",
)


def own_kernel_is_native() -> bool:
    try:
        return os.geteuid() == 0 and find_handoff(Policy()) == NATIVE
    except KernelError:
        return False


@pytest.fixture(scope="module")
def guest() -> Ended:
    """The guest's whole run: pytest in it, on the tests that are named above."""
    if own_kernel_is_native():
        pytest.skip("this machine's own kernel has nft's queue: the live tests have shown it")
    reason = kernel.why_not()
    if reason and LIVE_REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    plugins = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    # -v says what became of each test as soon as it has ended.
    command = [PYTHON, "-m", "pytest", *plugins, "-o", "addopts=", "-v", "--tb=short", "--color=no", *IN_GUEST]
    return run(command, TIMEOUT_S, {"CPE_FILTER_LIVE": "required", "CPE_FILTER_HANDOFF": "native", "COLUMNS": "200"})


def test_the_guest_runs(guest: Ended) -> None:
    assert "test session starts" in guest.output, guest.console


@pytest.mark.parametrize("name", IN_GUEST)
def test_in_guest(guest: Ended, name: str) -> None:
    found = re.search(rf"^{re.escape(name)} (PASSED|FAILED|ERROR|SKIPPED)", guest.output, re.MULTILINE)
    assert found is not None, guest.output + guest.console
    assert found[1] == "PASSED", _told(guest.output, name)


def _told(output: str, name: str) -> str:
    """What the guest's pytest said of one test: from its own heading to the next."""
    heading = re.escape(name.split("::")[1])
    found = re.search(rf"^_+ (ERROR at \w+ of )?{heading} _+$.*?(?=^[_=]{{3}})", output, re.MULTILINE | re.DOTALL)
    return found[0] if found else output
