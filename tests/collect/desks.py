"""Reports told as stories, and maps of subscribers that stand in for the ISP's, for tests of the desk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cpe_filter.collect.cases import plan
from cpe_filter.collect.cases.update import CaseUpdater
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.subscribers.map import Line, MapUnavailableError, line_at, row
from cpe_filter.collect.wire import Report
from tests.collect.reports import NOW, incident, report

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]

#: 8.8.0.0/16 and 2a00::/16 are nobody's here; documentation's addresses are not public.
ADDRESS, ADDRESS6 = "8.8.1.1", "2a00:8:1::1"
TV, PC = f"{0xA:016x}", f"{0xB:016x}"
HOUR = 3600


def event(
    kind: str, at: int, number: int = 1, router: str = "r1", dev: str = TV, seq: int | None = None, **more: Any
) -> Report:
    """A report with one event that happened `at` seconds after NOW and was received at once. seq follows time."""
    seq = at + 100_000_000 if seq is None else seq
    return report(incident(seq, 5000, kind, number, dev=dev, **more), up=5000, router=router, received=NOW + at)


def late(one: Report, by: int) -> Report:
    """The same event, received later; times do not change."""
    values = {name: getattr(one, name) for name in one.__slots__}
    return Report(**{**values, "received": one.received + by, "up": one.up + by})


class Map:
    """A map from rows; `away` makes it fail."""

    def __init__(self, *rows: dict[str, str]) -> None:
        self.rows = [row(values) for values in rows]
        self.away = False
        self.asked = 0

    async def find(self, router: str, at: int) -> Line | None:
        self.asked += 1
        if self.away:
            raise MapUnavailableError("away")
        return line_at([one for one in self.rows if one.router == router], at)

    async def refresh(self, now: float) -> bool:
        return False


def line(router: str = "r1", subscriber: str = "S1", **more: str) -> dict[str, str]:
    base = {"router": router, "subscriber": subscriber, "region": "north", "line": "fibre-100", "model": "cpe-9"}
    return {**base, "contact": f"crm:{subscriber}", "asn": "64500", "address": f"{ADDRESS} {ADDRESS6}", **more}


def ours(subscribers: Map | None = None, **terms: Any) -> Callable[[Store], CaseUpdater]:
    whose = subscribers or Map(line())
    return lambda store: CaseUpdater(store, whose, plan.Terms(**terms))


async def cases_of(store: Store, apart: tuple[str, ...] = ("changed_at",)) -> list[Row]:
    """Everything of the cases that does not say when news came: cases, episodes, incidents' places."""
    rows = await store.read("SELECT * FROM desk_case ORDER BY id")
    rows += await store.read("SELECT * FROM desk_episode ORDER BY case_id, number")
    rows += await store.read("SELECT router, incident, dev, case_id, begun_at, mapped FROM desk_incident ORDER BY 1, 2")
    return [{name: value for name, value in found.items() if name not in apart} for found in rows]
