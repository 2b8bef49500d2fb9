"""The quarantine with real clients: what a held device reaches, what is refused, and everything that ends it."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from cpe_filter.enforce.ruleset_names import QUARANTINE_S
from tests.attacks.variants import ALL
from tests.lab.net import DEADLINE_S, PYTHON, Lab
from tests.lab.web import WEB4, WEB6
from tests.notice.test_live_way import BOT, OTHER, SERVED, Way

pytestmark = pytest.mark.live

HELPFUL4, HELPFUL6 = "198.18.81.1", "2001:db8:1fd::81"
QUARANTINE = f'quarantine = true\nhelpful = ["{HELPFUL4}", "{HELPFUL6}"]'
#: Sends back what it gets on UDP 53 and 443, and on TCP 53.
ECHO = """
import socket, sys, threading
def back(s):
    while True:
        data, peer = s.recvfrom(2048)
        s.sendto(data, peer)
def take(s):
    while True:
        c, _ = s.accept()
        c.sendall(c.recv(2048)); c.close()
for address in sys.argv[1:]:
    for port in (53, 443):
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((address, port))
        threading.Thread(target=back, args=(s,)).start()
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", 53)); s.listen(16)
threading.Thread(target=take, args=(s,)).start()
print("ready", flush=True)
"""
#: What becomes of a question to each address and port: `pass`, or the error's name. A name that says nothing is an
#: error that took its time.
ASK = """
import errno, json, socket, sys
out = {}
for kind, address, port in json.loads(sys.argv[1]):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                      socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(20)
    try:
        s.connect((address, port))
        s.sendall(b"question")
        out[f"{kind} {address} {port}"] = "pass" if s.recv(100) == b"question" else "nothing"
    except OSError as error:
        out[f"{kind} {address} {port}"] = errno.errorcode.get(error.errno, "silence")
    s.close()
print(json.dumps(out))
"""
#: A connection that is used every half second, until it fails; writes how.
RUNNING = """
import errno, socket, sys, time
s = socket.create_connection((sys.argv[1], 443), 20)
print("open", flush=True)
while True:
    try:
        s.sendall(b"x")
        if not s.recv(10): sys.exit("closed")
    except OSError as error:
        print(errno.errorcode.get(error.errno, "silence"), flush=True)
        break
    time.sleep(0.2)
"""


class Held(Way):
    """A lab with the quarantine."""

    def __init__(self, lab: Lab, notice: str = "", rest: str = "") -> None:
        super().__init__(lab, f"{QUARANTINE}\n{notice}", rest)
        echo = lab.start("internet", [PYTHON, "-c", ECHO, WEB4, WEB6, HELPFUL4, HELPFUL6])
        assert echo.stdout is not None
        assert echo.stdout.readline() == "ready\n"

    def ask(self, device: str, *questions: tuple[str, str, int]) -> list[str]:
        done = self.lab.run(device, [PYTHON, "-c", ASK, json.dumps(questions)])
        return list(json.loads(done.stdout).values())

    def is_held(self, device: str = BOT) -> bool:
        """As the kernel has it."""
        return self.ask(device, ("tcp", WEB4, 443)) == ["ECONNREFUSED"]

    def wait_held(self, held: bool = True, seconds: float = DEADLINE_S) -> None:
        end = time.monotonic() + seconds
        while self.is_held() is not held:
            assert time.monotonic() < end, self.filter.log()
            time.sleep(0.2)

    def quarantined_at(self) -> float:
        end = time.monotonic() + DEADLINE_S
        while True:
            for one in self.filter.status().get("notice", {}).get("devices", ()):
                if one["quarantined_at"]:
                    return float(one["quarantined_at"])
            assert time.monotonic() < end, self.filter.log()
            time.sleep(0.2)

    def convict_again(self) -> None:
        self.filter._log.write_text("")
        self.convict()
        self.wait_held()


def running(lab: Lab, device: str, address: str) -> subprocess.Popen[str]:
    process = lab.start(device, [PYTHON, "-c", RUNNING, address])
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_what_a_held_device_reaches(lab: Lab) -> None:
    way = Held(lab)
    cut = [running(lab, BOT, address) for address in (WEB4, WEB6)]
    others = [running(lab, OTHER, address) for address in (WEB4, WEB6)]
    way.convict()
    way.wait_held()
    for process in cut:
        assert process.stdout is not None
        assert process.stdout.readline() in ("ECONNRESET\n", "EPIPE\n")
    answers = way.ask(
        BOT,
        *(("tcp", address, port) for address in (WEB4, WEB6) for port in (443, 853, 8080)),
        *(("udp", address, 443) for address in (WEB4, WEB6)),
        *((kind, address, 53) for address in (WEB4, WEB6) for kind in ("udp", "tcp")),
        *((kind, address, 443) for address in (HELPFUL4, HELPFUL6) for kind in ("udp", "tcp")),
    )
    assert answers == ["ECONNREFUSED"] * 6 + ["EHOSTUNREACH", "EACCES"] + ["pass"] * 8
    # The home.
    neighbour = lab.start(OTHER, [PYTHON, "-m", "tests.lab.web"])
    assert neighbour.stdout is not None
    neighbour.stdout.readline()
    assert way.ask(BOT, ("tcp", lab.address4(OTHER), 443), ("tcp", lab.address6(OTHER), 443)) == ["pass"] * 2
    # Nothing of another device.
    assert [process.poll() for process in others] == [None, None]
    assert way.ask(OTHER, ("tcp", WEB4, 443), ("udp", WEB6, 443), ("tcp", WEB6, 8080)) == ["pass"] * 3
    # Its plain HTTP leads to the notice, always; that of helpful sites does not.
    for url in (f"http://{WEB4}/", f"http://[{WEB6}]/"):
        assert way.code(BOT, url) == 302
    assert way.code(BOT, f"http://{HELPFUL4}/") == way.code(BOT, f"http://[{HELPFUL6}]/") == 200
    # Nor does the home's; but it leads there whichever way it would leave.
    assert way.code(BOT, f"http://[{lab.address6(OTHER)}]/") == 200
    lab.nft("router", "add element inet cpe_filter unclear { tcp timeout 1h }")
    assert way.code(BOT) == 302
    assert way.code(BOT, f"http://[{lab.address6(OTHER)}]/") == 200
    lab.nft("router", "delete element inet cpe_filter unclear { tcp }")
    page = way.get(BOT, SERVED)
    assert "This device is in quarantine" in page
    assert "stays in quarantine" in way.answer(BOT, "seen", way.token(BOT))
    assert way.code(BOT) == 302
    assert way.is_held()
    one = way.filter.status()["notice"]["devices"][0]
    assert (one["quarantine"], one["releases"]) == ("held", 2)


#: Else mode limit would stop a suspected bot before it is convicted a third time.
LIMITS = "[limits]\n" + "".join(
    f"{what}_per_hour = 100000\n{what}_burst = 100000\n"
    for what in ("connections", "destinations", "messages", "recipients")
)


def test_it_is_released_twice_and_then_by_the_isp(lab: Lab) -> None:
    way = Held(lab, rest=LIMITS)
    way.convict()
    for left in (2, 1):
        way.wait_held()
        assert f"ends the quarantine at once ({left} times left)" in way.get(BOT, SERVED)
        assert "The device counts as clean" in way.answer(BOT, "cleaned", way.token(BOT))
        assert not way.is_held()
        way.filter.wait_for(f"device {lab.mac(BOT)} is released from quarantine by its users")
        way.convict_again()
    page = way.get(BOT, SERVED)
    assert "0800 1234" in page
    assert "at the latest" in page
    assert "has to release the device" in way.answer(BOT, "cleaned", way.token(BOT))
    assert way.is_held()
    lab.run("router", [PYTHON, "-m", "cpe_filter", "release", lab.mac(BOT), "--policy", str(way.policy)])
    assert not way.is_held()
    way.filter.wait_for("is released from quarantine by a command")


@pytest.mark.parametrize("fail", ["open", "closed"] if ALL else ["closed"])
def test_a_restart_holds_and_a_dead_filter_releases(lab: Lab, fail: str) -> None:
    way = Held(lab)
    way.convict()
    way.wait_held()
    way.filter.stop(signal.SIGKILL)
    assert way.is_held()
    if fail == "closed":
        way.policy.write_text(way.policy.read_text().replace("[filter]\n", '[filter]\nfail = "closed"\n'))
    way.filter = lab.start_filter(way.policy)
    assert way.is_held()
    since = way.quarantined_at()
    # An orderly end: fail closed leaves the rules there.
    way.filter.stop()
    assert way.is_held() is (fail == "closed")
    way.filter = lab.start_filter(way.policy)
    way.wait_held()
    assert abs(way.quarantined_at() - since) < 2
    if not ALL:  # it takes a minute
        return
    way.filter.stop(signal.SIGKILL)
    way.wait_held(False, QUARANTINE_S + DEADLINE_S)


def test_what_ends_it(lab: Lab) -> None:
    """An exemption, the policy, an emergency; and it begins again where that ends."""
    way = Held(lab)
    way.convict()
    way.wait_held()
    exempt = ["exempt", "add", "--device", lab.mac(BOT), "--reason", "test", "--policy", str(way.policy)]
    lab.run("router", [PYTHON, "-m", "cpe_filter", *exempt])
    assert not way.is_held()
    lab.run(
        "router",
        [PYTHON, "-m", "cpe_filter", "exempt", "remove", "--device", lab.mac(BOT), "--policy", str(way.policy)],
    )
    way.wait_held()
    text = way.policy.read_text()
    for change in (
        ("quarantine = true", "quarantine = false"),
        (QUARANTINE, f'{QUARANTINE}\nemergency = ["{lab.mac(BOT)}"]'),
        (QUARANTINE, f'{QUARANTINE}\nshow = "off"'),
    )[: None if ALL else 1]:
        way.policy.write_text(text.replace(*change))
        lab.run("router", [PYTHON, "-m", "cpe_filter", "reload", "--policy", str(way.policy)])
        assert not way.is_held(), change
        way.policy.write_text(text)
        lab.run("router", [PYTHON, "-m", "cpe_filter", "reload", "--policy", str(way.policy)])
        way.wait_held()


if ALL:  # it takes two minutes

    def test_nobody_is_held_without_a_page(lab: Lab) -> None:
        """Not while the server is dead, nor where the firewall refuses it to the device."""
        way = Held(lab)
        lab.nft(
            "router",
            "table inet lab_fw { chain input { type filter hook input priority filter; "
            "iifname br-lan tcp dport 2580 reject with tcp reset; }; }",
        )
        way.convict()
        way.wait_held()
        for _ in range(3):
            way.code(BOT)
            way.get(BOT, SERVED, "-m", "2")
        way.wait_held(False)
        lab.nft("router", "delete table inet lab_fw")
        assert way.get(BOT, SERVED)
        way.wait_held()
        assert way.responder is not None
        lab.stop(way.responder, signal.SIGKILL)
        assert way.is_held()
        way.wait_held(False, QUARANTINE_S + DEADLINE_S)
