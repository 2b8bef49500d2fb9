"""What senders look like from the home's filter: `python -m tests.evaluate.world.describe [NAME ...]`.

For each sender of the development set, over some devices: connections a day, networks, share of connections under TLS,
refused for good, put off, without an answer, and how many of the first answers of a network speak of an unknown user
(as the sender knows it). Knows the world alone: for whoever checks its rates against a source.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator

from cpe_filter.inspect.session import LOST, REFUSED
from tests.evaluate.intervals import quantile
from tests.evaluate.world.converse import BOUNCED, LATER
from tests.evaluate.world.measure import Task, attempts
from tests.evaluate.world.sets import DEVELOPMENT, load

_COUNT, _DEVICES = 400, 12


def row(name: str, seed: int) -> dict[str, float]:
    """Shares of a device's first connections, in percent; a day's connections; networks."""
    task = Task(DEVELOPMENT, name, seed, "monitor", _COUNT)
    _, stream = attempts(task)
    n = tls = bounced = later = nobody = unknown = 0
    networks: set[bytes] = set()
    last = 0.0
    for attempt in itertools.islice(stream, _COUNT):
        session = attempt.meet()
        n += 1
        last = session.time
        networks.add(session.server[:3])
        tls += session.over_tls
        nobody += session.phase in (LOST, REFUSED)
        bounced += attempt.outcome == BOUNCED
        later += attempt.outcome == LATER
        unknown += any(box.state in ("unknown", "disabled") for box in attempt.letter.to)
    n = max(n, 1)
    return {
        "a day": n / max(last / 86400, 1 / 24),
        "networks": len(networks),
        "tls": 100 * tls / n,
        "bounced": 100 * bounced / n,
        "later": 100 * later / n,
        "nobody": 100 * nobody / n,
        "dead": 100 * unknown / n,
    }


def table(names: Iterable[str]) -> Iterator[str]:
    """Per sender the median and, in brackets, the tenth and ninetieth percentile over its devices."""
    for number, name in enumerate(names):
        rows = [row(name, seed) for seed in range(_DEVICES)]
        if not number:
            yield f"{'sender':20}" + "".join(f"{key:>18}" for key in rows[0])
        cells = []
        for key in rows[0]:
            values = [one[key] for one in rows]
            low, middle, high = (quantile(values, share) for share in (0.1, 0.5, 0.9))
            cells.append(f"{f'{middle:.0f} ({low:.0f}-{high:.0f})':>18}")
        yield f"{name:20}" + "".join(cells)


def main() -> None:
    senders = load(DEVELOPMENT)
    for line in table(sys.argv[1:] or [*senders.legitimate, *senders.bots]):
        print(line)


if __name__ == "__main__":
    main()
