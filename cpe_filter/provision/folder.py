"""The ISP's documents on the router's flash, a folder for each type: in force, tried, refused.

    good     the document in force, once its trial was confirmed
    former   the one before, for `rollback`
    trial    the document that is tried, with the boot and the uptime until which it counts
    bad      digests of documents that are not tried again, with the reason
    cut      the digest of the last document whose trial was cut short: it is tried once more
    taken    sequences (signed.sequence): no document that is older than a confirmed one

Each is replaced in one step and synced. The order of the steps is such that a power cut between any two leaves a valid
state: a trial of another boot, past its end, confirmed or refused counts for nothing. Knows files, digests and this
order. Must not know what is in a document.
"""

from __future__ import annotations

import json
import os

from cpe_filter.lean import files

#: Bytes of a document, as signed.verify takes it, and of the list of refused ones; how many are remembered.
MAX_DOCUMENT, MAX_BAD, MOST_BAD = 1 << 17, 16384, 32


class Folder:
    """name: names a document's bytes: the same for the same signed message."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.taken = os.path.join(path, "taken")

    def _of(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _read(self, name: str, most: int = MAX_DOCUMENT) -> bytes | None:
        """None if there is none, or it is larger than was ever written. Raises OSError."""
        try:
            data = files.read(self._of(name), most + 1)
        except FileNotFoundError:
            return None
        return data if len(data) <= most else None

    def _remove(self, name: str) -> None:
        try:
            os.unlink(self._of(name))
        except FileNotFoundError:
            pass

    # ── what counts ─────────────────────────────────────────────────────────────────────────────

    @property
    def good(self) -> bytes | None:
        return self._read("good")

    @property
    def former(self) -> bytes | None:
        return self._read("former")

    def trial(self, boot: str, uptime: float) -> bytes | None:
        """The document that is tried now; None if there is none, or its trial has ended in whatever way."""
        found = self._trial()
        if found is None:
            return None
        begun, until, document = found
        if begun != boot or uptime >= until or document == self.good or digest_of(document) in self.bad():
            return None
        return document

    def _trial(self) -> tuple[str, float, bytes] | None:
        raw = self._read("trial", MAX_DOCUMENT + 128)
        head, _, document = (raw or b"").partition(b"\n")
        try:
            boot, until = head.decode("ascii").split()
            return boot, float(until), document
        except ValueError:
            return None

    def in_force(self, boot: str, uptime: float) -> bytes | None:
        """The document whose tables count now. Raises OSError."""
        return self.trial(boot, uptime) or self.good

    def bad(self) -> dict[str, str]:
        """Digest -> why, of documents that are not tried again. A damaged list is empty."""
        try:
            found = json.loads(self._read("bad", MAX_BAD) or b"{}")
        except (ValueError, RecursionError):
            return {}
        return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}

    # ── steps ───────────────────────────────────────────────────────────────────────────────────

    def begin(self, document: bytes, boot: str, until: float) -> None:
        """From now on the document is tried, until an uptime in this boot. Raises OSError."""
        files.replace(self._of("trial"), f"{boot} {until:.1f}\n".encode() + document)

    def confirm(self, document: bytes) -> None:
        """The document is in force, and the one before is kept. Raises OSError; then the trial goes on."""
        before = self.good
        if before is not None and before != document:
            files.replace(self._of("former"), before)
        files.replace(self._of("good"), document)
        self._remove("trial")

    def refuse(self, document: bytes, why: str) -> None:
        """The document is not tried again. Raises OSError; then its trial ends with its time."""
        known = {**self.bad(), digest_of(document): why[:200]}
        while len(known) > MOST_BAD:
            del known[next(iter(known))]
        files.replace(self._of("bad"), json.dumps(known, indent=1).encode() + b"\n")

    def was_cut(self, document: bytes) -> bool:
        """Its trial was cut short. Whether for the second time: once, the power may have gone for any reason, and a
        halt must not be refused for it. Raises OSError."""
        digest = digest_of(document).encode()
        if self._read("cut", len(digest)) == digest:
            return True
        files.replace(self._of("cut"), digest)
        return False

    def end(self) -> None:
        """Nothing is tried any more, and the filter has read the policy that counts. Raises OSError."""
        self._remove("trial")

    @property
    def is_unfinished(self) -> bool:
        """Whether a trial has not come to its `end`, whatever became of it."""
        return os.path.exists(self._of("trial"))

    @property
    def refused_trial(self) -> bytes | None:
        """A document that was refused, and whose trial has not come to its `end`."""
        found = self._trial()
        return found[2] if found is not None and digest_of(found[2]) in self.bad() else None

    def left(self, boot: str, uptime: float, stopped: bool = False) -> bytes | None:
        """A document whose trial has neither an end nor time left: it may be why the router restarted. stopped: whoever
        tried it is gone, whatever time is left."""
        found = self._trial()
        if found is None or (found[0] == boot and uptime < found[1] and not stopped):
            return None
        return None if found[2] == self.good or digest_of(found[2]) in self.bad() else found[2]

    def roll_back(self) -> bytes | None:
        """The former document is in force again; returns it, None if there is none. Raises OSError."""
        former = self.former
        if former is None:
            return None
        files.replace(self._of("good"), former)
        self._remove("former")
        return former


def digest_of(document: bytes) -> str:
    """16 hex digits that name a document; of all its bytes if it has no form."""
    from cpe_filter.signed import document as documents
    from cpe_filter.signed import signify
    from cpe_filter.signed.errors import SignedError

    try:
        return documents.digest(signify.signed_message(document).message)
    except SignedError:
        return documents.digest(document)
