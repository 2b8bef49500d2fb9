"""/etc/config/cpe-filter as tables: odd and hostile values, and the TOML of them."""

from __future__ import annotations

from typing import Any

import pytest

from cpe_filter.policy.file import build
from cpe_filter.policy.model import PolicyError
from cpe_filter.toml_file import parse
from cpe_filter.uci.tables import Tables, UciError, in_ucis_names, toml
from tests.uci.router import section, sections

HOSTILE = (
    *('"', "\\", "'", '\\"', '"""', "'''", "a\nb", '\n[filter]\nmode = "monitor"\n', '"\nmode = "monitor" #'),
    *("\r\n\t\x01\x1f\x7f", "$(touch hit)", "`touch hit`", "${HOME}", "$((1/0))", "; touch hit;", "&& touch hit"),
    *("*", "?", "[a-z]*", "~", "-n", "-e \\x41", "%s%n%d", "#", " ", "  a  b  ", "a=b", "!", "\\u0041"),
    *("é€\U0001f4ee", "\u202eevil", "x" * 3000, "'; config x; '"),
)


def read(*texts: str) -> dict[str, Any]:
    """The tables, which are what TOML's parser makes of their text."""
    data = Tables(sections(*texts)).data
    assert parse(toml(data).encode(), "policy", PolicyError) == data
    return data


def test_hostile_values_stay_values() -> None:
    found = read(
        *(section("exempt", reason=value) for value in HOSTILE),
        *(section("exempt", device=[value]) for value in HOSTILE),
    )
    assert [one.get("reason") for one in found["exempt"][: len(HOSTILE)]] == list(HOSTILE)
    assert [one["device"] for one in found["exempt"][len(HOSTILE) :]] == [[value] for value in HOSTILE]
    assert set(found) == {"exempt"}


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_numbers_dates_and_flags_are_refused(value: str) -> None:
    found = read(
        section("limits", messages_burst=value),
        section("filter", escalate=value),
        section("exempt", device="02:00:00:12:34:56", until=value),
    )
    assert found["limits"] == {"messages_burst": value}
    assert found["filter"] == {"escalate": value}
    assert found["exempt"][0]["until"] == value
    with pytest.raises(PolicyError):
        build(found, "policy")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("7", 7),
        ("65535", 65535),
        ("007", "007"),
        ("-5", "-5"),
        ("9" * 16, "9" * 16),
        ("٣", "٣"),
        ("1.5", "1.5"),
    ],
)
def test_numbers(text: str, value: int | str) -> None:
    assert read(section("limits", messages_burst=text))["limits"]["messages_burst"] == value
    assert read(section("network", ports=[text]))["network"]["ports"] == [value]


@pytest.mark.parametrize(
    "text", ["2027-01-31", "2027-01-31T18:00:00Z", "2027-01-31 18:00:00", "2027-01-31t18:00:00.5+02:00"]
)
def test_dates(text: str) -> None:
    found = read(section("exempt", destination="192.0.2.1", until=text))
    assert build(found, "policy").exempt[0].until is not None


@pytest.mark.parametrize("text", ["2027-13-01", "2027-01-31T25:00:00", "0000-00-00"])
def test_dates_that_there_are_not(text: str) -> None:
    with pytest.raises(UciError, match=r"cpe-filter\.@exempt\[0\]\.until is not a date; allowed"):
        read(section("exempt", until=text))


def test_the_tables_order_and_empty_lists() -> None:
    data = Tables(sections(section("network", leases=[""]), section("filter", mode="block"))).data
    assert toml(data) == '\n[filter]\nmode = "block"\n\n[network]\nleases = []\n'


def test_lan_and_wan_are_kept_apart() -> None:
    found = Tables(sections(section("network", lan="br-lan eth9", wan_network=["wan", "lte"], ports=["25"])))
    assert found.data == {"network": {"ports": [25]}}
    assert found.chosen["lan"] == (("br-lan", "eth9"), ())
    assert found.chosen["wan"] == ((), ("wan", "lte"))


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        ((section("state", state_file="/a\udcff"),), "cpe-filter.state.state_file is not UTF-8 text"),
        ((section("a]b", x="1"),), ": the section's type is unknown"),
        ((section("filter", "a"), section("filter", "b")), "cpe-filter.b: a second section of type filter"),
        ((section("cpe-filter", "x"),), "cpe-filter.x: a section of type cpe-filter is called main"),
        ((section("cpe-filter", "main", enable="1"),), "cpe-filter.main.enable: unknown option; known: enabled"),
        ((section("cpe-filter", "main", enabled=["1"]),), "cpe-filter.main.enabled is a list; expected one value"),
        ((section("cpe-filter", "main", jail="maybe"),), 'cpe-filter.main.jail is "maybe"; allowed: 0, 1, required'),
        ((section("network", lan_network="b;c"),), "cpe-filter.network.lan_network: no network can have such a name"),
    ],
)
def test_mistakes(texts: tuple[str, ...], error: str) -> None:
    with pytest.raises(UciError) as caught:
        Tables(sections(*texts))
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("error", "place"),
    [
        ("[limits] messages_burst is 0; allowed", "cpe-filter.limits.messages_burst is 0; allowed"),
        ('[filter] unknown key "mod"; did', 'cpe-filter.filter: unknown key "mod"; did'),
        ('[[exempt]] number 2 device is "x"', 'cpe-filter.@exempt[1].device is "x"'),
        ("[[exempt]] number 1 exempts every device", "cpe-filter.@exempt[0]: exempts every device"),
        ('unknown table or key "limit"', 'cpe-filter: unknown table or key "limit"'),
    ],
)
def test_errors_have_ucis_names(error: str, place: str) -> None:
    assert in_ucis_names(error) == place
