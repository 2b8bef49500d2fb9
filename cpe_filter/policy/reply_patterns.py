"""Patterns of refusals as people write them -> rows as the filter reads them (detect.replies).

Knows the form of a pattern and the names of the classes. Must not know what follows from a class. Not part of the
running filter, which gets the rows.
"""

from __future__ import annotations

from typing import Any

from cpe_filter.inputs import shown

#: Name of a class -> its letter in a row. The same as `detect.replies.KINDS` but `unread`.
CLASSES = {
    "unknown-user": "u",
    "residential-line": "h",
    "dnsbl-listed": "l",
    "unnamed-list": "i",
    "mixed-list": "m",
    "sender-rejected": "s",
    "content": "c",
    "policy": "o",
    "relaying-denied": "a",
    "mailbox-full": "f",
    "message-size": "b",
    "rate-limited": "t",
    "greylisted": "g",
    "server-trouble": "x",
    "protocol-error": "p",
    "not-implemented": "n",
}
#: The longest pattern, how many parts it may have, and the shortest phrase.
LONGEST, MOST_PARTS, SHORTEST = 200, 6, 3
#: Letters of a phrase that says enough where a document gives a wording a meaning that weighs.
LETTERS_ALONE = 8
_FORM = (
    f'a phrase of {SHORTEST} letters or more, "=" and whole words, a reply code such as 550 or 5xx, an enhanced status '
    'code such as 5.1.1 or 5.1.*; "!" before one excludes it'
)


def read(entry: Any) -> str:
    """An entry of `[detect] replies`, `CLASS: PATTERN` -> a row. Raises ValueError, which says what is wrong."""
    kind, colon, says = entry.partition(":") if isinstance(entry, str) else ("", "", "")
    if not colon or not entry.isascii() or not entry.isprintable():
        raise ValueError("allowed: a class, a colon and a pattern of US-ASCII characters")
    if kind.strip() not in CLASSES:
        raise ValueError(f"its class is {shown(kind.strip())}; allowed: {', '.join(CLASSES)}")
    return row(kind.strip(), says)


def row(kind: str, says: str) -> str:
    """A class and a pattern -> a row. Raises ValueError, which says what is wrong with the pattern."""
    parts = [_part(part.strip()) for part in says.split("+")]
    if len(says) > LONGEST or len(parts) > MOST_PARTS:
        raise ValueError(f"it is too long; allowed: at most {LONGEST} characters and {MOST_PARTS} parts")
    if all(part[0] == "!" for part in parts):
        raise ValueError("it only excludes; allowed: at least one part without !")
    return CLASSES[kind] + "+".join(parts)


def _part(part: str) -> str:
    if part[:1] == "!":
        rest = _part(part[1:].strip())
        if rest[0] != "!":
            return "!" + rest
    elif _is_status(part):
        return "_" + part.rstrip("*") + ("" if part[-1] == "*" else "_")
    elif len(part) == 3 and part[0] in "45" and (part[1:].isdigit() or part[1:] == "xx"):
        return f"_c{part.rstrip('x')}_"
    elif part[:1] == "=":
        words = "_".join(_words(part[1:]))
        if len(words) > 1:
            return f"_{words}" + ("" if part[-1] == "*" else "_")
    else:
        letters = "".join(word for word in _words(part) if not word.isdigit())
        if len(letters) >= SHORTEST and "$" not in letters:
            return letters
    raise ValueError(f"it has the part {shown(part)}; allowed: {_FORM}")


def _words(part: str) -> list[str]:
    """Lower-case words of letters and digits, as in a reply; "$" is the end of one."""
    return "".join(c if c.isalnum() or c == "$" else " " for c in part.lower()).split()


def _is_status(part: str) -> bool:
    """`5.1.1`, `5.1.*` or `5.7.2*`."""
    numbers = part.split(".")
    if len(numbers) != 3 or numbers[0] not in ("4", "5") or not numbers[1].isdigit() or len(part) > 9:
        return False
    last = numbers[2].removesuffix("*")
    return last.isdigit() or numbers[2] == "*"
