"""Marks of other programs, on packets and in conntrack: they mean nothing to the filter, and it leaves them alone.

Firewalls, QoS, multi-WAN and others all mark with bits of their own choice, at hooks and priorities of their own.
"""

from __future__ import annotations

import pytest

from tests.attacks.home import (
    ControlError,
    Home,
    block,
    control,
    counter,
    deliver,
    must_hold,
    nothing_leaves,
    policy,
    relay,
    server,
)
from tests.attacks.variants import ALL, FAILS, FAMILIES, RESPONDER, variants
from tests.lab.net import mx4, mx6

pytestmark = pytest.mark.live

MARKS = {
    "an IPS's": 0x04000000,
    "DSCP LE": 0x05000000,
    "DSCP EF": 0xB8000000,
    "mwan3's": 0x3F00,
    "pbr's": 0x00FF0000,
    "zapret's": 0x40000000,
    "zapret's other": 0x20000000,
    "four bits": 0x0F000000,
    "all bits": 0xFFFFFFFF,
} | ({f"bit {n}": 1 << n for n in range(32)} if ALL else {})
#: Hook and priority. Conntrack comes at -200, destination NAT at -100, source NAT at 100.
PLACES = {
    "first of all": ("prerouting", -300),
    "behind conntrack": ("prerouting", -160),
    "mangle": ("prerouting", -150),
    "behind NAT": ("prerouting", -50),
    "prerouting's end": ("prerouting", 300),
    "forward": ("forward", -150),
    "behind the firewall": ("forward", 10),
    "forward's end": ("forward", 300),
    "postrouting mangle": ("postrouting", -150),
    "postrouting": ("postrouting", 50),
    "last of all": ("postrouting", 300),
}
TRIED = (
    PLACES
    if ALL
    else ("first of all", "behind conntrack", "behind NAT", "forward", "behind the firewall", "last of all")
)
SEEN = (
    "table inet witness\ndelete table inet witness\n"
    "table inet witness {{ counter kept {{ }}; counter lost {{ }}; chain last {{ "
    "type filter hook postrouting priority 310; oifname != wan return; tcp dport != 25 return; "
    # Not what the router answers itself: to a server's late packet of a connection that it has forgotten.
    'iifname != "br-lan" return; '
    "{what} mark & {mark:#x} == {mark:#x} counter name kept return; counter name lost; }}; }}"
)


def marking(what: str, mark: int, place: str, only: str = "tcp dport { 25, 8080 }") -> str:
    """A foreign table that sets these bits on mail and web traffic. what: meta (the packet's mark) or ct."""
    hook, priority = PLACES[place]
    if what == "ct" and (hook, priority) == ("prerouting", -300):
        priority = -199  # there is no connection earlier
    value = f"{what} mark or {mark:#x}" if mark != 0xFFFFFFFF else "0xffffffff"
    return (
        f"table inet foreign {{ chain c {{ type filter hook {hook} priority {priority}; "
        f"{only} {what} mark set {value}; }}; }}"
    )


def run_beside(home: Home, foreign: str, when: str, mode: str) -> None:
    """Starts the filter, with foreign rules loaded `before` it or `after`."""
    home.clean()
    if when == "before":
        home.lab.nft("router", foreign)
    home.run(policy(mode, text=EXEMPT), clean=False)
    if when == "after":
        home.lab.nft("router", foreign)


def lives_as_without(home: Home, mode: str, family: str) -> None:
    """Asserts that web and mail do what they do without foreign marks, twice."""
    for _ in range(2):
        assert home.web() == "page"
        assert home.mail(relay(family)) == "sent"
        if mode == "block":
            assert home.mail(server(family, 10)) == "sent", "exempt"
            assert home.mail(server(family)) != "sent"
        else:
            assert home.mail(server(family)) == "sent"


EXEMPT = f'[[exempt]]\ndestination = "{mx4(10)}"\n[[exempt]]\ndestination = "{mx6(10)}"\n'


@variants(
    # An intrusion prevention system's mark, which once was a verdict of ours; and every bit there is.
    also=[
        ("an IPS's", "behind conntrack", "meta", "before", "monitor", "IPv4"),
        ("all bits", "behind the firewall", "meta", "after", "monitor", "IPv6"),
        ("all bits", "behind conntrack", "meta", "before", "block", "IPv4"),
    ],
    pairs=True,
    mark=MARKS,
    place=TRIED,
    what=("meta", "ct"),
    when=("before", "after"),
    mode=("monitor", "limit", "block") if ALL else ("monitor", "block"),
    family=FAMILIES,
)
def test_foreign_marks_change_nothing_and_stay(
    home: Home, mark: str, place: str, what: str, when: str, mode: str, family: str
) -> None:
    bits = MARKS[mark]
    foreign = marking(what, bits, place) + "\n" + SEEN.format(what=what, mark=bits)
    run_beside(home, foreign, when, mode)
    lives_as_without(home, mode, family)
    kept, lost = (counter(home.lab, "router", "witness", name) for name in ("kept", "lost"))
    if not kept + lost:
        raise ControlError("no mail passed by the witness")
    assert lost == 0, f"{lost} of {kept + lost} packets of mail have lost the foreign mark"
    assert not home.judged(), home.filter.log()


@variants(class_=("LE", "EF"), mode=("monitor", "block"), when=("before", "after"), family=FAMILIES)
def test_dscp_kept_in_conntrack_and_restored(home: Home, class_: str, mode: str, when: str, family: str) -> None:
    """As tc-ctinfo(8) and OpenWrt's savedscp do: DSCP in the upper bits of the connection's mark, and back."""
    value = {"LE": 0x05000000, "EF": 0xB9000000}[class_]
    foreign = (
        "table inet qos { counter restored { }; "
        "chain save { type filter hook postrouting priority mangle; "
        f"tcp dport {{ 25, 8080 }} ct mark set ct mark and 0x02ffffff or {value:#x}; }}; "
        "chain restore { type filter hook prerouting priority -160; "
        "ct mark and 0xfd000000 != 0 counter name restored meta mark set ct mark; }; }"
    )
    run_beside(home, foreign, when, mode)
    lives_as_without(home, mode, family)
    if not counter(home.lab, "router", "qos", "restored"):
        raise ControlError("no mark was restored")
    assert not home.judged(), home.filter.log()


@variants(pairs=True, mark=MARKS, place=TRIED, what=("meta", "ct"), fail=FAILS, responder=RESPONDER, family=FAMILIES)
def test_foreign_marks_admit_nothing(
    home: Home, unfiltered: Home, mark: str, place: str, what: str, fail: str, responder: str, family: str
) -> None:
    """Mode block: a client may cause marks, by DSCP for one. None of them opens."""

    def attack(home: Home) -> None:
        home.lab.nft("router", marking(what, MARKS[mark], place))
        connection = home.connection(family)
        for _ in range(3):
            if connection.open(0.3):
                deliver(connection)
                return

    must_hold(home, unfiltered, attack, fail, responder)


@variants(fail=FAILS, responder=RESPONDER)
def test_mail_that_conntrack_does_not_track(home: Home, unfiltered: Home, fail: str, responder: str) -> None:
    """A foreign `notrack` for mail; by IPv6, which needs no NAT."""
    untracked = (
        "table inet foreign { chain c { type filter hook prerouting priority -300; "
        "tcp dport 25 notrack; tcp sport 25 notrack; }; }"
    )

    def attack(home: Home) -> None:
        home.lab.nft("router", untracked)
        connection = home.connection("IPv6")
        for _ in range(3):
            if connection.open(0.3):
                deliver(connection)
                return

    must_hold(home, unfiltered, attack, fail, responder)


def test_a_convicted_device_stays_refused_under_any_mark(home: Home, unfiltered: Home) -> None:
    from tests.lab.mail import bot

    def attack(home: Home) -> None:
        for place in ("behind conntrack", "forward", "postrouting"):
            for what in ("meta", "ct"):
                home.lab.nft(
                    "router",
                    "table inet foreign\ndelete table inet foreign\n" + marking(what, 0xFFFFFFFF, place),
                )
                connection = home.connection("IPv4", 100)
                if connection.open(0.3):
                    deliver(connection)

    control(unfiltered, attack, 6)
    home.run(policy("monitor"))
    bot(home.lab, "--count", "16")
    home.filter.wait_for("compromised")
    bot(home.lab, "--count", "1", "--first", "50")
    home.count_from_now()
    attack(home)
    nothing_leaves(home)
    assert home.filter.process.poll() is None


def test_block_without_foreign_marks_is_what_they_are_compared_with(home: Home) -> None:
    home.run(block("open", EXEMPT))
    for family in FAMILIES:
        lives_as_without(home, "block", family)
    assert not home.judged(), home.filter.log()
