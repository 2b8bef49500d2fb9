"""What has become of documents, on flash, for the running filter to report: see report.document_news.

Knows the list and the folders. Must not know how a document is judged or tried, or that the filter reads the list.
What is in force is compared with the folders, so that a document that came into force is never missed, whoever was
killed after that. A list that cannot be written must not stop a document: it is then written with the next one.
"""

from __future__ import annotations

import os

from cpe_filter.lean import files
from cpe_filter.lean.checksum import CorruptStateError
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.provision import effective
from cpe_filter.provision.folder import digest_of
from cpe_filter.provision.place import TYPES, Place, folder_of
from cpe_filter.report.document_news import LIST, MAX_BYTES, MOST, Ended, News, encode, is_why, parse
from cpe_filter.signed.errors import SignedError

#: Results: in force; judged and not tried; tried and taken back; taken out of force by a person.
APPLIED, REFUSED, TAKEN_BACK, ROLLED_BACK = "applied", "refused", "taken-back", "rolled-back"
#: Why a document is refused that was taken back before: that was reported then.
BAD = "bad"
#: Seconds for which another process may write the list.
_LOCK_S = 2.0


class Outcome(NamedTuple):
    """code: exit status. type, number: of the document, "" and 0 if its signature was not good. digest: of its bytes.

    result: one of the above; "" where there is nothing to say: it is in force already, or not for this router yet.
    why: a word, for what is not applied.
    """

    code: int
    type: str = ""
    digest: str = ""
    number: int = 0
    result: str = ""
    why: str = ""


def note(where: Place, *outcomes: Outcome) -> None:
    """Adds outcomes, and what has come into force. A refusal is noted once, however often the document comes."""
    try:
        path = os.path.join(where.folder, LIST)
        before = _read(path)
        if not outcomes and before.in_force == _in_force(where, before):
            return
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        lock = files.lock_folder(os.path.dirname(path), _LOCK_S)
        try:
            before = _read(path)
            after = _with(before, _in_force(where, before), outcomes)
            if after != before and lock >= 0:
                files.replace(path, encode(after))
        finally:
            if lock >= 0:
                os.close(lock)
    except OSError:
        pass  # flash is full or damaged: whoever tries a document says so


def latest(where: Place) -> tuple[Ended, ...]:
    """The outcomes that are kept, the oldest first. Raises OSError."""
    return _read(os.path.join(where.folder, LIST)).ended


def _read(path: str) -> News:
    """A new list where there is none that can be read. Raises OSError."""
    try:
        return parse(files.read(path, MAX_BYTES + 1))
    except (FileNotFoundError, CorruptStateError):
        return News(os.urandom(8).hex())


def _in_force(where: Place, before: News) -> tuple[tuple[str, str, int], ...]:
    found = []
    for kind in TYPES:
        good = folder_of(where, kind).good
        if good is None:
            continue
        digest = digest_of(good)
        known = next((one for one in before.in_force if one[:2] == (kind, digest)), None)
        try:  # it is parsed only when it is another one
            found.append(known or (kind, digest, effective.kept(good).sequence))
        except SignedError:
            continue  # not usable for this version: it does not count
    return tuple(found)


def _with(before: News, in_force: tuple[tuple[str, str, int], ...], outcomes: tuple[Outcome, ...]) -> News:
    ended = list(before.ended)
    known = {_key(one.result, one.digest, one.why) for one in ended}
    added = [
        (one.result, one.type if one.type in TYPES else "", one.digest, one.number, one.why)
        for one in outcomes
        if one.result not in ("", APPLIED) and (one.result, one.why) != (REFUSED, BAD)
        if _key(one.result, one.digest, one.why) not in known
    ]
    added += [(APPLIED, *one, "") for one in in_force if one not in before.in_force]
    for number, (result, kind, digest, sequence, why) in enumerate(added, ended[-1].number + 1 if ended else 1):
        ended.append(Ended(number, result, kind, digest, sequence if kind else 0, why if is_why(why) else ""))
    return News(before.id, in_force, tuple(ended[-MOST:]))


def _key(result: str, digest: str, why: str) -> tuple[str, str, str]:
    """The same for what is noted once: a document is taken back once, for whatever reason."""
    return result, digest, why if result == REFUSED else ""
