"""The meaning of a server's refusal for the client: a reply -> a class, and what the class says about the client.

Knows the form of the rows (`reply_rows`, and those of the policy) and what each class is evidence of. Keeps nothing. A
list of lines that homes have (PBL, or a list that has it in it) proves a residential address and nothing more; a
recipient that does not exist does not speak against the sender; and a wording that no row knows weighs little.

A row is the letter of its class, then its parts between "+", all of which the reply must have:

    _pbl_         whole words; without the last "_" the beginning of one
    userunknown   letters and digits, wherever spaces, punctuation and ends of lines are
    !domain       must not be there

What a reply is searched in begins with "_c550_c5_5.1.1_" (its code, the code's first digit, the first enhanced status
code) and ends with "_$_". The first row that matches decides. The shipped rows are found by three characters each that
a reply must have (`_index`), so that a reply is compared with a few of them; those of the policy one after the other.
"""

from __future__ import annotations

from cpe_filter.detect.reply_rows import ROWS
from cpe_filter.inspect.facts import Reply

#: What a reply is evidence of. `none` is for positive replies, and for commands that a server does not have.
NONE, UNKNOWN_USER, LISTED, RESIDENTIAL, DEFERRED, REFUSED = (
    "none",
    "unknown-user",
    "dnsbl-listed",
    "residential-line",
    "deferred",
    "refused",
)
#: How much counts of what may have other causes: an unknown wording, a list of unknown make, a full mailbox.
LITTLE = 0.25
#: Class of a reply that no row knows.
_UNREAD = "?"
#: Letter of a class -> its name, the evidence that a 5yz is, and how much of it counts. A 4yz is `DEFERRED` instead,
#: except where it is about the line.
KINDS: dict[str, tuple[str, str, float]] = {
    "u": ("unknown-user", UNKNOWN_USER, 1.0),
    "h": ("residential-line", RESIDENTIAL, 1.0),
    "l": ("dnsbl-listed", LISTED, 1.0),
    "i": ("unnamed-list", LISTED, LITTLE),
    "m": ("mixed-list", LISTED, 0.0),
    "s": ("sender-rejected", REFUSED, 1.0),
    "c": ("content", REFUSED, 1.0),
    "o": ("policy", REFUSED, LITTLE),
    "a": ("relaying-denied", REFUSED, LITTLE),
    "f": ("mailbox-full", REFUSED, LITTLE),
    "b": ("message-size", REFUSED, LITTLE),
    "t": ("rate-limited", REFUSED, LITTLE),
    "g": ("greylisted", REFUSED, LITTLE),
    "x": ("server-trouble", REFUSED, LITTLE),
    "p": ("protocol-error", REFUSED, LITTLE),
    "n": ("not-implemented", NONE, 0.0),
    _UNREAD: ("unread", REFUSED, LITTLE),
}
#: Keys of `_index`, a power of two.
_KEYS = 2048
#: Events whose replies are about the client or the sender, and not yet about a recipient.
_BEFORE_RCPT = ("greeting", "hello", "sender")
#: Characters of a reply that are read: its first lines, and always its last.
MOST = 1600
#: Bytes that are neither letters nor digits -> spaces.
_AROUND = ".,;:!?'\"()[]"
_WORDS = bytes(byte if chr(byte).isalnum() and byte < 128 else 32 for byte in range(256))


def classify(reply: Reply | None) -> str:
    """What a reply is evidence of: one of the constants above."""
    return read(reply)[1]


def read(reply: Reply | None, rows: str = "", event: str = "", signed: str = "") -> tuple[str, str, float]:
    """A reply's class (a name of `KINDS`, or `NONE`), the evidence that it is, and how much of that counts (0 to 1).

    rows: further rows, which come first. event: the kind of event (inspect.facts) that the reply belongs to, if known.
    signed: rows of a document. They say what the shipped ones do not know, and make what these know weigh less.
    """
    if reply is None or reply.code < 400:
        return NONE, NONE, 0.0
    text = searched(reply)
    letter = rows and _match(rows, *text)
    if not letter:
        letter = _search(*text) or _UNREAD
        if signed:
            letter = _relaxed(letter, signed, *text)
    if letter == "u" and event in _BEFORE_RCPT:
        letter = "s"
    name, evidence, part = KINDS[letter]
    if reply.code < 500 and evidence in (UNKNOWN_USER, REFUSED):
        return name, DEFERRED, 1.0
    return name, evidence, part


def _key(a: int, b: int, c: int) -> int:
    """Three characters -> a number below `_KEYS`."""
    return (a * 31 + b) * 31 + c & _KEYS - 1


def _index() -> tuple[bytes, bytes]:
    """The shipped rows by the key that a reply must have: how many rows have lesser keys, and where the rows begin.

    Two bytes each. The key is that of the middle of a row's longest part, where words differ the most.
    """
    found, at = [], 0
    while at < len(ROWS):
        end = ROWS.index("\n", at)
        part = max((part for part in ROWS[at + 1 : end].split("+") if part[0] != "!"), key=len).encode("ascii")
        middle = len(part) // 2
        found.append(_key(*part[middle - 1 : middle + 2]) << 16 | at)
        at = end + 1
    found.sort()
    lesser, places = bytearray(), bytearray()
    for n, one in enumerate(found):
        while len(lesser) <= 2 * (one >> 16):
            lesser += n.to_bytes(2, "big")
        places += (one & 0xFFFF).to_bytes(2, "big")
    return bytes(lesser + len(found).to_bytes(2, "big") * (_KEYS + 1 - len(lesser) // 2)), bytes(places)


_LESSER, _ROW_AT = _index()


def _search(words: str, letters: str) -> str:
    """The letter of the first of the shipped rows that matches; "" if there is none."""
    best = len(ROWS)
    for text in (words, letters):
        data = text.encode("ascii")
        for place in {2 * _key(a, b, c) for a, b, c in zip(data, data[1:], data[2:], strict=False)}:
            first, end = _LESSER[place : place + 2], _LESSER[place + 2 : place + 4]
            if first != end:
                for n in range(2 * int.from_bytes(first, "big"), 2 * int.from_bytes(end, "big"), 2):
                    at = _ROW_AT[n] << 8 | _ROW_AT[n + 1]
                    if at < best and _has(ROWS[at + 1 : ROWS.find("\n", at)], words, letters):
                        best = at
    return ROWS[best : best + 1]


def _relaxed(letter: str, rows: str, words: str, letters: str) -> str:
    """The letter of the first row that matches and may take the shipped reading's place; else that one."""
    for row in rows.splitlines():
        if may_replace(letter, row[0]) and _has(row[1:], words, letters):
            return row[0]
    return letter


def may_replace(known: str, letter: str) -> bool:
    """Whether a document may read a reply as this class where the shipped rows read it as another one, `known`.

    A reply that no row knows may become anything; one that is known may become what weighs less: a list of unknown
    make for one that names the line; what weighs as an unknown wording; nothing.
    """
    old, new = _grade(known), _grade(letter)
    return known == _UNREAD or new < old or new == old < _WEIGHS or known + letter == "li"


_NOTHING, _AS_UNKNOWN, _WEIGHS = range(3)


def _grade(letter: str) -> int:
    _, evidence, part = KINDS[letter]
    if evidence in (NONE, RESIDENTIAL) or not part:
        return _NOTHING
    return _AS_UNKNOWN if (evidence, part) == (REFUSED, LITTLE) else _WEIGHS


def _match(rows: str, words: str, letters: str) -> str:
    """The letter of the first row that matches; "" if there is none."""
    for row in rows.splitlines():
        if _has(row[1:], words, letters):
            return row[0]
    return ""


def _has(parts: str, words: str, letters: str) -> bool:
    """Whether a reply has all parts of a row."""
    for part in parts.split("+"):
        if part[0] == "_":
            if part not in words:
                return False
        elif part[0] == "!":
            if part[1:] in (words if part[1] == "_" else letters):
                return False
        elif part not in letters:
            return False
    return True


def searched(reply: Reply) -> tuple[str, str]:
    """A reply as rows are searched in: its words, then its letters and digits without what lies between them.

    Both have several lines twice, also joined without a space, because some servers break lines within words. They are
    without addresses and names of hosts, because a domain may have any name, and whether local-parts are kept must not
    change a judgement. Numbers are words, and not among the letters.
    """
    lines, room = [], MOST - min(len(reply.text), MOST)
    for line in reply.before:
        if room <= 0:
            break
        lines.append(line[:room])
        room -= len(line)
    lines.append(reply.text[:MOST])
    status, said = "", []
    for line in lines:
        kept = (line[4:] if line[:3].isdigit() and line[3:4] in " -" else line).lower()
        for token in kept.split():
            found = _status(token)
            if found:
                status = status or found
                kept = kept.replace(token, "", 1)
        said.append(kept.lstrip())
    words = _words(" ".join(said))
    letters = _letters(words)
    if len(said) > 1:
        joined = _words("".join(said))
        words += joined
        letters += " " + _letters(joined)
    code = reply.code
    return f"_c{code}_c{code // 100}_{status}_{'_'.join(words)}_$_", letters


def _words(text: str) -> list[str]:
    kept = " ".join(map(_without_hosts, text.split()))
    return kept.encode("ascii", "replace").translate(_WORDS).decode("ascii").split()


def _letters(words: list[str]) -> str:
    return "".join([word for word in words if not word.isdigit()])


def _status(token: str) -> str:
    """An enhanced status code (RFC 3463), also as `(#5.1.1)`; "" if the token is none."""
    code = token.strip("#()[]:;,-")
    parts = code.split(".")
    if len(parts) == 3 and parts[0] in ("4", "5") and all(part.isdigit() and len(part) <= 3 for part in parts):
        return code
    return ""


def _without_hosts(token: str) -> str:
    """A word without what names hosts and mailboxes: `<...>`, `local@domain`, `host[address]`, names with an address in
    them. Links stay, and so do the return codes of lists."""
    if "//" in token or "127.0.0." in token:
        return token if "@" not in token else ""
    before, bracket, rest = token.partition("<")
    if bracket:
        token = before + " " + rest.rpartition(">")[2]
    if "@" in token:
        return ""
    name = token.strip(_AROUND)
    if "." in name:
        name, bracket, address = name.partition("[")
        if bracket and address[:1].isdigit():  # a host's name and its address
            return "" if "." in name else name
        if "/" not in name and sum(map(str.isdigit, name)) >= 4:
            return ""
    return token
