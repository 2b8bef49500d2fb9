"""How far documents have come, from reports of each engine and a folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect import published
from cpe_filter.collect.rollout import spread
from cpe_filter.collect.rollout.figures import MOST, Rollouts, compute
from cpe_filter.collect.rollout.routers import Ask, listed
from cpe_filter.collect.rollout.spread import DAY, OfModel, Terms
from cpe_filter.collect.store.base import Store, StoreUnavailableError
from cpe_filter.collect.web import rolloutpage
from tests.collect.publisher import MILD, Isp
from tests.collect.reports import NOW
from tests.collect.rollout.story import story
from tests.collect.store.test_sql_documents import docs, document, sent

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]


def test_figures_of_a_rollout(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        _, terms = await story(store, tmp_path)
        await store.write([("UPDATE router_state SET model = 'm1' WHERE router IN ('cpe-10', 'cpe-00', 'cpe-15')", {})])
        found = await compute(store, terms, NOW)
        (now,) = found.current
        assert (found.routers, found.silent, now.channel, now.sequence) == (40, 0, "routers", 2)
        assert (now.in_force, now.tried, now.taken_back, now.refused) == (11, 16, 5, 3)
        assert (now.excused, now.failed, now.answered) == (2, 6, 17)
        assert (now.expected, now.reached, now.not_heard) == (20, 275, 1)
        assert now.reasons == {("taken-back", "relay"): 5, ("refused", "agent"): 2, ("refused", "content"): 1}
        # One of m1 applied it, one took it back; one is too old, which does not count.
        assert now.models == [OfModel("", 5, 14), OfModel("m1", 1, 2)]
        assert now.verdict(2) == "halt"
        assert [one.in_force for one in found.documents] == [11, 29]
        assert sum(map(sum, now.course)) == 18
        figures = spread.metrics(found)
        assert figures["document_halt"] == {("routers",): 1}
        of_channel = {result: number for (_, result), number in figures["document_routers"].items()}
        assert of_channel == {"applied": 10, "refused": 3, "taken-back": 5, "rolled-back": 0, "in-force": 11,
                              "silent": 0, "not-heard": 1}  # fmt: skip
        assert figures["document_reports"]["policy", "refused"] == 3

    with_store(work)


def test_refusals_of_a_document_whose_signature_is_not_good(with_store: WithStore, tmp_path: Path) -> None:
    """A router knows no type of it; the digest says which one it is, where it is known here."""

    async def work(store: Store) -> None:
        isp, terms = await story(store, tmp_path)
        two = isp.channel["documents"][-1]["digest"]
        for n, doc in ((20, two), (21, two), (22, "f" * 16)):
            event = {"seq": 5, "up": 950, "kind": "document", "doc": doc, "result": "refused", "why": "key"}
            await store.add([sent(event, router=f"cpe-{n:02}")])
        # One that says it is a table changes nothing.
        await store.add(
            [sent({**document(5, 950, "refused", two, 2, why="content"), "type": "table"}, router="cpe-39")]
        )
        found = await compute(store, terms, NOW)
        (now,) = found.current
        assert (now.refused, now.reasons["refused", "key"], sum(map(sum, now.course))) == (5, 2, 20)
        (other,) = [one for one in found.documents if not one.type]
        assert (other.type, other.digest, other.sequence, other.refused) == ("", "f" * 16, 0, 1)
        assert spread.metrics(found)["document_reports"]["unknown", "refused"] == 3
        names = [row["router"] for row in await listed(store, Ask("policy", two, "refused"), NOW)]
        assert names == ["cpe-15", "cpe-16", "cpe-18", "cpe-20", "cpe-21"]
        names = [row["router"] for row in await listed(store, Ask("policy", two, "refused", "key", "cpe-20"), NOW)]
        assert names == ["cpe-21"]
        assert [row["router"] for row in await listed(store, Ask("", "f" * 16, "refused"), NOW)] == ["cpe-22"]
        text = rolloutpage.page(found)
        assert "document</bdi> of unknown number" in text
        assert "/rollout/routers?doc=ffffffffffffffff&amp;result=refused" in text
        # Without an index the digest is known from others, the most of them.
        (now,) = [one for one in (await compute(store, Terms(), NOW)).current if one.type == "policy"]
        assert (now.sequence, now.refused) == (2, 5)

    with_store(work)


def test_routers_that_do_not_report_any_more(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        _, terms = await story(store, tmp_path)
        heard = {"at": NOW - 3 * DAY}
        await store.write([("UPDATE router_state SET heard_at = :at WHERE router IN ('cpe-00', 'cpe-39')", heard)])
        found = await compute(store, terms, NOW)
        assert (found.silent, [one.silent for one in found.documents]) == (2, [1, 1])
        gone = {"at": NOW - 40 * DAY}
        await store.write([("UPDATE router_state SET heard_at = :at WHERE router IN ('cpe-00', 'cpe-39')", gone)])
        found = await compute(store, terms, NOW)
        assert (found.routers, found.silent, found.current[0].in_force) == (38, 0, 10)

    with_store(work)


def test_without_the_folder(with_store: WithStore, tmp_path: Path) -> None:
    """The latest that several routers have answered, whatever one of them invents."""

    async def work(store: Store) -> None:
        isp, _ = await story(store, tmp_path)
        await store.add([sent(document(9, 999, doc="f" * 16, number=1 << 52), router="cpe-39")])
        found = await compute(store, Terms(), NOW)
        assert [one.sequence for one in found.current] == [2]
        assert found.current[0].expected is None
        # Nor does one make a document of all others later that nobody has any more.
        one, two = (entry["digest"] for entry in isp.channel["documents"])
        await store.write([("UPDATE router_in_force SET digest = :two, sequence = 2 WHERE digest = :one",
                            {"one": one, "two": two})])  # fmt: skip
        await store.add([sent(document(10, 999, doc=one, number=1 << 52), router="cpe-39")])
        assert [(one.sequence, one.digest) for one in (await compute(store, Terms(), NOW)).current] == [(2, two)]
        assert spread.metrics(found)["document_halt"] == {}  # a channel is not known
        found = await compute(store, Terms(str(tmp_path / "isp.sec")), NOW)
        assert "Not a directory" in found.problem
        (tmp_path / "empty").mkdir()
        found = await compute(store, Terms(str(tmp_path / "empty")), NOW)
        assert (found.problem, len(found.current)) == (f"{tmp_path}/empty: nothing is published there", 1)

    with_store(work)


def test_a_halt_and_a_wider_step(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        isp, terms = await story(store, tmp_path)
        assert isp.do("publish", "--permille", "600", "--yes") == 0
        found = await compute(store, terms, NOW)
        (now,) = found.current
        assert (now.sequence, [one.sequence for one in now.steps]) == (3, [2])
        assert (now.answered, now.verdict(2)) == (0, "halt")
        assert isp.do("halt") == 0
        digest = isp.channel["documents"][-1]["digest"]
        await store.add([sent(document(3, 900, doc=digest, number=4), router="cpe-00")])
        found = await compute(store, terms, NOW)
        (now,) = found.current
        assert (now.sequence, now.in_force, now.verdict(2), now.steps) == (4, 1, "wait", [])
        assert now.entry is not None
        # What it halts is the wider step, which no router has; the one before it has the same content.
        assert (now.entry.halts, now.left) == (3, 10)

    with_store(work)


@pytest.mark.parametrize(
    ("audience", "routers"),
    [(("*",), 40), (("router:cpe-01", "router:cpe-02", "router:nobody"), 2), (("model:m1",), 3),
     (("model:m1", "router:cpe-01"), 4), (("router:m1", "model:cpe-01"), 0), (("*", "region:north"), None),
     (("region:north",), None)],
)  # fmt: skip
def test_how_many_it_is_for(
    with_store: WithStore, tmp_path: Path, audience: tuple[str, ...], routers: int | None
) -> None:
    async def work(store: Store) -> None:
        isp = Isp(tmp_path)
        words = [word for name in audience for word in ("--audience", name)]
        assert isp.do("publish", isp.signed(MILD, *words), "--yes") == 0
        for n in range(40):
            await store.add([sent(docs(1, 100), router=f"cpe-{n:02}")])
        await store.write([("UPDATE router_state SET model = 'm1' WHERE router IN ('cpe-10', 'cpe-11', 'cpe-12')", {})])
        (now,) = (await compute(store, Terms(str(isp.web), 2), NOW)).current
        assert now.audience == routers

    with_store(work)


def test_documents_that_routers_invent_are_bounded(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        _, terms = await story(store, tmp_path)
        events = [document(n, 900 + n // 10, doc=f"{n:016x}", number=1 << 50, why=f"w{n}", result="taken-back")
                  for n in range(10, 300)]  # fmt: skip
        await store.add([sent(*events, router="cpe-39")])
        found = await compute(store, terms, NOW)
        assert len(found.documents) == 1 + MOST
        assert found.documents[0].in_force == 11
        # What the ISP has published is there, however late what they invent is.
        assert found.documents[1].sequence in (1, 1 << 50)

    with_store(work)


def test_documents_that_many_routers_invent_hide_no_published_one(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        isp, terms = await story(store, tmp_path)
        invented = [{"router": f"cpe-{router}", "digest": f"{n:016x}", "at": NOW - 5} for router in range(20, 32)
                    for n in range(20 * MOST)]  # fmt: skip
        sql = "INSERT INTO router_document VALUES (:router, 'policy', :digest, 9, 'applied', NULL, :at)"
        await store.write([(sql, row) for row in invented])
        (now,) = (await compute(store, terms, NOW)).current
        assert (now.taken_back, now.refused, now.excused, now.verdict(2)) == (5, 3, 2, "halt")
        # A wider step is judged by the one before it, which stays, too.
        assert isp.do("publish", "--permille", "600", "--yes") == 0
        (now,) = (await compute(store, terms, NOW)).current
        assert (now.answered, now.verdict(2)) == (0, "halt")

    with_store(work)


def test_another_number_for_the_same_document_hides_no_router(with_store: WithStore, tmp_path: Path) -> None:
    """A digest names the document; its number is a router's word."""

    async def work(store: Store) -> None:
        isp, terms = await story(store, tmp_path)
        two = isp.channel["documents"][-1]["digest"]
        await store.add([sent(docs(9, 950, ("policy", two, 1 << 50)), router="cpe-39")])
        (now,) = (await compute(store, terms, NOW)).current
        assert (now.sequence, now.in_force, now.by_heartbeat, now.answered) == (2, 12, 2, 18)
        # Without the folder the number that most name counts.
        (now,) = (await compute(store, Terms(), NOW)).current
        assert (now.sequence, now.in_force) == (2, 12)

    with_store(work)


def test_routers_that_have_it_for_long_count_against_new_ones_on_which_it_fails(
    with_store: WithStore, tmp_path: Path
) -> None:
    """A document is in force for a year or so; most of the fleet applied it when it was new."""

    async def work(store: Store) -> None:
        _, terms = await story(store, tmp_path)
        old = {"at": NOW - 91 * DAY}
        await store.write([("UPDATE router_document SET at = :at WHERE result <> 'taken-back'", old)])
        await store.write([("UPDATE router_in_force SET since = :at, at = :at", old)])
        (now,) = (await compute(store, terms, NOW)).current
        assert (now.taken_back, now.in_force, now.answered) == (5, 11, 16)

    with_store(work)


def test_one_computation_for_all_who_ask(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        _, terms = await story(store, tmp_path)
        clock = [0.0]
        rollouts = Rollouts(store, terms, lambda: clock[0])
        first, second = await asyncio.gather(rollouts.of(NOW), rollouts.of(NOW))
        assert first is second
        clock[0] = 4
        assert await rollouts.of(NOW + 4) is first
        clock[0] = 6
        assert (await rollouts.of(NOW + 6)).now == NOW + 6

    with_store(work)


def test_a_slow_store(with_store: WithStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for a twentieth of the time, and the figures before are given meanwhile."""

    async def work(store: Store) -> None:
        _, terms = await story(store, tmp_path)
        clock, reads, real = [0.0], [0], store.read

        async def slow(*words: Any, **values: Any) -> Any:
            clock[0] += 1
            reads[0] += 1
            return await real(*words, **values)

        monkeypatch.setattr(store, "read", slow)
        rollouts = Rollouts(store, terms, lambda: clock[0])
        first = await rollouts.of(NOW)
        took = reads[0]
        assert 3 < took < 20
        clock[0] = 20 * took
        assert await rollouts.of(NOW + 1) is first
        assert reads[0] == took
        clock[0] = 21 * took
        assert await rollouts.of(NOW + 2) is first
        found = first
        while found is first:
            await asyncio.sleep(0.01)
            found = await rollouts.of(NOW + 3)
        assert found.now == NOW + 2
        # After a long time they are too old.
        clock[0] += 20 * took + 700
        assert (await rollouts.of(NOW + 1000)).now == NOW + 1000

    with_store(work)


def test_a_request_that_is_given_up_ends_no_computation(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        _, terms = await story(store, tmp_path)
        rollouts = Rollouts(store, terms)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(rollouts.of(NOW), 0)
        waiting = asyncio.ensure_future(rollouts.of(NOW))
        await asyncio.sleep(0)
        other = asyncio.ensure_future(rollouts.of(NOW + 1))
        await asyncio.sleep(0)
        waiting.cancel()
        assert (await other).now == NOW

    with_store(work)


def test_a_store_that_is_away_is_an_error_for_those_who_wait(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        _, terms = await story(store, tmp_path)
        clock = [0.0]
        rollouts = Rollouts(store, terms, lambda: clock[0])
        first = await rollouts.of(NOW)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "read", _away)
            clock[0] = 6
            with pytest.raises(StoreUnavailableError):
                await rollouts.of(NOW)
        assert await rollouts.of(NOW) is not first

    with_store(work)


async def _away(*_: Any, **__: Any) -> Any:
    raise StoreUnavailableError("away")


def test_an_index_of_the_future_is_a_problem_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"format": 2}')
    with pytest.raises(published.PublishedError, match="not an index"):
        published.read(str(tmp_path))


@pytest.mark.parametrize(
    "wrong",
    [{"permille": 1001}, {"permille": 10**400}, {"permille": True}, {"sequence": 10**16}, {"digest": ["x"]},
     {"digest": "\ud800"}, {"digest": None}, {"content": {}}, {"halts": "<b>2</b>"}, {"audience": []},
     {"audience": "router:cpe-01"}, {"audience": ["router:\ud800"]}, {"audience": ["router:\0"]},
     {"audience": [f"router:r{n}" for n in range(257)]}, {"audience": [1]}, {"salt": 5}, {"salt": "x" * 65},
     {"published": 1}, {"state": "new"}, {"more": 1}],
)  # fmt: skip
def test_an_index_with_what_nobody_has_published_is_a_problem_and_no_error(
    with_store: WithStore, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    async def work(store: Store) -> None:
        isp, terms = await story(store, tmp_path)
        index = json.loads((isp.web / "index.json").read_text())
        index["channels"]["routers"]["documents"][-1] |= wrong
        (isp.web / "index.json").write_text(json.dumps(index))
        found = await compute(store, terms, NOW)
        assert "not an index" in found.problem
        assert "not an index" in rolloutpage.page(found)

    with_store(work)


@pytest.mark.parametrize(
    "channels",
    [{f"c{n}": {"type": "policy", "documents": []} for n in range(257)}, {"<b>": {"type": "policy", "documents": []}},
     {"c": {"type": "<b>", "documents": []}}, {"c": {"type": ["x"], "documents": []}},
     {"c": {"type": "instruction", "documents": []}}, {"c": None}, [], None],
)  # fmt: skip
def test_channels_that_nobody_could_publish(tmp_path: Path, channels: Any) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"format": 1, "channels": channels}))
    with pytest.raises(published.PublishedError, match="not an index"):
        published.read(str(tmp_path))
