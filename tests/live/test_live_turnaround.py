"""What the live filter sees of a relay on a device, by either hand-off: real packets, real delays.

A delay is a lower bound on any machine. A busy one can only make a turn look shorter, when the filter reads a reply
late, or longer. So one connection of several must show what is there.
"""

from __future__ import annotations

import time

import pytest

from tests.attacks.variants import variants
from tests.lab.net import DEADLINE_S, PYTHON, Filter, Lab
from tests.lab.turnaround.measure import Session
from tests.lab.turnaround.play import DEVICE, OPERATOR, Scene

pytestmark = pytest.mark.live

#: Milliseconds: the round trip to the operator; and what NFLOG's collecting may take from it at most.
OPERATOR_MS, COLLECTED_MS = 150, 20
COUNT = 4


@variants(mode=("monitor", "limit"), session=("clear", "starttls"))
def test_a_relay_is_slow_and_a_program_is_not(live: None, mode: str, session: str) -> None:
    tls = session == "starttls"
    with Lab(devices=1) as lab:
        policy, notes, log = lab.policy(f'[filter]\nmode = "{mode}"\n'), lab.folder / "notes", lab.folder / "log"
        scene = Scene(lab, tls)
        try:
            with log.open("w") as file:
                program = ["tests.lab.turnaround.noting", str(notes), "run", "--policy", str(policy)]
                running = Filter(lab, lab.start("router", [PYTHON, "-m", *program], stderr=file), log, policy)
            running.wait_for("running:")
            scene.network("wired", OPERATOR_MS)
            for host in (DEVICE, OPERATOR):
                scene.smtplib(host, COUNT, helo=f"{host}.example")
            end = time.monotonic() + DEADLINE_S
            while len(lines := notes.read_text().splitlines()) < 2 * COUNT and time.monotonic() < end:
                time.sleep(0.1)
        finally:
            scene.close()
    seen = [Session(helo, *map(int, numbers)) for helo, *numbers in map(str.split, lines)]
    assert len(seen) == 2 * COUNT
    assert {session.turns for session in seen} <= ({3} if tls else {3, 4, 5})
    relayed = [session for session in seen if session.helo.startswith(OPERATOR)]
    local = [session for session in seen if session.helo.startswith(DEVICE)]
    assert max(session.ms for session in relayed) >= OPERATOR_MS - COLLECTED_MS
    assert max(session.ahead for session in relayed) >= 3
    assert min(session.ms for session in local) < OPERATOR_MS - COLLECTED_MS
    assert min(session.ahead for session in local) == 0
