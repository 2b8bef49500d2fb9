"""Colours in a terminal: whether to use them, and which.

Knows NO_COLOR (no-color.org), CLICOLOR and CLICOLOR_FORCE (bixense.com/clicolors). Must not know what is written.
"""

from __future__ import annotations

from collections.abc import Mapping

from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL

_BOLD, _RED, _YELLOW, _GREEN, _CYAN = "1", "1;31", "33", "32", "36"
_STANDINGS: dict[str, str] = {COMPROMISED: _RED, SUSPECTED: _YELLOW, UNUSUAL: _CYAN, CLEAR: _GREEN}


def enabled(option: str, terminal: bool, environment: Mapping[str, str]) -> bool:
    """option: auto, always or never. terminal: whether the output is one."""
    if option != "auto":
        return option == "always"
    if environment.get("NO_COLOR"):
        return False
    if environment.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return terminal and environment.get("CLICOLOR") != "0" and environment.get("TERM") != "dumb"


class Paint:
    """Puts colours around texts, or leaves them as they are."""

    def __init__(self, on: bool) -> None:
        self._on = on

    def standing(self, word: str, text: str = "") -> str:
        """`text` (the word itself, if empty) in the colour of a standing."""
        return self._around(text or word, _STANDINGS.get(word, ""))

    def title(self, text: str) -> str:
        return self._around(text, _BOLD)

    def _around(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._on and code and text else text
