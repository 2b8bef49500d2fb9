"""Reports as the running filter makes them: an engine with a bot, the files, restarts, and nothing that is private."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time as clock
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.detect.device import Device
from cpe_filter.detect.mac_rotation import DeviceRekeyed, Lease
from cpe_filter.engine import Engine, Flow
from cpe_filter.lean import files
from cpe_filter.lean.clocks import PacketTime, Posix
from cpe_filter.policy.model import Policy
from cpe_filter.report import reporter, spool_dir
from cpe_filter.report.document_news import Ended, News, encode
from cpe_filter.report.reporter import INCIDENTS_SUFFIX, Reporter, Saved, read_saved
from cpe_filter.report.spool_dir import INCIDENTS, SPOOL, uptime
from cpe_filter.report.spool_reader import SpoolReader
from tests.build import CLIENT, Packet, session
from tests.engine.test_engine import MAC, OTHER, Home, bot_session
from tests.lab.net import PROJECT, within
from tests.policies import changed_policy, make_policy
from tests.report.wire import check_event

#: The engine's clock as it is when it starts, with the machine's own uptime.
START = 1795435200.0
MONITOR = make_policy(mode="monitor", report_url="https://collector.example", version="v7")


class Router:
    """An engine and its reporter, on files of a folder; conntrack is a table."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, policy: Policy = MONITOR) -> None:
        self.policy = changed_policy(
            policy,
            status_file=str(folder / "run" / "status.json"),
            state_file=str(folder / "flash" / "state"),
            report_user="nobody",
        )
        self.folder, self.run = folder, folder / "run" / "report"
        self.log: list[str] = []
        self.asked: list[tuple[bytes, int, bytes, int]] = []
        self.ports: dict[int, int] = {}
        monkeypatch.setattr(reporter, "wan_port", self._port)
        self.now = START
        self.home = Home(self.policy)
        self.reporter = self.started()

    def _port(self, client: bytes, client_port: int, server: bytes, server_port: int) -> int | None:
        self.asked.append((client, client_port, server, server_port))
        return self.ports.get(client_port)

    def started(self) -> Reporter:
        figures = {"exempt": 0, "packets": 1, "failures": 0, "restored": 0, "submission": [(MAC, 64, 130, 120)]}
        engine, log, saved = self.home.engine, self.log.append, Saved(*read_saved(self.policy))
        return Reporter(self.policy, engine, lambda device: "annas-tv", lambda: figures, log, self.now, saved)

    def restart(self) -> None:
        self.reporter = self.started()

    def reboot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.rmtree(self.run)
        boot = spool_dir.boot_id().translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
        monkeypatch.setattr(spool_dir, "boot_id", lambda: boot)
        self.reporter = self.started()

    def play(self, packets: list[Packet], mac: bytes = MAC) -> None:
        self.home.play([packet._replace(time=self.now) for packet in packets], mac)

    def bot(self, mac: bytes = MAC, count: int = 12) -> None:
        for number in range(count):
            self.play(bot_session(number, self.now), mac)

    def tick(self, later: float = 1.0) -> list[dict[str, Any]]:
        """Time passes; the events in the spool's file."""
        self.now += later
        self.reporter.tick(self.now)
        return self.waiting()

    def waiting(self) -> list[dict[str, Any]]:
        reader = SpoolReader(str(self.run))
        try:
            found = reader.spool(spool_dir.boot_id())
        finally:
            reader.close()
        events = [json.loads(event.line) for event in found[1]] if found else []
        for event in events:
            check_event(event)
        return events

    def kinds(self, later: float = 1.0) -> list[str]:
        return [event["kind"] for event in self.tick(later)]

    def arrive(self, *seqs: int) -> None:
        reader = SpoolReader(str(self.run))
        reader.note(spool_dir.boot_id(), seqs)
        reader.close()


@pytest.fixture
def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Router:
    return Router(tmp_path, monkeypatch)


BOT = """
S: 220 mx.example.net ESMTP
C: HELO 7-0-2-198.dynamic.example.net
S: 250 mx.example.net
C: MAIL FROM:<bot@example.org>
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.net>
S: 550 5.1.1 User unknown
C: QUIT
S: 221 Bye
"""


FIRST, SECOND = bytes.fromhex("020000000101"), bytes.fromhex("020000000202")
HOUR = 3600.0


class Rotation:
    """A bot on a device that gives itself another MAC, as phones do. Both MACs send spam."""

    def __init__(self, router: Router) -> None:
        self.router = router

    def leases(self, mac: bytes) -> list[DeviceRekeyed]:
        """The router has this lease only, for 12 hours. What the engine says of it goes to the reporter."""
        router, engine = self.router, self.router.home.engine
        lease = Lease(mac, (bytes((192, 168, 1, mac[5])),), "phone", b"", router.now + 12 * HOUR)
        engine.leases([lease], PacketTime(router.now), Posix(router.now))
        found = [event for event in engine.events if isinstance(event, DeviceRekeyed)]
        engine.events.clear()
        for event in found:
            router.reporter.rekeyed(event.before, event.device.key)
        return found

    def bot(self, mac: bytes, numbers: range) -> None:
        for number in numbers:
            self.router.play(bot_session(number, self.router.now), mac)

    def play(self, first: int = 12, second: int = 12) -> Device:
        """Both are convicted, and after the end of the first lease they are one. The device that is left."""
        router = self.router
        assert self.leases(FIRST) == []
        self.bot(FIRST, range(first))
        router.tick()
        router.now += HOUR
        assert self.leases(SECOND) == []
        self.bot(SECOND, range(100, 100 + second))
        router.tick()
        router.now += 12 * HOUR
        (event,) = self.leases(SECOND)
        assert event.before == FIRST
        device: Device = event.device
        return device


# ── from the engine to the file ─────────────────────────────────────────────────────────────────────


def test_a_bot_is_found_and_reported(router: Router) -> None:
    router.bot()
    (raised,) = router.tick()
    assert raised["kind"] == "raised"
    assert raised["ind"]["unknown-user"] >= 1
    assert -1 < raised["up"] - uptime() <= 2  # whole seconds
    assert router.kinds(3600) == ["raised", "heartbeat"]
    assert router.log == []


def test_the_first_seq_of_a_boot_is_none_that_can_have_been(router: Router) -> None:
    router.bot()
    first = router.tick()[0]["seq"]
    assert first >= int(uptime()) - 2
    (router.run / SPOOL).unlink()
    (router.run / INCIDENTS).unlink()
    router.restart()
    assert router.tick()[0]["seq"] >= first


def test_what_arrives_leaves_the_spool_and_is_remembered(router: Router) -> None:
    router.bot()
    (raised,) = router.tick()
    assert [event["kind"] for event in router.tick(6)] == ["raised"]
    incident = router.reporter._incidents.find(MAC)
    assert incident is not None
    assert incident.arrived == 0
    router.arrive(raised["seq"])
    assert router.tick(6) == []
    assert incident.arrived == 2


def test_two_incidents_of_a_device_with_another_mac_become_one(router: Router) -> None:
    rotation = Rotation(router)
    device = rotation.play(first=14, second=9)
    events = [event for event in router.tick() if event["kind"] != "heartbeat"]
    assert [event["kind"] for event in events] == ["raised", "raised", "closed"]
    older, newer, closed = events
    assert (older["conns"], newer["conns"]) == (14, 9)
    assert (closed["id"], closed["why"], closed["conns"]) == (newer["id"], "merged", 9)
    assert len(router.reporter._incidents) == 1
    # What is counted from now on is added to what the incident had, whichever device goes on.
    rotation.bot(SECOND, range(200, 203))
    (updated,) = [event for event in router.tick(HOUR) if event["kind"] == "updated"]
    assert (updated["id"], updated["dev"], updated["conns"]) == (older["id"], older["dev"], 17)
    assert updated["ind"]["unknown-user"] >= older["ind"]["unknown-user"]
    assert router.home.engine.release(device.key, PacketTime(router.now))
    events = [event for event in router.tick() if event["kind"] == "closed"]
    assert [(event["id"], event["why"]) for event in events] == [(newer["id"], "merged"), (older["id"], "released")]
    assert len(router.reporter._incidents) == 0


def test_heartbeats(router: Router) -> None:
    assert router.kinds(30) == []
    (first,) = router.tick(30)
    assert first["kind"] == "heartbeat"
    (one,) = first["sub"]
    assert (one["servers"], one["conns"], one["fails"]) == (64, 130, 120)
    assert MAC.hex() not in str(first)
    (fresh,) = router.tick(3600)
    assert fresh["seq"] > first["seq"]
    router.arrive(fresh["seq"])
    assert router.tick(6) == []
    assert router.kinds(42000) == []
    assert router.kinds(1300) == ["heartbeat"]


def test_no_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router(tmp_path, monkeypatch, changed_policy(MONITOR, report_heartbeat=False))
    assert router.kinds(86400) == []


def test_the_policy_s_version_is_in_the_file(router: Router) -> None:
    router.tick()
    assert b'"pol":"v7"' in (router.run / SPOOL).read_bytes()
    router.reporter.reload(changed_policy(router.policy, version="v8"))
    router.tick()
    assert b'"pol":"v8"' in (router.run / SPOOL).read_bytes()


def test_nothing_is_written_while_nothing_happens(router: Router) -> None:
    router.bot()
    router.tick()
    before = (router.run / SPOOL).stat().st_ino
    for _ in range(50):
        router.tick()
    assert (router.run / SPOOL).stat().st_ino == before


# ── documents ───────────────────────────────────────────────────────────────────────────────────────


class Documents:
    """What `provision` leaves next to the router's state file."""

    def __init__(self, router: Router) -> None:
        self.router, self.news = router, News("0123456789abcdef")
        self.path = router.folder / "flash" / "provision" / "news" / "list"
        self.path.parent.mkdir(parents=True, mode=0o700)

    def add(self, *outcomes: tuple[str, str, int, str]) -> None:
        """result, type, sequence and why of each."""
        for result, kind, sequence, why in outcomes:
            number = self.news.ended[-1].number + 1 if self.news.ended else 1
            one = Ended(number, result, kind, "ab" * 8, sequence, why)
            in_force = ((kind, "ab" * 8, sequence),) if result == "applied" else self.news.in_force
            self.news = self.news._replace(in_force=in_force, ended=(*self.news.ended, one))
        files.replace(str(self.path), encode(self.news))


def told(events: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(event["result"], event.get("number", 0)) for event in events if event["kind"] == "document"]


def test_documents_are_reported_once(router: Router) -> None:
    documents = Documents(router)
    assert router.tick() == []
    documents.add(("applied", "policy", 41, ""), ("refused", "", 0, "signature"))
    applied, refused = router.tick(5)
    assert -1 < applied["up"] - uptime() <= 2
    assert applied == {
        "seq": applied["seq"], "up": applied["up"], "kind": "document", "type": "policy", "doc": "ab" * 8, "number": 41,
        "result": "applied",
    }  # fmt: skip
    assert refused == {
        "seq": refused["seq"], "up": refused["up"], "kind": "document", "doc": "ab" * 8, "result": "refused",
        "why": "signature",
    }  # fmt: skip
    router.restart()
    documents.add(("taken-back", "policy", 42, "filter"))
    assert told(router.tick(5)) == [("applied", 41), ("refused", 0), ("taken-back", 42)]
    assert router.log == []


def test_the_heartbeat_has_what_is_in_force(router: Router) -> None:
    """Of a type of which the running policy has no document, none counts, whatever is kept."""
    Documents(router).add(("applied", "policy", 41, ""))
    (kept,) = [event for event in router.tick(60) if event["kind"] == "heartbeat"]
    assert "docs" not in kept
    for running in (f"41 {'ab' * 8}", f"42 {'cd' * 8}"):  # the same, or another one that is tried now
        router.reporter.reload(changed_policy(router.policy, signed_policy=running))
        beat = next(event for event in router.tick(3600) if event["kind"] == "heartbeat")
        assert beat["docs"] == [{"type": "policy", "doc": "ab" * 8, "number": 41}]


def test_what_has_arrived_while_the_filter_was_down_is_not_reported_again(router: Router) -> None:
    documents = Documents(router)
    documents.add(("applied", "policy", 41, ""))
    (applied,) = router.tick(5)
    router.arrive(applied["seq"])
    router.restart()
    assert router.tick(5) == []
    documents.add(("rolled-back", "policy", 41, ""))
    assert told(router.tick(5)) == [("rolled-back", 41)]


def test_a_reboot_loses_nothing_and_repeats_nothing(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tick` says when what has arrived is to be written to flash."""
    documents = Documents(router)
    documents.add(("applied", "policy", 41, ""))
    (applied,) = router.tick(5)
    router.arrive(applied["seq"])
    router.now += 5
    assert router.reporter.tick(PacketTime(router.now))
    router.now += 5
    assert not router.reporter.tick(PacketTime(router.now))
    documents.add(("taken-back", "policy", 42, "dns"))
    assert told(router.tick(5)) == [("taken-back", 42)]
    flash = Path(router.policy.state.state_file + INCIDENTS_SUFFIX)
    files.replace(str(flash), router.reporter.encoded(PacketTime(router.now)))
    router.reboot(monkeypatch)
    assert told(router.tick(5)) == [("taken-back", 42)]


def test_a_crash_between_the_two_files_repeats(router: Router) -> None:
    """The spool is older than the incidents: what it lacks is reported again."""
    documents = Documents(router)
    router.tick()
    before = (router.run / SPOOL).read_bytes()
    documents.add(("applied", "policy", 41, ""))
    router.tick(5)
    (router.run / SPOOL).write_bytes(before)
    router.restart()
    assert told(router.tick(5)) == [("applied", 41)]


def test_a_list_that_cannot_be_read_is_logged_once(router: Router) -> None:
    documents = Documents(router)
    documents.path.write_bytes(b"nothing of the kind")
    documents.path.chmod(0o600)
    for _ in range(3):
        assert router.tick(5) == []
    line = f"outcomes of signed documents not reported: {documents.path}: cut short or damaged"
    assert router.log == [line]
    documents.add(("applied", "policy", 41, ""))
    assert told(router.tick(5)) == [("applied", 41)]


# ── examples of connections ─────────────────────────────────────────────────────────────────────────


def test_the_ports_after_nat_of_connections_that_went_out(router: Router) -> None:
    router.ports = {40000 + number: 60000 + number for number in range(20)}
    router.bot()
    device = router.home.device()
    passed = [
        flow.session.client_port for flow in router.home.engine.flows_of(device) if flow.decision.action == "pass"
    ]
    events = router.tick()
    ports = [example["port"] for example in events[-1]["sp"]]
    assert 0 < len(ports) <= 4
    assert {port - 20000 for port in ports} <= {flow.session.client_port for flow in _out(router, device)}
    assert set(passed[:1]) <= {port - 20000 for port in ports}
    assert all(abs(example["up"] - events[-1]["up"]) < 3 for example in events[-1]["sp"])


@pytest.mark.parametrize("translated", [False, True])
def test_without_nat_an_ipv6_connection_keeps_its_port(router: Router, translated: bool) -> None:
    """Conntrack knows a port behind NAT alone; IPv6 has seldom any."""
    router.ports = {43000 + number: 61000 + number for number in range(12)} if translated else {}
    for number in range(12):
        text = BOT.replace("bob@", f"bob{number}@")
        router.play(session(text, "2001:db8:1::7", f"2001:db8:{number + 2:x}::25", sport=43000 + number))
    found = [example for event in router.tick() for example in event.get("sp", [])]
    assert found
    assert {example["family"] for example in found} == {6}
    low = 61000 if translated else 43000
    assert all(low <= example["port"] < low + 12 for example in found)


def _out(router: Router, device: Device) -> list[Flow]:
    return [flow for flow in router.home.engine.flows_of(device) if flow.session.spoken]


def test_a_refused_connection_is_no_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router(tmp_path, monkeypatch, changed_policy(MONITOR, mode="block"))
    for number in range(30):
        router.home.play([packet._replace(time=router.now) for packet in bot_session(number, router.now)[:1]])
    router.home.device().score.standing = "unusual"
    (opened,) = router.tick()
    assert opened["refused"] > 0
    assert "sp" not in opened
    assert router.asked == []


def test_ports_are_asked_for_once_a_second_and_no_clear_device_is_asked_for(router: Router) -> None:
    router.play(session())
    router.tick()
    assert router.asked == []
    for number in range(20):
        for server in range(12):
            text = BOT.replace("bot", f"bot{number}")
            packets = session(text, f"192.0.2.{100 + number}", f"198.51.{server}.25", sport=42000 + server)
            router.play(packets, bytes((2, 0, 0, 0, 1, number)))
    for _ in range(30):
        before = len(router.asked)
        router.tick()
        assert len(router.asked) - before <= 4
    assert len({client for client, *_ in router.asked}) >= 19  # one may be met while the others make a burst


def test_a_connection_that_conntrack_has_forgotten_is_asked_for_once(router: Router) -> None:
    router.bot()
    for _ in range(30):
        router.tick()
    assert len(router.asked) == len(set(router.asked)) > 0
    assert all("sp" not in event for event in router.waiting())


def test_an_incident_that_has_all_its_examples_asks_for_no_more(router: Router) -> None:
    router.ports = {40000 + number: 60000 + number for number in range(20)}
    router.bot(count=20)
    for _ in range(4):
        router.tick()
    incident = router.reporter._incidents.find(MAC)
    assert incident is not None
    assert len(incident.examples) == 4
    asked = len(router.asked)
    assert asked < len(_out(router, router.home.device()))  # there are more connections to ask for
    for _ in range(4):
        router.tick()
    assert len(router.asked) == asked


def test_a_device_that_has_been_quiet_for_long_is_not_asked_for(router: Router) -> None:
    """Conntrack has forgotten its connections; the second's questions are for those that are active."""
    router.bot(count=20)
    router.tick()
    asked = len(router.asked)
    assert 0 < asked < len(_out(router, router.home.device()))
    for _ in range(4):
        router.tick(reporter._LATELY_S)
    assert len(router.asked) == asked


# ── restarts ────────────────────────────────────────────────────────────────────────────────────────


def test_a_restart_goes_on_with_spool_seq_and_incident(router: Router) -> None:
    router.bot()
    (raised,) = router.tick()
    router.restart()
    assert router.tick() == [raised]
    router.home.device().score.standing = "clear"
    closed = router.tick()[-1]
    assert (closed["id"], closed["seq"]) == (raised["id"], raised["seq"] + 1)


def test_killed_between_the_two_files_it_tells_again_what_the_spool_lacks(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    router.tick()
    before = (router.run / SPOOL).read_bytes()
    router.bot()
    first = router.tick()
    (router.run / SPOOL).write_bytes(before)
    router.restart()
    again = router.tick()
    assert [(event["kind"], event["id"]) for event in again] == [(event["kind"], event["id"]) for event in first]
    assert again[0]["seq"] > first[-1]["seq"]


@pytest.mark.parametrize("name", [SPOOL, INCIDENTS])
def test_a_torn_file_loses_no_open_incident(router: Router, name: str) -> None:
    router.bot()
    first = router.tick()
    path = router.run / name
    path.write_bytes(path.read_bytes()[:-5])
    router.restart()
    again = router.tick()
    assert {event["kind"] for event in again} == {"raised"}
    assert len({event["seq"] for event in (*first, *again)}) >= (2 if name == SPOOL else 1)
    if name == SPOOL:
        assert {event["id"] for event in again} == {first[0]["id"]}
        assert not {event["seq"] for event in first} & {event["seq"] for event in again}
    assert len(router.log) == 1


def test_a_reboot_keeps_open_incidents_from_flash(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    router.bot()
    (raised,) = router.tick()
    router.arrive(raised["seq"])
    router.tick(6)
    flash = Path(router.policy.state.state_file + reporter.INCIDENTS_SUFFIX)
    flash.write_bytes(router.reporter.encoded(router.now))
    flash.chmod(0o600)
    router.reboot(monkeypatch)
    (updated,) = router.tick()
    assert (updated["kind"], updated["id"], updated["dev"]) == ("updated", raised["id"], raised["dev"])
    assert updated["conns"] == raised["conns"]


def test_without_a_key_no_reports_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "flash" / f"state{reporter.KEY_SUFFIX}"
    key.parent.mkdir()
    key.write_bytes(b"short")
    with pytest.raises(OSError, match="Not a key"):
        Router(tmp_path, monkeypatch)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_full_tmpfs_is_told_once_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = tmp_path / "run"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "full", str(mount)], check=True)
    try:
        router = Router(tmp_path, monkeypatch)
        router.tick()
        with pytest.raises(OSError, match="No space"):
            (mount / "filler").write_bytes(bytes(1 << 20))
        router.bot()
        for _ in range(40):
            assert router.tick() == []
        assert router.log == ["reports not written: No space left on device"]
        (mount / "filler").unlink()
        assert router.kinds(31)[0] == "raised"
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


# ── privacy ─────────────────────────────────────────────────────────────────────────────────────────

CANARIES = """
S: 220 canary-banner.example ESMTP
C: EHLO canary-helo.example
S: 250 canary-hello.example
C: MAIL FROM:<canary-sender@canary-from.example>
S: 250 2.1.0 Ok
C: RCPT TO:<canary-recipient@canary-to.example>
S: 550 5.1.1 <canary-recipient@canary-to.example> canary-reply
C: QUIT
S: 221 canary-bye
"""


def hunt(data: bytes, addresses: list[bytes]) -> list[str]:
    """What must not be in a report: text of the dialogue, names, addresses and MACs in any spelling."""
    text = data.decode().lower()
    found = [word for word in ("canary", ".example", "annas", "tv") if word in text]
    for packed in addresses:
        if len(packed) == 6:
            spellings = [packed.hex(), packed.hex(":"), packed.hex("-")]
        else:
            spellings = [str(ip_address(packed)), packed.hex()]
        found += [spelling for spelling in spellings if spelling in text]
    return found


def test_canaries(router: Router) -> None:
    mac = bytes.fromhex("02c0ffee1234")
    servers = []
    for number in range(40):
        server = f"198.51.{number}.25"
        servers.append(ip_address(server).packed)
        router.play(session(CANARIES, server=server, sport=41000 + number), mac)
    router.ports = {41000 + number: 60000 + number for number in range(40)}
    addresses = [mac, ip_address(CLIENT).packed, *servers]
    kinds = {event["kind"] for event in router.tick()}
    router.home.device(mac).connections += 3
    router.home.device(mac).last_seen += 1
    kinds |= {event["kind"] for event in router.tick(3600)}
    data = (router.run / SPOOL).read_bytes()
    assert {"raised", "updated", "heartbeat"} <= kinds
    assert hunt(data, addresses) == []
    # The hunt finds what there is: the router's own file names the device.
    own = (router.run / INCIDENTS).read_bytes()
    assert hunt(own, addresses) == [mac.hex()]
    # Not even the key's own bytes are anywhere else.
    secret = Path(router.policy.state.state_file + reporter.KEY_SUFFIX).read_bytes()
    for path in router.folder.rglob("*"):
        if path.is_file() and not path.name.endswith(reporter.KEY_SUFFIX):
            assert secret not in path.read_bytes()
            assert secret.hex() not in path.read_text()


def test_a_manufacturer_is_all_of_a_mac_that_is_told(router: Router) -> None:
    mac = bytes.fromhex("0017c8abcdef")
    router.bot(mac)
    events = router.tick()
    assert {event["oui"] for event in events} == {"0017c8"}
    assert hunt((router.run / SPOOL).read_bytes(), [mac]) == []


# ── cost ────────────────────────────────────────────────────────────────────────────────────────────


def test_memory_and_time_of_the_worst_there_is(router: Router) -> None:
    """Every device compromised: what a second costs then."""
    draw = random.Random(6)
    for number in range(256):
        device = router.home.engine.devices.get(draw.randbytes(6), router.now)
        device.connections = number
        device.score.standing = "compromised"
    for _ in range(400):
        router.tick(10)
    assert len(router.reporter._incidents) == 256
    begun = clock.process_time()
    for _ in range(20):
        router.tick(1)
    assert (clock.process_time() - begun) / 20 < within(0.05)
    assert len((router.run / SPOOL).read_bytes()) <= 256 << 10


def test_what_reporting_adds_to_the_filter_s_imports() -> None:
    """Neither JSON's parser nor TLS, HTTP or OpenSSL's sums come into the running filter."""
    program = (
        "import sys, cpe_filter.live.daemon; before = set(sys.modules)\n"
        "import cpe_filter.report.reporter; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    added = {name for name in done.stdout.split() if not name.startswith("cpe_filter.")}
    assert added <= {"_sha2", "_sha256"}


def test_engine_knows_the_connections_of_a_device() -> None:
    home = Home()
    home.play(session())
    home.play(session(sport=41000, server="198.51.9.25"), OTHER)
    engine: Engine = home.engine
    assert [flow.session.client_port for flow in engine.flows_of(home.device(OTHER))] == [41000]


def test_open_incidents_that_others_can_write_are_not_read(router: Router) -> None:
    flash = Path(router.policy.state.state_file + reporter.INCIDENTS_SUFFIX)
    flash.parent.mkdir(exist_ok=True)
    flash.write_bytes(b"x")
    flash.chmod(0o666)
    router.restart()
    assert router.log == [f"open incidents not read: {flash}: Others can write to it"]
