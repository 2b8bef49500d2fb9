"""Events of the wire format, held against the schema."""

from __future__ import annotations

from cpe_filter.lean.clocks import Uptime
from cpe_filter.report.events import instruction_event
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
