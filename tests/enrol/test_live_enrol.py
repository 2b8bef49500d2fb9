"""A router with nothing but a key of its factory: it enrols, reports, renews by itself, and is refused once revoked.

Everything is real: the router's commands, the EST server, the collector, TLS, the revocation list between them.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from cpe_filter.report.certificate import parse
from tests.collect.ca import Authority
from tests.collect.reports import body, heartbeat, packed
from tests.collect.running import JSON, Collector
from tests.lab.net import DEADLINE_S, PROJECT
from tests.ports import free_port


def cli(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cpe_filter", *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        cwd=PROJECT,
        env={**os.environ, "CPE_FILTER_LOG": "stderr"},
        **more,
    )


class Isp:
    """The collector, and the EST server with the same store."""

    def __init__(self, folder: Path, **enrol: str) -> None:
        """enrol: more keys of [enrol]."""
        self.folder = folder
        self.authority = Authority(folder / "ca")
        self.ca_key = folder / "ca" / "ca.key"
        key = self.authority._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.ca_key.touch(0o600)
        self.ca_key.write_bytes(key)
        self.port = free_port()
        server = self.authority.server()
        self.tables = {
            "address": f"127.0.0.1:{self.port}",
            "certificate": str(server.certificate),
            "key": str(server.key),
            "ca": str(self.authority.certificate),
            "ca_key": str(self.ca_key),
            "crl": str(self.authority.crl),
            "metrics_address": f"127.0.0.1:{free_port()}",
            **enrol,
        }
        self.collector = Collector(folder / "run", self.authority, enrol=self.tables)
        self.est = Collector(folder / "est", self.authority, "est", enrol=self.tables)
        self.est.tables["store"] = self.collector.tables["store"]
        self.url = f"https://localhost:{self.port}"

    def do(self, *words: str) -> subprocess.CompletedProcess[str]:
        return cli("collector", "--config", str(self.collector.config), *words)

    def lines(self, event: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.est.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]


@pytest.fixture
def isp(tmp_path: Path) -> Iterator[Isp]:
    made = Isp(tmp_path / "isp")
    with made.collector, made.est:
        yield made


class Router:
    def __init__(self, folder: Path, isp: Isp, router: str = "cpe-0001") -> None:
        folder.mkdir(mode=0o700)
        self.folder, self.isp, self.id = folder, isp, router
        self.pem = folder / "router.pem"
        self.policy = folder / "policy.toml"
        self.policy.write_text(
            f"""
[status]
status_file = "{folder}/run/status.json"
[report]
url = "https://localhost:{isp.collector.port}"
ca = "{isp.authority.certificate}"
certificate = "{self.pem}"
key = "{folder}/router.key"
user = "nobody"
"""
        )

    def factory(self, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
        """Writes the key; its public half, as for `collector routers import`."""
        path = self.folder / "factory.key"
        path.touch(0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return "".join(pem.decode().splitlines()[1:-1])

    def enrol(self, *words: str) -> subprocess.CompletedProcess[str]:
        return cli("enrol", "--policy", str(self.policy), "--url", self.isp.url, "--id", self.id, *words)

    def by_factory(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.enrol("--factory-key", str(self.folder / "factory.key"), *words)

    def send(self) -> subprocess.CompletedProcess[str]:
        return cli("send", "--policy", str(self.policy), "--once")


def imported(isp: Isp, *rows: str) -> None:
    path = isp.folder / "routers.csv"
    path.write_text("\n".join(["router,key", *rows, ""]))
    done = isp.do("routers", "import", str(path))
    assert done.returncode == 0, done.stderr


def shortened(isp: Isp, router: Router, left_s: int = 3) -> None:
    """A certificate of the same authority that is nearly at its end, in place of the router's."""
    made = isp.authority.router(router.id, starts=-10, ends=left_s / 86400)
    router.pem.write_bytes(made.key.read_bytes() + made.certificate.read_bytes())
    router.pem.chmod(0o600)


@pytest.mark.parametrize("kind", ["ec", "ed25519"])
def test_from_the_factory_to_the_end(isp: Isp, tmp_path: Path, kind: str) -> None:
    router = Router(tmp_path / "router", isp)
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else ed25519.Ed25519PrivateKey.generate()
    public = router.factory(key)

    # Not known yet: no certificate, and nothing of one.
    done = router.by_factory()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"cpe-filter: enrol: {isp.url}: answered 403: no such router with this key; nothing has changed\n"
    )
    assert not router.pem.exists()

    imported(isp, f"cpe-0001,{public}", "cpe-0002,")
    done = router.by_factory()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("certificate of cpe-0001, until ")
    first = router.pem.read_bytes()
    assert parse(first).name == "cpe-0001"
    assert b"PRIVATE KEY" in first
    assert oct(router.pem.stat().st_mode)[-3:] == "600"
    assert sorted(path.name for path in router.folder.glob("router.*")) == ["router.key", "router.pem"]

    # It is what the collector knows the router by.
    assert reported(isp, router) == 200

    # Not due, so nothing is asked.
    done = router.by_factory()
    assert (done.returncode, router.pem.read_bytes()) == (0, first)
    assert done.stdout.startswith("the certificate of cpe-0001 ends on ")

    # Near its end, by the certificate alone: with a new key.
    shortened(isp, router, 3600)
    before = router.pem.read_bytes()
    done = router.enrol()
    assert done.returncode == 0, done.stderr
    renewed = router.pem.read_bytes()
    assert renewed.partition(b"-----END PRIVATE")[0] != before.partition(b"-----END PRIVATE")[0]
    assert reported(isp, router) == 200

    # Expired: the factory's key again.
    shortened(isp, router, -3600)
    assert reported(isp, router) is None
    done = router.by_factory()
    assert done.returncode == 0, done.stderr
    assert reported(isp, router) == 200
    assert [line["how"] for line in isp.lines("certificate issued")] == ["factory", "renewal", "factory"]

    # Revoked: the collector refuses it, and it gets no other.
    done = isp.do("routers", "revoke", "cpe-0001", "--reason", "stolen")
    assert (done.returncode, done.stderr) == (0, "router cpe-0001 is revoked, with 3 certificates\n")
    end = time.monotonic() + DEADLINE_S
    while reported(isp, router) == 200:
        assert time.monotonic() < end
        time.sleep(0.5)
    assert reported(isp, router) == 403
    last = router.pem.read_bytes()
    for words in (("--now",), ("--now", "--factory-key", str(router.folder / "factory.key"))):
        done = router.enrol(*words)
        assert (done.returncode, router.pem.read_bytes()) == (1, last)
        assert "answered 403: this router is revoked" in done.stderr
    isp.do("routers", "allow", "cpe-0001")
    assert router.by_factory("--now").returncode == 0
    assert reported(isp, router) == 200


def reported(isp: Isp, router: Router) -> int | None:
    """The collector's status for a report with the router's certificate; None if TLS ends the connection."""
    context = ssl.create_default_context(cafile=str(isp.authority.certificate))
    context.load_cert_chain(router.pem, router.folder / "router.key")
    connection = http.client.HTTPSConnection("localhost", isp.collector.port, timeout=DEADLINE_S, context=context)
    try:
        connection.request("POST", "/v1/reports", packed(body(heartbeat(1))), JSON)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def test_a_token_is_for_one_key(isp: Isp, tmp_path: Path) -> None:
    done = isp.do("enrol", "cpe-0009")
    assert done.returncode == 0, done.stderr
    token = done.stdout.strip()
    one, other = Router(tmp_path / "one", isp, "cpe-0009"), Router(tmp_path / "other", isp, "cpe-0009")
    for router in (one, other):
        path = router.folder / "token"
        path.touch(0o600)
        path.write_text(f"{token}\n")
    # The answer is lost: the same key asks again.
    assert one.enrol("--token", str(one.folder / "token")).returncode == 0
    os.unlink(one.pem)
    done = other.enrol("--token", str(other.folder / "token"))
    assert done.returncode == 1
    assert "answered 401: the token is not good for this router, or was used before" in done.stderr


def test_a_lost_answer_is_asked_for_again(isp: Isp, tmp_path: Path) -> None:
    from cpe_filter.enrol.libcrypto import Crypto
    from cpe_filter.enrol.pair import Pair

    router = Router(tmp_path / "router", isp, "cpe-0009")
    token = router.folder / "token"
    token.touch(0o600)
    token.write_text(isp.do("enrol", "cpe-0009").stdout)
    pair = Pair(str(router.pem), str(router.folder / "router.key"))
    pair.begin(Crypto().make_key())
    key = pair.pending()
    assert key is not None
    assert router.enrol("--token", str(token)).returncode == 0
    os.unlink(router.pem)
    pair.begin(key)
    assert router.enrol("--token", str(token)).returncode == 0


def test_a_certificate_of_the_factory(tmp_path: Path) -> None:
    """By TLS. One of another factory ends the handshake; a renewal is by the router's own certificate."""
    factory, other = Authority(tmp_path / "factory", "Factory"), Authority(tmp_path / "other", "Another factory")
    isp = Isp(tmp_path / "isp", factory_ca=str(factory.certificate))
    with isp.collector, isp.est:
        router = Router(tmp_path / "router", isp)
        imported(isp, f"{router.id},")

        def by(authority: Authority, name: str) -> subprocess.CompletedProcess[str]:
            pair = authority.router(name)
            return router.enrol("--factory-certificate", str(pair.certificate), "--factory-key", str(pair.key))

        done = by(other, router.id)
        assert (done.returncode, router.pem.exists()) == (1, False)
        assert "does not accept the certificate " in done.stderr
        done = by(factory, "cpe-0002")
        assert (done.returncode, router.pem.exists()) == (1, False)
        assert "answered 400: the common name (CN) of the request is not the router's id" in done.stderr
        done = by(factory, router.id)
        assert done.returncode == 0, done.stderr
        assert reported(isp, router) == 200
        shortened(isp, router, 3600)
        done = router.enrol()
        assert done.returncode == 0, done.stderr
        # The factory's certificate is for enrolment alone.
        pair = factory.router(router.id)
        router.pem.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
        assert reported(isp, router) is None
        assert [line["how"] for line in isp.lines("certificate issued")] == ["certificate", "renewal"]


def test_several_servers_and_many_routers_at_once(isp: Isp, tmp_path: Path) -> None:
    """Two processes on one store. A nonce of one is good at the other, once; of one token's two users one wins."""
    tables = {**isp.tables, "address": f"127.0.0.1:{free_port()}", "metrics_address": f"127.0.0.1:{free_port()}"}
    with Collector(isp.folder / "other", isp.authority, "est", enrol=tables, store=isp.collector.tables["store"]):
        urls = [isp.url, f"https://localhost:{tables['address'].rpartition(':')[2]}"]
        routers = [Router(tmp_path / f"router{n}", isp, f"cpe-{n}") for n in range(6)]
        keys = [router.factory(ec.generate_private_key(ec.SECP256R1())) for router in routers]
        imported(isp, *(f"{router.id},{key}" for router, key in zip(routers, keys, strict=True)))
        token = isp.do("enrol", "cpe-9").stdout
        rivals = [Router(tmp_path / f"rival{n}", isp, "cpe-9") for n in range(2)]
        for rival in rivals:
            path = rival.folder / "token"
            path.touch(0o600)
            path.write_text(token)
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(r.by_factory, "--url", urls[n % 2]) for n, r in enumerate(routers)]
            won = [pool.submit(r.enrol, "--url", urls[n], "--token", f"{r.folder}/token") for n, r in enumerate(rivals)]
            assert [each.result().stderr for each in asked] == [""] * len(routers)
            assert sorted(each.result().returncode for each in won) == [0, 1]
        for router in routers:
            assert parse(router.pem.read_bytes()).name == router.id
        rows = [json.loads(line) for line in isp.do("routers", "list").stdout.splitlines()]
        assert sorted(row["router"] for row in rows) == [*(router.id for router in routers), "cpe-9"]
        with urllib.request.urlopen(f"http://{tables['metrics_address']}/metrics", timeout=DEADLINE_S) as response:
            metrics = response.read().decode()
        for name in ("enrol", "enrol_ca"):
            assert f'cpe_collector_certificate_ends_seconds{{file="{name}"}}' in metrics
        assert 'cpe_collector_router_certificates{state="late"} 0.0' in metrics


def test_by_hand_for_a_trial(isp: Isp, tmp_path: Path) -> None:
    done = isp.do("enrol", "cpe-0005", "--output", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/out/cpe-0005.pem\n")
    router = Router(tmp_path / "router", isp, "cpe-0005")
    router.pem.write_bytes((tmp_path / "out" / "cpe-0005.pem").read_bytes())
    router.pem.chmod(0o600)
    os.symlink(router.pem, router.folder / "router.key")
    assert reported(isp, router) == 200
    rows = [json.loads(line) for line in isp.do("routers", "list", "cpe-0005").stdout.splitlines()]
    assert [(row["how"], row["state"]) for row in rows] == [("hand", "valid")]
    done = isp.do("enrol", "cpe-0005", "--output", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (2, f"cpe-filter: {tmp_path}/out/cpe-0005.pem: File exists\n")
