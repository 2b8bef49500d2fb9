"""Elements into the kernel's sets and out again: in a network namespace of its own, without traffic."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from cpe_filter.enforce import nftables
from cpe_filter.enforce.ruleset_names import BY_CONNECTION, DEVICES, REFUSED, REFUSED_NEW, XTABLES
from cpe_filter.enforce.sets import KNOWN_S, Sets, elements
from tests.lab.alone import network
from tests.policies import make_policy

pytestmark = pytest.mark.live

MAC, OTHER = bytes.fromhex("020000000101"), bytes.fromhex("020000000102")
IPV4 = (ip_address("192.168.1.101").packed, ip_address("198.18.0.25").packed)
IPV6 = (ip_address("2001:db8:1::101").packed, ip_address("2001:db8:100::25").packed)


def key(client: bytes, server: bytes, port: int = 40000) -> bytes:
    return client + server + (port << 16 | 25).to_bytes(4, "big")


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def sets(live: None, log: list[str]) -> Iterator[Sets]:
    with network():
        nftables.install(make_policy(mode="limit"), XTABLES)
        made = Sets(log.append)
        yield made
        made.close()


def listed(name: str) -> str:
    done = subprocess.run(["nft", "list", "set", "inet", "cpe_filter", name], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", BY_CONNECTION)
@pytest.mark.parametrize("ends", [IPV4, IPV6], ids=["IPv4", "IPv6"])
def test_connections_as_nft_reads_them(sets: Sets, name: str, ends: tuple[bytes, bytes]) -> None:
    client, server = (str(ip_address(end)) for end in ends)
    title = name + ("4" if len(ends[0]) == 4 else "6")
    sets.add_connection(name, key(*ends))
    assert client not in listed(title)  # not before it is flushed
    sets.flush()
    lasts = {REFUSED: "15m", REFUSED_NEW: "1s"}.get(name, "1d")
    assert f"{client} . 40000 . {server} timeout {lasts}" in listed(title)
    sets.remove_connection(name, key(*ends))
    sets.remove_connection(name, key(*ends, port=1))  # which was never there
    sets.flush()
    assert client not in listed(title)
    assert sets.failures == 0


def test_devices_switches_and_pairs(sets: Sets) -> None:
    sets.put("blocked", [MAC, OTHER], 3600)
    sets.put("asked", [MAC], 60)
    sets.limit(MAC)
    sets.add_pair(MAC, IPV4[1])
    sets.add_pair(MAC, IPV6[1])
    sets.flush()
    assert elements("blocked") == {MAC, OTHER}
    assert f"02:00:00:00:01:01 . 198.18.0.25 timeout {KNOWN_S // 3600}h" in listed("known4")
    assert "02:00:00:00:01:01 . 2001:db8:100::25" in listed("known6")
    sets.release(MAC)
    sets.release(MAC)  # twice is no error
    assert (elements("blocked"), elements("asked"), elements("limited")) == ({OTHER}, set(), set())
    sets.forget_pairs()
    assert not elements("known4")
    assert not elements("known6")
    sets.block_address(IPV6[0], 60)
    assert elements("address_blocked6") == {IPV6[0]}
    sets.release(IPV6[0])
    assert not elements("address_blocked6")
    sets.switch("home_blocked", True, 60)
    assert "tcp" in listed("home_blocked")
    sets.switch("home_blocked", False, 60)
    sets.switch("home_blocked", False, 60)
    assert not elements("home_blocked")
    assert sets.failures == 0


def test_a_refresh_begins_the_time_again(sets: Sets) -> None:
    sets.put("blocked", [MAC], 10)
    sets.put("blocked", [MAC], 3600)
    assert "02:00:00:00:01:01 timeout 1h" in listed("blocked")
    sets.alive()
    assert "tcp timeout 10s" in listed("alive")
    sets.stopped()
    assert not elements("alive")


def test_one_that_is_refused_does_not_keep_others_out(sets: Sets, log: list[str]) -> None:
    """A set is full: of a transaction nothing would be made."""
    sets.put("blocked", [(0x06 << 40 | n).to_bytes(6, "big") for n in range(DEVICES)], 60)
    assert len(elements("blocked")) == DEVICES
    sets.put("blocked", [MAC, OTHER], 60)
    assert len(elements("blocked")) == DEVICES
    assert sets.failures == 2
    assert len(log) == 1
    sets.add_connection("content", key(*IPV4))
    sets._later(True, ("blocked", MAC), 60)
    sets.add_connection("refused", key(*IPV6))
    assert sets.flush() == "Too many open files in system"  # ENFILE: the set is full
    assert sets.flush() is None
    assert "192.168.1.101" in listed("content4")
    assert "2001:db8:1::101" in listed("refused6")


def test_without_a_ruleset_only_a_release_raises(sets: Sets, log: list[str]) -> None:
    nftables.remove()
    sets.alive()
    with pytest.raises(nftables.KernelError):
        sets.release(MAC)
    sets.put("blocked", [MAC], 60)
    sets.add_connection("content", key(*IPV4))
    sets.forget_pairs()
    for port in range(1000, 1300):  # so many that they are not all kept until they are asked about
        sets.add_connection("ends", key(*IPV4, port=port))
    assert sets.flush() == "No such file or directory"
    sets.flush()
    assert sets.failures
    assert log == []  # whoever watches the ruleset says so


def test_many_changes_do_not_wait_without_bound(sets: Sets) -> None:
    for port in range(1000, 2000):
        sets.add_connection("ends", key(*IPV4, port=port))
    assert len(elements("ends4")) >= 700
    sets.flush()
    assert len(elements("ends4")) == 1000
