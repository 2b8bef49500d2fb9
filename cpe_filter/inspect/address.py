"""The paths of MAIL and RCPT: bytes of a command line -> address.

Knows RFC 5321 section 4.1.2 and what is sent instead of it. Must not keep anything. Unless addresses are asked for,
only the domain becomes a string, so a local-part does not outlive this call.
"""

from __future__ import annotations

from cpe_filter.inspect.facts import Reply

#: How an empty reverse-path (`MAIL FROM:<>`, a bounce) is shown.
NULL_SENDER = "<>"
_NULL = NULL_SENDER.encode()
#: RFC 5321 section 4.5.3.1.3: the longest path. Longer ones are cut.
_LONGEST = 254
_PUNCTUATION = "<>()[]{}.,;:!?'\"`"
#: Bytes of a local-part's checksum (`hide_words`).
CHECK_BYTES = 4

#: How close to RFC 5321's syntax a path is: exactly; with other spacing; without <> or keyword.
EXACT, SPACED, BARE = "exact", "spaced", "bare"
#: What nearly every client writes before a path, by its keyword.
_USUAL = {b"FROM": b" FROM:<", b"TO": b" TO:<"}


def parse_path(rest: bytes, keyword: bytes) -> tuple[bytes, str]:
    """Reads `FROM:<path> parameters` (or `TO:`): what follows the verb MAIL or RCPT.

    Returns the mailbox as sent (source route left out; `<>` for the null sender, empty where there is none) and the
    form (`EXACT`, `SPACED` or `BARE`). Any spacing and case is read, quoted local-parts and source routes too.
    """
    usual = _USUAL[keyword]
    if rest[: len(usual)].upper() == usual:
        at, form = len(usual) - 1, EXACT
    else:
        at, form = _opening(rest, keyword)
    if rest[at : at + 1] == b"<":
        start = at + 1
        end = _closing(rest, start)
        if end == len(rest):
            form = BARE
    else:
        form = BARE
        start = end = at
        while end < len(rest) and rest[end] not in b" \t":
            end += 1
        if start == end:
            return b"", form
    path = rest[start:end].strip()
    if path[:1] == b"@":  # source route @one,@two:user@domain, obsolete but legal
        route = path.find(b":")
        if route > 0:
            path = path[route + 1 :]
    return path or _NULL, form


def _opening(rest: bytes, keyword: bytes) -> tuple[int, str]:
    """Where the path begins behind the keyword, and its form."""
    at = _skip_spaces(rest, 0)
    form = EXACT if at == 1 else SPACED
    if rest[at : at + len(keyword)].upper() == keyword:
        at += len(keyword)
        after = _skip_spaces(rest, at)
        colon = rest[after : after + 1] == b":"
        start = _skip_spaces(rest, after + colon)
        if not colon:
            form = BARE
        elif start != at + 1:
            form = SPACED
        return start, form
    return at, BARE


def address_of(path: bytes, local_parts: bool) -> str:
    """A mailbox as a string: complete, or only its domain ("" if it has none); `<>` for the null sender."""
    if local_parts or path == _NULL:
        return readable(path)
    # The domain begins behind the last @, because a quoted local-part may hold others.
    mark = path.rfind(b"@")
    return readable(path[mark + 1 :]) if mark >= 0 else ""


def local_part(path: bytes) -> bytes:
    """The part before the domain, without quotes."""
    mark = path.rfind(b"@")
    return path[: mark if mark >= 0 else len(path)].strip(b'"')


def check(local: bytes) -> bytes:
    """What is kept of a local-part to recognise it: a hash with a key of this process (PEP 456), of the lower case."""
    return (hash(local.lower()) & 0xFFFFFFFF).to_bytes(CHECK_BYTES, "big")


def hide_words(reply: Reply, checks: bytes) -> Reply:
    """A reply in which each word that is one of the local-parts with these checksums is blanked.

    checks: `check` of each, concatenated. Servers also quote local-parts without a domain:
    `550 5.1.1 john.doe: no such user`.
    """
    hidden = {checks[at : at + CHECK_BYTES] for at in range(0, len(checks), CHECK_BYTES)}

    def hide(text: str) -> str:
        words = text.split(" ")
        for i, word in enumerate(words):
            core = word.strip(_PUNCTUATION)
            if core and check(core.encode()) in hidden:
                words[i] = word.replace(core, "*")
        return " ".join(words)

    return Reply(reply.code, hide(reply.text), tuple(hide(line) for line in reply.before))


def readable(text: bytes) -> str:
    """Bytes from the wire as a string that is safe to print: UTF-8, no control characters, bounded."""
    out = text[:_LONGEST].decode("utf-8", "replace")
    return out if out.isprintable() else "".join(c if c.isprintable() else "�" for c in out)


def hide_local_parts(text: str) -> str:
    """A server's reply with `*@domain` in place of every `local@domain`."""
    at = text.find("@")
    while at >= 0:
        start = at
        if start and text[start - 1] == '"':
            start = max(text.rfind('"', 0, start - 1), 0)
        else:
            while start and text[start - 1] not in " <>(),;:'\"[]":
                start -= 1
        text = text[:start] + "*" + text[at:]
        at = text.find("@", start + 2)
    return text


def _skip_spaces(data: bytes, at: int) -> int:
    while at < len(data) and data[at] in b" \t":
        at += 1
    return at


def _closing(data: bytes, at: int) -> int:
    """Index of the `>` that closes a path, not one inside a quoted local-part; len(data) if none."""
    first = data.find(b">", at)
    if first < 0 or data.find(b'"', at, first) < 0:
        return first if first >= 0 else len(data)
    quoted = False
    i = at
    while i < len(data):
        byte = data[i]
        if byte == 0x22:
            quoted = not quoted
        elif byte == 0x5C and quoted:
            i += 1
        elif byte == 0x3E and not quoted:
            return i
        i += 1
    return first  # a quote that never closes hides nothing
