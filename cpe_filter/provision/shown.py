"""`cpe-filter policy status`: what is in force, tried and refused on this router, for people and for programs.

Knows the folders and the list of outcomes. Must not change anything. The fields of `--json` are documented, and are not
renamed (docs/provisioning.md).
"""

from __future__ import annotations

import json
import os

from cpe_filter.provision import effective, news, place
from cpe_filter.provision.folder import Folder, digest_of
from cpe_filter.provision.place import TYPES, Place, date, folder_of
from cpe_filter.signed.document import POLICY_BUNDLE
from cpe_filter.signed.errors import SignedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def lines(where: Place) -> Iterator[str]:
    """A type without documents is left out, except the policy. Raises OSError."""
    for kind in TYPES:
        folder = folder_of(where, kind)
        places = _places(folder)
        bad = folder.bad()
        if kind != POLICY_BUNDLE and not (any(places.values()) or bad):
            continue
        for name, document in places.items():
            yield f"{name + ':':<11}{named(document, kind)}"
        for digest, why in bad.items():
            yield f"{'refused:':<11}{kind} {digest}  {why}"


def as_json(where: Place) -> str:
    """One line. Raises OSError."""
    documents = []
    for kind in TYPES:
        folder = folder_of(where, kind)
        found: dict[str, Any] = {"type": kind}
        for name, document in _places(folder).items():
            found[name.replace(" ", "_")] = _described(document)
        found["since"] = _since(folder)
        found["refused"] = [{"digest": digest, "why": why} for digest, why in folder.bad().items()]
        documents.append(found)
    outcomes = [{name: value or None for name, value in one._asdict().items()} for one in news.latest(where)]
    return json.dumps({"documents": documents, "outcomes": outcomes})


def named(document: bytes | None, kind: str) -> str:
    """A document of this type in words."""
    if document is None:
        return f"no {kind}"
    try:
        made = effective.kept(document)
    except SignedError as error:
        return f"{kind} {digest_of(document)}  not usable: {error}"
    return f"{made.type} {made.sequence}, {made.digest}, issued {date(made.issued)}, expires {date(made.expires)}"


def _places(folder: Folder) -> dict[str, bytes | None]:
    tried = folder.trial(place.boot(), place.uptime())
    return {"in force": folder.good, "tried now": tried, "before": folder.former}


def _since(folder: Folder) -> int | None:
    """When the document in force was written, POSIX seconds by this router's clock."""
    try:
        return int(os.stat(os.path.join(folder.path, "good")).st_mtime)
    except OSError:
        return None


def _described(document: bytes | None) -> dict[str, Any] | None:
    if document is None:
        return None
    try:
        made = effective.kept(document)
    except SignedError as error:
        unknown = {"sequence": None, "issued": None, "expires": None}
        return {"digest": digest_of(document), **unknown, "problem": str(error)}
    times = {"issued": made.issued, "expires": made.expires}
    return {"digest": made.digest, "sequence": made.sequence, **times, "problem": None}
