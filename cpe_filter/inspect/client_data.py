"""The client's bytes that are not lines with commands: held bytes, content, chunks, the ClientHello, and lost bytes.

Knows where each of these ends. Must not know what commands mean. Changes the dialogue that it is given.
"""

from __future__ import annotations

from cpe_filter.inspect import tls
from cpe_filter.inspect.client_lines import resumes
from cpe_filter.inspect.command import LINE, is_command, is_no_content, is_no_prose, private_name
from cpe_filter.inspect.dialogue_state import DialogueState
from cpe_filter.inspect.effects import begin_tls, end_content, start_content, starts_again
from cpe_filter.inspect.facts import Event
from cpe_filter.inspect.states import AUTH_LINE, CHUNK, COMMAND, CONTENT, HANDSHAKE, HELD, OPAQUE
from cpe_filter.inspect.tls import HANDSHAKE_RECORD
from cpe_filter.inspect.waiting import Pending

#: The most bytes that are held.
HELD_BYTES = 8192


def tls_may_begin(dialogue: DialogueState) -> bool:
    """A line begins like a TLS record: is it one?"""
    state = dialogue.input
    if state.line:
        return False
    if state.tls_reply is not None:
        reply, state.tls_reply = state.tls_reply, None
        begin_tls(dialogue, reply)
        return True
    if not dialogue.commands:
        dialogue.mode = HANDSHAKE  # TLS from the first byte, as on port 465
    return not dialogue.commands


def lose(dialogue: DialogueState, size: int) -> None:
    """`size` bytes from the client were not seen."""
    if dialogue.mode == OPAQUE:
        dialogue.own_facts().after_hello += size
        return
    if dialogue.input.tls_reply is not None:
        begin_tls(dialogue, dialogue.input.tls_reply)
    if dialogue.mode == HANDSHAKE:
        dialogue.become_opaque("tls")
        return
    gaps = dialogue.own_gaps()
    left_out = dialogue.unneeded or gaps.resuming
    if dialogue.mode == CONTENT:
        dialogue.envelope.count_content(size)
        dialogue.content.forget()
        gaps.hidden = gaps.hidden or left_out
        return
    if dialogue.input.chunk_left and dialogue.mode != HELD:
        size = chunk_gap(dialogue, size, left_out)
        if not size:
            return
    state = dialogue.input
    if state.line or state.skipped:
        state.line, state.skipped = b"", 0
    gaps.client_lost = True
    if left_out:
        gaps.hidden = True
        gaps.unmeasured = None
        return
    if state.held and dialogue.mode == HELD:
        lose_held(dialogue, size)
    dialogue.violate("lost-data")
    gaps.unseen = True


def lose_held(dialogue: DialogueState, size: int) -> None:
    """Without its continuation the held part is useless; the reply will still say how to go on."""
    state = dialogue.input
    if state.chunk_left:
        state.chunk_left = max(0, state.chunk_left - len(state.held) - size)
    state.held = b""


def hold(dialogue: DialogueState, data: bytes, at: int) -> int:
    """The client went on although its next bytes depend on a reply."""
    verb = dialogue.waiting[-1].verb if dialogue.waiting else ""
    if not dialogue.server_seen or dialogue.waiting.lost:
        return guess(dialogue, verb, data, at)
    if verb == "DATA" and not dialogue.gaps.client_lost:
        dialogue.violate("early-content")
    state = dialogue.own_input()
    room = HELD_BYTES - len(state.held)
    state.held += data[at : at + room]
    if len(data) - at <= room:
        return len(data)
    if verb != "DATA" and verb != "BDAT":
        dialogue.become_opaque("too-much-held")
        return len(data)
    # No reply for so long: read it as content; the reply will show whether that was right.
    if verb == "BDAT":
        dialogue.mode = CHUNK
    else:
        state.guessed = True
        start_content(dialogue)
    release(dialogue)
    return at + room


def guess(dialogue: DialogueState, verb: str, data: bytes, at: int) -> int:
    """The reply that decides was not seen: the client's next line shows what it was."""
    state = dialogue.own_input()
    end = data.find(b"\n", at) + 1 or len(data)
    state.held += data[at:end]
    tls_follows = state.held[0] == HANDSHAKE_RECORD
    if not (state.held.endswith(b"\n") or tls_follows) and len(state.held) < HELD_BYTES:
        return end
    while len(dialogue.waiting) > 1:
        dialogue.settle(dialogue.waiting.take(), None)
    dialogue.waiting.lost = 0
    item = dialogue.waiting.take() if dialogue.waiting else Pending("")
    dialogue.mode = COMMAND
    if verb == "STARTTLS":
        dialogue.settle(item, None)
    elif verb == "private":
        guess_private(dialogue, item)
    elif verb in ("AUTH", "auth-line"):
        if not is_command(state.held):
            dialogue.mode = AUTH_LINE
    elif verb == "BDAT":
        guess_chunk(dialogue, item)
    elif verb == "DATA" and not is_no_content(state.held.rstrip(b"\r\n")):
        dialogue.settle(item, None)
    release(dialogue)
    return end


def guess_chunk(dialogue: DialogueState, item: Pending) -> None:
    """The reply to BDAT was not seen: a chunk follows, or a command because it was refused."""
    if is_no_prose(dialogue.input.held.rstrip(b"\r\n")):
        dialogue.input.chunk_left = 0
    else:
        dialogue.mode = HELD
        dialogue.settle(item, None)


def guess_private(dialogue: DialogueState, item: Pending) -> None:
    """The reply to a private-use command was not seen: TLS, a command, a chunk or an authentication follows."""
    state = dialogue.input
    if state.held[0] == HANDSHAKE_RECORD or is_command(state.held) or private_name(state.held.rstrip(b"\r\n")):
        dialogue.settle(item, None)
    elif item.size:
        state.chunk, state.chunk_left, dialogue.mode = item, item.size, CHUNK
    else:
        dialogue.mode = AUTH_LINE


def release(dialogue: DialogueState) -> None:
    """The awaited reply has come: read what was held."""
    held = dialogue.input.held
    if held:
        dialogue.input.held = b""
        dialogue.client(held)


def handshake(dialogue: DialogueState, data: bytes, at: int) -> int:
    """Collects the ClientHello, for its name and fingerprint; after it everything is opaque."""
    state = dialogue.own_input()
    if not state.held and data[at] != HANDSHAKE_RECORD:  # only after STARTTLS
        goes_on_in_the_clear(dialogue)
        return at
    size = len(state.held) + len(data) - at
    state.held += data[at : at + tls.LONGEST - len(state.held)]
    try:
        hello = tls.client_hello(state.held)
    except tls.NotTLSError:
        dialogue.become_opaque("tls" if dialogue.facts.tls else "not-smtp")
        return len(data)
    if hello:
        facts = dialogue.own_facts()
        facts.client_hello = hello
        facts.after_hello = size - hello.size
        dialogue.emit(Event("fingerprint", hello.ja4))
    if hello or len(state.held) >= tls.LONGEST:
        dialogue.become_opaque("tls")
    return len(data)


def goes_on_in_the_clear(dialogue: DialogueState) -> None:
    """STARTTLS was agreed to and no TLS came: a decrypted capture, or a pretence. The state is reset (RFC 3207)."""
    dialogue.mode = COMMAND
    starts_again(dialogue)


def pass_content(dialogue: DialogueState, data: bytes, at: int) -> int:
    """Counts content up to the line with a single dot; returns the position behind it."""
    end, size = dialogue.content.end_in(data, at)
    dialogue.envelope.count_content(size)
    if end < 0:
        return len(data)
    if dialogue.content.ended_bare:
        dialogue.violate("bare-lf-dot")
    end_content(dialogue)
    return end


def pass_chunk(dialogue: DialogueState, data: bytes, at: int) -> int:
    state = dialogue.input
    taken = min(len(data) - at, state.chunk_left)
    state.chunk_left -= taken
    if not state.chunk_left:
        dialogue.mode = COMMAND
    return at + taken


def rest_of_chunk(dialogue: DialogueState, data: bytes, at: int) -> int:
    """A chunk was refused before its end. Its rest may come, or commands: then the server does not wait for it."""
    state = dialogue.own_input()
    stop = min(data.find(b"\n", at) + 1 or len(data), at + LINE - len(state.line))
    line = state.line + data[at:stop]
    if line[-1] != 0x0A and len(line) < LINE:
        state.line = line
        return stop
    state.line = b""
    text, left = line.rstrip(b"\r\n"), state.chunk_left
    if dialogue.gaps.client_lost or dialogue.gaps.resuming:
        resumes(dialogue, text)
    if line[-1] == 0x0A and is_no_prose(text):
        left = 0
    elif len(line) <= left:
        dialogue.waiting.stray()  # a server that reads commands answers it
    state.chunk_left = max(0, left - len(line))
    if not state.chunk_left:
        dialogue.mode = COMMAND
        if left < len(line):
            dialogue.client(line[left:])
    return stop


def chunk_gap(dialogue: DialogueState, size: int, left_out: bool) -> int:
    """Lost bytes of a chunk. Returns how many were lost behind it."""
    state = dialogue.input
    if state.line:  # of a chunk that was refused
        state.chunk_left, state.line = max(0, state.chunk_left - len(state.line)), b""
    taken = min(size, state.chunk_left)
    state.chunk_left -= taken
    if not state.chunk_left:
        dialogue.mode = COMMAND
        dialogue.own_gaps().resuming = left_out
    return size - taken
