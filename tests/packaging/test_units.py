"""The systemd units: valid, hardened, and of the same mind as the program."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cpe_filter.collect.arguments import DEFAULT_CONFIG
from tests.lab.net import PROJECT

UNITS = PROJECT / "packaging" / "systemd"
SERVICES = ["cpe-collector.service", "cpe-collector@.service", "cpe-collector-doctor.service"]
#: systemd's figure for the exposure of a service, from 0 to 10 (systemd-analyze security).
MOST_EXPOSED = 1.1


@pytest.mark.parametrize("name", SERVICES)
def test_exposure(name: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    words = ["systemd-analyze", "security", "--offline=true", "--json=short", f"--threshold={MOST_EXPOSED * 10:.0f}"]
    done = subprocess.run([*words, UNITS / name], capture_output=True, text=True)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is older than 250")
    found = json.loads(done.stdout)
    bad = [one["name"] for one in found if one.get("set") is False and (one.get("exposure") or 0) not in (None, "0")]
    assert done.returncode == 0, bad


def test_the_units_are_valid(tmp_path: Path) -> None:
    """With the program where the package has it: systemd-analyze looks for it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    for path in UNITS.glob("*.[st]*"):
        text = path.read_text().replace("/usr/bin/cpe-filter", "/bin/true")
        text = re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE)
        (tmp_path / path.name.replace("@.", "@ingest.")).write_text(text)
    files = [path for path in tmp_path.iterdir() if path.suffix in (".service", ".timer")]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "cpe-collector" in line]
    assert not ours


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_started_is_a_command(name: str) -> None:
    (line,) = re.findall(
        r"^ExecStart=/usr/bin/cpe-filter collector --config (\S+) (\S+)$", (UNITS / name).read_text(), re.MULTILINE
    )
    assert line[0] == DEFAULT_CONFIG
    assert line[1] in ("run", "%i", "doctor")
    assert f"ConditionPathExists={DEFAULT_CONFIG}" in (UNITS / name).read_text()


def test_the_services_have_the_same_rights() -> None:
    """All that limits is in each."""
    kinds = "Protect|Private|Restrict|SystemCall|Capability|User|Lock|Memory|NoNew"
    limits = [set(re.findall(rf"^((?:{kinds}).*)$", (UNITS / name).read_text(), re.MULTILINE)) for name in SERVICES]
    assert limits[0] == limits[1] == limits[2]
    assert len(limits[0]) > 20
