"""Who may use which route: each one that the page has, so that a new one cannot be left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cpe_filter.collect.cases import instructions
from cpe_filter.collect.store.base import Store
from tests.collect.desks import WithStore
from tests.collect.web.site import Page
from tests.collect.web.test_pages import filled
from tests.signed.making import key

#: What needs no login.
OPEN = {"/login", "/static/{name}"}
#: What this store does not have, or what needs a query.
NEED_MORE = {"/bulk/{number}", "/rollout/routers"}
#: What a viewer may send, and what a viewer may not read.
OWN, CLOSED = {"/zone", "/logout"}, {"/audit", "/cases/{number}/mail", "/cases/{number}/router-{act}"}


def routes(page: Page, case: str) -> list[tuple[str, str, str]]:
    """The path as it is in the table, one that fits it, and a method, for each of both that a login needs."""
    app: Any = page.app
    found = []
    for route in app._app.routes:
        if route.path in OPEN:
            continue
        number = case if route.path.startswith("/cases/") else "0123456789abcdef"
        act = "release" if "router-" in route.path else "retry" if "undelivered" in route.path else "acknowledge"
        path = route.path.replace("{number}", number).replace("{act}", act).replace("{subscriber:path}", "s0")
        found += [(route.path, path, method) for method in sorted(route.methods - {"HEAD"})]
    assert len(found) > 25
    assert all("{" not in path for _, path, _ in found)
    return found


def test_each_route(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        ids = await filled(store, tmp_path, 1)
        page = Page(store, instruct=instructions.Desk(store, key("desk")))
        desk, viewer = await page.log_in(), await page.log_in("guest")
        tokens = {one: await page.token(one) for one in (desk, viewer)}
        before = await store.read("SELECT * FROM desk_case")
        for name, path, method in routes(page, ids[0]):
            if method == "GET":
                assert (await page.ask(path)).headers["location"].startswith("/login"), name
                wanted = 403 if name in CLOSED else 404 if name in NEED_MORE else 200
                assert (await page.ask(path, cookie=viewer)).status == wanted, name
                continue
            form = {"token": tokens[desk], "reason": "x", "text": "x"}
            assert (await page.post(path, form)).headers["location"] == "/login", name  # nobody
            if name not in OWN:
                theirs = {**form, "token": tokens[viewer]}
                assert (await page.post(path, theirs, viewer)).status == 403, name
            for wrong in ({}, {**form, "token": ""}, {**form, "token": tokens[viewer]}):
                assert (await page.post(path, wrong, desk)).status == 403, name
            for site in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}):
                assert (await page.post(path, form, desk, **site)).status == 403, name
        assert await store.read("SELECT * FROM desk_case") == before

    with_store(work)
