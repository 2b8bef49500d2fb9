"""The watch over the ruleset, against the real kernel: what is found and put back, how often; what is left alone."""

from __future__ import annotations

import os
import re
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from cpe_filter.enforce import nfnetlink, nftables, watch
from cpe_filter.enforce.ruleset_names import COUNTERS, XTABLES
from cpe_filter.enforce.sets import Sets
from cpe_filter.enforce.watch import BLIND_S, LOG_EVERY_S, LONGEST_REST_S, Counters, Guarded, Ruleset, Watch, counters
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
        kept.close()


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
        handle, self._tries = tempfile.mkstemp()
        os.close(handle)
        self.again = 0
        nftables.install(POLICY, handoff)
        self.ruleset = Ruleset(self._install, self._installed_again)
        self.ruleset.installed()
        self.poll = select.poll()
        self.watch = Watch([self.ruleset.guarded()], self.poll, self.log.append)
        self.before = self.rules()

    def close(self) -> None:
        self.watch.close()
        os.unlink(self._tries)

    def _install(self) -> None:
        """In a child process."""
        with open(self._tries, "ab") as file:
            file.write(b".")
        if self.error:
            raise nftables.KernelError(self.error)
        nftables.install(POLICY, self.handoff)

    def _installed_again(self) -> None:
        self.again += 1

    @property
    def installed(self) -> int:
        """Repairs that were begun."""
        return os.stat(self._tries).st_size

    def rules(self) -> str:
        """Our rules, without the elements that come and go."""
        text = run("nft", "-s", "list", "table", "inet", "cpe_filter")
        return "".join(line for line in text.splitlines(True) if " timeout " not in line)

    def turn(self, seconds: float = 0.0) -> None:
        """So much later: what the daemon's loop would do, until a repair that was begun is done."""
        self.now += seconds
        self._serve(0)
        self.watch.tick(self.now)
        while self.watch.is_repairing:
            self._serve(1000)

    def _serve(self, wait_ms: int) -> None:
        ready = self.poll.poll(wait_ms)
        assert all(fd in self.watch for fd, _ in ready)
        for _ in ready:
            self.watch.serve(self.now)


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
    assert kept.watch.repairs == 1
    (line,) = kept.log
    assert re.fullmatch(r"ruleset (changed|removed) by nft \(pid \d+\); restored", line)
    assert kept.again == 1
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
    kept.close()


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
    sets.release(bytes.fromhex("020000000102"))
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
    kept.turn(60)  # as the line says
    assert kept.log[1:] == [f"ruleset: repeated within a minute and not logged: {kept.installed - 1}"]
    kept.turn(LOG_EVERY_S)
    assert len(kept.log) == 2
    kept.close()


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
    assert len(kept.log) < 600 / LOG_EVERY_S + 5
    kept.error = ""
    kept.turn(LONGEST_REST_S)
    assert kept.rules() == kept.before
    kept.close()


def test_more_news_than_the_kernel_keeps(alone: None) -> None:
    kept = Kept("")
    kept.turn(5)
    for _ in range(3):
        elements = ", ".join(f"10.{n >> 8}.{n & 255}.0" for n in range(20000))
        change(f"table ip x {{ set s {{ type ipv4_addr; elements = {{ {elements} }}; }}; }}\ndelete table ip x")
    change("delete table inet cpe_filter")  # of which there is no room to tell
    kept.turn(5)
    assert kept.rules() == kept.before
    kept.close()


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
    kept.close()


def test_what_cannot_be_looked_at(live: None) -> None:
    def problem() -> str | None:
        raise OSError(105, "No buffer space available")

    log: list[str] = []
    with network():
        kept = Watch([Guarded("a thing", lambda change: True, problem, lambda: None)], select.poll(), log.append)
        change("table inet a { }")
        kept.serve(1000.0)
        kept.tick(1010.0)
        kept.close()
    (line,) = log
    assert line == "a thing changed and could not be restored: No buffer space available"


def test_no_packet_waits_for_a_repair(kept: Kept) -> None:
    """What a busy machine takes for it is the child's, and none of ours."""
    change("flush ruleset")
    began = time.monotonic()
    kept.watch.serve(kept.now)
    assert kept.watch.is_repairing
    assert time.monotonic() - began < 0.5
    assert not kept.log
    kept.turn()
    assert kept.rules() == kept.before


def test_a_change_on_purpose_is_not_put_back(kept: Kept) -> None:
    kept.watch.hold(True)
    nftables.update(changed_policy(POLICY, relays=()), kept.handoff)
    kept.turn(5)  # the news of it comes before it is known to be done
    assert kept.installed == 0
    kept.watch.hold(False)
    kept.ruleset.installed()
    kept.turn(5)
    assert (kept.installed, kept.log) == (0, [])


def test_a_repair_that_runs_at_the_end_is_waited_for(kept: Kept) -> None:
    change("flush ruleset")
    kept.watch.serve(kept.now)
    assert kept.watch.is_repairing
    kept.watch.close()
    before = kept.rules()
    time.sleep(0.5)
    assert kept.rules() == before


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
