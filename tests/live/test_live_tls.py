"""What the live filter learns of sessions in TLS: of these the kernel queues the ClientHello and the end, no more."""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.evaluate.sealed import seen_in
from tests.lab.clients import USER
from tests.lab.net import PYTHON, Filter, Lab, mx4, mx6
from tests.lab.peers import Certificate

pytestmark = pytest.mark.live

#: `cpe-filter run`, which writes each size to its log.
TELLING = """
import sys
from cpe_filter.cli.main import main
from cpe_filter.inspect.smtp import Dialogue
tls_ended = Dialogue.tls_ended
def logged(dialogue, size):
    print("tls-bytes", size, file=sys.stderr, flush=True)
    tls_ended(dialogue, size)
Dialogue.tls_ended = logged
sys.exit(main(["run", "--policy", sys.argv[1]]))
"""
SENDER = f"{USER}@home.example"
LETTERS = [  # recipient, text
    ("nobody@friends.example", "Subject: hi\n\nhello\n"),
    ("later@friends.example", "Subject: hi\n\nhello\n"),
    ("ben@friends.example", "Subject: hi\n\nhello\n"),
    ("ben@friends.example", "Subject: hi\n\n" + "A line of the message.\n" * 9000),
]


def start(lab: Lab) -> Filter:
    log = lab.folder / "filter.log"
    policy = lab.policy('[filter]\nmode = "monitor"\n')
    with log.open("w") as file:
        process = lab.start("router", [PYTHON, "-c", TELLING, str(policy)], stderr=file)
    running = Filter(lab, process, log, policy)
    running.wait_for("running:")
    return running


def queued(lab: Lab) -> int:
    """How many packets the kernel has queued."""
    text = lab.run("router", ["nft", "list", "counter", "inet", "cpe_filter", "queued"]).stdout
    found = re.search(r"packets (\d+)", text)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("server", [mx4(40), mx6(40)], ids=["IPv4", "IPv6"])
def test_size_of_a_tls_session_is_what_a_capture_says(live: None, server: str) -> None:
    with Lab(devices=1) as lab:
        files = Certificate(lab.folder).files
        lab.start_servers("--rules", "--certificate", str(files[0]), "--key", str(files[1]))
        running = start(lab)
        path = Path(lab.folder / "all.pcap")
        tcpdump = lab.capture("router", "br-lan", path)
        before = []
        for recipient, text in LETTERS:
            before.append(queued(lab))
            program = [PYTHON, "-m", "tests.lab.letters", server, "--helo", "laptop.home.example", "--starttls"]
            lab.run("device1", program, json.dumps(["", [SENDER, [recipient], text]]))
        time.sleep(0.5)
        before.append(queued(lab))
        lab.stop(tcpdump)
        told = [int(line.split()[1]) for line in running.log().splitlines() if line.startswith("tls-bytes")]
        captured = [seen.size for seen in seen_in(str(path))]
        assert len(told) == len(LETTERS)
        assert told == captured
        refused, put_off, least, large = told
        assert max(refused, put_off) < least < 1000
        assert large > len(LETTERS[3][1])
        # Whatever went through it, hardly a packet of it was queued.
        each = [after - begun for begun, after in pairwise(before)]
        assert max(each) < 20
        assert running.stop() == 0
