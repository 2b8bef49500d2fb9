"""What has become of signed documents, as `provision` leaves it for the running filter; and how far that was reported.

Knows the form of the file, which is read without json, because the running filter reads it:

    id 0123456789abcdef                            of this list; another one where it was begun again
    in-force policy 0123456789abcdef 41            type, digest and sequence, a line for each type
    12 refused - 89abcdef01234567 0 signature      running number, result, type, digest, sequence, why
    CHECKSUM

"-" and 0: not known. Must not know what a document is, or when an event is sent. Pure, except for
`DocumentNews.look`.
"""

from __future__ import annotations

import os

from cpe_filter.lean import files
from cpe_filter.lean.checksum import CorruptStateError, with_checksum, without_checksum
from cpe_filter.lean.named_tuple import NamedTuple

#: The list's place in the folder of documents, and that folder's next to the state file.
LIST, PROVISION = os.path.join("news", "list"), "provision"
#: Outcomes that are kept, the latest; bytes of the file with them.
MOST, MAX_BYTES = 32, 8192
MAX_SEQUENCE, MAX_WHY = 1 << 53, 16
TYPES = ("policy", "table", "replies")
RESULTS = ("applied", "refused", "taken-back", "rolled-back")
_NONE = "-"


class Ended(NamedTuple):
    """An outcome. number: a running one. type, digest: "" and sequence: 0 where they are not known. why: "" without."""

    number: int
    result: str
    type: str
    digest: str
    sequence: int
    why: str


class News(NamedTuple):
    """id: of the list. in_force: type, digest and sequence. ended: the latest outcomes, the oldest first."""

    id: str
    in_force: tuple[tuple[str, str, int], ...] = ()
    ended: tuple[Ended, ...] = ()


class Mark(NamedTuple):
    """How far a list was reported: the running numbers of what was last put into the spool, and what has arrived."""

    id: str = ""
    reported: int = 0
    arrived: int = 0


NO_MARK = Mark()


def encode(news: News) -> bytes:
    lines = [f"id {news.id}", *(f"in-force {kind} {digest} {sequence}" for kind, digest, sequence in news.in_force)]
    for one in news.ended:
        words = (str(one.number), one.result, one.type, one.digest, str(one.sequence), one.why)
        lines.append(" ".join(word or _NONE for word in words))
    return with_checksum("\n".join((*lines, "")).encode())


def parse(data: bytes) -> News:
    """What `encode` has written. Raises `CorruptStateError`."""
    if len(data) > MAX_BYTES:
        raise CorruptStateError("too large")
    try:
        lines = [line.split(" ") for line in without_checksum(data).decode("ascii").splitlines()]
        ((word, name), *rest) = lines
        in_force = tuple(_in_force(*words[1:]) for words in rest if words[0] == "in-force")
        ended = tuple(_ended(*words) for words in rest if words[0] != "in-force")
        if word != "id" or len(in_force) > len(TYPES) or len(ended) > MOST:
            raise ValueError
        return News(_hex(name), in_force, ended)
    except CorruptStateError:
        raise
    except (ValueError, TypeError):
        raise CorruptStateError("not a list of outcomes") from None


def is_why(word: str) -> bool:
    """Whether the wire takes this word."""
    return 0 < len(word) <= MAX_WHY and word[0] != "-" and all("a" <= letter <= "z" or letter == "-" for letter in word)


def _in_force(kind: str, digest: str, sequence: str) -> tuple[str, str, int]:
    return _one_of(kind, TYPES), _hex(digest), _number(sequence, 1)


def _ended(number: str, result: str, kind: str, digest: str, sequence: str, why: str) -> Ended:
    if why != _NONE and not is_why(why):
        raise ValueError
    return Ended(
        _number(number, 1),
        _one_of(result, RESULTS),
        "" if kind == _NONE else _one_of(kind, TYPES),
        "" if digest == _NONE else _hex(digest),
        _number(sequence, 0),
        "" if why == _NONE else why,
    )


def _one_of(word: str, words: tuple[str, ...]) -> str:
    return words[words.index(word)]


def _hex(word: str) -> str:
    if len(word) != 16 or not set(word) <= set("0123456789abcdef"):
        raise ValueError
    return word


def _number(word: str, least: int) -> int:
    if not word.isdecimal() or len(word) > 16 or not least <= int(word) <= MAX_SEQUENCE:
        raise ValueError
    return int(word)


def path_of(state_file: str) -> str:
    return os.path.join(os.path.dirname(state_file), PROVISION, LIST)


class DocumentNews:
    """The side of the running filter. `path`: of the list; `mark`: how far it is; `in_force`: as of the last `look`."""

    def __init__(self, state_file: str, mark: Mark) -> None:
        self.path = path_of(state_file)
        self._stamp: tuple[int, int] | None = None
        self.mark = mark
        self.in_force: tuple[tuple[str, str, int], ...] = ()

    def look(self) -> tuple[Ended, ...]:
        """The outcomes that have not been reported, if the list has changed since the last call; they are from now on.

        Raises OSError, `CorruptStateError`, once for each change.
        """
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return ()  # nothing has become of any document yet
        stamp = status.st_mtime_ns, status.st_ino
        if stamp == self._stamp:
            return ()
        self._stamp = stamp
        news = parse(files.read(self.path, MAX_BYTES + 1))
        self.in_force = news.in_force
        mark = self.mark if self.mark.id == news.id else Mark(news.id)
        last = news.ended[-1].number if news.ended else 0
        # An older copy of the list may have been restored: its next outcome is new.
        found = tuple(one for one in news.ended if one.number > mark.reported)
        self.mark = Mark(news.id, last, min(mark.arrived, last))
        return found

    def arrived(self) -> bool:
        """Nothing that was reported waits any more. Whether that is new."""
        mark = self.mark
        if mark.arrived == mark.reported:
            return False
        self.mark = Mark(mark.id, mark.reported, mark.reported)
        return True


def restored(saved: object, whole: bool) -> Mark:
    """A mark that was saved. saved: its parts, or anything. whole: whether the spool has what was put into it."""
    if isinstance(saved, list) and len(saved) == 3:
        name, reported, arrived = saved
        if isinstance(name, str) and isinstance(reported, int) and isinstance(arrived, int):
            arrived = max(0, min(arrived, reported))
            return Mark(name, reported if whole else arrived, arrived)
    return NO_MARK
