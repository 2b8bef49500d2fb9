"""The Debian package of the ISP's side on a bare system: built, clean by lintian, installed, used, upgraded, purged."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from cpe_filter import __version__
from tests.stock.system import System

FOLDER = "/root/cpe-filter"
NEEDED = "build-essential debhelper dh-python python3-pip python3-setuptools python3-venv lintian make"
RELEASE = {"bookworm": "deb12", "trixie": "deb13"}


@pytest.fixture(scope="module")
def built(system: System) -> str:
    """The path of the package in the system."""
    if os.environ.get("STOCK") != "all":
        pytest.skip("five minutes, in `make stock`")
    system.give(FOLDER)
    system.must(f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {NEEDED}")
    done = system.must("python3 -m tools.deb", folder=FOLDER)
    print(f"{system.root.name}: make deb: {done.seconds:.0f} s; {done.output.strip().splitlines()[-1]}")
    name = f"cpe-filter-collector_{__version__}+{RELEASE[system.root.name]}_amd64.deb"
    return f"{FOLDER}/build/deb/{name}"


def test_lintian_finds_nothing(system: System, built: str) -> None:
    done = system.must(f"lintian --allow-root --fail-on error,warning --tag-display-limit 0 {built}")
    assert not re.search(r"^[EW]: ", done.output, re.MULTILINE), done.output


def test_from_the_installation_to_the_purge(system: System, built: str) -> None:
    # A new copy of the package with a later version is an upgrade.
    done = system.must(f"apt-get install -y -qq --no-install-recommends {built}")
    print(f"{system.root.name}: installed in {done.seconds:.0f} s")
    assert system.must("cpe-filter --version").output == f"cpe-filter {__version__}\n"
    assert system.must("stat -c '%U:%G %a' /etc/cpe-filter /var/lib/cpe-filter").output.splitlines() == [
        "root:cpe-collector 750",
        "cpe-collector:cpe-collector 700",
    ]
    root: Path = system.root
    for name in ("man8/cpe-filter.8", "man8/cpe-collector.8", "man5/cpe-filter-policy.5", "man5/cpe-collector.toml.5"):
        assert (root / f"usr/share/man/{name}.gz").exists(), name
    assert (root / "usr/share/bash-completion/completions/cpe-filter").exists()
    assert (root / "usr/share/zsh/vendor-completions/_cpe-filter").exists()
    units = [path.name for path in (root / "usr/lib/systemd/system").glob("cpe-collector*")]
    units += [path.name for path in (root / "lib/systemd/system").glob("cpe-collector*")]
    assert {*units} == {
        "cpe-collector.service", "cpe-collector@.service", "cpe-collector-doctor.service", "cpe-collector-doctor.timer",
    }  # fmt: skip
    enabled = root / "etc/systemd/system/multi-user.target.wants/cpe-collector.service"
    assert enabled.is_symlink()

    as_service = "setpriv --reuid=cpe-collector --regid=cpe-collector --init-groups"
    system.must("cpe-filter collector init /root/trial && cp -a /root/trial/* /etc/cpe-filter/")
    moved = "s#/root/trial/collector.db#/var/lib/cpe-filter/collector.db#; s#/root/trial#/etc/cpe-filter#"
    system.must(f"sed -i '{moved}' /etc/cpe-filter/collector.toml")
    system.must("chgrp cpe-collector /etc/cpe-filter/* && chmod 640 /etc/cpe-filter/*")
    assert system.run(f"{as_service} cpe-filter collector check").code == 0
    running = (
        f"{as_service} cpe-filter collector run 2>/tmp/log & pid=$!; "
        "for n in 1 2 3 4 5 6 7 8 9 10; do grep -q started /tmp/log && break; sleep 1; done; "
        f"{as_service} cpe-filter collector doctor; code=$?; kill $pid; wait $pid; exit $code"
    )
    done = system.run(running)
    assert done.code == 0, done.output
    assert " 0 failed" in done.output
    system.must(f"cpe-filter replay {FOLDER}/pcaps/*.pcap >/dev/null")

    later = __version__ + "+later"
    system.must(
        f"dpkg-deb -R {built} /tmp/later && sed -i 's/^Version: .*/Version: {later}/' /tmp/later/DEBIAN/control"
        " && dpkg-deb -b /tmp/later /tmp/later.deb && apt-get install -y -qq /tmp/later.deb"
    )
    assert system.must("dpkg-query -W -f '${Version}' cpe-filter-collector").output == later
    assert (root / "var/lib/cpe-filter/collector.db").exists()
    assert system.run(f"{as_service} cpe-filter collector check").code == 0

    system.must("apt-get remove -y -qq cpe-filter-collector")
    assert not (root / "usr/bin/cpe-filter").exists()
    assert (root / "var/lib/cpe-filter/collector.db").exists(), "removal keeps data"
    system.must("apt-get purge -y -qq cpe-filter-collector")
    assert not (root / "var/lib/cpe-filter").exists()
    assert not (root / "usr/lib/cpe-filter").exists()
    assert (root / "etc/cpe-filter/server.key").exists(), "what people made stays"
