"""The commands that wait for their replies, in the order in which they went out.

Knows that replies come in the order of the commands (RFC 5321 section 2.4), which replies only some commands get, and
that commands and replies may not have been seen. Must not know what a reply does. The caller that adds commands keeps
the bounds of `facts.Limits`.
"""

from __future__ import annotations

from cpe_filter.inspect.facts import Reply
from cpe_filter.inspect.states import AGREE_BY_OWN_CODE, ANSWERS, COMMANDS
from cpe_filter.lean.named_tuple import NamedTuple

#: Bytes that a waiting command takes besides its text.
WAITING_COST = 120
#: For how many lines of content replies may come, if the lines were not counted.
UNCOUNTED = 1 << 30


class Pending(NamedTuple):
    """What waits for a reply. verb: of a command; or connect (for the greeting), content, auth-line, unknown, stray.

    `stray` represents `size` lines of content that the server may take for commands. last: a BDAT has LAST.
    """

    verb: str
    name: str = ""
    size: int = 0
    last: bool = False


#: A waiting command of which only the verb is remembered. Shared, because it is never changed.
NAMELESS = {verb: Pending(verb) for verb in (*COMMANDS, "content", "auth-line", "unknown", "private")}


class Waiting(list[Pending]):
    """The queue. `bytes`: its size. `lost`: how many of the first may have been answered without our seeing it."""

    __slots__ = ("bytes", "lost")

    def __init__(self) -> None:  # does not call list's own, which has nothing to do
        self.bytes = 0
        self.lost = 0

    def add(self, command: Pending) -> None:
        self.append(command)
        self.bytes += len(command.name) + WAITING_COST

    def again(self, command: Pending) -> None:
        """Adds a command that was answered, and to which more replies will come: it comes first."""
        self.add(command)
        self.insert(0, self.pop())

    def take(self, index: int = 0) -> Pending:
        """Removes and returns the command that has waited longest (or with -1 the last)."""
        command = self.pop(index)
        self.bytes -= len(command.name) + WAITING_COST
        return command

    def take_all(self) -> list[Pending]:
        commands = self[:]
        self.clear()
        self.bytes = 0
        return commands

    def stray(self, lines: int = 1, first: bool = False) -> None:
        """The server may take `lines` more lines of content for commands and answer each of them.

        They come after all that waits, or (first) before it.
        """
        if self and self[0 if first else -1].verb == "stray":
            lines += self.take(0 if first else -1).size
        (self.again if first else self.add)(Pending("stray", size=lines))

    def next(self) -> Pending:
        """Removes and returns the command that a reply answers; of several strays one."""
        command = self[0]
        if command.verb == "stray" and command.size > 1:
            self[0] = command._replace(size=command.size - 1)
        else:
            del self[0]
            self.bytes -= len(command.name) + WAITING_COST
        return command

    def first_of(self, verbs: tuple[str, ...]) -> int:
        """How many commands wait before the first with one of these verbs; 0 if there is none."""
        for index, command in enumerate(self):
            if command.verb in verbs:
                return index
        return 0

    def unanswered_before(self, reply: Reply) -> int:
        """Replies were lost: how many commands are before the one that this reply answers."""
        waiting = min(self.lost, len(self))
        expected = ANSWERS.get(reply.code, ())
        for index, command in enumerate(self):
            if command.verb in expected:
                return index
        # The last one that it can answer.
        index = waiting - 1
        while index > 0 and reply.positive and self[index].verb in AGREE_BY_OWN_CODE:
            index -= 1
        return max(0, index)
