"""Verdicts as they come, while a capture is still being made (`--follow`): a line for each device that becomes worse.

Knows changes of standings. Must not know where packets come from.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from cpe_filter.detect.detector import StandingChanged
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.texts.terminal import clock


def verdicts(as_json: bool, out: Callable[[str], None]) -> Callable[[StandingChanged], None]:
    """Something that writes a line for each change of a standing: for people, or as an object."""

    def line(change: StandingChanged) -> None:
        out(_object(change) if as_json else _sentence(change))

    return line


def _sentence(change: StandingChanged) -> str:
    known = INDICATORS.get(change.indicator)
    reason = f": {known.meaning}" if known else ""
    return f"{clock(change.time)}  {change.device.name} is {change.after}{reason}"


def _object(change: StandingChanged) -> str:
    return json.dumps(
        {
            "event": "standing",
            "time": round(change.time, 6),
            "device": change.device.name,
            "before": change.before,
            "standing": change.after,
            "score": round(change.device.score.value, 2),
            "connection": change.connection,
            "indicator": change.indicator,
        },
        ensure_ascii=False,
    )
