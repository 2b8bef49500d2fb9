"""Who is a stranger, what strangers share, and when the home is suspected or convicted by what they do."""

from __future__ import annotations

from typing import Any

from cpe_filter.detect.detector import Detector, StandingChanged
from cpe_filter.detect.device import DEVICES, HOME, ROUTER, Device, Devices
from cpe_filter.detect.home import CONVICTED, LEASES, MACS, MOST_EACH, NEW_LEASE_S, NEW_LEASES, PAST_S, PASTS, Home
from cpe_filter.detect.score import CLEAR, COMPROMISED, CONVICT_AT, SUSPECT_AT, SUSPECTED
from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.inspect.session import CLOSED

MAC, OTHER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
HOST, HOST6 = MAC + bytes((192, 168, 7, 5)), MAC + bytes.fromhex("20010db800070000")
UNKNOWN = Reply(550, "550 5.1.1 User unknown")
LINE = Event("hello", "10-1-2-3.dyn.pool.example.net", Reply(250, "250 ok"), 0)


class Scene:
    """A home that gets dialogues as from the engine."""

    def __init__(self) -> None:
        self.devices = Devices()
        self.home = Home(self.devices)
        self.detector = Detector()
        self.changes: list[StandingChanged] = []

    def device(self, key: bytes, time: float = 0.0) -> Device:
        return self.home.device(key, time)

    def spoke(self, key: bytes, time: float = 0.0) -> Device:
        device = self.device(key, time)
        device.sessions += 1
        device.last_seen = time
        return device

    def talk(self, key: bytes, server: int, *events: Event, time: float = 0.0) -> None:
        """One dialogue with a server of its own neighbourhood."""
        device = self.spoke(key, time)
        address = bytes((198, server >> 8, server & 255, 25))
        connection = self.detector.opened(device, address, time)
        shared = self.home.opened(connection, address, bytes(4), time)
        self.detector.established(connection, time)
        if shared is not None:
            self.home.established(shared, connection, time)
        for event in events:
            self.detector.event(connection, event, time)
            if shared is not None:
                self.home.event(shared, connection, event, time)
        self.detector.ended(connection, CLOSED, False, time)
        if shared is not None:
            self.home.ended(shared, connection, CLOSED, False, time)
        self.changes += [*self.detector.changes, *self.home.judged(self.detector.changes)]
        self.detector.changes.clear()

    def spam(self, key: bytes, server: int, time: float = 0.0) -> None:
        sender = Event("sender", f"d{server}.example", Reply(250, "250 ok"))
        ends = (Event("recipient", "far.example", UNKNOWN), Event("violation", "no-quit"))
        self.talk(key, server, LINE, Event("quirk", "path-spaced"), sender, *ends, time=time)

    @property
    def standing(self) -> str:
        return self.devices.home.score.standing


# ── who is a stranger ───────────────────────────────────────────────────────────────────────────────


def test_a_device_without_lease_and_past_is_a_stranger() -> None:
    scene = Scene()
    assert scene.device(MAC).home is scene.devices.home
    assert scene.device(bytes((192, 0, 2, 1))).home is scene.devices.home
    assert scene.device(ROUTER).home is None


def test_a_lease_ends_it_at_once_and_its_end_begins_it() -> None:
    scene = Scene()
    device = scene.device(MAC)
    scene.home.leases([MAC], 1.0)
    assert device.home is None
    assert device.shares == ()
    assert set(scene.home.familiar()) == {MAC}
    scene.home.leases([OTHER], 2.0)
    assert device.home is scene.devices.home
    assert scene.device(OTHER).home is None


def test_hosts_behind_a_leased_mac_are_strangers() -> None:
    scene = Scene()
    scene.home.leases([MAC], 0.0)
    assert scene.device(HOST).home is scene.devices.home
    assert scene.device(HOST6).home is scene.devices.home


def test_a_past_takes_a_day_and_a_dialogue() -> None:
    scene = Scene()
    silent, talking = scene.device(MAC), scene.spoke(OTHER)
    for key in (MAC, OTHER):
        scene.device(key, PAST_S - 1)
    assert talking.home is scene.devices.home
    for key in (MAC, OTHER):
        scene.device(key, PAST_S)
    assert talking.home is None
    assert silent.home is scene.devices.home
    assert set(scene.home.familiar()) == {OTHER}


def test_who_is_suspected_has_no_past() -> None:
    scene = Scene()
    device = scene.spoke(MAC)
    device.score.standing = SUSPECTED
    assert scene.device(MAC, 2 * PAST_S).home is not None
    device.score.standing = CLEAR
    assert scene.device(MAC, 2 * PAST_S).home is None
    device.score.standing = SUSPECTED  # what it does later is its own affair
    assert scene.device(MAC, 2 * PAST_S).home is None


def test_macs_that_ripen_are_few() -> None:
    scene = Scene()
    keys = [bytes((6, 0, 0, 0, 0, n)) for n in range(3 * PASTS)]
    for key in keys:
        scene.spoke(key)
    familiar = [key for key in keys if scene.device(key, PAST_S).home is None]
    assert familiar == keys[:PASTS]
    # One with a lease needs no past, so another may have it.
    scene.home.leases([keys[0]], PAST_S)
    assert sum(scene.device(key, PAST_S).home is None for key in keys) == PASTS + 1


def test_a_past_is_forgotten_with_its_device() -> None:
    scene = Scene()
    scene.spoke(MAC)
    assert scene.device(MAC, PAST_S).home is None
    scene.home.leases([n.to_bytes(6, "big") for n in range(DEVICES)], PAST_S)
    for n in range(DEVICES):
        scene.device(n.to_bytes(6, "big"), PAST_S + 1)
    assert set(scene.home.familiar()) == {n.to_bytes(6, "big") for n in range(DEVICES)}
    assert scene.device(MAC, PAST_S + 2).home is not None


def test_a_past_survives_a_restart() -> None:
    before, after = Scene(), Scene()
    old, new = before.spoke(MAC), before.spoke(OTHER, PAST_S)
    old.last_seen = PAST_S
    after.devices.restore([old, new])
    after.home.restore()
    assert set(after.home.familiar()) == {MAC}
    assert new.home is after.devices.home


def test_leases_that_are_asked_for_one_after_the_other_count_for_few() -> None:
    scene = Scene()
    scene.home.leases([MAC], 0.0)
    made_up: list[bytes] = []
    for n in range(150):
        made_up.append(b"\6\0" + n.to_bytes(4, "big"))
        scene.home.leases([*made_up, MAC], float(n))
    assert set(scene.home.familiar()) == {MAC, *made_up[:NEW_LEASES]}
    scene.home.leases([*made_up, MAC], 150.0 + NEW_LEASE_S)
    assert set(scene.home.familiar()) == {MAC, *made_up[: NEW_LEASES + 1]}
    scene.home.leases([*made_up[20:], MAC], 150.0 + NEW_LEASE_S)
    assert set(scene.home.familiar()) == {MAC}


def test_leases_that_count_are_bounded() -> None:
    scene = Scene()
    scene.home.leases((n.to_bytes(6, "big") for n in range(2 * LEASES)), 0.0)
    assert len(set(scene.home.familiar())) == LEASES


# ── what they share ─────────────────────────────────────────────────────────────────────────────────


def test_strangers_share_the_home_s_buckets_and_hosts_their_mac_s() -> None:
    scene = Scene()
    scene.home.leases([OTHER], 0.0)
    one, host, host6 = scene.device(MAC), scene.device(HOST), scene.device(HOST6)
    assert one.shares == (scene.devices.home.buckets,)
    assert host.shares[0] is host6.shares[0] is scene.devices.home.buckets
    assert host.shares[1] is host6.shares[1]
    assert scene.device(MAC).shares[1] is host.shares[1]  # what is beyond the hosts that are told apart
    assert scene.device(OTHER).shares == ()
    assert scene.device(OTHER + bytes(4)).shares[1] is not host.shares[1]


def test_hosts_with_a_past_still_share_their_mac_s() -> None:
    scene = Scene()
    scene.spoke(HOST)
    host, other = scene.device(HOST, PAST_S), scene.device(HOST6, PAST_S)
    assert host.home is None
    assert host.shares == (other.shares[1],)


def test_macs_with_hosts_behind_them_are_bounded() -> None:
    scene = Scene()
    for n in range(2 * MACS):
        scene.device(n.to_bytes(6, "big") + bytes(4))
    assert len(scene.home._behind) == MACS


# ── evidence ────────────────────────────────────────────────────────────────────────────────────────


def test_one_stranger_is_judged_alone() -> None:
    scene = Scene()
    for n in range(60):
        scene.spam(MAC, n)
    assert scene.device(MAC).score.standing == COMPROMISED
    assert scene.devices.home.score.value <= MOST_EACH + 1e-9 < SUSPECT_AT
    assert 2 * MOST_EACH < CONVICT_AT
    assert list(scene.devices) == [scene.device(MAC)]


def test_a_new_mac_for_each_connection_convicts_the_home() -> None:
    scene = Scene()
    for n in range(24):
        scene.spam(b"\6\0\0\0\0" + bytes((n,)), n)
    assert scene.standing == COMPROMISED
    assert all(device.score.standing == CLEAR for device in scene.devices if device.key != HOME)
    assert [(change.device.key, change.after) for change in scene.changes] == [(HOME, SUSPECTED), (HOME, COMPROMISED)]
    assert scene.devices.home in list(scene.devices)
    assert scene.devices.home.name == "an unknown device of this home"


def test_a_new_mac_after_each_conviction_convicts_the_home() -> None:
    scene = Scene()
    number = 0
    for n in range(CONVICTED):
        key = b"\6\0\0\0\0" + bytes((n,))
        scene.devices.home.score.sums = [0.0] * len(scene.devices.home.score.sums)  # what they add is not enough
        while scene.device(key).score.standing != COMPROMISED:
            assert scene.standing != COMPROMISED
            number += 1
            scene.spam(key, number)
    assert scene.standing == COMPROMISED
    assert scene.devices.home.compromised_at is not None
    assert scene.changes[-1].device is scene.devices.home


def test_devices_with_a_lease_are_no_evidence_against_the_home() -> None:
    scene = Scene()
    macs = [b"\2\0\0\0\0" + bytes((n,)) for n in range(24)]
    scene.home.leases(macs, 0.0)
    for n, mac in enumerate(macs):
        scene.spam(mac, n)
    assert scene.devices.home.connections == 0
    assert scene.standing == CLEAR
    assert not any(scene.devices.home.score.sums)


def test_innocence_of_strangers_counts_without_bound() -> None:
    scene = Scene()
    scene.spam(MAC, 0)
    assert scene.devices.home.score.sums[0] > 0
    before, ok = scene.devices.home.score.sums[0], Reply(250, "250 2.0.0 Ok")
    for n in range(1, 30):
        talk = (Event("recipient", "near.example", ok), Event("message", "me.example", ok, 600), Event("quit"))
        scene.talk(OTHER, n, *talk)
    assert scene.devices.home.score.sums[0] < before


# ── the table of devices ────────────────────────────────────────────────────────────────────────────


def test_made_up_macs_push_out_nobody_but_strangers() -> None:
    scene = Scene()
    scene.home.leases([MAC], 0.0)
    leased, past, talked = scene.device(MAC), scene.spoke(OTHER), scene.spoke(b"\2\0\0\0\0\3", PAST_S - 100)
    scene.device(OTHER, PAST_S)
    suspect = scene.device(b"\2\0\0\0\0\4", PAST_S - 100)
    suspect.score.standing = SUSPECTED
    scene.spam(b"\2\0\0\0\0\5", 1, PAST_S)
    sums = list(scene.devices.home.score.sums)
    for n in range(5 * DEVICES):
        device = scene.device(b"\6\0" + n.to_bytes(4, "big"), PAST_S + n)
        device.seen(PAST_S + n, bytes(4))
        assert device.home is not None
    for known in (leased, past, talked, suspect):
        assert scene.devices.find(known.key) is known
    assert len(scene.devices) == DEVICES
    assert scene.devices.home.score.sums == sums


def test_a_flood_of_made_up_macs_does_not_go_through_the_table() -> None:
    """Its cost for each MAC must not be that of all devices."""
    scene = Scene()
    for n in range(DEVICES):
        scene.device(b"\6\0" + n.to_bytes(4, "big"))

    class Counted(dict[bytes, Device]):
        gone_through = 0

        def values(self) -> Any:
            self.gone_through += 1
            return super().values()

    counted = scene.devices._devices = Counted(scene.devices._devices)
    for n in range(1000):
        scene.device(b"\6\1" + n.to_bytes(4, "big"))
    assert counted.gone_through == 0
    assert set(scene.devices._silent) == set(counted)
    assert len(counted) == DEVICES


def test_a_stranger_that_speaks_finds_room_among_strangers() -> None:
    scene = Scene()
    first = scene.spoke(MAC)
    for n in range(1, DEVICES):
        scene.spoke(b"\6\0" + n.to_bytes(4, "big"), n)
    late = scene.device(OTHER, 1000.0)
    assert scene.devices.find(OTHER) is None
    late.sessions += 1
    scene.devices.keep(late)
    assert scene.devices.find(OTHER) is late
    assert scene.devices.find(first.key) is None


def test_a_device_with_a_lease_finds_room_among_strangers() -> None:
    scene = Scene()
    for n in range(DEVICES):
        scene.spoke(b"\6\0" + n.to_bytes(4, "big"), n)
    scene.home.leases([MAC], 1000.0)
    device = scene.device(MAC, 1000.0)
    assert scene.devices.find(MAC) is device
    assert len(scene.devices) == DEVICES


def test_a_table_of_devices_with_leases_is_closed_to_strangers() -> None:
    scene = Scene()
    scene.home.leases([n.to_bytes(6, "big") for n in range(DEVICES)], 0.0)
    for n in range(DEVICES):
        scene.device(n.to_bytes(6, "big"))
    stranger = scene.spoke(MAC)
    scene.devices.keep(stranger)
    assert scene.devices.find(MAC) is None
    assert stranger.shares == (scene.devices.home.buckets,)  # it is counted all the same
