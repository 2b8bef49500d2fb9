"""A device that passes for a mail server, packet by packet through the engine."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from cpe_filter.detect import saved
from cpe_filter.detect.detector import StandingChanged
from cpe_filter.detect.device import Device
from cpe_filter.detect.mac_rotation import Lease
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.engine import FORWARD, Engine
from cpe_filter.lean.clocks import PacketTime, Posix
from cpe_filter.policy.model import Exemption
from tests.build import START, session
from tests.policies import changed_policy, make_policy

MAC, ROUTER_MAC = b"\2\0\0\0\0\1", b"\2\0\0\0\0\xfe"
DAY = 86400.0
TALK = """
S: 220 mx{n}.{domain} ESMTP
C: EHLO mail.family.example
S: 250-mx
S: 250 PIPELINING
C: MAIL FROM:<ann@family.example>
S: 250 2.1.0 Ok
C: RCPT TO:<ben@{domain}>
S: {rcpt}
C: DATA
S: 354 go
C: Subject: x
C:
C: hi
C: .
S: 250 2.0.0 Ok
C: QUIT
S: 221 Bye
"""
#: Every recipient is unknown, and so is the name.
BOT = """
S: 220 mx{n}.{domain} ESMTP
C: HELO 10-1-2-{n}.dyn.pool.example.net
S: 250 mx
C: MAIL FROM: <x@d{n}.example>
S: 250 2.1.0 Ok
C: RCPT TO: <ben@{domain}>
S: 550 5.1.1 User unknown
"""


class Home:
    """One device with a lease; `day` of the engine's clock."""

    def __init__(self, **policy: object) -> None:
        self.engine = Engine(make_policy(**{"mode": "monitor", **policy}))
        self.engine.on_link([ip_network("192.168.1.0/24")])
        self.now = START
        self.count = 0
        lease = Lease(MAC, (bytes((192, 168, 1, 7)),), "", b"", 0.0)
        self.engine.leases([lease], PacketTime(START), Posix(START))

    @property
    def device(self) -> Device:
        found = self.engine.devices.find(MAC)
        assert found is not None
        return found

    def mail(self, domain: str, text: str = TALK) -> None:
        self.count += 1
        said = text.format(n=self.count, domain=domain, rcpt="250 2.1.5 Ok")
        server = f"198.{18 + self.count // 250}.{self.count % 250}.25"
        for packet in session(said, "192.168.1.7", server, sport=30000 + self.count, time=self.now, step=0.01):
            mac = MAC if packet.from_client else ROUTER_MAC
            self.engine.packet(PacketTime(packet.time), FORWARD, mac, packet.data)
        self.now += 600

    def days(self, number: int, *domains: str) -> None:
        for _ in range(number):
            begun = self.now
            for domain in domains:
                self.mail(domain)
            self.now = begun + DAY
            self.engine.tick(PacketTime(self.now))

    def changes(self) -> list[tuple[str, str]]:
        events, self.engine.events = self.engine.events, []
        return [(one.before, one.after) for one in events if isinstance(one, StandingChanged)]


FAMILY = tuple(f"provider{number}.example" for number in range(6))


def test_a_family_server_is_unusual_within_days_and_nothing_else_follows() -> None:
    home = Home()
    home.days(2, *FAMILY)
    assert home.changes() == []
    home.days(1, *FAMILY)
    assert home.changes() == [(CLEAR, UNUSUAL)]
    assert home.device.unusual_at is not None
    assert effective_mode(home.engine.policy, home.device) == "monitor"
    home.days(60, *FAMILY)
    assert home.changes() == []


def test_a_nas_never_is_however_many_addresses_its_provider_has() -> None:
    home = Home()
    home.days(100, "provider.example", "provider.example", "other.example")
    assert home.device.networks == 300
    assert home.changes() == []


def test_it_is_clear_again_when_it_has_stopped_for_thirty_days() -> None:
    home = Home()
    home.days(4, *FAMILY)
    home.days(28, FAMILY[0])
    assert home.changes() == [(CLEAR, UNUSUAL)]
    home.days(4)
    assert home.changes() == [(UNUSUAL, CLEAR)]
    assert home.device.unusual_at is None


def test_an_exempt_device_never_is_and_an_exemption_ends_it_at_once() -> None:
    exemption = Exemption(MAC, None, None, "the family's server")
    exempt = Home(exempt=(exemption,))
    exempt.days(20, *FAMILY)
    assert exempt.changes() == []
    home = Home()
    home.days(4, *FAMILY)
    assert home.changes() == [(CLEAR, UNUSUAL)]
    home.engine.reload(changed_policy(home.engine.policy, exempt=(exemption._replace(destination=ip_network("::/0")),)))
    home.engine.tick(PacketTime(home.now))
    assert home.changes() == []
    home.engine.reload(changed_policy(home.engine.policy, exempt=(exemption,)))
    home.engine.tick(PacketTime(home.now + 1))
    assert home.changes() == [(UNUSUAL, CLEAR)]
    home.days(5, *FAMILY)
    assert home.changes() == []


def test_it_hides_no_bot() -> None:
    home = Home(escalate=False)
    home.days(4, *FAMILY)
    home.changes()
    for number in range(40):
        home.mail(f"victim{number}.example", BOT)
    home.engine.tick(PacketTime(home.now))
    assert home.changes() == [(UNUSUAL, SUSPECTED), (SUSPECTED, COMPROMISED)]


def test_after_a_suspicion_it_is_unusual_again() -> None:
    home = Home(escalate=False)
    home.days(4, *FAMILY)
    home.changes()
    device = home.device
    begun = device.unusual_at
    device.score.standing = SUSPECTED
    device.score.sums = [4.0, *device.score.sums[1:]]
    home.days(1, *FAMILY)
    assert home.changes() == [(SUSPECTED, UNUSUAL)]
    assert device.unusual_at == begun


def test_it_survives_a_restart() -> None:
    home = Home()
    home.days(4, *FAMILY)
    again = Home()
    again.now, again.count = home.now, home.count
    data = saved.encode(home.engine.devices, home.now, 1)
    again.engine.restore(saved.decode(data, home.now).devices)
    assert again.device.score.standing == UNUSUAL
    assert again.device.operators == home.device.operators
    assert again.device.unusual_at == pytest.approx(home.device.unusual_at)
    again.days(28)
    assert again.changes() == []
    again.days(3)
    assert again.changes() == [(UNUSUAL, CLEAR)]


@pytest.mark.parametrize("domains", [2, 6])
def test_in_mode_block_the_recipients_domains_count(domains: int) -> None:
    """The responder answers in place of each server: its greeting says nothing of them.

    The score is left out of this: see the evaluation for how many servers are suspected in mode block.
    """
    home = Home(mode="block")
    refused = TALK.replace("250 2.1.5 Ok", "554 5.7.1 no").replace("{rcpt}", "554 5.7.1 no")
    text = "\n".join(line for line in refused.splitlines()[:9])
    for _ in range(5):
        for domain in FAMILY[:domains]:
            home.mail(domain, text)
            home.device.score.sums = [0.0] * len(home.device.score.sums)
        home.now += DAY
    assert (UNUSUAL in [after for _, after in home.changes()]) == (domains == 6)
