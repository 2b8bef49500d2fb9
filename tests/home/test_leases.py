"""Lease files of dnsmasq and odhcpd: what is read, what hostile ones give, when they are read again."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cpe_filter.detect.device import ROUTER, Device
from cpe_filter.detect.mac_rotation import Lease
from cpe_filter.home.leases import INTERVAL_S, MAX_LEASES, NAME_LENGTH, Leases, clean, parse

MAC = bytes.fromhex("020000000101")
DUID = "00:02:00:00:ab:11:01:02:03:04:05:06:07:08"

#: As dnsmasq 2.90's lease_update_file writes them: IPv4, its own DUID, IPv6, what came with newer versions.
DNSMASQ = f"""\
1789046852 02:00:00:00:01:01 192.168.1.101 living-room-tv 01:02:00:00:00:01:01
1789046853 02:00:00:00:01:02 192.168.1.102 * *
0 02:00:00:00:01:03 192.168.1.103 laptop ff:00:00:00:01:{DUID}
1789046854 20-00:00:00:00 192.168.1.104 infiniband *
duid 00:01:00:01:30:af:db:8c:30:c5:99:13:12:bd
1789046855 11223344 2001:db8:1::104 laptop {DUID}
1789046856 T11223345 fd00:1::105 * {DUID}
agent-info 192.168.1.101 01:02
vendorclass 192.168.1.101 61:62
"""

#: As odhcpd's statefiles.c writes them, with a host's line between.
ODHCPD = """\
# br-lan 0001000130afdb8c30c5991312bd 630c599 Asus_Strix_G16 1789046852 2f3 128 fd66:67c3:69::2f3/128 2001:db8::2f3/128
fd66:67c3:69::2f3\tAsus_Strix_G16.lan\tAsus_Strix_G16
# br-lan 0:1a:2b:0:0:9 ipv4 printer 1789046900 c0a80109 32 192.168.1.9/32
# br-lan 001a2b00000a ipv4 - -1 c0a8010a 32 192.168.1.10/32
# br-lan 00030001020000000105 1 broken\\x20My\\x20PC 0 5 64 2001:db8:1:5::/64
"""


def packed(*addresses: str) -> tuple[bytes, ...]:
    return tuple(ip_address(address).packed for address in addresses)


def test_dnsmasq() -> None:
    duid = bytes.fromhex(DUID.replace(":", ""))
    assert parse(DNSMASQ.encode()) == [
        # Of the client identifier nothing is left: it is the MAC again.
        Lease(MAC, packed("192.168.1.101"), "living-room-tv", b"", 1789046852.0),
        Lease(MAC[:5] + b"\2", packed("192.168.1.102"), "", b"", 1789046853.0),
        Lease(MAC[:5] + b"\3", packed("192.168.1.103"), "laptop", duid, 0.0),
        Lease(b"", packed("2001:db8:1::104"), "laptop", duid, 1789046855.0),
        Lease(b"", packed("fd00:1::105"), "", duid, 1789046856.0),
    ]


def test_odhcpd() -> None:
    assert parse(ODHCPD.encode()) == [
        Lease(
            b"",
            packed("fd66:67c3:69::2f3", "2001:db8::2f3"),
            "Asus_Strix_G16",
            bytes.fromhex("0001000130afdb8c30c5991312bd"),
            1789046852.0,
        ),
        Lease(bytes.fromhex("001a2b000009"), packed("192.168.1.9"), "printer", b"", 1789046900.0),
        Lease(bytes.fromhex("001a2b00000a"), packed("192.168.1.10"), "", b"", 0.0),
        Lease(b"", packed("2001:db8:1:5::"), "My?20PC", bytes.fromhex("00030001020000000105"), 0.0),
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("tv", "tv"),
        ("*", ""),
        ("-", ""),
        ("a_b-c.9", "a_b-c.9"),
        ("\x1b[31mred\x07", "??31mred?"),
        ("<script>alert(1)</script>", "?script?alert?1???script?"),
        ("caf\xe9", "caf?"),
        ("a\"b'c&d", "a?b?c?d"),
        ("x" * 300, "x" * NAME_LENGTH),
    ],
)
def test_hostile_names_are_made_harmless(name: str, shown: str) -> None:
    assert clean(name) == shown


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: (DNSMASQ + text + ODHCPD).encode()))
@example(b"# br-lan " + b"ff" * 500 + b" 1 x 1 1 128 ::1/128")
@example(b"9" * 400 + b" 02:00:00:00:01:01 192.168.1.1 x *")
@example(b"1 \xb2\xb3:00:00:00:00:00 192.168.1.1 x *")
@example(b"1 02:00:00:00:01:01 192.168.1.1\0 x *")
def test_whatever_stands_in_the_file(data: bytes) -> None:
    for lease in parse(data):
        assert len(lease.hwaddr) in (0, 6)
        assert all(len(address) in (4, 16) for address in lease.addresses)
        assert len(lease.client_id) <= 195
        assert len(lease.name) <= NAME_LENGTH
        assert all(c.isascii() and (c.isalnum() or c in "-_.?") for c in lease.name)
        assert 0 <= lease.expires < 1e13


def test_a_file_without_end() -> None:
    line = "1 02:00:00:00:01:01 192.168.1.1 x *\n"
    assert len(parse((line * 20000).encode())) == MAX_LEASES


def device(key: bytes, *addresses: str) -> Device:
    found = Device(key, 0.0)
    for address in packed(*addresses):
        found.seen(0.0, address)
    return found


def test_names_of_devices(tmp_path: Path) -> None:
    (tmp_path / "dnsmasq").write_text(DNSMASQ)
    (tmp_path / "odhcpd").write_text(ODHCPD)
    leases = Leases([str(tmp_path / "dnsmasq"), str(tmp_path / "missing"), str(tmp_path / "odhcpd")])
    assert leases.refresh(100.0)
    assert leases.name(device(MAC, "192.168.1.50")) == "living-room-tv"
    # By a lease of its address, where the server did not say the MAC; by the MAC in a DUID.
    assert leases.name(device(b"\2\0\0\0\0\x77", "192.168.1.60", "2001:db8::2f3")) == "Asus_Strix_G16"
    assert leases.name(device(bytes.fromhex("30c5991312bd"))) == "Asus_Strix_G16"
    assert leases.name(device(packed("192.168.1.9")[0], "192.168.1.9")) == "printer"
    # Hosts behind a device do not get its name, nor does the router get one.
    assert leases.name(device(MAC + packed("192.168.7.5")[0], "192.168.7.5")) == ""
    assert leases.name(device(ROUTER, "192.168.1.101")) == ""
    assert leases.name(device(b"\2\0\0\0\0\x78", "192.168.1.61")) == ""


def test_read_again_only_where_it_has_changed_and_not_too_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cpe_filter.home import leases as module

    reads = []

    def counted(data: bytes) -> list[Lease]:
        reads.append(len(data))
        return parse(data)

    monkeypatch.setattr(module, "parse", counted)
    path = tmp_path / "leases"
    path.write_text(DNSMASQ)
    leases = Leases([str(path)])
    assert leases.refresh(0.0)
    assert not leases.refresh(INTERVAL_S - 1)
    assert leases.refresh(INTERVAL_S)
    assert len(reads) == 1
    path.write_text(DNSMASQ.replace("living-room-tv", "kitchen-tv"))
    assert not leases.refresh(INTERVAL_S + 1)
    assert leases.name(device(MAC)) == "living-room-tv"
    assert leases.refresh(2 * INTERVAL_S)
    assert len(reads) == 2
    assert leases.name(device(MAC)) == "kitchen-tv"
    path.unlink()
    assert leases.refresh(3 * INTERVAL_S)
    assert leases.name(device(MAC)) == ""
    assert list(leases) == []


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = len(os.listdir("/proc/self/fd"))
    leases = Leases([str(tmp_path / name) for name in ("fifo", "folder", "loop", "missing")])
    for n in range(20):
        assert leases.refresh(n * INTERVAL_S)
    assert list(leases) == []
    assert len(os.listdir("/proc/self/fd")) == before
