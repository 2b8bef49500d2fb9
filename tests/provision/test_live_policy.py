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


def mode(running: Filter) -> str:
    return str(running.status()["mode"])


def sent(lab: Lab) -> str:
    return lab.run("device1", [PYTHON, "-m", "tests.lab.send", mx4(40)], check=False).stdout


def test_mail_that_passed_and_is_refused_takes_a_document_back(lab: Lab) -> None:
    base = lab.policy('[filter]\nmode = "limit"\n[limits]\nmessages_per_hour = 7200\n', "own.toml")
    keys = making.folder_of(lab.folder, policy=making.key("isp"))
    out = lab.folder / "policy.toml"
    files = ["--policy", str(base), "--out", str(out), "--folder", str(lab.folder / "provision"), "--keys", keys]
    lab.run("router", [PYTHON, "-m", "cpe_filter", "policy", "make", *files])
    running = lab.start_filter(out)
    assert sent(lab).startswith("sent")
    end = time.monotonic() + 20
    while not (device := running.device("device1")) or not device["messages"]:
        assert time.monotonic() < end
        time.sleep(0.2)

    tight = "[limits]\nmessages_per_hour = 1\nmessages_burst = 1\n"
    for number, content, code in ((3, tight, 4), (4, '[explain]\ntext = "Mail is refused."\n', 0)):
        words = [str(document(lab.folder, content, number)), str(base), str(out), str(lab.folder / "provision"), keys]
        errors = lab.folder / f"{number}.err"
        with errors.open("w") as told:
            arguments = [PYTHON, "-c", _APPLY, *words, str(lab.folder / "control"), "25", "12"]
            trying = lab.start("router", arguments, stderr=told)
        running.wait_for("limits" if code else "explain")
        answers = []
        for _ in range(3):
            answers.append(sent(lab))
            time.sleep(0.6)  # by then there is a token again
        assert trying.wait(40) == code, errors.read_text()
        assert ("was taken back: mail" in errors.read_text()) is bool(code)
        assert all(one.startswith("sent") for one in answers) is not bool(code)


def test_applied_and_taken_back(lab: Lab) -> None:
    base = lab.policy('[filter]\nmode = "block"\n', "own.toml")
    keys = making.folder_of(lab.folder, policy=making.key("isp"))
    out = lab.folder / "policy.toml"
    files = ["--policy", str(base), "--out", str(out), "--folder", str(lab.folder / "provision"), "--keys", keys]
    lab.run("router", [PYTHON, "-m", "cpe_filter", "policy", "make", *files])
    running = lab.start_filter(out)
    assert mode(running) == "block"

    def apply(path: Path, limit: float = 8.0, settle: float = 1.0) -> list[str]:
        words = [str(path), str(base), str(out), str(lab.folder / "provision"), keys, str(lab.folder / "control")]
        return [PYTHON, "-c", _APPLY, *words, str(limit), str(settle)]

    done = lab.run("router", apply(document(lab.folder, '[filter]\nmode = "monitor"\n', 3)), check=False)
    assert done.returncode == 0, done.stderr
    time.sleep(1.2)
    assert mode(running) == "monitor"
    assert "mode" in running.log()

    # While the next one is tried the filter dies.
    trying = lab.start("router", apply(document(lab.folder, '[filter]\nmode = "limit"\n', 4), settle=4.0))
    end = time.monotonic() + 20
    while 'mode = "limit"' not in out.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)
    running.process.kill()
    assert trying.wait(30) == 4
    assert 'mode = "monitor"' in out.read_text()
    bad = json.loads((lab.folder / "provision" / "policy" / "bad").read_text())
    assert list(bad.values()) == ["after it: filter"]
    shown = lab.run("router", [PYTHON, "-m", "cpe_filter", "policy", "status", *files[4:]]).stdout
    assert shown.startswith("in force:  policy 3, ")

    # By the command itself, where no filter runs: the next one reads the file.
    again = lab.run("router", [PYTHON, "-m", "cpe_filter", "policy", "rollback", *files], check=False)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    running = lab.start_filter(out)
    assert mode(running) == "monitor"
