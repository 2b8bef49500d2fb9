"""How far documents have come, from reports of each engine and a folder; the verdict, and what liars can do to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect import published
from cpe_filter.collect.rollout import spread
from cpe_filter.collect.rollout.spread import Spread, Terms, compute, wilson
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.web import rolloutpage
from tests.collect.reports import NOW, heartbeat
from tests.collect.store.test_sql_documents import docs, document, sent
from tests.collect.test_policy_command import MILD, STRICT, Isp
from tests.collect.web.site import Page, read
from tests.texts.reader import HOSTILE

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (5, 100, 0.0215, 0.1118), (1, 1, 0.2065, 1)],
)
def test_wilson(part: int, whole: int, low: float, high: float) -> None:
    assert wilson(part, whole) == pytest.approx((low, high), abs=0.0005)


@pytest.mark.parametrize(
    ("applied", "back", "said"),
    [(0, 0, "unknown"), (0, 2, "wait"), (0, 3, "halt"), (95, 5, "halt"), (97, 3, "wait"), (100, 0, "wait"),
     (400, 0, "good"), (10_000, 20, "good")],
)  # fmt: skip
def test_verdict(applied: int, back: int, said: str) -> None:
    one = Spread("policy", 1, "a" * 16, outcomes={"applied": applied, "taken-back": back})
    assert one.verdict(2) == said


async def story(store: Store, tmp_path: Path) -> Terms:
    """Policy 1 on all, 2 at 500 of 1000: of 40 routers 10 applied it, 5 took it back, 2 refused it, one has it by its
    heartbeat."""
    isp = Isp(tmp_path)
    isp.publish(MILD)
    isp.publish(STRICT, 500)
    one, two = (entry["digest"] for entry in isp.channel["documents"])
    for n in range(40):
        events = [document(1, 100, doc=one, number=1)]
        if n < 10:
            events.append(document(2, 500, doc=two, number=2))
        elif n < 15:
            events.append(document(2, 500, "taken-back", two, 2, why="relay"))
        elif n < 17:
            events.append(document(2, 500, "refused", two, 2, why="agent"))
        elif n == 17:
            events.append(docs(2, 900, ("policy", two, 2)))
        await store.add([sent(*events, router=f"cpe-{n}")])
    return Terms(str(isp.web), 2)


def test_figures_of_a_rollout(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        terms = await story(store, tmp_path)
        found = await compute(store, terms, NOW)
        (now,) = found.current
        assert (found.routers, now.channel, now.sequence) == (40, "routers", 2)
        assert (now.in_force, now.tried, now.taken_back, now.refused) == (11, 16, 5, 2)
        assert (now.expected, now.unheard) == (20, 2)
        assert now.reasons == {("taken-back", "relay"): 5, ("refused", "agent"): 2}
        assert now.verdict(found.halt_at) == "halt"
        assert [one.in_force for one in found.documents] == [11, 29]
        figures = spread.metrics(found)
        assert figures["document_halt"] == {("routers",): 1}
        assert figures["document_routers"]["routers", "taken-back"] == 5
        assert figures["document_reports"]["policy", "refused"] == 2
        # Without the folder: the latest that several routers have answered, whatever one of them invents.
        await store.add([sent(document(9, 999, doc="f" * 16, number=1 << 52), router="cpe-39")])
        found = await compute(store, Terms(), NOW)
        assert [one.sequence for one in found.current] == [2]
        assert found.current[0].expected is None
        found = await compute(store, Terms(str(tmp_path / "isp.sec")), NOW)
        assert "Not a directory" in found.problem

    with_store(work)


def test_the_page(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        terms = await story(store, tmp_path)
        page = Page(store)
        cookie = await page.log_in("guest")
        empty = read((await page.ask("/rollout", cookie=cookie)).text)
        assert "policy 2" in empty.text
        read(_framed(rolloutpage.page(await compute(store, terms, NOW))))
        text = rolloutpage.page(await compute(store, terms, NOW))
        assert "<h1>Halt policy 2 in <bdi>routers</bdi></h1>" in text
        assert "5 of 16 routers that tried it took it back (31 %; 95 %: 14.2 to 55.6 %): more than 2 %" in text
        assert "500 of 1000 routers" in text
        assert "about 2" in text

    with_store(work)


def test_the_page_without_anything(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        page = Page(store)
        cookie = await page.log_in()
        assert "No router has reported a document." in read((await page.ask("/rollout", cookie=cookie)).text).text

    with_store(work)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_strings(with_store: WithStore, hostile: str) -> None:
    async def work(store: Store) -> None:
        plain = hostile.replace("\0", "").encode(errors="replace").decode()
        await store.add([sent(document(1, 100, "taken-back", why="x"), heartbeat(2))])
        values = {"text": plain}
        await store.write([("UPDATE router_document SET why = :text, digest = :text", values)])
        page = Page(store)
        answer = await page.ask("/rollout", cookie=await page.log_in())
        assert answer.status == 200
        read(answer.text)

    with_store(work)


def _framed(body: str) -> str:
    from cpe_filter.collect.web.layout import frame

    return frame("Rollout", body, None, False)


def test_an_index_of_the_future_is_a_problem_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"format": 2}')
    with pytest.raises(published.PublishedError, match="not an index"):
        published.read(str(tmp_path))
