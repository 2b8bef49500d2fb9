"""One connection: (client, letter, server, line) -> what passes, in the order in which `inspect.smtp` reports it.

Knows SMTP's order and both sides' manners. Must not know rates, queues, or who is a bot. Sizes under TLS are measured
(tests/evaluate/sealed.py): 207-249 bytes where the sender is refused, 259-349 where the recipient is or no message
follows, 469 and the message otherwise; a further recipient adds 34 to 62.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from cpe_filter.explain.questions import LATER as PUT_OFF
from cpe_filter.explain.questions import RETURNED, ConnectionTests
from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.inspect.session import CLOSED, LOST, REFUSED, RESET, TRYING
from tests.evaluate.facts import Session
from tests.evaluate.world import manners, pace, replies
from tests.evaluate.world.internet import Host, Manners
from tests.evaluate.world.line import Line
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.programs import Client

#: What became of a connection: the letter is delivered; refused for good; to be tried again; nobody answered.
DONE, BOUNCED, LATER, NOBODY = "done", "bounced", "later", "nobody"
#: What the home's own filter does with it: lets it pass, resets it, or hands it to the responder.
PASS, REFUSE, EXPLAIN = "pass", "refuse", "explain"
_RESPONDER = Manners("responder", "responder", 0, False, False)
_RESPONDER_OFFERS = {
    (tls, odd): replies.reply(
        "gateway.invalid|"
        + ("STARTTLS|" if tls else "")
        + ("limits RCPTMAX=100 MAILMAX=550|" if odd else "")
        + "8BITMIME|SMTPUTF8|250 ENHANCEDSTATUSCODES"
    )
    for tls in (False, True)
    for odd in (False, True)
}

_BY_RESPONDER = Event("greeting", "", replies.reply("220 gateway.invalid ESMTP"))
_OK_HELO = replies.reply("250 mx.example.net")
_TLS, _OPAQUE = Event("tls", "", replies.READY_FOR_TLS), Event("opaque", "tls")
_QUIT = (Event("quit"), Event("reply", "QUIT", replies.BYE))
_NO_QUIT, _EARLY, _LOWER, _SPACED = (
    Event("violation", "no-quit"),
    Event("violation", "early-talk"),
    Event("quirk", "lower-case"),
    Event("quirk", "path-spaced"),
)
_WRONG_ORDER, _AFTER = Event("violation", "wrong-order"), Event("violation", "content-after-refusal")
_HASTY = Event("violation", "blind-pipelining")
_IN_TWO_PARTS = Event("greeting", "", replies.reply("gateway.invalid ESMTP|220 gateway.invalid ESMTP"))
_NO_TLS = Event("reply", "STARTTLS", replies.RESPONDER_NO_TLS)
_NOT_ASKED = Event("reply", "unknown", replies.NOT_A_COMMAND)
_TO_ITSELF = Event("quirk", "sender-is-recipient")
_PATIENCE = 20  # after so many refused recipients servers hang up (Postfix: smtpd_hard_error_limit)


class Talk(NamedTuple):
    """A connection and its outcome. left: recipients that were put off."""

    session: Session
    outcome: str
    left: tuple[Mailbox, ...] = ()


class Memory:
    """What servers remember of a home's senders, for greylisting: who asked first when, and who is known."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, str, int], float] = {}
        self._known: set[tuple[int, str]] = set()

    def puts_off(self, rng: random.Random, host: Host, sender: str, box: Mailbox, time: float) -> bool:
        """Five minutes after the first try it passes; half of the servers then know the client for good (J)."""
        if (host.number, sender) in self._known:
            return False
        key = (host.number, sender, box.number)
        if len(self._first) > 20000:
            self._first.clear()
        first = self._first.setdefault(key, time)
        if time - first < 300:
            return True
        if rng.random() < 0.5:
            self._known.add((host.number, sender))
        return False


def converse(
    rng: random.Random,
    time: float,
    host: Host,
    address: bytes,
    line: Line,
    client: Client,
    letter: Letter,
    memory: Memory,
    answer: str = PASS,
    spam: bool = False,
    asked: ConnectionTests | None = None,
) -> Talk:
    """The whole connection, as the home's filter lets it be (`answer`)."""
    tags = tuple(box.number * 400009 + host.number for box in letter.to)
    session = Session(time, address, TRYING, (), False, spam, tags)
    if answer == REFUSE:
        return Talk(session, LATER, letter.to)
    if answer == PASS:
        if line.is_down(time) or host.fate == "lost":
            return Talk(session._replace(phase=LOST), NOBODY, letter.to)
        if host.fate == "closed":
            return Talk(session._replace(phase=REFUSED), NOBODY, letter.to)
        if host.manners.kind in ("hoster", "own") and rng.random() < 0.002:
            return Talk(session._replace(phase=LOST), NOBODY, letter.to)
    course = _Course(rng, time, host, line, client, letter, memory, answer == EXPLAIN, asked)
    outcome = course.run()
    phase = RESET if course.cut else CLOSED
    hidden = any(event.kind == "tls" for event in course.events)
    turnaround, ahead = pace.draw(rng, client, hidden)
    session = session._replace(
        phase=phase,
        events=tuple(course.events),
        quit=course.said_quit,
        pipelined=course.pipelined,
        turnaround=turnaround,
        ahead=ahead,
    )
    return Talk(session, outcome, tuple(course.left))


class _Course:
    """One dialogue, in progress."""

    def __init__(
        self,
        rng: random.Random,
        time: float,
        host: Host,
        line: Line,
        client: Client,
        letter: Letter,
        memory: Memory,
        explained: bool,
        asked: ConnectionTests | None,
    ) -> None:
        self.rng, self.time, self.host, self.line, self.client, self.letter = rng, time, host, line, client, letter
        self.memory = memory
        self.explained, self.asked = explained, asked
        self.manners = _RESPONDER if explained else host.manners
        self.events: list[Event] = []
        self.left: list[Mailbox] = []
        self.said_quit = self.cut = self.pipelined = False

    def run(self) -> str:
        client = self.client
        early = client.early or (client.naive and self.asked is not None and self.asked.patience)
        if early:
            self.events.append(_EARLY)
        refusal = None if self.explained else manners.at_banner(self.manners, self.line, self.time, self.rng)
        if refusal is not None:
            return self._turned_away(refusal)
        if self.asked is not None and self.asked.patience:
            self.events.append(_IN_TWO_PARTS)
        elif self.explained:
            self.events.append(_BY_RESPONDER)
        else:
            self.events.append(Event("greeting", "", self.manners.greeting))
        if client.lower:
            self.events.append(_LOWER)
        self._hello()
        if client.ehlo and client.tls != "none":
            if self.manners.tls:
                return self._hidden()
            if self.asked is not None and self.asked.starttls:
                self.asked.took_tls = True
                self.events.append(_NO_TLS)
                if not client.goes_on or client.tls == "must":
                    self._leaves(refused=True)
                    return LATER if client.goes_on else BOUNCED
        if client.tls == "must" or (self.letter.login and self.explained):
            self._leaves(refused=True)
            return BOUNCED
        if self.letter.login:
            right = self.letter.login > 0
            self.events.append(Event("reply", "AUTH", replies.AUTHENTICATED if right else replies.BAD_LOGIN))
            if not right:
                self._leaves(refused=True)
                return BOUNCED
        return self._envelope()

    def _hello(self) -> None:
        client, asked = self.client, self.asked
        offers = self.manners.offers
        if asked is not None:
            asked.ehlo = client.ehlo
        if self.explained:
            offers = _RESPONDER_OFFERS[asked is not None and asked.starttls, asked is not None and asked.odd]
        if client.ehlo and client.naive and asked is not None and asked.slowly:
            self.events.append(_HASTY)
        self.events.append(Event("hello", client.helo, offers if client.ehlo else _OK_HELO, int(client.ehlo)))

    def _turned_away(self, refusal: Reply) -> str:
        """Refused at the banner. Such a server waits for QUIT."""
        if self.client.early:
            self.events.clear()
        self.events.append(Event("greeting", "", refusal))
        if self.rng.random() < self.client.quits:
            self.events += _QUIT
            self.said_quit = True
        self.left = list(self.letter.to)
        return LATER if refusal.code < 500 or self.client.banner_for_now else BOUNCED

    def _envelope(self) -> str:
        """MAIL, RCPT, and the message, in the clear."""
        client, letter, events, rng = self.client, self.letter, self.events, self.rng
        self.pipelined = client.pipelines and self.manners.pipelining and not letter.probe
        if letter.probe and not letter.to:  # only asked for the banner and what is offered
            self._leaves(refused=False)
            return DONE
        if client.spaced:
            events.append(_SPACED)
        at_mail = None if self.explained else manners.at_mail(self.manners, self.line, letter, self.time, rng)
        if self.asked is not None:
            self.asked.mail = True
        agreed = replies.RESPONDER_SENDER if self.asked is not None and self.asked.odd else replies.OK_SENDER
        events.append(Event("sender", letter.sender, at_mail or agreed))
        if at_mail is not None and not self.pipelined:
            self._leaves(refused=True)
            return self._over(at_mail)
        accepted, last = 0, at_mail
        for count, box in enumerate(letter.to):
            answer = replies.NEED_MAIL if at_mail is not None else self._to_recipient(box)
            events.append(Event("recipient", self.host.domain, answer or replies.OK_RECIPIENT))
            if answer is None:
                accepted += 1
                continue
            if answer.code < 500:
                self.left.append(box)
            last = answer if at_mail is None else at_mail
            if count + 1 - accepted >= _PATIENCE and not self.pipelined:
                break
        if letter.probe:
            self._leaves(refused=not accepted)
            return DONE if accepted else self._over(last)
        if not accepted:
            return self._none_accepted(at_mail is not None, last)
        final = manners.at_end(self.manners, self.line, letter, self.time, rng) or replies.QUEUED
        events.append(Event("message", letter.sender, final, letter.size))
        self._leaves(refused=final.code >= 400)
        if final.code < 400:
            return LATER if self.left else DONE
        self.left = list(letter.to)
        return self._over(final)

    def _none_accepted(self, mail_refused: bool, last: Reply | None) -> str:
        events = self.events
        if self.pipelined or self.client.blind:
            if not self.pipelined:
                events.append(_WRONG_ORDER)
            answer = (
                replies.RESPONDER_NO_DATA if self.explained else manners.after_all_refused(self.manners, mail_refused)
            )
            events.append(Event("reply", "DATA", answer))
            if self.client.blind and not self.pipelined:
                events += (_AFTER, _NOT_ASKED, _NOT_ASKED)
        self._leaves(refused=True)
        return self._over(last)

    def _to_recipient(self, box: Mailbox) -> Reply | None:
        if self.explained:
            return self._by_responder(box)
        letter, rng = self.letter, self.rng
        answer = manners.at_rcpt(self.manners, self.line, letter, box, self.client.helo, self.time, rng)
        if answer is None and self.manners.greylists and letter.login <= 0:
            if self.memory.puts_off(rng, self.host, letter.sender, box, self.time):
                return manners.greylisted(self.manners)
        if answer is None and rng.random() < 0.002:
            return replies.BUSY[2 + box.number % 2]
        return answer

    def _by_responder(self, box: Mailbox) -> Reply:
        if self.asked is None:
            return replies.RESPONDER_NO
        sender = "<>" if self.letter.sender == "<>" else f"<writer@{self.letter.sender}>"
        how = self.asked.refusal(f"FROM:{sender}".encode(), f"TO:<box{box.number}@{self.host.domain}>".encode())
        return {PUT_OFF: replies.RESPONDER_LATER, RETURNED: replies.RESPONDER_AGAIN}.get(how, replies.RESPONDER_NO)

    def _over(self, last: Reply | None) -> str:
        if last is not None and last.code < 500:
            self.left = self.left or list(self.letter.to)
            return LATER
        return LATER if self.left and last is not None and last.code < 500 else BOUNCED

    def _leaves(self, refused: bool) -> None:
        """QUIT, or not."""
        client, rng = self.client, self.rng
        if refused and client.hangs_up and rng.random() < client.hangs_up:
            self.events.append(_NO_QUIT)
            self.cut = rng.random() < 0.3
        elif rng.random() < client.quits:
            self.events += _QUIT
            self.said_quit = True
        else:
            self.events.append(_NO_QUIT)

    def _hidden(self) -> str:
        """The rest of the dialogue as if in the clear, of which STARTTLS leaves a size."""
        seen, self.events = self.events, []
        letter, rng = self.letter, self.rng
        outcome, size = BOUNCED, rng.randint(207, 249)
        if letter.login < 0:
            size = rng.randint(240, 330)
        else:
            outcome = self._envelope()
            kinds = [event.kind for event in self.events]
            if "message" in kinds:
                size = rng.randint(469, 600) + letter.size
            elif "recipient" in kinds:
                size = rng.randint(259, 349)
            elif "sender" not in kinds:
                size = rng.randint(140, 190)
            size += max(0, len(letter.to) - 1) * rng.randint(34, 62)
            size += 60 if letter.login else 0
        if self.client.ja4.startswith(("t10", "t12")) and rng.random() < 0.3:
            size += rng.randint(225, 362)
        self.events = [*seen, _TLS, Event("fingerprint", self.client.ja4), _OPAQUE, Event("tls-bytes", "", None, size)]
        self.said_quit = self.cut = self.pipelined = False
        return outcome
