"""Prefixes of NAT64 in Router Advertisements: what is read, how long it counts, and which senders are accepted."""

from __future__ import annotations

import random
import select
import time
from ipaddress import IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.home.router_advertisements import MESSAGES_PER_S, MOST, TURN, Advertisements
from cpe_filter.inspect.nat64 import LENGTHS, announced
from cpe_filter.lean import plain_socket
from tests.lab import advertise
from tests.lab.advertise import SOURCE_ADDRESS, advertisement, message, pref64
from tests.lab.net import PYTHON, Filter, Lab

EXAMPLES = ("2001:db8:64::/96", "2001:db8:64:1::/64", "2001:db8:64:ab00::/56", "2001:db8:64::/48", "2001:db8:6400::/40")
PREFIXES = tuple(map(IPv6Network, (*EXAMPLES, "2001:db8::/32")))


# ── a message ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("prefix", PREFIXES, ids=str)
@pytest.mark.parametrize("lifetime_s", [0, 8, 1800, 65528])
def test_each_length_and_lifetime(prefix: IPv6Network, lifetime_s: int) -> None:
    assert announced(message(pref64(str(prefix), lifetime_s))) == [(prefix, lifetime_s)]


def test_several_among_other_options() -> None:
    options = [SOURCE_ADDRESS, *(pref64(str(prefix), 8 * n) for n, prefix in enumerate(PREFIXES)), SOURCE_ADDRESS]
    assert announced(message(*options)) == [(prefix, 8 * n) for n, prefix in enumerate(PREFIXES)]
    assert announced(message(SOURCE_ADDRESS)) == announced(message()) == []


def test_bits_behind_the_prefix_do_not_count() -> None:
    option = pref64("2001:db8:64::/48")[:-1] + b"\1"
    assert announced(message(option)) == [(IPv6Network("2001:db8:64::/48"), 1800)]


@pytest.mark.parametrize("code", [6, 7])
def test_a_length_code_that_is_not_assigned(code: int) -> None:
    assert announced(message(pref64("2001:db8:64::/96", code=code), pref64("2001:db8::/32"))) == [
        (IPv6Network("2001:db8::/32"), 1800)
    ]


def test_a_prefix_whose_bits_64_to_71_are_not_zero() -> None:
    """RFC 6052 section 2.2: no address behind such a prefix is valid."""
    assert announced(message(pref64("2001:db8:64::100:0:0:0/96"))) == []


@pytest.mark.parametrize("length", [0, 1, 3, 255])
def test_an_option_of_another_length(length: int) -> None:
    """It is skipped by its length; without one, or with one past the end, the message is discarded."""
    whole = pref64("2001:db8:64::/96", length=length)
    assert announced(message(whole)) == []
    if length == 3:
        assert announced(message(whole, bytes(8), pref64("2001:db8::/32"))) == [(IPv6Network("2001:db8::/32"), 1800)]
    if length in (0, 255):
        assert announced(message(pref64("2001:db8::/32"), whole, pref64("2001:db8::/32"))) == []


def test_a_message_that_is_cut_anywhere() -> None:
    whole = message(SOURCE_ADDRESS, pref64("2001:db8:64::/96"), pref64("2001:db8::/32"))
    found = {length: len(announced(whole[:length])) for length in range(len(whole) + 1)}
    assert {length: count for length, count in found.items() if count} == {40: 1, 56: 2}


def test_other_types_of_icmpv6() -> None:
    for kind, code in ((133, 0), (135, 0), (128, 0), (134, 1)):
        assert announced(message(pref64("2001:db8:64::/96"), kind=kind, code=code)) == []


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.lists(st.sampled_from([pref64(str(each)) for each in PREFIXES]), max_size=3))
def test_any_bytes_are_read(data: bytes, options: list[bytes]) -> None:
    for bytes_ in (data, message(*options, data), message(data, *options), message(*options, bytes([38, 2]) + data)):
        for prefix, lifetime_s in announced(bytes_):
            assert prefix.prefixlen in LENGTHS
            assert lifetime_s in range(0, 65536, 8)


# ── what counts, and how long ───────────────────────────────────────────────────────────────────────


def unheard() -> Advertisements:
    """Without a socket: messages are handed over."""
    return Advertisements(("wan",), ("br-lan",), select.poll(), lambda text: None, retry_s=float("inf"))


def at(heard: Advertisements, time: float) -> tuple[IPv6Network, ...]:
    heard._next_try = float("inf")
    heard.tick(time)
    return heard.prefixes()


def test_lifetimes() -> None:
    heard = unheard()
    at(heard, 100)
    heard.take(message(pref64("2001:db8:64::/96", 80), pref64("2001:db8::/32", 800)))
    both = heard.prefixes()
    assert set(map(str, both)) == {"2001:db8:64::/96", "2001:db8::/32"}
    assert at(heard, 179) == both
    heard.take(message(pref64("2001:db8:64::/96", 80)))  # once more: from now on
    assert at(heard, 258) == both
    assert at(heard, 259) == both[1:]
    heard.take(message(pref64("2001:db8::/32", 0)))
    assert heard.prefixes() == ()
    heard.take(message(pref64("2001:db8::/32", 0)))


def test_a_bound() -> None:
    heard = unheard()
    at(heard, 0)
    for number in range(40):
        heard.take(message(*(pref64(f"2001:db8:{number:x}:{n:x}::/96", 80 + 8 * n) for n in range(20))))
        assert len(heard.prefixes()) <= MOST
    first = heard.prefixes()
    assert first == tuple(IPv6Network(f"2001:db8:0:{n:x}::/96") for n in range(MOST))
    assert len(at(heard, 88)) == MOST - 2  # there is room again
    heard.take(message(pref64("2001:db8::/32")))
    assert heard.prefixes()[-1] == IPv6Network("2001:db8::/32")


def test_random_messages_stay_in_the_bound() -> None:
    heard, dice = unheard(), random.Random(8781)
    for now in range(3000):
        at(heard, now)
        options = [bytes([38, 2]) + dice.randbytes(14) for _ in range(dice.randrange(4))]
        heard.take(message(*options, dice.randbytes(dice.randrange(9))))
        assert len(heard.prefixes()) <= MOST


# ── which senders are accepted ──────────────────────────────────────────────────────────────────────

MONITOR = '[filter]\nmode = "monitor"\n'
NET = "2001:db8:100::/48"
SAID = f"NAT64 prefix {NET} found"


@pytest.fixture
def watched(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Advertisements:
    """Heard on the lab's router."""
    from tests.lab.netns import inside

    log: list[str] = []
    heard = Advertisements(("wan",), ("br-lan",), select.poll(), log.append)
    with inside(lab.namespace("router")):
        heard.tick(time.monotonic())
    assert log == []
    # Names of interfaces are the router's.
    by_number = {}
    for line in lab.run("router", ["ip", "-o", "link"]).stdout.splitlines():
        number, name = line.split(": ")[:2]
        by_number[int(number)] = name.partition("@")[0]
    monkeypatch.setattr(plain_socket, "if_indextoname", lambda number: by_number[number])
    return heard


def heard_now(heard: Advertisements) -> list[str]:
    poll = heard._poll
    time.sleep(0.05)
    while poll.poll(50):
        heard.serve()
    return [str(prefix) for prefix in heard.prefixes()]


@pytest.mark.live
def test_only_a_router_of_the_wan_s_link_is_heard(lab: Lab, watched: Advertisements) -> None:
    option = pref64(NET)
    for packet in (
        advertisement(option, hop_limit=254),
        advertisement(option, source="2001:db8:2::fe"),
        advertisement(option, wrong_checksum=True),
        advertisement(pref64(NET, length=0)),
    ):
        advertise.advertise(lab, packet)
        assert heard_now(watched) == []
    for host, interface in (("device1", "eth0"), ("router", "br-lan")):
        advertise.advertise(lab, advertisement(option), host, interface)
        assert heard_now(watched) == []
    advertise.advertise(lab, advertisement(SOURCE_ADDRESS, option))
    assert heard_now(watched) == [NET]
    advertise.advertise(lab, advertisement(pref64(NET, 0)))
    assert heard_now(watched) == []
    # As the answer to a solicitation, to the router alone.
    (own,) = [
        words[1].partition("/")[0]
        for line in lab.run("router", ["ip", "-6", "-br", "addr", "show", "dev", "wan", "scope", "link"]).stdout.split()
        for words in [("", line)]
        if line.startswith("fe80")
    ]
    advertise.advertise(lab, advertisement(option, to=own))
    assert heard_now(watched) == [NET]
    watched.close()
    assert watched.fd == -1


@pytest.mark.live
def test_a_flood_of_the_lan_does_not_drown_the_wan(lab: Lab, watched: Advertisements) -> None:
    """It does not reach us: the kernel drops it before the socket's buffer."""
    for _ in range(300):
        advertise.advertise(lab, advertisement(*[pref64(NET)] * 80), "device1", "eth0")
    advertise.advertise(lab, advertisement(pref64("2001:db8:64::/96")))
    assert heard_now(watched) == ["2001:db8:64::/96"]
    assert watched._left == MESSAGES_PER_S - 1
    watched.close()


@pytest.mark.live
def test_a_flood_of_the_wan_has_its_share(lab: Lab, watched: Advertisements) -> None:
    for _ in range(3 * MESSAGES_PER_S):
        advertise.advertise(lab, advertisement(pref64(NET)))
    time.sleep(0.05)
    watched.serve()
    assert watched._left == MESSAGES_PER_S - TURN
    heard_now(watched)
    assert watched._left == 0
    assert watched._poll.poll(0) == []  # what waits does not wake us
    watched.tick(time.monotonic())
    assert watched._poll.poll(0)
    heard_now(watched)
    watched.close()
    assert watched._poll.poll(0) == []


def test_without_the_right_it_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*about: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    log: list[str] = []
    heard = Advertisements(("wan",), (), select.poll(), log.append, retry_s=1)
    monkeypatch.setattr(plain_socket, "socket", refused)
    for now in range(5):
        heard.tick(now)
        heard.serve()
    assert log == ["NAT64 prefixes in Router Advertisements are not read: that needs the capability CAP_NET_RAW"]
    heard.close()


# ── with the filter ─────────────────────────────────────────────────────────────────────────────────


def networks(lab: Lab, running: Filter, device: str) -> int:
    """Networks that a device has met after two mails to servers of one /48, which is a prefix of NAT64 or is not."""
    for server in ("2001:db8:100:1::25", "2001:db8:100:2::25"):
        lab.run(device, [PYTHON, "-m", "tests.lab.send", server])
    found = running.device(device)
    assert found is not None
    return int(found["networks"])


@pytest.mark.live
def test_servers_behind_an_announced_prefix_count_by_their_ipv4_addresses(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(MONITOR))
    advertise.advertise(lab, advertisement(pref64(NET)), "device1", "eth0")
    time.sleep(6)  # the filter has looked around
    assert networks(lab, running, "device1") == 1
    assert SAID not in running.log()
    for _ in range(2):
        advertise.advertise(lab, advertisement(pref64(NET)))
    running.wait_for(SAID)
    assert networks(lab, running, "device2") == 2
    assert running.log().count(SAID) == 1
    assert running.log().count(f"NAT64 prefix {NET} is not in [network] nat64: the relays do not pass") == 1
    assert running.status()["failures"] == 0
    assert running.stop() == 0


@pytest.mark.live
def test_what_the_resolver_has_counts_and_covers_nothing(lab: Lab) -> None:
    """The file is the service's; a prefix that was learnt extends no exemption."""
    file = lab.folder / "nat64"
    file.write_text("2001:db8:100:c000:0:aa00::\n")
    text = 'mode = "block"\n[[exempt]]\ndestination = "0.0.0.0/0"\n'
    running = lab.start_filter(lab.policy(f"[filter]\n{text}"))
    running.wait_for(SAID)
    done = lab.run("device1", [PYTHON, "-m", "tests.lab.send", "2001:db8:100:1::25"], check=False)
    assert done.returncode == 1
    running.stop()
    (lab.folder / "flash" / "state").unlink(missing_ok=True)
    running = lab.start_filter(lab.policy(MONITOR))
    assert networks(lab, running, "device2") == 2
    running.stop()
    file.chmod(0o666)
    assert SAID not in lab.start_filter(lab.policy(MONITOR)).log()
