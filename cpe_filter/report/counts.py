"""The counts of a device for reports: numbers and indicators, and how much has been added since.

Knows devices. Must not know incidents.
"""

from __future__ import annotations

from cpe_filter.detect.device import Device
from cpe_filter.detect.evidence import INDICATORS, LEGITIMATE
from cpe_filter.lean.named_tuple import NamedTuple

_AGAINST = frozenset(name for name, row in INDICATORS.items() if row.family != LEGITIMATE)


class Counts(NamedTuple):
    """A device's counts. indicators: in how many connections each was seen."""

    connections: int
    networks: int
    messages: int
    recipients: int
    refused: int
    indicators: dict[str, int]

    def since(self, base: Counts) -> Counts:
        """The difference. Indicators that a release has reset start again from zero."""
        indicators = {}
        for name in (*self.indicators, *(name for name in base.indicators if name not in self.indicators)):
            count, before = self.indicators.get(name, 0), base.indicators.get(name, 0)
            grown = count - before if count >= before else count
            if grown:
                indicators[name] = grown
        return Counts(
            max(0, self.connections - base.connections),
            max(0, self.networks - base.networks),
            max(0, self.messages - base.messages),
            max(0, self.recipients - base.recipients),
            max(0, self.refused - base.refused),
            indicators,
        )

    def less(self, counts: Counts) -> Counts:
        """The base from which these have `counts`; parts of it may be negative."""
        names = (*self.indicators, *(name for name in counts.indicators if name not in self.indicators))
        return Counts(
            self.connections - counts.connections,
            self.networks - counts.networks,
            self.messages - counts.messages,
            self.recipients - counts.recipients,
            self.refused - counts.refused,
            {name: self.indicators.get(name, 0) - counts.indicators.get(name, 0) for name in names},
        )


NOTHING = Counts(0, 0, 0, 0, 0, {})


def counts(device: Device) -> Counts:
    """The counts of a device's whole life. Only evidence against it; accepted messages have a count of their own."""
    tallies = device.score.tallies
    return Counts(
        device.connections,
        device.networks,
        device.messages,
        device.recipients,
        device.refused,
        {name: tally.count for name, tally in tallies.items() if tally.count and name in _AGAINST},
    )
