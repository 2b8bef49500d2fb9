"""`policy fetch` from a broken or hostile server, over real TLS: the last good policy stays, with one clear line.

Each ends within its time, takes few bytes, and leaves nothing behind that keeps the next document away.
"""

from __future__ import annotations

import gzip
import itertools
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpe_filter.provision import command
from cpe_filter.provision import fetch as module
from cpe_filter.provision.etags import MOST_UNCHANGED
from cpe_filter.provision.folder import MAX_DOCUMENT
from tests.collect.ca import Authority, Pair
from tests.provision.hostile import Pieces, Server
from tests.provision.test_command import Router, router

__all__ = ["router"]
#: Of the fetch in these tests: seconds of silence, and for all.
SILENCE_S, WHOLE_S = 1.0, 3.0
#: Bytes that the kernels' buffers may have taken of an answer without an end.
MOST_TAKEN = 24 << 20
OK = b"HTTP/1.1 200 OK\r\n"
X = b"x" * 4096


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_S", SILENCE_S)
    monkeypatch.setattr(module, "WHOLE_S", WHOLE_S)


def good(document: bytes, etag: str = '"good"') -> Pieces:
    return [OK + f"ETag: {etag}\r\nContent-Length: {len(document)}\r\n\r\n".encode() + document]


def says(data: bytes) -> Callable[[], Pieces]:
    return lambda: [data]


class Home:
    """A router with a policy in force, and the one that the ISP has published since then."""

    def __init__(self, router: Router, authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
        self.router, self.authority, self.capsys = router, authority, capsys
        self.server = Server(authority.server())
        self.new = router.document('[filter]\nmode = "limit"\n', sequence=8).read_bytes()
        old = router.document(sequence=7).read_bytes()
        self.server.answer = lambda: good(old, '"old"')
        assert self.fetch() == 0
        assert router.mode == "monitor"
        capsys.readouterr()

    def fetch(self, url: str = "") -> int:
        ca, place = str(self.authority.certificate), self.router.place
        return command.fetch([url or self.server.url], ca, 0, place, self.router.reload)

    def is_refused(self, why: str, code: int = 1) -> None:
        """Nothing changes; then the honest server is asked, and the new document is taken."""
        before = sorted(
            (path, path.read_bytes()) for path in Path(self.router.place.folder).rglob("*") if path.is_file()
        )
        begun = time.monotonic()
        assert self.fetch() == code
        assert time.monotonic() - begun < 60  # its own bound is 3 s; the machine may be busy
        shown = self.capsys.readouterr()
        assert (shown.out, shown.err.count("\n")) == ("", 1), shown
        assert shown.err.startswith(f"cpe-filter: {self.server.url}: ")
        assert shown.err.endswith("; the policy stays as it was\n")
        assert why in shown.err, shown.err
        assert all(c.isascii() and c.isprintable() for c in shown.err[:-1])
        after = sorted(
            (path, path.read_bytes()) for path in Path(self.router.place.folder).rglob("*") if path.is_file()
        )
        if code == 1:
            assert after == before
        assert self.router.mode == "monitor"
        assert self.server.sent < MOST_TAKEN
        self.takes_the_new_one()

    def takes_the_new_one(self) -> None:
        self.server.close()
        self.server = Server(self.authority.server(), lambda: good(self.new))
        assert self.fetch() == 0
        assert self.router.mode == "limit"


@pytest.fixture
def home(router: Router, authority: Authority, capsys: pytest.CaptureFixture[str]) -> Iterator[Home]:
    made = Home(router, authority, capsys)
    yield made
    made.server.close()


def head(*fields: bytes) -> bytes:
    return OK + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def endless(first: bytes, piece: bytes) -> Callable[[], Pieces]:
    return lambda: itertools.chain([first], itertools.repeat(piece))


def slow(data: bytes) -> Callable[[], Pieces]:
    """A byte at a time, each soon enough."""

    def pieces() -> Pieces:
        for byte in data:
            yield bytes((byte,))
            time.sleep(SILENCE_S / 10)

    return pieces


def stalls(data: bytes) -> Callable[[], Pieces]:
    def pieces() -> Pieces:
        yield data
        time.sleep(2 * WHOLE_S)

    return pieces


CHUNKED = b"Transfer-Encoding: chunked"
SHORT, TWICE, NOT_SIZE = "the connection ended within", "twice", "the size of a chunk is not a number"
LARGE = f"too large; allowed: at most {MAX_DOCUMENT} bytes"
HEADER = "its header is too large; allowed: at most 32768 bytes"
NOT_STATUS, NOT_FIELD = "it does not begin with a status line", "its header has a line that is not a field"
NOT_NUMBER, BOTH = "its content-length is not a number", "content-length and transfer-encoding"

#: Name -> what is sent, and what the line says.
ANSWERS: dict[str, tuple[bytes | Callable[[], Pieces], str]] = {
    "nothing": (b"", SHORT),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", NOT_STATUS),
    "HTTP 0.9": (b"[document]\r\n\r\n", NOT_STATUS),
    "HTTP 2": (b"HTTP/2 200\r\n\r\n", NOT_STATUS),
    "status without an end": (endless(b"HTTP/1.1 200 ", X), HEADER),
    "status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n", NOT_STATUS),
    "status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", NOT_STATUS),
    "status below 100": (b"HTTP/1.1 099 OK\r\n\r\n", NOT_STATUS),
    "status in other digits": ("HTTP/1.1 ２００ OK\r\n\r\n".encode(), NOT_STATUS),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", "answered 101; expected 200"),
    "1xx without an end": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), HEADER),
    "103 without an end": (endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), HEADER),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204; expected 200"),
    "206": (b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-3/9\r\nContent-Length: 4\r\n\r\nabcd", "answered 206"),
    "301 to http": (b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/x\r\n\r\n", "answered 301; expected 200"),
    "302 to itself": (b"HTTP/1.1 302 Found\r\nLocation: /routers.signed\r\n\r\n", "answered 302; expected 200"),
    "403": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "answered 403; expected 200"),
    "404 with a large page": (endless(b"HTTP/1.1 404 No\r\n\r\n", X), "answered 404; expected 200"),
    "503": (b"HTTP/1.1 503 Busy\r\nRetry-After: 9999999999\r\n\r\n", "answered 503; expected 200"),
    "a large field": (head(b"X: " + b"x" * 40000), HEADER),
    "a field without an end": (endless(OK + b"X: ", X), HEADER),
    "fields without an end": (endless(OK, b"X: y\r\n"), HEADER),
    "a folded field": (head(b"Content-Length: 3", b" 3"), NOT_FIELD),
    "a field without a colon": (head(b"Content-Length 3"), NOT_FIELD),
    "a space before the colon": (head(b"Content-Length : 3"), NOT_FIELD),
    "a NUL in a field": (head(b"ETag: \"a\0b\""), NOT_FIELD),
    "a CR in a field": (head(b"ETag: \"a\rb\""), NOT_FIELD),
    "lines that end in LF": (b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", "does not end in CR LF"),
    "no end of the header": (stalls(OK + b"Content-Length: 3\r\n"), "does not answer in time"),
    "no length": (head() + b"abc", "its length is not known"),
    "two lengths": (head(b"Content-Length: 3", b"Content-Length: 4") + b"abcd", TWICE),
    "one length twice": (head(b"Content-Length: 3", b"content-length: 3") + b"abc", TWICE),
    "a list of lengths": (head(b"Content-Length: 3, 3") + b"abc", NOT_NUMBER),
    "length and chunked": (head(b"Content-Length: 3", CHUNKED) + b"3\r\nabc\r\n0\r\n\r\n", BOTH),
    "chunked twice": (head(CHUNKED, CHUNKED) + b"0\r\n\r\n", TWICE),
    "gzip, chunked": (head(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", "transfer-encoding is not chunked"),
    "chunked, chunked": (head(b"Transfer-Encoding: chunked, chunked"), "transfer-encoding is not chunked"),
    "a length below 0": (head(b"Content-Length: -1") + b"abc", NOT_NUMBER),
    "a length with a sign": (head(b"Content-Length: +3") + b"abc", NOT_NUMBER),
    "a length in hex": (head(b"Content-Length: 0x3") + b"abc", NOT_NUMBER),
    "a length with an underscore": (head(b"Content-Length: 1_0") + b"x" * 10, NOT_NUMBER),
    "an empty length": (head(b"Content-Length:") + b"abc", NOT_NUMBER),
    "a length of other digits": (head("Content-Length: ٣".encode()) + b"abc", NOT_NUMBER),
    "a length of 10^40": (endless(head(b"Content-Length: 1" + b"0" * 40), X), LARGE),
    "a length above the bound": (endless(head(b"Content-Length: %d" % (MAX_DOCUMENT + 1)), X), LARGE),
    "shorter than its length": (head(b"Content-Length: 4096") + b"abc", SHORT),
    "gzip": (head(b"Content-Encoding: gzip", b"Content-Length: 23") + gzip.compress(b"abc"), "it is compressed"),
    "a bomb": (head(b"Content-Encoding: gzip", CHUNKED) + gzip.compress(bytes(1 << 20)), "it is compressed"),
    "chunks above the bound": (endless(head(CHUNKED), b"1000\r\n" + X + b"\r\n"), LARGE),
    "chunks of one byte": (endless(head(CHUNKED), b"1\r\nx\r\n" * 1000), HEADER),
    "a chunk below 0": (endless(head(CHUNKED) + b"-5\r\n", X), NOT_SIZE),
    "a chunk of -0": (head(CHUNKED) + b"-0\r\n\r\n", NOT_SIZE),
    "a chunk with a sign": (head(CHUNKED) + b"+3\r\nabc\r\n0\r\n\r\n", NOT_SIZE),
    "a chunk with 0x": (head(CHUNKED) + b"0x3\r\nabc\r\n0\r\n\r\n", NOT_SIZE),
    "a chunk with an underscore": (head(CHUNKED) + b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n", NOT_SIZE),
    "a chunk without a size": (head(CHUNKED) + b"\r\nabc\r\n0\r\n\r\n", NOT_SIZE),
    "a chunk of 16^40": (endless(head(CHUNKED) + b"f" * 40 + b"\r\n", X), LARGE),
    "a chunk that is longer": (head(CHUNKED) + b"3\r\nabcd\r\n0\r\n\r\n", "a chunk is longer than its size"),
    "a chunk that is shorter": (head(CHUNKED) + b"f\r\nabc\r\n0\r\n\r\n", SHORT),
    "no last chunk": (head(CHUNKED) + b"3\r\nabc\r\n", SHORT),
    "no end behind the last chunk": (head(CHUNKED) + b"3\r\nabc\r\n0\r\n", SHORT),
    "a size without an end": (endless(head(CHUNKED) + b"0", b"0" * 4096), HEADER),
    "an extension without an end": (endless(head(CHUNKED) + b"3;", X), HEADER),
    "trailers without an end": (endless(head(CHUNKED) + b"0\r\n", b"X: y\r\n"), HEADER),
    "a slow header": (slow(OK + b"X: " + b"y" * 900), f"it took more than {WHOLE_S:.0f} s"),
    "a slow body": (
        lambda: itertools.chain([head(b"Content-Length: 900")], slow(b"x" * 900)()),
        f"it took more than {WHOLE_S:.0f} s",
    ),
    "silence": (stalls(b""), "it does not answer in time"),
    "a body that stops": (stalls(head(b"Content-Length: 9") + b"abc"), "it does not answer in time"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_not_taken(home: Home, name: str) -> None:
    answer, why = ANSWERS[name]
    home.server.answer = says(answer) if isinstance(answer, bytes) else answer
    home.is_refused(why)
    assert len(home.server.asked) == 1  # no redirect is followed


def test_a_document_cut_short_is_fetched_again(home: Home) -> None:
    """At any place, cleanly or by a reset, with the ETag of the complete one."""
    (complete,) = good(home.new)
    for cut in (len(complete) - 1, len(complete) - 40, len(complete) // 2, 30):
        for abrupt in (False, True):
            home.server.answer, home.server.abrupt = says(complete[:cut]), abrupt
            assert home.fetch() == 1
            shown = home.capsys.readouterr().err
            assert "ended within" in shown or "closed the connection" in shown
    assert home.router.mode == "monitor"
    home.takes_the_new_one()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("old", "(sequence); the policy"),
        ("unsigned", "(format); the policy"),
        ("damaged", "(signature); the policy"),
        ("other key", "(key); the policy"),
        ("empty", "(format); the policy"),
        ("a page", "(format); the policy"),
        ("NULs", "(format); the policy"),
        ("large", "(large); the policy"),
    ],
)
def test_an_etag_of_another_document(home: Home, name: str, why: str) -> None:
    """A server that gives something else the ETag of the new document does not keep the new one away."""
    from tests.signed import making

    bodies = {
        "old": home.router.document(sequence=3).read_bytes(),
        "unsigned": home.new.split(b"\n", 2)[2],
        "damaged": home.new[:-3] + b"#\n\n",
        "other key": home.router.document(sequence=8, key=making.key("other")).read_bytes(),
        "empty": b"",
        "a page": b"<html>Sign in to the network</html>",
        "NULs": bytes(5000),
        "large": home.new + b"#" * (90 << 10),
    }
    home.server.answer = lambda: good(bodies[name], '"good"')
    if name != "old":
        home.is_refused(why, 2)
        return
    assert home.fetch() == 2  # it was signed, so its ETag counts, for a while
    assert why in home.capsys.readouterr().err
    home.server.answer = lambda: [b"HTTP/1.1 304 Not Modified\r\n\r\n"]
    for _ in range(MOST_UNCHANGED):
        assert home.fetch() == 0
        assert b'If-None-Match: "good"' in home.server.asked[-1]
    home.server.answer = lambda: good(home.new)
    assert home.fetch() == 0
    assert b"If-None-Match" not in home.server.asked[-1]
    assert home.router.mode == "limit"


def test_not_modified_unasked(home: Home) -> None:
    """Not "nothing new": the router has nothing of which it could be."""
    (Path(home.router.place.folder) / "etags").unlink()
    home.server.answer = lambda: [b'HTTP/1.1 304 Not Modified\r\nETag: "good"\r\n\r\n']
    home.is_refused("answered 304 (not modified), unasked")


def test_good_answers_in_other_forms(home: Home, authority: Authority) -> None:
    new = home.new
    half = len(new) // 2
    chunks = b"%x ; a=b\r\n%b\r\n%X\r\n%b\r\n000\r\nX: y\r\n\r\n" % (half, new[:half], len(new) - half, new[half:])
    length = b"content-length:%d \t" % len(new)
    forms = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n" + chunks,
        b"HTTP/1.0 200\r\n" + length + b"\r\n\r\n" + new,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n" + head(length) + new,
        head(length, b"Content-Encoding: identity", b"X-Note: \xfc") + new + b"more behind it",
    )
    for form in forms:
        home.server.answer = says(form)
        assert module.fetch(home.server.url, str(authority.certificate), "nobody").document == new
    home.server.answer = lambda: [form[at : at + 1] for at in range(len(form))]
    assert module.fetch(home.server.url, str(authority.certificate), "nobody").document == new


@pytest.mark.parametrize(
    ("etag", "kept"),
    [
        ('"a"', '"a"'),
        ('W/"a-b"', 'W/"a-b"'),
        ("a", ""),
        ('"a', ""),
        ('"a b"', ""),
        ('"' + "x" * 300 + '"', ""),
        ('"\xe9"', ""),
        ('"', ""),
        ("", ""),
    ],
)
def test_etags_that_can_be_sent_back(home: Home, authority: Authority, etag: str, kept: str) -> None:
    body = [OK + b"Content-Length: 1\r\nETag: " + etag.encode("latin-1") + b"\r\n\r\nx"]
    home.server.answer = lambda: body
    assert module.fetch(home.server.url, str(authority.certificate), "nobody").etag == kept


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["name", "expired", "early", "authority", "client"])
def test_a_certificate_that_is_not_accepted(home: Home, authority: Authority, tmp_path: Path, kind: str) -> None:
    other = Authority(tmp_path / "other", "Another CA")
    pairs: dict[str, Callable[[], Pair]] = {
        "name": lambda: authority.server("policy.isp.example"),
        "expired": lambda: authority.server(starts=-3, ends=-1),
        "early": lambda: authority.server(starts=5),
        "authority": other.server,
        "client": lambda: authority.named("localhost", ["localhost"]),
    }
    pair = pairs[kind]()
    home.server.close()
    home.server = Server(pair, lambda: good(home.new))
    home.is_refused("its certificate is not accepted: ")
    assert home.server.asked[0].startswith(b"GET /routers.signed ")  # of the new one


def _garbage(plain: socket.socket) -> None:
    plain.recv(4096)
    plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _endless_garbage(plain: socket.socket) -> None:
    plain.recv(4096)
    for _ in range(10_000):
        plain.sendall(b"\x16\x03\x03\x40\x00" + bytes(1 << 14))


def _close(plain: socket.socket) -> None:
    plain.recv(4096)


def _silence(plain: socket.socket) -> None:
    plain.recv(4096)
    time.sleep(2 * WHOLE_S)


def _alert(plain: socket.socket) -> None:
    plain.recv(4096)
    plain.sendall(b"\x15\x03\x03\x00\x02\x02\x28")


def _drip(plain: socket.socket) -> None:
    """A handshake that goes on, byte by byte."""
    plain.recv(4096)
    for byte in b"\x16\x03\x03\x40\x00" + bytes(200):
        plain.sendall(bytes((byte,)))
        time.sleep(SILENCE_S / 10)


@pytest.mark.parametrize(
    ("plain", "why"),
    [
        (_garbage, "no TLS: "),
        (_endless_garbage, ""),
        (_close, "it closed the connection"),
        (_silence, "it does not answer in time"),
        (_alert, "no TLS: "),
        (_drip, ""),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_not_tls(home: Home, plain: Callable[[socket.socket], None], why: str) -> None:
    home.server.plain = plain
    home.is_refused(why)


def test_an_old_version_of_tls(home: Home) -> None:
    home.server.tls.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        home.server.tls.minimum_version = ssl.TLSVersion.TLSv1
        home.server.tls.maximum_version = ssl.TLSVersion.TLSv1_1
    home.server.answer = lambda: good(home.new)
    home.is_refused("no TLS: ")


def test_a_name_that_takes_long_to_resolve(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *_: time.sleep(60))
        patch.setattr(module, "_KILLED_S", 0.5)
        assert home.fetch() == 1
    assert "it took too long; the policy stays" in home.capsys.readouterr().err
    home.takes_the_new_one()


def test_a_name_with_many_addresses(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few are tried; the one that works is found among these."""
    port = int(home.server.url.split(":")[2].partition("/")[0])
    dead = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))
    live = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    for found, code in (([dead] * 5 + [live], 0), ([dead] * 100 + [live], 1), ([], 1)):
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", lambda *_, found=found: found)
            assert home.fetch() == code


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost:x/", "https://localhost:0/", "https://localhost:99999/", "https://user@localhost/x",
        "https://localhost/a b", "https://localhost/a\r\nX: y", "https://localhost/\x00", "https://localhost/#x",
        "https://loc\xe4l/x", "https://a..b/x", "https://" + "a" * 64 + ".example/x", "https://[::1/x", "https://::1/x",
        "https://localhost/" + "x" * 3000,
    ],
)  # fmt: skip
def test_what_is_not_a_url(home: Home, url: str) -> None:
    assert home.fetch(url) == 1
    shown = home.capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "expected https://HOST/PATH" in shown or "is not the name of a host" in shown


def test_an_address_of_ipv6(authority: Authority) -> None:
    target = module._target("https://[2001:db8::1]:8443/x?y=1")
    assert target == ("2001:db8::1", 8443, "[2001:db8::1]:8443", "/x?y=1")
    assert module._target("https://[::1]/x")[:2] == ("::1", 443)
    assert module._target("https://policy.isp.example")[1:] == (443, "policy.isp.example", "/")
