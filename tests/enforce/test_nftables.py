"""Into the kernel and out again: in a network namespace of its own, without traffic."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_network

import pytest

from cpe_filter.enforce.ruleset import NATIVE, XTABLES, render, replacement
from cpe_filter.policy import Exemption, Policy

pytestmark = pytest.mark.live

MAC, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
Run = Callable[..., str]


@pytest.fixture
def inside() -> Iterator[Run]:
    """Runs a Python program in a namespace; what it prints."""
    name = f"cf-nft-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)

    def run(program: str) -> str:
        header = (
            "from ipaddress import ip_network\n"
            "from cpe_filter.enforce import nftables\n"
            "from cpe_filter.enforce.ruleset import *\n"
            "from cpe_filter.policy import Exemption, Policy\n"
            f"MAC, OTHER = {MAC!r}, {OTHER!r}\n"
        )
        command = ["ip", "netns", "exec", name, sys.executable, "-c", header + program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert not done.returncode, done.stderr
        return done.stdout

    try:
        yield run
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


LISTING = (
    "import subprocess\n"
    "listing = lambda: subprocess.run(['nft', 'list', 'ruleset'], capture_output=True, text=True).stdout\n"
)


def test_nothing_is_left(inside: Run) -> None:
    out = inside(
        LISTING + "before = listing()\n"
        "nftables.install(Policy(), XTABLES)\n"
        "during = listing()\n"
        "nftables.remove(XTABLES)\n"
        "print('cpe_filter' in during, 'CPE_FILTER' in during, listing() == before)\n"
    )
    assert out.split() == ["True", "True", "True"]


def test_an_update_keeps_what_the_kernel_has_learnt_and_replaces_what_the_policy_says(inside: Run) -> None:
    out = inside(
        LISTING + "nftables.install(Policy(relays=(ip_network('192.0.2.1'),)), XTABLES)\n"
        "nftables._nft('add element inet cpe_filter blocked { 02:00:00:00:00:01 timeout 1h }\\n')\n"
        "first = [line for line in listing().splitlines() if 'hook' in line]\n"
        "exempt = (Exemption(MAC, ip_network('198.51.100.0/24'), None, ''), Exemption(OTHER, None, None, ''))\n"
        "relays = (ip_network('2001:db8::1'),)\n"
        "nftables.update(Policy(mode='monitor', relays=relays, exempt=exempt, ports=(25, 2526)), XTABLES)\n"
        "text = listing()\n"
        "print('02:00:00:00:00:01 timeout 1h' in text, '192.0.2.1' in text, '2001:db8::1' in text)\n"
        "print('02:00:00:00:00:01 . 198.51.100.0/24' in text, 'elements = { 02:00:00:00:00:02 }' in text)\n"
        "print('2526' in text)\n"
        "print(text.count('chain inspect_out'), text.count('jump inspect_out'))\n"
        "print([line for line in text.splitlines() if 'hook' in line] == first)\n"
    )
    assert out.split() == ["True", "False", "True", "True", "True", "True", "1", "2", "True"]


def test_an_update_over_a_strange_table_of_our_name(inside: Run) -> None:
    """Of another version: its base chains have other priorities, its sets other types."""
    out = inside(
        LISTING + "nftables._nft('table inet cpe_filter { set blocked { type ipv4_addr; }; "
        "chain early { type filter hook prerouting priority -10; }; }\\n')\n"
        "nftables.update(Policy(), XTABLES)\n"
        "print('set blocked {\\n\\t\\ttype ether_addr' in listing(), 'priority raw' in listing())\n"
    )
    assert out.split() == ["True", "True"]


def test_release_takes_a_device_out_of_both_sets(inside: Run) -> None:
    out = inside(
        LISTING + "nftables.install(Policy(), XTABLES)\n"
        "for name in ('blocked', 'limited'):\n"
        "    nftables._nft(f'add element inet cpe_filter {name} {{ 02:00:00:00:00:01 timeout 1h }}\\n')\n"
        "nftables._nft('add element inet cpe_filter blocked { 02:00:00:00:00:02 timeout 1h }\\n')\n"
        "print(repr(nftables.release(MAC)), repr(nftables.release(MAC)))\n"
        "print('02:00:00:00:00:01' in listing(), '02:00:00:00:00:02' in listing())\n"
        "nftables.remove(XTABLES)\n"
        "print(nftables.release(MAC) != '')\n"
    )
    assert out.split() == ["''", "''", "False", "True", "True"]


def test_a_ruleset_that_nft_refuses_changes_nothing(inside: Run) -> None:
    out = inside(
        LISTING + "nftables.install(Policy(), XTABLES)\n"
        "before = listing()\n"
        "try: nftables.update(Policy(lan=('a' * 40,)), XTABLES)\n"
        "except nftables.KernelError as error: print('refused' in str(error))\n"
        "print(listing() == before)\n"
    )
    assert out.split() == ["True", "True"]


def test_what_is_closed_stays_so_when_xtables_refuses(inside: Run) -> None:
    """A filter's successor, or a repair: without its part of the ruleset nothing is queued, and the table drops all."""
    out = inside(
        LISTING + "def refused(_tables, _policy): raise nftables.KernelError('refused')\n"
        "hook, nftables._hook_xtables = nftables._hook_xtables, refused\n"
        "def install(fail):\n"
        "    try: nftables.install(Policy(fail=fail), XTABLES)\n"
        "    except nftables.KernelError: return 'cpe_filter' in listing(), 'CPE_FILTER' in listing()\n"
        "print(*install('closed'))\n"  # the first start: nothing is there, and nothing stays
        "nftables._hook_xtables = hook\n"
        "print(install('closed'))\n"
        "nftables._hook_xtables = refused\n"
        "print(*install('closed'), *install('open'))\n"
    )
    assert out.split() == ["False", "False", "None", "True", "True", "False", "False"]


@pytest.mark.parametrize("handoff", [NATIVE, XTABLES])
@pytest.mark.parametrize("text", [render, replacement])
def test_networks_that_overlap_are_merged(handoff: str, text: Callable[[Policy, str], str]) -> None:
    networks = [ip_network(name) for name in ("198.51.100.0/24", "198.51.0.0/16", "2001:db8::/48", "2001:db8::/32")]
    exempt = tuple(Exemption(device, network, None, "") for device in (MAC, None) for network in networks)
    found = text(Policy(relays=tuple(networks), exempt=exempt), handoff)
    assert "198.51.100.0/24" not in found
    assert "2001:db8::/48" not in found
    assert f"{MAC.hex(':')} . 198.51.0.0/16" in found


def test_fail_closed_has_no_bypass() -> None:
    assert "queue flags bypass to 25" in render(Policy(), NATIVE)
    assert "queue to 25" in render(Policy(fail="closed"), NATIVE)
