"""The wheel by pip, with its extras from the package index, in a clean virtual environment of a bare system."""

from __future__ import annotations

import os

import pytest

from cpe_filter import __version__
from tests.stock.system import System

FOLDER = "/root/cpe-filter"


def test_what_is_documented_works(system: System) -> None:
    if os.environ.get("STOCK") != "all":
        pytest.skip("a download of 60 MB, in `make stock`")
    system.give(FOLDER)
    system.must("apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv tzdata")
    system.must(f"python3 -m venv /root/build && /root/build/bin/pip wheel -q --no-deps -w /root/wheels {FOLDER}")
    system.must("python3 -m venv /root/bare && /root/bare/bin/pip install -q --no-deps /root/wheels/*.whl")
    # All that a router's filter needs is Python's own.
    assert system.must("/root/bare/bin/cpe-filter --version").output == f"cpe-filter {__version__}\n"
    system.must(f"/root/bare/bin/cpe-filter check {FOLDER}/openwrt/policy.toml")
    without = system.run("/root/bare/bin/cpe-filter collector init /root/none")
    assert without.code == 2
    assert without.output.startswith("cpe-filter: collector needs "), without.output
    wheel = f"$(ls /root/wheels/cpe_filter-{__version__}-*.whl)"
    done = system.must(f'python3 -m venv /root/full && /root/full/bin/pip install -q "{wheel}[collector,replay]"')
    print(f"{system.root.name}: wheel with extras: {done.seconds:.0f} s")
    program = "/root/full/bin/cpe-filter"
    system.must(
        f"{program} collector init /root/trial && {program} collector --config /root/trial/collector.toml check"
    )
    assert "ok    configuration" in system.run(f"{program} collector --config /root/trial/collector.toml doctor").output
    system.must(f"{program} replay {FOLDER}/pcaps/bot-sprayer.pcap >/dev/null")
