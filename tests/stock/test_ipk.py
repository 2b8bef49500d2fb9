"""`make ipk` as README and docs/openwrt.md have it, on a system that has nothing but make: no Python, no Node.js."""

from __future__ import annotations

import os

from cpe_filter import __version__
from tests.stock.system import System

#: What the system's own Python compiles for; the other is got.
OWN = {"bookworm": "3.11", "trixie": "3.13"}


def test_the_packages_are_built(system: System) -> None:
    system.give()
    system.must("apt-get update -qq && apt-get install -y -qq --no-install-recommends make")
    releases = (("", "3.11"), ("OPENWRT=25.12", "3.13"))
    for words, minor in releases if os.environ.get("STOCK") == "all" else releases[:1]:
        done = system.must(f"make ipk {words}", folder="/root/cpe-filter")
        print(f"{system.root.name}: make ipk {words}: {done.seconds:.0f} s")
        built = system.root / "root" / "cpe-filter" / "build" / "packages" / minor
        assert (built / f"cpe-filter_{__version__}-r1_all.ipk").stat().st_size > 100_000
        got = "is not installed here; getting CPython" in done.output
        assert got == (OWN[system.root.name] != minor), done.output
