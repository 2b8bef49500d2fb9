"""The commands `collector enrol` and `collector routers`, on both stores: what they print, and what they refuse."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cpe_filter.collect.config.model import Config, EnrolTable
from cpe_filter.collect.enrol import desk, register
from cpe_filter.collect.enrol.desk import EnrolError
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.store.sqlite import SQLite
from tests.collect import ca
from tests.collect.enrol.isp import ROOT, digest, key_file, new_key, program, spki
from tests.lab.net import why_not
from tests.provision.test_live_full import apart, fill, mount

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]
NOW = int(time.time())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> ca.Authority:
    return ca.Authority(tmp_path_factory.mktemp("ca"))


def config_of(authority: ca.Authority) -> Config:
    return Config(enrol=EnrolTable(ca=str(authority.certificate), ca_key=str(key_file(authority))))


def test_a_token_and_a_file(
    with_store: WithStore, authority: ca.Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work(store: Store) -> None:
        await desk.enrol(config_of(authority), store, "cpe-1", None, NOW)
        printed = capsys.readouterr()
        assert len(printed.out.strip()) == 32
        assert printed.err == "for router cpe-1, once, within 72 hours\n"
        assert printed.out.strip() not in json.dumps(await store.read("SELECT * FROM enrol_token"))
        await desk.enrol(config_of(authority), store, "cpe-2", str(tmp_path / "out"), NOW)
        assert capsys.readouterr().out == f"{tmp_path}/out/cpe-2.pem\n"
        made = (tmp_path / "out" / "cpe-2.pem").read_bytes()
        certificate = x509.load_pem_x509_certificate(made)
        key = serialization.load_pem_private_key(made, None)
        assert certificate.public_key() == key.public_key()
        rows = await register.listed(store, "cpe-2")
        assert [(row["how"], row["serial"]) for row in rows] == [("hand", f"{certificate.serial_number:x}")]
        reasons = [row["reason"] for row in (await audit.listed(store, audit.Filter(what="routers")))[0]]
        assert reasons[0] == f"cpe-2: certificate {certificate.serial_number:x}"
        assert reasons[-1] == "cpe-1: one-time token"

    with_store(work)


def test_an_authority_that_cannot_sign_leaves_no_file(
    with_store: WithStore, authority: ca.Authority, tmp_path: Path
) -> None:
    async def work(store: Store) -> None:
        words = program(tmp_path, "exit 1")
        broken = Config(enrol=EnrolTable(ca=str(authority.certificate), sign_command=words))
        with pytest.raises(EnrolError, match=r"sign: ended with 1$"):
            await desk.enrol(broken, store, "cpe-2", str(tmp_path / "out"), NOW)
        assert await asyncio.to_thread(lambda: list((tmp_path / "out").iterdir())) == []
        await desk.enrol(config_of(authority), store, "cpe-2", str(tmp_path / "out"), NOW)

    with_store(work)


@pytest.mark.live
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_full_folder_is_one_line_and_leaves_no_part_of_a_file(authority: ca.Authority, tmp_path: Path) -> None:
    folder = tmp_path / "out"

    async def work() -> None:
        store = SQLite(str(tmp_path / "store.db"))
        await store.open()
        try:
            with pytest.raises(EnrolError, match=r"out/cpe-1.pem: No space left on device"):
                await desk.enrol(config_of(authority), store, "cpe-1", str(folder), NOW)
            assert [one.name for one in folder.iterdir()] == ["filler"]
            (folder / "filler").unlink()
            await desk.enrol(config_of(authority), store, "cpe-1", str(folder), NOW)
        finally:
            await store.close()

    def inside() -> None:
        mount(folder, "size=16k")
        fill(folder, 0)
        asyncio.run(work())

    apart(inside, tmp_path / "log")


@pytest.mark.parametrize("router", ["", "a b", "../x", "x" * 65, "ü", "a/b", "a\nb"])
def test_a_name_that_is_none(with_store: WithStore, authority: ca.Authority, tmp_path: Path, router: str) -> None:
    async def work(store: Store) -> None:
        for output in (None, str(tmp_path / "out")):
            with pytest.raises(EnrolError) as error:
                await desk.enrol(config_of(authority), store, router, output, NOW)
            assert len(str(error.value).splitlines()) == 1
        for what in ("revoke", "allow"):
            with pytest.raises(EnrolError):
                await desk.routers(store, what, router, "", NOW)
        assert await store.read("SELECT * FROM enrol_router") == []
        assert not (tmp_path / "out").exists()

    with_store(work)


def test_a_revoked_router_gets_nothing_by_hand(with_store: WithStore, authority: ca.Authority, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        await register.load(store, [("cpe-1", "")], NOW, ROOT)
        await desk.routers(store, "revoke", "cpe-1", "stolen", NOW)
        for output in (None, str(tmp_path / "out")):
            with pytest.raises(EnrolError, match=r"^router cpe-1 is revoked; `collector routers allow cpe-1` allows"):
                await desk.enrol(config_of(authority), store, "cpe-1", output, NOW)
        with pytest.raises(EnrolError, match=r"^router cpe-9 is not known"):
            await desk.routers(store, "revoke", "cpe-9", "", NOW)
        await desk.routers(store, "allow", "cpe-1", "", NOW)
        await desk.enrol(config_of(authority), store, "cpe-1", None, NOW)
        reasons = [row["reason"] for row in (await audit.listed(store, audit.Filter(what="routers")))[0]]
        assert reasons[1:3] == ["cpe-1 allowed", "cpe-1 revoked: stolen"]

    with_store(work)


def test_without_an_authority(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        with pytest.raises(EnrolError, match=r"\[enrol\] ca is empty; `collector enrol` with --output needs ca"):
            await desk.enrol(Config(), store, "cpe-1", str(tmp_path), NOW)

    with_store(work)


# ── import ──────────────────────────────────────────────────────────────────────────────────────────


def base64_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return base64.b64encode(spki(key)).decode()


def test_import_of_keys_digests_and_nothing(
    with_store: WithStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, other = new_key(), new_key()
    path = tmp_path / "routers.csv"
    path.write_text(
        f"\ufeffRouter, key\r\ncpe-1,{base64_of(key)}\r\n\r\n cpe-2 , {digest(other)} \r\ncpe-3,\r\n", encoding="utf-8"
    )

    async def work(store: Store) -> None:
        await desk.routers(store, "import", str(path), "", NOW)
        assert capsys.readouterr().err == "3 routers imported\n"
        keys = [(await register.known(store, f"cpe-{n}")) for n in (1, 2, 3)]
        assert [one.key for one in keys if one] == [digest(key), digest(other), ""]
        # A revoked router stays revoked, whatever is imported.
        await desk.routers(store, "revoke", "cpe-1", "", NOW)
        await desk.routers(store, "import", str(path), "", NOW + 1)
        assert await register.known(store, "cpe-1") == (digest(key), "revoked")

    with_store(work)


RSA_1024 = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDH" + "A" * 168  # of no use: too short, and not even a good key

BAD = [
    ("", ":1: expected the header router,key"),
    ("cpe-1,\n", ":1: expected the header router,key"),
    ("router\ncpe-1\n", ":1: expected the header router,key"),
    ("router,key\ncpe-1\n", ":2: 1 fields; expected router,key"),
    ("router,key\ncpe-1,,x\n", ":2: 3 fields; expected router,key"),
    ("router,key\ncpe-1,AAAA\n", ":2: key: expected a public key"),
    ("router,key\ncpe-1," + "A" * 64 + "\n", ":2: key: expected a public key"),
    ("router,key\na b,\n", ":2: 'a b': "),
    ('router,key\n"cpe-1,\n', "not CSV: unexpected end of data"),
    ("router,key\ncpe-1,\0\n", ":2: "),
    (f"router,key\ncpe-1,{RSA_1024}\n", ":2: key: "),
]


@pytest.mark.parametrize(("text", "why"), BAD)
def test_import_is_whole_or_not_at_all(with_store: WithStore, tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "routers.csv"
    path.write_text(text.replace("router,key\n", "router,key\ncpe-0,\n", 1) if "router,key" in text else text)

    async def work(store: Store) -> None:
        with pytest.raises(EnrolError) as error:
            await desk.routers(store, "import", str(path), "", NOW)
        assert str(error.value).startswith(f"{path}:")
        assert why.partition(":2")[2] in str(error.value)
        assert await store.read("SELECT * FROM enrol_router") == []

    with_store(work)


def test_import_of_what_is_not_a_text(with_store: WithStore, tmp_path: Path) -> None:
    path = tmp_path / "routers.csv"
    path.write_bytes(b"router,key\n\xff\xfe,\n")

    async def work(store: Store) -> None:
        with pytest.raises(EnrolError, match=r"routers\.csv: not UTF-8 text$"):
            await desk.routers(store, "import", str(path), "", NOW)
        with pytest.raises(EnrolError, match=r"nothing: No such file or directory$"):
            await desk.routers(store, "import", str(tmp_path / "nothing"), "", NOW)
        path.write_text("router,key\n" + "a b,\n" * 1000)
        with pytest.raises(EnrolError) as error:
            await desk.routers(store, "import", str(path), "", NOW)
        assert len(str(error.value).splitlines()) == 20

    with_store(work)


@pytest.mark.parametrize("size", [1024, 2048])
def test_keys_of_rsa(size: int) -> None:
    text = base64_of(rsa.generate_private_key(65537, size))
    if size < 2048:
        with pytest.raises(EnrolError, match=r"^key: its key is of another kind or size; expected EC P-256"):
            desk.key_digest(text)
    else:
        assert len(desk.key_digest(text)) == 64


def test_the_list(with_store: WithStore, capsys: pytest.CaptureFixture[str]) -> None:
    async def work(store: Store) -> None:
        await register.load(store, [("cpe-1", ""), ("cpe-2", "")], NOW, ROOT)
        for serial, router, ends in (("1", "cpe-1", NOW + 9), ("2", "cpe-1", NOW - 9), ("3", "cpe-2", NOW + 9)):
            row = register.Certificate(serial, router, serial, "factory", NOW - 100, ends)
            assert await register.note(store, row)
        await desk.routers(store, "revoke", "cpe-2", "", NOW)
        capsys.readouterr()
        await desk.routers(store, "list", "", "", NOW)
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {(row["serial"], row["state"]) for row in rows} == {("1", "valid"), ("2", "expired"), ("3", "revoked")}
        await desk.routers(store, "list", "cpe-1", "", NOW)
        assert len(capsys.readouterr().out.splitlines()) == 2

    with_store(work)
