"""`python -m tests.fleet.pictures`: takes the pictures of the fleet page in docs/ again, from a simulated fleet."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.fleet.__main__ import Fleet, say
from tests.lab.net import PROJECT
from tests.texts.browser import Browser

DOCS = PROJECT / "docs"
WIDTH = 1280
#: The folder of this run is no part of a command that others will run.
_NO_PATH = """
document.querySelectorAll("code").forEach(
  e => e.textContent = e.textContent.replace(/published \\S+/, "published /srv/policy"))
"""
#: Bytes: more is a burden on everybody who clones.
MOST = 150_000


def log_in(browser: Browser, fleet: Fleet) -> None:
    browser.visit(fleet.url)
    browser.ask("document.querySelector('#name').value = 'admin'; 0")
    browser.ask(f"document.querySelector('#password').value = {fleet.users['admin']!r}; 0")
    browser.events.clear()
    browser.ask("document.querySelector('button').click()")
    browser.loaded()


def main() -> int:
    DOCS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder, Fleet(Path(folder), 400) as fleet:
        asyncio.run(fleet.history())
        with Browser() as browser:
            browser.size(WIDTH, 900)
            browser.call("Emulation.setScrollbarsHidden", hidden=True)
            log_in(browser, fleet)
            time.sleep(6)  # figures of rollouts are kept for some seconds
            browser.visit(fleet.url + "cases?state=all&text=S-1")
            case = browser.ask(
                "[...document.querySelectorAll('tbody tr')].find(row => row.innerText.includes('acknowledged')"
                " && row.innerText.includes('times')).querySelector('a').getAttribute('href').slice(1)"
            )
            for name, scheme, path, top, height in (
                ("today", "light", "", 0, 860),
                ("overview", "light", "fleet?days=90", 0, 1130),
                ("more", "dark", "fleet?days=90", 1190, 980),
                ("rollout", "light", "rollout", 0, 1130),
                ("cases", "light", "cases", 0, 760),
                ("case", "light", case, 0, 960),
            ):
                browser.scheme(scheme)
                browser.size(WIDTH, height)
                browser.visit(fleet.url + path)
                browser.ask(f"window.scrollTo(0, {top})")
                browser.ask(_NO_PATH)
                picture = DOCS / f"fleet-{name}.png"
                browser.screenshot(picture)
                size = picture.stat().st_size
                say(f"{picture.relative_to(PROJECT)}: {size} bytes")
                if size > MOST:
                    say(f"{picture.name} has over {MOST} bytes")
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
