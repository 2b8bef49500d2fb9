"""The lean replacements for socket and signal compared with the standard library's modules."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from types import ModuleType

import pytest

from cpe_filter.lean import plain_signal, plain_socket
from tests.lab.net import PROJECT


@pytest.mark.parametrize(("plain", "whole"), [(plain_socket, socket), (plain_signal, signal)])
def test_names_mean_the_same(plain: ModuleType, whole: ModuleType) -> None:
    constants = [name for name, value in vars(plain).items() if name.isupper() and isinstance(value, int)]
    assert len(constants) > 10
    assert {name for name in constants if getattr(plain, name) != getattr(whole, name, None)} <= {"TYPE_CHECKING"}


def test_nothing_more_is_imported() -> None:
    program = (
        "import sys; from cpe_filter.lean import plain_signal, plain_socket; "
        "print([name for name in ('enum', 'selectors', 'signal', 'socket') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(PROJECT)!r}); {program}"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[]\n"


def test_a_conversation() -> None:
    with plain_socket.socket(plain_socket.AF_UNIX, plain_socket.SOCK_SEQPACKET) as listener:
        fd = listener.fileno()
        assert not os.get_inheritable(fd)
        listener.bind(f"\0cpe-filter-test-{os.getpid()}")
        listener.listen(1)
        client = plain_socket.socket(plain_socket.AF_UNIX, plain_socket.SOCK_SEQPACKET)
        client.settimeout(5)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server, client:
            assert type(server) is plain_socket.socket
            assert not os.get_inheritable(server.fileno())
            client.send(b"one")
            assert server.recv(9) == b"one"
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.recv(9)
        assert server.fileno() == client.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_socket_of_a_descriptor() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, plain_socket.socket(fileno=os.dup(ours.fileno())) as same:
        assert (same.family, same.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.send(b"x")
        assert same.recv(9) == b"x"
