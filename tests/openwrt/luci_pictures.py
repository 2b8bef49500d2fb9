"""`python -m tests.openwrt.luci_pictures [LUCI]`: takes the pictures of the LuCI pages in docs/ again.

LUCI is a checkout of LuCI, whose own JavaScript and theme the pages then run in, as on a router; without it they
run in the stub. What they show is the story of luci_router, the same each time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.lab.net import PROJECT
from tests.openwrt.luci_pages import Pages, shipped
from tests.openwrt.luci_router import BOX, REPORTING, SERVER, START, Router
from tests.openwrt.luci_server import LuciServer
from tests.texts.browser import Browser

DOCS = PROJECT / "docs"
WIDTH = 900
#: Bytes: more is a burden on everybody who clones.
MOST = 150_000


def main(luci: Path | None) -> int:
    with (
        tempfile.TemporaryDirectory(prefix="luci-") as folder,
        Router(Path(folder) / "root", REPORTING) as router,
        LuciServer(router, shipped(), luci) as server,
        Browser() as browser,
    ):
        filter_ = router.start()
        pages = Pages(browser, server)

        def take(name: str, height: int) -> int:
            browser.size(WIDTH, height)
            time.sleep(0.5)
            picture = DOCS / f"luci-{name}.png"
            browser.screenshot(picture)
            print(f"{picture.relative_to(PROJECT)}: {picture.stat().st_size} bytes")
            return picture.stat().st_size

        browser.call("Emulation.setScrollbarsHidden", hidden=True)
        browser.size(WIDTH, 900)
        browser.scheme("light")
        pages.open("status", there=".cpe-device")
        # It goes on while one looks.
        filter_.feed(BOX, "bot-sprayer", "02:00:00:00:01:02", START + 3300, False)
        filter_.updated = START + 3600
        filter_.write()
        pages.says("As of Nov 24, 2026, 8:00")
        sizes = [take("status", 1175)]
        browser.scheme("dark")
        router.call("exempt_add", device=SERVER, destination="", **{"for": ""}, reason="our own mail server")
        pages.open("exemptions", more=f"&device={SERVER}")
        sizes.append(take("exemptions", 700))
        browser.scheme("light")
        pages.open("settings")
        pages.press("Filter")
        sizes.append(take("settings", 985))
    return int(max(sizes) > MOST)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
