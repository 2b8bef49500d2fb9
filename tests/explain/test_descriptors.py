"""The responder with hardly any descriptors left: the notice is served all the same, and the longest silent clients
make room."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.net import DEADLINE_S, PROJECT, PYTHON
from tests.ports import free_port

#: What the process itself takes, with room for a few clients: fewer than it would otherwise serve.
DESCRIPTORS = 24


class Served:
    """`cpe-filter explain` with a low limit, and a filter that answers it."""

    def __init__(self, folder: Path) -> None:
        self.smtp, self.http = free_port(), free_port()
        policy = folder / "policy.toml"
        policy.write_text(
            f'[status]\nstatus_file = "{folder}/status.json"\n[explain]\nport = {self.smtp}\ntests = false\n'
            f"[notice]\nshow_port = {self.http}\n"
        )

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

        self.process = subprocess.Popen(
            [PYTHON, "-m", "cpe_filter", "explain", "--policy", str(policy)],
            cwd=PROJECT,
            stderr=subprocess.PIPE,
            preexec_fn=limit,
        )
        assert self.process.stderr is not None
        assert b"explaining on port" in self.process.stderr.readline()
        self.filter = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.filter.settimeout(DEADLINE_S)
        self.filter.connect(str(folder / "notice"))

    def hold(self, port: int, count: int, say: bytes = b"") -> list[socket.socket]:
        """Clients that say nothing more, each with an address of its own."""
        held = []
        for number in range(count):
            client = socket.socket()
            client.settimeout(2)
            client.bind((f"127.0.{port % 200}.{number + 1}", 0))
            client.connect(("127.0.0.1", port))
            client.sendall(say)
            held.append(client)
        return held

    def get(self, host: str, answer: bool = False) -> bytes:
        client = socket.create_connection(("127.0.0.1", self.http), DEADLINE_S)
        client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        while answer:
            asked = json.loads(self.filter.recv(4096))
            if asked.get("do") == "page":
                reply = {"id": asked["id"], "to": "own", "devices": [], "releases": 2, "reports": False}
                self.filter.send(json.dumps(reply).encode())
                break
        out = b""
        while data := client.recv(65536):
            out += data
        client.close()
        return out


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.process.terminate()
    served.process.wait(DEADLINE_S)
    served.filter.close()
    assert served.process.stderr is not None
    served.process.stderr.close()


@pytest.mark.parametrize("whose", ["http", "smtp", "both"])
def test_without_descriptors_the_notice_goes_on(served: Served, whose: str) -> None:
    held = []
    if whose in ("smtp", "both"):
        held += served.hold(served.smtp, 20)
    if whose in ("http", "both"):
        held += served.hold(served.http, 20, b"GET / HTTP/1.1\r\n")
    for _ in range(5):
        began = time.monotonic()
        assert served.get("news.example").startswith(b"HTTP/1.1 302 ")
        # Not at the next second's turn, nor when the others have been silent for too long.
        assert time.monotonic() - began < DEADLINE_S
    # The first page loads code and words.
    assert b"Nothing about this device" in served.get(f"127.0.0.1:{served.http}", answer=True)
    assert served.process.poll() is None
    for client in held:
        client.close()
