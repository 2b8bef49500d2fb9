"""Devices in mode block: who is convicted by what is said to the explaining responder?

    python -m tests.evaluate.explained [--runs N] [--days N]

There no server ever accepts or refuses anything, so nothing speaks for a device but what it does itself. Knows how a
session with a stranger's server would have gone with the responder. Its limits: what a device would have said to a
server that did not answer, or under TLS, is not simulated; neither is that mail programs give up after a 554.
"""

from __future__ import annotations

import argparse
from multiprocessing import Pool

from cpe_filter.detect.score import CLEAR, COMPROMISED
from cpe_filter.enforce import decide
from cpe_filter.enforce.ruleset_names import LIMITED_S
from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.inspect.session import CLOSED, LOST, REFUSED, TRYING
from tests.evaluate import bots, legit
from tests.evaluate.facts import Session, play
from tests.evaluate.measure import CAP, explain, one_device
from tests.evaluate.scenarios import seeded
from tests.evaluate.talk import BANNERS, OK_HELLO, OK_SENDER
from tests.policies import make_policy

_NO = Reply(554, "554 5.7.1 Your Internet provider, not the recipient, refused this")
_KEPT = ("violation", "quirk", "quit", "opaque")


def explained(session: Session) -> Session:
    """The same with the responder."""
    if session.phase in (LOST, REFUSED, TRYING):
        return session._replace(phase=CLOSED, events=(), quit=False)
    events = [Event("greeting", "", BANNERS[0])]
    for event in session.events:
        if event.kind == "hello":
            events.append(event._replace(reply=OK_HELLO))
        elif event.kind == "sender":
            events.append(event._replace(reply=OK_SENDER))
        elif event.kind == "recipient":
            events.append(event._replace(reply=_NO))
        elif event.kind in _KEPT and event.name not in ("tls", "content-after-refusal"):
            events.append(event)
    return session._replace(phase=CLOSED, events=tuple(events))


def life(task: tuple[str, int, int]) -> tuple[str, bool, int, str]:
    """Name, whether suspected, number of the connection that convicted (0: none), why."""
    name, seed, days = task
    detector, device = one_device(name)
    policy = make_policy(mode="block")
    if name in legit.LEGITIMATE:
        sessions = legit.LEGITIMATE[name](seeded(name, seed), days)
    else:
        sessions = bots.BOTS[name](seeded(name, seed))
    suspected, count, limited = False, 0, float("-inf")
    for session in sessions:
        count += 1
        if count > CAP and name in bots.BOTS:
            break
        if session.time < limited:
            continue
        decision = decide.on_connection(policy, device, session.server, False, session.time)
        if decision.action == decide.LIMIT:
            limited = session.time + LIMITED_S
            session = session._replace(phase=TRYING, events=())
            play(detector, device, session)
        else:
            connection = play(detector, device, explained(session), True)
            assert connection.explained
        detector.changes.clear()
        suspected |= device.score.standing != CLEAR
        if device.score.standing == COMPROMISED:
            return name, True, count, explain(device)
    return name, suspected, 0, explain(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--days", type=int, default=365)
    options = parser.parse_args()
    for kind, names in (("legitimate", legit.LEGITIMATE), ("bots", bots.BOTS)):
        tasks = [(name, seed, options.days) for name in names for seed in range(options.runs)]
        rows: dict[str, list[tuple[bool, int, str]]] = {}
        with Pool() as pool:
            for name, suspected, at, why in pool.imap(life, tasks):
                rows.setdefault(name, []).append((suspected, at, why))
        print(f"{kind}, {options.runs} each")
        for name, found in rows.items():
            convicted = sorted(at for _, at, _ in found if at)
            median = convicted[len(convicted) // 2] if convicted else "-"
            doubted = sum(s for s, _, _ in found)
            print(
                f"  {name:22} suspected {doubted:3}  convicted {len(convicted):3}  median {median:>4}  "
                f"{found[0][2][:100]}"
            )
        total = [at for rows_ in rows.values() for _, at, _ in rows_]
        print(f"  all: {sum(1 for at in total if at)} of {len(total)} convicted")


if __name__ == "__main__":
    main()
