"""What was not seen of a dialogue: which command a reply answers although commands or replies are missing.

Knows the queue of commands, and the replies that only some commands get (`states.ANSWERS`). Must not know how bytes are
read. Changes the dialogue that it is given.
"""

from __future__ import annotations

from cpe_filter.inspect.dialogue_state import DialogueState
from cpe_filter.inspect.effects import begin_content, end_content, on_auth
from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.inspect.states import (
    ANSWERS,
    AUTH_LINE,
    CHUNK,
    COMMAND,
    CONTENT,
    MAIL,
    MAY_BE_OUTRUN,
    PASSED_OVER,
    REFUSED,
    TO_STRAY,
)
from cpe_filter.inspect.waiting import NAMELESS, Pending


def find_command(dialogue: DialogueState, reply: Reply) -> tuple[Pending | None, bool]:
    """Removes the command that a reply answers. Returns it, or None if it was not seen and has been handled.

    Also returns whether the reply refuses content before its end was seen.
    """
    waiting, early = dialogue.waiting, False
    if waiting.lost or (waiting and (waiting[0].verb in PASSED_OVER or reply.code in ANSWERS)):
        pass_over(dialogue, reply)
    if waiting:
        if waiting[0].verb in MAY_BE_OUTRUN and answers_unseen(dialogue, waiting[0], reply):
            unasked(dialogue, reply)
            return None, False
    elif dialogue.mode == CONTENT and ends_content(dialogue, reply):
        early = not reply.positive
    elif dialogue.mode == AUTH_LINE:
        waiting.add(Pending("auth-line"))  # what this answers was not seen
    else:
        unasked(dialogue, reply)
        return None, False
    item = waiting.next()
    if reply.code == 421 and waiting:
        dialogue.own_gaps().closing = waiting[0]
    return item, early


def pass_over(dialogue: DialogueState, reply: Reply) -> None:
    """The first waiting command may not be the one that is answered: its own reply never comes, or was lost."""
    waiting = dialogue.waiting
    if (
        len(waiting) > 1
        and waiting[0].verb == "connect"
        and not waiting.lost
        and 200 <= reply.code < 400
        and reply.code != 220
    ):
        dialogue.violate("no-greeting")
        waiting.take()
        dialogue.greeted = True
    if waiting.lost:
        resynchronise(dialogue, reply)
    if waiting and waiting[0].verb == "stray" and reply.code not in TO_STRAY:
        waiting.take()  # a line of content is not a command, and is refused as such
    if reply.code in ANSWERS and waiting and waiting[0].verb not in ANSWERS[reply.code]:
        for _ in range(waiting.first_of(ANSWERS[reply.code])):
            dialogue.settle(waiting.take(), None)  # the server has left these without a reply


def resynchronise(dialogue: DialogueState, reply: Reply) -> None:
    """Replies were lost: the commands before the one that this reply answers have been answered unseen."""
    before = dialogue.waiting.unanswered_before(reply)
    dialogue.waiting.lost = 0
    for _ in range(before):
        dialogue.settle(dialogue.waiting.take(), None)


def ends_content(dialogue: DialogueState, reply: Reply) -> bool:
    """A reply comes although the end of the content was not seen: does it answer the message?

    Either the server saw an end that we did not see (not shown, bytes lost, or an end that it is lenient about), or
    it has seen enough and the rest is still to come.
    """
    left_out = dialogue.content_agreed and dialogue.content.lost
    # A 421 says that the connection ends (RFC 5321 section 3.8), and nothing about a message that is being sent. If
    # content was left out the message has most likely ended: some large providers refuse a message this way.
    if not left_out and (dialogue.envelope.current is None or reply.code == 421):
        return False
    gaps = dialogue.own_gaps()
    gaps.unmeasured = dialogue.envelope.current if left_out else None
    if left_out:
        dialogue.envelope.count_content(-2 if dialogue.input.bare_lf else -3)  # the dot and its line end
    else:
        gaps.unseen = True
    if dialogue.content_agreed:
        gaps.hidden = gaps.resuming = True
        dialogue.mailed_from = -1  # the next MAIL may pass unseen
    end_content(dialogue)
    return True


def answers_unseen(dialogue: DialogueState, item: Pending, reply: Reply) -> bool:
    """If client bytes were not seen: does the reply answer a command among them, and not this one?

    It does if it agrees with DATA without being a 354, if it would answer QUIT without being a 221, or if it would
    answer a line that is not a command as RCPT is answered.
    """
    gaps = dialogue.gaps
    if item.verb == "DATA":
        return (gaps.unseen or gaps.hidden) and 200 <= reply.code <= 299
    if item.verb == "unknown":
        return gaps.hidden and (reply.code in (250, 251) or 550 <= reply.code <= 553)
    return gaps.hidden and item.verb == "QUIT" and reply.code not in (221, 421)


def unasked(dialogue: DialogueState, reply: Reply) -> None:
    """Nothing that was seen asked for this reply."""
    if (dialogue.mode == CHUNK and reply.code != 421) or (dialogue.mode == REFUSED and reply.positive):
        takes_commands(dialogue)
    if dialogue.gaps.hidden and reply.code != 421:
        answers_hidden(dialogue, reply)
        return
    if reply.code == 354:
        begin_content(dialogue, None)  # the DATA that this answers was not seen
        return
    if dialogue.gaps.unseen and reply.code == 221:
        dialogue.quit_sent = True  # nothing else is answered so
        dialogue.dismiss()
    if not (dialogue.gaps.unseen or dialogue.gaps.assumed or dialogue.quit_sent or reply.code == 421):
        dialogue.violate("unasked-reply")
    if not dialogue.quit_sent:
        dialogue.keep(reply)
    dialogue.emit(Event("reply", "", reply))


def takes_commands(dialogue: DialogueState) -> None:
    """What we take for a chunk, or for refused content, the server takes for commands."""
    dialogue.mode = COMMAND
    if dialogue.input.chunk_left:
        dialogue.input.chunk_left = 0
    dialogue.own_gaps().hidden = dialogue.own_gaps().client_lost = True


def answers_hidden(dialogue: DialogueState, reply: Reply) -> None:
    """The reply to a command that passed unseen with message content."""
    gaps = dialogue.own_gaps()
    if reply.code == 221:
        if not dialogue.quit_sent:
            dialogue.quit_sent = True
            dialogue.emit(Event("quit"))
        if gaps.unmeasured is not None:
            gaps.unmeasured.size = max(0, gaps.unmeasured.size - len(b"QUIT\r\n"))
            gaps.unmeasured = None
        dialogue.emit(Event("reply", "QUIT", reply))
        dialogue.dismiss()
        return
    # A client that sends more than QUIT there could hide complete envelopes.
    gaps.watch_all = gaps.unseen = True
    first, gaps.unmeasured = gaps.unmeasured is not None and gaps.resuming, None
    if reply.code == 354:
        if dialogue.input.data_refused:  # no, a hidden RCPT was
            dialogue.envelope.recipient("", False)
            dialogue.emit(Event("recipient"))
            dialogue.input.data_refused = False
        begin_content(dialogue, None)
        return
    dialogue.keep(reply)
    if reply.code == 334:
        on_auth(dialogue, NAMELESS["AUTH"], reply, True)
    elif reply.code == 220 and dialogue.mode == COMMAND:
        dialogue.settle(NAMELESS["STARTTLS"], reply)
    elif reply.code in (250, 251) and first:
        dialogue.envelope.state = MAIL  # RCPT is not agreed to before MAIL
        dialogue.emit(Event("reply", "", reply))
    elif reply.code in (250, 251) or reply.code >= 400:
        dialogue.settle(NAMELESS["RCPT"], reply)
    else:
        dialogue.emit(Event("reply", "", reply))


def give_up_waiting(dialogue: DialogueState) -> None:
    """The client goes on, so the reply that it waited for has come, unseen."""
    for _ in range(min(dialogue.waiting.lost, len(dialogue.waiting))):
        dialogue.settle(dialogue.waiting.take(), None)
    dialogue.waiting.lost = 0
