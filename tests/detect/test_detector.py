"""Facts of connections -> evidence: for each indicator what fires it, and what is like it and does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.detect.detector import (
    _NAMES,
    _REMEMBERED,
    _USUAL,
    BURST,
    CARRIED_FROM,
    CROWD,
    EMPTY_BELOW,
    EMPTY_FROM,
    RELAYED_FROM_MS,
    RELAYED_TO_MS,
    RELEASED,
    Connection,
    Detector,
    Step,
)
from cpe_filter.detect.device import ROUTER, Device
from cpe_filter.detect.evidence import CLIP, INDICATORS, LEGITIMATE, UNSPOKEN
from cpe_filter.detect.score import CLEAR, COMPROMISED, MOST, SESSION_CLIP, SUSPECTED
from cpe_filter.inspect.address import NULL_SENDER
from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.inspect.session import CLOSED, LOST, OPEN, REFUSED, RESET, TRYING
from cpe_filter.replay.violations import VIOLATIONS

MAC = b"\2\0\0\0\0\x10"
NAME, DOMAIN = "mail.acme.example", "acme.example"


def reply(text: str, *before: str) -> Reply:
    return Reply(int(text[:3]), text, before)


OK = reply("250 2.0.0 Ok")
UNKNOWN = reply("550 5.1.1 User unknown")
LISTED = reply("554 5.7.1 Client host [192.0.2.1] blocked using cbl.abuseat.org")
PBL = reply("554 5.7.1 Client host [192.0.2.1] blocked using pbl.spamhaus.org")
NO = reply("550 5.7.1 Message rejected due to content")
LATER = reply("450 4.2.0 Greylisted, try again in 300 seconds")


def greeting(answer: Reply = OK) -> Event:
    return Event("greeting", "", answer)


def hello(name: str = NAME, *offers: str, extended: bool = True) -> Event:
    return Event("hello", name, reply("250 8BITMIME", "mx.example", *offers), int(extended))


def sender(domain: str = DOMAIN, answer: Reply = OK) -> Event:
    return Event("sender", domain, answer)


def recipient(answer: Reply = OK, domain: str = "b.example") -> Event:
    return Event("recipient", domain, answer)


def message(answer: Reply = OK) -> Event:
    return Event("message", DOMAIN, answer, 600)


def tls_bytes(size: int) -> Event:
    return Event("tls-bytes", "", None, size)


def violation(name: str) -> Event:
    return Event("violation", name)


class Home:
    """One device, and all that counted. Servers are numbers, a neighbourhood each; a connection lasts no time."""

    def __init__(self, key: bytes = MAC) -> None:
        self.steps: list[Step] = []
        self.detector = Detector(self.steps.append)
        self.device = Device(key, 0.0)
        self.time = 0.0

    def connect(
        self, server: int, *events: Event, phase: str = CLOSED, quits: bool = False, after: float = 100.0
    ) -> Connection:
        """A whole connection, `after` so many seconds."""
        self.time += after
        answered = phase not in (LOST, REFUSED, TRYING)
        connection = self.open(server, answered=answered)
        for event in events:
            self.detector.event(connection, event, self.time)
        if answered:
            self.detector.ended(connection, phase, quits, self.time)
        else:
            self.detector.unanswered(connection, phase, self.time)
        return connection

    def open(self, server: int, host: int = 25, answered: bool = True) -> Connection:
        address = (0xC6000000 + (server << 8) + host).to_bytes(4, "big")
        connection = self.detector.opened(self.device, address, self.time)
        if answered:
            self.detector.established(connection, self.time)
        return connection

    def fired(self) -> list[str]:
        return [step.indicator for step in self.steps]


Play = Callable[[Home], object]


def says(*events: Event, server: int = 1) -> Play:
    return lambda home: home.connect(server, *events)


def each(*connections: Play) -> Play:
    return lambda home: [connection(home) for connection in connections]


def lookup(foreign: bool) -> Play:
    return lambda home: home.detector.on_mx_query(home.device, foreign, 0.0)


def ends(phase: str, *, quits: bool = False, server: int = 1) -> Play:
    return lambda home: home.connect(server, phase=phase, quits=quits)


def spray(count: int, pause: float) -> Play:
    return lambda home: [home.connect(number, after=pause) for number in range(count)]


def hellos(*names: str) -> Play:
    return each(*(says(hello(name), server=n) for n, name in enumerate(names)))


def senders(*domains: str) -> Play:
    return each(*(says(sender(domain), server=n) for n, domain in enumerate(domains)))


def again(*events: Event) -> Play:
    """The same at the same server twice: the second time is not new."""
    return each(says(*events), forget_what_fired, says(*events))


def forget_what_fired(home: Home) -> None:
    home.steps.clear()


#: The router's connections are played by a device of its key.
OF_THE_ROUTER = {"from-router"}
FIRES: dict[str, Play] = {
    "new-destination": each(says(), says(server=2)),
    "breadth": each(*(says(hello(), server=n) for n in range(2))),
    "sustained": each(
        spray(10, 100.0),
        lambda home: home.connect(99, after=5000.0),
        lambda home: [home.connect(100 + n) for n in range(9)],
    ),
    "destination-burst": spray(BURST + 2, 9.0),
    "connect-refused": ends(REFUSED),
    "connect-timeout": ends(LOST),
    "helo-dynamic": says(hello("dsl-10-20-30-40.isp.example")),
    "helo-address": says(hello("192.0.2.7")),
    "helo-private": says(hello("[192.168.1.7]")),
    "helo-unqualified": says(hello("localhost")),
    "helo-empty": says(hello("")),
    "helo-rotates": hellos("a.example", "b.example", "c.example"),
    "helo-domain-rotates": hellos("mail.a.example", "mail.b.example", "mail.c.example"),
    "sender-unrelated": says(hello(), sender("rolex.example")),
    "sender-rotates": senders("a.example", "b.example", "c.example"),
    "new-pair": senders("a.example", "b.example", "c.example"),
    "unauthenticated": says(sender()),
    "banner-refused": says(greeting(NO)),
    "unknown-user": says(sender(), recipient(UNKNOWN)),
    "dnsbl-listed": says(sender(), recipient(LISTED)),
    "dnsbl-unlisted": says(sender(), recipient(UNKNOWN)),
    "residential-line": says(greeting(PBL)),
    "refused": says(sender(), recipient(), message(NO)),
    "deferred": says(sender(), recipient(LATER)),
    "tls-too-short": says(hello(), tls_bytes(EMPTY_FROM)),
    "early-talk": says(violation("early-talk")),
    "blind-pipelining": says(violation("blind-pipelining")),
    "content-after-refusal": says(violation("content-after-refusal")),
    "not-smtp": says(Event("opaque", "not-smtp")),
    "no-quit": says(violation("no-quit")),
    "path-spaced": says(Event("quirk", "path-spaced")),
    "verb-case": says(Event("quirk", "mixed-case")),
    "sender-is-recipient": says(Event("quirk", "sender-is-recipient")),
    "many-recipients": says(sender(), *[recipient()] * CROWD),
    "helo-is-recipient": says(hello("mx.b.example"), sender(), recipient(domain="*@b.example")),
    "helo-not-ehlo": says(hello(extended=False)),
    "declines-tls": says(hello(NAME, "PIPELINING", "STARTTLS"), sender()),
    "relayed": says(Event("turnaround", "5/3", None, RELAYED_FROM_MS)),
    "message-content": says(sender(), recipient(), message()),
    "from-router": says(),
    "mx-lookup": lookup(foreign=False),
    "mx-foreign": lookup(foreign=True),
    "accepted": says(sender(), recipient(), message()),
    "tls-carried": says(hello(), tls_bytes(CARRIED_FROM)),
    "null-sender": says(sender(NULL_SENDER)),
    "retry-accepted": each(says(sender(), recipient(LATER)), says(sender(), recipient(), message())),
    "quit": ends(CLOSED, quits=True),
    "authenticated": says(Event("reply", "AUTH", reply("235 2.7.0 Authentication successful"))),
    "private-extension": says(Event("reply", "private", reply("220 2.0.0 SMTP server ready"))),
}
SILENT: dict[str, Play] = {
    # The first server of all; another host of the same network; one met long ago.
    "new-destination": each(says(), says(), lambda home: home.open(1, host=99)),
    "destination-burst": each(spray(BURST, 0.1), spray(BURST, 0.1), says(server=9)),
    "connect-refused": each(ends(REFUSED), forget_what_fired, ends(REFUSED), ends(RESET, server=2)),
    "connect-timeout": each(ends(LOST), forget_what_fired, ends(LOST), ends(TRYING, server=2), ends(OPEN, server=3)),
    "helo-dynamic": hellos("mail4.isp.example", "dsl.isp.example"),
    "helo-address": hellos("[192.0.2.7]", "mail.192.example"),
    "helo-private": hellos("[192.0.2.7]", "192.168.1.7"),
    "helo-unqualified": hellos("localhost.isp.example"),
    "helo-empty": hellos(NAME, "[192.0.2.7]"),
    # As often as is usual; private addresses are one name; the same domain.
    "helo-rotates": hellos("a.example", "b.example", "A.example", "B.example"),
    "helo-domain-rotates": hellos("mail.a.example", "b.example", "www.a.example", "localhost", "[192.0.2.7]", "pc"),
    # One name at one network, and two names at one network each.
    "breadth": each(says(hello()), says(hello()), says(hello("b.example"), server=2)),
    "sustained": spray(30, 10.0),
    "sender-unrelated": each(says(hello(), sender("news." + DOMAIN)), says(hello(), sender(NULL_SENDER), server=2),
                             says(sender("rolex.example"), server=3)),
    "sender-rotates": senders("a.example", "b.example", "B.example", NULL_SENDER, "a.example"),
    "new-pair": each(senders("a.example", "b.example"), says(sender("c.example"))),
    "unauthenticated": each(says(sender(NULL_SENDER)),
                            says(Event("reply", "AUTH", reply("235 ok")), sender(), server=2)),
    "banner-refused": each(says(greeting(LATER)), says(greeting(LISTED), server=2), says(greeting(), server=3)),
    "unknown-user": each(says(sender(NULL_SENDER), recipient(UNKNOWN)), says(sender(), recipient(LATER), server=2)),
    "dnsbl-listed": each(says(sender(), recipient(PBL)), says(sender(), recipient(UNKNOWN), server=2)),
    "dnsbl-unlisted": each(says(greeting(LISTED)), ends(LOST, server=2), ends(OPEN, server=3)),
    "residential-line": each(says(sender(), recipient(LISTED)), says(sender(), recipient(NO), server=2)),
    "refused": each(says(greeting(NO)), says(sender(), recipient(LATER), server=2),
                    says(Event("reply", "unknown", reply("502 5.5.2 what?")), server=3),
                    says(Event("reply", "private", reply("504 5.7.0 authenticate first")), server=4)),
    "deferred": each(ends(LOST), says(sender(), recipient(LATER)), says(greeting(NO), server=2)),
    "tls-too-short": each(says(tls_bytes(EMPTY_FROM - 1)), says(tls_bytes(EMPTY_BELOW), server=2),
                        says(recipient(LATER), server=3), says(tls_bytes(EMPTY_FROM), server=3)),
    "early-talk": says(violation("early-content")),
    "blind-pipelining": says(violation("bare-lf")),
    "content-after-refusal": says(violation("early-content")),
    "not-smtp": says(Event("opaque", "tls")),
    "no-quit": says(violation("data-after-quit")),
    "path-spaced": says(Event("quirk", "lower-case")),
    "verb-case": says(Event("quirk", "upper-case")),
    "sender-is-recipient": says(hello(), sender("b.example"), recipient()),
    "many-recipients": each(says(sender(), *[recipient()] * (CROWD - 1)), says(sender(), recipient(), server=2)),
    "helo-is-recipient": each(says(hello(), sender(), recipient(domain=DOMAIN)),
                       says(hello("mx.c.example"), sender(), recipient(), server=2),
                       says(sender(), recipient(domain=""), server=3)),
    "helo-not-ehlo": says(hello()),
    "declines-tls": each(says(hello(), sender()), says(hello(NAME, "STARTTLS"), tls_bytes(2000), server=2)),
    "relayed": each(says(Event("turnaround", "5/3", None, RELAYED_FROM_MS - 1)),
                    says(Event("turnaround", "5/2", None, 90), server=2),
                    says(Event("turnaround", "5/3", None, RELAYED_TO_MS + 1), server=3)),
    "message-content": each(says(sender(), recipient()), says(sender(NULL_SENDER), recipient(), message(), server=2)),
    "from-router": each(says(server=2), says(server=3)),
    "mx-lookup": lookup(foreign=True),
    "mx-foreign": lookup(foreign=False),
    "accepted": each(says(sender(NULL_SENDER), recipient(), message()), says(sender(), message(NO), server=2)),
    "tls-carried": says(tls_bytes(CARRIED_FROM - 1)),
    "null-sender": says(sender()),
    "retry-accepted": each(says(sender(), recipient(), message()), says(sender(), message(NO), server=2),
                      says(sender(), message(), server=2)),
    "quit": each(ends(CLOSED), ends(LOST, quits=True, server=2), ends(OPEN, quits=True, server=3)),
    "authenticated": says(Event("reply", "AUTH", reply("535 5.7.8 no")), Event("reply", "HELP", reply("235 hm"))),
    # Refused; not seen; no private-use command; not the first contact.
    "private-extension": each(
        says(Event("reply", "private", reply("500 5.3.3 what?"))), says(Event("reply", "private"), server=2),
        says(Event("reply", "STARTTLS", reply("220 go")), server=3),
        says(Event("reply", "private", reply("220 go"))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIRES)
def test_fires(name: str) -> None:
    home = Home(ROUTER if name in OF_THE_ROUTER else MAC)
    FIRES[name](home)
    assert name in home.fired()
    (step,) = (step for step in home.steps if step.indicator == name)
    assert step.device is home.device
    tally = home.device.score.tallies[name]
    assert tally.count == 1
    assert tally.weight == pytest.approx(step.added)


@pytest.mark.parametrize("name", SILENT)
def test_does_not_fire(name: str) -> None:
    home = Home()
    SILENT[name](home)
    assert name not in home.fired()


def test_the_router_counts_once_for_being_the_router() -> None:
    home = Home(ROUTER)
    each(says(), says(server=2), says(server=3))(home)
    assert home.fired().count("from-router") == 1


#: What stays of a contact, whatever server it is with.
_DEAF = (
    "new-destination",
    "destination-burst",
    "breadth",
    "sustained",
    "relayed",
    "retry-accepted",
    "from-router",
    "mx-lookup",
    "mx-foreign",
)


@pytest.mark.parametrize("settled", [message(), recipient(NO)], ids=["accepted", "turned away"])
@pytest.mark.parametrize("name", [name for name in FIRES if name not in _DEAF])
def test_what_a_server_says_again_is_no_news(name: str, settled: Event) -> None:
    home = Home()
    for server in range(BURST + 2):
        home.connect(server, sender(), settled)
    home.steps.clear()
    FIRES[name](home)
    assert home.fired() == []


def test_a_camera_refused_12340_times_by_one_server() -> None:
    home = Home()
    events = (hello("axis-00408c", extended=False), sender("axis.example"), recipient(UNKNOWN), violation("no-quit"))
    for _ in range(12340):
        home.connect(1, *events, after=7.0)
    assert home.device.score.standing == CLEAR
    assert len(home.steps) < 10


@pytest.mark.parametrize("sites", [1, 3, 12, 40])
def test_an_office_whose_servers_agree_on_an_extension(sites: int) -> None:
    """The sessions are short, as when a server only looks whether there is something to fetch."""
    home = Home()
    agreed = Event("reply", "private", reply("220 2.0.0 SMTP server ready"))
    for number in range(120):
        home.connect(number % sites, hello("ex1.head.example"), agreed, tls_bytes(EMPTY_FROM + 1), after=900.0)
        assert home.device.score.standing == CLEAR


@pytest.mark.parametrize("second", [LATER, UNKNOWN, OK], ids=["later", "unknown", "accepted"])
def test_a_server_that_puts_off_in_between_is_no_news_either(second: Reply) -> None:
    """Neither does a camera's server convict it by and by, nor a bot's own server clear it."""
    home = Home()
    home.connect(1, hello(), sender(), recipient(), message(second if second is OK else UNKNOWN), recipient(LATER))
    home.steps.clear()
    for _ in range(50):
        home.connect(1, hello("pc"), sender("x.example"), recipient(LATER))
        home.connect(1, hello("pc"), sender("x.example"), recipient(second), message(OK if second is OK else NO))
    assert home.fired() == []


def test_an_indicator_counts_once_in_a_connection() -> None:
    home = Home()
    home.connect(1, sender(), *(recipient(UNKNOWN) for _ in range(100)))
    assert home.fired().count("unknown-user") == 1
    assert home.device.recipients == 100


def test_an_accepted_recipient_does_not_hide_an_unknown_one() -> None:
    home = Home()
    home.connect(1, sender(), recipient(UNKNOWN), recipient(), message())
    assert {"unknown-user", "accepted", "message-content"} <= set(home.fired())


@pytest.mark.parametrize("word", ["unknown", "AUTH"])
def test_names_that_a_client_chooses_hide_nothing(word: str) -> None:
    """`unknown` stands for a verb that nobody knows; a domain may be called that, too."""
    home = Home()
    home.connect(1, Event("sender", word, NO))
    home.connect(2, sender(word), Event("recipient", word, UNKNOWN))
    home.connect(3, sender(word), recipient(), Event("message", word, LISTED, 9))
    assert {"refused", "unknown-user", "dnsbl-listed"} <= set(home.fired())


def short_after(*said: Reply) -> float:
    """What a short TLS session adds after these refusals in the clear, 20 of each."""
    home = Home()
    for n, answer in enumerate(said):
        for server in range(20):
            home.connect(100 * n + server, greeting(answer))
    home.device.score.sums = [5.0] * len(home.device.score.sums)
    home.connect(1000, hello(), tls_bytes(300))
    (step,) = (step for step in home.steps if step.indicator == "tls-too-short")
    return step.added


@pytest.mark.parametrize("said", [PBL, LISTED])
def test_what_is_said_in_the_clear_explains_what_ends_early_under_tls(said: Reply) -> None:
    """Whoever is refused in the clear for its line is refused under TLS for that, too: its short sessions tell less."""
    assert 0 < short_after(said) < 0.3 * short_after(NO)


def test_what_was_said_long_ago_explains_less() -> None:
    assert short_after(NO, PBL) < short_after(PBL, NO)


@pytest.mark.parametrize("answer", [
    reply("250 STARTTLS"), reply("250 8BITMIME", "mx.example", "starttls"), reply("250 8BITMIME", "STARTTLS "),
])  # fmt: skip
def test_wherever_starttls_is_offered_to_decline_it_counts(answer: Reply) -> None:
    home = Home()
    home.connect(1, Event("hello", NAME, answer, 1), sender())
    assert "declines-tls" in home.fired()


#: What a bot can do at a server of its owner's to look legitimate.
FRIENDS = {
    "callouts": (hello(), sender(NULL_SENDER), recipient()),
    "AUTH": (hello(), Event("reply", "AUTH", reply("235 ok"))),
    "its own mail": (hello(), sender(), recipient(), message()),
    "its own mail, then put off": (hello(), sender(), recipient(), message(), recipient(LATER)),
    "TLS": (hello(), tls_bytes(5000)),
    "something in TLS": (hello(), tls_bytes(EMPTY_BELOW)),
}


@pytest.mark.parametrize("friend", FRIENDS)
def test_a_server_of_its_own_does_not_clear_a_bot(friend: str) -> None:
    alone, with_friend = Home(), Home()
    alone.connect(1)
    for n in range(60):
        for _ in range(1):
            with_friend.connect(1, *FRIENDS[friend], quits=True)
        for home in (alone, with_friend):
            answer = (recipient(UNKNOWN),) if n % 3 else (recipient(), message())
            ways = (hello("dsl-1-2-3-4.isp.example", extended=False), Event("quirk", "path-spaced"), sender())
            home.connect(100 + n, *ways, *answer, violation("no-quit"))
    for home in (alone, with_friend):
        assert home.device.score.standing == COMPROMISED
    assert alone.device.compromised_at is not None
    assert with_friend.device.compromised_at is not None
    assert with_friend.device.compromised_at[1] / 2 <= 60


def test_a_bot_is_suspected_then_convicted_and_both_are_told_once() -> None:
    home = Home()
    events = (greeting(), hello("dsl-1-2-3-4.isp.example", extended=False), sender("rolex.example"), recipient(UNKNOWN))
    for server in range(40):
        home.connect(server, *events, violation("no-quit"), after=1.0)
    told = home.detector.changes
    assert [(change.before, change.after) for change in told] in (
        [(CLEAR, SUSPECTED), (SUSPECTED, COMPROMISED)],
        [(CLEAR, COMPROMISED)],
    )
    device = home.device
    assert device.score.standing == COMPROMISED
    assert device.compromised_at == (told[-1].time, told[-1].connection)
    assert device.suspected_at == (told[0].time, told[0].connection)
    assert told[-1].connection <= 6
    assert told[-1].device is device
    assert told[-1].indicator in INDICATORS


def test_a_suspicion_that_ends_is_told_and_forgotten() -> None:
    home = Home()
    bot = (hello("dsl-1-2-3-4.isp.example", extended=False), sender("rolex.example"), recipient(UNKNOWN))
    server = 0
    while home.device.score.standing == CLEAR:
        server += 1
        home.connect(server, *bot, after=1.0)
    assert home.device.score.standing == SUSPECTED
    assert home.device.suspected_at is not None
    for server in range(100, 300):
        home.connect(server, hello(), sender(), recipient(), message(), quits=True)
    assert [change.after for change in home.detector.changes] == [SUSPECTED, CLEAR]
    assert home.device.suspected_at is None


def test_no_more_names_are_new_than_are_remembered() -> None:
    """A device that never stops to change its names fires for it so many times, and no more."""
    home = Home()
    hellos(*(f"host{n}.example" for n in range(40)))(home)
    senders(*(f"sender{n}.example" for n in range(40)))(home)
    for name in ("helo-rotates", "helo-domain-rotates", "sender-rotates"):
        assert home.fired().count(name) == _REMEMBERED - _USUAL
    assert (len(home.device.helos), *map(len, home.device.seen_names)) == (_NAMES, *[_REMEMBERED] * 3)


def test_a_name_is_remembered_once_however_many_networks_hear_it() -> None:
    home = Home()
    for server in range(600):
        home.connect(server, hello())
    assert len(home.device.helos) == 1
    assert home.fired().count("breadth") == 599


def test_the_borders_of_a_burst() -> None:
    """More than `BURST` new networks in less than a minute, the first network of all not counted."""
    for count, pause, fires in (
        (BURST + 1, 1.0, 0),
        (BURST + 2, 1.0, 1),
        (BURST + 2, 60.0 / BURST, 0),
        (BURST + 2, 60.0 / BURST - 0.01, 1),
    ):
        home = Home()
        spray(count, pause)(home)
        assert (count, pause, home.fired().count("destination-burst")) == (count, pause, fires)


@pytest.mark.parametrize(
    ("size", "fires"),
    [
        (EMPTY_FROM - 1, set()),
        (EMPTY_FROM, {"tls-too-short"}),
        (EMPTY_BELOW - 1, {"tls-too-short"}),
        (EMPTY_BELOW, set()),
        (CARRIED_FROM - 1, set()),
        (CARRIED_FROM, {"tls-carried"}),
    ],
)
def test_the_borders_of_what_passed_in_tls(size: int, fires: set[str]) -> None:
    home = Home()
    says(tls_bytes(size))(home)
    assert set(home.fired()) & {"tls-too-short", "tls-carried"} == fires


def test_the_twentieth_recipient_makes_many() -> None:
    home = Home()
    says(*[recipient()] * (CROWD - 1))(home)
    assert "many-recipients" not in home.fired()
    says(*[recipient()] * (CROWD + 5), server=2)(home)
    assert home.fired().count("many-recipients") == 1


def test_release() -> None:
    """Cleaned, and still a bot: found anew, and sooner. Cleaned in truth: cleared, by its usual servers."""
    bot, cleaned, fresh = Home(), Home(), Home()
    needed = convicted_after(bot, 100)
    assert convicted_after(cleaned, 100) == needed
    for home in (bot, cleaned):
        home.detector.changes.clear()
        assert home.detector.release(home.device, 5000.0)
        (change,) = home.detector.changes
        assert (change.before, change.after, change.indicator) == (COMPROMISED, SUSPECTED, RELEASED)
        assert (home.device.score.standing, home.device.compromised_at) == (SUSPECTED, None)
        assert home.device.suspected_at == (5000.0, home.device.connections)
        assert not home.detector.release(home.device, 5001.0)
        device = home.device
        assert (len(device.server_networks), device.helos, device.burst, device.busy) == (0, [], [], [])
        assert device.seen_names == ([], [], [])
        assert (device.rejections_for_cause, device.rejections_for_line_type) == (0.0, 0.0)
    assert convicted_after(bot, 100) <= convicted_after(fresh, 100)
    for n in range(60):
        cleaned.connect(n, hello(), sender(), recipient(), message(), quits=True)
    assert cleaned.device.score.standing == CLEAR
    assert [change.after for change in cleaned.detector.changes] == [SUSPECTED, CLEAR]


@pytest.mark.parametrize("connections", [0, 60], ids=["clear", "suspected"])
def test_who_is_not_convicted_is_not_released(connections: int) -> None:
    home = Home()
    for n in range(connections):
        home.connect(n)
    before = (home.device.score.standing, home.device.score.value, len(home.device.server_networks))
    home.detector.changes.clear()
    assert not home.detector.release(home.device, 5000.0)
    assert (home.device.score.standing, home.device.score.value, len(home.device.server_networks)) == before
    assert home.detector.changes == []


def test_syns_alone_never_convict() -> None:
    home = Home()
    for server in range(3000):
        home.detector.on_mx_query(home.device, True, home.time)
        home.connect(server, phase=(LOST, REFUSED, TRYING)[server % 3], after=0.5)
    assert {INDICATORS[name].family for name in home.fired()} <= UNSPOKEN
    assert home.device.score.standing == CLEAR


def test_counts() -> None:
    home = Home()
    home.connect(1, sender(), recipient(), recipient(UNKNOWN), message())
    home.connect(1, sender(), recipient(), message(NO))
    home.connect(2)
    device = home.device
    assert (device.connections, device.networks, device.messages, device.recipients) == (3, 2, 1, 3)
    assert len(device.server_networks) == 2


def test_memory_is_bounded_and_holds_no_names() -> None:
    home = Home()
    for n in range(3000):
        home.connect(n, hello(f"host{n}.example"), sender(f"brand{n}.example"), after=0.001)
    device = home.device
    assert len(device.helos) == _NAMES
    assert all(len(names) == _REMEMBERED for names in device.seen_names)
    assert len(device.burst) <= BURST + 1
    assert all(isinstance(mark, int) for names in (device.helos, *device.seen_names) for mark in names)
    kept = [getattr(device, name) for name in Device.__slots__ if name not in ("score", "server_networks")]
    assert "example" not in repr(kept)


# ── properties ──────────────────────────────────────────────────────────────────────────────────

REPLIES = st.sampled_from([OK, UNKNOWN, LISTED, PBL, NO, LATER, reply("421 4.3.2 busy"), reply("235 fine"), None])
NAMES = st.sampled_from(
    ["", NAME, "localhost", "[10.0.0.1]", "192.0.2.1", "dsl-1-2-3-4.isp.example", "unknown", "é.example", NULL_SENDER,
     "@", "*@b.example", "AUTH", "tls", "not-smtp", "path-spaced", *sorted(VIOLATIONS)]
)  # fmt: skip
KINDS = (
    "greeting", "hello", "sender", "recipient", "message", "tls", "fingerprint", "tls-bytes", "reply", "quit",
    "violation", "quirk", "opaque", "something else",
)  # fmt: skip
EVENTS = st.lists(
    st.builds(Event, st.sampled_from(KINDS), NAMES, REPLIES, st.sampled_from([0, 1, 119, 200, 500, 1300, 1 << 40])),
    max_size=8,
)
PHASES = st.sampled_from([TRYING, OPEN, CLOSED, REFUSED, RESET, LOST])
CONNECTIONS = st.lists(st.tuples(st.integers(0, 12), EVENTS, PHASES, st.booleans()), max_size=40)
Told = list[tuple[int, list[Event], str, bool]]


@settings(derandomize=True, max_examples=300, deadline=None)
@given(CONNECTIONS)
def test_whatever_is_told_bounds_hold(told: Told) -> None:
    home = Home()
    for server, events, phase, quits in told:
        before = home.device.score.value
        home.connect(server, *events, phase=phase, quits=quits)
        assert all(0 <= value <= MOST for value in home.device.score.sums)
        # What one side alone has shown ends with what both show; else a session is bounded.
        assert home.device.score.value - before <= SESSION_CLIP + CLIP
    for change in home.detector.changes:
        assert change.before != change.after
        assert change.before != COMPROMISED
    if home.device.score.standing == COMPROMISED:
        families = {INDICATORS[name].family for name in home.fired()} - {LEGITIMATE}
        assert len(families) >= 2
        assert families - UNSPOKEN


@settings(derandomize=True, max_examples=100, deadline=None)
@given(CONNECTIONS, st.lists(st.floats(60.0, 3e6), min_size=40, max_size=40))
def test_time_does_not_matter(told: Told, pauses: list[float]) -> None:
    """But for bursts: no clock resets a score, so a bot gains nothing by patience."""
    one, other = Home(), Home()
    for (server, events, phase, quits), pause in zip(told, pauses, strict=False):
        one.connect(server, *events, phase=phase, quits=quits, after=61.0)
        other.connect(server, *events, phase=phase, quits=quits, after=pause)
    assert one.device.score.sums == other.device.score.sums
    assert one.fired() == other.fired()


def convicted_after(home: Home, server: int) -> int:
    """How many of a bot's connections it takes."""
    for n in range(100):
        events = (hello("dsl-1-2-3-4.isp.example"), sender("rolex.example"), recipient(UNKNOWN))
        home.connect(server + n, *events, violation("no-quit"))
        if home.device.score.standing == COMPROMISED:
            return n + 1
    return 100


@pytest.mark.parametrize("sessions", [1, 100, 7300])
def test_a_bot_after_clean_sessions_is_found_as_fast(sessions: int) -> None:
    clean = Home()
    for n in range(sessions):
        clean.connect(n % 200, hello(), sender(), recipient(), message(), quits=True)
    assert clean.device.score.standing == CLEAR
    assert convicted_after(clean, 1000) <= convicted_after(Home(), 1000) + 3


# ── with the responder in the server's place ────────────────────────────────────────────────────────


def test_what_the_responder_says_is_no_server_s_word() -> None:
    """Its refusals say nothing about the device, and a second talk about the same server is no news."""
    detector, device = Detector(), Device(b"\2\0\0\0\0\1", 0.0)
    server = bytes([198, 51, 100, 25])
    refusal = Reply(554, "554 5.7.1 Your Internet provider, not the recipient, refused this")
    scores = []
    for time in (0.0, 1000.0):
        connection = detector.opened(device, server, time)
        connection.explained = True
        detector.established(connection, time)
        for event in (
            Event("hello", "7-0-2-198.dynamic.example.net", OK, 0),
            Event("sender", "a.example", OK),
            Event("recipient", "b.example", refusal),
        ):
            detector.event(connection, event, time)
        detector.ended(connection, CLOSED, True, time)
        scores.append([*device.score.sums])
    assert max(scores[0]) > 0
    assert all(later <= first for first, later in zip(*scores, strict=True))
    assert not {"refused", "dnsbl-unlisted", "quit"} & {*device.score.tallies}
    assert device.recipients == 2
