"""What the log says of changed standings: of a suspicion nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from cpe_filter.detect.detector import RELEASED, StandingChanged
from cpe_filter.detect.device import Device
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.detect.unusual import MAIL_SERVER, NO_MAIL_SERVER
from cpe_filter.engine import Engine
from cpe_filter.lean.log import Line
from cpe_filter.lean.log_output import NOTICE, WARNING
from cpe_filter.live.gate import Gate
from cpe_filter.live.log_events import EventLog
from tests.policies import make_policy

if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing


class NoGate:
    failures = 0


@pytest.mark.parametrize(
    ("before", "after", "indicator", "severity", "words"),
    [
        (CLEAR, SUSPECTED, "unknown-user", None, ""),
        (UNUSUAL, SUSPECTED, "unknown-user", None, ""),
        (SUSPECTED, CLEAR, "accepted", None, ""),
        (SUSPECTED, COMPROMISED, "unknown-user", WARNING, "is now compromised (was suspected)"),
        (COMPROMISED, SUSPECTED, RELEASED, NOTICE, "released by operator"),
        (CLEAR, UNUSUAL, MAIL_SERVER, NOTICE, "looks like a mail server; if it is yours, exempt it"),
        (SUSPECTED, UNUSUAL, MAIL_SERVER, NOTICE, "looks like a mail server"),
        (UNUSUAL, CLEAR, NO_MAIL_SERVER, NOTICE, "no longer looks like a mail server"),
    ],
)
def test_what_is_logged_of_a_standing(
    before: Standing, after: Standing, indicator: str, severity: int | None, words: str
) -> None:
    log: list[Line] = []
    engine = Engine(make_policy())
    device = Device(b"\2\0\0\0\0\1", 0.0)
    device.score.standing = after
    engine.events.append(StandingChanged(0.0, device, before, after, 7, indicator))
    EventLog(engine, cast(Gate, NoGate()), [], lambda device: "", log.append).emit()
    if severity is None:
        assert log == []
    else:
        assert [line.severity for line in log] == [severity]
        assert words in log[0]
