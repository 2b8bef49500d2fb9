"""CSV for spreadsheets: RFC 4180, and no formulas."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpe_filter.collect.cases.attribution import Held
from cpe_filter.collect.export.csv import COLUMNS, text
from cpe_filter.replay.spreadsheet import inert
from tests.collect.exported import item


def rows(written: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written, newline="")))


def test_line() -> None:
    written = text([item()])
    assert written.endswith("\r\n")
    assert written.count("\n") == written.count("\r\n") == 2
    assert rows(written) == [
        {
            "case": "0123456789abcdef", "state": "open", "subscriber": "S1", "contact": "crm:1", "region": "north",
            "line": "fibre-100", "model": "cpe-9", "asn": "64500", "router": "r1", "device": "000000000000000a",
            "vendor_oui": "b827eb", "name": "tv", "incident": "00000000000000aa", "standing": "compromised",
            "opened": "2026-11-24T11:59:00Z", "raised": "2026-11-24T11:59:30Z", "closed": "", "why": "",
            "first_seen": "2026-11-24T11:58:30Z", "last_seen": "2026-11-24T11:59:50Z", "connections": "9",
            "networks": "8", "messages": "1", "recipients": "3", "refused": "4", "action": "explain",
            "indicators": "dnsbl-listed:2 helo-dynamic:9", "source": "8.8.1.1", "source_port": "40001",
            "source_time": "2026-11-24T11:59:30Z", "held": "",
                "notified": "", "notified_by": "", "seen": "", "seen_by": "", "answered": "", "answer": "",
                "objection": "0", "clean_since": "", "relapsed": "",
        }
    ]  # fmt: skip
    assert list(rows(written)[0]) == list(COLUMNS)


def test_without_a_source() -> None:
    row = rows(text([item(Held("unmapped"))]))[0]
    assert (row["source"], row["source_port"], row["source_time"], row["held"]) == ("", "", "", "unmapped")


@pytest.mark.parametrize(
    "formula",
    ["=1+1", "+1", "-1", "@SUM(A1)", "|calc", "\t=1", "\r=1", "\n=1", " =1", "＝1", "=cmd|' /C calc'!A0",
     '=HYPERLINK("http://x","y")', "%0A=1"],
)  # fmt: skip
def test_formulas_are_inert(formula: str) -> None:
    names = ("subscriber", "contact", "region", "line", "model", "router", "dev", "state")
    written = text([item(of_case=dict.fromkeys(names, formula), name=formula, act=formula, ind={formula: 1})])
    row = rows(written)[0]
    for name in (
        "subscriber",
        "contact",
        "region",
        "line",
        "model",
        "router",
        "device",
        "name",
        "action",
        "indicators",
    ):
        assert row[name].startswith("'"), name
        assert formula.strip("\r\n\t \u00a0") in row[name]


@pytest.mark.parametrize("plain", ["S-1", "a=b", "1-2", "", "\ufffd=1", "crm:+49 30 1", "b@c"])
def test_what_is_no_formula_stays(plain: str) -> None:
    assert inert(plain) == plain


#: What a spreadsheet would begin to compute.
RISKY = re.compile(r"[\s\u00a0]*[=+\-@|＝＋－＠]")


@given(st.lists(st.text(max_size=20), min_size=8, max_size=8))
def test_any_text_comes_back_and_never_computes(drawn: list[Any]) -> None:
    names = ("subscriber", "contact", "region", "line", "model", "router", "dev", "state")
    written = text([item(of_case=dict(zip(names, drawn, strict=True))), item()])
    back = rows(written)
    assert len(back) == 2
    assert back[1]["subscriber"] == "S1"
    for value in back[0].values():
        assert not RISKY.match(value), value
        assert "\0" not in value
