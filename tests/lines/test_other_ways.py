"""Ways out that come on top of a line, or after the filter has started; and what the policy lacks, named by the log."""

from __future__ import annotations

import pytest

from tests.lab.lines.lay import DEVICES, PREFIX64, lay, other_way
from tests.lab.lines.measure import cells, impossible, setting_of
from tests.lab.mail import sent
from tests.lab.net import RELAY4, Lab, mx4, mx6

pytestmark = pytest.mark.live

#: A way out that is not in the policy: its name, what leads there, and the setting.
OTHER_WAYS = (
    ("464-wan_4", "dport", "block-open-0"),
    ("lte_6_4", "iif", "monitor-open-0"),
    ("tun0", "source", "block-closed-0"),
    ("wg0", "fwmark", "limit-open-0"),
    ("wwan0", "multipath", "block-open-0"),
    ("usb0", "multipath", "block-open-1"),
    ("ppp0", "fwmark", "block-open-1"),
)


@pytest.mark.parametrize(("name", "by", "setting"), OTHER_WAYS)
def test_another_way_out(live: None, name: str, by: str, setting: str) -> None:
    with Lab(devices=DEVICES) as lab:
        lab.start_servers()
        laid = other_way(lab, name, by)
        found = [cell for _, cell in cells(lab, laid, [setting_of(setting)])]
    assert len(found) == 2
    assert not [cell for cell in found if cell.wrong]


@pytest.mark.parametrize("listed", [False, True])
def test_a_line_that_comes_after_the_filter(live: None, listed: bool) -> None:
    """As netifd adds a tunnel when the provider's answer has come, and again after a lost connection."""
    with Lab(devices=DEVICES) as lab:
        lab.start_servers()
        lab.wan = ["wan", "ds-*"] if listed else ["wan"]
        running = lab.start_filter(lab.policy('[filter]\nmode = "block"\nrefusal = "reset"\n'))
        assert not sent(lab, mx4(0))
        lay(lab, "ds-lite")
        for _ in range(2):
            assert sent(lab, RELAY4)
            assert sent(lab, mx4(0)) is not listed
            assert not sent(lab, mx6(0))
            lab.run("router", ["ip", "link", "set", "ds-wan6_4", "down"])
            lab.run("router", ["ip", "link", "set", "ds-wan6_4", "up"])
            lab.run("router", ["ip", "route", "replace", "default", "dev", "ds-wan6_4"])
        if not listed:
            running.wait_for("IPv4 leaves by ds-wan6_4, which is not watched")
        assert ("which is not watched" in running.log()) is not listed


@pytest.mark.parametrize("listed", [False, True])
def test_a_nat64_prefix_that_the_policy_lacks_is_named(live: None, listed: bool) -> None:
    """Without it the relay is any server behind the translator, and the log says what to set."""
    if "nat64" in impossible():
        pytest.skip(impossible()["nat64"])
    with Lab(devices=DEVICES) as lab:
        lab.start_servers()
        laid = lay(lab, "nat64")
        # What the resolver has for ipv4only.arpa (RFC 7050), as the service writes it.
        (lab.folder / "nat64").write_text(f"{PREFIX64}c000:aa\n")
        policy = lab.policy('[filter]\nmode = "block"\nrefusal = "reset"\n')
        if listed:
            policy.write_text(policy.read_text().replace("[network]\n", f"[network]\n{laid.network}", 1))
        running = lab.start_filter(policy)
        running.wait_for(f"NAT64 prefix {PREFIX64}/96 found")
        assert sent(lab, PREFIX64 + RELAY4) is listed
        assert (f"NAT64 prefix {PREFIX64}/96 is not in [network] nat64" in running.log()) is not listed
