"""An ISP's tables over a router's: what wins, and what a document may not set."""

from __future__ import annotations

import pytest

from cpe_filter.policy.keys import AT_START, KEYS
from cpe_filter.provision.overlay import SETTABLE, OverlayError, is_local, merged

BASE = {
    "filter": {"mode": "block", "queue": 7},
    "network": {"lan": ["br-lan"], "wan": ["wan"], "relays": ["192.0.2.1"]},
    "exempt": [{"device": "02:00:00:00:00:01", "reason": "own"}],
}


def test_key_by_key() -> None:
    content = {"filter": {"mode": "monitor"}, "limits": {"messages_per_hour": 5}, "exempt": [{"reason": "ISP's"}]}
    result = merged(BASE, content)
    assert result["filter"] == {"mode": "monitor", "queue": 7}
    assert result["limits"] == {"messages_per_hour": 5}
    assert result["network"] == BASE["network"]
    assert [one["reason"] for one in result["exempt"]] == ["own", "ISP's"]
    assert BASE["filter"] == {"mode": "block", "queue": 7}


@pytest.mark.parametrize("key", [key for key in KEYS if is_local(key)], ids=lambda key: f"{key.table}-{key.name}")
def test_what_belongs_to_the_router(key: object) -> None:
    with pytest.raises(OverlayError, match=f"\\[{key.table}\\] {key.name} belongs to the router"):  # type: ignore[attr-defined]
        merged(BASE, {key.table: {key.name: "x"}})  # type: ignore[attr-defined]


def test_nothing_that_is_settable_names_a_file_an_interface_or_an_address_of_the_collector() -> None:
    names = {f"{key.table}.{key.name}" for key in SETTABLE}
    assert {
        "filter.mode",
        "filter.escalate",
        "network.relays",
        "limits.messages_per_hour",
        "notice.quarantine",
    } <= names
    assert not names & {"network.lan", "network.wan", "report.url", "report.ca", "notice.page", "status.status_file"}
    assert not set(SETTABLE) & set(AT_START)


def test_no_table() -> None:
    with pytest.raises(OverlayError, match="filter is not a table"):
        merged(BASE, {"filter": 3})
