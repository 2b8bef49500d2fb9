"""What a reply does: one function for each effect that `states.COMMANDS` and `states.OTHERS_THAT_WAIT` name.

Knows the envelope and the modes. Must not know lines, or how a reply found its command. Only these functions change the
envelope. reply: None where it was not seen, which counts as agreement (`agreed`).
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.inspect.command import private_name
from cpe_filter.inspect.content import NO_CONTENT, ContentReader
from cpe_filter.inspect.dialogue_state import DialogueState
from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.inspect.states import (
    AUTH_LINE,
    CHUNK,
    COMMAND,
    COMMANDS,
    CONTENT,
    EXTENSIONS,
    HANDSHAKE,
    HELD,
    NEW,
    OTHERS_THAT_WAIT,
    REFUSED,
    UNIMPLEMENTED,
)
from cpe_filter.inspect.tls import HANDSHAKE_RECORD
from cpe_filter.inspect.waiting import UNCOUNTED, Pending


def on_greeting(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    dialogue.greeted = True
    dialogue.emit(Event("greeting", "", reply))


def on_hello(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    extended = item.verb != "HELO"
    if reply is not None and reply.code == 220 and dialogue.gaps.unread_greeting:
        # The greeting, behind a line without a code that the client had taken for it.
        dialogue.gaps.unread_greeting = False
        dialogue.waiting.again(item)
        dialogue.emit(Event("greeting", "", reply))
        return
    if agreed:
        dialogue.envelope.greeted()
        if item.verb == "LHLO" or dialogue.input.lmtp:
            dialogue.own_input().lmtp = item.verb == "LHLO"
        if reply is not None:
            announced(dialogue, reply if extended else None)
    if dialogue.limits.names and (agreed or dialogue.facts.helo is None):
        facts = dialogue.own_facts()
        facts.helo = item.name
        facts.ehlo = extended
    dialogue.emit(Event("hello", item.name, reply, int(extended)))


def announced(dialogue: DialogueState, reply: Reply | None) -> None:
    """Each line of EHLO's reply after the first names an extension (RFC 5321 section 4.1.1.1)."""
    lines = (*reply.before[1:], reply.text[4:]) if reply is not None and reply.before else ()
    offered = 0
    private: tuple[str, ...] = ()
    for line in lines:
        if line[:1] == "X" or line[:1] == "x":
            private += (private_name(line.encode()),)
        else:
            offered |= EXTENSIONS.get(line.partition(" ")[0].upper(), 0)
    dialogue.offered = offered
    if private or dialogue.input.private_names:
        dialogue.own_input().private_names = private


def on_mail(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    dialogue.envelope.sender(item.name, agreed)
    dialogue.emit(Event("sender", item.name, reply))


def on_rcpt(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    dialogue.envelope.recipient(item.name, agreed)
    dialogue.emit(Event("recipient", item.name, reply))


def on_data(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    if agreed:
        begin_content(dialogue, reply)
    else:
        content_refused(dialogue, reply)


def begin_content(dialogue: DialogueState, reply: Reply | None) -> None:
    if dialogue.envelope.current is None:
        dialogue.envelope.open(None)
    if reply is not None and reply.code != 354:
        dialogue.violate("reply-code")
    if dialogue.input.guessed:
        dialogue.input.guessed = False
    else:
        start_content(dialogue)
    dialogue.content_agreed = reply is not None and reply.code == 354 and not dialogue.gaps.watch_all


def start_content(dialogue: DialogueState) -> None:
    dialogue.mode = CONTENT
    dialogue.content_agreed = False
    dialogue.content = ContentReader(dialogue.input.bare_lf)


def end_content(dialogue: DialogueState) -> None:
    dialogue.mode = COMMAND
    dialogue.content = NO_CONTENT
    dialogue.envelope.content_ends()
    dialogue.sent("content")


def content_refused(dialogue: DialogueState, reply: Reply | None) -> None:
    state = dialogue.own_input()
    state.data_refused = True
    transaction = dialogue.envelope.current
    dialogue.envelope.content_refused()
    if state.guessed:
        state.guessed = False
        dialogue.violate("content-after-refusal")
        if transaction is not None:
            transaction.size = 0
        for item in dialogue.waiting.take_all():
            dialogue.waiting.add(item if item.verb != "content" else Pending("stray", size=UNCOUNTED))
        if dialogue.mode == CONTENT:
            dialogue.mode = REFUSED
            dialogue.waiting.stray(UNCOUNTED)
    dialogue.emit(Event("reply", "DATA", reply))


def on_bdat(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    envelope, size = dialogue.envelope, item.size
    if dialogue.input.chunk is item and dialogue.input.chunk_left:  # not all of its bytes have passed, or been read
        size = chunk_refused(dialogue, item, reply) if not agreed else chunk_goes_on(dialogue, item, reply)
    elif size and reply is not None and reply.code in UNIMPLEMENTED:
        dialogue.waiting.stray(UNCOUNTED, first=True)  # its bytes may have been commands
    if reply is not None and reply.code in UNIMPLEMENTED:
        dialogue.emit(Event("reply", "BDAT", reply))
        return
    if not agreed and envelope.current is None:
        envelope.content_refused()
        dialogue.emit(Event("reply", "BDAT", reply))
        return
    if envelope.current is None:
        envelope.open(None)
    envelope.count_content(size)
    if item.last:
        envelope.content_ends()
        finish(dialogue, item._replace(size=0), reply)
    elif not agreed:
        envelope.content_refused()
        dialogue.emit(Event("reply", "BDAT", reply))


def chunk_goes_on(dialogue: DialogueState, item: Pending, reply: Reply | None) -> int:
    """A chunk was agreed to before its end (None: nothing shows otherwise). Returns how many bytes of it count."""
    state = dialogue.input
    if dialogue.mode == HELD:
        dialogue.mode = CHUNK
        return item.size if reply is not None or not dialogue.server_seen else min(item.size, len(state.held))
    return item.size if reply is not None else item.size - state.chunk_left


def chunk_refused(dialogue: DialogueState, item: Pending, reply: Reply | None) -> int:
    """A chunk was refused before its end. Returns how many bytes of it have passed.

    A server that has the command drops the rest of it (RFC 3030 section 2). For another one its bytes are commands.
    """
    state, left = dialogue.input, dialogue.input.chunk_left
    if dialogue.unneeded:
        dialogue.own_gaps().hidden = dialogue.own_gaps().resuming = True
    dialogue.mode = REFUSED
    if reply is not None and reply.code in UNIMPLEMENTED:
        state.chunk_left = 0
        state.data_refused = left < item.size or state.held != b""
        if left < item.size:
            dialogue.waiting.stray(UNCOUNTED)
        else:
            dialogue.mode = COMMAND
    elif item.size <= len(state.held) and (reply is None or reply.code != 503):
        dialogue.mode, left = CHUNK, 0  # it has waited for the end
    return item.size - left


def on_content(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    finish(dialogue, item, reply)


def finish(dialogue: DialogueState, item: Pending, reply: Reply | None) -> None:
    """The reply to a whole message. LMTP has one for each recipient that was accepted (RFC 2033 section 4.2)."""
    state, transaction = dialogue.input, dialogue.envelope.current
    if state.lmtp and transaction is not None and reply is not None and reply.code != 421:
        state.replies += 1
        if state.taken is None or reply.positive:
            state.taken = reply
        if state.replies < transaction.accepted:
            dialogue.waiting.again(item)
            return
        reply, state.replies, state.taken = state.taken, 0, None
    dialogue.emit(dialogue.envelope.finish(reply))


def on_rset(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    if agreed:
        dialogue.envelope.reset()
    dialogue.emit(Event("reply", "RSET", reply))


def on_starttls(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    held = dialogue.input.held
    if not (agreed and (reply or held[:1] == bytes((HANDSHAKE_RECORD,)))):
        dialogue.emit(Event("reply", "STARTTLS", reply))
        return
    if held and held[0] != HANDSHAKE_RECORD:
        dialogue.violate("data-before-tls")
    begin_tls(dialogue, reply)


def on_xclient(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    """220: the session begins again, with another client (postfix.org/XCLIENT_README)."""
    if agreed and reply is not None:
        starts_again(dialogue)
    dialogue.emit(Event("reply", item.verb, reply))


def on_turn(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    """The server is the client from now on (RFC 2645 section 4)."""
    dialogue.emit(Event("reply", item.verb, reply))
    if agreed and reply is not None:
        dialogue.become_opaque("turned")


def begin_tls(dialogue: DialogueState, reply: Reply | None) -> None:
    dialogue.own_facts().tls = True
    dialogue.mode = HANDSHAKE
    dialogue.emit(Event("tls", "", reply))


def starts_again(dialogue: DialogueState) -> None:
    dialogue.envelope.reset()
    dialogue.envelope.state = NEW
    dialogue.hello_sent = False
    dialogue.offered = 0
    if dialogue.input.private_names:
        dialogue.input.private_names = ()


def on_auth(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    if reply is not None and reply.code == 334:
        dialogue.mode = AUTH_LINE
        return
    if dialogue.mode == HELD or dialogue.mode == AUTH_LINE:
        dialogue.mode = COMMAND
    if reply is not None and reply.positive:
        dialogue.own_facts().authenticated = True
    dialogue.emit(Event("reply", "AUTH", reply))


def on_private(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    dialogue.emit(Event("reply", "private", reply))
    state = dialogue.own_input()
    code = reply.code if reply is not None else 0
    if not agreed and state.chunk is item and state.chunk_left:
        chunk_refused(dialogue, item, reply)
    if code == 334 or code == 235:
        on_auth(dialogue, item, reply, agreed)
    elif code == 354 and item.size:
        state.chunk_left = item.size
        dialogue.mode = CHUNK
        state.chunk = Pending("private")  # for the reply to the chunk
        dialogue.waiting.add(state.chunk)
    elif code == 354:
        begin_content(dialogue, None)
    elif code == 220:
        state.tls_reply = reply
    elif reply is None and state.held[:1] == bytes((HANDSHAKE_RECORD,)):
        begin_tls(dialogue, None)


def on_unknown(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    code = reply.code if reply is not None else 0
    if code == 354 and item.size:  # XEXCH50, which the server has not named
        on_private(dialogue, item, reply, agreed)
    elif code == 354:
        begin_content(dialogue, None)  # what we could not read was DATA for the server
    elif code == 334 and not dialogue.waiting and dialogue.mode == COMMAND:
        dialogue.mode = AUTH_LINE
    else:
        dialogue.emit(Event("reply", "unknown", reply))


def on_stray(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    dialogue.emit(Event("reply", "unknown", reply))


def on_other(dialogue: DialogueState, item: Pending, reply: Reply | None, agreed: bool) -> None:
    dialogue.emit(Event("reply", item.verb, reply))


_Effect = Callable[[DialogueState, Pending, Reply | None, bool], None]
#: Effect, as `states` names it -> the function that has it.
EFFECTS: dict[str, _Effect] = {
    "greeting": on_greeting,
    "hello": on_hello,
    "mail": on_mail,
    "rcpt": on_rcpt,
    "data": on_data,
    "bdat": on_bdat,
    "content": on_content,
    "rset": on_rset,
    "starttls": on_starttls,
    "auth": on_auth,
    "xclient": on_xclient,
    "turn": on_turn,
    "private": on_private,
    "unknown": on_unknown,
    "stray": on_stray,
    "other": on_other,
}
#: What waits -> what its reply does. "": what waited was lost with a gap.
ON_REPLY = {
    **{verb: EFFECTS[effect] for verb, (_, effect) in COMMANDS.items()},
    **{kind: EFFECTS[effect] for kind, effect in OTHERS_THAT_WAIT.items()},
    "": on_other,
}
