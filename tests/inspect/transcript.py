"""Transcripts of SMTP dialogues: plain text -> TCP segments, played through a `Session` in several ways.

A file in `transcripts/` holds dialogues. Each begins with `== its name`; then what was sent, then the facts that must
come of it. `#` begins a comment.

    == a message is accepted
    S: 220 mx.example.net ESMTP
    C: HELO client.example.org
    ...
    -> helo: client.example.org
    -> transaction: alice@example.org > bob@example.net: accepted, 12 bytes

`C: ` and `S: ` are lines of the client and the server; CRLF is added. Lines of one side that follow one another are
sent without waiting. Within a line these stand for what cannot be written:

    [lf]         at the end: ends with LF alone          [no-eol]      at the end: no line end at all
    [cr]         a CR                                    [x 16 03 00]  these bytes
    [9000 * a]   so many times this text                 [tls]         a TLS handshake record (no CRLF is added)

Alone in a line: `[gap 100]`, so many bytes are sent and not seen; `[fin]`, this side closes; `[rst]`, it resets. Where
neither is written both sides close at the end, the client first. What is different about a dialogue stands before its
lines: `@client-only` (the server's packets are not seen), `@mid-stream` (the beginning is not seen), `@unfinished` (the
end is not seen), `@obeying` (what the session does not want to see is left out). `@not-in: WAY: reason` leaves out a
way of playing.

Facts that are not stated are expected to be absent: no HELO, no reply, no transaction, no violation. `-> secret: text`
demands that the text is found nowhere in the dialogue once the line with it is over.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cpe_filter.inspect.facts import Event, Limits
from cpe_filter.inspect.packet import ACK, FIN, PSH, RST, SYN, Segment
from cpe_filter.inspect.session import ENDS, EVERYTHING, NOTHING, REPLIES, Session

FOLDER = Path(__file__).parent / "transcripts"
FACTS = (
    "helo",
    "tls",
    "authenticated",
    "opaque",
    "transaction",
    "last_reply",
    "violations",
    "quirks",
    "recipients",
    "messages",
)
SETTINGS = ("client-only", "mid-stream", "unfinished", "obeying")
#: A file's owner sees whole addresses.
OWNER = Limits(local_parts=True)

_CLIENT, _SERVER = (b"\xc0\x00\x02\x0a", 40025), (b"\xc6\x33\x64\x19", 25)
_MOD = 1 << 32
#: The smallest ClientHello: TLS 1.2, one cipher suite, no extensions (RFC 5246 section 7.4.1.2).
TLS_RECORD = bytes.fromhex("16 0301 002d 01 000029 0303") + bytes(32) + bytes.fromhex("00 0002 002f 01 00")
_TOKEN = re.compile(r"\[(lf|no-eol|cr|tls|x(?: [0-9a-f]{2})+|\d+ \* [^\]]+)\]")
_ALONE = re.compile(r"\[(fin|rst|gap (\d+))\]")


class Item(NamedTuple):
    """Something one side did. side: C or S. lost: bytes sent and not seen."""

    side: str
    data: bytes = b""
    lost: int = 0
    fin: bool = False
    rst: bool = False


class Transcript(NamedTuple):
    name: str
    where: str
    settings: frozenset[str]
    left_out: dict[str, str]
    items: list[Item]
    facts: dict[str, Any]
    secrets: list[str]


# ── reading ─────────────────────────────────────────────────────────────────────────────────────


def read_all() -> list[Transcript]:
    return [one for path in sorted(FOLDER.glob("*.txt")) for one in read(path)]


def read(path: Path) -> Iterator[Transcript]:
    block: list[tuple[int, str]] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.startswith("== ") and block:
            yield _transcript(path, block)
            block = []
        if line.strip() and not line.startswith("#"):
            block.append((number, line))
    if block:
        yield _transcript(path, block)


def _transcript(path: Path, block: list[tuple[int, str]]) -> Transcript:
    number, head = block[0]
    where = f"{path.name}:{number}"
    assert head.startswith("== "), f"{where}: a dialogue begins with '== its name'"
    settings: set[str] = set()
    left_out: dict[str, str] = {}
    items: list[Item] = []
    facts: dict[str, Any] = {"transaction": [], "violations": [], "quirks": []}
    secrets: list[str] = []
    for number, line in block[1:]:
        where_now = f"{path.name}:{number}"
        if line.startswith("@not-in: "):
            way, reason = line[9:].split(": ", 1)
            left_out[way] = reason
        elif line.startswith("@"):
            assert line[1:] in SETTINGS, f"{where_now}: no such setting: {line}"
            settings.add(line[1:])
        elif line.startswith(("C: ", "S: ")) or line in ("C:", "S:"):
            items.append(_item(line[0], line[3:]))
        else:
            assert line.startswith("-> "), f"{where_now}: not understood: {line}"
            key, _, value = line[3:].partition(": ")
            if key == "secret":
                secrets.append(value)
            else:
                assert key in FACTS, f"{where_now}: no such fact: {key}"
                _fact(facts, key, value)
    if "unfinished" not in settings and not any(item.fin or item.rst for item in items):
        items += [Item("C", fin=True), Item("S", fin=True)]
    return Transcript(head[3:], where, frozenset(settings), left_out, items, facts, secrets)


def _item(side: str, text: str) -> Item:
    alone = _ALONE.fullmatch(text)
    if alone:
        return Item(side, lost=int(alone[2] or 0), fin=alone[1] == "fin", rst=alone[1] == "rst")
    data, end, at = b"", b"\r\n", 0
    for token in _TOKEN.finditer(text):
        data += text[at : token.start()].encode()
        at = token.end()
        word = token[1]
        if word in ("lf", "no-eol", "tls"):
            assert at == len(text), f"[{word}] stands at the end of a line"
            end = {"lf": b"\n", "no-eol": b"", "tls": TLS_RECORD}[word]
        elif word == "cr":
            data += b"\r"
        elif word[0] == "x":
            data += bytes.fromhex(word[2:])
        else:
            times, _, what = word.partition(" * ")
            data += what.encode() * int(times)
    return Item(side, data + text[at:].encode() + end)


def _fact(facts: dict[str, Any], key: str, value: str) -> None:
    # Values that cannot be written plainly use the same tokens as lines do.
    value = _item("C", value).data.decode().removesuffix("\r\n")
    if key == "transaction":
        facts[key].append(value)
    elif key in ("violations", "quirks"):
        facts[key] = sorted(value.split(", "))
    elif key in ("recipients", "messages"):
        facts[key] = int(value)
    elif key in ("tls", "authenticated"):
        assert value == "yes", "only what is so is stated"
        facts[key] = True
    else:
        facts[key] = value


# ── the facts of a session ──────────────────────────────────────────────────────────────────────


def facts(session: Session) -> dict[str, Any]:
    """What came of it, in the words of the transcripts; what is absent is left out."""
    dialogue = session.dialogue
    found = {
        "helo": dialogue.facts.helo,
        "tls": dialogue.facts.tls,
        "authenticated": dialogue.facts.authenticated,
        "opaque": dialogue.facts.opaque_reason or None,
        "last_reply": dialogue.facts.last_reply.text if dialogue.facts.last_reply else None,
        "recipients": dialogue.envelope.recipients or None,
        "messages": dialogue.envelope.messages or None,
    }
    out: dict[str, Any] = {key: value for key, value in found.items() if value is not None and value is not False}
    out["violations"] = sorted(dialogue.facts.violations)
    out["quirks"] = sorted(dialogue.facts.quirks)
    out["transaction"] = [
        f"{'-' if t.mail_from is None else t.mail_from} > {', '.join(t.rcpt_to) or '-'}: {t.outcome}, {t.size} bytes"
        for t in dialogue.transactions
    ]
    return out


def everything_in(thing: object, seen: set[int] | None = None) -> str:
    """Every value that can be reached from an object, as text."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return ""
    seen.add(id(thing))
    if isinstance(thing, dict):
        return " ".join(everything_in(part, seen) for pair in thing.items() for part in pair)
    if isinstance(thing, (list, tuple, set, frozenset)):
        return " ".join(everything_in(part, seen) for part in thing)
    if isinstance(thing, bytes):
        return thing.decode("latin-1")
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    parts = [everything_in(getattr(thing, name, None), seen) for name in slots]
    return " ".join((*parts, repr(thing)))


# ── playing ─────────────────────────────────────────────────────────────────────────────────────


class Piece(NamedTuple):
    """A segment to be: `data` at this place of its side's stream."""

    at: int
    data: bytes = b""
    fin: bool = False
    rst: bool = False


Run = list[Piece]
#: Turns what one side sends before the other speaks into the segments in which it travels. `before`: its side's
#: earlier pieces, for copies; empty where nothing of this side has been seen.
Way = Callable[[Run, Run, random.Random], Run]


def whole(run: Run, before: Run, rng: random.Random) -> Run:
    """Each line a segment."""
    return run


def bytewise(run: Run, before: Run, rng: random.Random) -> Run:
    """Each byte a segment."""
    out = [Piece(p.at + i, p.data[i : i + 1]) for p in run for i in range(len(p.data))]
    return out + [p._replace(at=p.at + len(p.data), data=b"") for p in run if p.fin or p.rst]


def split(run: Run, before: Run, rng: random.Random) -> Run:
    """Cut anywhere, several lines in a segment."""
    joined: Run = []
    for piece in run:
        last = joined[-1] if joined else None
        # A FIN travels with the last bytes or by itself.
        alone = piece.fin and rng.random() < 0.5
        if last and last.at + len(last.data) == piece.at and not (last.fin or piece.rst or alone):
            joined[-1] = Piece(last.at, last.data + piece.data, piece.fin)
        else:
            joined.append(piece)
    out: Run = []
    longest = rng.choice((7, 40, 1400))
    for piece in joined:
        at, data = piece.at, piece.data
        while len(data) > 1 and rng.random() < 0.9:
            size = rng.randint(1, min(longest, len(data)))
            if size == len(data):
                break
            out.append(Piece(at, data[:size]))
            at, data = at + size, data[size:]
        out.append(Piece(at, data, piece.fin, piece.rst))
    return out


def reordered(run: Run, before: Run, rng: random.Random) -> Run:
    """Cut anywhere, and no segment more than four places from its own. A reset comes last: it ends all."""
    pieces = split(run, before, rng)
    # The first segment of a stream whose SYN was not seen says where the stream begins.
    head = [] if before else pieces[:1]
    rest = sorted(enumerate(pieces[len(head) :]), key=lambda pair: (pair[1].rst, pair[0] + rng.random() * 4))
    return head + [piece for _, piece in rest]


def resent(run: Run, before: Run, rng: random.Random) -> Run:
    """Cut anywhere, with copies of what was sent before, cut elsewhere, and with keep-alives."""
    out: Run = []
    history = list(before)
    # After a silence, a keep-alive: the number of the last byte again, with any byte.
    last = history[-1] if history else Piece(0)
    if run and last.data and last.at + len(last.data) == run[0].at and rng.random() < 0.5:
        out.append(Piece(run[0].at - 1, b"\0"))
    for piece in split(run, before, rng):
        out.append(piece)
        if piece.rst:
            break
        history.append(piece)
        if rng.random() < 0.4:
            old = rng.choice(history)
            start = rng.randint(0, len(old.data))
            out.append(Piece(old.at + start, old.data[start:], old.fin))
    return out


WAYS: dict[str, Way] = {
    "whole": whole,
    "bytewise": bytewise,
    "split": split,
    "reordered": reordered,
    "resent": resent,
}


def segments(transcript: Transcript, way: Way, rng: random.Random) -> Iterator[tuple[bool, Segment]]:
    """The dialogue as (from the client?, segment). Every segment acknowledges all that the other side has sent."""
    isn = {side: rng.choice((1000, _MOD - 20, rng.randrange(_MOD))) for side in "CS"}
    sent = dict.fromkeys("CS", 0)  # numbers used by each side so far, the SYN's not counted
    syn_seen = "mid-stream" not in transcript.settings
    before: dict[str, Run] = {"C": [Piece(0)], "S": [Piece(0)]} if syn_seen else {"C": [], "S": []}

    def segment(side: str, at: int, data: bytes, flags: int) -> tuple[bool, Segment]:
        other = "S" if side == "C" else "C"
        (src, sport), (dst, dport) = (_CLIENT, _SERVER) if side == "C" else (_SERVER, _CLIENT)
        ack = (isn[other] + 1 + sent[other]) % _MOD if flags & ACK else 0
        return side == "C", Segment(src, dst, sport, dport, (isn[side] + at) % _MOD, ack, flags, data, 0)

    if syn_seen:
        yield segment("C", 0, b"", SYN)
        yield segment("S", 0, b"", SYN | ACK)
    for side, run in _runs(transcript.items, sent):
        for piece in way(run, before[side], rng):
            flags = ACK | (PSH if piece.data else 0) | (FIN if piece.fin else 0) | (RST if piece.rst else 0)
            yield segment(side, piece.at + 1, piece.data, flags)
        before[side] += run


def _runs(items: list[Item], sent: dict[str, int]) -> Iterator[tuple[str, Run]]:
    """What each side sends before the other speaks. Moves `sent` on once a run has been taken."""
    at = 0
    while at < len(items):
        side = items[at].side
        run: Run = []
        place = sent[side]
        while at < len(items) and items[at].side == side:
            item = items[at]
            if item.data or item.fin or item.rst:
                run.append(Piece(place, item.data, item.fin, item.rst))
            place += len(item.data) + item.lost + item.fin
            at += 1
        yield side, run
        sent[side] = place


class Played(NamedTuple):
    facts: dict[str, Any]
    events: list[Event]
    phase: str
    session: Session


def wanted(session: Session, segment: Segment, from_client: bool) -> bool:
    """Whether a kernel that does as the session says shows it this segment."""
    ends = bool(segment.flags & (FIN | RST | SYN))
    shown = {EVERYTHING: True, REPLIES: ends or not from_client, ENDS: ends, NOTHING: segment.flags & SYN}
    return bool(shown[session.visibility])


def play(
    transcript: Transcript,
    way: Way,
    seed: int,
    limits: Limits = OWNER,
    after_each: Callable[[Session], None] | None = None,
    obeying: bool | None = None,
) -> Played:
    """Plays a dialogue through a session of its own.

    obeying: only what it wants to see, as a kernel does that leaves out the rest. None: as the transcript has it.
    """
    obeying = "obeying" in transcript.settings if obeying is None else obeying
    session: Session | None = None
    time = 1000.0
    for from_client, segment in segments(transcript, way, random.Random(seed)):
        if not from_client and "client-only" in transcript.settings:
            continue
        time += 0.01
        if obeying and session and not wanted(session, segment, from_client):
            continue
        session = session or Session(segment, time, limits, from_client)
        session.segment(segment, time, from_client)
        if after_each:
            after_each(session)
    assert session is not None, f"{transcript.where}: nothing was sent"
    if not session.closed:
        session.end_of_input()
    return Played(facts(session), session.dialogue.events, session.phase, session)
