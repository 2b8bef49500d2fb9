"""Reports to the ISP and the subscriber's page, as parts of the daemon.

Knows when each is called. Must not know their content (report, notice). Loaded only if the policy needs one.
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.detect.detector import StandingChanged
from cpe_filter.detect.device import Device
from cpe_filter.detect.mac_rotation import DeviceRekeyed
from cpe_filter.engine import Engine
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.lean.log import Log, err
from cpe_filter.live.part import Part
from cpe_filter.live.state import State
from cpe_filter.policy.model import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.notice.notice import Notice
    from cpe_filter.report.reporter import Reporter


class Reports(Part):
    """While `[report] url` is set. companion: the end of the name under which the state keeps the open incidents."""

    def __init__(self, reporter: Reporter, companion: str, state: State, now: Callable[[], PacketTime]) -> None:
        self._reporter = reporter
        self._companion = companion
        self._state = state
        self._now = now
        state.companions[companion] = reporter.encoded

    def tick(self, now: PacketTime) -> None:
        self._reporter.tick(now)

    def reload(self, policy: Policy) -> None:
        self._reporter.reload(policy)

    def device_rekeyed(self, event: DeviceRekeyed) -> None:
        self._reporter.rekeyed(event.before, event.device.key)

    def save(self, now: PacketTime) -> None:
        self._reporter.close(now)

    def close(self) -> None:
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
        self._notice.changed(event.device, event.before, event.indicator, event.time)

    def device_rekeyed(self, event: DeviceRekeyed) -> None:
        self._notice.continued(event.before, event.device.key)

    def close(self) -> None:
        self._notice.close()


def make_reports(
    policy: Policy,
    engine: Engine,
    host_name: Callable[[Device], str],
    figures: Callable[[], dict[str, int]],
    state: State,
    now: Callable[[], PacketTime],
    log: Log,
) -> Reports | None:
    """The part, or None if reports cannot be made; the log says why."""
    from cpe_filter.report import reporter

    try:
        made = reporter.Reporter(policy, engine, host_name, figures, log, now())
    except OSError as error:
        log(err(f"reporting disabled: {error.filename or policy.state.state_file}: {error.strerror}"))
        return None
    return Reports(made, reporter.INCIDENTS_SUFFIX, state, now)


def make_notice_page(engine: Engine, host_name: Callable[[Device], str], log: Log) -> NoticePage:
    from cpe_filter.notice.notice import Notice

    return NoticePage(Notice(host_name, log), engine)
