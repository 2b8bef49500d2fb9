"""Login by an identity provider: the right way, and all that a hostile browser, provider or network could bring."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc import jwk

from cpe_filter.collect.config.file import ConfigError, build
from cpe_filter.collect.store.sqlite import SQLite
from cpe_filter.collect.web import id_token, oidc
from cpe_filter.collect.web.access import ByPassword
from cpe_filter.collect.web.oidc import Oidc, Terms
from cpe_filter.collect.web.provider import Provider
from cpe_filter.collect.web.sessions import Sessions
from tests.collect.web.issuer import CLIENT, SECRET, Claims, Issuer, new_key, signed
from tests.collect.web.site import HASH, Answer, Page, read

URL = "https://fleet.example"
ROLES: dict[Any, str] = {"viewer": "fleet-viewer", "desk": "abuse-desk", "admin": "fleet-admin"}
LISTEN = {"certificate": "/c", "key": "/k", "client_ca": "/a"}

Work = Callable[[Page, Issuer], Awaitable[None]]


def run(tmp_path: Path, work: Work, issuer: Issuer | None = None, passwords: bool = True, **terms: Any) -> None:
    async def inside(there: Issuer) -> None:
        store = SQLite(str(tmp_path / "page.db"))
        await store.open()
        provider = Provider(there.url, CLIENT, SECRET, 5.0)
        flow = Oidc(provider, Terms(URL, terms.pop("roles", ROLES), **terms))
        access = None if passwords else ByPassword((), Sessions(3600, 600), b"x-remote-user")
        try:
            await work(Page(store, access, url=URL, oidc=flow), there)
        finally:
            await provider.close()
            await store.close()

    with issuer or Issuer() as there:
        asyncio.run(inside(there))


async def begun(page: Page, target: str = "") -> tuple[str, str]:
    """The URL of the provider, and the browser's cookie."""
    answer = await page.ask("/login/oidc" + (f"?{urlencode({'next': target})}" if target else ""))
    assert answer.status == 303, answer.text
    return answer.headers["location"], answer.cookie


async def back(page: Page, query: dict[str, str], cookie: str) -> Answer:
    """The browser returns from the provider: a navigation that another site began."""
    return await page.ask(f"/login/oidc/callback?{urlencode(query)}", cookie=cookie, sec_fetch_site="cross-site")


async def log_in(page: Page, issuer: Issuer, target: str = "") -> Answer:
    url, cookie = await begun(page, target)
    return await back(page, await asyncio.to_thread(issuer.authorize, url), cookie)


def refused(answer: Answer, status: int = 403) -> str:
    assert answer.status == status, answer.text
    assert "__Host-fleet=" not in answer.headers.get("set-cookie", "")
    return read(answer.text).text


def test_log_in_and_out(tmp_path: Path) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        shown = read((await page.ask("/login?next=%2Fcases")).text)
        assert "/login/oidc?next=%2Fcases" in shown.links
        assert "Log in with single sign-on" in shown.text
        done = await log_in(page, issuer, "/cases?state=all")
        assert (done.status, done.headers["location"]) == (303, "/cases?state=all")
        assert done.cookie.startswith("__Host-fleet=")
        seen = await page.ask("/", cookie=done.cookie)
        assert "boris, desk" in read(seen.text).text
        out = await page.post("/logout", {"token": await page.token(done.cookie)}, done.cookie)
        assert out.headers["location"] == "/login?out=1"
        assert (await page.ask("/", cookie=done.cookie)).status == 303
        assert "/logout/oidc" in read((await page.ask("/login?out=1")).text).links
        end = await page.ask("/logout/oidc")
        wanted = {"client_id": CLIENT, "post_logout_redirect_uri": f"{URL}/login?out=1"}
        assert (end.status, end.headers["location"]) == (303, f"{issuer.url}/end?{urlencode(wanted)}")
        rows = await page.store.read("SELECT who, what FROM desk_audit ORDER BY n")
        assert [(row["who"], row["what"]) for row in rows] == [("boris", "login"), ("boris", "logout")]

    run(tmp_path, work)


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["fleet-viewer"], "viewer"),
        (["abuse-desk", "fleet-viewer"], "desk"),
        (["fleet-admin", "abuse-desk"], "admin"),
        ("abuse-desk", "desk"),
        ("other abuse-desk", "desk"),
        ([], None),
        (["abuse-desks", "Abuse-Desk", " abuse-desk"], None),
        ([["abuse-desk"], {"abuse-desk": 1}, None, 7], None),
        ({"abuse-desk": True}, None),
        (None, None),
        (["x"] * 5000 + ["abuse-desk"], None),
    ],
)
def test_roles(tmp_path: Path, groups: Any, role: str | None) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        issuer.user["groups"] = groups
        done = await log_in(page, issuer)
        if role is None:
            assert "none of its roles" in refused(done)
        else:
            assert f"boris, {role}" in read((await page.ask("/", cookie=done.cookie)).text).text

    run(tmp_path, work)


def test_roles_within_another_claim_and_for_all(tmp_path: Path) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        issuer.user["realm_access"] = {"roles": ["abuse-desk"]}
        assert (await log_in(page, issuer)).status == 303
        issuer.user["realm_access"] = {"roles": []}
        done = await log_in(page, issuer)
        assert "boris, viewer" in read((await page.ask("/", cookie=done.cookie)).text).text

    run(tmp_path, work, roles={"viewer": "", "desk": "abuse-desk"}, roles_claim="realm_access.roles")


def test_claims_of_the_userinfo_endpoint(tmp_path: Path) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        issuer.userinfo = {"sub": "u-1", "preferred_username": "carol", "groups": ["fleet-viewer"]}
        issuer.user = {"sub": "u-1"}
        done = await log_in(page, issuer)
        assert "carol, viewer" in read((await page.ask("/", cookie=done.cookie)).text).text
        issuer.userinfo["sub"] = "u-2"
        refused(await log_in(page, issuer))

    issuer = Issuer()
    issuer.userinfo = {}
    run(tmp_path, work, issuer)


#: What a wrong ID token says: the change to its claims.
WRONG: dict[str, Callable[[Claims], Claims]] = {
    "issuer": lambda claims: {**claims, "iss": "https://evil.example"},
    "issuer with a slash": lambda claims: {**claims, "iss": claims["iss"] + "/"},
    "no issuer": lambda claims: {name: value for name, value in claims.items() if name != "iss"},
    "audience": lambda claims: {**claims, "aud": "another"},
    "audiences": lambda claims: {**claims, "aud": ["another", "third"]},
    "audience of two without a party": lambda claims: {**claims, "aud": [CLIENT, "another"]},
    "authorized party": lambda claims: {**claims, "aud": [CLIENT, "another"], "azp": "another"},
    "another party": lambda claims: {**claims, "azp": "another"},
    "an object as audience": lambda claims: {**claims, "aud": {CLIENT: 1}},
    "nonce": lambda claims: {**claims, "nonce": "another"},
    "no nonce": lambda claims: {name: value for name, value in claims.items() if name != "nonce"},
    "nonce in a list": lambda claims: {**claims, "nonce": [claims["nonce"]]},
    "expired": lambda claims: {**claims, "exp": time.time() - 3600},
    "no end": lambda claims: {name: value for name, value in claims.items() if name != "exp"},
    "end as text": lambda claims: {**claims, "exp": str(claims["exp"])},
    "an end that never comes": lambda claims: {**claims, "exp": 1e300},
    "end as flag": lambda claims: {**claims, "exp": True},
    "issued later": lambda claims: {**claims, "iat": time.time() + 3600},
    "issued long ago": lambda claims: {**claims, "iat": time.time() - 3600},
    "not before": lambda claims: {**claims, "nbf": time.time() + 3600},
    "no subject": lambda claims: {name: value for name, value in claims.items() if name != "sub"},
    "subject": lambda claims: {**claims, "sub": 7},
    "name": lambda claims: {**claims, "preferred_username": "<script>"},
    "name with a line": lambda claims: {**claims, "preferred_username": "a\r\nb"},
    "name of a list": lambda claims: {**claims, "preferred_username": ["boris"]},
    "long name": lambda claims: {**claims, "preferred_username": "b" * 65},
    "token's name": lambda claims: {**claims, "preferred_username": "token:crm"},
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_token(tmp_path: Path, wrong: str) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        issuer.change = WRONG[wrong]
        refused(await log_in(page, issuer))
        issuer.change = lambda claims: claims
        assert (await log_in(page, issuer)).status == 303

    run(tmp_path, work)


def _plain(header: dict[str, Any], claims: Claims, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _hmac(key: bytes) -> Callable[[Claims], str]:
    """By hand: joserfc refuses to sign with a public key."""

    def sign(claims: Claims) -> str:
        start = _plain({"alg": "HS256", "kid": "k1"}, claims).rpartition(".")[0]
        digest = hmac.new(key, start.encode(), hashlib.sha256).digest()
        return f"{start}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"

    return sign


def _forgeries(issuer: Issuer) -> dict[str, Callable[[Claims], str]]:
    other = new_key("k1")
    pem = issuer.key.as_pem(private=False)

    def good(claims: Claims) -> str:
        return signed(issuer.key, claims)

    return {
        "none": lambda claims: _plain({"alg": "none"}, claims),
        "None": lambda claims: _plain({"alg": "None", "kid": "k1"}, claims),
        "no algorithm": lambda claims: _plain({"kid": "k1"}, claims, b"x" * 64),
        "algorithm of a list": lambda claims: _plain({"alg": ["ES256"], "kid": "k1"}, claims, b"x" * 64),
        "the client's secret": _hmac(SECRET.encode()),
        "the public key as a secret": _hmac(pem),
        "another's key of the same name": lambda claims: signed(other, claims),
        "a key in the header": lambda claims: signed(other, claims, jwk=other.as_dict(private=False)),
        "an unknown critical extension": lambda claims: _plain(
            {"alg": "ES256", "kid": "k1", "crit": ["x"], "x": 1}, claims, b"x" * 64
        ),
        "changed afterwards": lambda claims: good(claims).rpartition(".")[0] + "." + "A" * 86,
        "no signature": lambda claims: good(claims).rpartition(".")[0] + ".",
        "two parts": lambda claims: good(claims).rpartition(".")[0],
        "not a token": lambda _claims: "token",
        "nothing": lambda _claims: "",
        "letters": lambda _claims: "\u00e9.\u00e9.\u00e9",
        "long": lambda claims: good({**claims, "more": "x" * 70_000}),
        "deep": lambda _claims: _plain({"alg": "ES256", "kid": "k1"}, {}, b"x" * 64).replace(".e30.", ".W1tb."),
        "claims of a list": lambda _claims: ".".join([good({}).partition(".")[0], "W10", "A" * 86]),
    }  # fmt: skip


FORGERIES = list(_forgeries(Issuer()))


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token(tmp_path: Path, name: str) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        issuer.sign = _forgeries(issuer)[name]
        refused(await log_in(page, issuer))

    run(tmp_path, work)


def test_keys_of_other_kinds(tmp_path: Path) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        for kind, algorithm in (("OKP", "EdDSA"), ("RSA", "RS256"), ("RSA", "PS256")):
            key = new_key(f"{kind}-{algorithm}", kind)
            issuer.published = [issuer.key, key]
            issuer.sign = lambda claims, key=key, algorithm=algorithm: signed(key, claims, algorithm)  # type: ignore[misc]
            flow = Oidc(Provider(issuer.url, CLIENT, SECRET), Terms(URL, ROLES))
            assert (await log_in(Page(page.store, url=URL, oidc=flow), issuer)).status == 303, kind

    run(tmp_path, work)


def test_keys_rotate(tmp_path: Path) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        now = [1000.0]
        flow = page.oidc
        assert flow is not None
        flow._provider._clock = lambda: now[0]
        assert (await log_in(page, issuer)).status == 303
        issuer.key = new_key("k2")
        issuer.published = [issuer.key]
        # Not more often than in 30 s, whatever keys are named.
        refused(await log_in(page, issuer))
        assert issuer.asked.count("/jwks") == 1
        now[0] += 31
        assert (await log_in(page, issuer)).status == 303
        assert issuer.asked.count("/jwks") == 2
        assert issuer.asked.count("/.well-known/openid-configuration") == 1

    run(tmp_path, work)


def test_a_login_belongs_to_its_browser_and_is_used_once(tmp_path: Path) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        url, cookie = await begun(page)
        query = await asyncio.to_thread(issuer.authorize, url)
        # The answer in another browser, with its own login or none (login CSRF).
        refused(await back(page, query, ""))
        refused(await back(page, query, cookie))  # whoever tried has used it up
        url, cookie = await begun(page)
        query = await asyncio.to_thread(issuer.authorize, url)
        _, other = await begun(page)
        refused(await back(page, query, other))
        # Replayed.
        url, cookie = await begun(page)
        query = await asyncio.to_thread(issuer.authorize, url)
        assert (await back(page, query, cookie)).status == 303
        assert "was used before" in refused(await back(page, query, cookie))
        # A code of another login (its verifier is another one).
        first, cookie = await begun(page)
        second, _ = await begun(page)
        one = await asyncio.to_thread(issuer.authorize, first)
        two = await asyncio.to_thread(issuer.authorize, second)
        refused(await back(page, {"code": two["code"], "state": one["state"]}, cookie), 503)

    run(tmp_path, work)


@pytest.mark.parametrize(
    "change",
    [
        {"state": ""}, {"state": "x" * 5000}, {"state": "\0"}, {"code": ""}, {"code": "x" * 5000},
        {"error": "access_denied"}, {"iss": "https://evil.example"}, {"iss": ""},
    ],
)  # fmt: skip
def test_a_wrong_callback(tmp_path: Path, change: dict[str, str]) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        url, cookie = await begun(page)
        query = {**await asyncio.to_thread(issuer.authorize, url), **change}
        answer = await back(page, query, cookie)
        assert answer.status in (403, 414)
        assert "/token" not in issuer.asked

    run(tmp_path, work)


def test_the_issuer_in_the_callback(tmp_path: Path) -> None:
    """RFC 9207: a mix-up with another provider."""

    async def work(page: Page, issuer: Issuer) -> None:
        url, cookie = await begun(page)
        refused(await back(page, await asyncio.to_thread(issuer.authorize, url), cookie))
        url, cookie = await begun(page)
        query = await asyncio.to_thread(issuer.authorize, url)
        assert (await back(page, {**query, "iss": issuer.url}, cookie)).status == 303
        twice = await page.ask(f"/login/oidc/callback?{urlencode(query)}&state=other", cookie=cookie)
        refused(twice)

    issuer = Issuer()
    issuer.document = {"authorization_response_iss_parameter_supported": True}
    run(tmp_path, work, issuer)


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "/login", "/cases?a\r\nb: c", "javascript:1"],
)
def test_a_login_leads_nowhere_else(tmp_path: Path, target: str) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        done = await log_in(page, issuer, target)
        assert (done.status, done.headers["location"]) == (303, "/")

    run(tmp_path, work)


def test_the_provider_is_away(tmp_path: Path) -> None:
    """Passwords go on, and the page says so."""

    async def work(page: Page, issuer: Issuer) -> None:
        issuer.stop()
        answer = await page.ask("/login/oidc?next=%2Fcases")
        assert answer.status == 503
        found = read(answer.text)
        assert "The identity provider is unavailable. You can log in with a password." in found.text
        assert found.hidden["next"] == "/cases"
        assert (await page.ask("/", cookie=await page.log_in())).status == 200
        assert page.metrics.logins.labels("unavailable")._value.get() == 1
        assert (await page.ask("/logout/oidc")).status == 503

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Issuer, "__exit__", lambda *_words: None)
        run(tmp_path, work)


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, b'{"error":"invalid_grant"}'), (200, b"not JSON"), (200, b"[]"), (200, b"{}"), (500, b""), (302, b""),
     (200, b'{"id_token":7}'), (200, b"[" * 100_000), (200, b'{"a":"' + b"x" * 300_000 + b'"}')],
)  # fmt: skip
def test_a_token_endpoint_that_answers_wrongly(tmp_path: Path, status: int, body: bytes) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        issuer.answer = status, body
        answer = await log_in(page, issuer)
        assert answer.status in (403, 503)
        assert "__Host-fleet=" not in answer.headers.get("set-cookie", "")

    run(tmp_path, work)


@pytest.mark.parametrize(
    "document",
    [{"issuer": "https://evil.example"}, {"token_endpoint": "http://evil.example/token"}, {"jwks_uri": None},
     {"authorization_endpoint": "javascript:alert(1)"}, {"authorization_endpoint": "https://a\r\nb/"},
     {"token_endpoint": 7}, {"jwks_uri": "file:///etc/passwd"}, {"end_session_endpoint": "http://evil.example/"}],
)  # fmt: skip
def test_a_discovery_document_that_cannot_be_used(tmp_path: Path, document: dict[str, Any]) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        assert (await page.ask("/login/oidc")).status == 503
        # Not asked again at once.
        assert (await page.ask("/login/oidc")).status == 503

    issuer = Issuer()
    issuer.document = document
    run(tmp_path, work, issuer)


def test_the_name_of_a_user_with_a_password(tmp_path: Path) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        for name in ("anna", "Anna"):  # in a history people could not tell them apart
            issuer.user["preferred_username"] = name
            assert "belongs to a user with a password" in refused(await log_in(page, issuer))

    run(tmp_path, work)


@pytest.mark.parametrize("name", ["mail", "webhook", "collector"])
def test_the_names_of_the_collector_itself(tmp_path: Path, name: str) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        issuer.user["preferred_username"] = name
        assert "a name that cannot be used" in refused(await log_in(page, issuer))

    run(tmp_path, work)


def test_without_passwords(tmp_path: Path) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        found = read((await page.ask("/login")).text)
        assert found.fields == []
        assert "/login/oidc" in found.links
        assert (await page.post("/login", {"name": "anna", "password": "x" * 12})).status == 403
        assert (await log_in(page, issuer)).status == 303

    run(tmp_path, work, passwords=False)


def test_many_logins_are_slowed_and_bounded(tmp_path: Path) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        seen = [(await page.ask("/login/oidc")).status for _ in range(25)]
        assert seen == [303] * 20 + [429] * 5
        assert page.oidc is not None
        for number in range(oidc.MAX_PENDING + 10):
            await page.oidc.begin("b", "/", number / 1000)
        assert len(page.oidc._pending) == oidc.MAX_PENDING
        await page.oidc.begin("b", "/", 1000 + oidc.PENDING_S)
        assert len(page.oidc._pending) == 1

    run(tmp_path, work)


def test_a_login_lapses(tmp_path: Path) -> None:
    async def work(page: Page, issuer: Issuer) -> None:
        flow = page.oidc
        assert flow is not None
        url = await flow.begin("browser", "/", 0)
        query = await asyncio.to_thread(issuer.authorize, url)
        with pytest.raises(oidc.LoginError, match="state"):
            await flow.finish(query, "browser", oidc.PENDING_S, time.time())

    run(tmp_path, work)


def test_without_a_provider_there_is_no_such_page(tmp_path: Path) -> None:
    async def inside() -> None:
        store = SQLite(str(tmp_path / "page.db"))
        await store.open()
        page = Page(store)
        for path in ("/login/oidc", "/login/oidc/callback?state=x&code=y", "/logout/oidc"):
            assert (await page.ask(path)).status == 404
        assert "single sign-on" not in (await page.ask("/login")).text
        await store.close()

    asyncio.run(inside())


def test_clocks_may_differ_by_a_minute() -> None:
    key = new_key("k")
    expected = id_token.Expected("https://id.example", CLIENT, "n")
    claims: Claims = {"iss": expected.issuer, "aud": [CLIENT], "nonce": "n", "sub": "u", "iat": 1000, "exp": 1300}

    def accepted(now: float, **more: Any) -> bool:
        try:
            id_token.check(signed(key, {**claims, **more}), [key], expected, now)
        except id_token.IdTokenError:
            return False
        return True

    assert [accepted(now) for now in (939, 940, 1359, 1360)] == [False, True, True, False]
    assert [accepted(now, exp=9000) for now in (1660, 1661)] == [True, False]
    assert [accepted(now, nbf=1100) for now in (1039, 1040)] == [False, True]


def test_weak_and_strange_keys_are_passed_over() -> None:
    good = new_key("good").as_dict(private=False)
    weak = jwk.RSAKey.generate_key(1024, {"kid": "weak"}, auto_kid=False).as_dict(private=False)
    strange: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0"}, {**good, "use": "enc"}, {"kty": "EC"}, {**good, "x": "!"}, {"kty": ["EC"]},
        None, 7,
        {**good, "crv": "P-0"}, weak,
    ]  # fmt: skip
    assert [key.kid for key in id_token.keys({"keys": [*strange, good]})] == ["good"]
    assert len(id_token.keys({"keys": [good] * 1000})) == id_token.MAX_KEYS
    wrong: list[Any] = [{}, [], {"keys": {}}, None]
    for document in wrong:
        with pytest.raises(id_token.IdTokenError):
            id_token.keys(document)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"client_id": ""}, "[oidc] client_id is missing"),
        ({"issuer": "http://id.example/"}, "[oidc] issuer is"),
        ({"issuer": "https://id.example/a?b"}, "[oidc] issuer is"),
        ({"desk_role": ""}, "[oidc] desk_role is"),
        ({"desk_role": "a b"}, "[oidc] desk_role is"),
        ({"roles_claim": ""}, "[oidc] roles_claim is"),
        ({"timeout_s": 0}, "[oidc] timeout_s is 0"),
    ],
)
def test_bad_keys(keys: dict[str, Any], why: str) -> None:
    page = {"address": "127.0.0.1:8080", "url": URL}
    good = {"issuer": "https://id.example/realms/isp", "client_id": "fleet"}
    assert build({"listen": LISTEN, "page": page, "oidc": good}, "f.toml").oidc.roles_claim == "groups"
    with pytest.raises(ConfigError) as error:
        build({"listen": LISTEN, "page": page, "oidc": {**good, **keys}}, "f.toml")
    assert why in str(error.value)


def test_the_provider_needs_the_url_of_the_page() -> None:
    for page, why in (
        ({"address": "127.0.0.1:8080", "users": [f"anna:desk:{HASH}"]}, "[oidc] issuer needs [page] url"),
        ({"address": "127.0.0.1:8080", "url": URL, "login": "proxy"}, "[oidc] issuer is for [page] login"),
    ):
        with pytest.raises(ConfigError) as error:
            build(
                {"listen": LISTEN, "page": page, "oidc": {"issuer": "https://id.example", "client_id": "f"}}, "f.toml"
            )
        assert why in str(error.value)
