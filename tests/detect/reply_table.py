"""The table of refusals (reply_rows.txt): its rows, and what is made of them.

Knows the file's form. `python -m tests.documents` writes what is made: cpe_filter/detect/reply_rows.py and the table of
docs/replies.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cpe_filter.inspect.facts import Reply
from cpe_filter.policy.reply_patterns import row
from tests.lab.net import PROJECT

TABLE = Path(__file__).with_name("reply_rows.txt")
MODULE = PROJECT / "cpe_filter" / "detect" / "reply_rows.py"
_MODULE = '''"""Wordings of refusals (see `replies`). Made from tests/detect/reply_rows.txt by `make docs`.

Knows wordings. Must not know what a class is evidence of.
"""

from __future__ import annotations

ROWS = """\\
{rows}
"""
'''


class Row(NamedTuple):
    """A row of the table. says: its pattern, "" where another row reads its text. source: what the key stands for."""

    kind: str
    says: str
    provider: str
    source: str
    text: str


def rows() -> list[Row]:
    """The table in its order."""
    sources: dict[str, str] = {}
    out = []
    for line in TABLE.read_text().splitlines():
        if line.startswith("@ "):
            name, _, source = line[2:].partition(" = ")
            sources[name] = source
        elif line and line[0] != "#":
            kind, says, provider, name, text = line.split(" | ")
            out.append(Row(kind, "" if says == "-" else says, provider, sources[name], text))
    return out


def reply(text: str) -> Reply:
    """The lines of a text as the filter gets them: the last one with the code, the others without."""
    *before, last = text.split(" / ")
    return Reply(int(last[:3]), last, tuple(line[4:] if line[:3].isdigit() else line for line in before))


def module() -> str:
    """The text of cpe_filter/detect/reply_rows.py."""
    return _MODULE.format(rows="\n".join(row(one.kind, one.says) for one in rows() if one.says))
