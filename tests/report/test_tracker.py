"""Incidents: when one begins, is raised, goes on and ends; what each event says; what no crowd of devices can do."""

from __future__ import annotations

import itertools
import json
import random
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from cpe_filter.detect.device import HOME, ROUTER, Device
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL, Tally
from cpe_filter.lean.checksum import CorruptStateError, with_checksum, without_checksum
from cpe_filter.lean.clocks import Uptime
from cpe_filter.policy.model import Exemption, Policy
from cpe_filter.report.events import heartbeat
from cpe_filter.report.incident import EXAMPLES, Example
from cpe_filter.report.persistence import SavedIncidents, encode, parse
from cpe_filter.report.tracker import EXPIRE_S, MAX_CLOSED, OPEN_BURST, OPEN_EVERY_S, IncidentTracker
from tests.policies import make_policy
from tests.report.wire import check_event

if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing
    from cpe_filter.report.events import EventKind

BOOTED = 1_795_000_000.0
START = BOOTED + 1000.0
MAC, OTHER = bytes.fromhex("0017c8112233"), bytes.fromhex("020000000102")
MINUTE = 60.0


class Home:
    """Devices, their incidents, and the events so far. Each event is held against the schema."""

    def __init__(self, policy: Policy = make_policy(mode="monitor"), booted: float = BOOTED) -> None:  # noqa: B008
        numbers = itertools.count(1)
        self.policy = policy
        self.now = START
        self.devices: dict[bytes, Device] = {}
        self.events: list[dict[str, Any]] = []
        self.incidents = IncidentTracker(
            lambda key: key.hex().rjust(16, "0")[-16:], booted, lambda n: next(numbers).to_bytes(n, "big")
        )

    def device(self, key: bytes = MAC, standing: Standing = CLEAR) -> Device:
        device = self.devices[key] = Device(key, self.now)
        self.works(device, standing)
        return device

    def works(self, device: Device, standing: Standing, connections: int = 1, **tallies: int) -> None:
        """It opens connections; its standing is then this one."""
        device.last_seen = self.now
        device.connections += connections
        device.networks += connections
        device.recipients += 2 * connections
        device.score.standing = standing
        device.score.value = {CLEAR: 0.0, UNUSUAL: 2.0, SUSPECTED: 9.0, COMPROMISED: 12.0}[standing]
        for name, count in tallies.items():
            tally = device.score.tallies.setdefault(name.replace("_", "-"), Tally())
            tally.count += count

    def look(self, later: float = 1.0, named: str = "") -> list[dict[str, Any]]:
        """Time passes; the events of it."""
        self.now += later
        found = self.incidents.look(self.devices.values(), self.policy, self.now, lambda device: named)
        for number, event in enumerate(found):
            check_event({"seq": number, **event})
        self.events += found
        return found

    def kinds(self, later: float = 1.0) -> list[str]:
        return [event["kind"] for event in self.look(later)]

    def restarted(self, boot: str = "b", lost: bool = False, booted: float = BOOTED, off: float = 0.0) -> Home:
        """The filter starts again with what was kept; `off` seconds later."""
        again = Home(self.policy, booted)
        again.now, again.devices = self.now + off, self.devices
        SavedIncidents(parse(encode(self.incidents, "a", 7, self.now))).restore(again.incidents, boot, again.now, lost)
        again.incidents.begin(again.devices.values(), again.now)
        return again


# ── from opened to closed ───────────────────────────────────────────────────────────────────────────


def test_a_life() -> None:
    home = Home()
    device = home.device()
    assert home.kinds() == []
    home.works(device, UNUSUAL, 3, new_destination=3)
    (opened,) = home.look()
    assert opened == {
        "up": 1002,
        "kind": "opened",
        "id": "0000000000000001",
        "dev": "00000017c8112233",
        "oui": "0017c8",
        "standing": "unusual",
        "first": 1001,
        "last": 1001,
        "conns": 3,
        "nets": 3,
        "msgs": 0,
        "rcpts": 6,
        "refused": 0,
        "ind": {"new-destination": 3},
        "act": "monitor",
    }
    home.works(device, COMPROMISED, 2, unknown_user=2)
    (raised,) = home.look()
    assert (raised["kind"], raised["standing"], raised["act"]) == ("raised", "compromised", "explain")
    assert (raised["conns"], raised["ind"]) == (5, {"new-destination": 3, "unknown-user": 2})
    assert list(raised["ind"]) == [name for name in INDICATORS if name in raised["ind"]]
    home.works(device, COMPROMISED)
    assert home.kinds(14 * MINUTE) == []
    assert home.kinds(MINUTE) == ["updated"]
    assert home.kinds(60 * MINUTE) == []  # nothing has grown
    device.score.standing = SUSPECTED  # released
    (closed,) = home.look()
    assert (closed["kind"], closed["why"], closed["standing"]) == ("closed", "released", "clear")
    assert {event["id"] for event in home.events} == {"0000000000000001"}


def test_a_suspected_device_leads_to_nothing() -> None:
    """Not when the suspicion begins, goes on or ends, nor after a restart; only the heartbeat counts it."""
    home = Home()
    device = home.device(standing=SUSPECTED)
    assert home.kinds() == []
    home.works(device, SUSPECTED, 50, new_destination=50)
    assert home.kinds(86400) == []
    assert home.restarted().kinds(3600) == []
    assert len(home.incidents) == 0
    home.works(device, CLEAR)
    assert home.kinds() == []
    figures = {"exempt": 0, "packets": 0, "failures": 0, "restored": 0}
    home.works(device, SUSPECTED)
    beat = heartbeat(home.devices.values(), home.policy, Uptime(1.0), figures)
    assert (beat["suspected"], beat["compromised"], "unusual" in beat) == (1, 0, False)


def test_an_incident_of_a_suspected_device_of_an_earlier_version_is_closed() -> None:
    home = Home()
    device = home.device(standing=UNUSUAL)
    home.look()
    for incident in home.incidents:
        incident.standing = SUSPECTED
    device.score.standing = SUSPECTED
    (closed,) = home.restarted().look()
    assert (closed["kind"], closed["why"], closed["standing"]) == ("closed", "cleared", "clear")


def test_a_mail_server_that_is_no_more() -> None:
    home = Home()
    device = home.device(standing=UNUSUAL)
    assert home.kinds() == ["opened"]
    home.works(device, SUSPECTED)
    assert home.kinds() == []  # the question is still open
    home.works(device, CLEAR)
    (closed,) = home.look()
    assert (closed["why"], closed["standing"], closed["conns"]) == ("cleared", "clear", 3)
    assert home.kinds(86400) == []
    home.works(device, UNUSUAL)
    (again,) = home.look()
    assert again["id"] != closed["id"]
    assert again["conns"] == 1


def test_a_conviction_at_once_begins_with_raised() -> None:
    home = Home()
    home.device(standing=COMPROMISED)
    (raised,) = home.look()
    assert (raised["kind"], raised["standing"]) == ("raised", COMPROMISED)


def test_a_released_device_has_an_incident_only_if_it_is_convicted_again() -> None:
    home = Home()
    device = home.device(standing=COMPROMISED)
    home.look()
    device.score.tallies.clear()
    home.works(device, SUSPECTED)
    assert [event["why"] for event in home.look()] == ["released"]
    home.works(device, SUSPECTED, 4)
    assert home.kinds(3600) == []
    assert home.restarted().kinds(3600) == []
    home.works(device, COMPROMISED, unknown_user=1)
    (raised,) = home.look()
    assert raised["conns"] == 5
    assert raised["ind"] == {"unknown-user": 1}
    assert raised["id"] != home.events[0]["id"]


def test_a_device_that_is_forgotten_or_not_seen_for_long() -> None:
    home = Home()
    home.device(standing=UNUSUAL)
    silent = home.device(OTHER, COMPROMISED)
    home.look()
    del home.devices[MAC]
    (closed,) = home.look()
    assert (closed["why"], closed["conns"]) == ("expired", 1)
    assert home.kinds(EXPIRE_S - 10) == []
    assert [event["why"] for event in home.look(10)] == ["expired"]
    assert home.kinds(3600) == []
    home.works(silent, COMPROMISED)
    assert home.kinds() == ["raised"]


def test_exempt_devices_have_none() -> None:
    home = Home()
    home.device(standing=COMPROMISED)
    home.look()
    everywhere = Exemption(MAC, None, None, "its own mail server")
    home.policy = home.policy._replace(exempt=(Exemption(MAC, ip_network("192.0.2.0/24"), None, ""),))
    assert home.kinds() == []
    home.policy = home.policy._replace(exempt=(everywhere,))
    assert [event["why"] for event in home.look()] == ["exempt"]
    home.device(OTHER, UNUSUAL)
    assert home.kinds() == ["opened"]
    home.policy = home.policy._replace(exempt=())
    assert home.kinds() == ["raised"]


@pytest.mark.parametrize(
    ("policy", "standing", "act"),
    [
        (make_policy(mode="monitor", escalate=False), COMPROMISED, "monitor"),
        (make_policy(mode="monitor"), UNUSUAL, "monitor"),
        (make_policy(mode="limit"), UNUSUAL, "limit"),
        (make_policy(mode="monitor"), COMPROMISED, "explain"),
        (make_policy(mode="block", refusal="reset"), UNUSUAL, "reset"),
        (make_policy(mode="block"), UNUSUAL, "explain"),
        (make_policy(mode="limit", refusal="reset"), COMPROMISED, "reset"),
    ],
)
def test_what_happens_to_its_mail(policy: Policy, standing: Standing, act: str) -> None:
    home = Home(policy)
    home.device(standing=standing)
    assert home.look()[-1]["act"] == act


# ── what is said of a device ────────────────────────────────────────────────────────────────────────


def test_counts_begin_with_the_evidence() -> None:
    home = Home()
    device = home.device()
    for _ in range(30):
        home.works(device, CLEAR, 10, accepted=9, named_sender=10)
        home.look(86400)
    quiet = home.now
    device.score.value = 0.4
    home.works(device, CLEAR, 2, unknown_user=2)
    device.score.value = 5.0
    home.look(3600)
    home.works(device, UNUSUAL, 3, unknown_user=3)
    (opened,) = home.look(3600)
    assert opened["conns"] == 5
    assert opened["ind"] == {"unknown-user": 5}
    assert opened["first"] == int(quiet - BOOTED)


def test_what_was_known_before_a_restart_is_not_counted() -> None:
    home = Home()
    device = home.device()
    home.works(device, CLEAR, 500)
    device.score.value = 6.0
    home = home.restarted()
    home.works(device, UNUSUAL, 3)
    assert home.look()[0]["conns"] == 3


@pytest.mark.parametrize(
    ("key", "oui"),
    [
        (bytes.fromhex("0017c8112233"), "0017c8"),
        (bytes.fromhex("f217c8112233"), ""),
        (bytes.fromhex("0117c8112233"), ""),
        (bytes.fromhex("0017c8112233c0a80705"), ""),
        (bytes.fromhex("0017c811223320010db800070000"), ""),
        (bytes.fromhex("c0a80105"), ""),
        (bytes(16), ""),
        (ROUTER, ""),
    ],
)
def test_the_manufacturer_only_where_it_is_the_device_s_own(key: bytes, oui: str) -> None:
    home = Home()
    home.device(key, UNUSUAL)
    assert home.look()[0].get("oui", "") == oui


def test_a_name_only_where_the_policy_allows_it() -> None:
    home = Home()
    home.device(standing=UNUSUAL)
    assert "name" not in home.look(named="annas-phone")[0]
    home = Home(make_policy(mode="monitor", report_hostnames=True))
    home.device(standing=UNUSUAL)
    assert home.look(named="annas-phone")[0]["name"] == "annas-phone"


def test_every_indicator_has_a_name_that_the_schema_takes() -> None:
    home = Home()
    device = home.device(standing=COMPROMISED)
    home.works(device, COMPROMISED, **dict.fromkeys(INDICATORS, 3))
    ind = home.look()[-1]["ind"]
    assert set(ind) == {name for name, row in INDICATORS.items() if row.family != "legitimate"}


def test_huge_numbers_stay_within_the_schema() -> None:
    home = Home(booted=-1e12)
    device = home.device(standing=COMPROMISED)
    device.connections = device.refused = 1 << 50
    device.first_seen = -1e15
    event = home.look()[-1]
    assert event["conns"] == event["refused"] == (1 << 32) - 1


def test_examples_are_told_and_count_as_news() -> None:
    home = Home()
    home.device(standing=UNUSUAL)
    home.look()
    incident = home.incidents.find(MAC)
    assert incident is not None
    for port in range(6):
        incident.examine((home.now, port), Example(home.now, 40000 + port, 4))
    assert len(incident.examples) == EXAMPLES
    (event,) = home.look(15 * MINUTE)
    assert event["sp"][0] == {"up": int(START + 1 - BOOTED), "port": 40000, "family": 4}
    assert home.kinds(15 * MINUTE) == []


def test_a_device_that_goes_on_under_another_mac_keeps_incident_and_pseudonym() -> None:
    home = Home()
    device = home.device(OTHER, UNUSUAL)
    (opened,) = home.look()
    after = bytes.fromhex("020000000777")
    home.devices = {after: device}
    device.key = after
    home.incidents.rekeyed(OTHER, device)
    assert home.kinds() == []
    home.works(device, COMPROMISED)
    (raised,) = home.look()
    assert (raised["id"], raised["dev"]) == (opened["id"], opened["dev"])


@pytest.mark.parametrize(
    ("old", "new", "goes_on"),
    [
        (UNUSUAL, UNUSUAL, 0),
        (COMPROMISED, COMPROMISED, 0),
        (COMPROMISED, UNUSUAL, 0),
        (UNUSUAL, COMPROMISED, 1),
    ],
)
def test_of_two_incidents_of_one_device_the_other_is_closed(old: Standing, new: Standing, goes_on: int) -> None:
    home = Home()
    before, after = home.device(OTHER, old), home.device(bytes.fromhex("020000000777"), new)
    opened = home.look()
    device = (before, after)[goes_on]
    home.devices = {after.key: device}
    key, device.key = after.key, after.key
    home.incidents.rekeyed(OTHER, device)
    assert len(home.incidents) == 1
    (closed,) = home.look()
    assert (closed["kind"], closed["why"]) == ("closed", "merged")
    assert closed["id"] == opened[1 - goes_on]["id"]
    assert home.incidents.find(key).id == opened[goes_on]["id"]  # type: ignore[union-attr]
    assert home.look() == []
    # Until it has arrived it is kept, also over a restart.
    (kept,) = [one for one in home.restarted(lost=True).look() if one["kind"] == "closed"]
    assert (kept["id"], kept["why"]) == (closed["id"], "merged")


NEW = bytes.fromhex("020000000777")


def rekeyed(home: Home, goes_on: Device) -> None:
    """The devices OTHER and NEW become one: this one, under NEW."""
    home.devices = {NEW: goes_on}
    goes_on.key = NEW
    home.incidents.rekeyed(OTHER, goes_on)


@pytest.mark.parametrize("first", [True, False])
def test_whichever_device_goes_on_the_incident_keeps_what_it_counted(first: bool) -> None:
    home = Home()
    before, after = home.device(OTHER), home.device(NEW)
    home.works(before, COMPROMISED, 8, dnsbl_listed=3, unknown_user=2)
    home.works(after, COMPROMISED, 20, unknown_user=5, no_quit=4)
    older = home.look()[0]
    device = before if first else after
    rekeyed(home, device)
    (closed,) = home.look()
    assert closed["why"] == "merged"
    home.works(device, COMPROMISED, 5, unknown_user=1)
    (updated,) = home.look(15 * MINUTE)
    assert updated["id"] == older["id"]
    assert {name: updated[name] - older[name] for name in ("conns", "nets", "msgs", "rcpts", "refused")} == {
        "conns": 5, "nets": 5, "msgs": 0, "rcpts": 10, "refused": 0,
    }  # fmt: skip
    assert updated["ind"] == {"unknown-user": 3, "dnsbl-listed": 3}
    # Also over a restart.
    home.works(device, COMPROMISED, 2, no_quit=1)
    again = home.restarted()
    (updated,) = again.look(15 * MINUTE)
    assert updated["conns"] == older["conns"] + 7
    assert updated["ind"]["no-quit"] == 1


def test_a_release_of_the_one_does_not_end_the_incident_of_the_other() -> None:
    for released_key in (OTHER, NEW):
        home = Home()
        before, after = home.device(OTHER, COMPROMISED), home.device(NEW, COMPROMISED)
        home.look()
        released = before if released_key == OTHER else after
        home.works(released, SUSPECTED)
        assert home.kinds() == ["closed"]
        rekeyed(home, after if released is before else before)
        assert home.kinds() == []
        assert len(home.incidents) == 1


@pytest.mark.parametrize(("goes_on", "conns"), [(OTHER, 3), (NEW, 3)])
def test_what_is_noted_of_a_clear_device_is_the_base_under_its_new_key(goes_on: bytes, conns: int) -> None:
    home = Home()
    home.works(home.device(OTHER), CLEAR, 50)
    home.works(home.device(NEW), CLEAR, 20)
    home.look(2 * MINUTE)
    device = home.devices[goes_on]
    rekeyed(home, device)
    home.works(device, UNUSUAL, conns)
    (opened,) = home.look()
    assert opened["conns"] == conns


def test_of_any_number_of_merged_incidents_each_is_closed() -> None:
    home = Home()
    pairs = [(bytes((2, 0, 0, 0, 1, n)), bytes((2, 0, 0, 0, 2, n))) for n in range(MAX_CLOSED + 6)]
    while len(home.incidents) < 2 * len(pairs):
        for pair in pairs:
            for key in pair:
                if key not in home.devices:
                    home.device(key, UNUSUAL)
        home.look(OPEN_EVERY_S)
    for before, after in pairs:
        device = home.devices.pop(before)
        device.key = after
        home.devices[after] = device
        home.incidents.rekeyed(before, device)
    assert [event["why"] for event in home.look()] == ["merged"] * len(pairs)
    assert len(home.incidents) == len(pairs)


def test_the_home_has_an_incident_like_a_device() -> None:
    home = Home()
    home.device(HOME, UNUSUAL)
    (opened,) = home.look()
    assert "oui" not in opened
    home.works(home.devices[HOME], COMPROMISED)
    again = home.restarted()
    (raised,) = again.look()
    assert (raised["id"], raised["dev"], raised["kind"]) == (opened["id"], opened["dev"], "raised")


def test_heartbeat() -> None:
    home = Home()
    for number, standing in enumerate((CLEAR, CLEAR, UNUSUAL, COMPROMISED)):
        home.device(bytes((2, 0, 0, 0, 0, number)), standing)
    figures = {"exempt": 1, "packets": 1 << 40, "failures": 0, "restored": 2}
    beat = heartbeat(home.devices.values(), home.policy, Uptime(77.9), figures)
    check_event({"seq": 1, **beat})
    assert (beat["up"], beat["devices"], beat["unusual"], beat["compromised"]) == (77, 4, 1, 1)
    assert (beat["packets"], beat["restored"]) == ((1 << 32) - 1, 2)
    assert not {"ways", "unlisted", "sub"} & set(beat)  # a collector that does not know the fields takes the heartbeat


def test_heartbeat_names_unwatched_ways() -> None:
    """At most eight, and a name from the kernel may have any bytes."""
    home = Home()
    way = {"interface": "wg0", "families": [4, 6], "connections": 1 << 40, "default_route": [4]}
    ways = [way, {**way, "interface": "ü b\n", "default_route": []}, *[way] * 10]
    figures = {"exempt": 0, "packets": 0, "failures": 0, "restored": 0, "ways": ways}
    beat = heartbeat(home.devices.values(), home.policy, Uptime(1.0), figures)
    check_event({"seq": 1, **beat})
    assert len(beat["ways"]) == 8
    assert beat["ways"][0] == {"if": "wg0", "families": [4, 6], "conns": (1 << 32) - 1, "route": True}
    assert beat["ways"][1] == {"if": "??b?", "families": [4, 6], "conns": (1 << 32) - 1, "route": False}


def test_heartbeat_counts_devices_with_many_submission_servers() -> None:
    """By pseudonym, at most eight."""
    home = Home()
    figures = {
        "exempt": 0,
        "packets": 0,
        "failures": 0,
        "restored": 0,
        "submission": [("0" * 16, 64, 1 << 40, 120)] * 9,
    }
    beat = heartbeat(home.devices.values(), home.policy, Uptime(1.0), figures)
    check_event({"seq": 1, **beat})
    assert beat["sub"] == [{"dev": "0" * 16, "servers": 64, "conns": (1 << 32) - 1, "fails": 120}] * 8


def test_an_incident_says_what_else_is_known_of_the_device() -> None:
    home = Home()
    device = home.device()
    device.submissions, device.served_at, device.dhcp_class = (64, 130, 120), home.now, "android"
    home.works(device, COMPROMISED)
    (event,) = home.look()
    assert (event["sub"], event["serves"]) == ({"servers": 64, "conns": 130, "fails": 120}, True)
    assert "notice" not in event
    assert event["class"] == "android"
    other = home.device(bytes((2, 0, 0, 0, 0, 9)))
    other.served_at = home.now - 31 * 86400
    home.works(other, COMPROMISED)
    (event,) = home.look()
    assert not {"sub", "serves", "class"} & set(event)


def test_heartbeat_names_networks_that_are_not_listed() -> None:
    home = Home()
    network = {"interface": "br-guest", "families": [4], "connections": 3, "since": 1.0, "last": 2.0}
    figures = {"exempt": 0, "packets": 0, "failures": 0, "restored": 0, "ways": [], "unlisted": [network] * 9}
    beat = heartbeat(home.devices.values(), home.policy, Uptime(1.0), figures)
    check_event({"seq": 1, **beat})
    assert "ways" not in beat
    assert beat["unlisted"] == [{"if": "br-guest", "families": [4], "conns": 3}] * 8


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────────


def test_made_up_macs_open_few_incidents() -> None:
    home = Home()
    opened = 0
    for turn in range(600):
        home.devices = {}
        for number in range(256):
            home.device(turn.to_bytes(4, "big") + number.to_bytes(2, "big"), UNUSUAL)
        opened += home.kinds().count("opened")
        assert len(home.incidents) <= 256
        assert len(home.incidents.all()) <= 256 + MAX_CLOSED
    assert opened <= OPEN_BURST + 600 / OPEN_EVERY_S + 1
    # Less than an event a second, so an uptime is a seq that was never given.
    assert len(home.events) < home.now - BOOTED


def test_those_that_found_no_room_are_opened_later() -> None:
    home = Home()
    for number in range(OPEN_BURST + 2):
        home.device(number.to_bytes(6, "big"), UNUSUAL)
    assert len(home.look()) == OPEN_BURST
    assert home.kinds(20.0) == ["opened", "opened"]  # one every 10 s


# ── restarts ────────────────────────────────────────────────────────────────────────────────────────


def test_a_restart_within_a_boot_tells_nothing_again() -> None:
    home = Home()
    device = home.device(standing=COMPROMISED)
    home.look()
    again = home.restarted("a")
    assert again.kinds(60) == []
    home.works(device, COMPROMISED)
    (updated,) = again.look(15 * MINUTE)
    assert updated["id"] == home.events[0]["id"]
    assert (updated["conns"], updated["first"]) == (2, 1000)


def test_the_clock_set_between_two_starts_of_a_boot_changes_no_time() -> None:
    home = Home()
    device = home.device(standing=UNUSUAL)
    home.look()
    again = home.restarted("a", booted=BOOTED + 5e7, off=5e7)
    again.now = home.now + 5e7
    device.first_seen += 5e7
    device.last_seen = again.now
    device.connections += 1
    (updated,) = again.look(15 * MINUTE)
    assert (updated["first"], updated["last"]) == (1000, 1001)


@pytest.mark.parametrize(
    ("arrived", "expected"),
    [((), ["raised"]), (("opened",), ["raised"]), (("opened", "raised"), ["updated"]), (("raised",), ["updated"])],
)
def test_a_reboot_tells_what_may_be_lost(arrived: tuple[EventKind, ...], expected: list[str]) -> None:
    home = Home()
    home.device(standing=COMPROMISED)
    (first,) = home.look()
    for kind in arrived:
        home.incidents.arrived(first["id"], kind)
    again = home.restarted("b", lost=True, booted=home.now + 10, off=60.0)
    events = again.look()
    assert [event["kind"] for event in events] == expected
    assert {event["id"] for event in events} == {first["id"]}
    assert events[0]["first"] == -11
    assert again.kinds() == []


def test_an_end_is_told_again_until_it_has_arrived() -> None:
    home = Home()
    device = home.device(standing=UNUSUAL)
    home.look()
    home.works(device, CLEAR)
    (closed,) = home.look()
    again = home.restarted(lost=True)
    (repeated,) = again.look()
    assert (repeated["id"], repeated["kind"], repeated["why"]) == (closed["id"], "closed", "cleared")
    again.incidents.arrived(closed["id"], "closed")
    assert again.restarted(lost=True).look() == []


def test_an_incident_whose_device_is_gone_is_closed_after_a_reboot() -> None:
    home = Home()
    home.device(standing=UNUSUAL)
    home.look()
    home.devices = {}
    assert [event["why"] for event in home.restarted(lost=True).look()] == ["expired"]


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_after_a_reboot_with_a_wrong_clock_it_began_just_now(jump: float) -> None:
    home = Home()
    home.device(standing=UNUSUAL)
    home.look()
    again = home.restarted("b", lost=True, booted=home.now + jump - 30, off=jump)
    for device in again.devices.values():
        device.last_seen = again.now
    (event,) = again.look()
    assert 0 <= event["first"] <= 30


def test_all_that_is_known_survives() -> None:
    home = Home(make_policy(mode="monitor", report_hostnames=True))
    for number, standing in enumerate((UNUSUAL, COMPROMISED, UNUSUAL)):
        device = home.device(bytes((0, 0, 0, 0, 0, number)), standing)
        home.works(device, standing, 3, unknown_user=2, listed=1)
    home.look(named="x")
    incident = home.incidents.find(bytes(6))
    assert incident is not None
    incident.examine((START, 1), Example(START, 4711, 6))
    del home.devices[b"\0\0\0\0\0\2"]
    home.look(named="x")
    data = encode(home.incidents, "a", 7, home.now)
    again = IncidentTracker(lambda key: "", BOOTED)
    SavedIncidents(parse(data)).restore(again, "a", home.now, False)
    assert encode(again, "a", 7, home.now) == data


def test_codes_of_an_earlier_version_count_as_today_s() -> None:
    home = Home()
    home.works(home.device(), UNUSUAL, 3, listed=2, no_quit=1)
    home.look()
    content = json.loads(without_checksum(encode(home.incidents, "a", 7, home.now)))
    content["incidents"][0]["counts"][5] = {"listed": 2, "no-quit": 1, "of-a-newer-version": 9}
    again = IncidentTracker(lambda key: "", BOOTED)
    SavedIncidents(parse(with_checksum(json.dumps(content).encode()))).restore(again, "a", home.now, False)
    (incident,) = again
    assert incident.counts.indicators == {"dnsbl-listed": 2, "no-quit": 1}


def test_bytes_that_are_no_incidents() -> None:
    home = Home()
    home.device(standing=COMPROMISED)
    home.look()
    data = encode(home.incidents, "a", 7, home.now)
    draw = random.Random(6)
    for _ in range(500):
        at = draw.randrange(len(data))
        with pytest.raises(CorruptStateError):
            SavedIncidents(parse(data[:at] + bytes((data[at] ^ 1 << draw.randrange(8),)) + data[at + 1 :]))
        with pytest.raises(CorruptStateError):
            SavedIncidents(parse(data[:at]))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"}, {"id": 1}, {"key": "zz"}, {"key": "00"}, {"dev": None}, {"standing": "good"}, {"first": "nan"},
        {"base": []}, {"counts": [1, 2, 3, 4, 5, []]}, {"examples": [[1, 70000, 4]]}, {"examples": 1}, {"why": "so"},
        {"name": "a\nb"}, {"name": "é"}, {"act": None}, {"last": 1e400},
    ],
)  # fmt: skip
def test_incidents_that_are_none(change: dict[str, Any]) -> None:
    home = Home()
    home.device(standing=COMPROMISED)
    home.look()
    content = json.loads(without_checksum(encode(home.incidents, "a", 7, home.now)))
    content["incidents"][0].update(change)
    again = IncidentTracker(lambda key: "", BOOTED)
    with pytest.raises(CorruptStateError):
        SavedIncidents(parse(with_checksum(json.dumps(content).encode()))).restore(again, "a", home.now, False)
    assert len(again) == 0


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b"no JSON", b'{"boot": "a", "seq": 1, "booted": 1e400, "written": 0}']
)
def test_a_whole_file_that_holds_no_incidents(content: bytes) -> None:
    with pytest.raises(CorruptStateError, match="not incidents of cpe-filter"):
        SavedIncidents(parse(with_checksum(content)))


def test_devices_are_known_by_their_pseudonyms() -> None:
    home = Home()
    home.device(MAC, COMPROMISED)
    (raised,) = home.look()
    assert SavedIncidents(parse(encode(home.incidents, "a", 7, home.now))).devices() == {raised["dev"]: MAC}


def test_an_answer_to_the_notice_is_reported_at_once() -> None:
    home = Home()
    device = home.device()
    home.works(device, COMPROMISED)
    assert [event["kind"] for event in home.look()] == ["raised"]
    device.notice = (1, "", "")
    (event,) = home.look()
    assert (event["kind"], event["notice"]) == ("updated", {"shown": 1})
    device.notice = (2, "mistake", "")
    (event,) = home.look()
    assert (event["kind"], event["notice"]) == ("updated", {"shown": 2, "answer": "mistake"})
    assert home.look() == []
    device.notice = (3, "cleaned", "")
    device.score.release()
    (event,) = home.look()
    assert (event["kind"], event["why"], event["notice"]) == ("closed", "released", {"shown": 3, "answer": "cleaned"})


def test_a_quarantine_is_reported_at_once_and_with_the_end() -> None:
    home = Home()
    device = home.device()
    home.works(device, COMPROMISED)
    home.look()
    device.notice = (0, "", "held")
    (event,) = home.look()
    assert (event["kind"], event["notice"]) == ("updated", {"shown": 0, "quarantine": {"state": "quarantined"}})
    assert home.look() == []
    device.notice = (0, "", "time")
    (event,) = home.look()
    assert event["notice"]["quarantine"] == {"state": "released", "who": "time"}
    device.notice = (1, "cleaned", "self")
    device.score.release()
    (event,) = home.look()
    assert (event["kind"], event["why"]) == ("closed", "released")
    assert event["notice"]["quarantine"] == {"state": "released", "who": "self"}


def test_what_is_seen_at_another_device_of_the_home_is_reported_at_once() -> None:
    home = Home()
    device = home.device()
    home.works(device, COMPROMISED)
    home.look()
    for elsewhere, found in (
        ((1, False), {"shown": 0, "others": 1}),
        ((1, True), {"shown": 0, "others": 1, "others_seen": True}),
    ):
        device.notice_elsewhere = elsewhere
        (event,) = home.look()
        assert (event["kind"], event["notice"]) == ("updated", found)
        assert home.look() == []
    device.notice_elsewhere = (7, True)  # not again
    assert home.look() == []


def test_where_the_desk_may_have_instructions_a_compromised_device_is_reported_without_news() -> None:
    """They come with the answer to a report."""
    home = Home()
    device = home.device(standing=COMPROMISED)
    assert home.kinds() == ["raised"]
    assert home.kinds(60 * MINUTE) == []
    home.incidents.asks = True
    assert home.kinds() == ["updated"]
    assert home.kinds(14 * MINUTE) == []
    assert home.kinds(MINUTE) == ["updated"]
    assert home.incidents.key_of(MAC.hex().rjust(16, "0")) == device.key
    assert home.incidents.key_of("f" * 16) is None
