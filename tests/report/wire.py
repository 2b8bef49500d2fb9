"""The published schema of reports, as tests hold what is made against it. Knows nothing else."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs

from tests.lab.net import PROJECT

SCHEMA: dict[str, Any] = json.loads((PROJECT / "cpe_filter" / "collect" / "report-v1.schema.json").read_text())
_REPORT = jsonschema_rs.Draft202012Validator(SCHEMA)
_EVENT = jsonschema_rs.Draft202012Validator({**SCHEMA["$defs"]["event"], "$defs": SCHEMA["$defs"]})


def check_report(report: dict[str, Any]) -> None:
    """Fails with every rule that it breaks."""
    assert not [(str(error), list(error.instance_path)) for error in _REPORT.iter_errors(report)]


def check_event(event: dict[str, Any]) -> None:
    """The same for one event, `seq` included."""
    assert not [(str(error), list(error.instance_path)) for error in _EVENT.iter_errors(event)]
