"""Judges what `send` has left: only in a child process, because the verifier and the parser take memory.

Knows signed documents, the router's certificate and the clock. Must not know devices. What a document asks for is
noted as taken before it is carried out, so that no replay is carried out, whatever is killed in between; one that was
taken and has no outcome yet is carried out again.
"""

from __future__ import annotations

import json

from cpe_filter.lean.clocks import posix
from cpe_filter.live.instruct import content
from cpe_filter.report import spool_dir
from cpe_filter.report.certificate import MOST_BYTES, CertificateError, parse
from cpe_filter.report.clock_state import synchronised
from cpe_filter.signed import document, keys, sequence, signify
from cpe_filter.signed.document import INSTRUCTION, Document, Recipient
from cpe_filter.signed.errors import EARLY, SignedError
from cpe_filter.signed.verify import SLACK_S, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Documents of one file.
MOST = 8
#: Codes of refusals besides signed.errors: not an instruction that is known; files of the router that cannot be used.
CONTENT, STATE = "content", "state"
#: The outcome of a document that was taken and not carried out yet.
_TAKEN = "taken"


def judge(
    path: str, folder: str, state: str, certificate: str, now: float | None = None, wall: float | None = None
) -> list[tuple[str, str, str, str, str, int, str]]:
    """Digest, outcome ("" to carry it out), action, device, reason, until, and a line about each document.

    path: the file; folder: of keys; state: the file of sequences; certificate: the router's. now, wall: POSIX seconds,
    for tests: the clock if it is synchronised, and the clock as it is. Those without an outcome are in the order of
    their sequences. Raises OSError.
    """
    texts = _texts(path)
    if now is None and wall is None:
        now = posix() if synchronised() else None
    if wall is None:
        wall = posix() if now is None else now
    recipient = _recipient(certificate)
    taken = _load(state)
    refused, good = [], []
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        name = _name(data)
        try:
            if isinstance(taken, str):
                raise SignedError(STATE, taken)
            made = verify(data, keys.load(folder), INSTRUCTION, recipient, now)
            asked = content.parse(made.content, made.issued)
            # A clock that is not synchronised is asked, too: else a stolen key could exempt until the year 9999.
            if asked.until > wall + content.MAX_EXEMPT_S + SLACK_S:
                raise SignedError(EARLY, f"its exemption ends {content.MAX_EXEMPT_S // 86400} days from now, or later")
            good.append((made, asked))
        except SignedError as error:
            refused.append((name, error.code, "", "", "", 0, str(error)))
        except content.ContentError as error:
            refused.append((name, CONTENT, "", "", "", 0, str(error)))
    good.sort(key=lambda pair: pair[0].sequence)
    made_of = [_taken(made, asked, taken) for made, asked in good if not isinstance(taken, str)]
    if not isinstance(taken, str) and any(not one[1] for one in made_of):
        taken.save(state)
    return [*refused, *made_of]


def _taken(made: Document, asked: content.Instruction, taken: sequence.Taken) -> tuple[Any, ...]:
    outcome = taken.outcome(made.digest)
    line = ""
    if outcome == _TAKEN:
        outcome = ""
    elif not outcome:
        try:
            taken.check(made)
        except SignedError as error:
            outcome, line = error.code, str(error)
        else:
            taken.take(made)
            taken.done(made.digest, _TAKEN)
    return made.digest, outcome, asked.action, asked.device, asked.reason, asked.until, line


def note(state: str, digest: str, outcome: str) -> None:
    """Keeps what has become of a document. Raises OSError, `SignedError`."""
    taken = sequence.load(state)
    taken.done(digest, outcome)
    taken.save(state)


def _texts(path: str) -> list[str]:
    """The file of `send`, which is not trusted. Raises OSError."""
    try:
        found = json.loads(spool_dir.read(path, spool_dir.MOST_SENT))
    except (ValueError, RecursionError):
        found = None
    texts = [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
    return texts[:MOST]


def _name(data: bytes) -> str:
    """The digest of the message, whether its signature is good or not; of everything, if there is no message."""
    try:
        return document.digest(signify.signed_message(data).message)
    except SignedError:
        return document.digest(data)


def _recipient(path: str) -> Recipient:
    """The router, by the name in its certificate. Raises OSError."""
    with open(path, "rb") as file:
        try:
            return Recipient(parse(file.read(MOST_BYTES)).name)
        except CertificateError:
            return Recipient("")


def _load(state: str) -> sequence.Taken | str:
    """What was taken; a line if that is not known."""
    try:
        return sequence.load(state)
    except SignedError as error:
        return str(error)
    except OSError as error:
        return f"{state}: {error.strerror}"
