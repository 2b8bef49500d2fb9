"""Between kernel and engine: verdicts of packets that wait, and what the kernel is told, with both ends of it made up.

The kernel's part is played by lists; tests/live/test_live.py, tests/enforce and tests/attacks have the real one.
"""

from __future__ import annotations

import select
from typing import Any, cast

import pytest

from cpe_filter.detect.detector import StandingChanged
from cpe_filter.detect.mac_rotation import DeviceRekeyed
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED
from cpe_filter.enforce.nfqueue import ACCEPT, DROP, REPEAT
from cpe_filter.enforce.packets import Found
from cpe_filter.engine import FORWARD, Engine, Flow, Refused
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live import gate as module
from cpe_filter.live.gate import CONTENT_PACKETS, Gate
from cpe_filter.live.log_events import EventLog
from cpe_filter.policy.model import Policy
from tests.build import ACK, PSH, SYN, Conversation
from tests.policies import make_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing

MAC = bytes.fromhex("020000000102")
START = 1_000_000.0


class Queue:
    fd = 100

    def __init__(self) -> None:
        self.waiting: list[Found] = []
        self.answers: list[tuple[int, int]] = []

    def read(self) -> list[Found]:
        found, self.waiting = self.waiting, []
        return found

    def answer(self, verdicts: list[tuple[int, int]]) -> None:
        self.answers += verdicts


class Log:
    fd = 101
    lost = 0

    def __init__(self) -> None:
        self.datagrams: list[list[Found]] = []

    def read(self) -> list[Found]:
        return self.datagrams.pop(0) if self.datagrams else []


class Poll:
    def register(self, fd: int, events: int) -> None: ...


class Sets:
    """Notes what the kernel is told, in order."""

    def __init__(self, log: object) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.full = False

    def __getattr__(self, name: str) -> Any:
        def note(*arguments: Any) -> str | None:
            self.told.append((name, *arguments))
            return "the set is full" if self.full else None

        return note

    def names(self) -> list[str]:
        return [" ".join(str(word) for word in one[:2] if isinstance(word, str)) for one in self.told]


class Kernel:
    """A gate with all that it stands between."""

    def __init__(self, policy: Policy, monkeypatch: pytest.MonkeyPatch, log: bool = True) -> None:
        monkeypatch.setattr(module, "Sets", Sets)
        self.now = START
        self.engine = Engine(policy, whole=False, ended=self._ended)
        self.queue, self.log = Queue(), Log()
        shown = cast(Any, self.log) if log else None
        poll = cast(select.poll, Poll())
        self.gate = Gate(
            self.engine, cast(Any, self.queue), shown, poll, lambda: PacketTime(self.now), lambda text: None
        )
        self.sets = cast(Sets, cast(Any, self.gate.sets))

    def _ended(self, flow: Flow) -> None:
        self.gate.ended(flow)

    def ask(self, data: bytes, number: int = 1) -> int:
        """A packet waits; its verdict."""
        self.queue.waiting.append((number, FORWARD, MAC, data))
        self.gate.handle()
        (given, verdict) = self.queue.answers.pop()
        assert given == number
        assert not self.queue.answers
        return verdict

    def show(self, *packets: bytes, mac: bytes | None = MAC) -> None:
        self.log.datagrams.append([(0, FORWARD, mac, data) for data in packets])
        self.gate.handle()
        assert not self.queue.answers


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(make_policy(mode="limit", connections_burst=1, connections_per_hour=1), monkeypatch)


def syn(sport: int = 40000, server: str = "198.51.100.25") -> bytes:
    conversation = Conversation("192.168.1.102", server, sport=sport, time=START)
    conversation.syn()
    return conversation.packets[0].data


def test_within_the_limit_a_syn_passes_and_beyond_it_meets_the_rules_again(limit: Kernel) -> None:
    assert limit.ask(syn()) == ACCEPT
    assert limit.ask(syn()) == ACCEPT  # the same once more
    assert limit.ask(syn(40001)) == REPEAT
    told = limit.sets.names()
    assert told.index("add_connection refused_new") < len(told) - 1 - told[::-1].index("flush")
    assert "limit" in told


def test_a_refusal_that_the_kernel_does_not_take_is_a_drop(limit: Kernel) -> None:
    limit.ask(syn())
    limit.sets.full = True
    assert limit.ask(syn(40001)) == DROP


@pytest.mark.parametrize("data", [b"", b"\x45" * 30, syn()[:30], b"\x60" + bytes(60)])
def test_what_cannot_be_read_does_not_pass(limit: Kernel, data: bytes) -> None:
    assert limit.ask(data) == DROP


def test_an_exception_is_a_drop_and_is_counted(limit: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise ValueError("a defect")

    monkeypatch.setattr(limit.engine, "packet", broken)
    assert limit.ask(syn()) == DROP
    assert (limit.gate.failures, limit.gate.last_failure) == (1, "ValueError: a defect")
    limit.show(syn())
    assert limit.gate.failures == 2


def test_what_was_shown_before_comes_first(limit: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[bytes] = []
    packet = limit.engine.packet

    def noted(time: float, hook: int, hwaddr: bytes | None, data: bytes) -> str:
        order.append(data)
        return packet(PacketTime(time), hook, hwaddr, data)

    monkeypatch.setattr(limit.engine, "packet", noted)
    limit.log.datagrams += [[(0, FORWARD, None, syn(n))] for n in (1, 2, 3)]
    limit.ask(syn(4))
    assert order == [syn(n) for n in (1, 2, 3, 4)]


def test_a_turn_is_bounded_and_what_waits_is_decided_in_the_end(limit: Kernel) -> None:
    limit.log.datagrams += [[(0, FORWARD, None, syn(n))] for n in range(1000, 2000)]
    limit.queue.waiting.append((7, FORWARD, MAC, syn()))
    turns = 0
    while not limit.queue.answers:
        before = len(limit.log.datagrams)
        limit.gate.handle()
        assert before - len(limit.log.datagrams) <= module._DATAGRAMS
        turns += 1
        assert limit.gate.waits is (not limit.queue.answers)
    assert 1 < turns <= module._TURNS + 1
    assert [number for number, _ in limit.queue.answers] == [7]


def test_the_packet_that_ends_the_kernels_collecting_is_none(limit: Kernel) -> None:
    before = limit.engine.packets
    limit.show(b"\x45")
    assert limit.engine.packets == before


# ── what the kernel need not show ───────────────────────────────────────────────────────────────────


def message(size: int, server: str = "198.51.100.25", sport: int = 40000) -> list[Any]:
    """A message whose content takes so many packets, and its end one more."""
    conversation = Conversation("192.168.1.102", server, sport=sport, time=START).open()
    conversation.say("S: 220 mx\nC: HELO me.example\nS: 250 mx\nC: MAIL FROM:<a@me.example>\nS: 250 ok")
    conversation.say("C: RCPT TO:<b@there.example>\nS: 250 ok\nC: DATA\nS: 354 go")
    for _ in range(size):
        conversation.say("C: " + "x" * 70)
    return conversation.say("C: .\nS: 250 ok\nC: QUIT\nS: 221 bye").close().packets


@pytest.mark.parametrize(("size", "told"), [(CONTENT_PACKETS - 2, False), (CONTENT_PACKETS + 20, True)])
def test_of_long_content_the_rest_is_left_out(monkeypatch: pytest.MonkeyPatch, size: int, told: bool) -> None:
    kernel = Kernel(make_policy(mode="monitor"), monkeypatch)
    for packet in message(size):
        kernel.show(packet.data, mac=MAC if packet.from_client else None)
    names = kernel.sets.names()
    assert ("add_connection content" in names) is told
    assert ("remove_connection content" in names) is told  # when the server has answered
    assert kernel.gate.failures == 0


def test_commands_are_never_taken_for_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come: else the kernel would not show the rest of the dialogue."""
    kernel = few(monkeypatch)
    conversation = opened(kernel)
    assert kernel.ask(conversation.packet(True, PSH | ACK, b"HELO me.example\r\n").data) == ACCEPT
    kernel.show(conversation.packet(False, PSH | ACK, b"250 mx\r\n").data, mac=None)
    for _ in range(2 * CONTENT_PACKETS):
        assert kernel.ask(conversation.packet(True, PSH | ACK, b"RSET\r\n").data) == ACCEPT
        kernel.show(conversation.packet(False, PSH | ACK, b"250 ok\r\n").data, mac=None)
    assert "add_connection content" not in kernel.sets.names()
    assert kernel.gate.failures == 0


def test_pairs_that_have_settled_are_let_alone_while_the_device_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(make_policy(mode="monitor"), monkeypatch)
    for packet in message(1):
        kernel.show(packet.data, mac=MAC if packet.from_client else None)
    assert "add_pair" not in kernel.sets.names()
    kernel.show(syn(40001))
    assert ("add_pair", MAC, bytes([198, 51, 100, 25])) in kernel.sets.told
    (device,) = kernel.engine.devices
    device.score.standing = SUSPECTED
    kernel.gate.standing(device)
    assert "forget_pairs" in kernel.sets.names()


# ── devices ─────────────────────────────────────────────────────────────────────────────────────────


def test_standings(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(make_policy(mode="monitor"), monkeypatch)
    kernel.show(syn())
    (device,) = kernel.engine.devices

    def told(standing: Standing) -> list[tuple[Any, ...]]:
        kernel.sets.told.clear()
        device.score.standing = standing
        kernel.gate.standing(device)
        return [one for one in kernel.sets.told if one[0] in ("put", "forget_asked")]

    assert told(SUSPECTED) == [("put", "asked", [MAC], module.ASKED_S)]
    assert told(COMPROMISED) == [("put", "blocked", [MAC], 3600.0)]
    assert told(CLEAR) == [("forget_asked", MAC)]
    kernel.engine.reload(make_policy(mode="monitor", escalate=False))
    assert told(COMPROMISED) == []


@pytest.mark.parametrize("escalate", [True, False])
def test_the_home_s_standing_switches_what_its_unknown_devices_meet(
    monkeypatch: pytest.MonkeyPatch, escalate: bool
) -> None:
    kernel = Kernel(make_policy(mode="monitor", escalate=escalate), monkeypatch)
    home = kernel.engine.devices.home

    def switched(standing: Standing) -> dict[str, bool]:
        kernel.now += module.ASKED_S
        kernel.sets.told.clear()
        home.score.standing = standing
        kernel.gate.standing(home)
        return {str(one[1]): one[2] for one in kernel.sets.told if one[0] == "switch"}

    assert switched(CLEAR) == {"home_blocked": False, "home_asked": False}
    assert switched(SUSPECTED) == {"home_blocked": False, "home_asked": escalate}
    assert switched(COMPROMISED) == {"home_blocked": escalate, "home_asked": escalate}
    assert switched(CLEAR) == {"home_blocked": False, "home_asked": False}


def test_a_change_without_a_packet_reaches_the_kernel_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standing may change with time or by a question to DNS, a key by a lease."""
    kernel = Kernel(make_policy(mode="monitor"), monkeypatch)
    kernel.show(syn())
    (device,) = kernel.engine.devices
    device.score.standing = COMPROMISED
    log = EventLog(kernel.engine, kernel.gate, [kernel.gate], lambda device: "", lambda text: None)
    events: list[Any] = [
        StandingChanged(START, device, CLEAR, COMPROMISED, 1, "x"),
        DeviceRekeyed(START, device, b"\2\0\0\0\0\1", "name"),
    ]
    for event in events:
        kernel.sets.told.clear()
        kernel.engine.events.append(event)
        log.emit()
        assert ("put", "blocked", [MAC], 3600.0) in kernel.sets.told


def test_a_new_ruleset_learns_what_was_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(make_policy(mode="monitor"), monkeypatch)
    for packet in message(CONTENT_PACKETS + 5)[:-6]:
        kernel.show(packet.data, mac=MAC if packet.from_client else None)
    (device,) = kernel.engine.devices
    device.score.standing = COMPROMISED
    kernel.sets.told.clear()
    kernel.gate.rules_installed()
    names = kernel.sets.names()
    assert names[0] == "alive"
    assert ("put", "blocked", [MAC], 3600.0) in kernel.sets.told
    assert "add_connection content" in names


def test_the_filter_says_that_it_lives_while_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(Policy(), monkeypatch)
    for second in range(20):
        kernel.gate.tick(PacketTime(START + second))
    assert 20 / module.REFRESH_S <= kernel.sets.names().count("alive") <= 20 / module.REFRESH_S + 1


# ── what is limited ─────────────────────────────────────────────────────────────────────────────────


def opened(kernel: Kernel, sport: int = 40000) -> Conversation:
    """A connection that was admitted, up to the greeting."""
    conversation = Conversation("192.168.1.102", "198.51.100.25", sport=sport, time=START)
    assert kernel.ask(conversation.syn().data) == ACCEPT
    kernel.show(conversation.packet(False, SYN | ACK).data, mac=None)
    conversation.packet(True, ACK)
    kernel.show(conversation.packet(False, PSH | ACK, b"220 mx\r\n").data, mac=None)
    return conversation


def test_data_on_a_connection_that_may_not_begin_does_not_meet_the_rules_again(limit: Kernel) -> None:
    """The rule that refuses a SYN does not refuse it: it would come back at once."""
    limit.ask(syn())
    refused = Conversation("192.168.1.102", "198.51.100.25", sport=40001, time=START)
    assert limit.ask(refused.syn().data) == REPEAT
    assert limit.ask(refused.packet(True, PSH | ACK, b"HELO me.example\r\n").data) == DROP


def few(monkeypatch: pytest.MonkeyPatch, **more: Any) -> Kernel:
    return Kernel(make_policy(mode="limit", escalate=False, **more), monkeypatch)


def test_commands_that_nobody_has_answered_count_before_they_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = few(monkeypatch, messages_burst=2, messages_per_hour=1)
    conversation = opened(kernel)
    assert kernel.ask(conversation.packet(True, PSH | ACK, b"EHLO me.example\r\n").data) == ACCEPT
    offer = b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
    kernel.show(conversation.packet(False, PSH | ACK, offer).data, mac=None)
    one = b"MAIL FROM:<a@me.example>\r\nRCPT TO:<b@there.example>\r\nBDAT 3 LAST\r\nhi\r\n"[:-1]
    assert kernel.ask(conversation.packet(True, PSH | ACK, one * 2).data) == ACCEPT
    assert kernel.ask(conversation.packet(True, PSH | ACK, one).data) == REPEAT
    assert "add_connection refused" in kernel.sets.names()
    (event,) = kernel.engine.events
    assert "over the limit of 1 messages/h" in cast(Refused, event).flow.decision.reason


def test_what_is_sent_before_its_reply_is_known_is_to_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = few(monkeypatch)
    conversation = opened(kernel)
    text = b"HELO me.example\r\nMAIL FROM:<a@me.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\nSubject: s\r\n"
    assert kernel.ask(conversation.packet(True, PSH | ACK, text).data) == DROP


def test_a_hello_that_no_server_agreed_to_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = few(monkeypatch)
    conversation = opened(kernel)
    assert kernel.ask(conversation.packet(True, PSH | ACK, b"\x16\x03\x01\x00\x02\x01\x00\r\n").data) == REPEAT


def test_what_is_not_here_whole_is_dropped_unread(limit: Kernel) -> None:
    before = limit.engine.packets
    assert limit.ask(syn() + bytes(3000)) == DROP
    assert limit.engine.packets == before


def test_an_earlier_filters_decisions_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(make_policy(mode="limit"), monkeypatch)
    kernel.gate.begin()
    assert kernel.sets.names()[:2] == ["forget_connections", "forget_pairs"]
