"""Lease files: names of devices, when they are read again, what is no file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpe_filter.detect.device import ROUTER, Device
from cpe_filter.detect.mac_rotation import Lease
from cpe_filter.home.leases import INTERVAL_S, MAX_BYTES, Leases, parse
from tests.home.test_lease_file import DNSMASQ, MAC, ODHCPD, packed


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


def test_a_file_that_replaces_another_of_the_same_age_and_size(tmp_path: Path) -> None:
    path, new = tmp_path / "leases", tmp_path / "new"
    path.write_text(DNSMASQ)
    new.write_text(DNSMASQ.replace("living-room-tv", "kitchen-tv-123"))
    about = path.stat()
    os.utime(new, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert new.stat().st_size == about.st_size
    leases = Leases([str(path)])
    leases.refresh(0.0)
    new.replace(path)
    leases.refresh(INTERVAL_S)
    assert leases.name(device(MAC)) == "kitchen-tv-123"


def test_of_a_huge_file_the_beginning_is_read(tmp_path: Path) -> None:
    (tmp_path / "leases").write_text(DNSMASQ + "#\n" * MAX_BYTES)
    leases = Leases([str(tmp_path / "leases")])
    leases.refresh(0.0)
    assert leases.name(device(MAC)) == "living-room-tv"
