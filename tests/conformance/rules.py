"""Why tshark and replay may read a session in different ways: the reviewed list.

Knows readings. Each rule says what must hold for it to be the reason, and as far as possible checks it to the byte. A
difference to which none applies is unexplained: a mistake of one of the two that nobody has looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tests.conformance.readings import Reading

#: Names are kept up to so many bytes (inspect.address).
LONGEST = 254
#: Field, replay's reading, tshark's -> whether this is the reason.
Applies = Callable[[str, Reading, Reading], bool]


class Rule(NamedTuple):
    """name: for counts. text: for people, who is right and why."""

    name: str
    text: str
    applies: Applies


def missing(ours: Reading, theirs: Reading) -> list[str]:
    """Lines that replay has read as commands and tshark has not."""
    return list((Counter(ours.lines) - Counter(theirs.lines)).elements())


def extra(ours: Reading, theirs: Reading) -> list[str]:
    return list((Counter(theirs.lines) - Counter(ours.lines)).elements())


def _took(ours: Reading, theirs: Reading) -> bool:
    """All commands that tshark lacks it has read as content, or not shown; and it has read no others."""
    lines = Counter(missing(ours, theirs))
    return bool(lines) and not extra(ours, theirs) and not lines - Counter(theirs.taken) - Counter(theirs.unshown)


def _took_bytes(ours: Reading, theirs: Reading) -> bool:
    """The same lines, and some line ends, are what tshark's message is longer by."""
    lines = list((Counter(missing(ours, theirs)) & Counter(theirs.taken)).elements())
    more = sum(theirs.bytes) - sum(ours.bytes) - sum(len(line) + 2 for line in lines)
    return _took(ours, theirs) and abs(more) <= 3 + len(ours.bytes)


def _taken(field: str, ours: Reading, theirs: Reading) -> bool:
    if field in ("hello", "mail", "rcpt", "commands"):
        return _took(ours, theirs)
    return field == "bytes" and _took_bytes(ours, theirs)


def _refused_data(ours: Reading) -> bool:
    """DATA or BDAT was refused. Without PIPELINING replies answer commands in their order, behind the greeting."""
    return bool({"DATA", "BDAT"} & set(ours.commands)) and any(code >= 400 for code in ours.replies)


def _behind_dot(field: str, ours: Reading, theirs: Reading) -> bool:
    lines = missing(ours, theirs)
    return field == "commands" and bool(lines) and not Counter(lines) - Counter(theirs.unshown)


def _bare_dot(field: str, ours: Reading, theirs: Reading) -> bool:
    if "bare-lf-dot" not in ours.notes:
        return False
    return (field == "commands" and _took(ours, theirs)) or (field == "bytes" and sum(theirs.bytes) > sum(ours.bytes))


def _of_bdat(field: str, ours: Reading, theirs: Reading) -> bool:
    return "BDAT" in ours.commands and _taken(field, ours, theirs)


def _of_refused_data(field: str, ours: Reading, theirs: Reading) -> bool:
    return _refused_data(ours) and _taken(field, ours, theirs)


def _bdat_end(field: str, ours: Reading, theirs: Reading) -> bool:
    return field == "bytes" and "BDAT" in ours.commands and sum(ours.bytes) == sum(theirs.bytes)


def _auth_lines(field: str, ours: Reading, theirs: Reading) -> bool:
    early = theirs.early and sum(theirs.bytes) - sum(ours.bytes) == theirs.early
    return field == "bytes" and bool(early) and "AUTH" in ours.commands and 334 in ours.replies


def _auth_command(field: str, ours: Reading, theirs: Reading) -> bool:
    more = extra(ours, theirs)
    asked = "AUTH" in ours.commands and ours.replies.count(334) >= len(more)
    return field == "commands" and asked and bool(more) and not missing(ours, theirs)


def _content_after_refusal(field: str, ours: Reading, theirs: Reading) -> bool:
    return field == "bytes" and "content-after-refusal" in ours.notes and sum(ours.bytes) < sum(theirs.bytes)


def _octets(field: str, ours: Reading, theirs: Reading) -> bool:
    """What the server has acknowledged is what replay has read; a FIN counts 1."""
    if field not in ("bytes", "commands") or "lost-data" in ours.notes:
        return False
    return ours.octets > 0 and 0 <= theirs.octets - ours.octets <= 1 and bool(_DISORDER & theirs.notes)


_DISORDER = frozenset(
    f"{name} (client)" for name in ("retransmission", "fast_retransmission", "out_of_order", "lost_segment")
) | {"spurious_retransmission (client)", "ack_lost_segment (server)"}


def _lost(field: str, ours: Reading, theirs: Reading) -> bool:
    unseen = any(note.startswith(("ack_lost_segment", "lost_segment")) for note in theirs.notes)
    return "lost-data" in ours.notes and unseen


def _no_further(field: str, ours: Reading, theirs: Reading) -> bool:
    if not any(note.startswith("opaque") for note in ours.notes):
        return False
    if field == "replies":
        return theirs.replies[: len(ours.replies)] == ours.replies
    return field == "bytes" and not ours.bytes


def _not_tls(field: str, ours: Reading, theirs: Reading) -> bool:
    return field == "tls" and theirs.tls and "opaque: not-smtp" in ours.notes and ours.server[1] == 465


def _port_of_tls(field: str, ours: Reading, theirs: Reading) -> bool:
    return field == "replies" and ours.server[1] == 465 and theirs.tls and not theirs.replies


def _codes(field: str, ours: Reading, theirs: Reading) -> bool:
    return field == "replies" and "reply-code" in ours.notes and len(ours.replies) == len(theirs.replies)


def _unended_reply(field: str, ours: Reading, theirs: Reading) -> bool:
    return field == "replies" and ours.replies[:-1] == theirs.replies


def _long_name(field: str, ours: Reading, theirs: Reading) -> bool:
    pairs = list(zip(ours.hello, theirs.hello, strict=False))
    same = len(ours.hello) == len(theirs.hello)
    return field == "hello" and same and all(their.startswith(our) and len(our) >= LONGEST for our, their in pairs)


def _empty_message(field: str, ours: Reading, theirs: Reading) -> bool:
    return field == "bytes" and [size for size in ours.bytes if size] == theirs.bytes


#: The first that applies is the explanation.
RULES = (
    Rule("opaque", "no SMTP, or TLS has begun: replay stops reading, tshark goes on", _no_further),
    Rule("not-tls", "the ClientHello cannot be parsed: replay does not call it TLS; tshark does by the port", _not_tls),
    Rule("port-465", "replies in the clear on port 465, which tshark reads as TLS alone", _port_of_tls),
    Rule("lost", "packets are not in the capture, or behind their acknowledgement: both leave out parts", _lost),
    Rule("lf-dot", "the message ends with LF.LF, as the server agrees; for tshark only with CRLF.CRLF", _bare_dot),
    Rule("behind-dot", "tshark shows nothing that follows the dot in the same segment", _behind_dot),
    Rule("bdat", "tshark reads commands in one segment with BDAT as content", _of_bdat),
    Rule("bdat-end", "tshark does not tell where a message of BDAT ends: the sum is the same", _bdat_end),
    Rule("refused", "tshark reads commands behind refused DATA as content", _of_refused_data),
    Rule("pipelined", "tshark reads commands in one segment with DATA as content", _taken),
    Rule("auth-lines", "tshark reads the client's lines of AUTH as content", _auth_lines),
    Rule("auth-command", "tshark reads an answer to 334 as a command", _auth_command),
    Rule("after-refusal", "content although DATA was refused: replay does not count it", _content_after_refusal),
    Rule("octets", "tshark counts bytes of segments sent again twice, or leaves them out; the server's "
         "acknowledgements agree with replay", _octets),
    Rule("empty", "BDAT 0 LAST is an empty message for replay, and none for tshark", _empty_message),
    Rule("codes", "the lines of a reply differ in their codes: replay takes the last, tshark the first", _codes),
    Rule("unended", "the last reply has no line end: replay reads it, tshark does not", _unended_reply),
    Rule("long-name", "replay keeps the beginning of an overlong name", _long_name),
)  # fmt: skip

LATE = Rule(
    "late",
    "the server sends its last segment again after the connection has ended: replay takes that for one more",
    lambda field, ours, theirs: True,
)
