"""Whether a document may be tried on this router now: its signature, audience, dates, sequence and content.

Composes signed, the folders and overlay. Must not know how a trial goes, or how a document came.
"""

from __future__ import annotations

import time

from cpe_filter.policy.model import Policy, PolicyError
from cpe_filter.provision import effective
from cpe_filter.provision.folder import Folder, digest_of
from cpe_filter.provision.news import BAD
from cpe_filter.provision.overlay import OverlayError
from cpe_filter.provision.place import TYPES, Place, folder_of
from cpe_filter.report.clock_state import synchronised
from cpe_filter.signed import keys, sequence, signify
from cpe_filter.signed.document import PURPOSE, Document, Recipient
from cpe_filter.signed.errors import SEQUENCE, SignedError
from cpe_filter.signed.verify import UnsuitableError, verify

#: Code of a refusal besides those of signed.errors, and news.BAD: what is in it cannot be used here.
CONTENT = "content"


class RefusedError(Exception):
    """A document that is not tried. code: a word for reports; made: the document, if it could be read; one line."""

    def __init__(self, code: str, text: str, made: Document | None = None) -> None:
        super().__init__(text)
        self.code, self.made = code, made


def judged(data: bytes, place: Place, recipient: Recipient) -> tuple[Document, Policy]:
    """A document that may be tried here and now, and the policy with it. Raises `RefusedError`, OSError."""
    now = time.time() if synchronised() else None
    made = None
    try:
        trusted = keys.load(place.keys)
        made = verify(data, trusted, TYPES, recipient, now)
        folder = folder_of(place, made.type)
        known = folder.bad().get(made.digest)
        if known is not None:
            raise RefusedError(BAD, f"it was tried before and taken back: {known}", made)
        _check_order(made, folder, trusted)
        return made, effective.policy_with(place, made)
    except SignedError as error:
        if isinstance(error, UnsuitableError):
            made = error.document
        raise RefusedError(error.code, str(error), made) from None
    except (OverlayError, PolicyError) as error:
        raise RefusedError(CONTENT, str(error).removeprefix("policy: "), made) from None


def _check_order(made: Document, folder: Folder, trusted: keys.Keys) -> None:
    """Raises `SignedError` for a document that is not later than all that were taken, unless it is the one in force."""
    good = folder.good
    if good is not None and digest_of(good) == made.digest:
        return
    sequence.load(folder.taken).check(made)
    # Also where its number could not be noted before a power cut, and for another key, whose old documents may never
    # have been here. Not where the key is not trusted any more: a stolen one could have used up all numbers.
    try:
        if good is None or not trusted.trusts(PURPOSE[made.type], signify.signed_message(good).number):
            return
        last = effective.kept(good).sequence
    except SignedError:
        return
    if made.sequence <= last:
        raise SignedError(SEQUENCE, f"its sequence is {made.sequence}; {last} is in force")
