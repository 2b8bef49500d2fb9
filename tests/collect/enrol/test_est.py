"""The EST server, without sockets, on both stores: who gets a certificate, and what a hostile request gets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.collect.enrol import register
from cpe_filter.collect.enrol.est import CSR_ATTRIBUTES
from cpe_filter.collect.store.base import Row, Statement, Store, StoreUnavailableError
from cpe_filter.enrol.protocol import MAX_REQUEST
from tests.collect import ca
from tests.collect.conftest import Opener
from tests.collect.enrol.isp import (
    DER,
    HOST,
    PEM,
    ROOT,
    ROUTER,
    Answer,
    Isp,
    basic,
    digest,
    key_file,
    new_key,
    program,
    request_for,
    signed,
)

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> ca.Authority:
    return ca.Authority(tmp_path_factory.mktemp("ca"))


def with_two(opener: Opener, authority: ca.Authority, work: Callable[[Isp, Isp], Awaitable[None]]) -> None:
    """Two processes of `est`: each has its own store, on the same database."""

    async def inside() -> None:
        stores = [opener(), opener()]
        for store in stores:
            await store.open()
        try:
            await work(Isp(authority, stores[0]), Isp(authority, stores[1]))
        finally:
            for store in stores:
                await store.close()

    asyncio.run(inside())


# ── one use ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_nonce_is_used_once_whichever_process_gets_it(opener: Opener, authority: ca.Authority) -> None:
    async def work(one: Isp, other: Isp) -> None:
        factory, request = new_key(), request_for(new_key())
        await one.know(ROUTER, digest(factory))
        proof = signed(factory, await one.nonce(request), request)
        assert (await one.enrol(request, proof)).status == 200
        for process in (one, other):
            answer = await process.enrol(request, proof)
            assert (answer.status, answer.why) == (401, "the nonce was used before\n")
            assert answer.nonce
        assert len(await one.listed()) == 1

    with_two(opener, authority, work)


def test_a_nonce_that_comes_twice_at_once(opener: Opener, authority: ca.Authority) -> None:
    async def work(one: Isp, other: Isp) -> None:
        factory, request = new_key(), request_for(new_key())
        await one.know(ROUTER, digest(factory))
        proof = signed(factory, await one.nonce(request), request)
        answers = await asyncio.gather(*(process.enrol(request, proof) for process in (one, other) * 4))
        assert sorted(answer.status for answer in answers) == [200, *[401] * 7]
        assert len(await one.listed()) == 1

    with_two(opener, authority, work)


def test_a_nonce_is_forgotten_when_it_has_expired(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        assert await register.use_nonce(store, "one", 1000, 1300)
        assert not await register.use_nonce(store, "one", 1100, 1300)
        assert await register.use_nonce(store, "two", 1300, 1600)
        assert await store.read("SELECT nonce FROM enrol_nonce") == [{"nonce": "two"}]

    with_store(work)


def test_a_token_is_for_one_key_whichever_process_gets_it(opener: Opener, authority: ca.Authority) -> None:
    async def work(one: Isp, other: Isp) -> None:
        token = await one.token()
        requests = [request_for(new_key()) for _ in range(6)]
        answers = await asyncio.gather(
            *((one, other)[n % 2].enrol(request, token) for n, request in enumerate(requests))
        )
        assert sorted(answer.status for answer in answers)[0] == 200
        assert {answer.status for answer in answers[1:] + answers[:1]} <= {200, 401, 403}
        assert [answer.status for answer in answers].count(200) == 1
        assert len(await one.listed()) == 1
        winner = requests[[answer.status for answer in answers].index(200)]
        assert (await other.enrol(winner, token)).status == 200  # its answer may have been lost

    with_two(opener, authority, work)


def test_a_token_outlives_an_authority_that_cannot_sign(
    with_store: WithStore, authority: ca.Authority, tmp_path: Path
) -> None:
    async def work(store: Store) -> None:
        broken = Isp(authority, store, program(tmp_path, "exit 3"))
        token = await broken.token()
        answer = await broken.enrol(request_for(new_key()), token)
        assert (answer.status, answer.why) == (503, "the authority cannot sign now; try again later\n")
        assert answer.headers["retry-after"] == ["60"]
        # The router was reset in between: it has another key.
        assert (await Isp(authority, store).enrol(request_for(new_key()), token)).status == 200

    with_store(work)


def test_a_token_that_was_replaced_while_the_authority_signed(
    with_store: WithStore, authority: ca.Authority, tmp_path: Path
) -> None:
    """The new token stays whole, and whoever had the old one gets nothing."""

    async def work(store: Store) -> None:
        isp = Isp(authority, store, signing(authority, tmp_path, wait=True))
        waiting = asyncio.create_task(isp.enrol(request_for(new_key()), await isp.token()))
        await until(tmp_path / "asked")
        token = await isp.token()
        (tmp_path / "go").touch()
        assert (await waiting).status == 401
        assert await isp.listed() == []
        assert (await isp.enrol(request_for(new_key()), token)).status == 200

    with_store(work)


def test_a_router_that_is_revoked_while_the_authority_signs(
    with_store: WithStore, authority: ca.Authority, tmp_path: Path
) -> None:
    async def work(store: Store) -> None:
        isp = Isp(authority, store, signing(authority, tmp_path, wait=True))
        factory, request = new_key(), request_for(new_key())
        await isp.know(ROUTER, digest(factory))
        waiting = asyncio.create_task(isp.enrol(request, signed(factory, await isp.nonce(request), request)))
        await until(tmp_path / "asked")
        await register.revoke(store, ROUTER, "stolen", int(time.time()), ROOT)
        (tmp_path / "go").touch()
        answer = await waiting
        assert (answer.status, answer.why) == (403, "this router is revoked\n")
        assert await isp.listed() == []

    with_store(work)


def signing(authority: ca.Authority, folder: Path, wait: bool = False) -> tuple[str, ...]:
    """A sign_command by openssl. wait: it makes the file `asked`, and goes on once there is one named `go`."""
    more = f"touch {folder}/asked; while ! [ -e {folder}/go ]; do sleep 0.05; done\n" if wait else ""
    return program(
        folder,
        f"cat >{folder}/csr.$$\n{more}exec openssl x509 -req -in {folder}/csr.$$ -CA {authority.certificate}"
        f' -CAkey {key_file(authority)} -set_serial 0x$$ -days "$2" 2>/dev/null',
    )


async def until(path: Path) -> None:
    for _ in range(400):
        if os.path.exists(path):  # noqa: ASYNC240
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


# ── who asks ────────────────────────────────────────────────────────────────────────────────────────


def test_a_router_by_its_factory_key_and_then_by_its_certificate(
    with_store: WithStore, authority: ca.Authority
) -> None:
    async def work(store: Store) -> None:
        isp = Isp(authority, store)
        factory, key = new_key(), new_key()
        await isp.know(ROUTER, digest(factory))
        request = request_for(key)
        answer = await isp.enrol(request, signed(factory, await isp.nonce(request), request))
        assert answer.status == 200
        assert answer.headers["content-type"] == ["application/pkcs7-mime; smime-type=certs-only"]
        (first,) = answer.certificates
        assert first.public_key() == key.public_key()
        der = first.public_bytes(DER)
        answer = await isp.renew(request_for(new_key()), der)
        assert (answer.status, len(answer.certificates)) == (200, 1)
        assert [row["how"] for row in await isp.listed()] in (["renewal", "factory"], ["factory", "renewal"])
        # Its own certificate does not take the place of a first proof, and nothing else that of a renewal.
        assert (
            await isp.renew(request_for(new_key()), None)
        ).why == "a renewal needs the router's certificate, by TLS\n"
        assert (await isp.renew(request_for(new_key(), "cpe-0002"), der)).status == 400
        # One that was revoked renews nothing, nor does any other of this router.
        await register.revoke(store, ROUTER, "", int(time.time()), ROOT)
        assert (await isp.renew(request_for(new_key()), der)).why == "this router is revoked\n"
        await register.allow(store, ROUTER, int(time.time()), ROOT)
        assert (await isp.renew(request_for(new_key()), der)).why == "this certificate is revoked\n"

    with_store(work)


async def proven(isp: Isp, key: ec.EllipticCurvePrivateKey, request: bytes, **wrong: Any) -> Answer:
    """By a factory key. wrong: of what it signs, or of the header."""
    header = signed(key, wrong.pop("nonce", "") or await isp.nonce(request), request, **wrong)
    return await isp.enrol(request, header)


def test_a_factory_key_that_proves_nothing(with_store: WithStore, authority: ca.Authority) -> None:
    async def work(store: Store) -> None:
        isp = Isp(authority, store)
        factory, request = new_key(), request_for(new_key())
        await isp.know(ROUTER, digest(factory))
        await isp.know("cpe-0002", "")
        unknown = "no such router with this key\n"
        assert (await proven(isp, new_key(), request)).why == unknown
        for router in ("cpe-0002", "cpe-0003"):  # the same answer for one that exists
            assert (await proven(isp, factory, request_for(new_key(), router), router=router)).why == unknown
        for wrong, status, why in (
            ({"router": "a b"}, 401, "expected key, nonce, router, signature, each once\n"),
            ({"host": "other.example"}, 401, "the signature is not the factory key's\n"),
            ({"nonce": "0" * 72}, 401, "the nonce is not of this server\n"),
        ):
            answer = await proven(isp, factory, request, **wrong)
            assert (answer.status, answer.why) == (status, why)
        # What was signed for one request is not good for another.
        header = signed(factory, await isp.nonce(request), request)
        assert (await isp.enrol(request_for(new_key()), header)).why == "the signature is not the factory key's\n"
        # At a name that the certificate does not have.
        for host in ("evil.example", "", "[::1]:8444", "est.isp.example.evil.example"):
            answer = await isp.enrol(request, header, host=host)
            assert answer.why == "this server has another name than the one that was signed\n"
        assert (await isp.enrol(request, header, host=f"{HOST.upper()}.:1")).status == 200
        assert len(await isp.listed()) == 1

    with_store(work)


def test_a_certificate_of_the_factory(with_store: WithStore, authority: ca.Authority, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        factory = ca.Authority(tmp_path / "factory", "Factory")
        isp = Isp(authority, store)
        shown = factory.router(ROUTER)
        key = hashlib.sha256(
            x509.load_der_x509_certificate(shown.der())
            .public_key()
            .public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        ).hexdigest()
        assert (await isp.enrol(request_for(new_key()), shown=shown.der())).why == "no such router with this key\n"
        for known in ("", key):
            await isp.know(ROUTER, known)
            assert (await isp.enrol(request_for(new_key()), shown=shown.der())).status == 200
        # Another certificate of the same factory in the same name: the key of the register decides.
        again = factory.router(ROUTER)
        assert (await isp.enrol(request_for(new_key()), shown=again.der())).status == 403
        assert (await isp.renew(request_for(new_key()), again.der())).status == 403
        for names in ([], ["a", ROUTER], ["a b"]):
            pair = factory.named("odd", names)
            answer = await isp.enrol(request_for(new_key()), shown=pair.der())
            assert answer.status == 403, names
        assert (await isp.enrol(request_for(new_key()), shown=b"\x30\x00")).why == (
            "the client certificate cannot be read\n"
        )
        # A factory that writes the id into serialNumber.
        by_serial = Isp(authority, store, by_serial_number=True)
        assert (await by_serial.enrol(request_for(new_key()), shown=shown.der())).status == 403
        name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "Model X"), x509.NameAttribute(NameOID.SERIAL_NUMBER, ROUTER)]
        )
        own = new_key()
        await isp.know(ROUTER, digest(own))
        builder = factory._builder(name, -1, 30).public_key(own.public_key())
        der = builder.sign(factory._key, hashes.SHA256()).public_bytes(DER)
        assert (await by_serial.enrol(request_for(new_key()), shown=der)).status == 200
        # The key of the factory's certificate is not for the new one.
        assert (await by_serial.enrol(request_for(own), shown=der)).why == (
            "this key is another router's, or a factory key; make a new one\n"
        )

    with_store(work)


def test_tokens_that_are_refused(with_store: WithStore, authority: ca.Authority) -> None:
    async def work(store: Store) -> None:
        isp = Isp(authority, store)
        token, request = await isp.token(), request_for(new_key())
        await isp.know("cpe-0002", "")
        bad = "the token is not good for this router, or was used before\n"
        text = base64.b64decode(token.removeprefix("Basic ")).decode().partition(":")[2]
        other = request_for(new_key(), "cpe-0002")
        assert (await isp.enrol(other, basic("cpe-0002", text))).why == bad
        assert (await isp.enrol(request_for(new_key(), "cpe-0009"), basic("cpe-0009", text))).why == bad
        assert (await isp.enrol(request, basic(ROUTER, text + "x"))).why == bad
        old = await isp.token("cpe-0003", 1, int(time.time()) - 3601)
        assert (await isp.enrol(request_for(new_key(), "cpe-0003"), old)).why == bad
        expected = "Basic: expected the router's id and its token\n"
        for value in ("", "!!", "AAAA", base64.b64encode(b"cpe-0001").decode(), base64.b64encode(b"cpe-0001:").decode(),
                      base64.b64encode("cpe-0001:ü".encode()).decode()):  # fmt: skip
            assert (await isp.enrol(request, f"Basic {value}")).why == expected, value
        assert (await isp.enrol(request, basic("a b", text))).status == 403
        # The name in the request is another one.
        assert (await isp.enrol(other, token)).status == 400
        assert (await isp.enrol(request, token)).status == 200

    with_store(work)


def test_other_schemes_and_two_headers(with_store: WithStore, authority: ca.Authority) -> None:
    async def work(store: Store) -> None:
        isp = Isp(authority, store)
        request = request_for(new_key())
        kind = ("content-type", "application/pkcs10")
        for scheme in ("Bearer x", "Digest username=x", "", "x"):
            answer = await isp.enrol(request, scheme or None)
            assert answer.status == 401
            assert answer.headers["www-authenticate"][1] == 'Basic realm="enrolment"'
        two = (kind, ("authorization", basic(ROUTER, "a")), ("authorization", basic(ROUTER, "b")))
        assert (await isp.enrol(request, headers=two)).status == 400
        assert (await isp.enrol(request, "Basic " + "A" * 5000)).status == 400

    with_store(work)


# ── bodies and paths ────────────────────────────────────────────────────────────────────────────────


def test_bodies_that_are_refused(with_store: WithStore, authority: ca.Authority) -> None:
    async def work(store: Store) -> None:
        isp = Isp(authority, store)
        token = await isp.token()

        async def asked(body: bytes, kind: str = "application/pkcs10") -> Answer:
            return await isp.ask("simpleenroll", body, token, headers=(("content-type", kind),) if kind else ())

        for body, kind, status, why in (
            (b"A" * (MAX_REQUEST + 1), "application/pkcs10", 413, "body over 16384 bytes\n"),
            (b"AAAA", "text/plain", 415, "expected Content-Type: application/pkcs10\n"),
            (b"AAAA", "", 415, "expected Content-Type: application/pkcs10\n"),
            (b"\xff\xfe", "application/pkcs10", 400, "expected PKCS #10, DER in Base64\n"),
            (b"AAA", "application/pkcs10", 400, "expected PKCS #10, DER in Base64\n"),
            (b"", "application/pkcs10", 400, "the request cannot be read; expected PKCS #10, DER in Base64\n"),
            (b"A" * MAX_REQUEST, "application/pkcs10", 400, "the request cannot be read;"),
        ):
            answer = await asked(body, kind)
            assert (answer.status, answer.why[: len(why)]) == (status, why)
            assert answer.headers["x-content-type-options"] == ["nosniff"]
        # As openssl and curl send it.
        pem = x509.load_der_x509_csr(request_for(new_key())).public_bytes(PEM)
        assert (await asked(pem.replace(b"\n", b"\r\n"), "application/x-pkcs10; charset=x")).status == 200

    with_store(work)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "simpleenroll", 405), ("POST", "cacerts", 405), ("POST", "serverkeygen", 404), ("POST", "fullcmc", 404),
        ("GET", "/", 404), ("GET", "/.well-known/est", 404), ("GET", "/.well-known/est/", 404),
        ("GET", "/.well-known/est/label/cacerts", 404), ("GET", "/crl.pem", 404), ("GET", "/metrics", 404),
    ],
)  # fmt: skip
def test_paths_and_methods(with_store: WithStore, authority: ca.Authority, method: str, path: str, status: int) -> None:
    async def work(store: Store) -> None:
        answer = await Isp(authority, store).ask(path, method=method)
        assert answer.status == status
        assert len(answer.why.splitlines()) <= 1

    with_store(work)


def test_what_is_for_all(with_store: WithStore, authority: ca.Authority) -> None:
    async def work(store: Store) -> None:
        isp = Isp(authority, store)
        answer = await isp.ask("cacerts", method="GET")
        assert answer.headers["content-type"] == ["application/pkcs7-mime"]
        assert answer.body == b"".join(answer.body.split())  # RFC 8951: white space is no part of it
        assert answer.certificates == isp.own.chain
        answer = await isp.ask("csrattrs", method="GET")
        assert base64.b64decode(answer.body) == CSR_ATTRIBUTES

    with_store(work)


@given(st.binary(max_size=600), st.text(st.characters(max_codepoint=255), max_size=120), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_body_and_any_header_end_in_one_line(
    authority: ca.Authority, body: bytes, header: str, by_scheme: bool
) -> None:
    async def work() -> None:
        isp = Isp(authority, Empty())  # type: ignore[arg-type]
        words = f"CPE-Factory {header}" if by_scheme else header
        answer = await isp.ask("simpleenroll", body, words or None)
        assert answer.status in (400, 401, 403, 413, 429)
        assert len(answer.body) < 400
        assert answer.body.isascii()

    asyncio.run(work())


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_router_gets_so_many_and_then_waits(with_store: WithStore, authority: ca.Authority) -> None:
    async def work(store: Store) -> None:
        isp = Isp(authority, store, burst=3)
        token, request = await isp.token(), request_for(new_key())
        for _ in range(3):
            assert (await isp.enrol(request, token)).status == 200
        answer = await isp.enrol(request, token)
        assert (answer.status, answer.why) == (429, "too many certificates for this router\n")
        assert 0 < int(answer.headers["retry-after"][0]) <= 3600
        # Others do not wait for it.
        other = await isp.token("cpe-0002")
        assert (await isp.enrol(request_for(new_key(), "cpe-0002"), other)).status == 200

    with_store(work)


def test_an_address_gets_so_many_and_then_waits(with_store: WithStore, authority: ca.Authority) -> None:
    async def work(store: Store) -> None:
        isp = Isp(authority, store)
        request = request_for(new_key())
        statuses = [(await isp.enrol(request)).status for _ in range(70)]
        assert set(statuses) == {401, 429}
        assert statuses.index(429) == 60
        assert (await isp.enrol(request, peer="192.0.2.10")).status == 401

    with_store(work)


def test_a_store_that_is_away(authority: ca.Authority, caplog: pytest.LogCaptureFixture) -> None:
    class Away(Empty):
        async def read(self, sql: str, /, **parameters: Any) -> list[Row]:
            raise StoreUnavailableError("the database is away")

    async def work() -> None:
        isp = Isp(authority, Away())  # type: ignore[arg-type]
        answer = await isp.enrol(request_for(new_key()), basic(ROUTER, "token"))
        assert (answer.status, answer.why) == (503, "try again later\n")
        assert answer.headers["retry-after"] == ["60"]

    asyncio.run(work())
    assert "store unavailable" in caplog.text


class Empty:
    """A store without any router."""

    dialect = "sqlite"

    async def read(self, sql: str, /, **parameters: Any) -> list[Row]:
        return []

    async def write(self, statements: Sequence[Statement]) -> list[int]:
        return [0 for _ in statements]
