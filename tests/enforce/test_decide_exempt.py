"""Exemptions: the index answers as going through all of them would, at a cost that does not grow with their number."""

from __future__ import annotations

import random
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.detect.device import Device
from cpe_filter.enforce.decide import Decision, Index, exempt, index
from cpe_filter.policy.model import Exemption, Policy
from tests.policies import changed_policy

MACS = [bytes((2, 0, 0, 0, 0, n)) for n in range(3)]
KEYS = [*MACS, MACS[0] + bytes((192, 168, 7, 5)), MACS[1] + bytes(8), bytes((192, 0, 2, 1)), bytes(16)]
SERVERS = [ip_address(text).packed for text in ("0.0.0.0", "198.51.100.25", "198.51.101.25", "::", "2001:db8::25")]


def scanned(policy: Policy, device: Device, server: bytes, wall: float) -> Exemption | None:
    """The first in the policy's order that is in force and covers both."""
    for rule in policy.exempt:
        if rule.until is not None and wall > rule.until:
            continue
        if rule.device is not None and rule.device != device.mac:
            continue
        if rule.destination is None or ip_address(server) in rule.destination:
            return rule
    return None


def around(server: bytes, length: int) -> IPv4Network | IPv6Network:
    return ip_network((server, min(length, 8 * len(server))), strict=False)


NETWORKS = st.builds(around, st.sampled_from(SERVERS), st.sampled_from((0, 8, 22, 23, 24, 32, 48, 64, 128)))
RULES = st.builds(
    Exemption,
    st.sampled_from([None, *MACS]),
    st.none() | NETWORKS,
    st.none() | st.integers(0, 6).map(float),
    st.text("abc", max_size=2),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(RULES, max_size=12), st.sampled_from(KEYS), st.sampled_from(SERVERS), st.integers(0, 7))
def test_the_index_finds_what_a_scan_finds(rules: list[Exemption], key: bytes, server: bytes, wall: int) -> None:
    policy, device = Policy(exempt=tuple(rules)), Device(key, 0.0)
    found = scanned(policy, device, server, float(wall))
    assert Index(policy.exempt).find(device.mac, server, float(wall)) is found
    decided = exempt(policy, device, server, float(wall))
    reason = found and (f"exempt: {found.reason}" if found.reason else "exempt")
    assert decided == (reason and Decision("pass", reason))


def many(count: int) -> tuple[Exemption, ...]:
    rng = random.Random(count)
    return tuple(
        Exemption(
            rng.choice((None, rng.randbytes(6))),
            ip_network((rng.randbytes(4), rng.choice((24, 28, 32))), strict=False),
            rng.choice((None, rng.random() * 1e9)),
            "",
        )
        for _ in range(count)
    )


@pytest.mark.parametrize("count", [10, 1000, 10000])
def test_a_lookup_costs_the_same_however_many_there_are(count: int) -> None:
    found = Index(many(count))
    found.find(MACS[0], SERVERS[1], 0.0)
    assert found.lookups <= 2 + 3  # two devices, three lengths of networks


def test_many_of_one_device_and_destination_are_searched_by_halves() -> None:
    found = Index(tuple(Exemption(None, None, float(n), "") for n in range(10000)))
    rule = found.find(MACS[0], SERVERS[0], 9000.5)
    assert rule is not None
    assert rule.until == 9001.0
    assert found.lookups < 20


def test_the_index_is_made_once_for_a_policy() -> None:
    policy = Policy(exempt=many(10))
    assert index(policy) is index(changed_policy(policy, mode="limit"))
    assert index(Policy(exempt=many(11))) is not index(policy)
