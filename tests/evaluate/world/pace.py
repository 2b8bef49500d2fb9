"""How fast a client answers, as the filter measures it: (program, network, operator) -> floor in ms, turns ahead.

Knows the shares that `tests.lab.turnaround` has measured (docs/turnaround.md), and draws turn by turn so that three
turns (STARTTLS) give more doubt than five. Must not know who is a bot. Wi-Fi with jitter lifts a turn by 11 ms on
average and Wi-Fi that sleeps six in ten turns by 10 to 160 ms, both with the acknowledgement; what a program thinks or
an operator takes comes after it. Linux delays an acknowledgement by 40 ms in some turns: in a fifth of a program's own,
in more than half of a relay's.
"""

from __future__ import annotations

import random

from cpe_filter.inspect.turnaround import AHEAD_S, ENOUGH, LEAST
from tests.evaluate.world.programs import SLEEPING, WIFI, Client

_AHEAD_MS, _DELAYED_MS = AHEAD_S * 1000, 40.0
#: Share of turns in which an acknowledgement waits for the answer; of sessions over Wi-Fi in which one is not counted.
_DELAYS, _RELAY_DELAYS, _LOST = 0.2, 0.55, 0.08
#: One session in a hundred of a slow device is one of a busy device (the lab's NAS under load).
_BUSY = 0.01


def draw(rng: random.Random, client: Client, hidden: bool) -> tuple[int, int]:
    """The least time of the turns in ms, and how many of the first three the client's TCP acknowledged ahead."""
    least, most = client.operator
    share, thinks_least, thinks_most = client.pace
    if not most and not share and not client.network:
        return 0, 0
    if share and rng.random() < _BUSY:
        busy = rng.uniform(10, 70)
        return round(busy), LEAST if busy >= _AHEAD_MS else 0
    base = rng.uniform(least, min(most, least * 1.15)) if most else 0.0
    floor, ahead = float("inf"), 0
    for turn in range(LEAST if hidden else ENOUGH):
        after = base + rng.expovariate(1 / (0.05 * base)) if most else 0.0
        if share and rng.random() < share:
            after += rng.uniform(thinks_least, thinks_most)
        waits = rng.random() < (_RELAY_DELAYS if most else _DELAYS)
        ahead += turn < LEAST and after >= _AHEAD_MS + (_DELAYED_MS if waits else 0.0)
        with_it = rng.expovariate(1 / 11) if client.network == WIFI else 0.0
        if client.network == SLEEPING and rng.random() < 0.65:
            with_it = rng.uniform(10, 160)
        floor = min(floor, after + with_it)
    if ahead and client.network and rng.random() < _LOST:
        ahead -= 1
    return round(floor), ahead if floor >= _AHEAD_MS else 0
