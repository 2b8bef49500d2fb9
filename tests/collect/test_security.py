"""What must be refused by the running collector: refused, logged, and nothing of it stored."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import signal
import socket
import sqlite3
import ssl
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.collect.ca import Authority, Pair
from tests.collect.reports import body, heartbeat, incident, packed
from tests.collect.running import JSON, Collector, answer, post
from tests.lab.net import DEADLINE_S
from tests.ports import free_port

TIMES = {"handshake_s": 1, "head_s": 1, "body_s": 1, "idle_s": 4}


class Scene:
    """One collector for the tests of this file, each with a router of its own."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "ca")
        self.strangers = Authority(folder / "strangers")  # of the same name
        self.collector = Collector(
            folder / "collector",
            self.authority,
            limits={**TIMES, "reports_burst": 10, "reports_per_hour": 60, "events_burst": 600, "events_per_hour": 3600},
            tls_proxy={"address": f"unix:{folder}/proxy", "header_holds": "id"},
        )
        self.proxy = folder / "proxy"
        self._numbers = iter(range(1, 1000))

    def router(self) -> Pair:
        return self.authority.router(f"r{next(self._numbers)}")

    def stored(self) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.collector.folder / "collector.db") as connection:
            return connection.execute("SELECT router, boot, seq, body FROM report").fetchall()

    def refused(self, reason: str) -> int:
        """How many lines of the log say so."""
        return sum(line["event"] == "refused" and line["reason"] == reason for line in self.collector.lines())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("c"))
    with scene.collector:
        yield scene
    assert scene.collector.stop() == 0
    assert "Traceback" not in scene.collector.log.read_text()


@pytest.fixture
def scene(running: Scene) -> Iterator[Scene]:
    """At the end nothing new may be stored, unless the test has cleared `keeps`; and the collector must go on."""
    before = running.stored()
    yield running
    assert running.stored() == before
    good = running.router()
    assert running.collector.post(good, body(heartbeat(1))).status == 200


def test_no_certificate(scene: Scene) -> None:
    before = scene.refused("no-certificate")
    said = scene.collector.post(None, body(incident(1)))
    assert (said.status, said.body) == (401, {"why": "a client certificate is required"})
    assert scene.refused("no-certificate") == before + 1


@pytest.mark.parametrize("kind", ["other authority", "expired", "not yet", "a server's", "plain HTTP"])
def test_handshakes_that_fail(scene: Scene, kind: str) -> None:
    before = scene.refused("handshake")
    pairs = {
        "other authority": lambda: scene.strangers.router("r1"),
        "expired": lambda: scene.authority.router("old", starts=-30, ends=-1),
        "not yet": lambda: scene.authority.router("young", starts=5, ends=9),
        "a server's": lambda: Pair(scene.authority.folder / "server.pem", scene.authority.folder / "server.key"),
    }
    if kind == "plain HTTP":
        connection = http.client.HTTPConnection("127.0.0.1", scene.collector.port, timeout=DEADLINE_S)
        with pytest.raises((OSError, http.client.HTTPException)):
            post(connection, packed(body(incident(1))), JSON)
    else:
        with pytest.raises((OSError, http.client.HTTPException)):  # with TLS 1.3 the alert comes behind the request
            scene.collector.post(pairs[kind](), body(incident(1)))
    wait_for(lambda: scene.refused("handshake") == before + 1)
    line = [line for line in scene.collector.lines() if line.get("reason") == "handshake"][-1]
    assert line["peer"] == "127.0.0.1"
    assert line["why"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_old_tls(scene: Scene, version: ssl.TLSVersion) -> None:
    context = scene.authority.client_context(scene.router())
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", scene.collector.port)) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")


def test_revoked_at_once_on_an_open_connection(running: Scene) -> None:
    pair, other = running.authority.router("fallen"), running.router()
    connection = running.collector.connect(pair)
    assert post(connection, packed(body(heartbeat(1))), JSON).status == 200
    before = running.stored()
    running.authority.revoke("fallen")
    wait_for(lambda: any(line["event"] == "revocation list read" for line in running.collector.lines()), 15)
    said = post(connection, packed(body(heartbeat(2))), JSON)
    assert (said.status, said.body["why"]) == (403, "the client certificate is revoked")
    assert running.collector.post(pair, body(heartbeat(2))).status == 403
    assert running.refused("revoked") == 2
    assert running.stored() == before
    assert running.collector.post(other, body(heartbeat(2))).status == 200


def test_no_session_is_resumed(scene: Scene) -> None:
    """A resumed session would not be verified again."""
    context = scene.authority.client_context(scene.router())
    session = None
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", scene.collector.port)) as plain:
            tls = context.wrap_socket(plain, server_hostname="localhost", session=session)
            tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert tls.recv(1000)  # a ticket would come with this
            assert not tls.session_reused
            session = tls.session


def test_identity_header_from_outside(scene: Scene) -> None:
    before = scene.refused("header")
    for headers in ({"X-Router-Id": "victim"}, {"x-router-ID": "r1"}):
        said = scene.collector.post(scene.router(), body(incident(1)), **headers)
        assert said.status == 403
        assert scene.collector.post(None, body(incident(1)), **headers).status == 403
    assert scene.refused("header") == before + 4


def test_a_report_cannot_name_another_router(scene: Scene) -> None:
    for key in ("router", "id", "subscriber"):
        assert scene.collector.post(scene.router(), {**body(incident(1)), key: "victim"}).status == 400


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def test_trusted_tls_proxy(running: Scene) -> None:
    assert oct(os.stat(running.proxy).st_mode & 0o777) == "0o660"
    said = post(_Unix(running.proxy), packed(body(heartbeat(1))), {**JSON, "X-Router-Id": "by-proxy"})
    assert said.status == 200
    assert ("by-proxy",) in [row[:1] for row in running.stored()]
    for headers in ({}, {"X-Router-Id": ""}, {"X-Router-Id": "../x"}, {"X-Router-Id": "a, b"}):
        assert post(_Unix(running.proxy), packed(body(heartbeat(1))), {**JSON, **headers}).status in (401, 403)


def test_tls_proxy_that_is_not_trusted(tmp_path: Path) -> None:
    """By TCP, from an address that is not on the list: whatever the header says."""
    port = free_port()
    proxy = {"address": f"127.0.0.1:{port}", "trusted": ["192.0.2.0/24"], "header_holds": "id"}
    with Collector(tmp_path / "c", Authority(tmp_path / "ca"), tls_proxy=proxy) as collector:
        for headers in ({"X-Router-Id": "r1"}, {"X-Router-Id": "r1", "X-Forwarded-For": "192.0.2.1"}, {}):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
            assert post(connection, packed(body(heartbeat(1))), {**JSON, **headers}).status == 403
        lines = [line for line in collector.lines() if line["event"] == "refused"]
        assert [(line["peer"], line["reason"]) for line in lines] == [("127.0.0.1", "untrusted-proxy")] * 3
        with sqlite3.connect(tmp_path / "c" / "collector.db") as connection_:
            assert connection_.execute("SELECT COUNT(*) FROM report").fetchone() == (0,)


def test_tls_proxy_that_is_not_trusted_and_gone_before_anybody_asks(tmp_path: Path) -> None:
    """Reset behind its request, a connection has no peer any more; that must not look like a Unix socket."""
    port = free_port()
    proxy = {"address": f"127.0.0.1:{port}", "trusted": ["192.0.2.0/24"], "header_holds": "id"}
    data = packed(body(incident(1)))
    head = "".join(f"{name}: {value}\r\n" for name, value in {**JSON, "Host": "x", "X-Router-Id": "victim"}.items())
    with Collector(tmp_path / "c", Authority(tmp_path / "ca"), tls_proxy=proxy) as collector:
        assert collector.process is not None
        collector.process.send_signal(signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(f"POST /v1/reports HTTP/1.1\r\n{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.2)
        collector.process.send_signal(signal.SIGCONT)
        wait_for(lambda: any(line["event"] == "refused" for line in collector.lines()))
        lines = [line for line in collector.lines() if line["event"] == "refused"]
        assert [(line["peer"], line["reason"]) for line in lines] == [("127.0.0.1", "untrusted-proxy")]
        with sqlite3.connect(tmp_path / "c" / "collector.db") as connection:
            assert connection.execute("SELECT COUNT(*) FROM report").fetchone() == (0,)


def test_new_server_certificate_without_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.router("r1")
    with Collector(tmp_path / "c", authority) as collector:
        held = collector.connect(pair)
        held.connect()
        assert isinstance(held.sock, ssl.SSLSocket)
        old = held.sock.getpeercert(True)
        authority.server()
        wait_for(lambda: any(line["event"] == "server certificate reloaded" for line in collector.lines()))
        fresh = collector.connect(pair)
        fresh.connect()
        assert isinstance(fresh.sock, ssl.SSLSocket)
        assert fresh.sock.getpeercert(True) not in (old, None)
        assert post(held, packed(body(heartbeat(1))), JSON).status == 200
        assert post(fresh, packed(body(heartbeat(2))), JSON).status == 200
        (authority.folder / "server.pem").write_text("rubbish")
        wait_for(lambda: any(line["event"] == "server certificate" for line in collector.lines()))
        assert collector.post(pair, body(heartbeat(3))).status == 200


def test_revocation_list_that_is_out_of_date_is_said_and_used(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    good, bad = authority.router("good"), authority.router("bad")
    authority.revoke("bad")
    authority.write_crl(ends=-1)
    with Collector(tmp_path / "c", authority) as collector:
        wait_for(lambda: any(line["event"] == "revocation list expired" for line in collector.lines()))
        assert collector.post(good, body(heartbeat(1))).status == 200
        assert collector.post(bad, body(heartbeat(1))).status == 403
        assert collector.metrics()["cpe_collector_crl_next_update_seconds"] < time.time()


def wait_for(condition: Any, seconds: float = DEADLINE_S) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


# ── bodies ──────────────────────────────────────────────────────────────────────────────────────


def send(scene: Scene, data: bytes, **headers: str) -> Any:
    return post(scene.collector.connect(scene.router()), data, {**JSON, **headers})


def memory(scene: Scene) -> int:
    """Resident bytes of the collector."""
    assert scene.collector.process is not None
    pages = Path(f"/proc/{scene.collector.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_gzip_bomb(scene: Scene) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(60)) + packer.flush()
    assert len(bomb) < 64 * 1024
    before, count = memory(scene), scene.refused("large")
    said = send(scene, bomb)
    assert said.status == 413
    assert memory(scene) < before + 16 * 1024 * 1024
    spaces = gzip.compress(json.dumps(body(incident(1))).encode() + b" " * 700_000)
    assert send(scene, spaces).status == 413
    assert scene.refused("large") == count + 2


def test_body_of_a_gigabyte_said_beforehand(scene: Scene) -> None:
    connection = scene.collector.connect(scene.router())
    connection.putrequest("POST", "/v1/reports")
    for name, value in {**JSON, "Content-Length": str(1 << 30)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    said = answer(connection)
    assert (said.status, said.headers["connection"]) == (413, "close")


def test_body_of_a_gigabyte_sent_in_chunks(scene: Scene) -> None:
    connection = scene.collector.connect(scene.router())
    before = memory(scene)
    connection.putrequest("POST", "/v1/reports")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = 0
    with contextlib.suppress(OSError):
        for _ in range(1 << 14):
            connection.send(chunk)
            sent += len(chunk)
    assert sent < 16 << 20  # what lay in buffers
    assert memory(scene) < before + 16 * 1024 * 1024
    wait_for(lambda: scene.refused("large") > 0)


@pytest.mark.parametrize(
    ("data", "headers", "status"),
    [
        (b"", {}, 400),
        (b"x", {}, 400),
        (packed(body(incident(1)))[:-4], {}, 400),
        (packed(body(incident(1))) + b"x", {}, 400),
        (b"{}", {"Content-Encoding": "identity"}, 400),
        (packed([]), {}, 400),
        (packed({**body(incident(1)), "v": 2}), {}, 400),
        (packed(body(*[heartbeat(n) for n in range(257)])), {}, 400),
        (packed(body(incident(1))), {"Content-Encoding": "br"}, 415),
        (packed(body(incident(1))), {"Content-Encoding": "gzip, gzip"}, 415),
        (packed(body(incident(1))), {"Content-Type": "text/plain"}, 415),
        (packed(body(incident(1))), {"Content-Type": ""}, 415),
        (os.urandom(64 * 1024 + 1), {}, 413),
    ],
)
def test_bodies_that_are_no_report(scene: Scene, data: bytes, headers: dict[str, str], status: int) -> None:
    said = send(scene, data, **headers)
    assert said.status == status
    assert set(said.body) == {"why"}
    assert "retry-after" not in said.headers


def test_sequence_replayed(running: Scene) -> None:
    pair = running.router()
    first = running.collector.post(pair, body(incident(1, conns=5)))
    assert first.body["acked"] == [1]
    before = running.stored()
    again = running.collector.post(pair, body(incident(1, conns=4_000_000_000, standing="clear", kind="closed")))
    assert (again.status, again.body["acked"]) == (200, [1])
    assert running.stored() == before


NASTY = ["'; DROP TABLE report; --", "<script>alert(1)</script>", "\x00", "\u202e", "a\nb", "{{7*7}}", "=cmd|'/c'!A1"]


@pytest.mark.parametrize("text", NASTY)
def test_sql_and_html_in_every_string(running: Scene, text: str) -> None:
    """What the schema lets through (a name may have any printable ASCII) is stored as it is, and changes nothing."""
    pair = running.router()
    router = pair.certificate.stem
    printable = all(" " <= c <= "~" for c in text)
    good = incident(1, name=text) if printable else incident(1)
    keys = ("id", "dev", "oui", "standing", "act", "kind")
    wrong: list[Any] = [{**incident(2 + n), key: text} for n, key in enumerate(keys)]
    wrong += [incident(20, why=text), incident(21, ind={text: 1}), {**incident(22), text: 1}, heartbeat(23, mode=text)]
    wrong += [incident(24, sp=[{"up": 1, "port": text, "family": 4}])]
    said = running.collector.post(pair, body(good, *wrong))
    assert said.status == 200
    assert said.body["acked"] == [1]
    assert len(said.body["rejected"]) == len(wrong)
    assert text not in json.dumps(said.body)
    for key in ("boot", "pol", "ver", text) + (() if printable else ("model",)):
        assert running.collector.post(pair, {**body(incident(90)), key: text}).status == 400
    rows = [row for row in running.stored() if row[0] == router]
    assert len(rows) == 1
    assert json.loads(rows[0][3]) == good
    assert text not in running.collector.log.read_text()


@pytest.mark.parametrize(
    "path",
    [
        "/", "/v1", "/v1/reports/", "//v1/reports", "/v1//reports", "/v1/reports/x", "/v1/../v1/reports",
        "/v1/reports/..%2freports", "/v1/%72eports", "/v1/reports%00", "/v1/reports?x=1", "/v1/reports;a",
        "/V1/REPORTS", "/metrics", "/healthz", "/etc/passwd", "/../../etc/passwd", "http://other/v1/reports",
        "/v1/reports#x", "*",
    ],
)  # fmt: skip
def test_path_tricks(scene: Scene, path: str) -> None:
    connection = scene.collector.connect(scene.router())
    connection._validate_path = lambda url: None  # type: ignore[attr-defined]
    said = post(connection, packed(body(incident(1))), JSON, path)
    assert said.status in (400, 404)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "POSTS"])
def test_other_methods(scene: Scene, method: str) -> None:
    connection = scene.collector.connect(scene.router())
    connection.request(method, "/v1/reports", packed(body(incident(1))), JSON)
    assert connection.getresponse().status in (404, 405)


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/reports HTTP/1.1\r\n\r\n",
        b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000,
        b"POST /v1/reports HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01" + bytes(100) + b"\r\n\r\n",
        b"\r\n\r\n\r\n\r\nx\r\n\r\n",
    ],
)
def test_heads_that_are_no_http(scene: Scene, head: bytes) -> None:
    said = b""
    with raw(scene) as tls, contextlib.suppress(OSError):  # it may hang up before all of it is sent
        tls.sendall(head)
        said = tls.recv(1000)
    assert said == b"" or said.startswith(b"HTTP/1.1 4")


def raw(scene: Scene) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", scene.collector.port), timeout=DEADLINE_S)
    context = scene.authority.client_context(scene.router())
    return context.wrap_socket(plain, server_hostname="localhost")


# ── slow clients ────────────────────────────────────────────────────────────────────────────────


def ended_within(connection: socket.socket, seconds: float, drip: bytes = b"") -> bool:
    """Whether the other side hangs up; meanwhile a byte is sent now and then."""
    end = time.monotonic() + seconds
    connection.settimeout(0.1)
    while time.monotonic() < end:
        try:
            if drip:
                connection.sendall(drip)
            if not connection.recv(4096):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_handshake_that_does_not_come(scene: Scene) -> None:
    before = scene.refused("handshake")
    with socket.create_connection(("127.0.0.1", scene.collector.port)) as plain:
        assert ended_within(plain, 5)
    wait_for(lambda: scene.refused("handshake") > before)


@pytest.mark.parametrize("head", [b"", b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nX: "])
def test_head_byte_by_byte(scene: Scene, head: bytes) -> None:
    before = scene.refused("slow-head")
    with raw(scene) as tls:
        tls.sendall(head)
        assert ended_within(tls, 5, b"a" if head else b"")
    assert scene.refused("slow-head") == before + 1


def test_second_head_byte_by_byte(running: Scene) -> None:
    before = running.refused("slow-head")
    data = packed(body(heartbeat(1)))
    head = b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
    with raw(running) as tls:
        tls.sendall(head + b"Content-Length: %d\r\n\r\n" % len(data) + data)
        assert tls.recv(4096).startswith(b"HTTP/1.1 200")
        tls.sendall(b"POST")
        assert ended_within(tls, 5, b"")
    assert running.refused("slow-head") == before + 1


def test_body_byte_by_byte(scene: Scene) -> None:
    before = scene.refused("slow")
    with raw(scene) as tls:
        tls.sendall(
            b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
        )
        assert ended_within(tls, 6, b" ")
    assert scene.refused("slow") == before + 1


def test_connection_that_idles(running: Scene) -> None:
    data = packed(body(heartbeat(1)))
    head = b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
    with raw(running) as tls:
        tls.sendall(head + b"Content-Length: %d\r\n\r\n" % len(data) + data)
        assert tls.recv(4096).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        assert ended_within(tls, 8)
        assert time.monotonic() - begun > 1.5


# ── too much ────────────────────────────────────────────────────────────────────────────────────


def test_too_many_reports(running: Scene) -> None:
    pair, other = running.router(), running.router()
    connection = running.collector.connect(pair)
    said = [post(connection, packed(body(heartbeat(n))), JSON) for n in range(13)]
    assert [one.status for one in said] == [200] * 10 + [429] * 3
    assert 1 <= int(said[-1].headers["retry-after"]) <= 60
    assert running.collector.post(other, body(heartbeat(1))).status == 200
    assert len([row for row in running.stored() if row[0] == pair.certificate.stem]) == 10


def test_bodies_that_never_end_cost_as_reports_do(running: Scene) -> None:
    """One certificate and many connections: no more bodies at once than reports."""
    head = b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    context = running.authority.client_context(running.router())

    def connect() -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", running.collector.port), timeout=DEADLINE_S)
        return context.wrap_socket(plain, server_hostname="localhost")

    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(connect()).sendall(head % 60_000 + b" " * 30_000)
        wait_for(lambda: running.collector.metrics()["cpe_collector_connections"] >= 10)
        time.sleep(0.3)
        with connect() as last:
            last.sendall(head % 2 + b"{}")
            assert last.recv(4096).startswith(b"HTTP/1.1 429")


def test_too_many_connections_from_one_address(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.router("r1")
    with Collector(tmp_path / "c", authority, listen={"max_per_source": 3}) as collector:
        held = [collector.connect(pair) for _ in range(3)]
        for connection in held:
            connection.connect()
        with pytest.raises((OSError, http.client.HTTPException)):
            collector.post(pair, body(heartbeat(1)))
        context = authority.client_context(pair)
        other = http.client.HTTPSConnection(
            "127.0.0.1", collector.port, timeout=DEADLINE_S, context=context, source_address=("127.0.0.2", 0)
        )
        assert post(other, packed(body(heartbeat(1))), JSON).status == 200
        for connection in held:
            connection.close()
        wait_for(lambda: collector.metrics()["cpe_collector_connections"] <= 1)
        assert collector.post(pair, body(heartbeat(2))).status == 200
        lines = [line for line in collector.lines() if line["event"] == "refused"]
        assert [(line["reason"], line["why"]) for line in lines] == [("full", "too many connections from this source")]


def test_key_that_others_can_read(tmp_path: Path) -> None:
    collector = Collector(tmp_path / "c", Authority(tmp_path / "ca"))
    key = tmp_path / "ca" / "server.key"
    key.chmod(0o644)
    with pytest.raises(RuntimeError, match="did not start"):
        collector.start()
    assert f"{key}: others can read or change it (mode 0644); allowed: 0600 or 0640" in collector.log.read_text()


def test_too_many_events(running: Scene) -> None:
    pair = running.router()
    connection = running.collector.connect(pair)
    said = [
        post(connection, packed(body(*[heartbeat(n) for n in range(first, first + 250)])), JSON)
        for first in (0, 250, 500)
    ]
    assert [one.status for one in said] == [200, 200, 429]
    assert 50 <= int(said[-1].headers["retry-after"]) <= 200


def test_too_many_connections(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.router("r1")
    with Collector(tmp_path / "c", authority, listen={"max_connections": 10}) as collector:
        held = [collector.connect(pair) for _ in range(10)]
        for connection in held:
            connection.connect()
        with pytest.raises((OSError, http.client.HTTPException)):
            collector.post(pair, body(heartbeat(1)))
        assert post(held[0], packed(body(heartbeat(1))), JSON).status == 200
        for connection in held:
            connection.close()
        wait_for(lambda: collector.metrics()["cpe_collector_connections"] == 0)
        assert collector.post(pair, body(heartbeat(2))).status == 200
        assert [line["reason"] for line in collector.lines() if line["event"] == "refused"] == ["full"]


def test_descriptors_for_all_connections(running: Scene) -> None:
    assert running.collector.process is not None
    import resource

    soft, hard = resource.prlimit(running.collector.process.pid, resource.RLIMIT_NOFILE)
    assert soft >= min(10_000, hard)


def test_metrics(running: Scene) -> None:
    metrics = running.collector.metrics()
    assert metrics['cpe_collector_requests_total{status="200"}'] > 0
    assert metrics['cpe_collector_refused_total{reason="no-certificate"}'] >= 1
    assert metrics["cpe_collector_waiting"] == 0
