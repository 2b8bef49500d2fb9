"""Accounting: what became of each packet, in the result, for people, and as the exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cpe_filter.replay.capture import CaptureError
from cpe_filter.replay.replay import Options, replay
from tests import build
from tests.build import Ng
from tests.cli.test_cli import cli

ESP = build.ip("10.0.0.1", "10.0.0.2", 50, bytes(64))
ARP = b"\xff" * 6 + build.DEVICE_MAC + b"\x08\x06" + bytes(28)
MAIL = build.frames(build.session())


def esp(count: int) -> list[tuple[float, bytes]]:
    return [(build.START + n, build.ethernet(build.Packet(0.0, True, ESP))) for n in range(count)]


def judge(path: Path, data: bytes) -> tuple[dict[str, Any], list[str]]:
    path.write_bytes(data)
    warnings: list[str] = []
    return replay(str(path), Options(), warnings.append), warnings


def test_read_and_unread_are_all(tmp_path: Path) -> None:
    result, warnings = judge(tmp_path / "a", build.pcap([*MAIL, *esp(3), (build.START, ARP)]))
    account = result["accounting"]
    assert result["packets"] == len(MAIL) + 4
    assert account["read"] == len(MAIL) + 1
    (item,) = account["unread"]
    assert (item["reason"], item["packets"], item["meaning"]) == ("esp", 3, "encrypted with IPsec (ESP)")
    assert not account["complete"]
    assert [device["messages"] for device in result["devices"]] == [1]
    (text,) = warnings
    assert text.startswith(
        f"3 of {len(MAIL) + 4} packets could not be looked into: encrypted with IPsec (ESP); capture"
    )


def test_nothing_is_claimed_of_what_is_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(build.pcap(esp(5)))
    ran = cli("replay", path)
    assert ran.code == 3
    assert "no device sent mail here" not in ran.out
    assert "5 of 5 packets (all) could not be looked into" in " ".join(ran.out.split())
    assert "nothing could be looked into" in " ".join(ran.out.split())
    assert "5 of 5 packets could not be looked into: encrypted with IPsec (ESP)" in ran.err


def test_a_part_that_is_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(build.pcap([*esp(1), *[(build.START, ARP)] * 2000]))
    ran = cli("replay", path)
    assert ran.code == 3
    words = " ".join(ran.out.split())
    assert "1 of 2001 packets (less than 0.1%) could not be looked into" in words
    assert "no device sent mail in what could be looked into" in words


def test_what_is_read_and_is_not_mail_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(build.pcap([(build.START, ARP)] * 20))
    ran = cli("replay", path)
    assert ran.code == 0
    assert "no device sent mail here" in ran.out


def test_a_bot_is_found_beside_what_is_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(build.pcap([*MAIL, *esp(1)]))
    ran = cli("replay", "--json", path)
    assert ran.code == 3
    assert len(ran.lines[0]["devices"]) == 1


def test_an_unusable_file_counts_more_than_an_incomplete_one(tmp_path: Path) -> None:
    (tmp_path / "esp").write_bytes(build.pcap(esp(1)))
    (tmp_path / "bad").write_bytes(b"")
    for order in (["esp", "bad"], ["bad", "esp"]):
        assert cli("replay", *(tmp_path / name for name in order)).code == 2


def test_link_types_of_pcapng_are_counted_like_everything_else(tmp_path: Path) -> None:
    ng = Ng().interface(1).interface(220)
    for number, (_, frame) in enumerate(MAIL):
        ng.enhanced(number, frame, 0).enhanced(number, b"usb", 1)
    result, _ = judge(tmp_path / "a", ng.data)
    assert [item["reason"] for item in result["accounting"]["unread"]] == ["link type 220"]
    assert result["accounting"]["read"] == result["smtp_packets"] == len(MAIL)


def test_a_file_of_link_types_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    ng = Ng().interface(220).interface(253).enhanced(1, b"usb", 0).enhanced(1, b"netlink", 1)
    with pytest.raises(CaptureError, match="is not supported; supported: "):
        judge(tmp_path / "a", ng.data)


def test_mail_that_is_cut_off_is_not_complete_and_other_packets_may_be(tmp_path: Path) -> None:
    result, _ = judge(tmp_path / "a", build.pcap(MAIL, snaplen=70))
    assert result["accounting"]["cut"] > 0
    assert not result["accounting"]["complete"]
    other = build.tcp(build.CLIENT, build.SERVER, 40000, 443, 1, 1, build.ACK, bytes(900))
    web = [(build.START, build.ethernet(build.Packet(0.0, True, other)))]
    result, _ = judge(tmp_path / "a", build.pcap(web, snaplen=70))
    assert result["accounting"]["cut"] == 1
    assert result["accounting"]["complete"]


def test_headers_that_are_cut_off_or_damaged_are_counted(tmp_path: Path) -> None:
    result, _ = judge(tmp_path / "a", build.pcap(MAIL, snaplen=40))
    assert [(item["reason"], item["packets"]) for item in result["accounting"]["unread"]] == [("cut", len(MAIL))]
    assert result["accounting"]["read"] == 0
    bad = bytearray(MAIL[4][1])
    bad[46] = 0x10  # TCP's header is shorter than any
    result, _ = judge(tmp_path / "a", build.pcap([(build.START, bytes(bad))]))
    assert [(item["reason"], item["packets"]) for item in result["accounting"]["unread"]] == [("damaged", 1)]


def test_a_damaged_file_is_not_complete(tmp_path: Path) -> None:
    result, _ = judge(tmp_path / "a", build.pcap(MAIL)[:-5])
    assert result["accounting"]["damaged"]
    assert not result["accounting"]["complete"]


def test_the_page_claims_no_more(tmp_path: Path) -> None:
    path, page = tmp_path / "a", tmp_path / "page.html"
    path.write_bytes(build.pcap(esp(1)))
    assert cli("replay", "--html", page, path).code == 3
    assert "<h1>No device sent mail, in what could be looked into</h1>" in page.read_text()
    path.write_bytes(build.pcap([]))
    assert cli("replay", "--html", page, path).code == 0
    assert "<h1>No device sent mail</h1>" in page.read_text()
