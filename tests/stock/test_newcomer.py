"""README's two commands, on a system that has nothing but make: what they install, and what they show."""

from __future__ import annotations

import os
import re
import shlex

import pytest

from tests.lab.net import why_not as no_lab
from tests.stock.system import System

#: Megabytes that `make demo` may install.
MOST_MB = 60
#: A look at the page, past any proxy.
_ASKED = """
import sys, urllib.request as request
opener = request.build_opener(request.ProxyHandler({}))
print("the page answers with", opener.open(sys.argv[1], timeout=60).status)
"""
_SIZE = "dpkg-query -W -f '${Installed-Size}\\n' | awk '{ sum += $1 } END { print sum }'"


def test_demo(system: System) -> None:
    if no_lab():
        pytest.skip(no_lab())
    system.give()
    system.must("apt-get update -qq && apt-get install -y -qq --no-install-recommends make")
    before = int(system.must(_SIZE).output)
    done = system.must("make demo", folder="/root/cpe-filter")
    added = (int(system.must(_SIZE).output) - before) / 1024
    print(f"{system.root.name}: make demo: {done.seconds:.0f} s, {added:.0f} MB installed")
    assert added < MOST_MB
    first, *others = done.output.strip().splitlines()
    assert first.startswith("Installing system packages: ")
    assert others[0] == ""  # nothing from apt, dpkg or debconf
    assert "A home with a laptop and an infected TV box" in others[1]
    assert re.search(r"^The TV box: compromised", done.output, re.MULTILINE)
    assert not (system.root / "root/cpe-filter/.venv").exists()
    if os.environ.get("STOCK") == "all":
        again = system.must("make demo", folder="/root/cpe-filter")
        assert "Installing" not in again.output


def test_fleet(system: System) -> None:
    """The ISP's side: it says where the page is, and the page answers."""
    system.give()
    system.must("apt-get update -qq && apt-get install -y -qq --no-install-recommends make")
    look = "for n in $(seq 300); do sleep 1; grep -q http:// /tmp/fleet.out && break; done; cat /tmp/fleet.out"
    look += f"; python3 -c {shlex.quote(_ASKED)} $(grep -o 'http://[0-9.:]*' /tmp/fleet.out | head -1)"
    # What still runs ends with its shell, which is the first process in there.
    done = system.must(f"(make fleet > /tmp/fleet.out 2>&1 &) ; {look}", folder="/root/cpe-filter")
    print(f"{system.root.name}: make fleet: {done.seconds:.0f} s")
    assert re.search(r"https?://127\.0\.0\.1:\d+", done.output), done.output
    assert "the page answers with 200" in done.output, done.output
