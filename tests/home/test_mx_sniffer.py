"""Lookups taken off the lab's LAN: what the kernel's filter passes and drops, floods, lost interfaces, no rights."""

from __future__ import annotations

import json
import struct
import subprocess
import time
from typing import Any

import pytest

from cpe_filter.home.mx_sniffer import FRAMES_PER_S
from cpe_filter.inspect.dns import mx_question
from tests.build import OPT, TYPE_A, TYPE_AAAA, TYPE_MX, dns_query, udp
from tests.lab.net import DEADLINE_S, PROJECT, PYTHON, Filter, Lab, mx4

pytestmark = pytest.mark.live

MONITOR = '[filter]\nmode = "monitor"\n'
HOME4, HOME6 = "192.168.1.1", "2001:db8:1::1"
FOREIGN4, FOREIGN6 = "203.0.113.53", "2001:db8:100::53"

#: Runs on a device: sends datagrams, one for each line "address hexadecimal message [port]".
ASK = """
import socket, sys
for line in sys.stdin:
    address, message, *port = line.split()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.sendto(bytes.fromhex(message), (address, int(port[0]) if port else 53))
"""
#: Runs on the router: prints an object for each frame that passed the kernel's filter, until it is told to stop.
WATCH = """
import json, select, sys, time
from cpe_filter.home.mx_sniffer import Lookups
def say(what, **more):
    print(json.dumps({"what": what, **more}), flush=True)
poll = select.poll()
tell = lambda hwaddr, packet: say("frame", hwaddr=hwaddr and hwaddr.hex(":"), packet=packet.hex())
lookups = Lookups(("br-lan",), poll, tell, lambda text: say("log", text=text), float(sys.argv[1]))
poll.register(0, select.POLLIN)
tick = 0
while True:
    now = time.monotonic()
    if now >= tick:
        lookups.tick(now)
        if not tick:
            say("ready")
        tick = now + float(sys.argv[2])
    for fd, _ in poll.poll(50):
        if fd == 0:
            say("end", seen=lookups.seen, sockets=len(lookups))
            sys.exit()
        if fd in lookups:
            lookups.serve(fd)
"""


class Watch:
    """`WATCH` on the lab's router. `end` gives all that it said."""

    def __init__(self, lab: Lab, retry_s: float = 30, tick_s: float = 1) -> None:
        command = lab.command("router", [PYTHON, "-c", WATCH, str(retry_s), str(tick_s)])
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
        lab._processes.append(self._process)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "ready" in line or "log" in line, line

    def end(self) -> list[dict[str, Any]]:
        time.sleep(0.3)
        out, _ = self._process.communicate("\n", timeout=DEADLINE_S)
        return [json.loads(line) for line in out.splitlines()]


def ask(lab: Lab, *lines: str, device: str = "device1") -> None:
    lab.run(device, [PYTHON, "-c", ASK], given="\n".join(lines))


def frames_of(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in said if item["what"] == "frame"]


def test_the_kernel_passes_questions_for_mail_servers_and_nothing_else(lab: Lab) -> None:
    watch = Watch(lab)
    resolvers = (HOME4, HOME6, FOREIGN4, FOREIGN6)
    names = ("a.example", "mail.example.net", ".".join(["a" * 63] * 3 + ["a" * 61]), "x")
    for resolver in resolvers:
        for name in names:
            wanted = [f"{resolver} {dns_query(name, TYPE_MX, opt).hex()}" for opt in OPT.values()]
            ask(lab, *wanted)
        for other in (TYPE_A, TYPE_AAAA, 2, 16, 255):
            ask(lab, *(f"{resolver} {dns_query('mail.example.net', other, opt).hex()}" for opt in OPT.values()))
        ask(lab, f"{resolver} {dns_query().hex()} 5353", f"{resolver} 00", f"{resolver} {'ff' * 200}")
        ask(lab, f"{resolver} {dns_query(opt=bytes(3)).hex()}")  # something behind the question that we do not know
    said = watch.end()
    found = frames_of(said)
    assert len(found) == len(resolvers) * len(names) * len(OPT)
    assert said[-1]["seen"] == len(found)
    for item in found:
        assert item["hwaddr"] == Lab.mac("device1")
        assert mx_question(bytes.fromhex(item["packet"])) is not None


def test_questions_by_tcp_are_seen(lab: Lab) -> None:
    listener = (
        "import socket\n"
        "all = [socket.create_server(('0.0.0.0', 53)), socket.create_server(('::', 53), family=socket.AF_INET6)]\n"
        "print('up', flush=True)\n"
        "held = [one.accept() for one in all]\n"
        "import time; time.sleep(9)\n"
    )
    process = lab.start("internet", [PYTHON, "-c", listener])
    assert process.stdout is not None
    process.stdout.readline()
    watch = Watch(lab)
    message = dns_query(opt=OPT["edns"])
    whole = struct.pack("!H", len(message)) + message
    for resolver in (FOREIGN4, FOREIGN6):
        client = f"import socket;socket.create_connection(('{resolver}',53),3).sendall(bytes.fromhex('{whole.hex()}'))"
        lab.run("device2", [PYTHON, "-c", client])
    found = frames_of(watch.end())
    assert len(found) == 2
    assert {item["hwaddr"] for item in found} == {Lab.mac("device2")}
    assert all(mx_question(bytes.fromhex(item["packet"])) for item in found)


def test_what_the_router_asks_itself_is_not_seen(lab: Lab) -> None:
    watch = Watch(lab)
    for address in (FOREIGN4, Lab.address4("device1"), Lab.address6("device1")):
        ask(lab, f"{address} {dns_query().hex()}", device="router")
    assert frames_of(watch.end()) == []


def test_what_is_tagged_for_a_vlan_is_of_another_network(lab: Lab) -> None:
    """VLAN 0 is a priority without a network (802.1Q)."""
    watch = Watch(lab)
    packet = udp(Lab.address4("device1"), HOME4, 40000, 53, dns_query())
    for vlan in (7, 0):
        frame = bytes.fromhex("0200000001fe 020000000101") + struct.pack("!HHH", 0x8100, vlan, 0x0800) + packet
        program = f"import socket;s=socket.socket(17,3);s.bind(('eth0',0));s.send(bytes.fromhex('{frame.hex()}'))"
        lab.run("device1", [PYTHON, "-c", program])
    (found,) = frames_of(watch.end())
    assert bytes.fromhex(found["packet"])[: len(packet)] == packet


def test_a_flood_costs_no_more_than_its_share(lab: Lab) -> None:
    watch = Watch(lab)
    flood = (
        "import socket, time\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"message = bytes.fromhex('{dns_query().hex()}')\n"
        "end = time.monotonic() + 2.5\n"
        "while time.monotonic() < end:\n"
        "    for _ in range(20):\n"
        f"        try: s.sendto(message, ('{FOREIGN4}', 53))\n"
        "        except OSError: pass\n"
        "    time.sleep(0.001)\n"
    )
    lab.run("device2", [PYTHON, "-c", flood])
    said = watch.end()
    assert FRAMES_PER_S < said[-1]["seen"] <= 5 * FRAMES_PER_S  # in at most four seconds and a bit


def test_an_interface_that_goes_and_comes_back(lab: Lab) -> None:
    watch = Watch(lab, retry_s=0.2, tick_s=0.1)
    ask(lab, f"{HOME4} {dns_query().hex()}")
    for _ in range(3):
        lab.run("router", ["ip", "link", "set", "br-lan", "down"])
        time.sleep(0.5)
        lab.run("router", ["ip", "link", "set", "br-lan", "up"])
    time.sleep(0.5)
    ask(lab, f"{HOME4} {dns_query().hex()}")
    for command in (
        "link del br-lan",
        "link add br-lan address 02:00:00:00:01:fe type bridge",
        "link set br-lan up",
        "addr add 192.168.1.1/24 dev br-lan",
    ):
        lab.run("router", ["ip", *command.split()])
        time.sleep(0.2)
    lab.run("router", ["ip", "link", "set", "p1", "master", "br-lan", "up"])
    time.sleep(0.5)
    ask(lab, f"{HOME4} {dns_query().hex()}")
    said = watch.end()
    assert len(frames_of(said)) == 3
    (line,) = [item["text"] for item in said if item["what"] == "log"]
    assert "MX lookups are not watched on br-lan until it is back" in line
    assert said[-1]["sockets"] == 1


# ── with the filter ─────────────────────────────────────────────────────────────────────────────────


def send(lab: Lab, device: str = "device1") -> None:
    lab.run(device, [PYTHON, "-m", "tests.lab.send", mx4(0)])


def queries(running: Filter, device: str = "device1") -> int:
    found = running.device(device)
    assert found is not None
    return int(found["mx_queries"])


def test_lookups_count_before_and_after_the_first_mail(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(MONITOR))
    message = dns_query().hex()
    ask(lab, f"{HOME4} {message}", f"{FOREIGN6} {message}")
    ask(lab, f"{FOREIGN4} {message}", device="device2")
    time.sleep(1.2)
    assert running.status()["devices"] == []
    send(lab)
    assert queries(running) == 2
    ask(lab, f"{HOME6} {message}", *(f"{HOME6} {dns_query(qtype=TYPE_A).hex()}" for _ in range(5)))
    assert queries(running) == 3
    status = running.status()
    assert status["lookup_packets"] == 4  # the kernel kept the rest from us
    assert status["failures"] == 0


def test_no_name_gets_into_log_or_status(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(MONITOR))
    send(lab)
    ask(lab, f"{FOREIGN4} {dns_query('canary.example').hex()}")
    assert queries(running) == 1
    assert "canary" not in running.log() + json.dumps(running.status())


def test_not_watched_when_the_policy_says_so(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(MONITOR + "[detect]\nwatch_dns = false\n"))
    send(lab)
    ask(lab, f"{FOREIGN4} {dns_query().hex()}")
    assert queries(running) == 0
    assert running.status()["lookup_packets"] == 0
    assert len(lab.run("router", ["cat", "/proc/net/packet"]).stdout.splitlines()) == 1  # its heading


def test_without_the_capability_mail_is_filtered_all_the_same(lab: Lab) -> None:
    policy = lab.policy(MONITOR)
    log = lab.folder / "filter.log"
    with log.open("w") as file:
        command = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"]
        process = lab.start(
            "router", [*command, PYTHON, "-m", "cpe_filter", "run", "--policy", str(policy)], stderr=file
        )
    running = Filter(lab, process, log, policy)
    running.wait_for("running:")
    send(lab)
    ask(lab, f"{FOREIGN4} {dns_query().hex()}")
    assert queries(running) == 0
    needs = "that needs the capability CAP_NET_RAW"
    assert running.log().count(f"MX lookups are not watched: {needs}") == 1
    assert running.log().count(f"NAT64 prefixes in Router Advertisements are not read: {needs}") == 1
    assert running.stop() == 0
