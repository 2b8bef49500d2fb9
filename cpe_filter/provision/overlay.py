"""A document's tables over the router's own policy, as parsed TOML. Pure.

A document sets what an ISP decides for many routers: modes, limits, texts, relays. What belongs to one router is left
to it: interfaces, files, users, sockets, queue and ports, where reports go. So one document fits all, none can send a
router's reports elsewhere, and each change takes effect by a reload, which can be taken back at once. Must not know
files or signatures.
"""

from __future__ import annotations

from cpe_filter.detect import rates
from cpe_filter.inputs import found
from cpe_filter.policy import signed_table
from cpe_filter.policy.keys import AT_START, BY_TABLE, KEYS
from cpe_filter.policy.model import PolicyError
from cpe_filter.signed.document import POLICY_BUNDLE, REPLIES, TABLE, Document
from cpe_filter.toml_file import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGNED = "signed"
_TABLES = ("status", "state")
_KINDS = ("interfaces", "paths", "file", "socket", "user")
_REPORT = ("url", "ca", "certificate", "key")


class OverlayError(ValueError):
    """A document sets what it may not. One line."""


def is_local(key: Key) -> bool:
    """Whether a key belongs to the router, and no document may set it."""
    place = key.table in _TABLES or (key.table == "report" and key.name in _REPORT)
    return place or key.kind in _KINDS or key in AT_START


#: What a document may set, by table; for documentation, too.
SETTABLE = tuple(key for key in KEYS if not is_local(key))


def laid_over(base: dict[str, Any], made: Document) -> dict[str, Any]:
    """The router's tables with a document of any type over them. Raises `OverlayError`."""
    result = merged(base, made.content) if made.type == POLICY_BUNDLE else dict(base)
    before = base.get(_SIGNED)
    name = {made.type: f"{made.sequence} {made.digest}"}
    data = {} if made.type == POLICY_BUNDLE else detector_data(made.type, made.content)
    result[_SIGNED] = {**(before if isinstance(before, dict) else {}), **name, **data}
    return result


def detector_data(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """What a `table` or `replies` has for [signed]: `[table] rates`, or `[replies] wordings`. Raises `OverlayError`."""
    key = {TABLE: "rates", REPLIES: "wordings"}[kind]
    table = content.get(kind)
    if list(content) != [kind] or not isinstance(table, dict) or list(table) != [key]:
        raise OverlayError(f"expected [{kind}] with {key}, and nothing else")
    try:
        if kind == REPLIES:
            signed_table.wordings(table[key], f"[{kind}] {key}")
        elif not isinstance(table[key], str):
            raise OverlayError(f"[{kind}] {key} is {found(table[key])}; expected a text")
        else:
            rates.allowed(table[key].encode("ascii", "replace"))
    except (rates.TableError, PolicyError) as error:
        raise OverlayError(str(error)) from None
    return {key: table[key]}


def merged(base: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """The router's tables with those of a document over them, key by key. Its exemptions are added to the router's.

    Neither is changed, and the result is not checked (policy.file). Raises `OverlayError`.
    """
    result = {name: dict(table) if isinstance(table, dict) else table for name, table in base.items()}
    for name, table in content.items():
        if name == _SIGNED:
            raise OverlayError(f"{name} belongs to the router: a document cannot set it")
        if name == "exempt":
            both = [one for some in (base.get(name, []), table) if isinstance(some, list) for one in some]
            result[name] = both if isinstance(table, list) else table
            continue
        if not isinstance(table, dict):
            raise OverlayError(f"{name} is not a table of a policy")
        for key in table:
            known = BY_TABLE.get(name, {}).get(key)
            if known is not None and is_local(known):
                raise OverlayError(f"[{name}] {key} belongs to the router: a document cannot set it")
        before = result.get(name, {})
        result[name] = {**(before if isinstance(before, dict) else {}), **table}
    return result
