"""Where recorded captures lie, for the tests that read them. They are others' work and no part of this project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "captures"
FOLDER = Path(os.environ.get("CPE_FILTER_CAPTURES") or _BESIDE)
INDEX = FOLDER / "index.jsonl"
FILES = sorted(path for path in FOLDER.rglob("*") if path.suffix in (".pcap", ".pcapng", ".cap", ".gz"))

#: A test that names a file of the folder, or all of them, is left out where there is none.
needed = pytest.mark.skipif(
    not FILES, reason=f"no captures in {FOLDER}; set CPE_FILTER_CAPTURES to a folder that holds some"
)


def name(path: Path) -> str:
    return str(path.relative_to(FOLDER))
