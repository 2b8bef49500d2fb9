"""Login by a provider that others have written: oidc-provider of npm, which is OpenID Certified (`make sso`).

It signs with RS256, requires PKCE, names itself in the callback (RFC 9207), and has claims at its userinfo endpoint.
"""

from __future__ import annotations

import asyncio
import html
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from cpe_filter.collect.store.sqlite import SQLite
from cpe_filter.collect.web.oidc import Oidc, Terms
from cpe_filter.collect.web.provider import Provider
from tests.collect.web.issuer import CLIENT, SECRET
from tests.collect.web.site import Page, read
from tests.ports import free_port

FOLDER = Path(__file__).parent / "oidc_provider"
URL = "https://fleet.example"


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[str]:
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules" / "oidc-provider").is_dir():
        pytest.skip("needs node and npm's oidc-provider: make sso")
    port = free_port()
    with (tmp_path / "node.log").open("wb") as log:
        command = [node, str(FOLDER / "provider.mjs"), str(port), URL]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", (tmp_path / "node.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def by_forms(url: str) -> str:
    """As a user who logs in and consents: the URL of the page to which the provider leads."""
    async with httpx.AsyncClient() as browser:
        answer = await browser.get(url)
        for _ in range(12):
            if answer.has_redirect_location:
                url = str(answer.url.join(answer.headers["location"]))
                if url.startswith(URL):
                    return url
                answer = await browser.get(url)
                continue
            action = re.search(r'action="([^"]+)"', answer.text)
            assert action, answer.text
            prompt = "login" if 'name="login"' in answer.text else "consent"
            data = {"prompt": prompt, "login": "boris", "password": "any"}
            answer = await browser.post(str(answer.url.join(html.unescape(action[1]))), data=data)
    raise AssertionError("the provider leads nowhere")


def test_log_in_and_out(issuer: str, tmp_path: Path) -> None:
    async def work() -> None:
        store = SQLite(str(tmp_path / "page.db"))
        await store.open()
        provider = Provider(issuer, CLIENT, SECRET, 30.0)
        page = Page(store, url=URL, oidc=Oidc(provider, Terms(URL, {"viewer": "fleet-viewer", "desk": "abuse-desk"})))
        begun = await page.ask("/login/oidc?next=%2Fcases")
        parts = urlsplit(await by_forms(begun.headers["location"]))
        callback = f"{parts.path}?{parts.query}"
        done = await page.ask(callback, cookie=begun.cookie, sec_fetch_site="cross-site")
        assert (done.status, done.headers["location"]) == (303, "/cases")
        assert "boris, desk" in read((await page.ask("/", cookie=done.cookie)).text).text
        assert (await page.ask(callback, cookie=begun.cookie)).status == 403
        end = await page.ask("/logout/oidc")
        async with httpx.AsyncClient() as browser:
            assert (await browser.get(end.headers["location"])).status_code == 200
        await provider.close()
        await store.close()

    asyncio.run(work())
