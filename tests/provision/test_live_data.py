"""Signed wordings and a signed table on a running filter: a refusal that the built-in rows judge wrongly is judged
right at once, and as before after a rollback."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cpe_filter.collect import signing
from cpe_filter.detect import rates
from cpe_filter.detect.evidence import INDICATORS
from tests.lab.net import DEADLINE_S, PYTHON, Filter, Lab, mx4
from tests.provision.test_live_policy import _APPLY
from tests.signed import making

pytestmark = pytest.mark.live
#: Strangers that refuse by "blocked using xbl.example" (tests.lab.servers).
LISTING = (2, 7, 12, 17, 22)


def document(folder: Path, kind: str, content: str, sequence: int) -> str:
    now = int(time.time())
    header = signing.Header(kind, sequence, now - 60, now + 86400, ("*",))
    path = folder / f"{kind}-{sequence}.signed"
    path.write_bytes(making.key("detector").sign((signing.header(header) + content).encode()))
    return str(path)


class Router:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        base = lab.policy('[filter]\nmode = "monitor"\n', "own.toml")
        self.keys = making.folder_of(lab.folder, detector=making.key("detector"))
        self.out = lab.folder / "policy.toml"
        self.files = ["--policy", str(base), "--out", str(self.out), "--folder", str(lab.folder / "provision")]
        self.words = [str(base), str(self.out), str(lab.folder / "provision"), self.keys, str(lab.folder / "control")]
        lab.run("router", [PYTHON, "-m", "cpe_filter", "policy", "make", *self.files])
        self.running: Filter = lab.start_filter(self.out)

    def apply(self, kind: str, content: str, sequence: int) -> None:
        path = document(self.lab.folder, kind, content, sequence)
        done = self.lab.run("router", [PYTHON, "-c", _APPLY, path, *self.words, "25", "0.5"], check=False)
        assert done.returncode == 0, done.stderr

    def in_force(self, names: dict[str, int]) -> None:
        """Waits for a status that says so."""
        end = time.monotonic() + DEADLINE_S
        while (found := self.signed()) != names:
            assert time.monotonic() < end, found
            time.sleep(0.05)

    def signed(self) -> dict[str, int]:
        return {kind: int(name.split()[0]) for kind, name in self.running.status().get("signed", {}).items()}

    def listed_after(self, number: int, connections: int) -> tuple[int, float]:
        """The device's mail meets a server; how often a list has named it since, and what that weighs in all."""
        self.lab.run("device1", [PYTHON, "-m", "tests.lab.send", mx4(number)], check=False)
        end = time.monotonic() + DEADLINE_S
        while not (device := self.running.device("device1")) or device["connections"] < connections:
            assert time.monotonic() < end, device
            time.sleep(0.05)
        time.sleep(1.2)  # the status after the end of the connection
        device = self.running.device("device1")
        assert device is not None
        found = [one for one in device["evidence"] if one["indicator"] == "dnsbl-listed"]
        return (found[0]["count"], found[0]["weight"]) if found else (0, 0.0)


def test_wordings_and_a_table_count_at_once_and_until_the_rollback(lab: Lab) -> None:
    router = Router(lab)
    router.apply("replies", making.replies(), 3)
    router.in_force({"replies": 3})
    assert router.listed_after(LISTING[0], 1)[0] == 1
    router.apply("replies", making.replies("mixed-list: =xbl"), 4)
    router.in_force({"replies": 4})
    assert "[signed]" in router.running.log()
    assert router.listed_after(LISTING[1], 2)[0] == 1
    text = lab.run("router", [PYTHON, "-m", "cpe_filter", "status", "--file", str(lab.folder / "status.json")]).stdout
    assert "signed documents in force: replies 4\n" in text

    back = ["policy", "rollback", "--type", "replies", *router.files, "--socket", str(lab.folder / "control")]
    lab.run("router", [PYTHON, "-m", "cpe_filter", *back])
    router.in_force({"replies": 3})
    count, weight = router.listed_after(LISTING[2], 3)
    assert count == 2

    own = INDICATORS["dnsbl-listed"]
    harmless = rates.encode({"dnsbl-listed": rates.Row(own.bot, tuple(max(own.bot, one) for one in own.usual))})
    router.apply("table", f'[table]\nrates = """\n{harmless.decode()}"""\n', 8)
    router.in_force({"replies": 3, "table": 8})
    assert router.listed_after(LISTING[3], 4) == (3, weight)
