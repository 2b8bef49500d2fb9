"""The documents' tables that are made from the code: `python -m tests.documents` writes them, `test_docs` checks them.

Knows where each table is. A table begins with its header and ends at the first empty line.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from cpe_filter.collect.api import openapi
from cpe_filter.collect.config.keys import KEYS as COLLECTOR_KEYS
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.metrics import Metrics
from cpe_filter.detect.evidence import INDICATORS, PROFILE_NAMES, SENDER_PROFILES
from cpe_filter.detect.score import Score
from cpe_filter.policy.keys import KEYS
from cpe_filter.policy.model import Policy
from cpe_filter.replay.violations import VIOLATIONS
from cpe_filter.status.metrics import exposition
from tests import log_lines
from tests.detect.reply_table import MODULE, module
from tests.detect.reply_table import rows as reply_rows
from tests.lab.net import PROJECT
from tests.status.statuses import device, status
from tools.data_model import page as data_model
from tools.man import toml

DOCS = PROJECT / "docs"
SIZE_HEADER = "| package | kB, .ipk | kB installed |\n|---|---|---|\n"
#: The recipes whose packages have their sizes in the table, and for which Python.
SIZED = ("cpe-filter", "luci-app-cpe-filter")
SIZE_PYTHON = (3, 11)
REPLY_HEADER = "| class | pattern | provider | a text | source |\n|---|---|---|---|---|\n"
KEY_HEADER = "| key | default | allowed | meaning |\n|---|---|---|---|\n"

FILTER_METRIC_HEADER = "| metric of the filter | kind | labels | meaning |\n|---|---|---|---|\n"
COLLECTOR_METRIC_HEADER = "| metric of the collector | kind | labels | meaning |\n|---|---|---|---|\n"

LOG_HEADER = "| severity | program | line |\n|---|---|---|\n"

VIOLATION_HEADER = "| violation | by | means | rule |\n|---|---|---|---|\n"

KIND_HEADER = "| kind | what it is | takes, nats |\n|---|---|---|\n"
_KINDS = " | ".join(SENDER_PROFILES)
BOUND_HEADER = f"| indicator | family | repeat | bot | {_KINDS} | basis |\n{'|---' * (5 + len(SENDER_PROFILES))}|\n"


def policy_table() -> str:
    """The policy's keys."""
    return _keys(
        (
            key.table,
            key.name,
            key.value(Policy()),
            f"{key.low} to {key.high} {key.unit}" if key.kind == "number" else key.allowed,
            key.meaning,
        )
        for key in KEYS
    )


def collector_table() -> str:
    """The keys of the collector's configuration."""
    return _keys((key.table, key.name, key.value(Config()), key.allowed, key.meaning) for key in COLLECTOR_KEYS)


def violation_table() -> str:
    """The violations of the protocol that `replay --json` names."""
    return "\n".join(
        f"| `{name}` | {author} | {meaning} | {source} |" for name, (author, meaning, source) in VIOLATIONS.items()
    )


def kind_table() -> str:
    """The kinds of legitimate sender, and how much evidence rules each out."""
    return "\n".join(
        f"| {kind} | {PROFILE_NAMES[kind]} | {needed:.1f} |" for kind, _, needed in Score().profile_margins
    )


def bound_table() -> str:
    """The table of indicators: a bot's share, and each kind's bound."""
    rows = []
    for name, row in INDICATORS.items():
        bounds = " | ".join(f"{bound:g}" if bound else "-" for bound in row.usual)
        rows.append(f"| `{name}` | {row.family} | {row.repeat:g} | {row.bot:g} | {bounds} | {row.basis} |")
    return "\n".join(rows)


def log_table() -> str:
    """The lines of the log."""
    return "\n".join(
        f"| {severity} | {program} | {text if '`' in text else f'`{text}`'} |"
        for severity, program, text in log_lines.rows()
    )


def reply_table() -> str:
    """How servers word refusals: the table of tests/detect/reply_rows.txt."""
    return "\n".join(
        f"| {one.kind} | {f'`{one.says}`' if one.says else ''} | {one.provider} | `{one.text}` | {one.source} |"
        for one in reply_rows()
    )


def api_tables() -> dict[str, str]:
    """The tables of the API's page: header -> rows."""
    return {
        openapi.OPERATION_HEADER: openapi.operation_rows(),
        openapi.PARAMETER_HEADER: openapi.parameter_rows(),
        openapi.PROPERTY_HEADER: openapi.property_rows(),
        openapi.PROBLEM_HEADER: openapi.problem_rows(),
    }


def data_model_tables() -> dict[str, str]:
    """The tables of TR-069 and TR-369: header -> rows."""
    return {
        data_model.SETTING_HEADER: data_model.setting_rows(),
        data_model.STATUS_HEADER: data_model.status_rows(),
        data_model.COMMAND_HEADER: data_model.command_rows(),
        data_model.LEFT_HEADER: data_model.left_rows(),
    }


def _keys(rows: Iterable[tuple[str, str, Any, str, str]]) -> str:
    return "\n".join(
        f"| `[{table}]` `{name}` | `{toml(default)}` | {allowed} | {meaning} |"
        for table, name, default, allowed, meaning in rows
    )


def filter_metric_table() -> str:
    """The metrics of a router's file."""
    notice = {"served": True, "led": 2, "counts": {"shown": 3, "seen": 1}, "devices": [], "quarantined": 1}
    rows: dict[str, tuple[str, set[str], str]] = {}
    running = status(device("02:00:00:00:01:01"), notice=notice, lost=0, lost_at=1.0, unobserved_at=1.0)
    for family in text_string_to_metric_families(exposition(running)):
        labels = {label for sample in family.samples for label in sample.labels}
        name = family.name + ("_total" if family.type == "counter" else "")
        rows[name] = family.type, labels, family.documentation
    return "\n".join(
        f"| `{name}` | {kind} | {_labels(labels)} | {text} |" for name, (kind, labels, text) in rows.items()
    )


def collector_metric_table() -> str:
    """The metrics at the collector's /metrics."""
    lines = []
    for metric in Metrics().registry._collector_to_names:
        for family in metric.collect():
            labels = getattr(metric, "_labelnames", ())
            name = family.name + ("_total" if family.type == "counter" else "")
            lines.append(f"| `{name}` | {family.type} | {_labels(labels)} | {family.documentation} |")
    return "\n".join(lines)


def _labels(labels: Iterable[str]) -> str:
    return ", ".join(f"`{label}`" for label in sorted(labels))


def size_table() -> str:
    """The packages' sizes for the Python that runs this, which has to be the documents'."""
    if sys.version_info[:2] != SIZE_PYTHON:
        raise RuntimeError(f"the sizes are those for Python {SIZE_PYTHON[0]}.{SIZE_PYTHON[1]}: run this by that one")
    with tempfile.TemporaryDirectory() as out:
        words = [sys.executable, "-m", "tools.ipk", "--python", "3.11", "--out", out, *SIZED]
        printed = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return "\n".join(f"| `{name}` | {packed} | {installed} |" for name, packed, installed in sizes(printed))


def sizes(printed: str) -> list[tuple[str, int, int]]:
    """Name, kB of the .ipk and kB installed, of each package that `make ipk` has printed."""
    found = re.findall(r"([\w-]+)_[\w.-]+\.ipk: ([\d.]+) kB, ([\d.]+) kB installed$", printed, re.MULTILINE)
    return [(name, round(float(packed)), round(float(installed))) for name, packed, installed in found]


def table(page: str, header: str) -> str:
    """The rows of the table of `page` that begins with `header`."""
    text = (DOCS / page).read_text()
    start = text.index(header) + len(header)
    return text[start : text.index("\n\n", start)] if text[start : start + 1] != "\n" else ""


def _write(page: str, header: str, rows: str) -> None:
    path: Path = DOCS / page
    before = table(page, header)
    path.write_text(path.read_text().replace(header + before, header + rows + ("" if before else "\n")))


if __name__ == "__main__":
    MODULE.write_text(module())
    _write("replies.md", REPLY_HEADER, reply_table())
    _write("policy.md", KEY_HEADER, policy_table())
    _write("collector.md", KEY_HEADER, collector_table())
    for header, rows in api_tables().items():
        _write("api.md", header, rows)
    for header, rows in data_model_tables().items():
        _write("tr069.md", header, rows)
    _write("metrics.md", FILTER_METRIC_HEADER, filter_metric_table())
    _write("metrics.md", COLLECTOR_METRIC_HEADER, collector_metric_table())
    _write("openwrt.md", SIZE_HEADER, size_table())
    _write("log.md", LOG_HEADER, log_table())
    _write("replay.md", VIOLATION_HEADER, violation_table())
    _write("detect.md", KIND_HEADER, kind_table())
    _write("detect.md", BOUND_HEADER, bound_table())
