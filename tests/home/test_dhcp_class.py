"""What a device is by its DHCP request: the table, hostile files, and real clients at a real dnsmasq with the hook."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from cpe_filter.home.dhcp_class import LONGEST, MOST, DeviceClasses, device_class, parse
from tests.lab.mail import bot
from tests.lab.net import DEADLINE_S, PROJECT, Lab

HOOK = PROJECT / "openwrt" / "cpe-filter" / "files" / "cpe-filter.dhcp"


@pytest.mark.parametrize(
    ("asked", "vendor", "kind"),
    [
        ("1,3,6,15,26,28,51,58,59,43,114,108", "android-dhcp-14", "android"),
        ("1,3,6,15,26,28,51,58,59,43", "", "android"),
        ("1,33,3,6,15,26,28,51,58,59", "dhcpcd-5.5.6", "android"),
        ("1,121,33,3,6,12,15", "dhcpcd-9.4.1:Linux-6.1:aarch64", "linux"),
        ("1,3,6,15,31,33,43,44,46,47,119,121,249,252", "MSFT_5.0", "windows"),
        ("1,15,3,6,44,46,47,31,33,121,249,43", "", "windows"),
        ("1,121,3,6,15,108,114,119,252", "", "apple"),
        ("1,121,3,6,15,119,252", "", "apple"),
        ("1,121,3,6,15,108,114,119,252,95,44,46", "", "mac"),
        ("1,28,2,3,15,6,119,12,44,47,26,121,42", "", "linux"),
        ("1,3,6,12,15,28,42", "udhcp_1.36.1", "embedded"),
        ("", "Hewlett-Packard_JetDirect", "printer"),
        ("1,3,15,6", "PS4", "console"),
        ("", "", ""),
        ("1,3,6", "something_else", ""),
        (",,,,", "_", ""),
    ],
)
def test_the_table(asked: str, vendor: str, kind: str) -> None:
    assert device_class(asked, vendor) == kind


def test_malformed_lines_are_left_out() -> None:
    good = b"02:00:00:00:00:01 1,3,6,15,26,28,51,58,59,43 x\n"
    assert parse(b"\xff\xfe\n02: \n" + good + b"02:00:00:00:00:01 1 MSFT_5.0\nzz:00:00:00:00:01 1 MSFT_5.0\n\n") == {
        b"\2\0\0\0\0\1": "android"
    }
    many = b"".join(b"02:00:00:00:%02x:%02x  MSFT_5.0\n" % (n >> 8, n & 255) for n in range(3 * MOST))
    assert len(parse(many)) == MOST
    chance = random.Random(1)
    for _ in range(300):
        parse(bytes(chance.choice(b"0123456789abcdef:, \n_M\xff\0") for _ in range(200)))


def test_a_file_is_read_when_it_changes_and_only_if_it_is_ours(tmp_path: Path) -> None:
    classes = DeviceClasses(str(tmp_path / "status.json"))
    mac, file = b"\2\0\0\0\0\1", tmp_path / "dhcp"
    classes.refresh()
    assert classes.of(mac) == ""
    file.write_text("02:00:00:00:00:01 1,3 MSFT_5.0\n")
    classes.refresh()
    assert classes.of(mac) == "windows"
    file.write_text("02:00:00:00:00:01 1,3,6 android-dhcp-9\n")
    classes.refresh()
    assert classes.of(mac) == "android"
    file.write_bytes(b"x" * (2 * LONGEST))
    classes.refresh()
    assert classes.of(mac) == ""
    file.unlink()
    os.mkfifo(file)
    classes.refresh()
    assert classes.of(mac) == ""


def hook(folder: Path, **variables: str) -> str:
    """The hook's file after a call in a router's shell, as procd makes it."""
    script = folder / "hook"
    script.write_text(HOOK.read_text().replace("/var/run/cpe-filter/dhcp", str(folder / "run" / "dhcp")))
    done = subprocess.run(
        ["busybox", "ash", "-c", f". {script}"], env={"PATH": os.environ["PATH"], **variables}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    file = folder / "run" / "dhcp"
    return file.read_text() if file.exists() else ""


needs_busybox = pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox")


@needs_busybox
def test_the_hook_keeps_little_and_nothing_odd(tmp_path: Path) -> None:
    one = {"ACTION": "add", "MACADDR": "02:00:00:00:00:01"}
    assert hook(tmp_path, **one) == ""
    assert hook(tmp_path, **{**one, "ACTION": "remove"}, DNSMASQ_VENDOR_CLASS="x") == ""
    for mac in ("", "02:00", "06-02:00:00:00:00:01", "02:00:00:00:00:0g", "*:??:??:??:??:??"):
        assert hook(tmp_path, ACTION="add", MACADDR=mac, DNSMASQ_VENDOR_CLASS="x") == ""
    bad = "a b\n02:00:00:00:00:09 1 $(touch /tmp/x)`id`\\%s%n" + "x" * 5000
    text = hook(tmp_path, **one, DNSMASQ_REQUESTED_OPTIONS=bad, DNSMASQ_VENDOR_CLASS=bad)
    (line,) = text.splitlines()
    assert line.startswith("02:00:00:00:00:01 020000000009")
    assert len(line) < 350
    assert len(line.split(" ")) == 3
    text = hook(tmp_path, **one, DNSMASQ_REQUESTED_OPTIONS="1,3,6", DNSMASQ_VENDOR_CLASS="MSFT 5.0")
    assert text == "02:00:00:00:00:01 1,3,6 MSFT_5.0\n"
    (tmp_path / "run" / "dhcp").write_text("".join(f"02:00:00:00:01:{n % 256:02x} 1 x{n}\n" for n in range(500)))
    text = hook(tmp_path, **one, DNSMASQ_VENDOR_CLASS="udhcp 1.36")
    assert len(text.splitlines()) == 256
    assert text.startswith("02:00:00:00:00:01  udhcp_1.36\n")


@pytest.mark.live
@pytest.mark.skipif(not (shutil.which("dnsmasq") and shutil.which("udhcpc")), reason="needs dnsmasq and udhcpc")
def test_real_clients_at_a_real_dnsmasq(lab: Lab) -> None:
    """udhcpc as it is, and as a TV box and a printer would ask; a running filter then says what they are."""
    script, leases = lab.folder / "hook", lab.folder / "lab.leases"
    script.write_text(HOOK.read_text().replace("/var/run/cpe-filter/dhcp", str(lab.folder / "dhcp")))
    # As OpenWrt's dhcp-script.sh and procd: these variables, then the files of /etc/hotplug.d/dhcp.
    (lab.folder / "dhcp-script").write_text(
        "#!/bin/sh\ncase $1 in add) ACTION=add ;; old) ACTION=update ;; del) ACTION=remove ;; esac\n"
        f"export ACTION MACADDR=$2 IPADDR=$3 HOSTNAME=$4\nexec busybox ash -c '. {script}'\n"
    )
    os.chmod(lab.folder / "dhcp-script", 0o700)
    leases.unlink()
    words = ["--dhcp-range=192.168.1.150,192.168.1.199,1h", "--port=0", "--interface=br-lan", "--bind-interfaces"]
    lab.start("router", [
        "dnsmasq", "-k", "-C", "/dev/null", *words, f"--dhcp-leasefile={leases}", "--user=root",
        f"--dhcp-script={lab.folder}/dhcp-script", "--dhcp-authoritative",
    ])  # fmt: skip
    ask = ["udhcpc", "-i", "eth0", "-n", "-q", "-t", "30", "-T", "1", "-s", "/bin/true"]
    lab.run("device1", [*ask, "-V", "android-dhcp-9"])
    lab.run("device2", ask)
    end = time.monotonic() + DEADLINE_S
    found: dict[bytes, str] = {}
    while len(found) < 2 and time.monotonic() < end:
        time.sleep(0.1)
        found = parse((lab.folder / "dhcp").read_bytes()) if (lab.folder / "dhcp").exists() else {}
    macs = [bytes.fromhex(lab.mac(name).replace(":", "")) for name in ("device1", "device2")]
    assert [found.get(mac) for mac in macs] == ["android", "embedded"]
    # A running filter says what they are: here of a device that sends mail.
    leases.write_text(f"0 {lab.mac('device1')} {lab.address4('device1')} * *\n")
    running = lab.start_filter(lab.policy('[filter]\nmode = "monitor"\n'))
    bot(lab, "--count", "4", device="device1")
    end = time.monotonic() + DEADLINE_S
    while (device := running.device("device1")) is None or device["class"] is None:
        assert time.monotonic() < end, running.status()["devices"]
    assert device["class"] == "android"
