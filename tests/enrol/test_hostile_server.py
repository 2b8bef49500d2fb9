"""What a hostile or broken EST server can do to a router: nothing. One clear line, exit status 1, the old files."""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from cpe_filter.enrol import est
from cpe_filter.enrol.libcrypto import Crypto
from cpe_filter.enrol.protocol import MAX_ANSWER
from tests.collect.ca import Authority
from tests.enrol.server import Answer, Router, Scripted, certs_only, http
from tests.ports import free_port

NO_CERTIFICATES = "the answer has no certificates (PKCS #7 in Base64)"
TOO_LARGE = f"the answer is too large; allowed: at most {MAX_ANSWER} bytes"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(params=["the first", "a renewal"])
def router(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> Router:
    made = Router(tmp_path / "router", authority)
    if request.param == "a renewal":
        made.hold(authority.router(made.id))
    return made


@pytest.fixture
def server(authority: Authority) -> Iterator[Scripted]:
    with Scripted(authority) as made:
        yield made


def refused(router: Router, url: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line, behind the server's name."""
    before = router.state()
    assert router.enrol(url) == 1
    assert router.state() == before
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.isprintable()
    assert len(line) < 500
    assert line.startswith("cpe-filter: enrol: ")
    assert line.endswith("; nothing has changed")
    return line.removeprefix("cpe-filter: enrol: ").removesuffix("; nothing has changed").removeprefix(f"{url}: ")


def test_a_good_server(router: Router, server: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    assert router.enrol(server.url) == 0
    assert capsys.readouterr().out.startswith("certificate of cpe-0001, until ")
    assert sorted(path.name for path in router.folder.glob("router.*")) == ["router.key", "router.pem"]


def request_of_another() -> bytes:
    return base64.encodebytes(Crypto().request(Crypto().make_key(), "another"))


# ── bytes ───────────────────────────────────────────────────────────────────────────────────────────


def without_end(piece: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/pkcs7-mime\r\n\r\n"
    while True:
        yield b"10000\r\n" + (piece * 65536)[:65536] + b"\r\n"


def other_tag(at: int, to: int) -> bytes:
    """A good answer with one byte of its DER changed."""
    der = bytearray(base64.b64decode(GOOD))
    der[at] = to
    return base64.encodebytes(bytes(der))


#: Certificates only, and none of them (RFC 5652 section 5.1).
NONE = bytes.fromhex("302306092a864886f70d010702a01630140201013100300b06092a864886f70d010701a0003100")
GOOD = (Path(__file__).parent / "rfc7030-cacerts.txt").read_bytes()

BODIES: dict[str, tuple[Answer | Callable[[bytes], Answer], str]] = {
    "huge": (http(b"A" * 10_000_000), TOO_LARGE),
    "chunks without end": (lambda body: without_end(b"A"), TOO_LARGE),
    "chunks without end of white space": (lambda body: without_end(b"\n"), TOO_LARGE),
    "not Base64": (http(bytes(range(256)) * 4), NO_CERTIFICATES),
    "not PKCS #7": (http(base64.b64encode(b"\x30\x03\x02\x01\x01")), NO_CERTIFICATES),
    "empty": (http(b""), NO_CERTIFICATES),
    "HTML": (http(b"<html><body>Log in</body></html>"), NO_CERTIFICATES),
    "cut": (http(GOOD[: len(GOOD) // 2 // 4 * 4]), NO_CERTIFICATES),
    "a length beyond the end": (http(other_tag(3, 0xFF)), NO_CERTIFICATES),
    "an endless length": (http(other_tag(1, 0x80)), NO_CERTIFICATES),
    "another tag": (http(other_tag(0, 0x31)), NO_CERTIFICATES),
    "nested": (http(base64.b64encode(b"\x30\x82\x7f\xff" * 8000)), NO_CERTIFICATES),
    "no certificates": (http(base64.b64encode(NONE)), NO_CERTIFICATES),
}


@pytest.mark.parametrize("operation", ["cacerts", "enrol"])
@pytest.mark.parametrize("what", BODIES)
def test_a_body(
    router: Router, server: Scripted, capsys: pytest.CaptureFixture[str], what: str, operation: str
) -> None:
    answer, why = BODIES[what]
    for name in ("cacerts",) if operation == "cacerts" else ("simpleenroll", "simplereenroll"):
        server.answers[name] = answer
    assert refused(router, server.url, capsys) == why


def test_a_good_body_of_another_type(router: Router, server: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("text/html", "", "application/pkcs7-signature"):
        server.answers["cacerts"] = http(certs_only(server.certificate), kind=kind)
        assert refused(router, server.url, capsys) == (
            f"answered with Content-Type {kind or 'none'}; expected application/pkcs7-mime"
        )
    for name in ("simpleenroll", "simplereenroll"):
        server.answers["cacerts"] = server.good
        server.answers[name] = lambda body: http(certs_only(server.issued(body)), kind="text/html\x1b[31m")
    assert "answered with Content-Type text/html" in refused(router, server.url, capsys)


def test_a_body_as_others_write_it(router: Router, server: Scripted) -> None:
    """With parameters, in one line, with white space, PEM-like line ends: RFC 8951 has them ignored."""
    for name in ("simpleenroll", "simplereenroll"):
        server.answers[name] = lambda body: http(
            b"\r\n" + certs_only(server.issued(body)).replace(b"\n", b"  \r\n\t"),
            "200 OK", "Application/PKCS7-MIME ; smime-type=certs-only",
        )  # fmt: skip
    assert router.enrol(server.url) == 0


# ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────

STATUSES: dict[str, tuple[Answer, str]] = {
    "202": (http(b"", "202 Accepted", "", "Retry-After: 99999999999999999999"), "answered 202: "),
    "202 with a text": (http(b"later\n", "202 Accepted", "text/plain", "Retry-After: 5"), "answered 202: later"),
    "a redirect": (http(b"", "302 Found", "", "Location: https://evil.example/"), "answered 302: "),
    "204": (http(b"", "204 No Content", ""), "answered 204: "),
    "500 with what a terminal obeys": (
        http(b"\x1b[2J\r\n\x9b31m\xe2\x80\xae" + b"x" * 999, "500 No", ""), "answered 500: ",
    ),
    "401 with a nonce that is none": (
        http(b"who?", "401 No", "", 'WWW-Authenticate: CPE-Factory nonce="a\\"b, router=\\"x"'), "answered 401: who?",
    ),
    "401 with a huge nonce": (
        http(b"", "401 No", "", f'WWW-Authenticate: CPE-Factory nonce="{"a" * 5000}"'), "answered 401: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", STATUSES)
def test_a_status(router: Router, server: Scripted, capsys: pytest.CaptureFixture[str], what: str) -> None:
    answer, why = STATUSES[what]
    for name in ("simpleenroll", "simplereenroll"):
        server.answers[name] = answer
    assert refused(router, server.url, capsys).startswith(why)
    assert len(server.asked) <= 4


def test_what_is_not_http(router: Router, server: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    long_line = b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"
    many = b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n"
    for answer in (b"\0\1\2\r\n\r\n", b"HTTP/1.1 x OK\r\n\r\n", b"SSH-2.0-x\r\n", long_line, many, b""):
        server.answers["cacerts"] = answer
        why = refused(router, server.url, capsys)
        assert why


def slowly(piece: bytes, times: int, wait_s: float) -> Iterator[bytes]:
    for _ in range(times):
        time.sleep(wait_s)
        yield piece


@pytest.mark.parametrize("what", ["head", "body", "100 Continue", "nothing"])
def test_a_server_that_takes_its_time(
    router: Router, server: Scripted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It is waited for as long as all of it may take, whatever comes meanwhile."""
    monkeypatch.setattr(est, "WHOLE_S", 1.5)
    begin = b"HTTP/1.1 200 OK\r\nContent-Type: application/pkcs7-mime\r\nContent-Length: 9999\r\n\r\n"
    answers: dict[str, Callable[[], Iterator[bytes]]] = {
        "head": lambda: slowly(b"H", 100, 0.2),
        "body": lambda: itertools.chain([begin], slowly(b"A", 100, 0.2)),
        "100 Continue": lambda: slowly(b"HTTP/1.1 100 Continue\r\n\r\n", 100, 0.2),
        "nothing": lambda: slowly(b"", 100, 0.2),
    }
    server.answers["cacerts"] = lambda body: answers[what]()
    assert refused(router, server.url, capsys) == "it took too long"


def test_a_server_that_says_nothing(
    router: Router, server: Scripted, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(est, "SILENCE_S", 0.5)
    server.answers["cacerts"] = lambda body: slowly(b"", 100, 0.2)
    assert refused(router, server.url, capsys) == "no answer within 0.5 s"


# ── certificates ────────────────────────────────────────────────────────────────────────────────────


def issues(server: Scripted, make: Callable[[bytes], bytes]) -> None:
    for name in ("simpleenroll", "simplereenroll"):
        server.answers[name] = make


def test_certificates_that_are_not_its_own(
    router: Router, server: Scripted, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    other = x509.load_pem_x509_certificate(authority.router("other").certificate.read_bytes()).public_key()
    issues(server, lambda body: http(certs_only(server.issued(body, key=other))))
    assert refused(router, server.url, capsys) == "the answer has no certificate for the key that was sent"
    issues(server, lambda body: http(certs_only(server.issued(body, name="cpe-0002"))))
    assert refused(router, server.url, capsys) == (
        "the certificate that was issued is of 'cpe-0002'; expected cpe-0001"
    )
    issues(server, lambda body: http(certs_only(server.issued(body, name="\u202ecpe-0001\n\x1b"))))
    assert "the certificate that was issued is of '\\u202ecpe-0001\\n\\x1b'" in refused(router, server.url, capsys)


@pytest.mark.parametrize(("starts", "ends", "why"), [
    (-30, -1, "the certificate that was issued has expired on "),
    (3, 90, "the certificate that was issued is not valid before "),
    (9000, 9090, "the certificate that was issued is not valid before "),
])  # fmt: skip
def test_certificates_of_another_time(
    router: Router, server: Scripted, capsys: pytest.CaptureFixture[str], starts: float, ends: float, why: str
) -> None:
    """One of a time to come would never be renewed: it is not due for years."""
    issues(server, lambda body: http(certs_only(server.issued(body, starts=starts, ends=ends))))
    assert refused(router, server.url, capsys).startswith(why)


def test_too_many_certificates(router: Router, server: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    issues(server, lambda body: http(certs_only(*(server.issued(body) for _ in range(17)))))
    assert refused(router, server.url, capsys) == NO_CERTIFICATES


def test_authorities_that_issue_each_other(
    router: Router, server: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    """Followed once: a file with the same certificates again and again would fill the flash."""

    def looped(body: bytes) -> bytes:
        one = server.issued(request_of_another(), name="one", issuer="two")
        two = server.issued(request_of_another(), name="two", issuer="one")
        server.answers["cacerts"] = http(certs_only(one, two))
        return http(certs_only(server.issued(body, issuer="one")))

    looped(request_of_another())
    issues(server, looped)
    assert refused(router, server.url, capsys) == "the authorities in the answer have issued each other"


def test_an_intermediate_authority_is_kept(router: Router, server: Scripted) -> None:
    def chained(body: bytes) -> bytes:
        return http(certs_only(server.issued(body, issuer="middle")))

    middle = server.issued(request_of_another(), name="middle")
    server.answers["cacerts"] = http(certs_only(server.certificate, middle))
    issues(server, chained)
    assert router.enrol(server.url) == 0
    found = x509.load_pem_x509_certificates(router.pem.read_bytes())
    assert [one.subject.rfc4514_string() for one in found] == ["CN=cpe-0001", "CN=middle"]


# ── TLS and the address ─────────────────────────────────────────────────────────────────────────────


def test_tls_of_another_authority(router: Router, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Scripted(Authority(tmp_path / "other")) as server:
        why = refused(router, server.url, capsys)
        assert why.startswith("its certificate is not accepted: ")
        assert server.asked == []


def test_tls_of_another_name_and_time(router: Router, authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    for pair in (authority.server("other.example"), authority.named("nameless", ["localhost"])):
        with Scripted(authority, pair) as server:
            assert refused(router, server.url, capsys).startswith("its certificate is not accepted: ")
            assert server.asked == []


def test_no_tls(router: Router, authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    with Scripted(authority, tls=False) as server:
        assert refused(router, server.url, capsys) == "no TLS: wrong version number"
    assert refused(router, f"https://localhost:{free_port()}", capsys).endswith("Connection refused")


@pytest.mark.parametrize("url", [
    "http://localhost:1", "https://", "https://:1", "https://a@localhost", "https://localhost:0", "https://localhost:99999",
    "https://localhost/est", "https://localhost:x", "https://lo calhost", "https://\u00fc.example", "ftp://x", "",
])  # fmt: skip
def test_addresses_that_are_refused(router: Router, capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert "expected https://HOST or https://HOST:PORT" in refused(router, url, capsys)


# ── dates ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("date", [
    "none", "yesterday", "Mon, 99 Foo 2026", "9" * 5000, "Thu, 01 Jan 1970 00:00:00 -0000",
    "Fri, 31 Dec 9999 23:59:59 GMT",
])  # fmt: skip
def test_a_server_with_another_clock(
    authority: Authority, server: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str], date: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """This router's clock is not synchronised, so the server's decides whether it is time; not what it cannot say."""
    monkeypatch.setattr("cpe_filter.enrol.command.synchronised", lambda: False)
    router = Router(tmp_path / "router", authority)
    router.hold(authority.router(router.id))
    server.answers["cacerts"] = http(certs_only(server.certificate), date=date)
    if date.startswith("Fri"):  # long due; but nothing that is valid now is valid then
        assert "has expired" in refused(router, server.url, capsys)
        return
    before = router.state()
    assert router.enrol(server.url, now=False) == 1
    assert router.state() == before
    assert capsys.readouterr().err == (
        f"cpe-filter: enrol: {server.url}: says no time, and this router's clock is not synchronised;"
        " nothing has changed\n"
    )
