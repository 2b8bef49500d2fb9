"""The queue on the real kernel, over the loopback of a network namespace of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpe_filter.enforce.nfqueue import TURN, QueueState, queue_state
from tests.lab.net import DEADLINE_S, PROJECT, PYTHON

# Datagrams to port 9 wait in queue 7; without a holder they pass. `arrived` gives those that have arrived by now.
_PROLOGUE = """
import os, select, socket, subprocess, sys, time
from cpe_filter.enforce.nfqueue import ACCEPT, DROP, REPEAT, Queue, QueueBusyError, queue_state

receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 9))
receiver.settimeout(0.2)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(("127.0.0.1", 9))

def send(count):
    for number in range(count):
        sender.send(b"%d" % number)

def arrived():
    found = 0
    try:
        while receiver.recv(99):
            found += 1
    except TimeoutError:
        return found

def waiting():
    with open("/proc/net/netfilter/nfnetlink_queue") as file:
        return [int(line.split()[2]) for line in file if line.split()[0] == "7"][0]

def drain(queue):
    found = []
    while select.select([queue.fd], [], [], 0.1)[0]:
        packets = queue.read()
        found += packets
        queue.answer([(number, ACCEPT) for number, *_ in packets])
    return found
"""


class Namespace:
    def __init__(self) -> None:
        self.name = f"cfq{os.getpid()}"

    def run(self, program: str, expected: int = 0) -> str:
        """What a program prints that has the prologue's names."""
        command = ["ip", "netns", "exec", self.name, PYTHON, "-c", _PROLOGUE + program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, cwd=PROJECT)
        assert done.returncode == expected, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def namespace(live: None) -> Iterator[Namespace]:
    made = Namespace()
    subprocess.run(["ip", "netns", "add", made.name], check=True)
    try:
        subprocess.run(["ip", "-n", made.name, "link", "set", "lo", "up"], check=True)
        rule = "OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 7 --queue-bypass"
        subprocess.run(["ip", "netns", "exec", made.name, "iptables-nft", "-A", *rule.split()], check=True)
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.name], check=True)


@pytest.mark.live
def test_packets_are_read_in_order_and_go_on(namespace: Namespace) -> None:
    program = (
        "q = Queue(7, 64)\nsend(5)\nfound = drain(q)\n"
        "print([packet[28:] for _, _, _, packet in found], {hook for _, hook, _, _ in found}, arrived(), waiting())"
    )
    assert namespace.run(program) == "[b'0', b'1', b'2', b'3', b'4'] {3} 5 0"


@pytest.mark.live
def test_what_finds_the_queue_full_is_dropped(namespace: Namespace) -> None:
    program = "q = Queue(7, 4)\nsend(20)\nprint(waiting(), arrived())\ndrain(q)\nprint(arrived(), waiting())"
    assert namespace.run(program).split() == ["4", "0", "4", "0"]


@pytest.mark.live
def test_verdicts(namespace: Namespace) -> None:
    """One goes on, one is dropped, and one meets the chain's rules again, which queue it once more."""
    program = (
        "q = Queue(7, 64)\nsend(3)\nfound = q.read()\n"
        "q.answer([(number, verdict) for (number, *_), verdict in zip(found, (ACCEPT, DROP, REPEAT))])\n"
        "again = q.read()\nprint(len(again), again[0][3][28:], arrived())\n"
        "q.answer([(again[0][0], ACCEPT)])\nprint(arrived(), waiting())"
    )
    assert namespace.run(program).split() == ["1", "b'2'", "1", "1", "0"]


@pytest.mark.live
def test_a_turn_ends(namespace: Namespace) -> None:
    program = (
        "q = Queue(7, 1024)\nsend(150)\n"
        + "found = q.read()\nprint(len(found))\nq.answer([(number, ACCEPT) for number, *_ in found])\n" * 3
    )
    assert namespace.run(program).split() == [str(TURN), str(TURN), str(150 - 2 * TURN)]


@pytest.mark.live
def test_a_verdict_on_what_is_gone_does_no_harm(namespace: Namespace) -> None:
    program = (
        "q = Queue(7, 64)\nsend(3)\nanswers = [(number, ACCEPT) for number, *_ in q.read()]\n"
        "q.answer(answers)\nq.answer(answers)\nq.answer([])\n"
        "send(2)\nprint(len(drain(q)), arrived(), waiting())"
    )
    assert namespace.run(program) == "2 5 0"


@pytest.mark.live
def test_a_queue_that_is_taken(namespace: Namespace) -> None:
    program = (
        "q = Queue(7, 4)\nprint(queue_state(7).holder == os.getpid(), queue_state(8))\n"
        "try: Queue(7, 4)\nexcept QueueBusyError as error: print(error)\n"
        "send(2)\ndrain(q)\nprint(arrived())\nq.close()\nsend(1)\nprint(arrived())"
    )
    first, second, *rest = namespace.run(program).splitlines()
    assert first == "True None"
    assert "queue 7 cannot be bound: the program with netlink port" in second
    assert rest == ["2", "1"]


@pytest.mark.live
def test_programs_do_not_inherit_the_queue(namespace: Namespace) -> None:
    """One that hung when the filter was killed would hold it, and mail would wait in vain."""
    program = (
        "import os\n"
        "from cpe_filter.enforce import process as command\n"
        "q = Queue(7, 4)\n"
        "ours = os.readlink(f'/proc/self/fd/{q.fd}')\n"
        "print(ours in command.run('sh', '-c', 'ls -l /proc/$$/fd').out.decode())\n"
    )
    assert namespace.run(program) == "False"


_QUEUES = """\
   25  31337     3 2  2048     7     2     9012  1
  251   4242     0 2  4096     1     1        5  1
"""


def test_the_state_of_a_queue_is_that_of_its_number(tmp_path: Path) -> None:
    path = tmp_path / "nfnetlink_queue"
    path.write_text(_QUEUES)
    assert queue_state(25, str(path)) == QueueState(holder=31337, waiting=3, dropped_queue=7, dropped_socket=2)
    assert queue_state(2, str(path)) is None
    for damaged in ("25 x y z a b c d", "25", ""):
        path.write_text(damaged)
        assert queue_state(25, str(path)) is None
    path.unlink()
    assert queue_state(25, str(path)) is None
