"""The detector's data of signed documents in an evaluation: --table FILE and --replies FILE.

The files are those of `cpe-filter policy build --type table|replies`. Judged as a router judges them, and used as it
uses them: a table only relaxes. Of this process, and of those that it forks. Must not know what is measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import ClassVar

from cpe_filter.collect.document_content import ContentError, parsed
from cpe_filter.detect import rates
from cpe_filter.policy import signed_table


class InForce:
    """rows: of wordings, for each detector that is made (detect.replies)."""

    rows: ClassVar[str] = ""


def add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", metavar="FILE", help="rates, as a signed document of type table has them")
    parser.add_argument("--replies", metavar="FILE", help="wordings, as one of type replies has them (TOML)")


def use(options: argparse.Namespace) -> str:
    """Takes over what the arguments name. Returns why not, or ""."""
    for kind in ("table", "replies"):
        path = getattr(options, kind)
        if path is None:
            continue
        try:
            content = parsed(kind, Path(path).read_bytes(), path)[kind]
        except (OSError, ContentError) as error:
            return f"{path}: {error}"
        if kind == "table":
            rates.use(content["rates"])
        else:
            InForce.rows = signed_table.wordings(content["wordings"], path)
    return ""
