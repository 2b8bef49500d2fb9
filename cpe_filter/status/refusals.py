"""Refusals in the log, and their number by kind.

Knows how many lines are too many. Must not judge. A device that is refused ten times a second gets a few lines, and at
the end of the minute the number of further refusals. There are never more than `DEVICES` x (`LINES` + 1) + 1 lines a
minute.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

#: Lines for one device within a minute, and devices with lines of their own in it; the others are counted.
LINES, DEVICES = 6, 32
MINUTE_S = 60.0

_LIMIT = "over the limit of "
#: The kind of refusal, by what the limit counts.
_LIMITS = {
    "connections/h": "connections",
    "new servers/h": "destinations",
    "messages/h": "messages",
    "recipients/h": "recipients",
}
#: The kinds of refusal; the reason of each decision belongs to one of them.
KINDS = ("compromised", "mode", *_LIMITS.values(), "other")


def kind(reason: str) -> str:
    """The kind of refusal, by the reason of enforce.decide's decision."""
    if reason.startswith(_LIMIT):
        return _LIMITS.get(reason[len(_LIMIT) :].partition(",")[0].lstrip("0123456789 "), "other")
    if reason in ("device compromised", "an unknown device of this home is compromised"):
        return "compromised"
    return "mode" if reason.startswith("mode ") else "other"


class Refusals:
    """Call `told` with each refusal and `tick` now and then; `counts` has them by kind. Times never go back."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self.counts = dict.fromkeys(KINDS, 0)
        self._log = log
        self._minutes: dict[bytes, _Minute] = {}
        self._others = 0  # of devices without lines of their own
        self._others_since = 0.0

    def told(self, time: float, device: bytes, called: str, server: bytes, port: int, reason: str) -> None:
        """A connection was refused. device: its key; called: its name for people; server: packed address."""
        self.counts[kind(reason)] += 1
        self.tick(time)
        minute = self._minutes.get(device)
        if minute is None:
            if len(self._minutes) >= DEVICES:
                self._others_since = self._others_since if self._others else time
                self._others += 1
                return
            minute = self._minutes[device] = _Minute(time)
        minute.called = called
        if minute.lines >= LINES:
            minute.more += 1
            return
        minute.lines += 1
        self._log(f"refused {called} to {ip_address(server)} port {port}: {reason}")

    def tick(self, time: float) -> None:
        """Logs the counts of minutes that have ended."""
        if self._others and time - self._others_since >= MINUTE_S:
            self._tell_others()
        for device in [key for key, minute in self._minutes.items() if time - minute.since >= MINUTE_S]:
            self._tell_more(self._minutes.pop(device))

    def close(self) -> None:
        """Logs the remaining counts."""
        for minute in self._minutes.values():
            self._tell_more(minute)
        self._minutes.clear()
        if self._others:
            self._tell_others()

    def _tell_more(self, minute: _Minute) -> None:
        if minute.more:
            self._log(f"refused {minute.called}, more within a minute than shown: {minute.more}")

    def _tell_others(self) -> None:
        self._log(f"refused other devices, within a minute and not shown: {self._others}")
        self._others = 0


class _Minute:
    """A device's lines since `since`."""

    __slots__ = ("called", "lines", "more", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.called = ""
        self.lines = self.more = 0
