"""The watch over the ruleset, against the real kernel: what is found and put back, how often; what is left alone."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Iterator
from itertools import pairwise

import pytest

from cpe_filter.enforce import nfnetlink, nftables, watch
from cpe_filter.enforce.ruleset import COUNTERS, XTABLES
from cpe_filter.enforce.sets import Sets
from cpe_filter.enforce.watch import BLIND_S, LONGEST_REST_S, SAY_S, Counters, Ruleset, Ward, Watch, counters
from cpe_filter.policy.file import build
from cpe_filter.policy.model import Policy
from tests.lab.alone import network
from tests.policies import changed_policy

pytestmark = pytest.mark.live

POLICY: Policy = build(
    {
        "network": {"lan": ["lo"], "wan": ["wan"], "relays": ["203.0.113.25", "2001:db8::/48"]},
        "exempt": [{"device": "02:00:00:00:01:01", "destination": "198.18.0.0/15"}],
    },
    "test",
)


@pytest.fixture(params=["no hand-off", "with xtables"])
def kept(request: pytest.FixtureRequest, live: None) -> Iterator[Kept]:
    """The ruleset installed and watched; without nft's own queue, so that every kernel takes it."""
    with network():
        kept = Kept(XTABLES if request.param == "with xtables" else "")
        yield kept
        kept.watch.close()


@pytest.fixture
def alone(live: None) -> Iterator[None]:
    with network():
        yield


class Kept:
    """A watched ruleset. `now` goes on as the test wants it."""

    def __init__(self, handoff: str) -> None:
        self.handoff = handoff
        self.now = 1000.0
        self.log: list[str] = []
        self.error = ""
        self.installed = 0
        nftables.install(POLICY, handoff)
        self.ruleset = Ruleset(self._install)
        self.ruleset.installed()
        self.poll = select.poll()
        self.watch = Watch([self.ruleset.ward()], self.poll, self.log.append)
        self.before = self.rules()

    def _install(self) -> str:
        self.installed += 1
        if not self.error:
            nftables.install(POLICY, self.handoff)
        return self.error

    def rules(self) -> str:
        """Our rules, without the elements that come and go."""
        text = run("nft", "-s", "list", "table", "inet", "cpe_filter")
        return "".join(line for line in text.splitlines(True) if " timeout " not in line)

    def turn(self, seconds: float = 0.0) -> None:
        """So much later: what the router's loop would do."""
        self.now += seconds
        for fd, _ in self.poll.poll(0):
            assert fd in self.watch
            self.watch.serve(self.now)
        self.watch.tick(self.now)


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout


def change(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


BY_NFT = {
    "everything flushed": "flush ruleset",
    "our table deleted": "delete table inet cpe_filter",
    "our rules flushed": "flush table inet cpe_filter",
    "a chain flushed": "flush chain inet cpe_filter leaving",
    "a rule put before ours": "insert rule inet cpe_filter leaving accept",
    "relays flushed": "flush set inet cpe_filter relays4",
    "a relay added": "add element inet cpe_filter relays6 { 2001:db8:ffff::1 }",
    "exemptions flushed": "flush set inet cpe_filter exempt_pairs4",
    "a chain's policy changed": "add chain inet cpe_filter forward { policy drop; }",
    "the table put to sleep": "add table inet cpe_filter { flags dormant; }",
    "our table replaced": "delete table inet cpe_filter\nadd table inet cpe_filter",
}


@pytest.mark.parametrize("rules", list(BY_NFT.values()), ids=list(BY_NFT))
def test_found_and_put_back(kept: Kept, rules: str) -> None:
    change(rules)
    assert kept.rules() != kept.before
    kept.turn()
    assert kept.rules() == kept.before
    assert kept.watch.mended == 1
    (line,) = kept.log
    assert line.startswith("the ruleset was ")
    assert "from outside (by nft (pid " in line
    assert line.endswith(", restored")
    kept.turn(10)  # the news of our own repair
    kept.turn(10)
    assert kept.installed == 1


def test_a_lost_hand_off_is_put_back(alone: None) -> None:
    kept = Kept(XTABLES)
    change("flush chain inet cpe_filter hand_off")
    assert kept.rules() != kept.before
    kept.turn()
    assert kept.rules() == kept.before
    assert "queue" in run("nft", "list", "chain", "inet", "cpe_filter", "hand_off")
    kept.watch.close()


def test_others_rules_are_left_alone(kept: Kept) -> None:
    for rules in (
        "table inet fw4 { chain forward { type filter hook forward priority 0; }; set s { type ipv4_addr; }; }",
        "add element inet fw4 s { 192.0.2.1 }",
        "add rule inet fw4 forward accept",
        "delete table inet fw4",
        "table ip nat { chain c { type nat hook postrouting priority 100; }; }",
    ):
        change(rules)
        kept.turn(5)
    kept.turn(5)
    assert (kept.installed, kept.log) == (0, [])


def test_what_devices_do_is_no_change(kept: Kept) -> None:
    change(
        "add element inet cpe_filter blocked { 02:00:00:00:01:02 timeout 1h }\n"
        "add element inet cpe_filter limited { 02:00:00:00:01:02 timeout 1s }"
    )
    kept.turn(5)
    sets = Sets(kept.log.append)
    assert sets.release(bytes.fromhex("020000000102"))
    sets.add_connection("ends", bytes(12))
    sets.flush()
    sets.close()
    kept.turn(5)
    assert (kept.installed, kept.log) == (0, [])


def test_our_own_update_is_no_change(kept: Kept) -> None:
    nftables.update(changed_policy(POLICY, relays=()), kept.handoff)
    kept.ruleset.installed()
    kept.turn(5)
    kept.turn(5)
    assert (kept.installed, kept.log) == (0, [])


def test_an_idle_watch_never_looks(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.turn(5)  # whatever the installation still had to say

    def listing(*_: object) -> list[tuple[int, bytes]]:
        raise AssertionError("a look without a reason")

    monkeypatch.setattr(watch, "listing", listing)
    monkeypatch.setattr(nfnetlink, "listing", listing)
    for _ in range(100):
        kept.turn(1)


def test_somebody_who_keeps_flushing(alone: None) -> None:
    kept = Kept("")
    for _ in range(400):  # 20 a second, for 20 s
        change("table inet cpe_filter\ndelete table inet cpe_filter")
        kept.turn(0.05)
    kept.turn(5)
    assert kept.rules() == kept.before
    assert 9 <= kept.installed <= 11
    assert len(kept.log) == 1
    kept.turn(SAY_S)
    assert kept.log[1:] == [f"the ruleset: the same again, not told each time: {kept.installed - 1}"]
    kept.turn(SAY_S)
    assert len(kept.log) == 2
    kept.watch.close()


def test_a_repair_that_fails_is_tried_again_more_and_more_seldom(alone: None) -> None:
    kept = Kept("")
    kept.error = "nft: no space left"
    change("flush ruleset")
    tries = []
    for second in range(600):
        before = kept.installed
        kept.turn(1)
        if kept.installed > before:
            tries.append(second)
    gaps = [b - a for a, b in pairwise(tries)]
    assert gaps[:4] == [2, 4, 8, 16]
    assert max(gaps) == LONGEST_REST_S
    assert "could not be restored: nft: no space left" in kept.log[0]
    assert len(kept.log) < 600 / SAY_S + 5
    kept.error = ""
    kept.turn(LONGEST_REST_S)
    assert kept.rules() == kept.before
    kept.watch.close()


def test_more_news_than_the_kernel_keeps(alone: None) -> None:
    kept = Kept("")
    kept.turn(5)
    for _ in range(3):
        elements = ", ".join(f"10.{n >> 8}.{n & 255}.0" for n in range(20000))
        change(f"table ip x {{ set s {{ type ipv4_addr; elements = {{ {elements} }}; }}; }}\ndelete table ip x")
    change("delete table inet cpe_filter")  # of which there is no room to tell
    kept.turn(5)
    assert kept.rules() == kept.before
    kept.watch.close()


def test_where_the_kernel_does_not_tell(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def news() -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(nfnetlink, "news", news)
    kept = Kept("")
    assert "Operation not permitted" in kept.log[0]
    kept.turn()
    change("flush ruleset")
    kept.turn(BLIND_S - 0.1)
    assert not kept.rules()
    kept.turn(0.1)
    assert kept.rules() == kept.before
    kept.watch.close()


def test_a_ward_that_cannot_be_looked_at(live: None) -> None:
    def wrong() -> str:
        raise OSError(105, "No buffer space available")

    log: list[str] = []
    with network():
        kept = Watch([Ward("a thing", lambda change: True, wrong, lambda: "")], select.poll(), log.append)
        change("table inet a { }")
        kept.serve(1000.0)
        kept.tick(1010.0)
        kept.close()
    (line,) = log
    assert line.startswith("a thing was changed (by nft (pid ")
    assert line.endswith(") and could not be restored: No buffer space available")


# ── counters ────────────────────────────────────────────────────────────────────────────────────────


def test_counters_count_on_over_a_new_ruleset(alone: None) -> None:
    counted = Counters()
    counted.read()
    assert counted.totals == {}
    change("table inet cpe_filter { counter queued { packets 7 bytes 700 }; counter refused { packets 1 bytes 60 }; }")
    counted.read()
    counted.read()
    assert counted.totals == {"queued": (7, 700), "refused": (1, 60)}
    # As after a flush that we noticed, and after one that we did not.
    change("delete table inet cpe_filter")
    counted.read()
    change("table inet cpe_filter { counter queued { packets 9 bytes 900 }; }")
    counted.read()
    assert counted.totals["queued"] == (16, 1600)
    change("delete table inet cpe_filter\ntable inet cpe_filter { counter queued { packets 2 bytes 200 }; }")
    counted.read()
    assert counted.totals["queued"] == (18, 1800)
    counted.restart()
    change("delete table inet cpe_filter\ntable inet cpe_filter { counter queued { packets 5 bytes 500 }; }")
    counted.read()
    assert counted.totals == {"queued": (23, 2300), "refused": (1, 60)}


def test_counters_are_those_of_the_ruleset(kept: Kept) -> None:
    assert set(counters()) == set(COUNTERS)
    change("table ip cpe_filter { counter other { }; }")
    assert set(counters()) == set(COUNTERS)


def test_nft_counts_the_same(alone: None) -> None:
    change("table inet cpe_filter { counter queued { packets 4294967300 bytes 18446744073709551615 }; }")
    assert counters() == {"queued": (4294967300, 18446744073709551615)}
