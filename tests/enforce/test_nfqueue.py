"""The queue on the real kernel, over the loopback of a network namespace of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from itertools import combinations

import pytest

from cpe_filter.enforce.nfqueue import MARKS, TURN, _Read
from cpe_filter.enforce.ruleset import HAND_OFF, MARK_MASK
from tests.lab.net import PROJECT, PYTHON

# Datagrams to port 9 wait in queue 7; without a holder they pass. `sent` gives those that have arrived by now.
_PROLOGUE = """
import os, select, socket, subprocess, sys, time
from cpe_filter.enforce import nfqueue
from cpe_filter.enforce.nfqueue import Queue, QueueTaken, queue_holder, set_fail_open

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

judged = []
def accept(hook, hwaddr, packet):
    judged.append(packet)
    return "accept"

def queue(length=4, fail_closed=False, judge=accept):
    return Queue(7, length, judge, fail_closed)

def drain(queue):
    while select.select([queue.fd], [], [], 0.1)[0]:
        queue.serve()
"""


class Namespace:
    def __init__(self) -> None:
        self.name = f"cfq{os.getpid()}"

    def run(self, program: str, expected: int = 0) -> str:
        """What a program prints that has the prologue's names."""
        command = ["ip", "netns", "exec", self.name, PYTHON, "-c", _PROLOGUE + program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=PROJECT)
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


# ── the fail-open flag ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.live
def test_a_full_queue_passes_what_comes_when_failing_open(namespace: Namespace) -> None:
    program = "q = queue(4)\nsend(20)\nprint(q.warning, waiting(), arrived())\ndrain(q)\nprint(arrived(), waiting())"
    assert namespace.run(program) == "4 16\n4 0"


@pytest.mark.live
def test_a_full_queue_drops_what_comes_when_failing_closed(namespace: Namespace) -> None:
    program = "q = queue(4, True)\nsend(20)\nprint(q.warning, waiting(), arrived())\ndrain(q)\nprint(arrived())"
    assert namespace.run(program) == "4 0\n4"


@pytest.mark.live
def test_the_flag_can_be_cleared_and_set_again(namespace: Namespace) -> None:
    program = (
        "q = queue(1)\n"
        "for wanted in (False, True):\n"
        "    print(set_fail_open(q.fd, 7, wanted)[0] or 'done', end=' ')\n"
        "    send(3); print(arrived(), end=' '); drain(q); print(arrived())\n"
    )
    assert namespace.run(program) == "done 0 1\ndone 2 1"


@pytest.mark.live
def test_packets_that_come_before_the_answer_get_their_verdicts(namespace: Namespace) -> None:
    # As after a kill: the rule is there, mail comes in while the successor binds, and nothing may stay in the queue.
    program = (
        "real = nfqueue.set_fail_open\n"
        "def late(fd, number, wanted):\n"
        "    send(3)\n"
        "    error, earlier = real(fd, number, wanted)\n"
        "    print(error or 'done', len(earlier), end=' ')\n"
        "    return error, earlier\n"
        "nfqueue.set_fail_open = late\n"
        "q = queue(64)\n"
        "print(len(judged), waiting(), arrived())\n"
    )
    assert namespace.run(program) == "done 3 3 0 3"


@pytest.mark.live
def test_binding_under_load_leaves_nothing_behind(namespace: Namespace) -> None:
    program = (
        "flood = subprocess.Popen([sys.executable, '-c', '''\n"
        "import socket, time\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "end = time.monotonic() + 10\n"
        'while time.monotonic() < end: s.sendto(b"x", ("127.0.0.1", 9))\n'
        "'''])\n"
        "time.sleep(0.3)\n"
        "for length in (1, 4, 64, 1024) * 3:\n"
        "    q = queue(length)\n"
        "    print(q.warning, end='')\n"
        "    before = len(judged)\n"
        "    for _ in range(5): select.select([q.fd], [], [], 2); q.serve()\n"
        "    assert len(judged) > before\n"
        "    q.close()\n"
        "q = queue(64)\n"
        "flood.kill(); flood.wait()\n"
        "drain(q)\n"
        "print(waiting(), q.failures)\n"
    )
    assert namespace.run(program) == "0 0"


@pytest.mark.live
def test_the_kernel_refuses_the_flag_to_others(namespace: Namespace) -> None:
    program = (
        "q = queue()\n"
        "other = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)\n"
        "other.setblocking(False)\n"
        "print(set_fail_open(other.fileno(), 7, True))\n"
        "print(set_fail_open(q.fd, 8, True))\n"  # nobody's
    )
    first, second = namespace.run(program).splitlines()
    assert first == "('Operation not permitted', [])"
    assert second.startswith("('")
    assert second != "('', [])"


@pytest.mark.live
@pytest.mark.parametrize(("closed", "warns"), [(False, True), (True, False)])
def test_a_refusal_is_told_where_it_matters(namespace: Namespace, closed: bool, warns: bool) -> None:
    program = (
        "nfqueue.set_fail_open = lambda *_: ('Operation not supported', [])\n"
        f"q = queue(4, {closed})\nsend(6)\ndrain(q)\nprint(arrived(), q.warning)"
    )
    told = namespace.run(program)
    assert told.startswith("4")
    assert ("queue 7 has no fail-open flag (Operation not supported)" in told) is warns


# ── packets ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.live
@pytest.mark.parametrize(("closed", "arrives"), [(False, 3), (True, 2)])
def test_every_packet_gets_its_verdict(namespace: Namespace, closed: bool, arrives: int) -> None:
    program = (
        "def judge(hook, hwaddr, packet):\n"
        "    judged.append(packet)\n"
        "    if len(judged) == 2: raise ValueError('a defect')\n"
        "    return 'accept'\n"
        f"q = queue(64, {closed}, judge)\nsend(3)\ndrain(q)\n"
        "print(arrived(), waiting(), q.failures, q.last_failure)"
    )
    assert namespace.run(program) == f"{arrives} 0 1 ValueError: a defect"


@pytest.mark.live
def test_a_turn_ends(namespace: Namespace) -> None:
    program = "nfqueue.TURN_S = 9.0\nq = queue(1024)\nsend(150)\n" + "q.serve()\nprint(len(judged))\n" * 3
    assert namespace.run(program).split() == [str(TURN), str(2 * TURN), "150"]


@pytest.mark.live
def test_a_turn_of_slow_packets_ends_by_time(namespace: Namespace) -> None:
    program = (
        "def slow(hook, hwaddr, packet):\n    time.sleep(0.004)\n    return accept(hook, hwaddr, packet)\n"
        "q = queue(64, judge=slow)\nsend(60)\nq.serve()\nprint(len(judged))\ndrain(q)\nprint(len(judged))"
    )
    first, total = map(int, namespace.run(program).split())
    assert 1 <= first <= 6
    assert total == 60


@pytest.mark.live
def test_a_queue_that_is_taken(namespace: Namespace) -> None:
    program = (
        "q = queue()\nprint(queue_holder(7) == os.getpid(), queue_holder(8))\n"
        "try: queue()\nexcept QueueTaken as error: print(error)\n"
        "send(2)\ndrain(q)\nprint(arrived())\nq.close()\nsend(1)\nprint(arrived())"
    )
    first, second, *rest = namespace.run(program).splitlines()
    assert first == "True 0"
    assert "queue 7 cannot be bound: the program with netlink port" in second
    assert rest == ["2", "1"]


def test_datagrams_read_before_are_given_once_and_in_order() -> None:
    source = _Read([b"one", b"two"])
    assert [source.recv(9), source.recv(9)] == [b"one", b"two"]
    with pytest.raises(BlockingIOError):
        source.recv(9)


def test_marks_are_ours_and_differ() -> None:
    assert all(mark & MARK_MASK == mark != HAND_OFF for mark in MARKS.values())
    assert all(one != other for one, other in combinations(MARKS.values(), 2))


@pytest.mark.live
def test_programs_do_not_inherit_the_queue(namespace: Namespace) -> None:
    """One that hung when the filter was killed would hold it, and mail would wait in vain."""
    program = (
        "import os\n"
        "from cpe_filter.enforce import command\n"
        "q = queue()\n"
        "ours = os.readlink(f'/proc/self/fd/{q.fd}')\n"
        "print(ours in command.run('sh', '-c', 'ls -l /proc/$$/fd').out.decode())\n"
    )
    assert namespace.run(program) == "False"
