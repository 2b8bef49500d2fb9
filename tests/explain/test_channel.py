"""The server's end of the socket to the filter: who is let in, and what happens when no descriptors are left."""

from __future__ import annotations

import os
import resource
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpe_filter.explain.channel import Channel
from cpe_filter.lean.json_text import encode


class Server:
    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "run" / "notice")
        self.poll = select.poll()
        self.channel = Channel(self.poll)
        self.channel.bind(self.path)

    def filter(self) -> socket.socket:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        end.settimeout(5)
        end.connect(self.path)
        return end

    def turn(self) -> list[dict[str, object]]:
        """What `poll` returns now is served; the messages."""
        return [message for fd, _ in self.poll.poll(0) if fd in self.channel for message in self.channel.serve(fd)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.channel.close()


def test_answers_and_pings(server: Server) -> None:
    with server.filter() as end:
        server.turn()
        assert server.channel.is_open
        end.send(encode({"do": "ping"}).encode())
        end.send(encode({"id": 1, "to": "own"}).encode())
        end.send(b"not JSON")
        assert server.turn() == [{"id": 1, "to": "own"}]
        assert end.recv(4096) == encode({"do": "pong"}).encode()
    server.turn()
    assert not server.channel.is_open


def test_the_last_that_has_connected_is_the_filter(server: Server) -> None:
    with server.filter() as first, server.filter() as second:
        server.turn()
        server.turn()
        assert server.channel.send({"do": "x"})
        assert first.recv(4096) == b""
        assert second.recv(4096) == encode({"do": "x"}).encode()


def test_only_root_s_own_may_connect(server: Server) -> None:
    assert os.stat(server.path).st_mode & 0o777 == 0o600


def take_all(taken: list[int]) -> None:
    while True:
        taken.append(os.dup(0))


def test_without_descriptors_it_waits_and_does_not_spin(server: Server) -> None:
    """The filter waits in the kernel meanwhile, and `poll` must not return the listener again and again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with server.filter():
        taken: list[int] = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
            with pytest.raises(OSError, match="Too many open files"):
                take_all(taken)
            server.turn()
            assert server.channel.is_paused
            assert server.poll.poll(0) == []
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        server.turn()
        assert not server.channel.is_open
        server.channel.resume()
        server.turn()
        assert server.channel.is_open
        assert not server.channel.is_paused


def test_what_is_not_a_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "notice").write_text("mine")
    with pytest.raises(OSError, match="not a socket"):
        Channel(select.poll()).bind(str(tmp_path / "notice"))
    assert (tmp_path / "notice").read_text() == "mine"
