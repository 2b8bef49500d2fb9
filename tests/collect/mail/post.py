"""Cases with subscribers who can be written to, and a relay that is a list, for tests of mail."""

from __future__ import annotations

from typing import Any

from cpe_filter.collect.cases import notice
from cpe_filter.collect.cases.update import CaseUpdater
from cpe_filter.collect.mail import message, outbox
from cpe_filter.collect.mail.relay import Result
from cpe_filter.collect.mail.sender import Bounds, Sender
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import Row, Store
from tests.collect.desks import Map, event, line
from tests.collect.reports import NOW

KEY = bytes(range(32))
TERMS = message.Terms(
    "notice@isp.example", "help@isp.example", "bounces@isp.example", KEY, notice.Terms("en", "Example ISP")
)
ACCEPTED = Result("accepted", "2.0.0", "")


def subscriber(router: str = "r1", whose: str = "S1", **more: str) -> dict[str, str]:
    """A row of the map."""
    return line(router, whose, **{"email": f"{whose.lower()}@friends.example", "language": "de tr", **more})


class Post:
    """A sender with a clock that the test moves, and a relay that answers `results`, the last one for ever."""

    def __init__(self, store: Store, *rows: dict[str, str], terms: message.Terms = TERMS, **bounds: Any) -> None:
        self.store, self.map = store, Map(*(rows or (subscriber(),)))
        self.now, self.results, self.sent = float(NOW), [ACCEPTED], list[message.Envelope]()
        self.metrics = Metrics()
        self.bounds = Bounds(**{"automatic": True, **bounds})
        self.sender = self.another("me")
        self.terms = terms

    def another(self, me: str, terms: message.Terms = TERMS) -> Sender:
        return Sender(
            self.store, self.map, terms, self.bounds, self._relay, self.metrics, lambda: self.now, lambda: 1.0, me
        )

    def _relay(self, envelope: message.Envelope) -> Result:
        self.sent.append(envelope)
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]

    async def report(self, kind: str, at: int, **more: Any) -> None:
        """A report, `at` seconds after NOW, and the cases that it makes."""
        await self.store.add([event(kind, at, **more)])
        await CaseUpdater(self.store, self.map).catch_up(NOW + at, full=True)

    async def step(self, after: float = 0) -> int:
        self.now += after
        return await self.sender.step()

    async def rows(self) -> list[Row]:
        return await self.store.read("SELECT * FROM desk_mail ORDER BY made_at, place")

    async def states(self) -> list[str]:
        return [row["state"] for row in await self.rows()]

    async def case(self) -> Row:
        return (await self.store.read("SELECT * FROM desk_case ORDER BY id"))[0]

    async def asked(self, place: int = 0, user: str = "anna") -> bool:
        """The desk's click."""
        one = await self.case()
        return await outbox.add(self.store, one["id"], one["subscriber"], place, user, int(self.now))
