"""The page's own listener, its keys in the configuration, and new users."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect import users
from cpe_filter.collect.config.file import ConfigError, build
from cpe_filter.collect.password import matches
from tests.collect.ca import Authority
from tests.collect.running import Collector
from tests.collect.web.site import HASH, PASSWORD, read
from tests.lab.net import DEADLINE_S, PROJECT
from tests.ports import free_port

USER = f"anna:desk:{HASH}"
LISTEN = {"certificate": "/c", "key": "/k", "client_ca": "/a"}


def page(**keys: Any) -> Any:
    return build({"listen": LISTEN, "page": {"address": "127.0.0.1:8080", "users": [USER], **keys}}, "f.toml")


def test_defaults_have_no_page() -> None:
    assert build({"listen": LISTEN}, "f.toml").page.address == ""
    assert page().page.login == "password"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"users": []}, "[page] users is empty; `cpe-filter collector --config FILE password` makes one"),
        ({"users": ["anna:desk:secret"]}, "[page] users is a list; allowed: a list of name:role:hash"),
        ({"users": [USER, USER]}, "[page] users is a list"),
        ({"users": "anna"}, "[page] users is"),
        ({"login": "proxy"}, 'users are for login = "password", but login is "proxy"; set one of them'),
        ({"login": "both"}, '[page] login is "both"; allowed: password, proxy'),
        ({"address": "[::]:8080"}, "reachable from other machines; set certificate and key, or plain_http = true"),
        ({"address": "192.0.2.1:8080"}, "reachable from other machines"),
        ({"certificate": "/c"}, "[page] certificate and key go together; one is missing"),
        ({"url": "https://fleet.example/"}, "[page] url is"),
        ({"url": "javascript:x"}, "[page] url is"),
        ({"user_header": "X-User"}, '[page] user_header is "X-User"; allowed: the name of a header, lower case'),
        ({"user_header": "x", "groups_header": "x"}, "user_header and groups_header are the same"),
        ({"trusted": ["here"]}, "[page] trusted is"),
        ({"session_hours": 0}, "[page] session_hours is 0; allowed: a whole number from 1 to 168 (hours)"),
        ({"desk_group": "a,b"}, "[page] desk_group is"),
        ({"pasword": 1}, '[page] unknown key "pasword"'),
    ],
)
def test_bad_keys(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        page(**keys)
    assert said in str(error.value)
    assert str(error.value).startswith("f.toml: ")
    assert HASH not in str(error.value)


def test_good_keys() -> None:
    assert page(login="proxy", users=[]).page.user_header == "x-remote-user"
    assert page(address="[::]:8080", plain_http=True).page.plain_http
    assert page(address="[::]:8080", certificate="/c", key="/k").page.certificate == "/c"
    assert page(address="unix:/run/fleet.sock").page.address == "unix:/run/fleet.sock"
    assert page(url="https://fleet.isp.example:8443").page.url == "https://fleet.isp.example:8443"


def new_user(given: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cpe_filter", "collector", "--config", "/nonexistent", "password"]
    return subprocess.run(command, input=given, capture_output=True, text=True, cwd=PROJECT)


def test_new_user_from_stdin() -> None:
    done = new_user(f"anna\ndesk\n{PASSWORD}\n")
    assert (done.returncode, done.stderr) == (0, "")
    made = users.parse(done.stdout.strip())
    assert made is not None
    assert (made.name, made.role) == ("anna", "desk")
    assert matches(PASSWORD, made.hash)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("anna\ndesk\nshort\n", "a password has 10 to 256 characters"),
        (f"anna\nroot\n{PASSWORD}\n", "a role is one of viewer, desk, admin"),
        (f"an na\ndesk\n{PASSWORD}\n", "a name has 1 to 64"),
        ("", "expected three lines on stdin: name, role, password"),
    ],
)
def test_new_user_that_will_not_do(given: str, said: str) -> None:
    done = new_user(given)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"cpe-filter: {said}")
    assert len(done.stderr.splitlines()) == 1


class Site:
    """A browser without a screen. context: None for plain HTTP."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self._port, self._context = port, context

    def ask(self, path: str, form: dict[str, str] | None = None, cookie: str = "") -> http.client.HTTPResponse:
        if self._context:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "localhost", self._port, timeout=DEADLINE_S, context=self._context
            )
        else:
            connection = http.client.HTTPConnection("localhost", self._port, timeout=DEADLINE_S)
        headers = {"Cookie": cookie} if cookie else {}
        if form is None:
            connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request("POST", path, urllib.parse.urlencode(form), headers)
        return connection.getresponse()


def test_page_beside_the_routers_door(tmp_path: Path) -> None:
    """Two listeners: TLS without a client's certificate; neither lets through what is the other's."""
    authority = Authority(tmp_path / "ca")
    pair = authority.server()
    router = authority.router("r1")
    port = free_port()
    keys = {"address": f"127.0.0.1:{port}", "certificate": str(pair.certificate), "key": str(pair.key), "users": [USER]}
    with Collector(tmp_path / "c", authority, "run", page=keys) as collector:
        done = subprocess.run(collector.command("check"), capture_output=True, text=True, cwd=PROJECT)
        assert done.returncode == 0
        assert f"the page at 127.0.0.1:{port}" in done.stdout
        site = Site(port, authority.client_context(None))
        assert site.ask("/").getheader("location") == "/login"
        shown = site.ask("/login")
        assert shown.status == 200
        read(shown.read().decode())
        assert site.ask("/v1/reports", {"a": "b"}).status == 404
        answer = site.ask("/login", {"name": "anna", "password": PASSWORD})
        assert answer.status == 303
        cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
        assert cookie.startswith("__Host-fleet=")
        assert "0 subscribers compromised" in site.ask("/fleet", cookie=cookie).read().decode()
        # The routers' listener: their certificate is no login, and there is no page.
        connection = collector.connect(router)
        for path in ("/", "/login", "/cases"):
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status in (404, 405)
            response.read()
        connection.close()
        figures = collector.metrics()
        assert figures['cpe_collector_page_logins_total{outcome="good"}'] == 1
        assert figures["cpe_collector_connections"] <= 1  # routers' only
    said = [line for line in collector.lines() if line["event"] == "login"]
    assert [(line["user"], line["peer"]) for line in said] == [("anna", "127.0.0.1")]
    assert PASSWORD not in collector.log.read_text()


def test_plain_http_from_this_machine(tmp_path: Path) -> None:
    port = free_port()
    keys = {"address": f"127.0.0.1:{port}", "users": [USER]}
    with Collector(tmp_path / "c", Authority(tmp_path / "ca"), "run", page=keys):
        answer = Site(port, None).ask("/login", {"name": "anna", "password": PASSWORD})
        assert (answer.getheader("set-cookie") or "").startswith("fleet=")


def test_page_whose_certificate_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate\n")
    keys = {"address": "127.0.0.1:0", "certificate": str(wrong), "key": str(wrong), "users": [USER]}
    collector = Collector(tmp_path / "c", Authority(tmp_path / "ca"), "run", page=keys)
    collector.write()
    for what in ("check", "run"):
        done = subprocess.run(collector.command(what), capture_output=True, text=True, cwd=PROJECT)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"cpe-filter: {wrong}, {wrong}: ")
