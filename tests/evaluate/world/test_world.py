"""The honest world: its sessions are what inspect would report, its senders are what they say, its runner counts."""

from __future__ import annotations

import itertools
import random
import sys
import types
from pathlib import Path

import pytest

from cpe_filter.detect.detector import Connection, Detector
from cpe_filter.detect.score import COMPROMISED
from cpe_filter.engine import FORWARD, Engine
from cpe_filter.explain.questions import Questions
from cpe_filter.inspect.facts import Event
from cpe_filter.inspect.session import CLOSED, LOST, TRYING
from cpe_filter.lean.clocks import Mono, PacketTime
from tests.evaluate.facts import FINGERPRINT, Session, as_packets
from tests.evaluate.intervals import NEVER
from tests.evaluate.test_facts import Listening, by_facts, by_packets
from tests.evaluate.world import bots, describe, measure, pace, rates, sets, table
from tests.evaluate.world.__main__ import main
from tests.evaluate.world.converse import BOUNCED, DONE, EXPLAIN, LATER, PASS, REFUSE, Memory, converse
from tests.evaluate.world.delivery import Home, Mail, deliver
from tests.evaluate.world.internet import CONSUMERS, DOMAINS, Host, Internet
from tests.evaluate.world.legit import LEGITIMATE
from tests.evaluate.world.line import Line, home_line
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.programs import SLEEPING, WIFI, Client, exim, postfix, smtplib
from tests.policies import make_policy

DEVICE = measure.DEVICE
PBL, CLEAN = Line(True, "none", "", [], []), Line(False, "own", "", [], [])


def sessions(name: str, seed: int, count: int, answer: str = PASS, start: int = 0) -> list[Session]:
    task = measure.Task(sets.DEVELOPMENT, name, seed, "monitor", count, 30)
    _, stream = measure.attempts(task)
    found = [attempt.meet(answer) for attempt in itertools.islice(stream, start, start + count)]
    return sorted(found, key=lambda session: session.time)


def on_the_wire(session: Session) -> Session:
    """As packets all clients have one ClientHello."""
    events = tuple(e._replace(name=FINGERPRINT) if e.kind == "fingerprint" else e for e in session.events)
    return session._replace(events=events)


@pytest.mark.parametrize("name", [*LEGITIMATE, *bots.BOTS])
def test_packets_and_facts_agree(name: str) -> None:
    found = [on_the_wire(session) for session in sessions(name, 1, 40)]
    # One after the other: what takes a while on the wire must be over when the next begins.
    spaced = [session._replace(time=number * 200.0) for number, session in enumerate(found)]
    told, standings = by_facts(spaced, DEVICE)
    assert by_packets(spaced, DEVICE, "monitor") == (told, standings)


@pytest.mark.parametrize("name", ["self-hosted", "working-thing", "iot-hub", "verifying-server", "badbox-tls"])
def test_packets_and_facts_agree_with_the_responder(name: str) -> None:
    gate, engine = measure.Gate("block"), Engine(make_policy(mode="block"))
    by_gate, by_engine = Listening(), Listening()
    gate.listen(by_gate)
    engine._judge.detector = by_engine
    _, stream = measure.attempts(measure.Task(sets.DEVELOPMENT, name, 1, "block", 40))
    for number, attempt in enumerate(itertools.islice(stream, 40)):
        session = gate.take(attempt)
        if session.phase == TRYING:
            break
        engine.tick(PacketTime(session.time))
        for packet in as_packets(session, "192.0.2.10", 1024 + number):
            hwaddr = DEVICE if packet.from_client else b"\2\0\0\0\0\1"
            engine.packet(PacketTime(packet.time), FORWARD, hwaddr, packet.data)
        assert by_engine.told == by_gate.told
    assert by_gate.told


@pytest.mark.parametrize("name", ["self-hosted", "tofsee", "badbox-tls", "verifying-server"])
def test_a_name_and_a_seed_give_the_same_life(name: str) -> None:
    assert sessions(name, 3, 50) == sessions(name, 3, 50)
    assert sessions(name, 3, 50) != sessions(name, 4, 50)


def host(internet: Internet, kind: str) -> Host:
    return next(h for h in map(internet.host, itertools.count()) if h.manners.kind == kind and h.fate == "up")


@pytest.mark.parametrize(
    ("kind", "stage", "code"),
    [("gmail", "message", 550), ("yahoo", "greeting", 553), ("gmx", "greeting", 554), ("m365", "recipient", 550)],
)
def test_where_a_pbl_line_is_refused(kind: str, stage: str, code: int) -> None:
    rng = random.Random(1)
    internet = Internet(rng)
    found = Host(0, "x.example", (1,), 1, internet._provider(kind, 2, 1)[0]) if kind == "m365" else host(internet, kind)
    letter = Letter("me.example", (Mailbox(1),))
    talk = converse(rng, 0.0, found, b"\xf0\0\0\1", PBL, smtplib("me.example"), letter, Memory())
    refused = [event for event in talk.session.events if event.reply is not None and event.reply.code >= 400]
    assert [(event.kind, event.reply and event.reply.code) for event in refused] == [(stage, code)]
    assert talk.outcome == BOUNCED
    talk = converse(rng, 0.0, found, b"\xf0\0\0\1", CLEAN, smtplib("me.example"), letter, Memory())
    assert talk.outcome == DONE


def test_pipelined_data_is_refused_where_all_recipients_are() -> None:
    rng = random.Random(2)
    internet = Internet(rng)
    gmail = internet.host(0)
    letter = Letter("me.example", (Mailbox(1, "unknown"),))
    by_exim = converse(rng, 0.0, gmail, b"\xf0\0\0\1", CLEAN, exim("a.example", "none"), letter, Memory()).session
    by_script = converse(rng, 0.0, gmail, b"\xf0\0\0\1", CLEAN, smtplib("a.example"), letter, Memory()).session
    assert [event.name for event in by_exim.events if event.kind == "reply"] == ["DATA", "QUIT"]
    assert [event.name for event in by_script.events if event.kind == "reply"] == ["QUIT"]
    assert by_exim.pipelined
    assert not by_script.pipelined


def test_a_queue_comes_back_to_who_put_it_off() -> None:
    rng = random.Random(3)
    home = Home(rng, CLEAN, Internet(rng))
    number = next(
        n
        for n in itertools.count(DOMAINS)
        if home.internet.host(n).manners.greylists
        and not (home.internet.host(n).manners.tls or home.internet.host(n).manners.catch_all)
        and home.internet.host(n).fate == "up"
    )
    stream = deliver(home, [Mail(0.0, number, Letter("a.example", (Mailbox(7),)))], postfix("mail.a.example"))
    first = next(stream)
    assert (first.meet(), first.outcome)[1] == LATER
    second = next(stream)
    assert second.time - first.time >= 270
    second.meet()
    assert second.letter.to == first.letter.to


@pytest.mark.parametrize(("answer", "outcome"), [(EXPLAIN, BOUNCED), (REFUSE, LATER)])
def test_what_the_home_filter_does_reaches_the_sender(answer: str, outcome: str) -> None:
    rng = random.Random(4)
    home = Home(rng, CLEAN, Internet(rng))
    attempt = next(deliver(home, [Mail(0.0, 0, Letter("a.example", (Mailbox(7),)))], postfix("mail.a.example")))
    session = attempt.meet(answer)
    assert attempt.outcome == outcome
    assert session.phase == (TRYING if answer == REFUSE else CLOSED)
    assert all(event.kind != "tls" for event in session.events)


def explained(*mails: Mail, by: Client, asked_as: bytes = b"\xc0\0\2\1") -> list[Session]:
    rng = random.Random(4)
    home = Home(rng, CLEAN, Internet(rng))
    questions = Questions(make_policy().explain)
    found = []
    for attempt in deliver(home, mails, by):
        asked = questions.of(asked_as, True, Mono(attempt.time))
        assert asked is not None
        asked.time = Mono(attempt.time)
        found.append(attempt.meet(EXPLAIN, asked))
        asked.ended()
    return found


def codes(found: list[Session], kind: str) -> list[int]:
    return [e.reply.code for session in found for e in session.events if e.kind == kind and e.reply is not None]


def test_the_responder_sees_who_comes_back() -> None:
    mail = Mail(0.0, 0, Letter("a.example", (Mailbox(7),)))
    assert codes(explained(mail, by=postfix("mail.a.example")._replace(second_mx=False)), "recipient") == [450, 554]
    assert codes(explained(mail, by=smtplib("x")), "recipient") == [450]


def test_the_responder_does_not_offer_tls_again_where_a_program_gives_up() -> None:
    mails = [Mail(n * 1e5, 0, Letter("<>", (Mailbox(7),))) for n in range(2)]
    by_server = explained(*mails, by=postfix("mail.a.example"))
    assert [e.name for s in by_server for e in s.events if e.kind == "reply"] == ["STARTTLS", "QUIT"] * 2
    by_script = explained(*mails, by=smtplib("x", "may"))
    assert [e.name for s in by_script for e in s.events if e.kind == "reply"][:1] == ["STARTTLS"]
    assert codes(by_script, "recipient") == [554], "the second message: a bounce is not deferred"


def test_a_naive_client_does_not_wait() -> None:
    mail = Mail(0.0, 0, Letter("a.example", (Mailbox(7),)))
    names = [e.name for e in explained(mail, by=smtplib("x")._replace(naive=True))[0].events]
    assert {"early-talk", "blind-pipelining"} <= set(names)
    names = [e.name for e in explained(mail, by=smtplib("x"))[0].events]
    assert not {"early-talk", "blind-pipelining"} & set(names)


def test_the_gate_hears_what_the_responder_learns() -> None:
    class Hearing(Detector):
        heard: set[str]

        def event(self, connection: Connection, event: Event, time: PacketTime) -> None:
            if event.kind == "responder":
                self.heard.add(event.name)
            super().event(connection, event, time)

    gate, detector = measure.Gate("block"), Hearing()
    detector.heard = set()
    gate.listen(detector)
    _, stream = measure.attempts(measure.Task(sets.DEVELOPMENT, "self-hosted", 1, "block", 200))
    for attempt in itertools.islice(stream, 200):
        gate.take(attempt)
    assert detector.heard >= {"waited", "coped", "returned", "took-tls"}
    assert not detector.heard & {"talked-early", "broke"}


def test_ipv6_is_used_where_both_have_it() -> None:
    assert {len(session.server) for session in sessions("ipv6-server", 1, 60)} == {4, 16}


def test_each_program_finds_servers_in_its_way() -> None:
    def questions(name: str) -> set[str]:
        seen = set()
        for seed in range(12):
            _, stream = measure.attempts(measure.Task(sets.DEVELOPMENT, name, seed, "monitor", 5))
            seen |= {attempt.mx_question for attempt in itertools.islice(stream, 5) if attempt.meet()}
        return seen

    assert questions("badbox-clear") == {""}
    assert questions("working-thing") == {""}
    assert questions("self-hosted") == {"", "home", "foreign"}


def test_a_line_that_is_down_reaches_nobody() -> None:
    rng = random.Random(5)
    line = home_line(rng)
    line.outages = [(0.0, 100.0)]
    home = Home(rng, line, Internet(rng))
    attempt = next(deliver(home, [Mail(5.0, 0, Letter("a.example", (Mailbox(7),)))], smtplib("x")))
    assert attempt.meet().phase == LOST


def test_where_domains_are() -> None:
    """22 % at Google, 18 % at Microsoft, 40 % with hosters, 20 % on their own; few networks for most mail."""
    internet = Internet(random.Random(6))
    kinds = [internet.host(DOMAINS + n).manners.kind for n in range(4000)]
    for kind, share in (("gmail", 0.22), ("m365", 0.18), ("hoster", 0.40), ("own", 0.20)):
        assert abs(kinds.count(kind) / 4000 - share) < 0.03
    tls = sum(internet.host(DOMAINS + n).manners.tls for n in range(4000)) / 4000
    assert 0.92 < tls < 0.99
    assert {internet.host(n).manners.kind for n in range(CONSUMERS)} == {
        "gmail", "outlook", "yahoo", "icloud", "gmx", "tonline",
    }  # fmt: skip


def test_relayed_sessions_carry_the_way_to_their_operator() -> None:
    relayed = [session for session in sessions("badbox-clear", 1, 60) if session.events]
    assert min(session.turnaround for session in relayed) >= 30
    assert all(session.turnaround == 0 for session in sessions("self-hosted", 1, 30))


@pytest.mark.parametrize(
    ("client", "hidden", "slow", "ahead"),
    [  # as measured in the lab: of 100 sessions, those of 20 ms and more, and those that are ahead in all turns, too
        (smtplib("x"), False, (0, 0), (0, 0)),
        (smtplib("x")._replace(network=WIFI), True, (0, 3), (0, 0)),
        (smtplib("x")._replace(network=SLEEPING), False, (5, 15), (0, 0)),
        (smtplib("x")._replace(network=SLEEPING), True, (15, 29), (0, 0)),
        (smtplib("x")._replace(pace=(1.0, 5.0, 40.0)), True, (15, 29), (4, 16)),
        (smtplib("x")._replace(pace=(0.6, 50.0, 300.0)), False, (3, 13), (3, 13)),
        (smtplib("x")._replace(operator=(60.0, 69.0)), False, (100, 100), (99, 100)),
        (smtplib("x")._replace(operator=(60.0, 69.0), network=WIFI), True, (100, 100), (88, 96)),
        (smtplib("x")._replace(operator=(20.0, 23.0)), True, (95, 100), (4, 16)),
    ],
)
def test_how_fast_clients_answer(client: Client, hidden: bool, slow: tuple[int, int], ahead: tuple[int, int]) -> None:
    rng = random.Random(1)
    found = [pace.draw(rng, client, hidden) for _ in range(2000)]
    late = sum(floor >= 20 for floor, _ in found) / 20
    all_ahead = sum(floor >= 20 and turns == 3 for floor, turns in found) / 20
    assert slow[0] <= late <= slow[1]
    assert ahead[0] <= all_ahead <= ahead[1]


def test_each_recipient_has_its_number() -> None:
    for session in sessions("cutwail", 1, 30):
        rcpts = sum(event.kind == "recipient" for event in session.events)
        assert rcpts <= len(session.recipients)


def test_a_life_ends_with_a_conviction() -> None:
    found = measure.life(measure.Task(sets.DEVELOPMENT, "tofsee", 0, "monitor", 400, why=True))
    assert found.kind == bots.CLASSIC
    assert found.convicted_at == found.connections
    assert found.why


def test_other_standings_are_counted_apart() -> None:
    gate = measure.Gate("monitor")
    gate.device.score.standing = "unusual"
    assert gate.worst() == "unusual"
    gate.device.score.standing = COMPROMISED
    assert gate.worst() == COMPROMISED


def test_the_runner(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--runs", "1", "--processes", "1", "--only", "ups", "--only", "tofsee", "--published"]) == 0
    out = capsys.readouterr().out
    assert "ups" in out
    assert "SPOT" in out
    assert "legitimate device-years convicted <= 0.1 %" in out
    with pytest.raises(SystemExit, match="nobody: not a sender"):
        main(["--only", "nobody"])


def test_rates_are_counted_to_the_end() -> None:
    found = [rates.count(measure.Task(sets.DEVELOPMENT, name, 0, "monitor", 60)) for name in ("tofsee", "php-on-a-pi")]
    assert [one.kind for one in found] == [bots.CLASSIC, ""]
    assert all(one.networks and one.fired for one in found)
    lines = list(rates.table(found, True))
    assert any("unknown-user" in line and "tofsee" in line for line in lines)


def test_what_senders_look_like() -> None:
    assert describe.row("shop-newsletter", 1)["tls"] == 0
    assert len(list(describe.table(["ups"]))) == 2


def test_goals_count_what_is_missed() -> None:
    def one(name: str, kind: str, at: float) -> measure.Life:
        return measure.Life(name, kind, 0, 400, 1.0, at, at, False, (), "", {})

    said: list[str] = []
    assert table.goals([one("a", "", NEVER), one("b", bots.CLASSIC, 3)], "monitor", said.append) == 0
    assert table.goals([one("a", "", 9), one("b", bots.CAREFUL, 61)], "monitor", said.append) == 4


def test_a_set_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> sets.Set:
        raise sets.AbsentError(f"no {name} set")

    monkeypatch.setattr("tests.evaluate.world.__main__.load", absent)
    said: list[str] = []
    assert main(["--set", "validation", "--reason", "release"], said.append) == 2
    assert said == ["no validation set"]


def test_a_validation_set_has_two_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    package = "tests.evaluate.world.validation"
    made: dict[str, dict[str, object]] = {"": {}, ".legit": {"LEGITIMATE": LEGITIMATE}, ".bots": {"BOTS": bots.BOTS}}
    for name, names in made.items():
        module = types.ModuleType(package + name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, package + name, module)
    assert sets.load(sets.VALIDATION) == sets.load(sets.DEVELOPMENT)


def test_each_use_of_the_validation_set_is_recorded(tmp_path: Path) -> None:
    log = tmp_path / "log.md"
    sets.record("release 1.0", log)
    sets.record("release 1.1", log)
    rows = log.read_text().splitlines()[-2:]
    assert [row.split("|")[3].strip() for row in rows] == ["release 1.0", "release 1.1"]
