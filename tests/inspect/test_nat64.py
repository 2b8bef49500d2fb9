"""IPv4 addresses in IPv6 ones: RFC 6052's own examples, both directions, and how prefixes are announced."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.detect.detector import Detector
from cpe_filter.detect.device import Device
from cpe_filter.enforce import decide
from cpe_filter.inspect.nat64 import LENGTHS, WELL_KNOWN, embedded, networks, prefix_in, server
from cpe_filter.policy.model import Exemption
from tests.policies import make_policy

#: RFC 6052 section 2.4, 192.0.2.33 in each.
TABLE = {
    "2001:db8::/32": "2001:db8:c000:221::",
    "2001:db8:100::/40": "2001:db8:1c0:2:21::",
    "2001:db8:122::/48": "2001:db8:122:c000:2:2100::",
    "2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
    "2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::",
    "2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
    "64:ff9b::/96": "64:ff9b::192.0.2.33",
}
ADDRESS = IPv4Address("192.0.2.33")


def packed(address: str) -> bytes:
    return ip_address(address).packed


@pytest.mark.parametrize(("prefix", "address"), TABLE.items())
def test_the_rfc_s_examples(prefix: str, address: str) -> None:
    known = IPv6Network(prefix)
    assert embedded(packed(address), (known,)) == ADDRESS.packed
    wanted = networks([IPv4Network(ADDRESS)], (known,))[-1]
    assert IPv6Address(address) in wanted
    assert wanted.network_address == IPv6Address(address)


def test_what_is_behind_no_translator() -> None:
    for address in ("2001:db8::1", "64:ff9c::192.0.2.33", "64:ff9b::1:192.0.2.33", "::192.0.2.33", "192.0.2.33"):
        assert embedded(packed(address)) is None
        assert server(packed(address)) == packed(address)
    assert embedded(b"") is None


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.integers(0, 2**128 - 1), st.sampled_from(LENGTHS), st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_networks_hold_what_is_embedded(number: int, length: int, ipv4: int, bits: int) -> None:
    prefix = IPv6Network((number, length), strict=False)
    whole = networks([IPv4Network((ipv4, 32))], (prefix,))[-1].network_address
    assert embedded(whole.packed, (prefix,)) == ipv4.to_bytes(4, "big") or whole in WELL_KNOWN
    around = IPv4Network((ipv4, bits), strict=False)
    assert whole in networks([around], (prefix,))[-1]
    other = ipv4 ^ (1 << 32 - bits) if bits else None
    if other is not None:
        beside = networks([IPv4Network((other, 32))], (prefix,))[-1].network_address
        assert beside not in networks([around], (prefix,))[-1]


def test_networks_of_ipv4_alone() -> None:
    given_ = [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")]
    assert networks(given_) == [IPv6Network("64:ff9b::192.0.2.0/120")]
    assert networks(given_, (WELL_KNOWN,)) == networks(given_)


@pytest.mark.parametrize(("prefix", "address"), TABLE.items())
def test_prefixes_told_by_dns(prefix: str, address: str) -> None:
    known = IPv6Network(prefix)
    for last in (170, 171):
        (well_known,) = networks([IPv4Network(f"192.0.0.{last}")], (known,))[-1:]
        assert prefix_in(well_known.network_address.packed) == known
    assert prefix_in(packed(address)) is None
    assert prefix_in(b"") is None


@pytest.mark.parametrize("prefix", [f"64:ff9b:1:{rest}" for rest in (":/48", "ab00::/56", "abcd::/64", "2:0:3::/96")])
def test_local_translators_count_by_ipv4_and_admit_nothing(prefix: str) -> None:
    where = networks([IPv4Network(ADDRESS)], (IPv6Network(prefix),))[-1].network_address.packed
    assert server(where) == ADDRESS.packed
    assert embedded(where) is None


@pytest.mark.parametrize("prefix", ["64:ff9b::/96", "2001:db8:122:300::/56"])
def test_servers_behind_a_translator_are_as_many_networks_as_by_ipv4(prefix: str) -> None:
    detector, plain = Detector(), Detector()
    detector.nat64 = (IPv6Network(prefix),)
    device, other = Device(b"\2\0\0\0\0\1", 0.0), Device(b"\2\0\0\0\0\2", 0.0)
    for number in range(60):
        address = IPv4Address((198 << 24) + (18 << 16) + (number // 2 << 8) + number)
        where = networks([IPv4Network(address)], detector.nat64)[-1].network_address
        detector.established(detector.opened(device, where.packed, number), number)
        plain.established(plain.opened(other, address.packed, number), number)
    assert device.networks == other.networks == 30
    assert device.score.sums == other.score.sums


@pytest.mark.parametrize("prefix", ["64:ff9b::/96", "2001:db8:122:300::/56"])
def test_exemptions_by_ipv4_cover_what_is_translated(prefix: str) -> None:
    rule = Exemption(None, ip_network("192.0.2.0/24"), None, "")
    policy = make_policy(exempt=(rule,), nat64=(IPv6Network(prefix),))
    device = Device(b"\2\0\0\0\0\1", 0.0)
    for address, covered in ((ADDRESS, True), (IPv4Address("192.0.3.33"), False)):
        where = networks([IPv4Network(address)], policy.network.nat64)[-1].network_address.packed
        assert bool(decide.exempt(policy, device, where, 0.0)) == covered
    # Where nobody has said that there is a translator, anybody may have such an address.
    where = packed(TABLE["2001:db8:122:344::/64"])
    assert decide.exempt(policy, device, where, 0.0) is None
