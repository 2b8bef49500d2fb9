"""IntelMQ events: the real package's harmonisation takes them."""

from __future__ import annotations

import importlib
import json
from importlib import resources
from ipaddress import ip_network
from typing import Any

import pytest

from cpe_filter.collect.cases.attribution import Held, Source
from cpe_filter.collect.export.intelmq import event
from tests.collect.exported import SOURCE, item
from tests.collect.reports import NOW

message: Any = importlib.import_module("intelmq.lib.message")  # it has no types


def taken(made: Any) -> Any:
    """As IntelMQ's JSON parser makes an event of a line."""
    text = resources.files("intelmq").joinpath("etc/harmonization.conf").read_text()
    return message.MessageFactory.unserialize(json.dumps(made), harmonization=json.loads(text))


def test_event() -> None:
    made = event(item(), "Example ISP")
    found = taken(made)
    assert isinstance(found, message.Event)
    assert found.to_dict(hierarchical=False) == {
        "feed.name": "cpe-filter", "feed.provider": "Example ISP", "classification.taxonomy": "malicious-code",
        "classification.type": "infected-system", "classification.identifier": "spambot",
        "time.source": "2026-11-24T11:59:30+00:00", "time.observation": "2026-11-24T12:00:00+00:00",
        "source.ip": "8.8.1.1", "source.port": 40001, "source.asn": 64500, "source.account": "S1",
        "protocol.transport": "tcp", "protocol.application": "smtp", "destination.port": 25,
        "event_description.text": "A device behind this address sends mail directly to mail servers of strangers.",
        "extra.case": "0123456789abcdef", "extra.incident": "00000000000000aa", "extra.router": "r1",
        "extra.device": "000000000000000a", "extra.state": "open", "extra.action": "explain", "extra.region": "north",
        "extra.contact": "crm:1", "extra.indicators": ["dnsbl-listed", "helo-dynamic"],
        "extra.first_seen": "2026-11-24T11:58:30+00:00", "extra.last_seen": "2026-11-24T11:59:50+00:00",
        "extra.connections": 9, "extra.networks": 8, "extra.recipients": 3, "extra.messages": 1, "extra.refused": 4,
    }  # fmt: skip


def test_what_is_not_known_is_not_there() -> None:
    made = event(item(SOURCE._replace(port=None), {"asn": None, "region": "", "contact": ""}))
    assert isinstance(made, dict)
    assert {"source.port", "source.asn", "extra.region", "extra.contact", "feed.provider"}.isdisjoint(made)
    taken(made)


def test_prefix() -> None:
    found = taken(event(item(Source(ip_network("2a00:8::/56"), 9, NOW))))
    assert found["source.network"] == "2a00:8::/56"
    assert "source.ip" not in found


def test_held_back() -> None:
    assert event(item(Held("unmapped"))) == Held("unmapped")


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "'; DROP TABLE events; --", '"', "\\", "=1+1", "ünï", "{x}"]
)
def test_hostile_text_is_only_text(text: str) -> None:
    of_case = dict.fromkeys(("subscriber", "region", "contact", "router", "dev", "state"), text)
    made = event(item(of_case=of_case, act=text, ind={text: 1}))
    found = taken(made)
    assert (found["source.account"], found["extra.region"], found["extra.indicators"]) == (text, text, [text])


def test_harmonisation_would_refuse() -> None:
    """So that the tests above can fail."""
    for wrong in ({"source.ip": "8.8.8"}, {"source.adress": "8.8.8.8"}, {"classification.type": "spambot"}):
        with pytest.raises((message.exceptions.InvalidKey, message.exceptions.InvalidValue)):
            taken({**dict(event(item())), **wrong})  # type: ignore[arg-type]
