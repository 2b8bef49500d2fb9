"""`python -m tests.notice.picture`: docs/notice.png, the subscriber's page on a computer and on a phone."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from cpe_filter.notice.devices import Entry
from cpe_filter.notice.page import PageSettings, page
from tests.lab.net import PROJECT
from tests.texts.browser import Browser
from tests.texts.palette import reduced

PICTURE = PROJECT / "docs" / "notice.png"
#: Bytes: more is a burden on everybody who clones.
MOST = 150_000
#: When the picture is set.
NOW = 1_795_723_200.0  # 2026-11-26 20:00 UTC
HEIGHT = 1250
_FOUND = ("unknown-user", "dnsbl-listed", "helo-dynamic")


def entries() -> list[Entry]:
    """A home with a bot, a device that was cleaned, and a laptop."""
    tv = Entry(
        "living-room-tv", "", "00:1A:2B", False, "C4:D5", "compromised", "block", NOW - 7300, NOW - 60, "", 0.0, _FOUND
    )
    nas = tv._replace(name="nas", oui="00:11:32", tail="0A:11", standing="clear", mode="monitor", first=None)
    nas = nas._replace(past="cleared", past_at=NOW - 90_000, indicators=())
    laptop = nas._replace(name="laptop", oui="", random=True, tail="90:AA", past="")
    return [tv, nas, laptop]


def main() -> int:
    time.tzset()
    with tempfile.TemporaryDirectory(prefix="notice-") as folder, Browser() as browser:
        browser.call("Emulation.setScrollbarsHidden", hidden=True)
        for name, language, provider, scheme, width in (
            ("computer", "en", "Example Net", "light", 760),
            ("phone", "de", "Beispielnetz", "dark", 390),
        ):
            settings = PageSettings(language, provider, "https://help.isp.example/mail", "monitor", True, False)
            file = Path(folder) / f"{name}.html"
            file.write_text(page(settings, entries(), NOW))
            browser.scheme(scheme)
            browser.size(width, HEIGHT)
            browser.open(file)
            browser.screenshot(Path(folder) / f"{name}.png")
        both = Path(folder) / "both.html"
        both.write_text(
            "<!DOCTYPE html><style>body{margin:0;display:flex;gap:20px;background:#c9ced6;padding:20px}</style>"
            '<img src="computer.png" width="760"><img src="phone.png" width="390">'
        )
        browser.size(760 + 390 + 60, HEIGHT + 40)
        browser.open(both)
        browser.screenshot(PICTURE)
    PICTURE.write_bytes(reduced(PICTURE.read_bytes()))
    size = PICTURE.stat().st_size
    sys.stdout.write(f"{PICTURE.relative_to(PROJECT)}: {size} bytes\n")
    return 0 if size <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
