"""Instructions of the desk: what is signed, what bounds them, and what routers answer."""

from __future__ import annotations

from typing import Any

from cpe_filter.collect.cases import instructions, query
from cpe_filter.collect.cases.instructions import END_QUARANTINE, EXEMPT, RELEASE
from cpe_filter.collect.cases.model import Case
from cpe_filter.collect.intake.outgoing import Outgoing
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from cpe_filter.live.instruct import content
from cpe_filter.signed import document, signify
from cpe_filter.signed.keys import Keys
from cpe_filter.signed.verify import verify
from tests.collect.desks import HOUR, TV, WithStore, event, ours
from tests.collect.reports import NOW, report
from tests.signed.making import key

KEY = key("desk")
KEYS = Keys({("desk", KEY.number): signify.public_key(KEY.public).point}, frozenset())
ANNA = audit.By("anna", audit.PAGE, "192.0.2.9")
DAY = 86_400


async def case_of(store: Store, kind: str = "raised", **more: Any) -> Case:
    await store.add([event(kind, 60, **more)])
    await ours()(store).catch_up(NOW + 60, full=True)
    (found,) = (await query.listed(store)).cases
    return found


def answered(doc: str, result: str = "applied", router: str = "r1", at: int = 7200, **more: Any) -> Any:
    event = {"seq": 9, "up": 5000, "kind": "instruction", "doc": doc, "result": result, **more}
    return report(event, up=5000, router=router, received=NOW + at)


async def states(store: Store) -> list[tuple[str, str | None]]:
    rows = await store.read("SELECT state, why FROM desk_instruction ORDER BY sequence")
    return [(row["state"], row["why"]) for row in rows]


def test_what_is_signed(with_store: WithStore) -> None:
    """A router of that name accepts it, and nothing of the desk's remark is in it."""

    async def work(store: Store) -> None:
        case = await case_of(store)
        desk = instructions.Desk(store, KEY)
        now = NOW + HOUR
        assert await desk.issue(case, RELEASE, 1, "she called", ANNA, now) is None
        assert await desk.issue(case, EXEMPT, 30, "a mail server", ANNA, now) is None
        for row, action in zip(
            await store.read("SELECT * FROM desk_instruction ORDER BY sequence"), (RELEASE, EXEMPT), strict=True
        ):
            data = row["document"].encode()
            made = verify(data, KEYS, "instruction", document.Recipient("r1"), now, programs=())
            asked = content.parse(made.content, made.issued)
            assert (made.digest, made.sequence, made.audience) == (row["id"], row["sequence"], ("router:r1",))
            assert made.expires == now + 7 * DAY
            assert (asked.action, asked.device, asked.reason) == (action, TV, f"case {case.id}")
            assert asked.until == (now + 30 * DAY if action == EXEMPT else 0)
            assert "called" not in row["document"]
        lines, _ = await audit.listed(store, audit.Filter())
        assert [(line["who"], line["what"], line["case_id"], line["reason"]) for line in lines] == [
            ("anna", "exempt", case.id, "a mail server"),
            ("anna", "release", case.id, "she called"),
        ]

    with_store(work)


def test_bounds(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        case = await case_of(store)
        desk = instructions.Desk(store, KEY, instructions.Terms(7, 2))
        now = NOW + HOUR
        assert await desk.issue(case, RELEASE, 1, "r", ANNA, now) is None
        assert await desk.issue(case, RELEASE, 1, "r", ANNA, now) == "The router has not answered the last one yet"
        assert await desk.issue(case, EXEMPT, 1, "r", ANNA, now) is None
        await store.add([answered(row["id"]) for row in await store.read("SELECT id FROM desk_instruction")])
        problem = await desk.issue(case, EXEMPT, 1, "r", ANNA, now)
        assert problem is not None
        assert problem.startswith("2 instructions were made within 24 hours")
        assert await desk.issue(case, EXEMPT, 1, "r", ANNA, now + DAY) is None
        # The sequence follows the clock, so that a store that was lost does not repeat a number.
        rows = await store.read("SELECT sequence FROM desk_instruction ORDER BY sequence")
        assert [row["sequence"] for row in rows] == [now, now + 1, now + DAY]

    with_store(work)


def test_nothing_to_release(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await case_of(store)
        await store.add([event("closed", HOUR, standing="clear", why="cleared")])
        await ours()(store).catch_up(NOW + HOUR, full=True)
        (case,) = (await query.listed(store)).cases
        desk = instructions.Desk(store, KEY)
        assert await desk.issue(case, RELEASE, 1, "r", ANNA, NOW + HOUR) == "The device is not compromised"

    with_store(work)


def test_the_end_of_a_quarantine_needs_one(with_store: WithStore) -> None:
    """The device stays compromised, so the case and its stages stay as they are; the audit log has the line."""

    async def work(store: Store) -> None:
        held = {"shown": 1, "quarantine": {"state": "quarantined"}}
        case = await case_of(store, notice=held)
        desk = instructions.Desk(store, KEY)
        assert await desk.issue(case, END_QUARANTINE, 1, "their only line", ANNA, NOW + HOUR) is None
        (row,) = await store.read("SELECT id, document, until_at FROM desk_instruction")
        made = verify(row["document"].encode(), KEYS, "instruction", document.Recipient("r1"), NOW + HOUR, programs=())
        assert content.parse(made.content, made.issued) == ("end-quarantine", TV, f"case {case.id}", 0)
        lines, _ = await audit.listed(store, audit.Filter())
        assert [(line["what"], line["reason"]) for line in lines] == [("end-quarantine", "their only line")]
        await store.add([answered(row["id"], act="end-quarantine", dev=TV)])
        over = {"shown": 1, "quarantine": {"state": "released", "who": "isp"}}
        await store.add([event("updated", 3 * HOUR, notice=over)])
        await ours()(store).catch_up(NOW + 3 * HOUR, full=True)
        (after,) = (await query.listed(store)).cases
        assert (after.state, after.standing, after.seen_at) == (case.state, "compromised", case.seen_at)
        problem = await desk.issue(after, END_QUARANTINE, 1, "r", ANNA, NOW + 3 * HOUR)
        assert problem == "The device is not in quarantine"

    with_store(work)


def test_the_road_to_the_router_and_back(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        case = await case_of(store)
        desk, outgoing = instructions.Desk(store, KEY), Outgoing(store)
        now = NOW + HOUR
        assert await desk.issue(case, RELEASE, 1, "r", ANNA, now) is None
        (row,) = await store.read("SELECT * FROM desk_instruction")
        asks = event("updated", HOUR)
        assert outgoing.of(asks) == []  # not read yet
        await outgoing.refresh(now)
        assert outgoing.of(event("updated", HOUR, router="r2")) == []
        for _ in range(2):  # the first answer may be lost
            assert outgoing.of(asks) == [row["document"]]
        await outgoing.refresh(now + 2)
        assert await states(store) == [("sent", None)]
        # Another router cannot answer for it.
        await store.add([answered(row["id"], router="r2")])
        assert await states(store) == [("sent", None)]
        back = answered(row["id"], "refused", why="nothing", act="release", dev=TV)
        assert outgoing.of(back) == []  # the report that answers it does not get it again
        await store.add([back, back])
        assert await states(store) == [("refused", "nothing")]
        await outgoing.refresh(now + 4)
        assert outgoing.of(asks) == []
        assert (await store.read("SELECT document FROM desk_instruction"))[0]["document"] == ""
        # The first answer stays.
        await store.add([answered(row["id"], "applied", at=9000)])
        assert await states(store) == [("refused", "nothing")]

    with_store(work)


def test_it_expires(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        case = await case_of(store)
        desk, outgoing = instructions.Desk(store, KEY, instructions.Terms(2)), Outgoing(store)
        assert await desk.issue(case, RELEASE, 1, "r", ANNA, NOW) is None
        (row,) = await store.read("SELECT id FROM desk_instruction")
        await outgoing.refresh(NOW + 2 * DAY - 1)
        assert len(outgoing.of(event("updated", HOUR))) == 1
        await outgoing.refresh(NOW + 2 * DAY)
        assert outgoing.of(event("updated", HOUR)) == []
        assert await states(store) == [("expired", None)]
        await store.add([answered(row["id"], at=3 * DAY)])  # it was there in time, and its answer was late
        assert await states(store) == [("applied", None)]

    with_store(work)
