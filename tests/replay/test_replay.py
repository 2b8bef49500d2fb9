"""Replay on real captures (skipped where they are absent), and what it does with options."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.replay.replay import DEFAULT_POLICY, Options, replay
from cpe_filter.replay.text import show
from tests.build import (
    CLIENT,
    CLIENT6,
    LEGITIMATE,
    LINKS,
    OPT,
    SERVER6,
    START,
    TYPE_A,
    Packet,
    dns_query,
    frames,
    pcap,
    session,
    tcp,
    udp,
)
from tests.conftest import captures_folder
from tests.policies import changed_policy, make_policy


def judge(path: Path, **options: Any) -> dict[str, Any]:
    return replay(str(path), Options(**options), lambda _: None)


def names_of(kind: str) -> list[str]:
    return sorted(path.name for path in (captures_folder() / kind).glob("*.pcap*"))


def write(path: Path, text: str = LEGITIMATE, link: str = "ethernet", number: int = 1, **more: Any) -> Path:
    path.write_bytes(pcap(frames(session(text, **more), link), number))
    return path


# ── real captures ───────────────────────────────────────────────────────────────────────────────────


def test_spambot_is_convicted_within_twelve_connections(captures: Path) -> None:
    result = judge(captures / "bot" / "spambot.pcap", sessions=True)
    (device,) = result["devices"]
    assert device["device"] == "08:00:27:4c:48:f5"
    assert device["addresses"] == ["192.168.1.222"]
    assert device["standing"] == "compromised"
    assert device["compromised_at"]["connection"] <= 12
    assert device["suspected_at"]["connection"] <= device["compromised_at"]["connection"]
    # Every outgoing frame is in the file twice; the bot opened 1,109 connections to 840 servers in 805 networks.
    assert 1100 <= device["connections"] <= 1110
    assert device["networks"] == 804
    decisions = Counter(item["decision"] for item in result["sessions"])
    assert decisions["block"] > 1000
    # Before the conviction none is blocked but those that it ends while they run.
    convicted = device["compromised_at"]["connection"]
    early = [s for s in result["sessions"] if s["connection"] <= convicted]
    assert {s["reason"] for s in early if s["decision"] == "block"} <= {"device compromised"}
    assert sum(s["decision"] == "pass" for s in early) >= 1


def test_emotet_is_convicted_although_most_of_its_mail_is_accepted(captures: Path) -> None:
    (device,) = judge(captures / "bot" / "2017-10-10-Emotet-malspam-traffic.pcap")["devices"]
    assert device["standing"] == "compromised"
    assert device["messages"] > 100


@pytest.mark.parametrize("name", names_of("legit") or ["absent"])
def test_legitimate_mail_is_clear(captures: Path, name: str) -> None:
    for ports in ((25,), (25, 465, 587, 2525)):
        result = judge(captures / "legit" / name, policy=changed_policy(DEFAULT_POLICY, ports=ports))
        assert {device["standing"] for device in result["devices"]} <= {"clear"}


@pytest.mark.parametrize("name", names_of("scan") or ["absent"])
def test_scanners_are_never_convicted(captures: Path, name: str) -> None:
    result = judge(captures / "scan" / name)
    assert result["devices"]
    assert "compromised" not in {device["standing"] for device in result["devices"]}


@pytest.mark.parametrize("name", names_of("edge") or ["absent"])
def test_edge_cases_convict_nobody(captures: Path, name: str) -> None:
    result = judge(captures / "edge" / name)
    assert "compromised" not in {device["standing"] for device in result["devices"]}


def test_submission_is_seen_only_when_asked_for(captures: Path) -> None:
    path = captures / "legit" / "smtp-data-250.pcap"
    assert judge(path)["devices"] == []
    (device,) = judge(path, policy=changed_policy(DEFAULT_POLICY, ports=(25, 587)))["devices"]
    assert device["messages"] == 1


def test_what_was_cut_off_is_said(captures: Path) -> None:
    warnings: list[str] = []
    replay(str(captures / "edge" / "truncated-header.pcap"), Options(), warnings.append)
    assert any("24 of 24 packets were cut off" in text for text in warnings)


# ── options ─────────────────────────────────────────────────────────────────────────────────────────


def test_lan(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap")
    assert len(judge(path, lan=(ip_network("192.0.2.0/24"),))["devices"]) == 1
    assert judge(path, lan=(ip_network("10.0.0.0/8"),))["devices"] == []


def test_addresses_only_when_asked_for(tmp_path: Path) -> None:
    text = LEGITIMATE.replace("S: 250 2.1.5 Ok", "S: 250 2.1.5 bob@example.net ok").replace(
        "S: 250 2.0.0 Ok: queued", "S: 250 taken for bob@example.net"
    )
    path = write(tmp_path / "a.pcap", text)
    (plain,) = judge(path, sessions=True)["sessions"]
    assert plain["transactions"][0]["mail_from"] == "example.org"
    assert plain["transactions"][0]["rcpt_to"] == ["example.net"]
    assert plain["last_reply"] == "250 taken for *@example.net"
    (whole,) = judge(path, sessions=True, addresses=True)["sessions"]
    assert whole["transactions"][0]["mail_from"] == "alice@example.org"
    assert whole["transactions"][0]["rcpt_to"] == ["bob@example.net"]
    assert whole["last_reply"] == "250 taken for bob@example.net"


def test_policy_decides(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap")
    (blocked,) = judge(path, sessions=True, policy=make_policy(mode="block", refusal="reset"))["sessions"]
    assert (blocked["decision"], blocked["reason"]) == ("refuse", "mode block: no direct mail")
    (passed,) = judge(path, sessions=True)["sessions"]
    assert passed["decision"] == "pass"
    # What the capture shows is told either way.
    assert blocked["transactions"] == passed["transactions"]


def test_each_capture_is_judged_by_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap")
    assert judge(path) == judge(path)


def test_times_are_those_of_the_capture(tmp_path: Path) -> None:
    result = judge(write(tmp_path / "a.pcap", time=1000.25), sessions=True)
    assert result["start"] == 1000.25
    assert result["sessions"][0]["start"] == 1000.25
    assert result["devices"][0]["first_seen"] == 1000.25
    assert result["end"] > result["start"]


# ── lookups ─────────────────────────────────────────────────────────────────────────────────────────


def lookups(client: str = CLIENT, resolver: str = "198.51.100.53") -> list[Packet]:
    """Four questions for mail servers, and what must not count: another type, an answer."""
    messages = [dns_query(opt=opt) for opt in OPT.values()]
    packets = [udp(client, resolver, 40000, 53, message) for message in messages[:3]]
    packets.append(tcp(client, resolver, 40000, 53, 1, 1, 0x18, len(messages[3]).to_bytes(2, "big") + messages[3]))
    packets.append(udp(client, resolver, 40000, 53, dns_query(qtype=TYPE_A)))
    packets.append(udp(resolver, client, 53, 40000, dns_query(flags=0x8180)))
    return [Packet(START - 10 + n, True, data) for n, data in enumerate(packets)]


@pytest.mark.parametrize("link", ["ethernet", "vlan", "cooked2", "raw-101"])
def test_lookups_in_a_capture_count(tmp_path: Path, link: str) -> None:
    path = tmp_path / "a.pcap"
    more = lookups(CLIENT6, "2001:db8:9::53")  # of a host that sends no mail here, where there is no MAC
    path.write_bytes(pcap(frames([*lookups(), *session(), *more], link), LINKS[link].number))
    (device,) = judge(path)["devices"]
    assert device["mx_queries"] == (8 if LINKS[link].mac else 4)
    assert device["messages"] == 1
    (device,) = judge(path, policy=changed_policy(DEFAULT_POLICY, watch_dns=False))["devices"]
    assert device["mx_queries"] == 0
    (device,) = judge(path, lan=(ip_network("192.0.2.0/24"),))["devices"]
    assert device["mx_queries"] == 4


def test_lookups_by_ipv6_count_and_alone_make_no_device(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    asked = lookups(CLIENT6, "2001:db8:9::53")
    path.write_bytes(pcap(frames([*asked, *session(client=CLIENT6, server=SERVER6)])))
    (device,) = judge(path)["devices"]
    assert device["mx_queries"] == 4
    path.write_bytes(pcap(frames(asked)))
    assert judge(path)["devices"] == []


# ── names ───────────────────────────────────────────────────────────────────────────────────────────


def test_leases_name_the_devices_where_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap")
    leases = tmp_path / "dhcp.leases"
    leases.write_text("1 02:00:00:00:01:01 192.168.1.7 web<server> *\n")
    (device,) = judge(path, leases=(str(leases),))["devices"]
    assert device["name"] == "web?server?"
    said: list[str] = []
    show(judge(path, leases=(str(leases),)), said.append)
    assert "  02:00:00:00:01:01 (web?server?, 192.0.2.10)" in said
    leases.write_text("1 02:00:00:00:09:09 192.168.1.7 other *\n")
    assert judge(path, leases=(str(leases),))["devices"][0]["name"] is None
    assert "name" not in judge(path)["devices"][0]
