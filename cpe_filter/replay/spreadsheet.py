"""Text in cells of CSV that no spreadsheet takes for a formula. Knows spreadsheets; must not know what is written."""

from __future__ import annotations

from typing import Any

#: What begins a formula in Excel, LibreOffice or Google Sheets; full-width forms, too.
_FORMULA = tuple("=+-@|%\t\r\n＝＋－＠")


def inert(value: Any) -> Any:
    """Numbers as they are; text that no spreadsheet evaluates, without control characters and unusual spaces."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    clean = "".join(letter if letter.isprintable() or letter in "\t\r\n" else "\ufffd" for letter in value)
    return "'" + clean if clean.lstrip(" ").startswith(_FORMULA) else clean
