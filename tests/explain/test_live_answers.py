"""The responder's tests with real programs, a real kernel and the filter: all learn why, and the answers are seen."""

from __future__ import annotations

import pytest

from tests.explain.measure import play
from tests.lab.net import PYTHON, Lab, mx4

pytestmark = pytest.mark.live

#: Talks at once, and then as each reply comes.
HASTY = """
import socket
with socket.create_connection(({server!r}, 25), 60) as server:
    server.sendall(b"HELO hasty.example\\r\\n")
    said = b""
    for line in (b"MAIL FROM:<a@home.example>", b"RCPT TO:<b@friends.example>", b"QUIT"):
        while not said.endswith(b"\\n") or said.startswith(b"220-") and b"\\n250 " not in said:
            said += server.recv(4096)
        print(said.decode(), end="")
        said = b""
        server.sendall(line + b"\\r\\n")
    print(server.recv(4096).decode(), end="")
"""


def test_programs_get_the_text_and_their_answers_are_seen(live: None) -> None:
    found = play(["smtplib", "smtplib, TLS required"])
    for _, shown in found.values():
        assert "Not from this line." in shown
    assert {name: answers for name, (answers, _) in found.items()} == {
        "smtplib": ["waited", "declined-tls", "coped"],
        "smtplib, TLS required": ["waited", "took-tls"],
    }


def test_the_filter_reads_the_answers_behind_the_kernel_s_redirect(lab: Lab) -> None:
    policy = lab.policy('[filter]\nmode = "block"\n[explain]\ntext = "Not from here."\ntests = true\n')
    lab.start_responder(policy)
    running = lab.start_filter(policy)
    hasty = lab.start("device2", [PYTHON, "-c", HASTY.format(server=mx4(0))])
    letter = (
        "import smtplib\n"
        f"with smtplib.SMTP({mx4(1)!r}, 25, 'a.home.example', timeout=60) as server:\n"
        "    try: server.sendmail('ann@home.example', ['ben@friends.example'], 'Hello.')\n"
        "    except smtplib.SMTPRecipientsRefused as error: print(error)\n"
    )
    assert "450, b'4.7.1 Not from here." in lab.run("device1", [PYTHON, "-c", letter]).stdout
    said, _ = hasty.communicate(timeout=60)
    assert "450 4.7.1 Not from here." in said
    patient, early = running.device("device1"), running.device("device2")
    assert patient is not None
    assert early is not None
    assert "early-talk" in str(early)
    assert "early-talk" not in str(patient)
    assert "declines-tls" in str(patient)
    assert lab.mail() == []
