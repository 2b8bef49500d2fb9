"""Documents over HTTPS from a real server: what is taken, what is not, and how much of it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cpe_filter.provision.fetch import FetchError, fetch, splay
from cpe_filter.provision.folder import MAX_DOCUMENT
from tests.collect.ca import Authority
from tests.provision.test_command import Router

__all__ = ["router"]
from tests.provision.test_command import router


class Web:
    """Says `answer` to each GET; keeps what was asked."""

    def __init__(self, authority: Authority) -> None:
        self.status, self.body = 200, b"document"
        self.headers: dict[str, str] = {"ETag": '"one"'}
        self.asked: list[dict[str, str]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append({"path": self.path, **dict(self.headers)})
                same = web.status == 200 and self.headers.get("If-None-Match", "") == web.headers.get("ETag")
                self.send_response(304 if same else web.status)
                if not same:
                    self.send_header("Content-Length", str(len(web.body)))
                for name, value in web.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if not same:
                    self.wfile.write(web.body)

            def log_message(self, format: str, *arguments: object) -> None: ...

        pair = authority.server()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pair.certificate, pair.key)
        self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.1,), daemon=True).start()
        self.url = f"https://localhost:{self.server.server_address[1]}/policy/routers.signed"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def web(authority: Authority) -> Iterator[Web]:
    made = Web(authority)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_once_and_not_again(web: Web, authority: Authority) -> None:
    ca = str(authority.certificate)
    assert fetch(web.url, ca, "nobody") == (b"document", '"one"')
    assert fetch(web.url, ca, "nobody", '"one"') == (None, '"one"')
    assert fetch(web.url, ca, "nobody", '"zero"').document == b"document"
    assert web.asked[0]["path"] == "/policy/routers.signed"
    assert "If-None-Match" not in web.asked[0]


def test_what_is_not_taken(web: Web, authority: Authority, tmp_path: Path) -> None:
    ca = str(authority.certificate)
    other = str(Authority(tmp_path / "other").certificate)
    with pytest.raises(FetchError, match="certificate is not accepted"):
        fetch(web.url, other, "nobody")
    with pytest.raises(FetchError, match="certificate is not accepted"):
        fetch(web.url, "", "nobody")  # a private authority is not among the system's
    web.status, web.headers = 302, {"Location": "https://elsewhere.example/"}
    with pytest.raises(FetchError, match="answered 302; expected 200"):
        fetch(web.url, ca, "nobody")
    web.status, web.headers, web.body = 200, {}, b"x" * (MAX_DOCUMENT + 1)
    with pytest.raises(FetchError, match="too large"):
        fetch(web.url, ca, "nobody")
    for url in ("http://localhost/x", "https:///x", "ftp://x", "https://localhost:x/"):
        with pytest.raises(FetchError, match="expected https"):
            fetch(url, ca, "nobody")
    with pytest.raises(FetchError, match="no such user"):
        fetch(web.url, ca, "no-such-user")
    with pytest.raises(FetchError, match="refused"):
        fetch("https://127.0.0.1:1/x", ca, "nobody")


def test_a_splay_is_always_the_same_and_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [splay(f"cpe-{n}", 3600) for n in range(3600)]
    assert seconds == [splay(f"cpe-{n}", 3600) for n in range(3600)]
    assert all(0 <= one < 3600 for one in seconds)
    assert max(sum(int(one // 60) == minute for one in seconds) for minute in range(60)) < 100


def test_fetched_and_applied(
    router: Router, web: Web, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    from cpe_filter.provision import command

    ca = str(authority.certificate)
    web.body = router.document(sequence=3).read_bytes()
    assert command.fetch([web.url], ca, 0, router.place, router.reload) == 0
    assert router.mode == "monitor"
    assert command.fetch([web.url], ca, 0, router.place, router.reload) == 0
    assert "nothing new" in capsys.readouterr().out
    assert len(router.reloads) == 1
    web.headers, web.body = {"ETag": '"two"'}, router.document(sequence=2).read_bytes()
    assert command.fetch([web.url], ca, 0, router.place, router.reload) == 2
    assert "(sequence); the policy stays as it was" in capsys.readouterr().err
    web.status = 503
    assert command.fetch([web.url], ca, 0, router.place, router.reload) == 1
    assert router.mode == "monitor"


def test_a_router_that_has_changed_gets_again_what_it_refused(
    router: Router, web: Web, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cpe_filter.provision import command

    ca = str(authority.certificate)
    web.body = router.document(sequence=3, audience=("region:south",)).read_bytes()
    for code in (2, 0):  # refused; not fetched again
        assert command.fetch([web.url], ca, 0, router.place, router.reload) == code
    moved = router.place._replace(region="south")
    assert command.fetch(["https://127.0.0.1:1/x", web.url], ca, 0, moved, router.reload) == 1
    assert router.mode == "monitor"
    assert [bool(asked.get("If-None-Match")) for asked in web.asked] == [False, True, False]
