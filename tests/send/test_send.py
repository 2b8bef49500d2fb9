"""`cpe-filter send` and a real TLS server: what arrives, what each answer does, and every certificate that is wrong."""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.lean.clocks import Uptime
from cpe_filter.policy.model import Policy
from cpe_filter.report import schedule
from cpe_filter.report.schedule import Plan
from cpe_filter.report.spool import Spool
from cpe_filter.report.spool_dir import SPOOL, SpoolWriter, boot_id, uptime
from cpe_filter.report.spool_reader import SpoolReader
from cpe_filter.send import rights, send, upstream
from tests.collect.ca import Authority, Pair
from tests.lab.net import DEADLINE_S, PROJECT
from tests.policies import changed_policy, make_policy
from tests.report.wire import check_report
from tests.send.collector import Answer, Collector, Request, taken

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = 65534


def incident(kind: str, number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "up": 5, "kind": kind, "id": f"{number:016x}", "dev": "0123456789abcdef", "standing": "suspected", "first": 4,
        "last": 5, "conns": 3, "nets": 3, "msgs": 0, "rcpts": 3, "refused": 0, "ind": {"unknown-user": 2},
        "act": "limit", **more,
    }  # fmt: skip


BEAT = {
    "up": 5, "kind": "heartbeat", "devices": 1, "suspected": 0, "compromised": 0, "mode": "block", "fail": "open",
    "packets": 9, "failures": 0, "restored": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.server("localhost")


@pytest.fixture(scope="module")
def router(authority: Authority) -> Pair:
    return authority.router("cpe-0001")


class Desk:
    """A router's folder with a spool, its policy, a collector, and the ways to send."""

    def __init__(self, folder: Path, authority: Authority, server: Pair, router: Pair, clients: bool = True) -> None:
        self.folder = folder
        self.collector = Collector(authority, server, clients)
        self.boot = boot_id()
        self.policy = make_policy(
            status_file=str(folder / "run" / "status.json"),
            report_url=f"https://localhost:{self.collector.port}",
            report_ca=str(authority.certificate),
            report_certificate=str(router.certificate),
            report_key=str(router.key),
            report_user="nobody",
        )
        self.said: list[str] = []
        self.writer = SpoolWriter(str(folder / "run" / "report"), "nobody", self.said.append)
        self.writer.make()
        self.reader = SpoolReader(str(folder / "run" / "report"))
        self.spool = Spool(self.boot, 1)

    def leave(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.spool.add(event)
        self.writer.write(SPOOL, self.spool.encode("v7", "0.1.0"), 0o640)

    def send(self, how: str = "once", draw: Callable[[], float] = lambda: 0.5) -> int:
        """In this process, as whoever we are."""
        own = send.check_files(self.policy)
        return send.Sender(self.policy, own, self.reader, how, lambda work: work(), draw).run()

    def waiting(self) -> list[int]:
        found = self.reader.spool(self.boot)
        assert found is not None
        return [event.seq for event in found[1]]

    def plan(self) -> Plan:
        found = schedule.known(self.reader.read("plan"), self.boot)
        assert found is not None
        return found

    @property
    def wait_s(self) -> int:
        """Seconds until it would send again."""
        return round(self.plan().due - uptime())

    def answer(self, *answers: Answer | None) -> None:
        def say(answer: Answer | None) -> Callable[[Request], Answer | None]:
            return lambda request: answer

        self.collector.answers.extend(map(say, answers))

    def policy_file(self) -> Path:
        path = self.folder / "policy.toml"
        policy = self.policy
        path.write_text(
            f'[filter]\nversion = "v7"\n[status]\nstatus_file = "{policy.status.status_file}"\n[report]\n'
            f'url = "{policy.report.url}"\nca = "{policy.report.ca}"\ncertificate = "{policy.report.certificate}"\n'
            f'key = "{policy.report.key}"\nuser = "{policy.report.user}"\n'
        )
        return path

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "cpe_filter", "send", "--policy", str(self.policy_file()), *options]

    def program(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """As a program of its own."""
        done = subprocess.run(
            self.command(*options),
            capture_output=True,
            text=True,
            cwd=PROJECT,
            timeout=DEADLINE_S,
            env={**os.environ, **environment},
        )
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def desk(
    tmp_path: Path, authority: Authority, server: Pair, router: Pair, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    made = Desk(tmp_path, authority, server, router)
    monkeypatch.setattr(send, "say", made.said.append)
    yield made
    made.collector.close()


# ── what arrives ────────────────────────────────────────────────────────────────────────────────────


def test_what_waits_arrives_word_for_word(desk: Desk) -> None:
    desk.leave(incident("opened"), incident("raised"), BEAT)
    assert desk.send() == 0
    (request,) = desk.collector.requests
    assert request.router == "cpe-0001"
    assert request.path == "/v1/reports"
    report = request.report
    assert report["boot"] == desk.boot
    assert report["pol"] == "v7"
    assert abs(report["up"] - uptime()) < DEADLINE_S
    assert abs(report["t"] - time.time()) < DEADLINE_S
    assert [event.line.decode().strip() in request.text.decode() for event in desk.spool.events] == [True] * 3
    assert request.headers["Content-Encoding"] == "gzip"
    assert "cpe-0001" not in request.text.decode()  # who it is says the certificate alone
    assert socket.gethostname() not in request.text.decode()
    assert desk.waiting() == []
    assert desk.said == [f"3 events delivered; not again within {desk.wait_s} s"]
    assert desk.plan()[2:] == (desk.plan().beat, 0, 900, "v8")
    assert desk.send() == 0
    assert len(desk.collector.requests) == 1


def test_the_last_reports_are_kept_word_for_word(desk: Desk) -> None:
    for number in range(12):
        desk.leave(incident("opened", number))
        desk.send()
    kept = desk.reader.read("last")
    assert len(kept) == send.KEPT
    assert [one["report"] for one in kept] == [
        request.text.decode() for request in desk.collector.requests[-send.KEPT :]
    ]
    assert {one["how"] for one in kept} == {"200"}


def test_a_full_spool_goes_in_pieces_over_one_connection(desk: Desk) -> None:
    while not desk.spool.dropped:
        desk.spool.add(incident("opened", desk.spool.next, sp=[{"up": 4, "port": 40000, "family": 4}] * 4))
    desk.leave()
    before = desk.waiting()
    assert desk.send() == 0
    assert desk.collector.seqs == before
    assert len({request.connection for request in desk.collector.requests}) == 1
    assert all(len(request.text) <= 64 << 10 and request.size <= 64 << 10 for request in desk.collector.requests)
    assert {request.report["dropped"] for request in desk.collector.requests} == {1}
    assert desk.waiting() == []
    assert len(json.dumps(desk.reader.read("last"))) < 160 << 10


def test_no_report_has_too_many_events() -> None:
    spool = Spool("b", 1)
    for number in range(700):
        spool.add({"up": 1, "kind": "opened", "id": f"{number:x}"})
    sizes = [len(batch) for batch in send.batches(spool.events)]
    assert sizes == [256, 256, 188]


def test_reports_are_valid_with_a_strange_clock_and_model(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "board_name"
    model.write_bytes(b"gl-mt300n-v2 \xff\n\x07" + b"x" * 300)
    monkeypatch.setattr(send, "_MODEL", str(model))
    monkeypatch.setattr(time, "time", lambda: -5.0)
    desk.leave(incident("opened"))
    found = desk.reader.spool(desk.boot)
    assert found is not None
    report = json.loads(send.report(found[0], found[1], Uptime(77.7)))
    check_report(report)
    assert report["t"] is None
    assert report["model"].startswith("gl-mt300n-v2 ?")


def test_compressed_reports_are_what_gzip_reads() -> None:
    assert gzip.decompress(upstream.compress(b"x" * 99999)) == b"x" * 99999


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────


def test_rejected_events_are_given_up_and_told(desk: Desk) -> None:
    desk.leave(incident("opened", 1), incident("opened", 2), incident("opened", 3))
    desk.answer(Answer(200, {"acked": [1, 3], "rejected": [{"seq": 2, "why": "ind: maxProperties\n\x1b[31m"}]}))
    assert desk.send() == 0
    assert desk.waiting() == []
    assert desk.said[0] == "the collector rejects event 2 (opened): ind: maxProperties??[31m"
    assert desk.said[1].startswith("2 events delivered, 1 rejected; ")


def test_rejected_events_do_not_count_as_delivered(desk: Desk) -> None:
    desk.leave(incident("opened", 1), incident("opened", 2))
    desk.answer(Answer(200, {"acked": [], "rejected": [{"seq": 1, "why": "x"}, {"seq": 2, "why": "x"}]}))
    assert desk.send() == 1
    assert desk.waiting() == []
    assert desk.said[-1].startswith("0 events delivered, 2 rejected; ")
    # The collector is well: what comes next does not wait for half an hour.
    assert desk.plan().failures == 0
    assert desk.wait_s <= 90


def test_an_event_that_is_acknowledged_and_rejected_is_delivered(desk: Desk) -> None:
    desk.leave(incident("opened", 1))
    desk.answer(Answer(200, {"acked": [1], "rejected": [{"seq": 1, "why": "x"}]}))
    assert desk.send() == 0
    assert desk.said[-1].startswith("1 event delivered; ")


def test_a_rejected_heartbeat_is_not_sent_again(desk: Desk) -> None:
    desk.leave(BEAT)
    desk.answer(Answer(200, {"acked": [], "rejected": [{"seq": 1, "why": "x"}]}))
    assert desk.send() == 1
    assert desk.waiting() == []
    assert 43000 < desk.plan().beat - uptime() < 130_000


def test_what_is_not_named_waits_on(desk: Desk) -> None:
    desk.leave(incident("opened", 1), incident("opened", 2), incident("opened", 3))
    desk.answer(Answer(200, {"acked": [2, 77, "1", None, 3.0, True]}))
    assert desk.send() == 0
    assert desk.waiting() == [1, 3]


def test_one_bad_event_costs_no_other(desk: Desk) -> None:
    desk.leave(*(incident("opened", number) for number in range(1, 51)))

    def strict(request: Request) -> Answer:
        return Answer(400, {"why": "wrong"}) if 37 in request.seqs else taken(request)

    desk.collector.answers.extend([strict] * 40)
    assert desk.send() == 0
    assert desk.waiting() == []
    taken_seqs = {seq for request in desk.collector.requests if 37 not in request.seqs for seq in request.seqs}
    assert taken_seqs == set(range(1, 51)) - {37}
    assert desk.said[0] == "the collector answers 400 to event 37 (opened): given up"
    assert desk.said[1].startswith("49 events delivered, 1 given up; ")


def test_too_large_a_report_is_halved(desk: Desk) -> None:
    desk.leave(*(incident("opened", number) for number in range(1, 21)))

    def small(request: Request) -> Answer:
        return Answer(413) if len(request.seqs) > 5 else taken(request)

    desk.collector.answers.extend([small] * 40)
    assert desk.send() == 0
    assert desk.waiting() == []


def test_a_collector_that_takes_nothing_gets_little_and_costs_little(desk: Desk) -> None:
    desk.leave(*(incident("opened", number) for number in range(1, 101)))
    desk.answer(*[Answer(400)] * 300)
    assert desk.send() == 1
    assert len(desk.collector.requests) <= send.MOST_REPORTS
    assert len(desk.waiting()) >= 100 - send.MOST_GIVEN_UP
    assert desk.wait_s >= 1800


@pytest.mark.parametrize("status", [401, 403, 404, 405, 415, 301, 302, 307, 308, 204, 304])
def test_a_refusal_is_slow_and_loses_nothing(desk: Desk, status: int) -> None:
    desk.leave(incident("opened"))
    target = f"https://localhost:{desk.collector.port}/elsewhere"
    desk.answer(Answer(status, b"" if status in (204, 304) else {}, (("Location", target),)))
    assert desk.send() == 1
    assert desk.waiting() == [1]
    assert len(desk.collector.requests) == 1
    assert 1800 <= desk.wait_s <= 7200
    assert f"answers {status}" in desk.said[-1]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_later(desk: Desk, status: int) -> None:
    desk.leave(incident("opened"))
    desk.answer(Answer(status, {"retry_splay": 77}))
    assert desk.send() == 1
    assert desk.waiting() == [1]
    assert desk.wait_s == 20  # half of the first window
    assert desk.plan().splay == 77


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds(desk: Desk, status: int) -> None:
    desk.leave(incident("opened"))
    desk.answer(Answer(status, {}, (("Retry-After", "120"),)))
    desk.send()
    assert desk.wait_s == 140


def test_retry_after_as_a_date_goes_by_the_collector_s_clock(desk: Desk) -> None:
    desk.leave(incident("opened"))
    # http.server sends its own Date, of this machine's clock.
    desk.answer(Answer(503, {}, (("Retry-After", formatdate(time.time() + 300, usegmt=True)),)))
    desk.send()
    assert 317 <= desk.wait_s <= 321


@pytest.mark.parametrize(
    "body",
    [b"", b"ok", b"[]", b"null", b'{"acked":1}', b'{"acked":[77]}', b"{" * 60000, b'{"acked":[1]}' + b" " * 70000,
     b'{"acked":[' + b"9" * 5000 + b"]}", b"\xff"],
)  # fmt: skip
def test_an_answer_that_says_nothing_counts_as_none(desk: Desk, body: bytes) -> None:
    desk.leave(incident("opened"))
    desk.answer(Answer(200, body))
    assert desk.send() == 1
    assert desk.waiting() == [1]
    assert desk.wait_s == 20


def test_failures_add_up_to_the_cap(desk: Desk) -> None:
    desk.leave(incident("opened"))
    waits = []
    for _ in range(10):
        desk.answer(Answer(503))
        desk.send(draw=lambda: 1.0)
        waits.append(desk.wait_s)
    assert waits == [40, 80, 160, 3600, 3600, 3600, 3600, 5120, 5120, 5120]
    assert desk.send() == 0
    assert desk.plan().failures == 0


# ── a server that misbehaves ────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where the first connection is served so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)

        def run() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(DEADLINE_S)
                    serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()


def test_hung_up_on(desk: Desk) -> None:
    desk.leave(incident("opened"))
    desk.answer(None)
    assert desk.send() == 1
    assert desk.waiting() == [1]
    assert "localhost" in desk.said[-1]


def test_an_exchange_has_an_end_however_slowly_it_is_answered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "EXCHANGE_S", 1.0)
    desk.leave(incident("opened"))

    given_up = threading.Event()

    def slow(request: Request) -> Answer:
        given_up.wait(DEADLINE_S)
        return taken(request)

    desk.collector.answers.append(slow)
    assert desk.send() == 1
    given_up.set()
    assert "localhost does not answer in time" in desk.said[-1]
    assert desk.waiting() == [1]


def test_one_byte_a_second_does_not_hold_it(desk: Desk, monkeypatch: pytest.MonkeyPatch, server: Pair) -> None:
    monkeypatch.setattr(upstream, "EXCHANGE_S", 1.5)
    desk.leave(incident("opened"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)

    def drip(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 60:
                tls.send(bytes((byte,)))
                time.sleep(0.2)

    with listening(drip) as port:
        desk.policy = changed_policy(desk.policy, report_url=f"https://localhost:{port}")
        begun = time.monotonic()
        assert desk.send() == 1
        assert time.monotonic() - begun < 12  # and not 17, as all of it takes
    assert "localhost does not answer in time" in desk.said[-1]
    assert desk.waiting() == [1]


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_who_speaks_no_tls(desk: Desk, said: bytes) -> None:
    desk.leave(incident("opened"))

    def say(connection: socket.socket) -> None:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(4096)

    with listening(say) as port:
        desk.policy = changed_policy(desk.policy, report_url=f"https://localhost:{port}")
        assert desk.send() == 1
    assert desk.waiting() == [1]


def test_nobody_listens_and_no_such_host(desk: Desk) -> None:
    desk.leave(incident("opened"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for url, says in (
        (f"https://localhost:{port}", "localhost is not reached: Connection refused"),
        ("https://no-such-host.invalid", "no-such-host.invalid has no address"),
    ):
        desk.policy = changed_policy(desk.policy, report_url=url)
        assert desk.send() == 1
        assert says in desk.said[-1]
    assert desk.waiting() == [1]


def test_the_path_of_the_url_comes_before_ours(desk: Desk) -> None:
    desk.leave(incident("opened"))
    desk.policy = changed_policy(desk.policy, report_url=f"{desk.policy.report.url}/mail/filter/")
    assert desk.send() == 0
    assert desk.collector.requests[0].path == "/mail/filter/v1/reports"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "url is empty"),
        ("https://localhost/?x=1", "no ? or #"),
        ("https://localhost:0", "invalid port 0"),
        ("https://localhost:99999", "invalid port 99999"),
        (f"https://{'x' * 64}.example", "invalid host name xxx"),
    ],
)
def test_urls_that_cannot_be_used(desk: Desk, url: str, says: str) -> None:
    desk.leave(incident("opened"))
    desk.policy = changed_policy(desk.policy, report_url=url)
    done = desk.program("--once")
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


# ── certificates ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("names", "starts", "ends", "says"),
    [
        (["other.example"], -1, 30, "Hostname mismatch"),
        (["localhost"], -9, -2, "certificate has expired (this router's clock says 20"),
        (["localhost"], 5, 30, "certificate is not yet valid (this router's clock says 20"),
    ],
)
def test_a_server_s_certificate_that_is_wrong(
    desk: Desk, authority: Authority, router: Pair, names: list[str], starts: float, ends: float, says: str
) -> None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    wrong = authority._issue("wrong", ["localhost"], alternatives, ExtendedKeyUsageOID.SERVER_AUTH, starts, ends)
    collector = Collector(authority, wrong)
    try:
        desk.leave(incident("opened"))
        desk.policy = changed_policy(desk.policy, report_url=f"https://localhost:{collector.port}")
        assert desk.send() == 1
    finally:
        collector.close()
    assert collector.requests == []
    assert f"the certificate of localhost is not accepted: {says}" in desk.said[-1]
    assert desk.waiting() == [1]


def test_a_server_of_another_authority(desk: Desk, tmp_path: Path) -> None:
    desk.leave(incident("opened"))
    other = Authority(tmp_path / "other", "Somebody else")
    desk.policy = changed_policy(desk.policy, report_ca=str(other.certificate))
    assert desk.send() == 1
    assert "the certificate of localhost is not accepted: " in desk.said[-1]
    assert desk.collector.requests == []


def test_the_system_s_authorities_are_not_asked(desk: Desk, authority: Authority, tmp_path: Path) -> None:
    desk.leave(incident("opened"))
    other = Authority(tmp_path / "other", "Somebody else")
    desk.policy = changed_policy(desk.policy, report_ca=str(other.certificate))
    done = desk.program("--once", SSL_CERT_FILE=str(authority.certificate))
    assert done.returncode == 1
    assert desk.collector.requests == []


def turned_away(desk: Desk, why: str) -> bool:
    """Whether it is said why; the end of a connection may overtake the reason, but not the suspicion."""
    said = desk.said[-1]
    assert "accept this router's certificate" in said
    assert f"localhost does not accept this router's certificate: {why}" in said or "hung up at once" in said
    return why in said


def test_a_router_s_certificate_that_the_collector_does_not_know(desk: Desk, tmp_path: Path) -> None:
    desk.leave(incident("opened"))
    stranger = Authority(tmp_path / "other", "Somebody else").router("cpe-0001")
    desk.policy = changed_policy(
        desk.policy, report_certificate=str(stranger.certificate), report_key=str(stranger.key)
    )
    assert desk.send() == 1
    assert desk.collector.requests == []
    if turned_away(desk, "unknown ca"):
        assert desk.wait_s >= 1800
    assert desk.waiting() == [1]


def test_our_own_certificate_has_expired(desk: Desk, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.leave(incident("opened"))
    old = authority.router("cpe-old", starts=-9, ends=-2)
    desk.policy = changed_policy(desk.policy, report_certificate=str(old.certificate), report_key=str(old.key))
    monkeypatch.setattr(rights, "synchronised", lambda: False)  # then the collector is asked
    assert desk.send() == 1
    turned_away(desk, "certificate expired")
    monkeypatch.setattr(rights, "synchronised", lambda: True)
    with pytest.raises(send.CannotSendError, match="it has expired on 20"):
        desk.send()
    assert desk.waiting() == [1]


def instead(policy: Policy, name: str, path: Path) -> Policy:
    """The policy with this file for [report] ca, certificate or key."""
    changed: dict[str, Any] = {name: str(path)}
    return policy._replace(report=policy.report._replace(**changed))


def _mode(name: str, mode: int) -> Callable[[Desk], None]:
    def change(desk: Desk) -> None:
        source = Path(getattr(desk.policy.report, name))
        path = desk.folder / source.name
        path.write_bytes(source.read_bytes())
        path.chmod(mode)
        desk.policy = instead(desk.policy, name, path)

    return change


def _content(name: str, content: bytes | None) -> Callable[[Desk], None]:
    def change(desk: Desk) -> None:
        path = desk.folder / f"{name}.pem"
        if content is not None:
            path.write_bytes(content)
            path.chmod(0o600)
        desk.policy = instead(desk.policy, name, path)

    return change


def _encrypted(desk: Desk) -> None:
    path = desk.folder / "encrypted.key"
    words = ["openssl", "pkcs8", "-topk8", "-in", desk.policy.report.key, "-passout", "pass:x", "-out", str(path)]
    subprocess.run(words, check=True)
    path.chmod(0o600)
    desk.policy = changed_policy(desk.policy, report_key=str(path))


def _of_another(desk: Desk) -> None:
    words = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    path = desk.folder / "other.key"
    subprocess.run([*words, "-out", str(path)], check=True)
    path.chmod(0o600)
    desk.policy = changed_policy(desk.policy, report_key=str(path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_mode("key", 0o644), "[report] key: {key}: others can read or change it (mode 0644); allowed: 0600 or 0640"),
        (_mode("key", 0o660), "others can read or change it (mode 0660)"),
        (_mode("key", 0o604), "others can read or change it (mode 0604)"),
        (_mode("ca", 0o666), "[report] ca: {ca}: others can change it (mode 0666); allowed: 0644"),
        (_mode("certificate", 0o664), "[report] certificate: {certificate}: others can change it (mode 0664)"),
        (_content("key", None), "[report] key: {key}: No such file or directory"),
        (_content("ca", None), "[report] ca: {ca}: No such file or directory"),
        (_content("key", b"nonsense"), "[report] key: {key} cannot be read (PEM)"),
        (_content("ca", b""), "[report] ca: {ca} holds no certificates (PEM)"),
        (_content("certificate", b"nonsense"), "[report] certificate: {certificate}: no certificate in it (PEM)"),
        (_encrypted, "[report] key: {key} cannot be read (PEM)"),
        (_of_another, "[report] key: {key} does not belong to the certificate"),
    ],
)
def test_files_that_cannot_be_used(desk: Desk, change: Callable[[Desk], None], says: str) -> None:
    desk.leave(incident("opened"))
    change(desk)
    policy = desk.policy
    done = desk.program("--once")
    assert done.returncode == 2
    files = {"key": policy.report.key, "ca": policy.report.ca, "certificate": policy.report.certificate}
    assert says.format(**files) in done.stderr
    assert done.stderr.count("\n") == 1
    assert desk.waiting() == [1]
    assert desk.collector.requests == []


def test_a_group_may_read_the_key(desk: Desk) -> None:
    desk.leave(incident("opened"))
    _mode("key", 0o640)(desk)
    assert desk.send() == 0


def test_a_certificate_of_nobody(desk: Desk, authority: Authority) -> None:
    nobody = authority.named("nobody", [])
    desk.policy = changed_policy(desk.policy, report_certificate=str(nobody.certificate), report_key=str(nobody.key))
    with pytest.raises(send.CannotSendError, match="no common name"):
        desk.send()


# ── as a program ────────────────────────────────────────────────────────────────────────────────────


def test_proxies_of_the_environment_are_not_asked(desk: Desk) -> None:
    desk.leave(incident("opened"))
    done = desk.program("--once", https_proxy="http://127.0.0.1:9", ALL_PROXY="http://127.0.0.1:9")
    assert (done.returncode, desk.waiting()) == (0, [])
    assert "1 event delivered" in done.stderr


def test_without_anything_to_do(desk: Desk) -> None:
    done = desk.program("--once")
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing waits to be sent\n", "")


def test_before_a_filter_has_run(tmp_path: Path, desk: Desk) -> None:
    desk.policy = changed_policy(desk.policy, status_file=str(tmp_path / "elsewhere" / "status.json"))
    done = desk.program()
    assert done.returncode == 1
    assert "no filter has made reports yet" in done.stderr


def test_after_a_boot_it_says_when_it_will_send(desk: Desk) -> None:
    desk.leave(incident("opened"))
    reader = SpoolReader(str(desk.folder / "run" / "report"))
    done = desk.program()
    while "is due in" not in done.stdout:  # one in sixty is due within a minute
        assert done.returncode == 0
        os.unlink(desk.folder / "run" / "report" / "sent" / "plan")
        desk.leave(incident("opened", desk.spool.next))
        done = desk.program()
    assert done.returncode == 0
    assert 0 < int(done.stdout.split()[5]) <= schedule.SPLAY_S + 60
    reader.close()


def test_it_waits_for_what_is_due_and_ends_after_it(desk: Desk) -> None:
    desk.leave(incident("opened"))
    desk.reader.write("plan", Plan(desk.boot, uptime() + 2))
    if os.geteuid() == 0:
        os.chown(desk.folder / "run" / "report" / "sent" / "plan", NOBODY, NOBODY)
    begun = time.monotonic()
    done = desk.program("--wait")
    assert done.returncode == 0
    assert time.monotonic() - begun > 1.5
    assert desk.waiting() == []


def test_a_new_event_ends_the_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "LOOK_S", 0.1)
    monkeypatch.setattr(schedule, "MINUTE_S", 1)
    desk.leave()
    desk.reader.write("plan", Plan(desk.boot, 0.0))
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 5:
            desk.leave(incident("opened"))

    monkeypatch.setattr(time, "sleep", sleep)
    assert desk.send("wait") == 0
    assert len(looks) >= 5
    assert desk.waiting() == []


def test_a_wait_has_an_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [uptime()]
    monkeypatch.setattr(send, "uptime", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    begun = now[0]
    assert desk.send("wait") == 0
    assert now[0] - begun == pytest.approx(send.LONG_S, abs=1)


def test_heartbeats_keep_their_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.leave(BEAT)
    desk.reader.write("plan", Plan(desk.boot, 0.0, beat=uptime() + 5000))
    assert desk.send("") == 0
    assert desk.collector.requests == []
    desk.reader.write("plan", Plan(desk.boot, 0.0, beat=uptime() - 1))
    assert desk.send("") == 0
    assert desk.waiting() == []
    assert 43000 < desk.plan().beat - uptime() < 130_000


def test_nothing_is_sent_that_could_not_be_noted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.leave(incident("opened"))

    def full(name: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(desk.reader, "_replace", full)
    with pytest.raises(OSError, match="No space"):
        desk.send()
    assert desk.collector.requests == []


@root
def test_root_becomes_the_user_before_it_connects(desk: Desk) -> None:
    """Looked at from the collector's side, while it waits for the answer."""
    desk.leave(incident("opened"))
    os.chmod(desk.policy.report.key, 0o600)
    found: list[str] = []
    groups = [4, 24]
    program = subprocess.Popen(
        desk.command("--once"), stderr=subprocess.PIPE, text=True, cwd=PROJECT, extra_groups=groups
    )

    def look(request: Request) -> Answer:
        found.extend(Path(f"/proc/{program.pid}/status").read_text().splitlines())
        return taken(request)

    desk.collector.answers.append(look)
    _, said = program.communicate(timeout=DEADLINE_S)
    assert program.returncode == 0, said
    status = dict(line.split(":\t", 1) for line in found if ":\t" in line)
    assert status["Uid"].split() == [str(NOBODY)] * 4
    assert status["Gid"].split() == [str(NOBODY)] * 4
    assert status["Groups"].strip() == ""
    assert {status[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
    assert desk.waiting() == []


@root
@pytest.mark.parametrize(("user", "says"), [("nosuchuser", "no such user"), ("toor", "another name of root")])
def test_users_that_cannot_be_used(desk: Desk, user: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.leave(incident("opened"))
    import pwd

    known = {"toor": pwd.struct_passwd(("toor", "x", 0, 0, "", "/", "/bin/sh"))}
    monkeypatch.setattr(pwd, "getpwnam", known.__getitem__)
    with pytest.raises(send.CannotSendError, match=rf"\[report\] user is {user}[;,] .*{says}"):
        send.run(changed_policy(desk.policy, report_user=user), "once")
    assert os.geteuid() == 0
    assert desk.collector.requests == []


@root
@pytest.mark.parametrize("moment", ["before the answer", "after the answer"])
def test_killed_on_the_way_nothing_is_lost_and_nothing_counts_twice(desk: Desk, moment: str) -> None:
    desk.leave(*(incident("opened", number) for number in range(1, 9)))
    stored: set[tuple[str, str, int]] = set()

    def store(request: Request) -> None:
        stored.update((request.router, request.report["boot"], seq) for seq in request.seqs)

    program = subprocess.Popen(desk.command("--once"), stderr=subprocess.DEVNULL, cwd=PROJECT)

    def kill(request: Request) -> Answer | None:
        store(request)
        if moment == "before the answer":
            os.kill(program.pid, signal.SIGKILL)
            program.wait()
            return None
        os.kill(program.pid, signal.SIGSTOP)  # the answer arrives, and nobody reads it
        return taken(request)

    desk.collector.answers.append(kill)
    end = time.monotonic() + DEADLINE_S
    while not stored and time.monotonic() < end:
        time.sleep(0.02)
    if moment == "after the answer":
        time.sleep(0.2)
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
    assert desk.waiting() == list(range(1, 9))
    # At once it does not try again: what it began was noted.
    assert 30 < desk.wait_s <= 60

    def again(request: Request) -> Answer:
        store(request)
        return taken(request)

    desk.collector.answers.append(again)
    assert desk.program("--once").returncode == 0
    assert desk.waiting() == []
    assert desk.collector.seqs == [*range(1, 9), *range(1, 9)]
    assert len(stored) == 8


def test_two_at_once(desk: Desk) -> None:
    desk.leave(incident("opened"))
    assert desk.reader.lock()
    done = desk.program("--once")
    assert done.returncode == 0
    assert f"already running (pid {os.getpid()})" in done.stderr
    assert desk.collector.requests == []


def test_a_torn_spool_is_told(desk: Desk) -> None:
    desk.leave(incident("opened"))
    path = desk.folder / "run" / "report" / SPOOL
    path.write_bytes(path.read_bytes()[:-3])
    done = desk.program("--once")
    assert done.returncode == 1
    assert "cut short or damaged" in done.stderr
    assert desk.collector.requests == []
