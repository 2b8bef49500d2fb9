"""An incident: a device that is compromised or looks like a mail server, and what is known of it.

Knows counts and examples of connections. Must not know when it begins or ends (see tracker), or how it is reported (see
events).
"""

from __future__ import annotations

from cpe_filter.detect.score import UNUSUAL
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.report.counts import NOTHING, Counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from cpe_filter.lean.clocks import PacketTime

    #: Why an incident ended; "" while it is open.
    EndReason = Literal["", "cleared", "released", "expired", "exempt", "merged"]

#: Examples of connections, and connections that were examined for them, of each incident.
EXAMPLES, EXAMINED = 4, 32
MAX_NAME = 64


class Example(NamedTuple):
    """A connection, for networks that share addresses. time: when it began; port: on the WAN side; family: 4 or 6."""

    time: PacketTime
    port: int
    family: int


class Incident:
    """One incident. Times are seconds of the engine's clock.

    base: the device's counts when the incident began; counts: those since then. last_sent_*: the content of the last
    event, and its time. arrived: which of its events the collector has (bits, see tracker). resend: the last events may
    be lost, so they are sent again. device_facts: what else is known of the device, as the wire format has it.
    rekeyed: the device has another key since the counts were taken.
    """

    __slots__ = (
        "act",
        "arrived",
        "base",
        "counts",
        "dev",
        "device_facts",
        "examined",
        "examples",
        "first",
        "id",
        "key",
        "last",
        "last_sent_at",
        "last_sent_counts",
        "last_sent_examples",
        "last_sent_news",
        "name",
        "oui",
        "reason",
        "rekeyed",
        "resend",
        "standing",
    )

    def __init__(self, number: str, key: bytes, dev: str, first: PacketTime, base: Counts) -> None:
        self.id = number
        self.key = key
        self.dev = dev
        self.oui = _oui(key)
        self.name = ""
        self.device_facts: dict[str, Any] = {}
        self.standing = UNUSUAL
        self.act = "monitor"
        self.first = self.last = first
        self.base = base
        self.counts = self.last_sent_counts = NOTHING
        self.last_sent_at = first
        self.last_sent_examples = 0
        self.last_sent_news = ("", "", 0)
        self.arrived = 0
        self.examples: list[Example] = []
        self.examined: list[tuple[PacketTime, int]] = []  # began, client's port
        self.resend = self.rekeyed = False
        self.reason: EndReason = ""

    @property
    def notice_news(self) -> tuple[str, str, int]:
        """People's last answer to the notice, and the quarantine as `Device.notice` has it ("" if there is none); and
        whether it was opened at the device (1) or at another one (2), and answered there (4)."""
        notice = self.device_facts.get("notice", {})
        quarantine = notice.get("quarantine")
        opened = (notice.get("shown", 0) > 0) + 2 * ("others" in notice) + 4 * ("others_seen" in notice)
        return notice.get("answer", ""), (quarantine.get("who", "held") if quarantine else ""), opened

    @property
    def has_news(self) -> bool:
        """Whether there is more to report than in the last event."""
        return self.counts != self.last_sent_counts or len(self.examples) > self.last_sent_examples

    def sent(self, now: PacketTime) -> None:
        """An event has just reported all this."""
        self.last_sent_news = self.notice_news
        self.last_sent_counts, self.last_sent_at, self.last_sent_examples = self.counts, now, len(self.examples)

    def examine(self, connection: tuple[PacketTime, int], example: Example | None) -> None:
        """A connection (began, client's port) was examined. example: the result, if there is one."""
        self.examined = [*self.examined[1 - EXAMINED :], connection]
        if example is not None and len(self.examples) < EXAMPLES:
            self.examples.append(example)

    def count(self, device: Counts) -> None:
        """device: its counts now. After another key they may be those of another device: the incident's own go on."""
        if self.rekeyed:
            self.base, self.rekeyed = device.less(self.counts), False
        self.counts = device.since(self.base)


def _oui(key: bytes) -> str:
    """The manufacturer's part of a device's own MAC: not of a made-up one, nor of a router in front of a host."""
    return key[:3].hex() if len(key) == 6 and not key[0] & 3 else ""
