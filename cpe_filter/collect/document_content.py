"""What is behind a document's header, by its type: how a file becomes it, what a router would refuse, what changes.

A policy's file is TOML and is the content as it is. A table's file is a text as `collector calibrate` writes it, and a
file of replies is TOML with `[replies] wordings`. Pure. Knows the three contents, by the code of the router. Must not
know headers, signatures or where documents are published.
"""

from __future__ import annotations

from typing import Any

from cpe_filter import toml_file
from cpe_filter.collect import policy_changes, table_changes
from cpe_filter.detect import rates
from cpe_filter.policy import file as policy_file
from cpe_filter.policy.model import PolicyError
from cpe_filter.policy.reply_patterns import CLASSES
from cpe_filter.policy.signed_table import MILD
from cpe_filter.provision import overlay
from cpe_filter.signed.document import POLICY_BUNDLE, REPLIES, TABLE

#: What a document has that sets nothing: each router's own policy and the built-in tables count.
EMPTY: dict[str, dict[str, Any]] = {
    POLICY_BUNDLE: {},
    TABLE: {TABLE: {"rates": rates.encode({}).decode()}},
    REPLIES: {REPLIES: {"wordings": []}},
}
TYPES = tuple(EMPTY)
_MILD = frozenset(name for name, letter in CLASSES.items() if letter in MILD)


class ContentError(ValueError):
    """A content that a router would refuse, or a file that is not one. One line."""


def text_of(kind: str, data: bytes) -> bytes:
    """What is behind the header in a document, of a file. Not checked here."""
    if kind != TABLE:
        return data
    return b'[table]\nrates = """\n' + data + b'"""\n'


def parsed(kind: str, data: bytes, name: str) -> dict[str, Any]:
    """The content of a file. Raises `ContentError`."""
    try:
        if kind == TABLE:
            rates.allowed(data)
            content = {TABLE: {"rates": data.decode("ascii")}}
        else:
            content = toml_file.parse(data, name, PolicyError)
    except (PolicyError, rates.TableError) as error:
        raise ContentError(str(error).removeprefix(f"{name}: ")) from None
    check(kind, content, name)
    return content


def check(kind: str, content: dict[str, Any], name: str) -> None:
    """Raises `ContentError` for what `cpe-filter check` or a router refuses."""
    problems: list[str] = []
    try:
        if kind == POLICY_BUNDLE:
            overlay.merged({}, content)
            policy_file.build(content, name, problems)
        else:
            overlay.detector_data(kind, content)
    except (PolicyError, overlay.OverlayError) as error:
        raise ContentError(str(error).removeprefix(f"{name}: ")) from None
    if problems:
        raise ContentError("; ".join(problems[:5]))


def changes(kind: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A line for each thing that changes; one line if nothing does. before: {} for nothing."""
    if kind == POLICY_BUNDLE:
        return policy_changes.changes(before, after)
    if kind == TABLE:
        lines = table_changes.changes(_rows(before), _rows(after))
    else:
        old, new = _wordings(before), _wordings(after)
        lines = [f"- {one}" for one in old if one not in new] + [f"+ {one}" for one in new if one not in old]
        if not lines and old != new:
            lines = ["the order of the wordings; the first that matches decides"]
    return [f"  {line}" for line in lines] or ["  nothing changes"]


def dangers(kind: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Changes by which a legitimate sender may look more like a bot than before, one line for each kind of change.

    No table and no wording accuses more than the built-in ones, except a wording for what these do not know. But one
    that a document takes back may be what saved a sender.
    """
    if kind == POLICY_BUNDLE:
        return policy_changes.dangers(before, after)
    if kind == TABLE:
        return table_changes.stricter(_rows(before), _rows(after))
    old, new = _wordings(before), _wordings(after)
    found = [
        f"wording {one!a}: what no built-in row knows begins to weigh" for one in new if one not in old and _weighs(one)
    ]
    found += [
        f"wording {one!a} is gone: what it made weigh less weighs again"
        for one in old
        if one not in new and not _weighs(one)
    ]
    return found


def _rows(content: dict[str, Any]) -> dict[str, rates.Row]:
    return rates.decode(content[TABLE]["rates"].encode()) if content else {}


def _wordings(content: dict[str, Any]) -> list[str]:
    return list(content[REPLIES]["wordings"]) if content else []


def _weighs(wording: str) -> bool:
    return wording.partition(":")[0].strip() not in _MILD
