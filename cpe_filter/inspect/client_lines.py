"""Lines of the client -> commands, which wait for their replies.

Knows what may follow what, and what is a violation of it. Must not know replies, content or TLS. Changes the dialogue
that it is given.
"""

from __future__ import annotations

from cpe_filter.inspect.address import (
    BARE,
    CHECK_BYTES,
    SPACED,
    address_of,
    check,
    hide_local_parts,
    local_part,
    parse_path,
    readable,
)
from cpe_filter.inspect.command import (
    AUTH_LIMIT,
    COMMAND_LIMIT,
    LIMITS,
    LINE,
    announced_size,
    is_no_prose,
    parse_chunk,
    parse_command,
    parse_private,
    private_name,
)
from cpe_filter.inspect.dialogue_state import DialogueState
from cpe_filter.inspect.facts import Event
from cpe_filter.inspect.states import AS_MAIL, AUTH_LINE, CHUNK, CHUNKING, COMMAND, COMMANDS, PIPELINING, REFUSED
from cpe_filter.inspect.unseen import give_up_waiting

#: Local-parts of the running transaction that are remembered by checksum, to blank them in replies.
QUOTABLE = 64
#: After so many lines that are not commands, and fewer that are, the dialogue is not SMTP.
_NOT_SMTP_AFTER = 8


def read_line(dialogue: DialogueState, data: bytes, at: int) -> int:
    """Takes one line from `data[at:]`; returns where the next begins."""
    end = data.find(b"\n", at)
    if 0 <= end <= at + LINE and not dialogue.input.line:
        line = data[at:end]
        total = end - at
    else:
        line, total = join_line(dialogue, data, at, end)
        if end < 0:
            return len(data)
    text = line.rstrip(b"\r")
    if (dialogue.gaps.client_lost or dialogue.gaps.resuming) and not resumes(dialogue, text):
        return end + 1
    if dialogue.mode == AUTH_LINE:
        if total > AUTH_LIMIT:
            dialogue.violate("overlong-command")
        dialogue.sent("auth-line")
    elif dialogue.mode == COMMAND or leaves_refused(dialogue, text):
        read_command(dialogue, text, len(text) == len(line), total + 1)
    return end + 1


def join_line(dialogue: DialogueState, data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """For a line that is long, or whose beginning or end (-1) is not in `data`: its kept part, and its length."""
    state = dialogue.own_input()
    stop = end if end >= 0 else len(data)
    room = LINE - len(state.line)
    line = state.line + data[at : min(stop, at + room)]
    skipped = state.skipped + max(0, stop - at - room)
    if stop - at > room:
        # The last byte shows whether a line ends with CR, so it takes the last place of the kept part.
        line = line[:-1] + data[stop - 1 : stop]
    state.line, state.skipped = (line, skipped) if end < 0 else (b"", 0)
    return line, len(line) + skipped


def resumes(dialogue: DialogueState, line: bytes) -> bool:
    """The first line behind bytes that were not seen. Segments nearly always begin at a line: is it a command?"""
    verb = parse_command(line).verb
    gaps = dialogue.gaps
    if gaps.resuming and verb in ("RCPT", "DATA", "BDAT"):
        gaps.unseen = True  # MAIL was sent behind the content
    gaps.client_lost = gaps.resuming = False
    return bool(verb) or dialogue.mode != COMMAND


def leaves_refused(dialogue: DialogueState, line: bytes) -> bool:
    """Content may be sent although DATA or the message was refused: is this line a command again?"""
    if is_no_prose(line):
        dialogue.mode = COMMAND
        return True
    if line == b".":
        dialogue.mode = COMMAND
    if dialogue.input.data_refused:
        dialogue.waiting.stray()
    return False


def read_command(dialogue: DialogueState, line: bytes, bare: bool, total: int) -> None:
    verb, rest, quirks = parse_command(line)
    if not verb:
        name = private_name(line)
        if is_private(dialogue, name):
            verb, rest, quirks = parse_private(line, name)
        elif not_a_command(dialogue, line):
            return
    dialogue.commands += bool(verb)
    if bare:
        dialogue.own_input().bare_lf = True
        dialogue.violate("bare-lf")
    if total > COMMAND_LIMIT and total > LIMITS.get(verb, COMMAND_LIMIT):
        dialogue.violate("overlong-command")
    for quirk in quirks:
        dialogue.quirk(quirk)
    waiting = dialogue.waiting
    if waiting or waiting.lost or dialogue.quit_sent or not dialogue.greeted:
        in_turn(dialogue)
    if not verb:
        dialogue.violate("unknown-command")
        dialogue.sent("unknown", size=announced_size(line[len(name) :]) if name else 0)
        return
    if dialogue.input.data_refused:
        dialogue.input.data_refused = False
    by_verb(dialogue, verb, rest)


def is_private(dialogue: DialogueState, name: str) -> bool:
    """Whether the server has named this private-use command ("" for none), or may have, unseen."""
    if not name:
        return False
    return dialogue.gaps.unseen or dialogue.gaps.assumed or name in dialogue.input.private_names


def by_verb(dialogue: DialogueState, verb: str, rest: bytes) -> None:
    """The effects of a command before its reply comes."""
    waiting = dialogue.waiting
    if verb == "private":
        dialogue.sent(verb, size=announced_size(rest))
        return
    if dialogue.envelope.state not in COMMANDS[verb][0] and not (
        waiting or dialogue.gaps.unseen or dialogue.gaps.assumed
    ):
        dialogue.violate("wrong-order")
    if verb == "MAIL" or verb == "RCPT":
        read_path(dialogue, verb, rest)
    elif verb == "HELO" or verb == "EHLO" or verb == "LHLO":
        read_hello(dialogue, verb, rest)
    elif verb == "BDAT":
        read_bdat(dialogue, rest)
    elif verb in AS_MAIL:
        read_path(dialogue, "MAIL", rest)
    elif verb == "BURL":
        dialogue.sent(verb, last=rest.upper().endswith(b" LAST"))
    else:
        if verb == "QUIT":
            dialogue.quit_sent = True
            dialogue.emit(Event("quit"))
        dialogue.sent(verb)


def read_hello(dialogue: DialogueState, verb: str, rest: bytes) -> None:
    name = readable(rest.strip())
    dialogue.hello_sent = True
    if not name:
        dialogue.violate("empty-hello")
    dialogue.sent(verb, name if dialogue.limits.local_parts else hide_local_parts(name))


def in_turn(dialogue: DialogueState) -> None:
    """A command comes: was it its turn?"""
    if dialogue.quit_sent:
        dialogue.violate("data-after-quit")
    if dialogue.waiting.lost:
        give_up_waiting(dialogue)
    if not dialogue.server_seen:
        return
    if dialogue.gaps.unread_greeting and not dialogue.greeted:
        dialogue.settle(dialogue.waiting.take(), None)
    if not dialogue.greeted:
        dialogue.violate("early-talk")
    elif dialogue.waiting and dialogue.waiting[-1].verb != "stray" and not dialogue.offered & PIPELINING:
        dialogue.violate("blind-pipelining")


def read_path(dialogue: DialogueState, verb: str, rest: bytes) -> None:
    path, form = parse_path(rest, b"FROM" if verb == "MAIL" else b"TO")
    if form == BARE:
        dialogue.violate("bad-path")
    elif form == SPACED:
        dialogue.quirk("path-spaced")
    if verb == "MAIL" and not (dialogue.hello_sent or dialogue.gaps.unseen):
        dialogue.violate("no-hello")
    if not dialogue.limits.local_parts:
        if verb == "MAIL" and not dialogue.waiting:
            dialogue.quotable = b""
        local = local_part(path)
        if local and len(dialogue.quotable) < QUOTABLE * CHECK_BYTES:
            dialogue.quotable += check(local)
    if verb == "MAIL":
        dialogue.mailed_from = hash(path.lower()) if path else -1  # hash is never -1
    elif hash(path.lower()) == dialogue.mailed_from:
        dialogue.quirk("sender-is-recipient")
    dialogue.sent(verb, address_of(path, dialogue.limits.local_parts))


def not_a_command(dialogue: DialogueState, line: bytes) -> bool:
    """Handles lines that are not commands for a reason; False if it is just an unknown one."""
    if not dialogue.commands and any(b < 9 or b > 126 for b in line[:32]):
        dialogue.become_opaque("not-smtp")
        return True
    state = dialogue.own_input()
    if state.data_refused:
        # DATA was refused, and the message comes all the same.
        dialogue.violate("content-after-refusal")
        dialogue.waiting.stray()
        if line != b".":
            dialogue.mode = REFUSED
        return True
    state.bad_lines += 1
    if state.bad_lines >= _NOT_SMTP_AFTER and state.bad_lines > dialogue.commands and not dialogue.gaps.hidden:
        dialogue.become_opaque("not-smtp")
        return True
    return False


def read_bdat(dialogue: DialogueState, rest: bytes) -> None:
    chunk = parse_chunk(rest)
    if chunk is None:
        dialogue.violate("bad-chunk")
        dialogue.sent("unknown")
        return
    size, last = chunk
    if not size:
        dialogue.sent("BDAT", last=last, turns=False)
        return
    state = dialogue.own_input()
    state.chunk_left = size
    # Octets that a server is not known to expect may be commands for it: these wait for its reply.
    known = dialogue.server_seen and (dialogue.offered & CHUNKING or dialogue.gaps.unseen)
    state.chunk = dialogue.sent("BDAT", size=size, last=last, turns=not known)
    if dialogue.mode == COMMAND:
        dialogue.mode = CHUNK
