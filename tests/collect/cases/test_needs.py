"""What waits for the desk: which case is in which list, the oldest first. On both engines."""

from __future__ import annotations

from cpe_filter.collect.cases import actions, query
from cpe_filter.collect.cases.model import Filter
from cpe_filter.collect.cases.needs import NEEDS
from cpe_filter.collect.mail import outbox
from cpe_filter.collect.store.base import Store
from tests.collect.desks import HOUR, Map, WithStore, event, line, ours
from tests.collect.reports import NOW

DAY = 24 * HOUR


async def _needs(store: Store, ids: list[str]) -> dict[str, str]:
    """Need -> the numbers of its cases, in order."""
    out = {}
    for name in NEEDS:
        wanted = Filter(need=name, me="anna", answered_before=NOW)
        found = await query.listed(store, wanted, "oldest")
        out[name] = "".join(str(ids.index(case.id)) for case in found.cases)
        assert await query.ids(store, wanted, "oldest", 100) == [case.id for case in found.cases]
        assert found.total == len(found.cases)
    return out


def test_which_case_waits_for_what(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        updater = ours(Map(*(line(f"r{number}", f"S{number}") for number in range(6))))(store)
        await store.add([event("raised", -number * HOUR, 1, router=f"r{number}") for number in range(6)])
        await updater.catch_up(NOW + 1)
        ids = [case.id for case in sorted((await query.listed(store)).cases, key=lambda case: case.router)]
        assert await _needs(store, ids) == {
            "objection": "", "relapsed": "", "bounced": "", "untold": "543210", "unanswered": "", "mine": "",
        }  # fmt: skip
        await actions.notified(store, ids[0], "letters", now=NOW + 10)  # not so long ago
        await actions.notified(store, ids[1], "letters", now=NOW - 10)
        await actions.notified(store, ids[2], "letters", now=NOW - 20)
        await actions.assign(store, ids[3], "bob", "anna", now=NOW + 10)
        await actions.assign(store, ids[4], "bob", "bob", now=NOW + 10)
        assert await _needs(store, ids) == {
            "objection": "", "relapsed": "", "bounced": "", "untold": "543", "unanswered": "21", "mine": "3",
        }  # fmt: skip
        # Found again; an objection; a notice that came back.
        await store.add(
            [
                event("closed", 100, 1, router="r5", why="cleared"),
                event("raised", 200, 2, router="r5"),
                event("updated", 300, 1, router="r4", notice={"shown": 1, "answer": "mistake"}),
                event("updated", 300, 1, router="r3", notice={"shown": 1, "answer": "seen"}),
            ]
        )
        await updater.catch_up(NOW + 400)
        for number, state in ((0, outbox.BOUNCED), (1, outbox.FAILED), (2, outbox.SENT)):
            await outbox.add(store, ids[number], f"S{number}", 0, "", NOW + 400)
            await store.write([("UPDATE desk_mail SET state = :state WHERE case_id = :id",
                                {"state": state, "id": ids[number]})])  # fmt: skip
        found = await _needs(store, ids)
        assert found["objection"] == "4"
        assert found["relapsed"] == "5"
        assert found["bounced"] == "10"
        # One more is on its way.
        await outbox.add(store, ids[1], "S1", 1, "anna", NOW + 500)
        assert (await _needs(store, ids))["bounced"] == "0"
        # What is closed or worked on waits for nothing, except for whom it is assigned to.
        for number in (0, 1, 2, 4, 5):  # 3 is acknowledged by its answer
            await actions.acknowledge(store, ids[number], "anna", now=NOW + 600)
        found = await _needs(store, ids)
        assert (found["untold"], found["unanswered"], found["relapsed"], found["mine"]) == ("", "", "", "3")
        for number in range(6):
            await actions.close(store, ids[number], "anna", now=NOW + 700)
        assert set((await _needs(store, ids)).values()) == {""}
        listed = await query.listed(store, Filter(assigned="anna"))
        assert [case.id for case in listed.cases] == [ids[3]]
        assert (await query.listed(store, Filter(assigned=""))).total == 4
        assert (await query.choices(store))["assignees"] == ["anna", "bob"]

    with_store(work)
