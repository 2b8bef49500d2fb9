"""What the running filter has loaded, whatever it was asked: on a small router each module is memory for good.

How much memory that is tests.bench.test_cost measures.
"""

from __future__ import annotations

import json
import signal
import sysconfig
import time
from pathlib import Path

import pytest

from tests.lab.mail import sent
from tests.lab.net import DEADLINE_S, PROJECT, PYTHON, Filter, Lab, mx4

pytestmark = pytest.mark.live

#: What the filter does without, and why it could be tempted. MB are those of an x86-64.
FORBIDDEN = {
    "argparse": "1.4 MB: the command line of `run` is read without (cli)",
    "gettext": "comes with argparse",
    "locale": "comes with subprocess and argparse",
    "typing": "1.1 MB: named_tuple; names that only annotations use are for type checkers alone",
    "re": "0.9 MB",
    "enum": "0.2 MB: plain_signal, plain_socket",
    "signal": "enum",
    "selectors": "comes with socket",
    "subprocess": "0.7 MB: enforce.process",
    "threading": "comes with subprocess",
    "json": "re: json_text writes, and what is read is read apart",
    "tomllib": "1.5 MB with what it imports: policies are read apart",
    "datetime": "comes with tomllib",
    "calendar": "policy.file's",
    "contextlib": "try does",
    "dataclasses": "2.6 MB",
    "pickle": "marshal does",
    "hashlib": "3.8 MB: OpenSSL's library",
    "_sha2": "0.04 MB: not before STARTTLS",
    "_sha256": "the same",
    "binascii": "0.1 MB: zlib's library, for CRC-32: checksum",
    "zlib": "binascii",
    "ctypes": "1 MB",
    "random": "hashlib",
    "shutil": "0.8 MB",
    "tempfile": "shutil, random",
    "pathlib": "re, fnmatch, urllib",
    "logging": "2.3 MB",
    "traceback": "what fails is said in a line",
    "asyncio": "10 MB",
    "ssl": "5.8 MB",
    "http": "7.9 MB",
    "cpe_filter.cli.commands": "other commands'",
    "cpe_filter.toml_file": "apart",
    "cpe_filter.policy.keys": "apart",
    "cpe_filter.policy.kinds": "apart",
    "cpe_filter.policy.file": "apart",
    "cpe_filter.policy.exemptions_file": "apart",
    "cpe_filter.cli.control": "other commands'",
    "cpe_filter.replay.replay": "other commands'",
    "cpe_filter.status.overview": "other commands'",
    "cpe_filter.notice.devices": "the page is made apart",
    "cpe_filter.notice.page": "the page is made apart",
    "cpe_filter.notice.style": "the page is made apart",
    "cpe_filter.texts.notice": "the page is made apart",
    "cpe_filter.texts.en": "the page is made apart",
    "cpe_filter.texts.html": "the page is made apart",
    "cpe_filter.lean.output_file": "the page is made apart",
}
#: A bare interpreter, our modules and the queue's library, as on a router: without what a development install adds.
PROGRAM = f"""
import sys
sys.path[:0] = [{str(PROJECT)!r}, {sysconfig.get_path("platlib")!r}]
from cpe_filter.cli.main import main
try:
    main(["run", "--policy", sys.argv[1]])
finally:
    real = "socket" in sys.modules and sys.modules["socket"].__name__ == "socket"
    print(*sorted(name for name in sys.modules if name != "socket" or real), sep="\\n")
"""


def start(lab: Lab, policy: Path) -> Filter:
    log = lab.folder / "lean.log"
    with log.open("w") as file:
        process = lab.start("router", [PYTHON, "-S", "-c", PROGRAM, str(policy)], stderr=file)
    running = Filter(lab, process, log, policy)
    running.wait_for("running:")
    return running


def told(lab: Lab, policy: Path, *words: str) -> str:
    return lab.run("router", [PYTHON, "-m", "cpe_filter", *words, "--policy", str(policy)]).stdout


def test_the_running_filter_loads_no_more_than_it_must(lab: Lab) -> None:
    page = lab.folder / "notice" / "index.html"
    policy = lab.policy(f'[notice]\npage = "{page}"\n[filter]\nmode = "monitor"\n')
    metrics = lab.folder / "filter.prom"
    text = policy.read_text()
    policy.write_text(text.replace("[status]\n", f'[status]\nmetrics_file = "{metrics}"\nmetrics_interval_s = 1\n'))
    running = start(lab, policy)
    assert sent(lab, mx4(0))
    policy.write_text(policy.read_text().replace('"monitor"', '"limit"'))
    assert "[filter] mode" in told(lab, policy, "reload")
    assert "exemption 1 added" in told(lab, policy, "exempt", "add", "--destination", mx4(1), "--reason", "a test")
    assert len(json.loads(told(lab, policy, "exempt", "list", "--json"))) == 1
    running.process.send_signal(signal.SIGHUP)
    running.wait_for("reload by SIGHUP")
    told(lab, policy, "exempt", "remove", "1")
    lab.nft("router", "flush ruleset")
    running.wait_for("restored")
    end = time.monotonic() + DEADLINE_S
    while not (metrics.exists() and page.exists()) and time.monotonic() < end:
        time.sleep(0.05)
    assert metrics.exists()
    assert page.exists()
    running.process.send_signal(signal.SIGTERM)
    out, _ = running.process.communicate(timeout=DEADLINE_S)
    loaded = set(out.split())
    assert {"cpe_filter.live.daemon", "cpe_filter.notice.notice", "cpe_filter.live.gate"} <= loaded
    assert "netfilterqueue" not in loaded
    assert {name: why for name, why in FORBIDDEN.items() if name in loaded} == {}
    assert "socket" not in loaded, "0.2 MB, and enum: plain_socket"


@pytest.mark.parametrize("name", ["policy", "exemptions"])
def test_a_file_is_read_apart(lab: Lab, name: str) -> None:
    """While the queue is bound, and packets come: the child takes nothing with it when it ends."""
    policy = lab.policy('[filter]\nmode = "monitor"\n')
    running = lab.start_filter(policy)
    for _ in range(10):
        if name == "policy":
            told(lab, policy, "reload")
        else:
            told(lab, policy, "exempt", "add", "--destination", mx4(1), "--reason", "a test")
        assert sent(lab, mx4(0))
    assert lab.run("router", ["pgrep", "-P", str(running.process.pid)], check=False).stdout == ""
    assert running.status()["failures"] == 0
    assert running.stop() == 0
