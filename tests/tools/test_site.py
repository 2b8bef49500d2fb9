"""The documents as a site: it is built without a warning, and asks for nothing elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.net import PROJECT
from tools.site_hooks import PAGES, with_links

#: What a browser fetches by itself.
_FETCHED = re.compile(
    r'<(?:script|img|iframe|source)[^>]* src="([^"]*)"|<link[^>]* rel="(?!canonical)[^"]*"[^>]*>|url\(([^)]*)\)'
)


def test_links_of_documents_in_other_places() -> None:
    text = "[a](docs/detect.md#x) `[b](docs/policy.md)` [c](SECURITY.md) [d](cpe_filter/lean) ![e](docs/demo.svg) [f](https://x.example)"
    assert with_links(text, "README.md") == (
        "[a](detect.md#x) `[b](docs/policy.md)` [c](SECURITY.md) d (`cpe_filter/lean`) ![e](demo.svg) [f](https://x.example)"
    )
    assert with_links("[a](../openwrt/README.md#b) [c](policy.md) [d](#e)", "docs/openwrt.md") == (
        "[a](openwrt-packages.md#b) [c](policy.md) [d](#e)"
    )
    assert (
        with_links("    [a](docs/x.md)\n[b](docs/policy.md)\n", "README.md") == "    [a](docs/x.md)\n[b](policy.md)\n"
    )


def test_it_is_built_and_asks_for_nothing_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {path.name for path in tmp_path.glob("*.html")}
    wanted = {path.stem for path in (PROJECT / "docs").glob("*.md")} | {Path(name).stem for name in PAGES.values()}
    assert {f"{name}.html" for name in wanted} <= pages
    for path in (*tmp_path.glob("*.html"), *tmp_path.glob("assets/stylesheets/*.css")):
        for found in _FETCHED.finditer(path.read_text()):
            inline = found[0].startswith(('url("data:', "url(data:", "url('data:"))
            assert inline or not re.search(r"https?://|[\"'(=]//", found[0]), (path.name, found[0])
