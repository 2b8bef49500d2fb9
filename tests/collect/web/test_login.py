"""Passwords, sessions, attempts, and who is believed."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect import password, users
from cpe_filter.collect.store.sqlite import SQLite
from cpe_filter.collect.web import sessions
from cpe_filter.collect.web.access import AddressOf, ByPassword, ByProxy, RefusedError, same_origin
from cpe_filter.collect.web.sessions import Attempts, Sessions
from tests.collect.web.site import HOST, PASSWORD, USERS, Page, read


def with_page(tmp_path: Path, work: Any, **options: Any) -> None:
    async def inside() -> None:
        store = SQLite(str(tmp_path / "page.db"))
        await store.open()
        try:
            await work(Page(store, **options))
        finally:
            await store.close()

    asyncio.run(inside())


def test_password_fits_its_hash_only() -> None:
    one, two = password.hashed(PASSWORD), password.hashed(PASSWORD)
    assert one != two  # salt
    assert password.matches(PASSWORD, one)
    assert password.matches(PASSWORD, two)
    assert not password.matches(PASSWORD + " ", one)
    assert not password.matches("", one)
    assert not password.matches("x" * 10_000, one)
    assert PASSWORD not in one
    assert password.is_hash(password.DUMMY)
    assert not password.matches("", password.DUMMY)


@pytest.mark.parametrize("given", ["", "short", "x" * 257])
def test_password_that_will_not_do(given: str) -> None:
    with pytest.raises(password.PasswordError, match="10 to 256 characters"):
        password.hashed(given)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "$2b$12$abcdefghijklmnopqrstuv",
        "scrypt$31$8$3$" + "A" * 22 + "==$" + "A" * 43 + "=",  # would take 2 TB
        "scrypt$15$64$3$" + "A" * 22 + "==$" + "A" * 43 + "=",
        "scrypt$13$8$3$" + "A" * 22 + "==$" + "A" * 43 + "=",  # would be guessed
        "scrypt$15$0$3$" + "A" * 22 + "==$" + "A" * 43 + "=",
        "scrypt$15$8$3$" + "A" * 22 + "==$" + "A" * 43,
        "scrypt$15$8$3$" + "A" * 22 + "==$" + "A" * 43 + "=\n",
    ],
)
def test_hash_that_cannot_be_used(text: str) -> None:
    assert not password.is_hash(text)
    assert not password.matches(PASSWORD, text)
    assert users.parse(f"anna:desk:{text}") is None


def test_user_lines() -> None:
    good = password.hashed(PASSWORD)
    found = users.parse(f"anna.b@isp:viewer:{good}")
    assert found is not None
    assert (found.name, found.role, found.hash) == ("anna.b@isp", "viewer", good)
    for wrong in (f":desk:{good}", f"a b:desk:{good}", f"anna:root:{good}", f"anna:{good}", f"<b>:desk:{good}", "anna"):
        assert users.parse(wrong) is None


def test_session_ends() -> None:
    all_ = Sessions(lasts_s=1000, idle_s=100)
    secret = all_.begin("anna", "desk", 0)
    found = all_.find(secret, 99)
    assert found is not None
    assert (found.user, found.role) == ("anna", "desk")
    assert all_.find("", 99) is None
    assert all_.find(secret + "x", 99) is None
    assert all_.find(secret, 199) is None  # idle
    assert len(all_) == 0
    secret = all_.begin("anna", "desk", 0)
    for now in range(0, 1000, 50):
        assert all_.find(secret, now)
    assert all_.find(secret, 1000) is None  # too old, however busy
    secret = all_.begin("anna", "desk", 0)
    all_.end(secret)
    assert all_.find(secret, 1) is None


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    all_ = Sessions(1000, 1000)
    mine = [all_.begin("anna", "desk", now) for now in range(sessions.MAX_PER_USER + 1)]
    assert all_.find(mine[0], 30) is None
    assert all_.find(mine[1], 30)
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 30)
    for number in range(50):
        all_.begin(f"u{number}", "viewer", 31)
    assert len(all_) == 30


def test_attempts_by_address_and_by_name() -> None:
    attempts = Attempts()
    assert [attempts.take("192.0.2.1", "anna", 0) > 0 for _ in range(12)] == [False] * 10 + [True] * 2
    assert attempts.take("192.0.2.1", "boris", 0) > 0
    assert attempts.take("192.0.2.2", "anna", 0) == 0
    # One IPv6 home is one address.
    for number in range(10):
        assert attempts.take(f"2001:db8:1:2::{number}", "c", 0) == 0
    assert attempts.take("2001:db8:1:2:ffff::1", "c", 0) > 0
    assert attempts.take("2001:db8:1:3::1", "c", 0) == 0
    # AddressOf everywhere: the name's own bound.
    many = Attempts()
    taken = [many.take(f"198.51.100.{number}", "anna", 0) for number in range(60)]
    assert sum(wait == 0 for wait in taken) == sessions.NAME_BURST
    assert many.take("198.51.100.200", "boris", 0) == 0
    assert many.take("198.51.100.201", "anna", 3600) == 0


def test_good_ones_use_nothing_up() -> None:
    """A whole desk behind one address."""
    attempts = Attempts()
    for number in range(40):
        assert attempts.take("192.0.2.1", f"user{number}", 0) == 0
        attempts.succeeded("192.0.2.1", f"user{number}")
    # They are no way to guess at another's, either.
    guesses = 0
    while attempts.take("192.0.2.1", "anna", 0) == 0:
        guesses += 1
        if attempts.take("192.0.2.1", "mallory", 0) == 0:
            attempts.succeeded("192.0.2.1", "mallory")
    assert guesses == sessions.ADDRESS_BURST


def test_guessing_behind_a_proxy_keeps_nobody_else_out(tmp_path: Path) -> None:
    """All come from the proxy's address; its header says from where, and what a browser claims there is passed over."""

    async def work(page: Page) -> None:
        def of(address: str, **more: str) -> dict[str, str]:
            return {"peer": "127.0.0.1", "x_forwarded_for": f"198.51.100.77, {address}", **more}

        guess = {"name": "guest", "password": "not the one"}
        for _ in range(10):
            assert (await page.post("/login", guess, **of("192.0.2.66"))).status == 403
        assert (await page.post("/login", guess, **of("192.0.2.66"))).status == 429
        good = {"name": "anna", "password": PASSWORD}
        assert (await page.post("/login", good, **of("192.0.2.7"))).status == 303
        # Not from anybody else: who says so himself is counted by his own address.
        for number in range(10):
            await page.post("/login", guess, peer="192.0.2.66", x_forwarded_for=f"192.0.2.{number}")
        assert (await page.post("/login", good, peer="192.0.2.66", x_forwarded_for="192.0.2.8")).status == 429

    trusted = (ip_network("127.0.0.0/8"),)
    with_page(tmp_path, work, asked=AddressOf(trusted, b"x-forwarded-for"))


def test_log_in_and_out(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        for path in ("/", "/cases", "/cases/0123456789abcdef?x=1"):
            answer = await page.ask(path)
            assert answer.status == 303
            assert answer.headers["location"].startswith("/login")
        assert answer.headers["location"] == "/login?next=%2Fcases%2F0123456789abcdef%3Fx%3D1"
        shown = await page.ask(answer.headers["location"])
        assert shown.status == 200
        assert read(shown.text).hidden["next"] == "/cases/0123456789abcdef?x=1"
        form = {"name": "anna", "password": PASSWORD, "next": "/cases?state=all"}
        done = await page.post("/login", form)
        assert (done.status, done.headers["location"]) == (303, "/cases?state=all")
        named, _, rest = done.headers["set-cookie"].partition(";")
        assert named.startswith("__Host-fleet=")
        assert {part.strip().lower() for part in rest.split(";")} == {
            "httponly", "max-age=36000", "path=/", "samesite=lax", "secure",
        }  # fmt: skip
        cookie = done.cookie
        assert (await page.ask("/", cookie=cookie)).status == 200
        assert (await page.ask("/login", cookie=cookie)).status == 303
        # Logging out takes a form of one's own.
        assert (await page.post("/logout", {}, cookie)).status == 403
        assert (await page.ask("/", cookie=cookie)).status == 200
        token = await page.token(cookie)
        out = await page.post("/logout", {"token": token}, cookie)
        assert (out.status, out.headers["location"]) == (303, "/login?out=1")
        assert "max-age=0" in out.headers["set-cookie"].lower()
        assert (await page.ask("/", cookie=cookie)).status == 303
        assert "You are logged out" in (await page.ask("/login?out=1")).text

    with_page(tmp_path, work)


def test_wrong_login_says_the_same_whatever_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(page: Page) -> None:
        texts = set()
        for name, given in (("anna", "wrong password"), ("nobody", PASSWORD), ("", ""), ("anna", "x" * 5000)):
            answer = await page.post("/login", {"name": name, "password": given})
            assert answer.status == 403
            assert "set-cookie" not in answer.headers
            texts.add(answer.text)
        assert len(texts) == 1
        assert "Name or password is wrong." in read(answer.text).text

    with caplog.at_level("INFO"):
        with_page(tmp_path, work)
    logged = "".join(f"{record.getMessage()} {getattr(record, 'about', '')}" for record in caplog.records)
    assert logged.count("login failed") == 4
    assert "wrong password" not in logged
    assert "nobody" not in logged


def test_guessing_is_slowed(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        for _ in range(10):
            assert (await page.post("/login", {"name": "anna", "password": "not the one"})).status == 403
        slow = await page.post("/login", {"name": "anna", "password": PASSWORD})
        assert slow.status == 429
        assert int(slow.headers["retry-after"]) > 60
        assert "Too many attempts" in read(slow.text).text
        other = await page.post("/login", {"name": "anna", "password": PASSWORD}, peer="192.0.2.10")
        assert other.status == 303
        assert page.metrics.logins.labels("slowed")._value.get() == 1

    with_page(tmp_path, work)


@pytest.mark.parametrize(
    "there",
    ["//evil.example/", "https://evil.example", "/\\evil.example", "/login", "/logout", "javascript:alert(1)",
     "/cases/../../x", "/cases?\r\nSet-Cookie: a=b", "/cases?\u00e9", "/ /evil.example"],
)  # fmt: skip
def test_login_leads_nowhere_else(tmp_path: Path, there: str) -> None:
    async def work(page: Page) -> None:
        answer = await page.post("/login", {"name": "anna", "password": PASSWORD, "next": there})
        assert (answer.status, answer.headers["location"]) == (303, "/")

    with_page(tmp_path, work)


def test_cookie_without_tls(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        answer = await page.post("/login", {"name": "anna", "password": PASSWORD})
        assert answer.cookie.startswith("fleet=")
        assert "secure" not in answer.headers["set-cookie"].lower()
        assert "strict-transport-security" not in answer.headers

    with_page(tmp_path, work, secure=False)


def test_login_from_another_site_is_refused(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        form = {"name": "anna", "password": PASSWORD}
        for headers in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": f"http://{HOST}"},
            {"sec_fetch_site": "cross-site"},
            {"sec_fetch_site": "same-site"},
        ):
            answer = await page.post("/login", form, **headers)
            assert answer.status == 403
            assert "set-cookie" not in answer.headers
        assert (await page.post("/login", form, sec_fetch_site="same-origin")).status == 303

    with_page(tmp_path, work)


def test_same_origin_behind_a_proxy() -> None:
    headers = {"host": "127.0.0.1:8080", "origin": "https://fleet.isp.example"}
    assert same_origin(headers, "http", "https://fleet.isp.example")
    assert not same_origin(headers, "http", "")
    assert not same_origin({**headers, "origin": "http://127.0.0.1:8080"}, "http", "https://fleet.isp.example")
    assert same_origin({"host": "x"}, "http", "")


def test_a_header_is_refused_where_passwords_are_asked_for(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        for path in ("/", "/login", "/cases"):
            answer = await page.ask(path, x_remote_user="anna", peer="127.0.0.1")
            assert answer.status == 403
            assert "in a header is not accepted" in read(answer.text).text
        cookie = await page.log_in()
        assert (await page.ask("/", cookie=cookie, x_remote_user="anna")).status == 403

    with_page(tmp_path, work)


PROXY = ByProxy((ip_network("192.0.2.0/28"),), b"x-remote-user", b"x-remote-groups", "abuse-desk", "staff")


def test_proxy_is_believed_by_its_address(tmp_path: Path) -> None:
    async def work(page: Page) -> None:
        staff: dict[str, Any] = {"x_remote_user": "anna", "x_remote_groups": "staff, abuse-desk"}
        seen = await page.ask("/", **staff)
        assert seen.status == 200
        assert "anna, desk" in read(seen.text).text
        assert "Log out" not in seen.text
        assert "guest, viewer" in (await page.ask("/", x_remote_user="guest", x_remote_groups="staff")).text
        refused: list[tuple[int, str, dict[str, Any]]] = [
            (403, "this connection does not come from it", {**staff, "peer": "192.0.2.77"}),
            (403, "does not name a user", {"x_remote_groups": "abuse-desk"}),
            (403, "does not name a user", {**staff, "x_remote_user": "<script>"}),
            (403, "does not name a user", {**staff, "x_remote_user": ""}),
            (403, "not in a group", {"x_remote_user": "eve"}),
            (403, "not in a group", {"x_remote_user": "eve", "x_remote_groups": "abuse-desks"}),
        ]
        for status, why, headers in refused:
            answer = await page.ask("/", **headers)
            assert answer.status == status
            assert why in read(answer.text).text
        assert (await page.ask("/login", **staff)).status == 404
        assert (await page.post("/login", {"name": "anna", "password": PASSWORD}, **staff)).status == 404
        # A Unix socket's rights say who may connect.
        assert (await page.ask("/", peer=None, **staff)).status == 200

    with_page(tmp_path, work, access=PROXY)


def test_proxy_that_names_two_is_not_believed() -> None:
    with pytest.raises(RefusedError, match="does not name"):
        PROXY.person("192.0.2.1", [(b"x-remote-user", b"anna"), (b"x-remote-user", b"eve")], "", 0)


def test_form_tokens_of_a_proxys_users_are_their_own() -> None:
    def person(name: bytes) -> Any:
        return PROXY.person("192.0.2.1", [(b"x-remote-user", name), (b"x-remote-groups", b"staff")], "", 0)

    assert person(b"anna").token == person(b"anna").token
    assert person(b"anna").token != person(b"boris").token


def test_same_person_for_as_long_as_the_session(tmp_path: Path) -> None:
    access = ByPassword(USERS, Sessions(100, 100), b"x-remote-user")

    async def work() -> None:
        secret = await access.log_in("192.0.2.1", "guest", PASSWORD, 0)
        assert secret
        person = access.person("192.0.2.1", [], secret, 99)
        assert person is not None
        assert (person.name, person.role) == ("guest", "viewer")
        assert access.person("192.0.2.1", [], secret, 100) is None

    asyncio.run(work())
