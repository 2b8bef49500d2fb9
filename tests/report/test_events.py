"""Events of the wire format, held against the schema."""

from __future__ import annotations

from cpe_filter.lean.clocks import Uptime
from cpe_filter.report.document_news import Ended
from cpe_filter.report.events import document_event, instruction_event
from tests.report.wire import check_event


def test_what_has_become_of_an_instruction() -> None:
    digest, dev = "0123456789abcdef", "fedcba9876543210"
    applied = instruction_event(Uptime(5.5), digest, "applied", "release", dev)
    refused = instruction_event(Uptime(5.5), digest, "signature", "", "")
    for event in (applied, refused):
        check_event({"seq": 1, **event})
    assert applied == {
        "up": 5, "kind": "instruction", "doc": digest, "act": "release", "dev": dev, "result": "applied",
    }  # fmt: skip
    assert refused == {"up": 5, "kind": "instruction", "doc": digest, "result": "refused", "why": "signature"}


def test_what_has_become_of_a_document() -> None:
    digest = "0123456789abcdef"
    applied = document_event(Uptime(5.5), Ended(1, "applied", "policy", digest, 41, ""))
    back = document_event(Uptime(5.5), Ended(2, "taken-back", "table", digest, 1 << 53, "filter"))
    unread = document_event(Uptime(5.5), Ended(3, "refused", "", digest, 0, "signature"))
    for event in (applied, back, unread):
        check_event({"seq": 1, **event})
    assert applied == {
        "up": 5, "kind": "document", "type": "policy", "doc": digest, "number": 41, "result": "applied",
    }  # fmt: skip
    assert back["why"] == "filter"
    assert unread == {"up": 5, "kind": "document", "doc": digest, "result": "refused", "why": "signature"}
    assert document_event(Uptime(5.5), Ended(4, "refused", "", "", 0, "full")) == {
        "up": 5, "kind": "document", "result": "refused", "why": "full",
    }  # fmt: skip
