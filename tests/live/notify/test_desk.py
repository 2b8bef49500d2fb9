"""The desk of the notice with a real engine, control and state; the test is the server, the kernel and the home."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cpe_filter.detect.device import Device
from cpe_filter.detect.mac_rotation import DeviceRekeyed
from cpe_filter.detect.score import COMPROMISED
from cpe_filter.engine import Engine
from cpe_filter.home import neighbour_table
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live.control import Control
from cpe_filter.live.gate import Gate
from cpe_filter.live.log_events import EventLog
from cpe_filter.live.notify import desk as desk_module
from cpe_filter.live.notify import holding as holding_module
from cpe_filter.live.notify.desk import NoticeDesk
from cpe_filter.live.part import Part
from cpe_filter.live.state import State
from cpe_filter.policy.model import Policy
from tests.policies import make_policy

BOT, NEW = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
CLIENT = "192.0.2.7"


class Kernel:
    """The gate and its sets, as far as the desk uses them."""

    failures = 0

    def __init__(self) -> None:
        self.sets = self
        self.led: set[bytes] = set()
        self.held: set[bytes] = set()
        self.shut: set[bytes] = set()

    def switch(self, name: str, on: bool, seconds: float) -> None: ...

    def show_notice(self, macs: set[bytes], seconds: float) -> None:
        self.led |= macs

    def end_notice(self, mac: bytes) -> None:
        self.led.discard(mac)

    def quarantine(self, macs: set[bytes]) -> None:
        self.held |= macs

    def end_quarantine(self, mac: bytes) -> None:
        self.held.discard(mac)


class House:
    """A home with one compromised device, `BOT`."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self.policy = policy
        self.log: list[str] = []
        self.kernel = Kernel()
        self.engine = Engine(policy)
        self.now = PacketTime(1000.0)
        self.poll = select.poll()
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.server.bind(str(folder / "notice"))
        self.server.listen(2)
        self.busy = False
        self.control = Control(policy, str(folder / "policy.toml"), cast(Any, self), self.log.append)
        self.parts: list[Part] = []
        self.events = EventLog(self.engine, cast(Gate, self.kernel), self.parts, self.host_name, self.log.append)
        self.state = State(policy.state.state_file, str(folder / "recent"), self.log.append)
        self.convict()
        self.desk = NoticeDesk(
            self.engine,
            cast(Gate, self.kernel),
            set,
            self.host_name,
            self.ask,
            self.state,
            self.poll,
            self.log.append,
        )
        self.parts += [self.events, self.desk]
        self.desk.tick(self.now)
        self.filter, _ = self.server.accept()
        self.filter.setblocking(False)
        self.turn(1.0)

    def convict(self) -> None:
        device = self.engine.devices.get(BOT, self.now)
        device.score.standing, device.compromised_at = COMPROMISED, (self.now, 5)

    @property
    def bot(self) -> Device:
        found = self.engine.devices.find(BOT)
        assert found is not None
        return found

    def turn(self, seconds: float) -> None:
        """The server answers, and time goes on."""
        self.filter.send(json.dumps({"do": "pong"}).encode())
        self.desk.serve(-1)
        self.now = PacketTime(self.now + seconds)
        for part in self.parts:
            part.tick(self.now)

    def say(self, verb: str) -> dict[str, Any]:
        """What people do on the page, and the filter's answer."""
        self.filter.send(json.dumps({"id": 7, "do": verb, "client": CLIENT}).encode())
        self.desk.serve(-1)
        while True:
            answer: dict[str, Any] = json.loads(self.filter.recv(4096))
            if "id" in answer:
                return answer

    def ask(self, verb: str, requester: str, request: dict[str, Any], done: Callable[[dict[str, Any]], None]) -> bool:
        if self.busy:
            return False
        self.control.ask(verb, requester, request, done)
        return True

    # What the control needs.

    def devices(self) -> Any:
        return self.engine.devices

    def host_name(self, device: Device) -> str:
        return ""

    def release(self, device: Device) -> None:
        self.engine.release(device.key, self.now)
        self.events.emit()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., House]]:
    made: list[House] = []

    def make(**keys: Any) -> House:
        policy = make_policy(
            status_status_file=str(tmp_path / "status"),
            state_state_file=str(tmp_path / "state"),
            quarantine=True,
            **keys,
        )
        one = House(tmp_path, policy)
        made.append(one)
        return one

    monkeypatch.setattr(desk_module, "elements", lambda name: made[-1].kernel.shut if made else set())
    monkeypatch.setattr(desk_module, "notice_client", lambda address: BOT)
    monkeypatch.setattr(neighbour_table, "mac_of", lambda address, interfaces: BOT)
    monkeypatch.setattr(holding_module, "end_connections", lambda devices, policy: 0)
    yield make
    for one in made:
        one.desk.close()
        one.filter.close()
        one.server.close()


def test_a_release_by_the_isp_ends_the_quarantine_at_once(house: Callable[..., House]) -> None:
    home = house()
    assert home.kernel.held == home.kernel.led == {BOT}
    answers: list[dict[str, Any]] = []
    request = {"device": home.bot.name, "reason": "case 7"}
    assert home.ask("release", "the Internet provider, instruction 0123456789abcdef", request, answers.append)
    assert "error" not in answers[0]
    assert home.kernel.held == home.kernel.led == set()
    assert home.bot.notice == (0, "", "isp")
    assert any("is released from quarantine by a command, an exemption or the policy" in line for line in home.log)
    home.turn(5.0)
    assert home.kernel.held == set()


def test_its_users_release_it(house: Callable[..., House]) -> None:
    home = house()
    assert home.say("page")["releases"] == 2
    assert home.say("cleaned") == {"id": 7, "result": "released"}
    assert home.kernel.held == set()
    assert home.desk.showing.releases_left(BOT, 2, home.now) == 1


def test_a_release_that_the_filter_could_not_do_is_not_counted(house: Callable[..., House]) -> None:
    home = house()
    home.busy = True
    for _ in range(3):
        assert home.say("cleaned")["result"] == "failed"
    assert home.say("page")["releases"] == 2
    assert home.kernel.held == {BOT}
    home.busy = False
    assert home.say("cleaned")["result"] == "released"
    assert home.kernel.held == set()


@pytest.mark.parametrize("hours", ["0-24", "23-24", "0-1"])
def test_a_device_that_cannot_reach_the_notice_is_let_go_for_good(house: Callable[..., House], hours: str) -> None:
    """At hours at which its HTTP would not lead there, too: it is not held and let go in turns."""
    home = house(hours=hours)
    assert home.kernel.held == {BOT}
    home.kernel.shut = {BOT}
    home.turn(2.0)
    home.turn(2.0)
    for _ in range(4):
        assert home.kernel.held == set()
        assert home.bot.notice == (0, "", "")
        home.turn(2.0)
    assert home.desk.facts()["notice"]["devices"][0]["quarantine"] is None
    # Its users have opened it all the same: then they know why.
    home.say("page")
    home.turn(2.0)
    assert home.kernel.held == {BOT}
    assert home.bot.notice == (1, "", "held")
    assert len([line for line in home.log if "the firewall refuses it" in line]) == 1


def test_a_new_mac_that_is_found_in_the_same_turn_takes_the_answers_with_it(house: Callable[..., House]) -> None:
    home = house()
    home.say("page")
    home.say("seen")
    began = home.desk.facts()["notice"]["devices"][0]["quarantined_at"]
    home.log.clear()
    # As the part before the log's does: leases are read in its tick.
    device = home.engine.devices.rekey(BOT, NEW)
    home.engine.events.append(DeviceRekeyed(home.now, device, BOT, "name"))
    home.turn(5.0)
    home.turn(5.0)
    (facts,) = home.desk.facts()["notice"]["devices"]
    assert (facts["answer"], facts["quarantine"], facts["times_shown"]) == ("seen", "held", 1)
    assert abs(facts["quarantined_at"] + 10.0 - began) < 1  # the wall clock has stayed
    assert home.kernel.held == {NEW}
    assert not any("quarantine" in line for line in home.log)
