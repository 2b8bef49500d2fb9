"""The engine: verdicts packet by packet, connections that begin, end and are forgotten, evidence on the way."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.detect.detector import StandingChanged
from cpe_filter.detect.device import Device
from cpe_filter.detect.mac_rotation import DeviceRekeyed, Lease
from cpe_filter.detect.score import COMPROMISED
from cpe_filter.engine import FORWARD, IDLE_S, LINGER_S, LOCAL_IN, LOCAL_OUT, LOST_AFTER_S, Engine, Flow, Refused
from cpe_filter.engine.verdicts import (
    ACCEPT,
    BLOCK_DEVICE,
    BYPASS,
    INSPECT_ALL,
    LIMIT_DEVICE,
    REDIRECT,
    RESET_FLOW,
    SKIP_CONTENT,
    SKIP_TO_FIN,
)
from cpe_filter.inspect.session import LOST
from cpe_filter.lean.clocks import PacketTime, Posix
from cpe_filter.policy.model import Policy
from tests.build import (
    ACK,
    CLIENT,
    LEGITIMATE,
    PSH,
    RST,
    START,
    SYN,
    TYPE_A,
    Conversation,
    Packet,
    dns_query,
    session,
    udp,
)
from tests.policies import changed_policy, make_policy

MAC, OTHER, ROUTER_MAC = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", b"\2\0\0\0\0\xfe"
MONITOR = make_policy(mode="monitor", refusal="reset")
BLOCK = make_policy(mode="block", refusal="reset")
PASSES = {ACCEPT, INSPECT_ALL, SKIP_CONTENT, SKIP_TO_FIN, BYPASS}

REFUSED_RECIPIENT = LEGITIMATE.replace("S: 250 2.1.5 Ok", "S: 550 5.1.1 User unknown").split("C: DATA")[0]


class Home:
    """An engine and a way to play packets to it."""

    def __init__(self, policy: Policy = MONITOR, **options: Any) -> None:
        self.ended: list[Flow] = []
        self.engine = Engine(policy, ended=self.ended.append, **options)

    def give(self, packet: Packet, mac: bytes = MAC, hook: int = FORWARD) -> str:
        return self.engine.packet(PacketTime(packet.time), hook, mac if packet.from_client else ROUTER_MAC, packet.data)

    def play(self, packets: list[Packet], mac: bytes = MAC, hook: int = FORWARD) -> list[str]:
        return [self.give(packet, mac, hook) for packet in packets]

    def device(self, key: bytes = MAC) -> Any:
        found = self.engine.devices.find(key)
        assert found is not None
        return found


def bot_session(number: int, time: float) -> list[Packet]:
    text = REFUSED_RECIPIENT.replace("EHLO mail.example.org", "HELO 7-0-2-198.dynamic.example.net")
    text += "C: QUIT\nS: 221 Bye\n"  # so that it is the refusal that convicts, not the end
    return session(text, server=f"198.51.{number}.25", sport=40000 + number, time=time, step=0.01)


# ── verdicts ────────────────────────────────────────────────────────────────────────────────────────


def test_ordinary_session_passes_packet_by_packet() -> None:
    home = Home()
    verdicts = home.play(session())
    assert set(verdicts) == {ACCEPT, SKIP_CONTENT, INSPECT_ALL, BYPASS}
    assert [verdict for verdict in verdicts if verdict != ACCEPT] == [SKIP_CONTENT, INSPECT_ALL, BYPASS]
    device = home.device()
    assert (device.connections, device.sessions, device.messages, device.recipients) == (1, 1, 1, 1)
    assert device.score.standing == "clear"


def test_mode_block_refuses_at_the_syn() -> None:
    home = Home(BLOCK)
    assert home.give(Conversation().syn()) == RESET_FLOW
    assert home.device().refused == 1
    (event,) = home.engine.events
    assert isinstance(event, Refused)


def test_resent_syn_of_a_refused_connection_is_refused_again_and_counts_once() -> None:
    home = Home(BLOCK)
    syn = Conversation().syn()
    assert [home.give(syn) for _ in range(3)] == [RESET_FLOW] * 3
    assert (home.device().connections, home.device().refused) == (1, 1)


EXPLAINED = (
    "S: 220 mail-refused.invalid\nC: EHLO bot.example\nS: 250 ok\nC: MAIL FROM:<a@a.example>\nS: 250 ok\n"
    "C: RCPT TO:<b@b.example>\nS: 554 5.7.1 not from here\nC: QUIT\nS: 221 Bye\n"
)


def explained(home: Home, number: int = 0, time: float = START, text: str = EXPLAINED) -> list[str]:
    """A connection that is redirected: seen before destination NAT, and after it is undone, so no redirect shows."""
    packets = session(text, server=f"198.51.{number}.25", sport=40000 + number, time=time)
    return [home.give(p, hook=0 if p.from_client else 4) for p in packets]


def test_mode_block_redirects_and_reads_what_the_device_says_to_the_responder() -> None:
    home = Home(make_policy(mode="block"))
    verdicts = explained(home)
    assert verdicts[0] == REDIRECT
    assert [verdict for verdict in verdicts[1:] if verdict != ACCEPT] == [BYPASS]
    device = home.device()
    assert (device.sessions, device.recipients, device.messages, device.refused) == (1, 1, 0, 1)
    (event,) = home.engine.events
    assert isinstance(event, Refused)
    assert event.flow.session.server == bytes([198, 51, 0, 25])
    # Its reply to RCPT is ours: no server has refused anything.
    assert not {"refused", "unknown-user"} & {*device.score.tallies}
    # What goes to the responder's port is not mail's.
    stray = session(dport=2525, server="192.168.1.1", sport=50000)
    before = home.engine.mail_packets
    assert set(home.play(stray)) == {ACCEPT}
    assert home.engine.mail_packets == before


def test_a_second_connection_of_a_port_keeps_its_way_to_the_responder() -> None:
    """The first, to another server, is forgotten; the second's packets are told by client and port alone."""
    home = Home(make_policy(mode="block"))
    first = Conversation(server="198.51.1.25", sport=41000)
    home.give(first.syn())
    second = Conversation(server="198.51.2.25", sport=41000, time=START + 5.0)
    home.give(second.syn())
    home.engine.tick(PacketTime(START + LOST_AFTER_S + 1.0))
    at = START + LINGER_S + 1.0
    home.engine.tick(PacketTime(at))
    assert [flow.session.server[2] for flow in home.engine.flows] == [2]
    before = home.engine.mail_packets
    redirected = Conversation(server="192.168.1.1", sport=41000, dport=2525, time=at)
    home.give(redirected.packet(True, PSH | ACK, b"EHLO a.example\r\n"))
    assert home.engine.mail_packets == before + 1
    assert home.engine.flow is not None


def test_a_bot_gives_itself_away_to_the_responder_and_gets_few_connections_of_it() -> None:
    home = Home(make_policy(mode="block"))
    text = EXPLAINED.replace("EHLO bot.example", "HELO 7-0-2-198.dynamic.example.net").replace(
        "MAIL FROM:<", "MAIL FROM: <"
    )
    text = text.split("C: QUIT")[0]
    first = [explained(home, n, START + n, text.replace("a@a.example", f"a@d{n}.example"))[0] for n in range(30)]
    convicted = first.index(BLOCK_DEVICE)
    assert set(first[:convicted]) == {REDIRECT}
    assert set(first[convicted:]) == {BLOCK_DEVICE}
    assert home.device().score.standing == COMPROMISED


def test_who_is_over_the_limit_is_the_kernels_matter_for_a_while() -> None:
    home = Home(changed_policy(BLOCK, connections_burst=2))
    syns = [Conversation(sport=40000 + n).syn() for n in range(4)]
    assert [home.give(syn) for syn in syns] == [RESET_FLOW, RESET_FLOW, LIMIT_DEVICE, LIMIT_DEVICE]
    # A host behind a router is not its router.
    home = Home(changed_policy(BLOCK, connections_burst=1))
    home.engine.on_link(LAN)
    assert [home.give(p) for n in range(3) for p in from_host([Conversation(sport=40000 + n).syn()], 5)] == [
        RESET_FLOW
    ] * 3


def test_what_runs_unseen_passes_but_not_in_mode_block() -> None:
    talk = session()[4:]
    assert set(Home().play(talk)) <= PASSES
    assert set(Home(BLOCK).play(talk)) == {RESET_FLOW}
    assert set(Home(make_policy(mode="block")).play(talk)) == {RESET_FLOW}


def test_tls_is_done_once_the_client_hello_has_passed() -> None:
    home = Home()
    talk = Conversation().open().say("S: 220 mx\nC: EHLO a.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go")
    assert set(home.play(talk.packets)) == {ACCEPT}
    # A record that is no whole ClientHello: the verdict waits for the rest, but not for ever.
    first = talk.packet(True, PSH | ACK, b"\x16\x03\x01\x00\x08\x01\x00\x00\x40")
    assert home.give(first) == ACCEPT
    assert home.give(talk.packet(True, PSH | ACK, b"\x17\x03\x03\x00\x00" * 3)) == SKIP_TO_FIN
    # Said once is enough.
    assert home.give(talk.packet(True, PSH | ACK, b"more")) == ACCEPT


def test_conviction_ends_the_running_session_and_blocks_the_device() -> None:
    home = Home()
    verdicts = [home.play(bot_session(n, START + n)) for n in range(12)]
    convicted = next(n for n, given in enumerate(verdicts) if BLOCK_DEVICE in given)
    assert convicted < 10
    # Every packet from the deciding one on, and every later connection from its SYN on.
    at = verdicts[convicted].index(BLOCK_DEVICE)
    assert set(verdicts[convicted][:at]) <= {ACCEPT}
    assert set(verdicts[convicted][at:]) == {BLOCK_DEVICE}
    assert all(set(given) == {BLOCK_DEVICE} for given in verdicts[convicted + 1 :])
    changes = [event for event in home.engine.events if isinstance(event, StandingChanged)]
    assert [change.after for change in changes] == ["suspected", "compromised"]
    assert home.device().compromised_at[1] == convicted + 1


def test_another_device_is_not_touched() -> None:
    home = Home()
    for n in range(12):
        home.play(bot_session(n, START + n))
    assert set(home.play(session(sport=41000, time=START + 99), OTHER)) <= PASSES
    assert home.device(OTHER).score.standing == "clear"
    assert home.device().score.standing == COMPROMISED


def test_recipients_over_the_limit_end_the_session() -> None:
    home = Home(make_policy(mode="limit", recipients_burst=2, recipients_per_hour=1))
    many = LEGITIMATE.replace(
        "C: DATA", "C: RCPT TO:<x@a.example>\nS: 250 ok\nC: RCPT TO:<y@a.example>\nS: 250 ok\nC: DATA"
    )
    verdicts = home.play(session(many))
    first = verdicts.index(RESET_FLOW)
    assert set(verdicts[:first]) == {ACCEPT}
    assert set(verdicts[first:]) == {RESET_FLOW}
    assert home.device().messages == 1  # what a capture goes on to show is still counted


def test_recipients_hidden_behind_too_many_commands_are_counted() -> None:
    home = Home(make_policy(mode="limit", recipients_burst=30, recipients_per_hour=1))
    talk = Conversation(step=0.001).open().say("S: 220 mx\nC: EHLO a.example\nS: 250-mx\nS: 250 PIPELINING")
    talk.say("C: MAIL FROM:<a@a.example>")
    for _ in range(30):
        talk.packet(True, PSH | ACK, b"RCPT TO:<b@b.example>\r\n" * 50)
    assert RESET_FLOW in home.play(talk.packets)
    assert home.device().recipients > 30


def test_exempt_connection_passes_in_mode_block() -> None:
    from cpe_filter.policy.model import Exemption

    home = Home(BLOCK._replace(exempt=(Exemption(MAC, ip_network("198.51.100.25/32"), None, ""),)))
    assert set(home.play(session())) <= PASSES
    assert home.give(Conversation(server="198.51.100.26", sport=40001).syn()) == RESET_FLOW


def test_other_ports_and_unreadable_packets_pass() -> None:
    home = Home(BLOCK)
    assert set(home.play(session(dport=587))) == {ACCEPT}
    assert home.engine.packet(PacketTime(START), FORWARD, MAC, b"") == ACCEPT
    assert home.engine.packet(PacketTime(START), FORWARD, MAC, b"\x45" + bytes(30)) == ACCEPT
    assert home.engine.refusals == {"empty": 1, "not-tcp": 1}
    assert len(home.engine.devices) == 0


# ── who ─────────────────────────────────────────────────────────────────────────────────────────────


def test_all_addresses_of_a_mac_are_one_device() -> None:
    home = Home()
    home.play(session())
    home.play(session(client="192.0.2.99", sport=40001))
    home.play(session(client="2001:db8:1::10", server="2001:db8:2::25", sport=40002))
    assert len(home.engine.devices) == 1
    assert len(home.device().addresses) == 3


@pytest.mark.parametrize("mac", [None, bytes(6)])
def test_without_mac_the_address_is_the_device(mac: bytes | None) -> None:
    engine = Engine(MONITOR)
    for packet in session():
        engine.packet(PacketTime(packet.time), FORWARD, mac, packet.data)
    (device,) = engine.devices
    assert device.name == "192.0.2.10"


@pytest.mark.parametrize("hook", [LOCAL_OUT, LOCAL_IN])
def test_the_routers_own_mail(hook: int) -> None:
    home = Home()
    home.play(session(), hook=hook)
    (device,) = home.engine.devices
    assert device.name == "router"
    assert device.score.tallies["from-router"].count == 1


def test_only_the_lan_is_watched() -> None:
    home = Home(lan=(ip_network("192.168.1.0/24"),))
    home.play(session())
    assert len(home.engine.devices) == 0
    home.play(session(client="192.168.1.7"))
    assert len(home.engine.devices) == 1


def test_a_server_that_is_heard_first() -> None:
    talk = Conversation().open().say(LEGITIMATE)
    home = Home()
    late = talk.packets[3:]  # begins with the server's greeting
    assert not late[0].from_client
    home.engine.packet(PacketTime(late[0].time), FORWARD, ROUTER_MAC, late[0].data, MAC)
    home.play(late[1:])
    home.engine.finish(PacketTime(talk.time))
    (flow,) = home.ended
    assert [t.outcome for t in flow.session.dialogue.transactions] == ["accepted"]
    assert flow.device.key == MAC
    # Its beginning was not seen: it is no evidence, nor is it counted.
    assert len(home.engine.devices) == 0


def test_both_ports_mail_ports() -> None:
    home = Home()
    home.play(session(sport=25))
    assert home.device().messages == 1


# ── connections come and go ─────────────────────────────────────────────────────────────────────────


def test_resent_syn_counts_once_and_a_new_one_counts_again() -> None:
    home = Home()
    syn = Conversation().syn()
    for delay in (0, 1, 3, 7):
        home.give(syn._replace(time=START + delay))
    assert home.device().connections == 1
    home.play(session(time=START + 20, isn=50000))
    assert home.device().connections == 2


@pytest.mark.parametrize("end", ["close", "reset"])
def test_same_ports_again_are_another_connection(end: str) -> None:
    home = Home()
    first = Conversation(step=0.01).open().say(LEGITIMATE)
    if end == "close":
        first.close()
    else:
        first.packet(True, RST | ACK)
    home.play(first.packets)
    home.play(session(time=START + 1, isn=90000))
    assert (home.device().connections, home.device().messages) == (2, 2)


def test_unanswered_attempt_is_lost_after_a_while() -> None:
    home = Home()
    home.give(Conversation().syn())
    home.engine.tick(PacketTime(START + LOST_AFTER_S - 1))
    assert "connect-timeout" not in home.device().score.tallies
    home.engine.tick(PacketTime(START + LOST_AFTER_S + 1))
    assert home.device().score.tallies["connect-timeout"].count == 1
    home.engine.tick(PacketTime(START + LOST_AFTER_S + LINGER_S + 2))
    assert home.engine.flow_count == 0
    assert home.ended[0].session.phase == LOST


def test_refused_attempt() -> None:
    home = Home()
    talk = Conversation()
    home.give(talk.syn())
    home.give(talk.packet(False, RST | ACK))
    assert home.device().score.tallies["connect-refused"].count == 1


@pytest.mark.parametrize("end", ["lost", "refused", "left"])
def test_an_end_counts_once_though_the_connection_is_remembered(end: str) -> None:
    home = Home()
    talk = Conversation(step=0.01)
    if end == "left":
        home.play(talk.open().say(LEGITIMATE).close().packets)
    else:
        home.give(talk.syn())
        if end == "refused":
            home.give(talk.packet(False, RST | ACK))
    for seconds in range(100):
        home.engine.tick(PacketTime(START + 1 + seconds))
    assert home.engine.flow_count == 0
    name = {"lost": "connect-timeout", "refused": "connect-refused", "left": "quit"}[end]
    assert home.device().score.tallies[name].count == 1


def test_what_we_refuse_ourselves_is_no_evidence_of_failure() -> None:
    home = Home(BLOCK)
    talk = Conversation()
    home.give(talk.syn())
    home.give(talk.packet(False, RST | ACK))
    home.engine.tick(PacketTime(START + 100))
    assert not {"connect-refused", "connect-timeout", "no-quit"} & set(home.device().score.tallies)


def test_silent_connections_are_forgotten() -> None:
    home = Home()
    home.play(Conversation().open().packets)
    home.engine.tick(PacketTime(START + IDLE_S - 10))
    assert home.engine.flow_count == 1
    home.engine.tick(PacketTime(START + IDLE_S + 10))
    assert home.engine.flow_count == 0


def test_stray_packets_begin_nothing() -> None:
    home = Home()
    talk = Conversation()
    for flags in (ACK, RST, RST | ACK, 0x01 | ACK, SYN | 0x01):
        home.give(talk.packet(True, flags))
    assert len(home.engine.devices) <= 1
    assert home.engine.flow_count <= 1


def test_full_table_gives_up_what_is_over_first() -> None:
    home = Home(flows=10)
    home.play(session(step=0.001))  # over
    for n in range(9):
        home.give(Conversation(sport=41000 + n, time=START + 1 + n / 100).syn())
    assert home.engine.flow_count == 10
    home.give(Conversation(sport=42000, time=START + 2).syn())
    assert home.engine.flow_count == 10
    assert home.engine.evicted_flows == 1
    assert home.ended[0].session.client_port == 40000
    for n in range(100):
        home.give(Conversation(sport=43000 + n, time=START + 3).syn())
        assert home.engine.flow_count == 10


def test_finish_counts_what_is_known_of_running_connections() -> None:
    home = Home()
    talk = Conversation().open().say(REFUSED_RECIPIENT)
    home.play(talk.packets)
    home.engine.finish(PacketTime(talk.time))
    (flow,) = home.ended
    (transaction,) = flow.session.dialogue.transactions
    assert transaction.outcome == "open"
    assert home.engine.flow_count == 0


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([LOCAL_IN, FORWARD, LOCAL_OUT]), st.binary(max_size=80), st.booleans(), st.integers(0, 60)
        ),
        max_size=30,
    )
)
def test_nothing_raises(pieces: list[tuple[int, bytes, bool, int]]) -> None:
    home = Home(make_policy(mode="limit"), flows=4)
    talk = Conversation().open()
    time = START
    for hook, data, from_client, later in pieces:
        time += later
        talk.time = time
        home.give(talk.packet(from_client, PSH | ACK, data), hook=hook)
        assert home.engine.packet(PacketTime(time), hook, MAC, data) == ACCEPT
    home.engine.finish(PacketTime(time))


def test_refused_bounces_and_callouts_say_little() -> None:
    def play(sender: str) -> Home:
        home = Home()
        for n in range(12):
            text = REFUSED_RECIPIENT.replace("alice@example.org", sender) + "C: QUIT\nS: 221 Bye\n"
            home.play(session(text, server=f"198.51.{n}.25", sport=40000 + n, time=START + n, step=0.01))
        return home

    bounces, mail = play("").device(), play("spam@offers.example").device()
    assert bounces.score.standing != COMPROMISED
    assert "unknown-user" not in bounces.score.tallies
    assert mail.score.tallies["unknown-user"].count == 12
    assert mail.score.sums[0] > bounces.score.sums[0]  # unlike an ordinary mail server


# ── lookups ─────────────────────────────────────────────────────────────────────────────────────────

MX_QUESTION = udp(CLIENT, "192.168.1.1", 40000, 53, dns_query())
MX_FOREIGN = udp(CLIENT, "198.51.100.53", 40000, 53, dns_query())


class Asking(Home):
    """Writes down what the detector is told of lookups: (device's key, whether the resolver is foreign, time)."""

    def __init__(self, policy: Policy = MONITOR, **options: Any) -> None:
        super().__init__(policy, **options)
        self.told: list[tuple[bytes, bool, float]] = []
        self.engine._judge.detector.on_mx_query = self._looked_up  # type: ignore[method-assign]

    def _looked_up(self, device: Device, foreign: bool, time: float) -> None:
        self.told.append((device.key, foreign, time))


def test_lookups_of_a_device_that_mails_count() -> None:
    home = Asking()
    home.play(session())
    home.engine.on_mx_query(PacketTime(START + 1), MAC, MX_QUESTION)
    home.engine.on_mx_query(PacketTime(START + 2), MAC, MX_FOREIGN)
    home.engine.on_mx_query(
        PacketTime(START + 3), MAC, udp(CLIENT, "198.51.100.53", 40000, 53, dns_query(qtype=TYPE_A))
    )
    home.engine.on_mx_query(PacketTime(START + 4), MAC, b"garbage")
    assert home.device().mx_queries == 2
    assert home.told == [(MAC, False, START + 1), (MAC, True, START + 2)]


def test_lookups_before_the_first_mail_count_when_it_comes() -> None:
    home = Asking()
    home.engine.on_mx_query(PacketTime(START - 20), MAC, MX_FOREIGN)
    home.engine.on_mx_query(PacketTime(START - 10), MAC, MX_QUESTION)
    home.engine.on_mx_query(PacketTime(START - 10), OTHER, MX_QUESTION)
    assert len(home.engine.devices) == 0
    assert home.told == []
    home.play(session())
    assert home.told == [(MAC, True, START - 20), (MAC, False, START - 10)]
    assert home.device().mx_queries == 2
    assert home.engine.devices.find(OTHER) is None


def test_lookups_long_before_the_first_mail_do_not() -> None:
    home = Asking()
    home.engine.on_mx_query(PacketTime(START - 3601), MAC, MX_FOREIGN)
    home.play(session())
    assert home.told == []
    assert home.device().mx_queries == 0


def test_made_up_senders_of_lookups_make_no_devices_and_push_none_out() -> None:
    home = Asking()
    home.engine.devices.limit = 2
    home.play(session())
    for n in range(2000):
        home.engine.on_mx_query(PacketTime(START + 60), b"\6" + n.to_bytes(5, "big"), MX_FOREIGN)
    assert [device.key for device in home.engine.devices] == [MAC]
    assert len(home.engine.recent_mx) <= home.engine.recent_mx.limit


def test_the_routers_own_address_is_no_foreign_resolver() -> None:
    home = Asking(ours=lambda address: address == bytes([198, 51, 100, 53]))
    home.play(session())
    home.engine.on_mx_query(PacketTime(START + 1), MAC, MX_FOREIGN)
    assert home.told == [(MAC, False, START + 1)]


def test_lookups_respect_lan() -> None:
    home = Asking(lan=(ip_network("192.0.2.0/24"),))
    home.play(session())
    home.engine.on_mx_query(PacketTime(START + 1), MAC, udp("203.0.113.9", "198.51.100.53", 40000, 53, dns_query()))
    assert home.told == []
    home.engine.on_mx_query(PacketTime(START + 1), MAC, udp(CLIENT, "192.0.2.53", 40000, 53, dns_query()))
    assert home.told == [(MAC, False, START + 1)]


def test_lookups_only_where_the_policy_wants_them() -> None:
    home = Asking(changed_policy(MONITOR, watch_dns=False))
    home.engine.on_mx_query(PacketTime(START - 1), MAC, MX_FOREIGN)
    home.play(session())
    home.engine.on_mx_query(PacketTime(START + 1), MAC, MX_FOREIGN)
    assert home.told == []
    assert home.device().mx_queries == 0


def test_a_lookup_may_change_a_standing() -> None:
    home = Home()
    home.play(session())
    detector = home.engine._judge.detector
    change = StandingChanged(START, home.device(), "clear", "suspected", 1, "an-indicator")
    detector.on_mx_query = lambda *_: detector.changes.append(change)  # type: ignore[method-assign]
    home.engine.on_mx_query(PacketTime(START + 1), MAC, MX_FOREIGN)
    assert home.engine.events == [change]
    assert detector.changes == []


# ── devices distinguished ───────────────────────────────────────────────────────────────────────────


LAN = (ip_network("192.0.2.0/24"), ip_network("2001:db8:1::/64"))


def from_host(packets: list[Packet], host: int) -> list[Packet]:
    """The same by another client."""
    old, new = bytes([192, 0, 2, 10]), bytes([192, 168, 7, host])
    return [packet._replace(data=packet.data.replace(old, new)) for packet in packets]


def test_convicted_host_behind_a_router_leaves_its_neighbours_alone() -> None:
    """The kernel knows MACs only: the verdict for such a host is about each connection."""
    home = Home()
    home.engine.on_link(LAN)
    verdicts = [home.play(from_host(bot_session(n, START + n), 5)) for n in range(14)]
    assert home.device(MAC + bytes([192, 168, 7, 5])).score.standing == COMPROMISED
    assert set(verdicts[-1]) == {RESET_FLOW}
    assert not any(BLOCK_DEVICE in given for given in verdicts)
    assert set(home.play(from_host(session(sport=41000, time=START + 99), 6))) <= PASSES
    assert set(home.play(session(sport=41001, time=START + 120))) <= PASSES
    assert home.device().score.standing == "clear"


def test_a_convicted_router_with_hosts_behind_it_is_refused_without_them() -> None:
    home = Home()
    home.engine.on_link(LAN)
    home.play(from_host(session(), 6))
    assert BLOCK_DEVICE not in {verdict for n in range(14) for verdict in home.play(bot_session(n, START + 50 + n))}
    assert home.device().score.standing == COMPROMISED
    assert set(home.play(from_host(session(sport=41000, time=START + 99), 6))) <= PASSES


def test_an_exemption_of_a_mac_covers_what_is_behind_it() -> None:
    from cpe_filter.policy.model import Exemption

    home = Home(BLOCK._replace(exempt=(Exemption(MAC, None, None, ""),)))
    home.engine.on_link(LAN)
    assert set(home.play(from_host(session(), 5))) <= PASSES


def test_without_known_networks_hosts_in_turn_are_told_apart() -> None:
    home = Home()
    for n in range(6):
        home.play(from_host(session(sport=40000 + n, time=START + 60 * n), 5 + n % 2))
    assert {device.name for device in home.engine.devices} == {"02:00:00:00:00:01", "02:00:00:00:00:01 192.168.7.6"}
    with_lan = Home(lan=(ip_network("192.168.0.0/16"),))
    for n in range(6):
        with_lan.play(from_host(session(sport=40000 + n, time=START + 60 * n), 5 + n % 2))
    assert {device.name for device in with_lan.engine.devices} == {"02:00:00:00:00:01"}


def test_a_convicted_device_with_a_new_random_mac_is_blocked_at_once() -> None:
    home = Home()

    def leases(mac: bytes, time: float) -> None:
        home.engine.leases([Lease(mac, (bytes(4),), "phone", b"", START + 30)], PacketTime(time), Posix(time))

    leases(MAC, START)
    for n in range(14):
        home.play(bot_session(n, START + n))
    assert home.device().score.standing == COMPROMISED
    home.engine.events.clear()
    leases(OTHER, START + 40)
    leases(OTHER, START + 120)
    (event,) = home.engine.events
    assert isinstance(event, DeviceRekeyed)
    assert (event.before, event.device.key) == (MAC, OTHER)
    assert set(home.play(session(sport=41000, time=START + 130), OTHER)) == {BLOCK_DEVICE}
    assert set(home.play(session(sport=41001, time=START + 140), MAC)) <= PASSES


# ── what need not be read ───────────────────────────────────────────────────────────────────────────


def test_known_servers_of_a_clear_device_are_let_go_at_the_syn() -> None:
    home = Home(make_policy(mode="monitor"), whole=False)
    first = home.play(session())
    assert SKIP_CONTENT in first
    again = Conversation(sport=40001).syn()
    assert home.give(again) == BYPASS
    assert (home.device().connections, home.device().sessions) == (2, 1)
    assert home.engine.flow_count == 1  # the first, which lingers
    # One of another network is new.
    assert home.give(Conversation(server="203.0.113.25", sport=40002).syn()) == ACCEPT


@pytest.mark.parametrize(
    ("policy", "whole", "standing"),
    [
        (make_policy(mode="limit"), False, "clear"),
        (make_policy(mode="monitor"), True, "clear"),
        (make_policy(mode="monitor", read_known=True), False, "clear"),
        (make_policy(mode="monitor"), False, "suspected"),
        (make_policy(mode="monitor", escalate=False), False, "suspected"),
    ],
)
def test_they_are_read_where_it_matters(policy: Policy, whole: bool, standing: str) -> None:
    home = Home(policy, whole=whole)
    home.play(session())
    home.device().score.standing = standing
    assert home.give(Conversation(sport=40001).syn()) == ACCEPT
    assert home.engine.flow_count == 2


def test_an_exempt_device_s_are_let_go_in_any_mode() -> None:
    from cpe_filter.policy.model import Exemption

    home = Home(BLOCK._replace(exempt=(Exemption(MAC, None, None, ""),)), whole=False)
    home.play(session())
    assert home.give(Conversation(sport=40001).syn()) == BYPASS


def test_thousands_of_lost_attempts_are_given_up_in_turns() -> None:
    home = Home()
    for n in range(1000):
        home.give(Conversation(server=f"198.51.{n // 200}.{n % 200 + 1}", sport=20000 + n, time=START).syn())
    time, sweeps = START + LOST_AFTER_S, []
    while home.engine.flow_count and time < START + 60:
        before = len(home.engine._table.trying)
        home.engine.tick(PacketTime(time))
        sweeps.append(before - len(home.engine._table.trying))
        time += 0.05
    assert max(sweeps) <= 256
    assert sum(sweeps) == 1000
    assert sweeps[4] == 0  # four turns did it


# ── connections whose beginning was not seen ────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("mode", "after", "passes"), [("limit", 10.0, True), ("limit", 1000.0, False), ("monitor", 1000.0, True)]
)
def test_where_connections_are_admitted_an_unknown_one_passes_only_early(mode: str, after: float, passes: bool) -> None:
    """It may have begun before the filter did. Later it was not admitted, or was refused, and goes on all the same."""
    home = Home(make_policy(mode=mode))
    home.play(session(time=START))
    late = session(server="198.51.77.25", sport=45000, time=START + after)[3:]
    verdicts = home.play(late)
    assert (RESET_FLOW not in verdicts) is passes
