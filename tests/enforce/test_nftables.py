"""Into the kernel and out again: in a network namespace of its own, without traffic."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_network

import pytest

from cpe_filter.enforce.ruleset import render, replacement
from cpe_filter.enforce.ruleset_names import NATIVE, XTABLES
from cpe_filter.policy.model import Exemption, Policy
from tests.lab.net import DEADLINE_S
from tests.policies import make_policy

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
            "from cpe_filter.enforce.ruleset_names import *\n"
            "from cpe_filter.policy.model import Exemption\n"
            "from tests.policies import changed_policy, make_policy as Policy\n"
            f"MAC, OTHER = {MAC!r}, {OTHER!r}\n"
        )
        command = ["ip", "netns", "exec", name, sys.executable, "-c", header + program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
        assert not done.returncode, done.stderr
        return done.stdout

    try:
        yield run
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


LISTING = (
    "import subprocess\n"
    "import re\n"
    "def listing():\n"
    "    text = subprocess.run(['nft', 'list', 'ruleset'], capture_output=True, text=True).stdout\n"
    "    return re.sub(' expires [0-9a-z]+', '', text)\n"
)


def test_nothing_is_left(inside: Run) -> None:
    out = inside(
        LISTING + "before = listing()\n"
        "nftables.install(Policy(), XTABLES)\n"
        "during = listing()\n"
        "nftables.remove()\n"
        "print('cpe_filter' in during, 'queue' in during, 'mark set' in during, listing() == before)\n"
    )
    assert out.split() == ["True", "True", "False", "True"]


def test_an_update_keeps_what_the_kernel_has_learnt_and_replaces_what_the_policy_says(inside: Run) -> None:
    out = inside(
        LISTING + "handoff = nftables.find_handoff(Policy())\n"
        "nftables.install(Policy(relays=(ip_network('192.0.2.1'),)), handoff)\n"
        "nftables._nft('add element inet cpe_filter blocked { 02:00:00:00:00:01 timeout 1h }\\n')\n"
        "first = [line for line in listing().splitlines() if 'hook' in line]\n"
        "exempt = (Exemption(MAC, ip_network('198.51.100.0/24'), None, ''), Exemption(OTHER, None, None, ''))\n"
        "relays = (ip_network('2001:db8::1'),)\n"
        "nftables.update(Policy(mode='monitor', relays=relays, exempt=exempt, ports=(25, 2526)), handoff)\n"
        "text = listing()\n"
        "print('02:00:00:00:00:01 timeout 1h' in text, '192.0.2.1' in text, '2001:db8::1' in text)\n"
        "print('02:00:00:00:00:01 . 198.51.100.0/24' in text, 'elements = { 02:00:00:00:00:02 }' in text)\n"
        "print('2526' in text)\n"
        "queue = re.findall('queue (?:num|flags bypass to) 25', text)  # xtables', or nft's own\n"
        "print(text.count('chain leaving {'), text.count('goto leaving'), len(queue))\n"
        "print(set(first) <= {line for line in text.splitlines() if 'hook' in line})\n"
    )
    assert out.split() == ["True", "False", "True", "True", "True", "True", "1", "1", "1", "True"]


def test_an_update_says_whether_the_elements_stayed(inside: Run) -> None:
    out = inside(
        "print(nftables.update(Policy(), XTABLES), nftables.update(Policy(), XTABLES))\n"
        "nftables._nft('flush ruleset\\n')\n"
        "print(nftables.update(Policy(), XTABLES), nftables.update(Policy(), XTABLES))\n"
        "nftables._nft('delete table inet cpe_filter\\n"
        "table inet cpe_filter { set blocked { type ipv4_addr; }; }\\n')\n"
        "print(nftables.update(Policy(), XTABLES))\n"
    )
    assert out.split() == ["False", "True", "False", "True", "False"]


def test_an_update_leaves_the_way_to_the_queue_as_it_is(inside: Run) -> None:
    """Without it packets that need admission are dropped, and nft cannot make it together with the rest."""
    out = inside(
        "import subprocess\n"
        "def chain(name):\n"
        "    words = ['nft', '-a', 'list', 'chain', 'inet', 'cpe_filter', name]\n"
        "    return subprocess.run(words, capture_output=True, text=True).stdout\n"
        "fill, filled = nftables._fill, []\n"
        "nftables._fill = lambda *given: (filled.append(given), fill(*given))\n"
        "nftables.install(Policy(mode='limit'), XTABLES)\n"
        "before, leaving = chain('hand_off'), chain('leaving')\n"
        "for mode in ('monitor', 'block', 'limit'):\n"
        "    nftables.update(Policy(mode=mode), XTABLES)\n"
        "print(chain('hand_off') == before, chain('leaving') == leaving, len(filled))\n"
        "rules = [line.split(' #')[0] for line in chain('leaving').splitlines()]\n"
        "print(rules == [line.split(' #')[0] for line in leaving.splitlines()])\n"
        # One that another program has emptied, or filled wrongly, is made again.
        "nftables._nft('flush chain inet cpe_filter hand_off\\n')\n"
        "nftables.update(Policy(mode='limit'), XTABLES)\n"
        "print(len(filled), nftables._chains(Policy()) != [])\n"
        "nftables.update(changed_policy(Policy(mode='limit'), fail='closed'), XTABLES)\n"
        "print(len(filled), nftables._chains(Policy(fail='closed')) != [], nftables._chains(Policy()))\n"
    )
    assert out.split() == ["True", "False", "1", "True", "2", "True", "3", "True", "[]"]


def test_an_update_over_a_strange_table_of_our_name(inside: Run) -> None:
    """Of another version: its base chains have other priorities, its sets other types."""
    out = inside(
        LISTING + "nftables._nft('table inet cpe_filter { set blocked { type ipv4_addr; }; "
        "chain early { type filter hook prerouting priority -10; }; }\\n')\n"
        "nftables.update(Policy(), XTABLES)\n"
        "print('set blocked {\\n\\t\\ttype ether_addr' in listing(), 'priority dstnat - 10' in listing())\n"
    )
    assert out.split() == ["True", "True"]


def test_a_ruleset_that_nft_refuses_changes_nothing(inside: Run) -> None:
    out = inside(
        LISTING + "nftables.install(Policy(), XTABLES)\n"
        "before = listing()\n"
        "try: nftables.update(Policy(lan=('a' * 40,)), XTABLES)\n"
        "except nftables.KernelError as error: print('refused' in str(error))\n"
        "print(listing() == before)\n"
    )
    assert out.split() == ["True", "True"]


def test_the_rest_stays_where_the_hand_off_is_refused(inside: Run) -> None:
    """A filter's successor, or a repair: without the hand-off nothing is queued, so nothing is admitted."""
    out = inside(
        LISTING + "def refused(_): raise OSError(1, 'Operation not permitted')\n"
        "commit, nftables._commit = nftables._commit, refused\n"
        "def install():\n"
        "    try: nftables.install(Policy(), XTABLES)\n"
        "    except nftables.KernelError as error: print('hand-off' in str(error), end=' ')\n"
        "    return 'cpe_filter' in listing(), 'queue num' in listing()\n"
        "print(*install())\n"  # the first start: nothing is there, and nothing stays
        "nftables._commit = commit\n"
        "print(*install())\n"
        "nftables._commit = refused\n"
        "print(*install())\n"
    )
    assert out.split() == ["True", "False", "False", "True", "True", "True", "True", "False"]


def test_the_kernel_is_asked_what_it_can_do(inside: Run) -> None:
    out = inside(
        LISTING
        + "print(nftables.find_handoff(Policy()) in (NATIVE, XTABLES), nftables.find_log(Policy()), listing() == '')\n"
    )
    assert out.split() == ["True", "True", "True"]


@pytest.mark.parametrize("mode", ["monitor", "limit", "block"])
@pytest.mark.parametrize("fail", ["open", "closed"])
@pytest.mark.parametrize("refusal", ["explain", "reset"])
@pytest.mark.parametrize("log", [True, False])
def test_every_ruleset_is_one_that_nft_takes(inside: Run, mode: str, fail: str, refusal: str, log: bool) -> None:
    out = inside(
        f"policy = Policy(mode={mode!r}, fail={fail!r}, refusal={refusal!r}, lan=('a', 'b'), ports=(25, 2526))\n"
        f"nftables.install(policy, XTABLES, {log})\n"
        f"nftables.update(changed_policy(policy, router_output=False), XTABLES, {log})\n"
        "print('done')\n"
    )
    assert out == "done\n"


@pytest.mark.parametrize("handoff", [NATIVE, XTABLES])
@pytest.mark.parametrize("text", [render, replacement])
def test_networks_that_overlap_are_merged(handoff: str, text: Callable[[Policy, str], str]) -> None:
    networks = [ip_network(name) for name in ("198.51.100.0/24", "198.51.0.0/16", "2001:db8::/48", "2001:db8::/32")]
    exempt = tuple(Exemption(device, network, None, "") for device in (MAC, None) for network in networks)
    found = text(make_policy(relays=tuple(networks), exempt=exempt), handoff)
    assert "198.51.100.0/24" not in found
    assert "2001:db8::/48" not in found
    assert f"{MAC.hex(':')} . 198.51.0.0/16" in found


@pytest.mark.parametrize("mode", ["monitor", "limit", "block"])
@pytest.mark.parametrize("handoff", [NATIVE, XTABLES])
def test_no_mark_is_set_or_read(mode: str, handoff: str) -> None:
    """Marks are other programs'. Only the kernel reads them, where it is asked for a packet's route."""
    rules = render(make_policy(mode=mode), handoff)
    assert " mark" not in rules.replace("fib daddr . mark oifname", "")


def test_fail_closed_has_no_bypass() -> None:
    assert "queue flags bypass to 25" in render(Policy(), NATIVE)
    assert "queue to 25" in render(make_policy(fail="closed"), NATIVE)
