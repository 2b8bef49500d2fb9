"""XARF reports: the package's schemas take them, and our own checks refuse what the schemas would let through."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xarf import SchemaValidator

from cpe_filter.collect.cases.attribution import Held, Source
from cpe_filter.collect.export.xarf import Reporter, XarfError, check, report, report_id
from cpe_filter.detect.evidence import INDICATORS
from tests.collect.exported import SOURCE, item
from tests.collect.reports import NOW

REPORTER = Reporter("Example ISP", "abuse@isp.example", "isp.example")


def made(**more: Any) -> dict[str, Any]:
    found = report(item(**more), REPORTER)
    assert isinstance(found, dict)
    return found


def test_report() -> None:
    found = made()
    assert SchemaValidator().validate(found) == []
    evidence = found.pop("evidence")[0]
    payload = base64.b64decode(evidence["payload"], validate=True)
    assert evidence["hash"] == f"sha256:{hashlib.sha256(payload).hexdigest()}"
    assert evidence["size"] == len(payload)
    assert json.loads(payload)["indicators"] == {"helo-dynamic": 9, "dnsbl-listed": 2}
    assert "HELO looks like a dynamic pool" in found.pop("compromise_evidence")
    who = {"org": "Example ISP", "contact": "abuse@isp.example", "domain": "isp.example"}
    assert found == {
        "xarf_version": "4.2.0", "report_id": report_id(item()), "timestamp": "2026-11-24T11:59:30Z", "reporter": who,
        "sender": who, "source_identifier": "8.8.1.1", "source_port": 40001, "category": "infrastructure",
        "type": "botnet", "evidence_source": "traffic_analysis", "bot_capabilities": ["spam"],
        "description": "A device behind this address sends mail directly to mail servers of strangers.",
        "tags": ["case:0123456789abcdef", "indicator:dnsbl-listed", "indicator:helo-dynamic"],
    }  # fmt: skip


def test_nobody_is_named() -> None:
    """Neither subscriber, contact nor device, and not the name that it gives itself."""
    found = made(of_case={"subscriber": "SUB-77", "contact": "crm:abc", "dev": "feedfeedfeedfeed"}, name="annas-tv")
    payload = base64.b64decode(found["evidence"][0]["payload"]).decode()
    for word in ("SUB-77", "crm:abc", "feedfeedfeedfeed", "annas-tv", "192.0.2.7", "r1"):
        assert word not in json.dumps(found) + payload


def test_same_incident_same_id() -> None:
    assert report_id(item()) == report_id(item(conns=99, of_case={"id": "other"}))
    assert len({report_id(item()), report_id(item(id="b")), report_id(item(of_case={"router": "r2"}))}) == 3
    assert uuid.UUID(report_id(item())).version == 4


def test_port_and_confidence_only_where_known() -> None:
    assert "source_port" not in made(source=SOURCE._replace(port=None))
    assert "confidence" not in made()
    found = report(item(), REPORTER._replace(confidence=0.9))
    assert isinstance(found, dict)
    assert found["confidence"] == 0.9


def test_held_back() -> None:
    assert report(item(source=Held("unmapped")), REPORTER) == Held("unmapped")
    prefix = Source(ip_network("2a00:8::/56"), 9, NOW)
    assert report(item(source=prefix), REPORTER) == Held("prefix-only")
    alone = Source(ip_network("2a00:8::1/128"), 9, NOW)
    assert made(source=alone)["source_identifier"] == "2a00:8::1"


@pytest.mark.parametrize("address", ["192.168.1.1", "100.64.0.9", "192.0.2.1", "127.0.0.1", "fe80::1", "fd00::1", "::"])
def test_address_that_is_not_public(address: str) -> None:
    with pytest.raises(XarfError, match="not a public address"):
        made(source=Source(ip_address(address), 9, NOW))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("timestamp", "yesterday", "timestamp"),
        ("timestamp", "2026-11-24T12:00:00", "timestamp"),
        ("timestamp", "2026-11-24 12:00:00Z", "timestamp"),
        ("timestamp", 5, "timestamp"),
        ("source_identifier", "example.com", "source_identifier"),
        ("source_port", 0, "source_port"),
        ("source_port", 65536, "source_port"),
        ("report_id", "7", "report_id"),
        ("category", "messaging", ""),
        ("tags", ["no namespace"], "tags"),
        ("reporter", {"org": "x", "contact": "nobody", "domain": "isp.example"}, "reporter.contact"),
        ("compromise_evidence", None, "compromise_evidence"),
    ],
)
def test_wrong_reports_are_refused(field: str, value: Any, said: str) -> None:
    with pytest.raises(XarfError) as caught:
        check({**made(), field: value})
    assert said in str(caught.value)


def test_reporter_that_the_schema_refuses() -> None:
    with pytest.raises(XarfError, match="contact"):
        report(item(), REPORTER._replace(contact="abuse"))


@given(
    st.dictionaries(st.sampled_from([*INDICATORS, "made-up", "<script>", "'; --"]), st.integers(0, 1 << 32)),
    st.integers(0, 65535),
)
def test_any_indicators(ind: dict[str, int], port: int) -> None:
    found = made(ind=ind, source=SOURCE._replace(port=port or None))
    for word in ("made-up", "<script>", "'; --"):
        assert word not in json.dumps(found)
