"""A line from the client -> a command's verb and the rest.

Knows RFC 5321 section 4.1 and the extensions' commands, and how they are misspelt in the wild. Must not know replies or
what was said before.
"""

from __future__ import annotations

from cpe_filter.inspect.states import COMMANDS
from cpe_filter.lean.named_tuple import NamedTuple

_VERBS = {verb.encode(): verb for verb in COMMANDS}

#: Longest command lines, bytes. RFC 5321 section 4.5.3.1.4 allows 512; extensions add to MAIL and RCPT (RFC 6531:
#: 10 + 10, RFC 3461: 500, RFC 4954: 500), and AUTH has 12288 (RFC 4954 section 4), of which nothing is kept.
LINE = 2048
COMMAND_LIMIT, AUTH_LIMIT = 512, 12288
LIMITS = {"MAIL": LINE, "RCPT": LINE, "AUTH": AUTH_LIMIT, "private": AUTH_LIMIT}
#: The longest name of a private-use command that is read, characters. Exchange's longest has 15.
PRIVATE_NAME = 32


class Command(NamedTuple):
    """verb: as in `COMMANDS`, "" where the line is not a command. rest: what follows it. quirks: how it was written."""

    verb: str
    rest: bytes
    quirks: tuple[str, ...]


#: Verbs of four letters as nearly all clients write them, alone and before a blank.
_USUAL = {
    written: Command(verb, b"", ())
    for verb in COMMANDS
    if len(verb) == 4
    for written in (verb.encode(), verb.encode() + b" ")
}


def parse_command(line: bytes) -> Command:
    """Reads a line without its end. Any case, blanks before it, a tab, a colon or nothing between verb and rest."""
    usual = _USUAL.get(line[:5])
    if usual is not None:
        return usual if len(line) == 4 else tuple.__new__(Command, (usual.verb, line[4:], ()))
    text = line.lstrip(b" \t")
    word = text.partition(b" ")[0]
    verb = _VERBS.get(word.strip().upper(), "") if len(word) < 12 else ""
    rest = text[len(word) :]
    if not verb:
        upper = text[:9].upper()
        if upper.startswith((b"MAILFROM", b"RCPTTO")):  # the space forgotten
            verb = upper[:4].decode()
            rest = text[4:]
        elif b"\t" in word or b":" in word:
            word = text.replace(b":", b"\t", 1).split(b"\t", 1)[0]
            verb = _VERBS.get(word.upper(), "") if len(word) < 12 else ""
            rest = text[len(word) :]
    if not verb:
        return Command("", b"", ())
    return Command(verb, rest, _quirks(text[: len(verb)], len(text) < len(line)))


def _quirks(written: bytes, indented: bool) -> tuple[str, ...]:
    """How a verb was written."""
    if written.isupper():
        return ("leading-space",) if indented else ()
    case = "lower-case" if written.islower() else "mixed-case"
    return ("leading-space", case) if indented else (case,)


def private_name(line: bytes) -> str:
    """The name of a private-use command at the beginning of a line, or of a reply's line to EHLO; "" if there is none.

    Both begin with X (RFC 5321 sections 2.2.2 and 4.1.5). In upper case.
    """
    word = line[: PRIVATE_NAME + 1].replace(b"=", b" ", 1).split(None, 1)[:1]  # "X-EXPS=LOGIN" names X-EXPS
    name = word[0].upper() if word else b""
    if not name.startswith(b"X") or len(name) > PRIVATE_NAME or not name.replace(b"-", b"").isalnum():
        return ""
    return name.decode()


def parse_private(line: bytes, name: str) -> Command:
    """As `parse_command`, of a line whose private-use command has this name; its verb is "private"."""
    text = line.lstrip(b" \t")
    return Command("private", text[len(name) :], _quirks(text[: len(name)], len(text) < len(line)))


def announced_size(rest: bytes) -> int:
    """The number that follows a private-use command: the bytes that it announces; 0 if there is none."""
    word = rest[:24].split(None, 1)[:1]
    return int(word[0]) if word and word[0].isdigit() and len(word[0]) <= 10 else 0


def parse_chunk(rest: bytes) -> tuple[int, bool] | None:
    """What follows BDAT: size and whether it is the last chunk (RFC 3030 section 2); None if it is nothing such."""
    words = rest.split()
    last = len(words) == 2 and words[1].upper() == b"LAST"
    # chunk-size = 1*DIGIT. 10 digits exceed any message; int() of thousands would not be linear.
    if len(words) not in (1, 2) or (len(words) == 2 and not last) or not words[0].isdigit() or len(words[0]) > 10:
        return None
    return int(words[0]), last


def is_command(line: bytes) -> bool:
    """Whether a line, or its beginning, starts with a known verb."""
    word = line[:12].split(None, 1)[:1]
    return bool(word) and word[0].upper() in _VERBS


def is_no_content(line: bytes) -> bool:
    """Whether a line is a command that is rare in a message: content that was expected is not being sent."""
    upper = line[:10].upper()
    return upper in (b"QUIT", b"RSET") or upper.startswith((b"MAIL FROM:", b"EHLO ", b"HELO "))


def is_no_prose(line: bytes) -> bool:
    """Whether a line is a command in a form that is hardly a line of a message's text, however the verb is written."""
    verb, rest, _ = parse_command(line)
    if verb == "MAIL" or verb == "RCPT":
        return b":" in rest
    return verb in ("EHLO", "HELO", "AUTH", "BDAT") or (verb != "" and not rest.strip())
