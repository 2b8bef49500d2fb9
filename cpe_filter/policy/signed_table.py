"""The table [signed] of the policy that `run` reads: which documents of the ISP are in it, and the detector's data.

`cpe-filter policy make` writes it: the router's own policy and signed policies cannot have it. Knows its form. Must not
know signatures, or what a rate means: detect.rates judges that. Not part of the running filter.
"""

from __future__ import annotations

from typing import Any

from cpe_filter.inputs import found, shown
from cpe_filter.policy.model import PolicyError, SignedTable
from cpe_filter.policy.reply_patterns import LETTERS_ALONE, read

#: Documents, wordings, and bytes of a table of rates.
NAMES = ("policy", "table", "replies")
MAX_WORDINGS, MAX_RATES, MAX_NAME = 256, 32 * 1024, 40
#: Letters of the classes that weigh no more than a wording that no row knows (detect.replies). A row of another class
#: can make an unknown wording weigh, so it has to say enough.
MILD = "hmofbtgxpna"


def table(content: Any, path: str) -> SignedTable:
    """The table of a file. Raises `PolicyError`."""
    if not isinstance(content, dict):
        raise PolicyError(f"{path}: signed is {found(content)}; expected a table")
    values: dict[str, str] = {}
    for name, value in content.items():
        if name in NAMES:
            values[name] = _name(value, f"{path}: [signed] {name}")
        elif name == "rates":
            if not isinstance(value, str) or not value.isascii() or len(value) > MAX_RATES:
                raise PolicyError(f"{path}: [signed] rates: allowed: a text of at most {MAX_RATES} ASCII characters")
            values[name] = value
        elif name == "wordings":
            values[name] = wordings(value, f"{path}: [signed] wordings")
        else:
            raise PolicyError(f"{path}: [signed] unknown key {shown(name)}")
    return SignedTable(**values)


def wordings(value: Any, where: str) -> str:
    """Wordings `CLASS: PATTERN` -> rows as detect.replies reads them. Raises `PolicyError`."""
    if not isinstance(value, list) or len(value) > MAX_WORDINGS:
        raise PolicyError(f"{where}: expected a list of at most {MAX_WORDINGS} wordings")
    rows = []
    for number, entry in enumerate(value, 1):
        try:
            row = read(entry)
        except ValueError as error:
            raise PolicyError(f"{where}, number {number}, is {found(entry)}: {error}") from None
        if row[0] not in MILD and _longest_phrase(row) < LETTERS_ALONE:
            raise PolicyError(
                f"{where}, number {number}, is {found(entry)}; allowed: a phrase of {LETTERS_ALONE} letters or more in "
                "it, or it means more than it should"
            )
        rows.append(row)
    return "\n".join(dict.fromkeys(rows))


def _longest_phrase(row: str) -> int:
    """Letters of the longest phrase that a row needs."""
    parts = [part for part in row[1:].split("+") if part[0] != "!"]
    return max(sum(map(str.isalpha, part)) for part in parts)


def _name(value: Any, where: str) -> str:
    number, _, digest = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if not number.isdecimal() or len(digest) != 16 or len(value) > MAX_NAME:
        raise PolicyError(f"{where} is {found(value)}; expected a number and a digest of 16 hex digits")
    return str(value)
