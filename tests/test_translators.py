"""What the kernel's module nat46 tells of its translators."""

from __future__ import annotations

from ipaddress import IPv6Network
from pathlib import Path

from cpe_filter.translators import MOST, prefixes

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
