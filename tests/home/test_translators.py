"""What files name as prefixes of NAT64: the kernel module nat46's, and the resolver's answers."""

from __future__ import annotations

import os
from ipaddress import IPv6Network
from pathlib import Path

from cpe_filter.home.translators import MOST, answers_file, looked_up, prefixes

CLAT = (
    "add 464-wan6_4\n"
    "config 464-wan6_4 local.v4 192.0.0.1/32 local.v6 2001:db8::1/128 local.style NONE local.ea-len 0 "
    "local.psid-offset 0 remote.v4 0.0.0.0/0 remote.v6 2001:db8:64::/96 remote.style RFC6052 remote.ea-len 0 "
    "remote.psid-offset 0 debug 0\n"
)


def test_a_translator_s_prefix(tmp_path: Path) -> None:
    path = tmp_path / "control"
    path.write_text(CLAT)
    assert prefixes(str(path)) == (IPv6Network("2001:db8:64::/96"),)


def test_what_is_no_prefix(tmp_path: Path) -> None:
    path = tmp_path / "control"
    assert prefixes(str(path)) == ()
    for before, after in (("RFC6052", "MAP"), ("/96", "/97"), ("2001:db8:64::", "x"), ("remote.v6 ", "")):
        path.write_text(CLAT.replace(before, after))
        assert prefixes(str(path)) == ()
    path.write_bytes(b"\xff\0remote.style RFC6052 remote.v6")
    assert prefixes(str(path)) == ()


def test_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "control"
    path.write_text("".join(CLAT.replace("db8:64", f"db8:{n}") for n in range(30)))
    assert len(prefixes(str(path))) == MOST


# ── what the resolver has answered ──────────────────────────────────────────────────────────────────


def test_prefixes_in_the_resolver_s_answers(tmp_path: Path) -> None:
    path = tmp_path / "nat64"
    assert looked_up(str(path)) == ()
    path.write_text("2001:db8:64::c000:aa\n2001:db8:64::c000:ab\n 2001:db8:1:c000:0:aa00::\t\n")
    assert looked_up(str(path)) == (IPv6Network("2001:db8:64::/96"), IPv6Network("2001:db8:1::/48"))
    path.write_text("")
    assert looked_up(str(path)) == ()


def test_answers_that_hold_no_prefix(tmp_path: Path) -> None:
    path = tmp_path / "nat64"
    path.write_bytes(b"192.0.0.170\n127.0.0.1:53\n::1\nfe80::1%eth0\n2001:db8::1\n\xff\0\n" + b":" * 20000)
    assert looked_up(str(path)) == ()


def test_answers_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "nat64"
    path.write_text("".join(f"2001:db8:{n:x}::c000:aa\n" for n in range(2000)))
    assert looked_up(str(path)) == tuple(IPv6Network(f"2001:db8:{n:x}::/96") for n in range(MOST))
    path.write_text("\n" * (1 << 14) + "2001:db8::c000:aa\n")
    assert looked_up(str(path)) == ()


def test_answers_that_others_can_have_written(tmp_path: Path) -> None:
    path, link, pipe = tmp_path / "nat64", tmp_path / "link", tmp_path / "pipe"
    path.write_text("2001:db8:64::c000:aa\n")
    link.symlink_to(path)
    os.mkfifo(pipe)
    for each in (link, pipe, tmp_path):
        assert looked_up(str(each)) == ()
    for mode in (0o664, 0o646):
        path.chmod(mode)
        assert looked_up(str(path)) == ()
    path.chmod(0o644)
    assert looked_up(str(path)) != ()
    if os.geteuid() == 0:
        os.chown(path, 12345, 0)
        assert looked_up(str(path)) == ()


def test_the_answers_are_beside_the_status() -> None:
    assert answers_file("/var/run/cpe-filter/status.json") == "/var/run/cpe-filter/nat64"
