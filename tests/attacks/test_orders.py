"""Mode block under random orders of everything: packets, marks, bursts, and a filter that dies, hangs and comes back.

After each step nothing may be delivered that no rule admits, and mail to the relays passes. An order is a list of steps
made from a seed; a step that does not apply does nothing, so any part of an order is an order, too, and one that fails
is tried again with steps left out until none can be. ORDERS_SEED=N tries one seed alone.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.attacks.home import LETTER, QUEUED, ControlError, Home, block, deliver, relay, server
from tests.attacks.test_foreign_marks import MARKS, PLACES, marking
from tests.attacks.variants import ALL, FAILS, FAMILIES
from tests.lab.net import DEADLINE_S
from tests.lab.rawtcp import ACK, FIN, PSH, RST, SYN, URG, Connection, fragments

pytestmark = pytest.mark.live

STEPS = 150 if ALL else 60
SEEDS = range(40) if ALL else range(6)
#: How often an order that failed is tried again with steps left out.
TRIES = 40 if ALL else 8
BURST = 1500
#: The strangers that may be exempt; the others are never admitted.
EXEMPT = (200, 204)

Step = tuple[str, float]  # its name, and a number from 0 to 1 for what it has to choose


class Order:
    """An order that is played at a home. `number` is the step's own choice, the same each time it is played."""

    def __init__(self, home: Home, fail: str) -> None:
        self.home, self.fail = home, fail
        self.exempt: set[int] = set()
        self.admitted: set[str] = set()
        self.alive = self.stopped = self.responder = False
        self.connection: Connection | None = None
        home.run(self._policy())
        self.alive = True
        home.card()

    def _policy(self) -> str:
        lines = [f'[[exempt]]\ndestination = "{server(f, n)}"\n' for n in sorted(self.exempt) for f in FAMILIES]
        return block(self.fail, "".join(lines))

    # ── the device ──────────────────────────────────────────────────────────────────────────────

    def syn(self, number: float) -> None:
        """From the device, or under a made-up MAC and address: a conviction must not be all that holds."""
        family, source, own = FAMILIES[int(number * 1000) % 2], "", ""
        if number < 0.7:
            name = int(number * 10000) % 200
            own = f"06:00:00:00:55:{name:02x}"
            source = f"192.168.1.{50 + name}" if family == "IPv4" else f"2001:db8:1::c{name:02x}"
            self.home.card().answer_for(source, own)
        self.connection = self.home.connection(family, int(number * 20) * 10, source=source, own=own)
        self._open(SYN)

    def syn_again(self, number: float) -> None:
        if self.connection:
            self.connection.isn += 0 if number < 0.6 else 70_000
            self._open((SYN, SYN | PSH, SYN | URG)[int(number * 10) % 3])

    def syns_together(self, number: float) -> None:
        if self.connection:
            self._open(SYN, 2 + int(number * 5))

    def syn_with_data(self, number: float) -> None:
        if self.connection:
            self.connection.open(0.15, payload=LETTER)
            self.connection.wait(0.1, QUEUED)

    def _open(self, flags: int, times: int = 1) -> None:
        if self.connection and self.connection.open(0.15, flags=flags, times=times):
            deliver(self.connection, 0.15)

    def data(self, number: float) -> None:
        if self.connection:
            self.connection.send(PSH | ACK, LETTER)
            self.connection.wait(0.1, QUEUED)

    def data_alone(self, number: float) -> None:
        connection = self.home.connection(FAMILIES[int(number * 2)], 10)
        connection.seq = connection.ack = int(number * 1e9)
        connection.send(PSH | ACK, LETTER)

    def data_in_fragments(self, number: float) -> None:
        if self.connection:
            for part in fragments(self.connection.packet(PSH | ACK, LETTER), 24):
                self.home.card().send(part, self.connection.own)
            self.connection.wait(0.1, QUEUED)

    def reset(self, number: float) -> None:
        if self.connection:
            self.connection.send(RST | ACK, wrong_checksum=number < 0.3)

    def fin(self, number: float) -> None:
        if self.connection:
            self.connection.send(FIN | ACK)

    def burst(self, number: float) -> None:
        """More SYNs at once than the queue holds, under made-up MACs."""
        card = self.home.card()
        packet = self.home.connection(FAMILIES[int(number * 2)], 9).packet(SYN)
        for n in range(BURST):
            card.send(packet, f"06:00:00:00:{n >> 8:02x}:{n & 255:02x}")
        self.syn(number)

    # ── the router ──────────────────────────────────────────────────────────────────────────────

    def mark_added(self, number: float) -> None:
        what = ("meta", "ct")[int(number * 100) % 2]
        mark = list(MARKS.values())[int(number * len(MARKS))]
        place = list(PLACES)[int(number * 1000) % len(PLACES)]
        self.home.lab.nft("router", "table inet foreign\ndelete table inet foreign\n" + marking(what, mark, place))

    def firewall_restarted(self, number: float) -> None:
        """Others' tables go, and one of them comes back."""
        self.home.lab.nft(
            "router",
            "table inet foreign\ndelete table inet foreign\nflush table ip lab_nat\ntable ip lab_nat { chain post { "
            "type nat hook postrouting priority srcnat; oifname wan masquerade; }; }",
        )

    def conntrack_emptied(self, number: float) -> None:
        self.home.forget_connections()

    # ── the filter ──────────────────────────────────────────────────────────────────────────────

    def kill(self, number: float) -> None:
        if self.alive:
            self.home.kill()
            self.alive = self.stopped = False

    def stop(self, number: float) -> None:
        if self.alive and not self.stopped:
            self.home.signal(signal.SIGSTOP)
            self.stopped = True

    def go_on(self, number: float) -> None:
        if self.stopped:
            self.home.signal(signal.SIGCONT)
            self.stopped = False

    def start(self, number: float) -> None:
        if not self.alive:
            self.home.lab.policy(self._policy())
            self.home.start_again()
            self.alive = True
            self._now_admitted()

    def restart(self, number: float) -> None:
        """In order; one that fails open takes its rules away at its end, as it is to."""
        if self.alive and not self.stopped and self.fail == "closed":
            self.home.filter.stop()
            self.alive = False
            self.start(number)

    def reload(self, number: float) -> None:
        if self.alive and not self.stopped:
            before = self.home.filter.log().count("is in effect")
            self.home.reload(self._policy() + ("[limits]\nmessages_per_hour = 99\n" if number < 0.3 else ""))
            end = time.monotonic() + DEADLINE_S
            while self.home.filter.log().count("is in effect") == before and time.monotonic() < end:
                time.sleep(0.01)
            self._now_admitted()

    def exempt_added(self, number: float) -> None:
        if self.alive and not self.stopped:
            self.exempt.add(EXEMPT[int(number * len(EXEMPT))])
            self.reload(1.0)
            for n in self.exempt:
                assert self.home.mail(server("IPv4", n)) == "sent", f"exempt {n}"

    def exempt_removed(self, number: float) -> None:
        if self.alive and not self.stopped and self.exempt:
            self.exempt.pop()
            self.reload(1.0)

    def _now_admitted(self) -> None:
        time.sleep(0.05)
        self.check()
        self.admitted = {server(family, n) for n in self.exempt for family in FAMILIES}
        self.home.count_from_now()

    def responder_started(self, number: float) -> None:
        if not self.responder:
            self.home.start_responder()
            self.responder = True

    def responder_killed(self, number: float) -> None:
        if self.responder:
            self.home.kill_responder()
            self.responder = False

    # ── what must hold ──────────────────────────────────────────────────────────────────────────

    def check(self) -> None:
        time.sleep(0.02)
        wrong = [each for each in self.home.servers() if each not in self.admitted]
        assert not wrong, f"delivered to {', '.join(wrong)}"
        for family in FAMILIES:
            outcome = self.home.mail(relay(family), timeout=2)
            assert outcome == "sent", f"relay by {family}: {outcome}"


NAMES = [name for name in vars(Order) if not name.startswith("_") and name != "check"]
#: Packets come up more often than the rest.
_PACKETS = ("syn", "syn_again", "syn_again", "syns_together", "syn_with_data", "data", "data_alone", "reset")


def steps(seed: int, count: int = STEPS) -> list[Step]:
    chance = random.Random(seed)
    return [(chance.choice([*NAMES, *_PACKETS]), round(chance.random(), 4)) for _ in range(count)]


def play(home: Home, fail: str, order: list[Step]) -> tuple[int, str]:
    """How many steps it took until something went wrong, and what; 0 and "" if nothing did."""
    played = Order(home, fail)
    at = 0
    try:
        for name, number in order:
            at += 1
            step: Callable[[float], None] = getattr(played, name)
            step(number)
            played.check()
        time.sleep(0.2)
        played.check()
    except AssertionError as wrong:
        return at, str(wrong).splitlines()[0]
    finally:
        played.go_on(0.0)
    return 0, ""


def shortened(home: Home, fail: str, order: list[Step], why: str) -> tuple[list[Step], str]:
    """The order with as many steps left out as the tries allow, and why it still fails. The last step stays."""
    tries, size = TRIES, len(order) // 2
    while size and tries:
        at = 0
        while at < len(order) - 1 and tries:
            tries -= 1
            fewer = order[:at] + order[min(at + size, len(order) - 1) :]
            count, still = play(home, fail, fewer)
            if still:
                order, why = fewer[:count], still
            else:
                at += size
        size = min(size // 2, len(order) // 2)
    return order, why


@pytest.mark.parametrize("seed", [int(os.environ["ORDERS_SEED"])] if "ORDERS_SEED" in os.environ else SEEDS)
def test_nothing_is_delivered_in_any_order(home: Home, seed: int) -> None:
    fail = FAILS[seed % len(FAILS)]
    order = steps(seed)
    count, why = play(home, fail, order)
    if why:
        order, why = shortened(home, fail, order[:count], why)
        told = "\n".join(f"    {name}({number})" for name, number in order)
        pytest.fail(f"seed {seed}, fail {fail}: {why}\n{told}", pytrace=False)


def test_the_attackers_of_an_order_deliver_without_a_filter(unfiltered: Home) -> None:
    """The control: each of these alone is a way to deliver."""
    unfiltered.clean()
    for name, least in (("syn", 1), ("syn_again", 2), ("syns_together", 3), ("syn_with_data", 4), ("burst", 5)):
        played = object.__new__(Order)
        played.home, played.connection = unfiltered, unfiltered.connection("IPv4", 0)
        getattr(played, name)(0.0)
        if unfiltered.settle(least, 1.0) < least:
            raise ControlError(f"{name} does not deliver without a filter")


def test_orders_have_every_step_in_them() -> None:
    assert {name for seed in range(10) for name, _ in steps(seed)} == set(NAMES)
    assert steps(1) == steps(1) != steps(2)
