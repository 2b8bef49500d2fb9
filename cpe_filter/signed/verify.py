"""From bytes to a document that may be used: signature, type, audience and dates, in this order.

Knows what has to hold. Must not know files, or which documents were taken before (sequence). Nothing of an unsigned
byte is parsed. A document passes our own verifier, and usign or signify too where one is installed (program).
"""

from __future__ import annotations

import time

from cpe_filter import __version__
from cpe_filter.signed import document, ed25519, program, signify
from cpe_filter.signed.document import MAX_BYTES, PURPOSE, Document, Recipient
from cpe_filter.signed.errors import AUDIENCE, EARLY, EXPIRED, LARGE, SIGNATURE, TYPE, SignedError
from cpe_filter.signed.errors import PURPOSE as WRONG_KEY
from cpe_filter.signed.keys import Keys

#: Seconds by which the clocks of ISP and router may differ.
SLACK_S = 86400


class UnsuitableError(SignedError):
    """A document whose signature is good, and which does not count here or now. document: what it is."""

    def __init__(self, code: str, text: str, document: Document) -> None:
        super().__init__(code, text)
        self.document = document


def verify(
    data: bytes,
    keys: Keys,
    kind: str | tuple[str, ...],
    recipient: Recipient,
    now: float | None,
    agent: str = __version__,
    programs: tuple[str, ...] = program.PROGRAMS,
) -> Document:
    """A document of this type, signed by a key for it, for this router, at this time. Raises `SignedError`.

    data: the file, as `signify -S -e` writes it. kind: of document.PURPOSE, one or those that are taken. now: POSIX
    seconds; None if the clock is not synchronised: then its dates are not judged. agent: the version of this program.
    Not checked: sequence, and whether a staged document has reached this router (Document.is_rolled_out_to).
    """
    made = authenticated(data, keys, kind, agent, programs)
    kinds = _all(kind)
    if made.type not in kinds:
        raise UnsuitableError(TYPE, f"it is of type {made.type}; expected {' or '.join(kinds)}", made)
    if not made.is_for(recipient):
        raise UnsuitableError(AUDIENCE, f"it is for {_few(made.audience)}, not for this router", made)
    if now is not None and made.issued > now + SLACK_S:
        raise UnsuitableError(EARLY, f"it was issued at {_date(made.issued)}; the clock says {_date(now)}", made)
    if now is not None and made.expires <= now:
        raise UnsuitableError(EXPIRED, f"it expired at {_date(made.expires)}; the clock says {_date(now)}", made)
    return made


def authenticated(
    data: bytes,
    keys: Keys,
    kind: str | tuple[str, ...],
    agent: str = __version__,
    programs: tuple[str, ...] = program.PROGRAMS,
) -> Document:
    """The same, whoever and whenever it is for: what `policy verify` at the ISP asks. Raises `SignedError`.

    Each of several types needs a key for its purpose: what a document is, is known only once its signature was judged.
    """
    kinds = _all(kind)
    most = max(MAX_BYTES[one] for one in kinds) + 2 * signify.MAX_COMMENT
    if len(data) > most:
        raise SignedError(LARGE, f"{len(data)} bytes; allowed: at most {most}")
    signed = signify.signed_message(data)
    number = signed.number
    points = keys.of(tuple(dict.fromkeys(PURPOSE[one] for one in kinds)), number)
    good = [point for point in points.values() if ed25519.verify(point, signed.message, signed.signature)]
    if not good:
        raise SignedError(SIGNATURE, f"not a signature of key {number.hex()}")
    program.agree(signify.PublicKey(number, good[0]), signed, programs)
    made = document.parse(signed.message, agent)
    if made.type in kinds and points.get(PURPOSE[made.type]) not in good:
        expected = PURPOSE[made.type]
        raise SignedError(WRONG_KEY, f"key {number.hex()} is for {next(iter(points))}; expected a key for {expected}")
    return made._replace(key=number)


def _all(kind: str | tuple[str, ...]) -> tuple[str, ...]:
    return (kind,) if isinstance(kind, str) else kind


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _date(posix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(posix))
