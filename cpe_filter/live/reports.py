"""Reports to the ISP, the subscriber's page, and the notice in the subscriber's way, as parts of the daemon.

Knows when each is called. Must not know their content (report, notice, notify). Loaded only if the policy needs one.
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.detect.detector import StandingChanged
from cpe_filter.detect.device import Device
from cpe_filter.detect.mac_rotation import DeviceRekeyed
from cpe_filter.engine import Engine
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.lean.forked import BackgroundCall, CallFailedError
from cpe_filter.lean.log import Log, err
from cpe_filter.live.part import Part
from cpe_filter.live.state import State
from cpe_filter.policy.model import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from typing import Any

    from cpe_filter.live.gate import Gate
    from cpe_filter.live.notify.desk import Ask, NoticeDesk
    from cpe_filter.notice.notice import Notice
    from cpe_filter.report.reporter import Reporter

#: Changed keys of devices that are remembered until there is a reporter.
MAX_REKEYED = 256


class Reports(Part):
    """While `[report] url` is set. What was saved is read in a child process, so that no packet waits.

    read: what was saved, as plain values. make: a reporter from these. Both may raise OSError. companion: the end of
    the name under which the state keeps the open incidents.
    """

    def __init__(
        self,
        read: Callable[[Policy], tuple[Any, ...]],
        make: Callable[[Policy, tuple[Any, ...], PacketTime], Reporter],
        companion: str,
        policy: Policy,
        state: State,
        log: Log,
    ) -> None:
        self._read_saved = read
        self._make = make
        self._companion = companion
        self._policy = policy
        self._state = state
        self._log = log
        self._reporter: Reporter | None = None
        self._rekeyed: list[DeviceRekeyed] = []  # before there is a reporter
        self._reading: BackgroundCall | None = None
        self._read()

    def _read(self) -> None:
        policy = self._policy
        try:
            self._reading = BackgroundCall(lambda: self._read_saved(policy), OSError)
        except CallFailedError as error:
            self._failed(error)

    @property
    def reporter(self) -> Reporter | None:
        """None until what was saved is read."""
        return self._reporter

    def tick(self, now: PacketTime) -> None:
        reading = self._reading
        if reading is not None and reading.poll():
            self._reading = None
            self._begin(reading, now)
        if self._reporter is not None:
            if self._reporter.tick(now):
                self._state.companion_changed(now)

    def _begin(self, reading: BackgroundCall, now: PacketTime) -> None:
        """The files have been read."""
        try:
            self._reporter = self._make(self._policy, reading.result(), now)
        except (OSError, CallFailedError) as error:
            self._failed(error)
        else:
            self._state.companions[self._companion] = self._reporter.encoded
            for event in self._rekeyed:
                self._reporter.rekeyed(event.before, event.device.key)
        self._rekeyed.clear()

    def _failed(self, error: Exception) -> None:
        problem = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
        self._log(err(f"reporting disabled: {problem}"))

    def reload(self, policy: Policy) -> None:
        self._policy = policy
        if self._reporter is not None:
            self._reporter.reload(policy)
        elif self._reading is None:
            self._read()

    def device_rekeyed(self, event: DeviceRekeyed) -> None:
        if self._reporter is not None:
            self._reporter.rekeyed(event.before, event.device.key)
        elif self._reading is not None and len(self._rekeyed) < MAX_REKEYED:
            self._rekeyed.append(event)

    def save(self, now: PacketTime) -> None:
        if self._reporter is not None:
            self._reporter.close(now)

    def close(self) -> None:
        if self._reading is not None:
            self._reading.stop()
        self._state.companions.pop(self._companion, None)


class NoticePage(Part):
    """From the first time that `[notice] page` is set. Without it the page is removed; the devices' history stays."""

    def __init__(self, notice: Notice, engine: Engine) -> None:
        self._notice = notice
        self._engine = engine

    def tick(self, now: PacketTime) -> None:
        self._notice.tick(self._engine.devices, self._engine.policy, now)

    def reload(self, policy: Policy) -> None:
        self._notice.reload()

    def standing_changed(self, event: StandingChanged) -> None:
        self._notice.changed(event.device, event.indicator, event.time)

    def device_rekeyed(self, event: DeviceRekeyed) -> None:
        self._notice.rekeyed(event.before, event.device.key)

    def close(self) -> None:
        self._notice.close()


def make_reports(
    policy: Policy,
    engine: Engine,
    host_name: Callable[[Device], str],
    figures: Callable[[], dict[str, Any]],
    state: State,
    log: Log,
) -> Reports:
    from cpe_filter.report import reporter

    def make(policy: Policy, saved: tuple[Any, ...], now: PacketTime) -> Reporter:
        return reporter.Reporter(policy, engine, host_name, figures, log, now, reporter.Saved(*saved))

    return Reports(reporter.read_saved, make, reporter.INCIDENTS_SUFFIX, policy, state, log)


def make_notice_page(engine: Engine, host_name: Callable[[Device], str], log: Log) -> NoticePage:
    from cpe_filter.home import lan_networks
    from cpe_filter.notice.notice import Notice

    return NoticePage(Notice(host_name, lambda policy: lan_networks.own_addresses(policy.network.lan), log), engine)


def make_notice_desk(
    engine: Engine,
    gate: Gate,
    neighbours: Callable[[], set[bytes]],
    host_name: Callable[[Device], str],
    ask: Ask,
    state: State,
    poll: select.poll,
    log: Log,
) -> NoticeDesk:
    from cpe_filter.live.notify.desk import NoticeDesk

    return NoticeDesk(engine, gate, neighbours, host_name, ask, state, poll, log)
