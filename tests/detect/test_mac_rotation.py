"""A device with another random MAC goes on; who only claims to be it gets nothing."""

from __future__ import annotations

from typing import Any

import pytest

from cpe_filter.detect.device import Device, Devices
from cpe_filter.detect.mac_rotation import GONE_S, LEASES, DeviceRekeyed, Lease, MacRotation
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing

OLD, NEW, THIRD = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", b"\2\0\0\0\0\3"
BURNT_IN = b"\0\x1a\x2b\0\0\1"
HOURS = 3600.0
DUID = bytes.fromhex("00020000ab11") + bytes(8)


def lease(mac: bytes, name: str = "phone", until: float = 12 * HOURS, client_id: bytes = b"") -> Lease:
    return Lease(mac, (bytes([192, 168, 1, mac[5]]),), name, client_id, until)


class Home:
    """Time that passes, leases that change, devices that mail. The wall clock is ahead of the engine's by `AHEAD`."""

    AHEAD = 1000.0

    def __init__(self) -> None:
        self.devices = Devices()
        self.rotation = MacRotation(self.devices)
        self.moves: list[DeviceRekeyed] = []

    def mails(self, mac: bytes, time: float, standing: Standing = "clear") -> Device:
        device = self.devices.get(mac, time)
        device.seen(time, b"\xc0\xa8\1\7")
        device.score.standing = standing
        return device

    def at(self, time: float, *leases: Lease) -> list[bytes]:
        """These are the leases at this time. Returns the keys of the devices that have moved."""
        shifted = [one._replace(expires=one.expires + self.AHEAD if one.expires else 0.0) for one in leases]
        moves = self.rotation.leases(shifted, time, time + self.AHEAD)
        self.moves += moves
        return [move.device.key for move in moves]


@pytest.mark.parametrize(
    ("same", "why"),
    [({"name": "phone"}, "name"), ({"name": "", "client_id": DUID}, "client identifier")],
)
@pytest.mark.parametrize("standing", ["clear", SUSPECTED, COMPROMISED])
def test_a_device_goes_on_under_its_new_mac(same: dict[str, Any], why: str, standing: Standing) -> None:
    home = Home()
    home.at(0.0, lease(OLD, **same))
    device = home.mails(OLD, 100.0, standing)
    home.at(1000.0, lease(NEW, until=13 * HOURS, **same))  # the old one has been released
    assert home.at(12 * HOURS - 1, lease(NEW, until=24 * HOURS, **same)) == []
    assert home.at(12 * HOURS, lease(NEW, until=24 * HOURS, **same)) == [NEW]
    assert home.devices.find(NEW) is device
    assert home.devices.find(OLD) is None
    assert device.name == "02:00:00:00:00:02"
    assert device.score.standing == standing
    (move,) = home.moves
    assert (move.device, move.before, move.why) == (device, OLD, why)
    # Once: nothing more happens afterwards.
    assert home.at(20 * HOURS, lease(NEW, until=32 * HOURS, **same)) == []


def test_it_goes_on_from_mac_to_mac() -> None:
    home = Home()
    device = home.mails(OLD, 10.0)
    home.at(0.0, lease(OLD, until=100.0))
    home.at(200.0, lease(NEW, until=300.0))
    assert home.at(300.0, lease(NEW, until=500.0)) == [NEW]
    home.mails(NEW, 350.0)
    home.at(600.0, lease(THIRD, until=900.0))
    assert home.at(700.0, lease(THIRD, until=900.0)) == [THIRD]
    assert home.devices.find(THIRD) is device


def test_dnsmasq_takes_the_name_from_the_older_lease() -> None:
    home = Home()
    home.at(0.0, lease(OLD))
    device = home.mails(OLD, 100.0)
    home.at(1000.0, lease(OLD, name=""), lease(NEW, until=13 * HOURS))
    home.at(12 * HOURS, lease(NEW, until=24 * HOURS))
    assert home.at(12 * HOURS + GONE_S, lease(NEW, until=24 * HOURS)) == [NEW]
    assert home.devices.find(NEW) is device


def test_of_two_devices_the_one_of_worse_standing_goes_on() -> None:
    for old, new in ((COMPROMISED, CLEAR), (CLEAR, COMPROMISED), (COMPROMISED, SUSPECTED), (SUSPECTED, CLEAR)):
        home = Home()
        home.at(0.0, lease(OLD))
        home.mails(OLD, 100.0, old)
        home.at(1000.0, lease(NEW, until=24 * HOURS))
        home.mails(NEW, 1100.0, new)
        assert home.at(12 * HOURS, lease(NEW, until=24 * HOURS)) == [NEW]
        (device,) = home.devices
        assert device.score.standing in (COMPROMISED, SUSPECTED)
        assert (device.score.standing == COMPROMISED) is (COMPROMISED in (old, new))
        assert device.key == NEW


# ── what must not be merged ─────────────────────────────────────────────────────────────────────


def test_a_claimed_name_gets_nothing_while_its_owner_renews() -> None:
    """The attacker takes the name of a device that is at home and seldom mails."""
    home = Home()
    victim = home.mails(OLD, 100.0)
    home.at(0.0, lease(OLD))
    home.at(1000.0, lease(OLD, name=""), lease(NEW, until=13 * HOURS))
    home.at(6 * HOURS, lease(OLD, name="", until=18 * HOURS), lease(NEW, until=13 * HOURS))
    for hour in range(7, 18):
        assert home.at(hour * HOURS, lease(OLD, "", 18 * HOURS), lease(NEW, until=(hour + 12) * HOURS)) == []
    # And when the owner leaves later: the name has been seen to be two devices'.
    for hour in range(18, 48):
        assert home.at(hour * HOURS, lease(NEW, until=(hour + 12) * HOURS)) == []
    assert home.devices.find(OLD) is victim


def test_a_claimed_client_identifier_gets_nothing_while_its_owner_asks_again() -> None:
    """dnsmasq gives the lease to whoever brings the identifier; its owner gets it back when it renews."""
    home = Home()
    victim = home.mails(OLD, 100.0, COMPROMISED)
    home.at(0.0, lease(OLD, "", client_id=DUID))
    for minute in range(20, 360):
        assert home.at(minute * 60.0, lease(NEW, "", 12 * HOURS + 60 * minute, DUID)) == []
    for hour in range(6, 40):
        assert home.at(hour * HOURS, lease(OLD, "", (hour + 12) * HOURS, DUID)) == []
    assert home.devices.find(OLD) is victim
    assert home.devices.find(NEW) is None


def test_a_forged_release_gets_nothing_before_the_lease_would_have_ended() -> None:
    home = Home()
    victim = home.mails(OLD, 100.0)
    home.at(0.0, lease(OLD))
    home.at(200.0)
    assert home.at(400.0, lease(NEW, until=13 * HOURS)) == []
    assert home.at(5 * HOURS, lease(NEW, until=13 * HOURS)) == []
    assert home.at(6 * HOURS, lease(OLD, until=18 * HOURS), lease(NEW, until=13 * HOURS)) == []  # it asked again
    assert home.at(7 * HOURS, lease(OLD, until=18 * HOURS), lease(NEW, until=19 * HOURS)) == []
    assert home.devices.find(OLD) is victim


def test_a_device_that_still_mails_is_never_taken_over() -> None:
    """Its address is static by now: it has no lease, but it is there."""
    home = Home()
    home.at(0.0, lease(OLD, until=100.0))
    home.mails(OLD, 10.0)
    home.at(200.0, lease(NEW))
    victim = home.mails(OLD, 210.0)
    for hour in range(1, 100):
        assert home.at(hour * HOURS, lease(NEW, until=(hour + 12) * HOURS)) == []
    assert home.devices.find(OLD) is victim


@pytest.mark.parametrize(("old", "new"), [(BURNT_IN, NEW), (OLD, BURNT_IN), (OLD, b"\3\0\0\0\0\2"), (b"", NEW)])
def test_only_random_macs_follow_each_other(old: bytes, new: bytes) -> None:
    home = Home()
    home.mails(old or OLD, 10.0)
    home.at(0.0, lease(old or OLD, until=100.0)._replace(hwaddr=old))
    home.at(200.0, lease(new))
    assert home.at(5 * HOURS, lease(new)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("", ""), ("phone", ""), ("", "phone"), ("phone", "tablet"), ("J?rg", "J?rg")],
)
def test_no_name_and_another_name_link_nothing(old: str, new: str) -> None:
    home = Home()
    home.mails(OLD, 10.0)
    home.at(0.0, lease(OLD, old, 100.0))
    home.at(200.0, lease(NEW, new))
    assert home.at(5 * HOURS, lease(NEW, new)) == []


def test_a_name_that_two_have_leads_to_neither() -> None:
    """Guests whose phones all have the maker's name."""
    home = Home()
    home.mails(OLD, 10.0, COMPROMISED)
    home.mails(NEW, 10.0)
    home.at(0.0, lease(OLD, "iPhone", 100.0), lease(NEW, "iPhone", 100.0))
    home.at(200.0, lease(THIRD, "iPhone"))
    assert home.at(5 * HOURS, lease(THIRD, "iPhone")) == []


def test_two_that_claim_at_once_get_nothing() -> None:
    home = Home()
    home.mails(OLD, 10.0)
    home.at(0.0, lease(OLD, until=100.0))
    home.at(200.0, lease(NEW), lease(THIRD))
    assert home.at(5 * HOURS, lease(NEW), lease(THIRD)) == []


def test_a_lease_file_in_the_middle_of_being_written() -> None:
    home = Home()
    home.mails(OLD, 10.0)
    home.at(0.0, lease(OLD, until=100.0))
    home.at(200.0, lease(NEW), lease(OLD, "", 300.0))
    home.at(400.0, lease(NEW))  # the line of the old one is not written yet
    assert home.at(430.0, lease(NEW), lease(OLD, "", 900.0)) == []
    assert home.at(460.0, lease(NEW), lease(OLD, "", 900.0)) == []


def test_macs_that_come_back_do_not_swap_for_ever() -> None:
    home = Home()
    home.mails(OLD, 10.0)
    home.at(0.0, lease(OLD, until=100.0))
    home.at(200.0, lease(NEW, until=300.0))
    assert home.at(290.0, lease(NEW, until=300.0)) == [NEW]
    moved = []
    for n in range(100):
        moved += home.at(400.0 + 100 * n, lease((OLD, NEW)[n // 3 % 2], until=450.0 + 100 * n))
    assert moved == []
    assert home.devices.find(NEW) is not None


def test_who_came_later_is_not_followed() -> None:
    home = Home()
    home.mails(OLD, 10.0)
    home.at(100.0, lease(NEW))
    home.at(200.0, lease(NEW), lease(OLD, until=300.0))
    home.at(400.0, lease(NEW))
    assert home.at(500.0, lease(NEW)) == []


def test_whoever_comes_back_under_the_old_mac_starts_anew() -> None:
    home = Home()
    device = home.mails(OLD, 10.0, COMPROMISED)
    home.at(0.0, lease(OLD, until=100.0))
    home.at(200.0, lease(NEW))
    assert home.at(300.0, lease(NEW)) == [NEW]
    assert home.mails(OLD, 400.0) is not device


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────


def test_state_is_bounded_whatever_is_leased() -> None:
    home = Home()
    for n in range(40):
        macs = [b"\2" + (n * 2000 + m).to_bytes(5, "big") for m in range(2000)]
        for mac in macs[:20]:
            home.mails(mac, n * 100.0)
        home.at(n * 100.0, *(lease(mac, f"h{m}", n * 100.0 + 50) for m, mac in enumerate(macs)))
    assert len(home.rotation) <= LEASES + 256
    assert len(home.rotation._moved) <= 512
    assert len(home.rotation._shared) <= 256
    assert len(home.devices) <= 256


def test_convictions_cannot_be_multiplied() -> None:
    home = Home()
    home.mails(OLD, 0.0, COMPROMISED)
    home.at(0.0, lease(OLD, until=10.0))
    for n in range(1, 600):
        mac = b"\2\7" + n.to_bytes(4, "big")
        home.at(n * 1000.0, lease(mac, until=n * 1000.0 + 10))
        home.at(n * 1000.0 + 100, lease(mac, until=n * 1000.0 + 10))
    assert len(home.devices) == 1
    assert len(home.rotation._moved) == 512


def test_names_seen_to_be_shared_have_a_bound() -> None:
    home = Home()
    pairs = [(b"\2\0" + n.to_bytes(4, "big"), b"\2\1" + n.to_bytes(4, "big"), f"n{n}") for n in range(400)]
    home.at(0.0, *(lease(old, name) for old, _, name in pairs))
    for time in (100.0, 200.0):
        both = [lease(mac, name, 12 * HOURS + 10 * time) for old, new, name in pairs for mac in (old, new)]
        home.at(time, *both)
    assert len(home.rotation._shared) == 256


# ── lengths in place of times ───────────────────────────────────────────────────────────────────────


def lasting(mac: bytes) -> Lease:
    return lease(mac)._replace(expires=0.0, length=12 * HOURS)


def test_a_lease_of_which_only_the_length_is_known() -> None:
    """It may have been renewed whenever it was seen, so it is gone one length after that."""
    home = Home()
    home.at(0.0, lasting(OLD))
    home.mails(OLD, 100.0, COMPROMISED)
    home.at(1000.0, lasting(OLD))
    home.at(2000.0, lasting(NEW))
    assert home.at(1000.0 + 12 * HOURS - 1, lasting(NEW)) == []
    assert home.at(1000.0 + 12 * HOURS + 1, lasting(NEW)) == [NEW]


def test_two_devices_whose_leases_have_only_lengths() -> None:
    """The older one is still there after more than its length, so it was renewed after the newer one came."""
    home = Home()
    home.at(0.0, lasting(OLD))
    home.mails(OLD, 100.0, COMPROMISED)
    home.at(1000.0, lasting(OLD), lasting(NEW))
    home.at(1000.0 + 12 * HOURS + 1, lasting(OLD), lasting(NEW))
    for hour in (40, 41, 60):
        assert home.at(hour * HOURS, lasting(NEW)) == []
