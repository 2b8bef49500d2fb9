"""Which documents were taken: a document that is not later than the last one is refused, across restarts, too.

Knows the file that remembers it. Must not know what a document says. The file is replaced in one step, and synced
before anything that a document asks is done. Numbers are kept by type and key, so a stolen key cannot use up those of
the one that replaces it. What has become of the last documents is kept, too: where the answer was lost, it is given
again.
"""

from __future__ import annotations

import json
from typing import Any

from cpe_filter.lean import files
from cpe_filter.signed.document import Document
from cpe_filter.signed.errors import SEQUENCE, SignedError

FILE = "/etc/cpe-filter/signed.state"
#: Bytes of the file; types and keys in it; documents whose end is kept.
MAX_BYTES, MAX_KEYS, MAX_DONE = 16384, 64, 32


class Taken:
    """What the file says. `check` and `take` a document, `done` says what has become of one, then `save`."""

    def __init__(self, last: dict[str, int] | None = None, outcomes: dict[str, str] | None = None) -> None:
        self._last = last or {}
        self._outcomes = outcomes or {}

    def check(self, document: Document) -> None:
        """Raises `SignedError` if it is not later than the last of its type and key."""
        last = self._last.get(_name(document), 0)
        if document.sequence <= last:
            raise SignedError(SEQUENCE, f"its sequence is {document.sequence}; {last} was taken before")

    def take(self, document: Document) -> None:
        """Notes its number."""
        self._last.pop(_name(document), None)
        self._last[_name(document)] = document.sequence
        while len(self._last) > MAX_KEYS:
            del self._last[next(iter(self._last))]

    def done(self, digest: str, outcome: str) -> None:
        """Notes what has become of a document: a word."""
        self._outcomes.pop(digest, None)
        self._outcomes[digest] = outcome
        while len(self._outcomes) > MAX_DONE:
            del self._outcomes[next(iter(self._outcomes))]

    def outcome(self, digest: str) -> str:
        """What has become of a document; "" if that is not known."""
        return self._outcomes.get(digest, "")

    def save(self, path: str = FILE) -> None:
        """Raises OSError; then the old file stays."""
        text = json.dumps({"last": self._last, "outcomes": self._outcomes}, indent=1)
        files.replace(path, text.encode() + b"\n")


def load(path: str = FILE) -> Taken:
    """The file; nothing was taken if there is none. Raises `SignedError` for a damaged one, OSError."""
    try:
        data = files.read(path, MAX_BYTES + 1)
    except FileNotFoundError:
        return Taken()
    try:
        content = json.loads(data)
        last, outcomes = content["last"], content["outcomes"]
        good = len(data) <= MAX_BYTES and _all(last, int) and _all(outcomes, str)
    except (ValueError, TypeError, KeyError, RecursionError):
        good = False
    if not good:
        raise SignedError(SEQUENCE, f"{path}: damaged; which documents were taken before is not known")
    return Taken(last, outcomes)


def _all(found: Any, kind: type) -> bool:
    return isinstance(found, dict) and all(type(value) is kind for value in found.values())


def _name(document: Document) -> str:
    return f"{document.type} {document.key.hex()}"
