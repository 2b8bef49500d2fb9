"""A signed policy on a running filter: it counts at once, and one under which something fails is taken back."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from cpe_filter.collect import signing
from tests.lab.net import PYTHON, Filter, Lab, mx4
from tests.signed import making

pytestmark = pytest.mark.live

_APPLY = """
import sys
from cpe_filter.cli.control import Filter
from cpe_filter.provision import command, trial
from cpe_filter.provision.place import Place
document, base, out, folder, keys, socket, limit, settle = sys.argv[1:]
trial.LOOK_S = 0.5
place = Place(base, out, folder, keys, limit_s=float(limit), settle_s=float(settle))
sys.exit(command.apply(document, place, lambda: Filter(socket).do({"do": "reload"})))
"""


def document(folder: Path, content: str, sequence: int) -> Path:
    now = int(time.time())
    header = signing.Header("policy", sequence, now - 60, now + 86400, ("*",))
    path = folder / f"{sequence}.signed"
    path.write_bytes(making.key("isp").sign((signing.header(header) + content).encode()))
    return path


class Provisioned:
    """A router in the lab with a policy of its own, and the ISP's key. files: for `cpe-filter policy`."""

    def __init__(self, lab: Lab, text: str) -> None:
        base, self.out = lab.policy(text, "own.toml"), lab.folder / "policy.toml"
        keys = making.folder_of(lab.folder, policy=making.key("isp"))
        folder = str(lab.folder / "provision")
        self.files = ["--policy", str(base), "--out", str(self.out), "--folder", folder, "--keys", keys]
        self._words = [str(base), str(self.out), folder, keys, str(lab.folder / "control")]
        lab.run("router", [PYTHON, "-m", "cpe_filter", "policy", "make", *self.files])

    def apply(self, path: Path, limit: float = 8.0, settle: float = 1.0) -> list[str]:
        """The command that tries a document, in seconds."""
        return [PYTHON, "-c", _APPLY, str(path), *self._words, str(limit), str(settle)]


def mode(running: Filter) -> str:
    return str(running.status()["mode"])


def sent(lab: Lab) -> str:
    return lab.run("device1", [PYTHON, "-m", "tests.lab.send", mx4(40)], check=False).stdout


def test_mail_that_passed_and_is_refused_takes_a_document_back(lab: Lab) -> None:
    it = Provisioned(lab, '[filter]\nmode = "limit"\n[limits]\nmessages_per_hour = 7200\n')
    running = lab.start_filter(it.out)
    assert sent(lab).startswith("sent")
    end = time.monotonic() + 20
    while not (device := running.device("device1")) or not device["messages"]:
        assert time.monotonic() < end
        time.sleep(0.2)

    tight = "[limits]\nmessages_per_hour = 1\nmessages_burst = 1\n"
    for number, content, code in ((3, tight, 4), (4, '[explain]\ntext = "Mail is refused."\n', 0)):
        errors = lab.folder / f"{number}.err"
        with errors.open("w") as told:
            trying = lab.start("router", it.apply(document(lab.folder, content, number), 25, 12), stderr=told)
        running.wait_for("limits" if code else "explain")
        answers = []
        for _ in range(3):
            answers.append(sent(lab))
            time.sleep(0.6)  # by then there is a token again
        assert trying.wait(40) == code, errors.read_text()
        assert ("was taken back: mail" in errors.read_text()) is bool(code)
        assert all(one.startswith("sent") for one in answers) is not bool(code)


def test_applied_and_taken_back(lab: Lab) -> None:
    it = Provisioned(lab, '[filter]\nmode = "block"\n')
    running = lab.start_filter(it.out)
    assert mode(running) == "block"

    done = lab.run("router", it.apply(document(lab.folder, '[filter]\nmode = "monitor"\n', 3)), check=False)
    assert done.returncode == 0, done.stderr
    time.sleep(1.2)
    assert mode(running) == "monitor"
    assert "mode" in running.log()

    # While the next one is tried the filter dies.
    trying = lab.start("router", it.apply(document(lab.folder, '[filter]\nmode = "limit"\n', 4), settle=4.0))
    end = time.monotonic() + 20
    while 'mode = "limit"' not in it.out.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)
    running.process.kill()
    assert trying.wait(30) == 4
    assert 'mode = "monitor"' in it.out.read_text()
    bad = json.loads((lab.folder / "provision" / "policy" / "bad").read_text())
    assert list(bad.values()) == ["after it: filter"]
    shown = lab.run("router", [PYTHON, "-m", "cpe_filter", "policy", "status", *it.files[4:]]).stdout
    assert shown.startswith("in force:  policy 3, ")

    # By the command itself, where no filter runs: the next one reads the file.
    again = lab.run("router", [PYTHON, "-m", "cpe_filter", "policy", "rollback", *it.files], check=False)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    running = lab.start_filter(it.out)
    assert mode(running) == "monitor"
