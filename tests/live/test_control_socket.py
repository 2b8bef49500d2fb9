"""The control socket against real sockets: who is let in, bounds in clients, bytes and time, stale and live sockets."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpe_filter.live import control_socket
from cpe_filter.live.control_socket import (
    ANSWER,
    CLIENTS,
    PATIENCE_S,
    REQUEST,
    ControlSocket,
    NoAnswerError,
    NotRunningError,
    Peer,
    SocketInUseError,
    ask,
    holder_of,
)
from tests.lab.net import DEADLINE_S, PROJECT

_quiet = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Served:
    """A control socket and what it was asked. `turn` does what waits, as the filter's loop does."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "run" / "control")
        self.log: list[str] = []
        self.asked: list[tuple[Peer, dict[str, Any]]] = []
        self.answer: Any = {"lines": ["done"]}
        self.poll = select.poll()
        self.socket = ControlSocket(self.path, self.poll, self.handle, self.log.append)

    def handle(self, peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((peer, request))
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: dict[str, Any] = self.answer
        return answer

    def turn(self, wait_ms: int = 50) -> int:
        """How many descriptors had something."""
        found = self.poll.poll(wait_ms)
        for fd, _ in found:
            if fd in self.socket:
                self.socket.serve(fd)
        return len(found)

    def client(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.settimeout(5)
        client.connect(self.path)
        return client

    def raw(self, request: bytes) -> dict[str, Any]:
        """The answer to these bytes."""
        with self.client() as client:
            client.send(request)
            while self.turn():
                pass
            found: dict[str, Any] = json.loads(client.recv(ANSWER + 1))
            return found


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.socket.close()


@contextmanager
def in_background(served: Served) -> Iterator[None]:
    """The loop runs meanwhile."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            served.turn()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def is_over(client: socket.socket) -> bool:
    """The other side has closed the connection."""
    try:
        return client.recv(9) == b""
    except ConnectionResetError:
        return True


def test_request_and_answer(served: Served) -> None:
    with in_background(served):
        assert ask(served.path, {"do": "reload", "name": "ü\udcff"}) == {"lines": ["done"]}
    ((peer, request),) = served.asked
    assert peer == Peer(os.getpid(), os.getuid())
    assert request == {"do": "reload", "name": "ü\udcff"}


def test_only_for_its_owner(served: Served) -> None:
    about = os.stat(served.path)
    assert stat.S_ISSOCK(about.st_mode)
    assert about.st_mode & 0o777 == 0o600


def test_a_peer_of_another_uid_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the file's mode lets it in."""
    monkeypatch.setattr(control_socket, "_credentials", lambda client: (7, os.geteuid() + 1, 0))
    with served.client() as client:
        client.send(b"{}")
        served.turn()
        assert is_over(client)
    assert served.asked == []
    assert f"refused process 7 of uid {os.geteuid() + 1}" in served.log[0]
    assert len(served.socket) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_somebody_else_really() -> None:
    folder = Path(tempfile.mkdtemp())
    served = Served(folder)
    os.chmod(served.path, 0o666)  # noqa: S103
    os.chmod(folder, 0o755)  # noqa: S103
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            with served.client() as client:
                code = 0 if is_over(client) else 2
        finally:
            os._exit(code)
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        served.turn()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    served.socket.close()
    shutil.rmtree(folder)
    assert served.asked == []
    assert "of uid 65534" in served.log[0]


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (b"x" * (REQUEST + 1), "too long"),
        (b'{"do":"' + b"x" * 100000 + b'"}', "too long"),
        (b"reload", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"\xff\xfe\xfd", "not a JSON object"),
        (b"[" * REQUEST, "not a JSON object"),
        (b"1" * REQUEST, "not a JSON object"),
    ],
)
def test_requests_that_are_none(served: Served, request_: bytes, says: str) -> None:
    assert says in served.raw(request_)["error"]
    assert served.asked == []


def test_the_longest_request(served: Served) -> None:
    empty = len(json.dumps({"do": ""}))
    assert served.raw(json.dumps({"do": "x" * (REQUEST - empty)}).encode()) == {"lines": ["done"]}


def test_one_request_each(served: Served) -> None:
    with served.client() as client:
        client.send(b"{}")
        client.send(b"{}")
        while served.turn():
            pass
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.send(b"{}")
    assert len(served.asked) == 1


def test_who_says_nothing_is_sent_away(served: Served) -> None:
    served.socket.tick(100.0)
    with served.client() as client:
        served.turn()
        assert len(served.socket) == 1
        served.socket.tick(100.0 + PATIENCE_S)
        assert len(served.socket) == 1
        served.socket.tick(100.1 + PATIENCE_S)
        assert len(served.socket) == 0
        assert is_over(client)


def test_clients_that_wait_make_room(served: Served) -> None:
    silent = []
    for _ in range(3 * CLIENTS):
        silent.append(served.client())
        served.turn()
        assert len(served.socket) <= CLIENTS
    assert served.raw(b"{}") == {"lines": ["done"]}
    for client in silent:
        client.close()
    while served.turn():
        pass
    assert len(served.socket) == 0


def test_who_has_gone_before_the_answer(served: Served) -> None:
    for _ in range(20):
        client = served.client()
        client.send(b"{}")
        client.close()
        served.client().close()
        while served.turn():
            pass
    assert len(served.socket) == 0
    assert len(served.asked) == 20


def test_what_the_handler_raises_is_an_answer(served: Served) -> None:
    served.answer = KeyError("a defect")
    assert served.raw(b"{}")["error"] == "internal error: KeyError: 'a defect'"
    assert served.log == ["control: internal error: KeyError: 'a defect'"]
    served.answer = {"x": object()}
    assert "internal error: TypeError" in served.raw(b"{}")["error"]
    served.answer = {"x": "y" * ANSWER}
    assert served.raw(b"{}") == {"error": "the answer is too long"}


@_quiet
@given(st.binary(min_size=1, max_size=REQUEST + 100))
def test_whatever_comes_is_answered(tmp_path_factory: pytest.TempPathFactory, request_: bytes) -> None:
    served = Served(tmp_path_factory.mktemp("x"))
    try:
        answer = served.raw(request_)
        assert set(answer) in ({"error"}, {"lines"})
    finally:
        served.socket.close()


# ── answers that take their time ────────────────────────────────────────────────────────────────────


class Slow:
    """An answer that is there when `done` was called."""

    def __init__(self, answer: Any = None) -> None:
        self.fd, self._write = os.pipe()
        self.answer = answer or {"lines": ["at last"]}
        self.advanced = 0

    def done(self) -> None:
        os.write(self._write, b"x")

    def advance(self) -> Any:
        self.advanced += 1
        if not select.select([self.fd], [], [], 0)[0]:
            return None
        self.close()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._write)


def received(client: socket.socket) -> Any:
    with client:
        return json.loads(client.recv(ANSWER + 1))


def begun(served: Served, slow: Slow) -> socket.socket:
    """A client whose answer takes its time."""
    served.answer = slow
    client = served.client()
    client.send(b'{"do":"slow"}')
    while served.turn():
        pass
    served.answer = {"lines": ["done"]}
    return client


def test_an_answer_that_takes_its_time(served: Served) -> None:
    slow = Slow()
    client = begun(served, slow)
    for second in range(40):  # longer than the patience with a client that says nothing
        served.socket.tick(float(second))
    assert served.turn() == 0
    slow.done()
    assert served.turn() == 1
    assert received(client) == {"lines": ["at last"]}
    assert len(served.socket) == 0
    assert served.raw(b"{}") == {"lines": ["done"]}


def test_meanwhile_others_wait_and_are_answered_then(served: Served) -> None:
    early = served.client()  # let in before
    served.turn()
    slow = Slow()
    client = begun(served, slow)
    late = served.client()
    for other in (early, late):
        other.send(b'{"do":"x"}')
    for second in range(10):
        served.socket.tick(float(second))
        assert served.turn(1) == 0
    assert [request["do"] for _, request in served.asked] == ["slow"]
    slow.done()
    while served.turn():
        pass
    assert received(client) == {"lines": ["at last"]}
    assert received(early) == received(late) == {"lines": ["done"]}


def test_clients_that_hang_up_meanwhile_wake_nobody(served: Served) -> None:
    other = served.client()
    served.turn()
    slow = Slow()
    client = begun(served, slow)
    other.close()
    client.close()
    assert served.turn() == 0
    slow.done()
    while served.turn():
        pass
    assert len(served.socket) == 0
    assert served.raw(b"{}") == {"lines": ["done"]}


def test_what_is_not_readable_is_asked_each_second(served: Served) -> None:
    slow = Slow()
    slow.done()
    read, slow.fd = slow.fd, -1  # a child that the kernel holds
    client = begun(served, slow)
    assert served.turn() == 0
    slow.fd = read
    served.socket.tick(1.0)
    assert received(client) == {"lines": ["at last"]}


def test_one_that_waits_for_another(served: Served) -> None:
    second = Slow()
    first = Slow(second)
    client = begun(served, first)
    first.done()
    assert served.turn() == 1
    assert served.turn() == 0
    second.done()
    assert served.turn() == 1
    assert received(client) == {"lines": ["at last"]}


def test_what_nobody_asked_for_holds_up_clients_like_a_request(served: Served) -> None:
    slow = Slow()
    served.socket.between(lambda: slow)
    client = served.client()
    client.send(b'{"do":"x"}')
    assert served.turn() == 0
    slow.done()
    while served.turn():
        pass
    assert received(client) == {"lines": ["done"]}
    served.socket.between(lambda: {"lines": []})
    assert served.raw(b"{}") == {"lines": ["done"]}


def test_what_comes_between_while_an_answer_takes_its_time_is_done_once_after_it(served: Served) -> None:
    first, second = Slow(), Slow()
    done: list[int] = []

    def work(number: int) -> Any:
        done.append(number)
        return second

    client = begun(served, first)
    for number in range(3):
        served.socket.between(lambda number=number: work(number))  # type: ignore[misc]
    assert done == []
    first.done()
    assert served.turn() == 1
    assert received(client) == {"lines": ["at last"]}
    assert done == [2]
    late = served.client()
    late.send(b"{}")
    assert served.turn() == 0
    second.done()
    while served.turn():
        pass
    assert received(late) == {"lines": ["done"]}


def test_a_defect_in_what_nobody_asked_for(served: Served) -> None:
    def work() -> dict[str, Any]:
        raise TypeError("x")

    served.socket.between(work)
    assert served.log == ["control: internal error: TypeError: x"]
    assert served.raw(b"{}") == {"lines": ["done"]}


def test_a_defect_in_it_is_told(served: Served) -> None:
    slow = Slow(TypeError("x"))
    client = begun(served, slow)
    slow.done()
    served.turn()
    assert received(client) == {"error": "internal error: TypeError: x"}
    assert served.log == ["control: internal error: TypeError: x"]


def test_the_end_meanwhile(served: Served) -> None:
    slow = Slow()
    client = begun(served, slow)
    served.socket.close()
    assert is_over(client)
    client.close()
    assert served.poll.poll(0) == []
    slow.close()


# ── where descriptors run out ───────────────────────────────────────────────────────────────────────


def test_without_descriptors_it_does_not_spin(served: Served) -> None:
    client = served.client()
    client.send(b"{}")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) - 1, limit[1]))
    try:
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        assert served.turn() == 1  # it cannot let the client in
        assert [served.turn(1) for _ in range(20)] == [0] * 20
        served.socket.tick(1.0)
        assert [served.turn(1) for _ in range(20)] == [1] + [0] * 19
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        for fd in taken:
            os.close(fd)
    served.socket.tick(2.0)
    while served.turn():
        pass
    assert received(client) == {"lines": ["done"]}


# ── its place ───────────────────────────────────────────────────────────────────────────────────────


def test_it_takes_its_file_with_it(tmp_path: Path) -> None:
    served = Served(tmp_path)
    assert holder_of(served.path) == os.getpid()
    served.socket.close()
    assert not os.path.exists(served.path)
    assert not holder_of(served.path)


def test_a_stale_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control"
    path.parent.mkdir()
    left = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left.bind(str(path))
    left.listen()
    left.close()
    assert path.exists()
    assert not holder_of(str(path))
    served = Served(tmp_path)
    assert served.raw(b"{}") == {"lines": ["done"]}
    served.socket.close()


def test_a_live_one_is_not(served: Served, tmp_path: Path) -> None:
    with pytest.raises(SocketInUseError, match=rf"already running \(pid {os.getpid()}\)"):
        Served(tmp_path)
    assert served.raw(b"{}") == {"lines": ["done"]}


def test_a_live_one_that_is_held_up_is_not_either(served: Served, tmp_path: Path) -> None:
    waiting = [served.client() for _ in range(CLIENTS + 1)]  # nobody lets them in
    assert holder_of(served.path) in (os.getpid(), -1)  # a full backlog does not say who it is
    with pytest.raises(SocketInUseError, match="already running"):
        Served(tmp_path)
    for client in waiting:
        client.close()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run" / "control"
    path.parent.mkdir()
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/etc/passwd")
    with pytest.raises(SocketInUseError, match="exists and is not a socket"):
        Served(tmp_path)
    assert os.path.lexists(path)


def test_a_place_that_cannot_be_written() -> None:
    with pytest.raises(SocketInUseError, match="/proc/none/control: "):
        ControlSocket("/proc/none/control", select.poll(), lambda peer, request: {}, print)


def test_two_that_start_at_once_on_a_stale_one(tmp_path: Path) -> None:
    """One gets it, the other one is told."""
    program = (
        "import select, sys, time\n"
        "from cpe_filter.live.control_socket import ControlSocket, SocketInUseError\n"
        "sys.stdin.readline()\n"
        "try:\n"
        "    kept = ControlSocket(sys.argv[1], select.poll(), lambda peer, request: {}, print)\n"
        "    print('has it', flush=True)\n"
        "    sys.stdin.readline()\n"
        "except SocketInUseError as error: print(error.strerror, flush=True)\n"
    )
    path = tmp_path / "control"
    for _ in range(5):
        both = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(path)],
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        said = []
        for process in both:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in both:
            assert process.stdout is not None
            said.append(process.stdout.readline().strip())
        for process in both:
            process.communicate("end\n", timeout=DEADLINE_S)  # without taking the file away
        holder = both[said.index("has it")].pid
        assert sorted(said) == sorted([f"{path}: already running (pid {holder})", "has it"])
        assert path.exists()


def test_close_leaves_a_successor_s_socket(served: Served, tmp_path: Path) -> None:
    os.unlink(served.path)
    successor = Served(tmp_path)
    served.socket.close()
    assert os.path.exists(successor.path)
    successor.socket.close()
    served.socket = successor.socket


# ── the other side ──────────────────────────────────────────────────────────────────────────────────


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="there is no "):
        ask(str(tmp_path / "none"), {})
    path = str(tmp_path / "stale")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(path)
    with pytest.raises(NotRunningError, match="no program answers at"):
        ask(path, {})


@pytest.mark.parametrize("path", ["/" + "x" * 200, "/proc/self/mem", "/etc/passwd/x", "/"])
def test_places_where_no_socket_is(path: str) -> None:
    with pytest.raises((NoAnswerError, NotRunningError)):
        ask(path, {})
    assert not holder_of(path)


def test_a_request_that_is_too_long_is_not_sent(served: Served) -> None:
    with pytest.raises(NoAnswerError, match="too long"):
        ask(served.path, {"reason": "x" * REQUEST})


def test_somebody_who_does_not_answer(served: Served) -> None:
    with pytest.raises(NoAnswerError, match=r"has not answered within 0\.2 s"):
        ask(served.path, {}, wait_s=0.2)


@pytest.mark.parametrize("said", [b"hello", b"[1]", b"[" * 9999, b"\xff"])
def test_somebody_else_s_answer(tmp_path: Path, said: bytes) -> None:
    path = str(tmp_path / "x")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(path)
        other.listen()

        def answer() -> None:
            client, _ = other.accept()
            with client:
                client.recv(9999)
                client.send(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(NoAnswerError, match="unexpected reply"):
            ask(path, {})
        thread.join()
