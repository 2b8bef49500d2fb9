"""The ETags of the documents that were fetched last, by URL: they save downloads.

Knows what a judgement depends on besides the document. Must not know HTTP, or how a document is judged. A file that is
not synced, and may be lost: then everything is fetched once more. An ETag is what the server says, and a document that
was not applied can matter again. So it counts only while nothing has changed that the judgement depended on, and the
document is fetched again after some answers that there is nothing new: a server, or someone in its place, that gave a
document the ETag of another one keeps that one away for so long only.
"""

from __future__ import annotations

import json
import os

from cpe_filter import __version__
from cpe_filter.lean import files
from cpe_filter.lean.atomic_file import AtomicFile
from cpe_filter.lean.sha256 import sha256
from cpe_filter.provision.place import TYPES, Place, folder_of
from cpe_filter.report.clock_state import synchronised
from cpe_filter.signed import keys
from cpe_filter.signed.errors import SignedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.signed.document import Recipient

FILE = "etags"
#: Answers that there is nothing new, after which the document is fetched all the same.
MOST_UNCHANGED = 7
#: Bytes of the file, URLs in it, bytes of a state that is looked at.
_MAX, _MOST, _MAX_STATE = 16384, 16, 1 << 18


class Etags:
    """Looks at `where` each time: a document that was applied has changed it."""

    def __init__(self, where: Place, recipient: Recipient) -> None:
        self._where, self._recipient = where, recipient
        self._path = os.path.join(where.folder, FILE)

    def of(self, url: str) -> str:
        """Of the last document from this URL, if it would be judged in the same way again; else ""."""
        etag, context, unchanged = self._known().get(url, ("", "", 0))
        return str(etag) if context == self._context() and unchanged < MOST_UNCHANGED else ""

    def unchanged(self, url: str) -> None:
        """The server says that there is nothing new."""
        etag, _, unchanged = self._known().get(url, ("", "", 0))
        self._note(url, str(etag), int(unchanged) + 1)

    def note(self, url: str, etag: str) -> None:
        """A document was judged, and would be judged in the same way again. etag: "" if it has none, or would not."""
        self._note(url, etag, 0)

    def _note(self, url: str, etag: str, unchanged: int) -> None:
        known = self._known()
        known.pop(url, None)
        if etag:
            known[url] = [etag, self._context(), unchanged]
        while len(known) > _MOST:
            del known[next(iter(known))]
        try:
            file = AtomicFile(self._path)
            file.write(json.dumps(known).encode())
            file.finish()
        except OSError:
            pass

    def _known(self) -> dict[str, list[Any]]:
        try:
            found = json.loads(files.read(self._path, _MAX))
        except (OSError, ValueError, RecursionError):
            return {}
        known = found.items() if isinstance(found, dict) else ()
        return {url: one for url, one in known if isinstance(one, list) and list(map(type, one)) == [str, str, int]}

    def _context(self) -> str:
        """Names all that a judgement depends on besides the document and the time: this version, the keys, who this
        router is, its own policy, and what it has in force, has taken and has refused."""
        try:
            found = keys.load(self._where.keys)
            known: object = sorted(found.points.items()), sorted(found.revoked)
        except SignedError:
            known = ""
        folders = [folder_of(self._where, kind).path for kind in TYPES]
        states = [_digest(os.path.join(folder, name)) for folder in folders for name in ("good", "bad", "taken")]
        all_of_it = (__version__, self._recipient, known, synchronised(), _digest(self._where.base), states)
        return _short(repr(all_of_it).encode())


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return _short(file.read(_MAX_STATE))
    except OSError:
        return ""


def _short(data: bytes) -> str:
    text: str = sha256(data).hexdigest()
    return text[:16]
