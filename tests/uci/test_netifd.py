"""netifd's dump."""

from __future__ import annotations

import json

import pytest

from cpe_filter.uci.netifd import MOST, Network, origins, parse

#: Of netifd (ubus.c, netifd_dump_status), shortened: a line with DS-Lite.
DUMP = {
    "interface": [
        {
            "interface": "wan6",
            "up": True,
            "pending": False,
            "available": True,
            "autostart": True,
            "dynamic": False,
            "uptime": 20,
            "l3_device": "eth1",
            "proto": "dhcpv6",
            "device": "eth1",
            "metric": 0,
            "ipv6-address": [{"address": "2001:db8::1", "mask": 64}],
            "data": {"zone": "wan", "passthru": "0017"},
        },
        {
            "interface": "wan6_4",
            "up": True,
            "dynamic": True,
            "l3_device": "ds-wan6_4",
            "proto": "dslite",
            "data": {"zone": "wan", "firewall": [{"type": "nat"}]},
        },
        {"interface": "lte", "up": False, "dynamic": False, "proto": "qmi", "data": {}, "errors": [{"code": "NO_SIM"}]},
    ]
}


def test_what_is_read() -> None:
    assert parse(json.dumps(DUMP)) == {
        "wan6": Network("wan6", True, False, "dhcpv6", "eth1", "eth1", "wan"),
        "wan6_4": Network("wan6_4", True, True, "dslite", "", "ds-wan6_4", "wan"),
        "lte": Network("lte", False, False, "qmi"),
    }


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"interface": 7}', '{"interface": [7, {}, {"interface": 7}]}', "[" * 10000]
)
def test_what_is_not_a_dump_is_no_network(text: str) -> None:
    assert parse(text) == {}


def test_fields_of_another_kind_are_left_out() -> None:
    assert parse('{"interface": [{"interface": "a", "up": 1, "l3_device": {}, "data": []}]}') == {"a": Network("a")}


def test_a_long_dump_is_cut() -> None:
    assert len(parse(json.dumps({"interface": [{"interface": str(n)} for n in range(MOST + 9)]}))) == MOST


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("wan6_4", ["wan6"]),
        ("wan_6", ["wan"]),
        ("lte_6_4", ["lte_6", "lte"]),
        ("map1_", ["map1"]),
        ("my_net", []),
        ("wan", []),
        ("_4", []),
    ],
)
def test_origins(name: str, found: list[str]) -> None:
    assert origins(name) == found
