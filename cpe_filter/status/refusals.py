"""Refusals in the log, counted for each device and minute, and their number by kind.

Knows how many lines are too many. Must not judge. A device's first refusal is logged at once, those that follow in one
line a minute. Devices that find no place in the table share a line. So there are never more than `DEVICES` + 1 lines a
minute, whatever MACs a flood makes up.
"""

from __future__ import annotations

from ipaddress import ip_address

from cpe_filter.lean.clocks import PacketTime
from cpe_filter.lean.log import Line, Log, notice

#: Devices with lines of their own within a minute; the others are counted together.
DEVICES = 32
MINUTE_S = 60.0
#: Servers and reasons that are distinguished in a line of a device, and devices in the line of the others.
SERVERS, REASONS, OTHERS = 100, 4, 256

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
    """Call `refused` with each refusal and `tick` now and then; `counts` has them by kind. Times never go back."""

    def __init__(self, log: Log) -> None:
        self.counts = dict.fromkeys(KINDS, 0)
        self._log = log
        self._minutes: dict[bytes, _Minute] = {}
        self._others = _Others()
        self._time = PacketTime(0.0)

    def refused(self, time: PacketTime, device: bytes, called: str, server: bytes, port: int, reason: str) -> None:
        """A connection was refused. device: its key; called: its name for people; server: packed address."""
        self.counts[kind(reason)] += 1
        self.tick(time)
        minute = self._minutes.get(device)
        if minute is not None:
            minute.add(called, server, reason)
        elif len(self._minutes) < DEVICES:
            self._minutes[device] = _Minute(time)
            self._log(notice(f"refused 1 connection of {called} to {ip_address(server)} port {port}: {reason}"))
        else:
            self._others.add(time, device)

    def tick(self, time: PacketTime) -> None:
        """Logs the counts of minutes that have ended."""
        self._time = time
        for device in [key for key, minute in self._minutes.items() if time - minute.since >= MINUTE_S]:
            minute = self._minutes[device]
            if minute.count:
                self._log(minute.line(time))
                self._minutes[device] = _Minute(time)
            else:
                del self._minutes[device]
        if self._others.count and time - self._others.since >= MINUTE_S:
            self._log(self._others.line(time))
            self._others = _Others()

    def close(self) -> None:
        """Logs the remaining counts."""
        time = self._time
        lines = [minute.line(time) for minute in self._minutes.values() if minute.count]
        self._minutes.clear()
        if self._others.count:
            lines.append(self._others.line(time))
        self._others = _Others()
        for line in lines:
            self._log(line)


class _Minute:
    """What of a device was refused since its last line."""

    __slots__ = ("called", "count", "reasons", "servers", "since")

    def __init__(self, since: PacketTime) -> None:
        self.since = since
        self.called = ""
        self.count = 0
        self.servers: set[bytes] = set()
        self.reasons: dict[str, int] = {}

    def add(self, called: str, server: bytes, reason: str) -> None:
        self.called = called
        self.count += 1
        if len(self.servers) <= SERVERS:
            self.servers.add(server)
        if reason not in self.reasons and len(self.reasons) >= REASONS:
            reason = "other reasons"
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def line(self, time: PacketTime) -> Line:
        servers = len(self.servers)
        if servers == 1:
            to = str(ip_address(next(iter(self.servers))))
        else:
            to = f"{_number(servers, SERVERS)} servers"
        why = ", ".join([f"{reason} ({count})" for reason, count in self.reasons.items()])
        if len(self.reasons) == 1:
            (why,) = self.reasons
        return notice(
            f"refused {_connections(self.count)} of {self.called} in {_period(time - self.since)} to {to}: {why}"
        )


class _Others:
    """What was refused of devices without lines of their own, since the first of it."""

    __slots__ = ("count", "devices", "since")

    def __init__(self) -> None:
        self.since = PacketTime(0.0)
        self.count = 0
        self.devices: set[bytes] = set()

    def add(self, time: PacketTime, device: bytes) -> None:
        self.since = self.since if self.count else time
        self.count += 1
        if len(self.devices) <= OTHERS:
            self.devices.add(device)

    def line(self, time: PacketTime) -> Line:
        devices = _number(len(self.devices), OTHERS)
        text = f"{devices} other device{'' if devices == '1' else 's'}"
        return notice(f"refused {_connections(self.count)} of {text} in {_period(time - self.since)}")


def _number(number: int, most: int) -> str:
    return str(number) if number <= most else f"more than {most}"


def _connections(count: int) -> str:
    return f"{count} connection{'' if count == 1 else 's'}"


def _period(seconds: float) -> str:
    return "the last minute" if seconds >= MINUTE_S else f"the last {max(1, round(seconds))} s"
