"""Modes, standings, exemptions and limits -> decisions."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from cpe_filter.detect.device import Collective, Device
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED
from cpe_filter.enforce.decide import (
    BLOCK,
    EXPLAIN,
    LIMIT,
    PASS,
    REFUSE,
    Decision,
    effective_mode,
    on_connection,
    on_message,
    on_recipient,
    on_running,
    standing,
)
from cpe_filter.policy.model import Exemption, Policy
from tests.policies import changed_policy, make_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing

MAC, SERVER = b"\2\0\0\0\0\1", bytes([198, 51, 100, 25])
NETWORK = ip_network("198.51.100.0/24")


def device(standing: Standing = CLEAR) -> Device:
    made = Device(MAC, 0.0)
    made.score.standing = standing
    return made


@pytest.mark.parametrize(
    ("mode", "standing", "escalate", "effective"),
    [
        ("monitor", CLEAR, True, "monitor"),
        ("monitor", SUSPECTED, True, "limit"),
        ("monitor", COMPROMISED, True, "block"),
        ("limit", CLEAR, True, "limit"),
        ("limit", SUSPECTED, True, "limit"),
        ("limit", COMPROMISED, True, "block"),
        ("block", CLEAR, True, "block"),
        ("block", SUSPECTED, True, "block"),
        ("block", COMPROMISED, True, "block"),
        ("monitor", COMPROMISED, False, "monitor"),
        ("limit", COMPROMISED, False, "limit"),
        ("block", CLEAR, False, "block"),
    ],
)
def test_standing_raises_the_mode_and_never_lowers_it(
    mode: str, standing: Standing, escalate: bool, effective: str
) -> None:
    assert effective_mode(make_policy(mode=mode, escalate=escalate), device(standing)) == effective


@pytest.mark.parametrize(
    ("mode", "standing", "what"),
    [
        ("monitor", CLEAR, PASS),
        ("limit", CLEAR, PASS),
        ("block", CLEAR, EXPLAIN),
        ("block", COMPROMISED, BLOCK),
        ("monitor", COMPROMISED, BLOCK),
    ],
)
def test_on_connection(mode: str, standing: Standing, what: str) -> None:
    decision = on_connection(make_policy(mode=mode), device(standing), SERVER, True, 0.0)
    assert decision.action == what
    assert decision.reason


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        (Exemption(MAC, NETWORK, None, ""), True),
        (Exemption(MAC, None, None, ""), True),
        (Exemption(None, NETWORK, None, ""), True),
        (Exemption(b"\2\0\0\0\0\2", NETWORK, None, ""), False),
        (Exemption(MAC, ip_network("198.51.101.0/24"), None, ""), False),
        (Exemption(MAC, ip_network("2001:db8::/32"), None, ""), False),
        (Exemption(MAC, NETWORK, 1000.0, ""), True),
        (Exemption(MAC, NETWORK, 999.0, ""), False),
    ],
)
@pytest.mark.parametrize("standing", [CLEAR, COMPROMISED])
def test_exemptions_come_first(rule: Exemption, passes: bool, standing: Standing) -> None:
    policy = make_policy(mode="block", exempt=(rule,))
    assert (on_connection(policy, device(standing), SERVER, True, 1000.0).action == PASS) is passes
    assert (on_running(policy, device(standing), SERVER, 1000.0) is None) is passes


def test_the_reason_of_an_exemption_is_told() -> None:
    policy = Policy(exempt=(Exemption(MAC, NETWORK, None, "its own mail server"),))
    assert on_connection(policy, device(), SERVER, True, 0.0).reason == "exempt: its own mail server"


def test_connections_burst_then_rate() -> None:
    policy = make_policy(mode="limit", connections_per_hour=60, connections_burst=3)
    one = device()
    outcomes = [
        on_connection(policy, one, SERVER, False, t).action for t in (0, 0, 0, 0, 30, 61, 62, 3000, 3000, 3000, 3000)
    ]
    assert outcomes == [PASS] * 3 + [LIMIT] * 2 + [PASS, LIMIT] + [PASS] * 3 + [LIMIT]


def test_new_servers_have_a_limit_of_their_own() -> None:
    policy = make_policy(mode="limit", destinations_per_hour=1, destinations_burst=2)
    one = device()
    assert [on_connection(policy, one, SERVER, True, 0.0).action for _ in range(3)] == [PASS, PASS, REFUSE]
    assert on_connection(policy, one, SERVER, False, 0.0).action == PASS
    assert "1 new servers/h" in on_connection(policy, one, SERVER, True, 0.0).reason


def test_recipients_end_a_session_only_over_the_limit() -> None:
    policy = make_policy(mode="limit", recipients_per_hour=10, recipients_burst=2)
    one = device()
    assert on_recipient(policy, one, SERVER, 0.0) is None
    assert on_recipient(policy, one, SERVER, 0.0) is None
    over = on_recipient(policy, one, SERVER, 0.0)
    assert over is not None
    assert over.action == REFUSE
    assert on_recipient(policy, one, SERVER, 360.1) is None
    assert on_recipient(make_policy(mode="monitor", recipients_burst=1), one, SERVER, 0.0) is None
    free = policy._replace(exempt=(Exemption(MAC, NETWORK, None, ""),))
    assert on_recipient(free, one, SERVER, 360.1) is None


def test_messages_have_a_limit_of_their_own() -> None:
    policy = make_policy(mode="limit", messages_per_hour=10, messages_burst=1)
    one = device()
    assert on_message(policy, one, SERVER, 0.0) is None
    over = on_message(policy, one, SERVER, 0.0)
    assert over is not None
    assert (over.action, over.reason) == (REFUSE, "over the limit of 10 messages/h")
    assert on_recipient(policy, one, SERVER, 0.0) is None


@pytest.mark.parametrize(("refusal", "what"), [("explain", EXPLAIN), ("reset", REFUSE)])
def test_mode_block_explains_or_resets_and_a_flood_is_the_kernels(refusal: str, what: str) -> None:
    policy = make_policy(mode="block", refusal=refusal, connections_burst=2)
    one = device()
    decisions = [on_connection(policy, one, SERVER, True, 0.0) for _ in range(3)]
    assert [decision.action for decision in decisions] == [what, what, LIMIT]
    assert "connections/h" in decisions[2].reason
    # What runs already cannot be explained any more.
    running = on_running(policy, one, SERVER, 0.0)
    assert running is not None
    assert running.action == REFUSE


def test_what_is_exempt_takes_no_tokens() -> None:
    policy = make_policy(mode="limit", recipients_burst=1, exempt=(Exemption(None, NETWORK, None, ""),))
    one = device()
    for _ in range(5):
        assert on_recipient(policy, one, SERVER, 0.0) is None
        assert on_connection(changed_policy(policy, connections_burst=1), one, SERVER, True, 0.0).action == PASS
    assert one.buckets == {}
    assert on_recipient(policy, one, bytes([203, 0, 113, 25]), 0.0) is None


def test_devices_do_not_share_limits() -> None:
    policy = make_policy(mode="limit", connections_burst=1)
    one, other = device(), Device(b"\2\0\0\0\0\2", 0.0)
    assert on_connection(policy, one, SERVER, False, 0.0).action == PASS
    assert on_connection(policy, one, SERVER, False, 0.0).action == LIMIT
    assert on_connection(policy, other, SERVER, False, 0.0).action == PASS


def test_a_clock_that_goes_back_gives_no_tokens() -> None:
    policy = make_policy(mode="limit", connections_burst=1)
    one = device()
    assert on_connection(policy, one, SERVER, False, 5000.0).action == PASS
    assert on_connection(policy, one, SERVER, False, 10.0).action == LIMIT


# ── strangers ───────────────────────────────────────────────────────────────────────────────────────


def stranger(home: Collective, number: int = 0) -> Device:
    made = Device(bytes((6, 0, 0, 0, 0, number)), 0.0)
    made.home, made.shares = home, (home.buckets,)
    return made


@pytest.mark.parametrize("own", [CLEAR, SUSPECTED, COMPROMISED])
@pytest.mark.parametrize("shared", [CLEAR, SUSPECTED, COMPROMISED])
def test_a_stranger_s_standing_is_the_worse_of_its_own_and_the_home_s(own: Standing, shared: Standing) -> None:
    home = Collective(0.0)
    home.score.standing = shared
    one = stranger(home)
    one.score.standing = own
    order: list[Standing] = [CLEAR, SUSPECTED, COMPROMISED]
    assert standing(one) == order[max(order.index(own), order.index(shared))]
    assert standing(device(own)) == own


def test_a_compromised_home_blocks_strangers_alone() -> None:
    home = Collective(0.0)
    home.score.standing = COMPROMISED
    for mode in ("monitor", "limit"):
        policy = make_policy(mode=mode)
        for decision in (
            on_connection(policy, stranger(home), SERVER, True, 0.0),
            on_running(policy, stranger(home), SERVER, 0.0),
        ):
            assert decision is not None
            assert decision.action in (EXPLAIN, REFUSE)
            assert decision.reason == "an unknown device of this home is compromised"
        assert on_connection(policy, device(), SERVER, True, 0.0).action == PASS
        assert on_running(policy, device(), SERVER, 0.0) is None
    tolerant = make_policy(mode="monitor", escalate=False)
    assert on_connection(tolerant, stranger(home), SERVER, True, 0.0).action == PASS


def test_an_exemption_holds_for_strangers_of_a_compromised_home() -> None:
    home = Collective(0.0)
    home.score.standing = COMPROMISED
    policy = make_policy(mode="limit", exempt=(Exemption(None, NETWORK, None, ""),))
    assert on_connection(policy, stranger(home), SERVER, True, 0.0).action == PASS


def test_a_suspected_home_limits_strangers_in_mode_monitor() -> None:
    home = Collective(0.0)
    home.score.standing = SUSPECTED
    policy = make_policy(mode="monitor", destinations_burst=2)
    outcomes = [on_connection(policy, stranger(home, n), SERVER, True, 0.0).action for n in range(3)]
    assert outcomes == [PASS, PASS, REFUSE]


@pytest.mark.parametrize("take", [on_message, on_recipient])
def test_strangers_share_the_limits_in_a_session(take: Callable[..., Decision | None]) -> None:
    home = Collective(0.0)
    policy = make_policy(mode="limit", messages_burst=3, recipients_burst=3)
    outcomes = [take(policy, stranger(home, n), SERVER, 0.0) for n in range(4)]
    assert outcomes[:3] == [None] * 3
    assert outcomes[3] is not None
    assert outcomes[3].reason.endswith("/h, shared with other devices")


def test_strangers_share_the_limit_of_connections_and_leave_others_theirs() -> None:
    home = Collective(0.0)
    policy = make_policy(mode="limit", connections_per_hour=60, connections_burst=3)
    assert [on_connection(policy, stranger(home, n), SERVER, False, 0.0).action for n in range(4)] == [PASS] * 3 + [
        LIMIT
    ]
    assert on_connection(policy, device(), SERVER, False, 0.0).action == PASS
    assert on_connection(policy, stranger(home, 9), SERVER, False, 60.0).action == PASS  # a token a minute


def test_a_token_is_taken_from_all_buckets_or_from_none() -> None:
    home = Collective(0.0)
    policy = make_policy(mode="limit", connections_burst=2)
    greedy = stranger(home)
    for _ in range(10):
        on_connection(policy, greedy, SERVER, False, 0.0)
    assert greedy.buckets["connections"][0] == 0.0
    home.buckets.clear()
    for _ in range(10):  # its own bucket is empty: it takes nothing from the others'
        assert on_connection(policy, greedy, SERVER, False, 0.0).action == LIMIT
    assert on_connection(policy, stranger(home, 1), SERVER, False, 0.0).action == PASS
    assert on_connection(policy, stranger(home, 2), SERVER, False, 0.0).action == PASS
    late = stranger(home, 3)
    assert on_connection(policy, late, SERVER, False, 0.0).action == LIMIT
    assert late.buckets["connections"][0] == 2.0
