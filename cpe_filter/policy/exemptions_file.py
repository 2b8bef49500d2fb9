"""The exemptions file: TOML -> `Contents`.

Knows the file's form: the policy's `[[exempt]]` with three more keys, `id` (a number, never used twice), `added` and
`by`. Must not know how the file is written (exemptions_store) or which exemptions are in force (exemptions). Every
error names file and place, and what is allowed. Not part of the running filter, which reads the file in a child
process.
"""

from __future__ import annotations

from typing import Any

from cpe_filter import toml_file
from cpe_filter.inputs import shown
from cpe_filter.policy.exemptions import MAX_BY, MAX_ID, MAX_KEPT, Contents, Kept
from cpe_filter.policy.file import exempt_tables, moment, timed_exemption
from cpe_filter.policy.model import PolicyError

_NEXT = toml_file.number("", "next", "id", 1, MAX_ID, "The id of the next exemption.")
_ID = toml_file.number("exempt", "id", "number", 1, MAX_ID, "The id of this exemption.")
_KEYS = ("id", "device", "destination", "until", "reason", "added", "by")


def parse(raw: bytes, path: str) -> Contents:
    """The content of the file's bytes; `path` for errors. Raises `PolicyError`."""
    data = toml_file.parse(raw, path, PolicyError)
    following = data.pop("next", 1)
    entries = data.pop("exempt", [])
    if data:
        raise PolicyError(f"{path}: unknown table or key {shown(next(iter(data)))}; known: next, [[exempt]]")
    toml_file.read(_NEXT, following, f"{path}: next", PolicyError)
    kept = [_entry(entry, where) for where, entry in exempt_tables(entries, _KEYS, MAX_KEPT, path)]
    given = [one.id for one in kept if one.id]
    if len(set(given)) < len(given):
        twice = next(number for number in given if given.count(number) > 1)
        raise PolicyError(f"{path}: two [[exempt]] have the id {twice}; each has its own")
    following = max([following, *(number + 1 for number in given)])
    for place, one in enumerate(kept):
        if not one.id:  # written by hand
            kept[place] = one._replace(id=following)
            following += 1
    return Contents(following, tuple(kept))


def _entry(entry: dict[str, Any], where: str) -> Kept:
    number, added, by = entry.get("id", 0), entry.get("added"), entry.get("by", "")
    if number:
        toml_file.read(_ID, number, f"{where} id", PolicyError)
    if added is not None:
        added = moment(added, f"{where} added")
    if not isinstance(by, str) or len(by) > MAX_BY or not by.isprintable():
        raise PolicyError(f"{where} by must be one line of at most {MAX_BY} characters")
    return Kept(int(number), timed_exemption(entry, where), added, by)
