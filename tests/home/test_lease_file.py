"""The formats of lease files: what is read, and what a client can make a server write."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cpe_filter.detect.mac_rotation import Lease
from cpe_filter.home.lease_file import MAX_LEASES, NAME_LENGTH, clean, parse

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


# ── odhcpd's names ──────────────────────────────────────────────────────────────────────────────────

UNTIL = 1790043200
TV = bytes.fromhex("021122334455")
VICTIM = bytes.fromhex("02deadbeef01")


def v4(name: str, mac: bytes = TV, address: str = "192.168.1.10", until: int = UNTIL, interface: str = "br-lan") -> str:
    """A line as odhcpd of 23.05 and 24.10 writes it, whatever the name is."""
    is_valid = name == "-" or (name.isascii() and name.isalnum())
    mark, assigned = "" if is_valid else "broken\\x20", packed(address)[0].hex()
    return f"# {interface} {mac.hex()} ipv4 {mark}{name} {until} {assigned} 32 {address}/32\n"


def v6(name: str, duid: str = "000300010211223344aa", addresses: str = " 2001:db8::10/128", until: int = UNTIL) -> str:
    return f"# br-lan {duid} 1 broken\\x20{name} {until} 10 128{addresses}\n"


AFTER = v4("phone", bytes.fromhex("020000000900"), "192.168.1.200")
PHONE = Lease(bytes.fromhex("020000000900"), packed("192.168.1.200"), "phone", b"", float(UNTIL))


def leases(text: str) -> list[Lease]:
    return parse(text.encode("latin-1"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Living Room TV", "Living?Room?TV"),
        (" TV", "?TV"),
        ("TV ", "TV?"),
        ("a  b", "a??b"),
        ("Anna's iPad", "Anna?s?iPad"),
        ("tv\tx\r", "tv?x?"),
        ("caf\xc3\xa9 2", "caf???2"),
        ("Anna\\x27s\\x20iPad", "Anna?27s?20iPad"),
        ("x" * 200 + " y", "x" * NAME_LENGTH),
        ("5 6 7 8 9", "5?6?7?8?9"),
        (f"x {UNTIL} c0a80163 32 192.168.1.99/32", "x?1790043200?c0a80163?32?192.168.1.99?32"),
        ("", ""),
        (" ", "?"),
    ],
)
def test_odd_names(name: str, shown: str) -> None:
    assert leases(v4(name) + AFTER) == [Lease(TV, packed("192.168.1.10"), shown, b"", float(UNTIL)), PHONE]
    duid = bytes.fromhex("000300010211223344aa")
    assert leases(v6(name) + AFTER) == [Lease(b"", packed("2001:db8::10"), shown, duid, float(UNTIL)), PHONE]


def test_names_with_words_before_the_address_of_several_addresses() -> None:
    text = v6(f"x {UNTIL} 10 128 2001:db8::bad/128", addresses=" 2001:db8::10/128 fd00::10/128 2001:db8:1::/62")
    (lease,) = leases(text)
    assert lease.addresses == packed("2001:db8::10", "fd00::10", "2001:db8:1::")
    (lease,) = leases(v6("My PC", addresses=""))
    assert (lease.name, lease.addresses) == ("My?PC", ())


FORGED = f"# br-lan {VICTIM.hex()} ipv4 victim {UNTIL} c0a80114 32 192.168.1.20/32"
FORGED_V6 = f"# br-lan 0003000102deadbeef01 1 victim {UNTIL} 20 128 2001:db8::20/128"
FORGED_DNSMASQ = f"{UNTIL} 02:de:ad:be:ef:01 192.168.1.20 victim *"


@pytest.mark.parametrize("forged", [FORGED, FORGED_V6, FORGED_DNSMASQ, f"{FORGED}\n{FORGED_DNSMASQ}"])
@pytest.mark.parametrize("begin", ["evil\n", "\n", "e vil\nx\n", f"a b {UNTIL} c0a80109 32 192.168.1.9/32\n"])
@pytest.mark.parametrize("end", ["\nx", "", "\n", "\n# br-lan", "\n\n\n"])
def test_no_lease_is_forged_by_a_line_break(begin: str, forged: str, end: str) -> None:
    """The one with the name is still read, with its own address, and so is what follows."""
    found = leases(v4(begin + forged + end) + AFTER)
    assert [(lease.hwaddr, lease.addresses) for lease in found] == [(TV, packed("192.168.1.10")), PHONE[:2]]
    if forged is not FORGED_DNSMASQ or not begin.startswith("a b"):  # a line of dnsmasq has no tail of its own
        found = leases(v6(begin.replace("32 192.168.1.9/32", "128 2001:db8::9/128") + forged + end) + AFTER)
        assert VICTIM not in {lease.hwaddr for lease in found}


def test_the_beginning_of_another_line_in_a_name() -> None:
    head = f"# br-lan {VICTIM.hex()} ipv4 victim"
    assert [lease.hwaddr for lease in leases(v4(f"evil\n{head}") + AFTER)] == [TV, PHONE.hwaddr]
    for own in ("192.168.1.10", "192.168.1.99"):  # the client ends its own line: out of order for odhcpd
        text = v4(f"a b {UNTIL} {packed(own)[0].hex()} 32 {own}/32\n{head}") + AFTER
        assert [(lease.hwaddr, lease.addresses) for lease in leases(text)] == [
            (TV, packed("192.168.1.10")),
            PHONE[:2],
        ]


def test_what_may_be_forged_replaces_no_other_lease() -> None:
    """In order, so it cannot be told from a lease; the one that the MAC has elsewhere in the file counts."""
    begin = f"a b {UNTIL} c0a80109 32 192.168.1.9/32\n# br-lan {VICTIM.hex()} ipv4 forged"
    real = v4("real", VICTIM, "192.168.1.30")
    padding = "".join(v4(f"host{n}", bytes([2, 0, 0, 0, 9, n]), f"192.168.1.{20 + n}") for n in range(5))
    found = leases(v4(begin) + padding + real)
    assert [(lease.name, lease.addresses) for lease in found if lease.hwaddr == VICTIM] == [
        ("real", packed("192.168.1.30"))
    ]
    assert len(found) == 1 + 5 + 1


def test_what_follows_an_odd_name_is_read() -> None:
    """Neighbours of a television with a name of spaces lose nothing, on this interface or another."""
    text = v4("Living Room TV") + v4("b c", VICTIM, "192.168.1.11") + "192.168.1.12\tprinter.lan\tprinter\n"
    text += v4("printer", MAC, "192.168.1.12") + v6("d e") + v4("guest", PHONE.hwaddr, "192.168.0.2", interface="br-g")
    assert [lease.name for lease in leases(text)] == ["Living?Room?TV", "b?c", "printer", "d?e", "guest"]


def test_a_name_without_an_end() -> None:
    """Longer than a name can be: the lease is lost, and what follows is read."""
    for filler in ("x\n" * 200, "x" * 300 + "\n"):
        assert leases(f"# br-lan {TV.hex()} ipv4 broken\\x20evil\n{filler}{AFTER}") == [PHONE]
    assert leases(f"# br-lan {TV.hex()} ipv4 evil\n{AFTER}") == [PHONE]  # not marked: not odhcpd's


# ── times, ends, sizes ──────────────────────────────────────────────────────────────────────────────


def test_leases_that_do_not_end_and_expired_ones() -> None:
    assert [lease.expires for lease in leases(v4("a", until=-1) + v4("b", VICTIM, "192.168.1.11", 0))] == [0.0, 1.0]
    assert [lease.expires for lease in leases(v6("a", until=-1) + v6("b", "000300010211223344ab", until=0))] == [0, 0]
    assert [lease.expires for lease in leases("0 02:00:00:00:01:01 192.168.1.1 a *\n")] == [0.0]
    assert leases("-1 02:00:00:00:01:01 192.168.1.1 a *\n") == []


def test_lengths_in_place_of_times() -> None:
    """HAVE_BROKEN_RTC; the last one does not end."""
    text = "43200 02:00:00:00:01:01 192.168.1.1 a *\n4294967295 02:00:00:00:01:02 192.168.1.2 b *\n"
    assert [(lease.expires, lease.length) for lease in leases(text)] == [(0.0, 43200.0), (0.0, 0.0)]


@pytest.mark.parametrize("text", [DNSMASQ, ODHCPD, v4("Living Room TV") + v6("a b"), DNSMASQ + ODHCPD])
def test_cut_anywhere_a_line_gives_nothing_wrong(text: str) -> None:
    """As while dnsmasq writes. A client identifier may be missing; nothing else is there that is not in the whole."""
    whole = {(lease.hwaddr, lease.name, lease.expires) for lease in leases(text)}
    for end in range(len(text)):
        for lease in leases(text[:end]):
            assert (lease.hwaddr, lease.name, lease.expires) in whole
            known = [one for one in leases(text) if (one.hwaddr, one.name) == (lease.hwaddr, lease.name)]
            assert any(set(lease.addresses) <= set(one.addresses) for one in known)
            assert lease.client_id in (b"", *(one.client_id for one in known))


def test_both_formats_in_one_file() -> None:
    expected = parse(DNSMASQ.encode()) + parse(ODHCPD.encode())
    assert parse((DNSMASQ + ODHCPD).encode()) == expected
    assert sorted(parse((ODHCPD + DNSMASQ).encode())) == sorted(expected)


def test_long_lines_are_skipped() -> None:
    assert leases("# " * 100_000 + "\n" + v4("x" * 5000) + AFTER) == [PHONE]
