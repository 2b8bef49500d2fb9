"""Programs of others: strongSwan's `pki`, and curl with openssl, as clients; openssl as the authority of a server.

No EST server of others is to be had from Debian, PyPI or npm.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.collect.ca import Authority
from tests.conftest import LIVE_REQUIRED
from tests.enrol import programs
from tests.enrol.programs import pki
from tests.enrol.server import Router as Enrolling
from tests.enrol.server import Scripted, http
from tests.enrol.test_live_enrol import Isp, Router, isp, reported
from tests.lab.net import DEADLINE_S

__all__ = ["isp"]
ROUTER = "cpe-0009"


def needs(reason: str) -> None:
    if reason and LIVE_REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def run(*words: str | Path, data: bytes = b"") -> bytes:
    done = subprocess.run([str(word) for word in words], input=data, capture_output=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_router(isp: Isp, folder: Path, key: Path, certificate: Path) -> Router:
    """A router that reports by what the client got."""
    router = Router(folder, isp, ROUTER)
    router.pem.write_bytes(certificate.read_bytes())
    (router.folder / "router.key").write_bytes(key.read_bytes())
    return router


def verified(isp: Isp, key: Path, certificate: Path) -> x509.Certificate:
    """It is of this authority, for clients, and for that key."""
    run("openssl", "verify", "-purpose", "sslclient", "-CAfile", isp.authority.certificate, certificate)
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert found.public_key() == load_pem_private_key(key.read_bytes(), None).public_key()
    assert found.subject.rfc4514_string() == f"CN={ROUTER}"
    return found


# ── strongSwan ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def client() -> None:
    needs(programs.why_not())


def requested(folder: Path, name: str) -> tuple[Path, Path]:
    """A key and a request, made by it."""
    key, request = folder / f"{name}.key", folder / f"{name}.req"
    made = pki("--gen", "--type", "ecdsa", "--size", "256", "--outform", "pem")
    key.write_text(made.stdout)
    done = pki("--req", "--type", "ecdsa", "--in", str(key), "--dn", f"CN={ROUTER}", "--outform", "pem")
    assert done.returncode == 0, done.stderr
    request.write_text(done.stdout)
    return key, request


@pytest.mark.usefixtures("client")
def test_strongswan_enrols_and_renews(isp: Isp, tmp_path: Path) -> None:
    ca = str(isp.authority.certificate)
    done = pki("--estca", "--url", isp.url, "--cacert", ca, "--caout", "found", "--outform", "pem", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = tmp_path.glob("found*")
    own = x509.load_pem_x509_certificate(isp.authority.certificate.read_bytes())
    assert x509.load_pem_x509_certificate(found.read_bytes()) == own

    token = isp.do("enrol", ROUTER).stdout.strip()
    key, request = requested(tmp_path, "first")
    words = ("--est", "--url", isp.url, "--cacert", ca, "--outform", "pem")
    done = pki(*words, "--in", str(request), "--userpass", f"{ROUTER}:wrong", "--maxpolltime", "2")
    assert done.returncode != 0
    assert "BEGIN CERTIFICATE" not in done.stdout
    done = pki(*words, "--in", str(request), "--userpass", f"{ROUTER}:{token}")
    assert done.returncode == 0, done.stderr
    certificate = tmp_path / "first.pem"
    certificate.write_text(done.stdout)
    first = verified(isp, key, certificate)
    assert reported(isp, as_router(isp, tmp_path / "router", key, certificate)) == 200

    next_key, request = requested(tmp_path, "next")
    done = pki(*words, "--in", str(request), "--cert", str(certificate), "--key", str(key))
    assert done.returncode == 0, done.stderr
    renewed = tmp_path / "next.pem"
    renewed.write_text(done.stdout)
    assert verified(isp, next_key, renewed).serial_number != first.serial_number
    assert [line["how"] for line in isp.lines("certificate issued")] == ["token", "renewal"]

    # Revoked: at once, for this client as for ours.
    isp.do("routers", "revoke", ROUTER)
    _, request = requested(tmp_path, "last")
    done = pki(*words, "--in", str(request), "--cert", str(renewed), "--key", str(next_key))
    assert done.returncode != 0
    assert "BEGIN CERTIFICATE" not in done.stdout


# ── curl and openssl ────────────────────────────────────────────────────────────────────────────────


def curl(isp: Isp, operation: str, *words: str | Path, status: str = "200") -> bytes:
    needs("" if shutil.which("curl") else "no curl")
    path = operation if operation.startswith("/") else f"/.well-known/est/{operation}"
    answer = run("curl", "-sS", "--cacert", isp.authority.certificate, "-w", "\n%{http_code}", *words, isp.url + path)
    body, _, code = answer.rpartition(b"\n")
    assert code.decode() == status, answer
    return body


def csr(folder: Path, name: str) -> tuple[Path, Path]:
    key, request = folder / f"{name}.key", folder / f"{name}.b64"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    der = run("openssl", "req", "-new", *curve, "-keyout", key, "-subj", f"/CN={ROUTER}", "-outform", "DER")
    request.write_bytes(base64.encodebytes(der))
    return key, request


def certificate_of(body: bytes, path: Path) -> Path:
    path.write_bytes(run("openssl", "pkcs7", "-inform", "DER", "-print_certs", data=base64.b64decode(body)))
    return path


def test_curl_and_openssl(isp: Isp, tmp_path: Path) -> None:
    found = certificate_of(curl(isp, "cacerts"), tmp_path / "found.pem")
    own = x509.load_pem_x509_certificate(isp.authority.certificate.read_bytes())
    assert x509.load_pem_x509_certificate(found.read_bytes()) == own
    attributes = run("openssl", "asn1parse", "-inform", "DER", data=base64.b64decode(curl(isp, "csrattrs")))
    assert b":prime256v1" in attributes
    assert b":ecdsa-with-SHA256" in attributes

    token = isp.do("enrol", ROUTER).stdout.strip()
    key, request = csr(tmp_path, "first")
    kind = ("-H", "Content-Type: application/pkcs10", "-H", "Content-Transfer-Encoding: base64")
    data = ("--data-binary", f"@{request}")
    assert curl(isp, "simpleenroll", *kind, *data, status="401")
    assert curl(isp, "simpleenroll", *kind, *data, "-u", f"{ROUTER}:wrong", status="401")
    body = curl(isp, "simpleenroll", *kind, *data, "-u", f"{ROUTER}:{token}")
    certificate = certificate_of(body, tmp_path / "first.pem")
    verified(isp, key, certificate)
    assert reported(isp, as_router(isp, tmp_path / "router", key, certificate)) == 200

    next_key, request = csr(tmp_path, "next")
    data = ("--data-binary", f"@{request}")
    assert curl(isp, "simplereenroll", *kind, *data, status="403")
    body = curl(isp, "simplereenroll", *kind, *data, "--cert", certificate, "--key", key)
    renewed = certificate_of(body, tmp_path / "next.pem")
    verified(isp, next_key, renewed)

    # The revocation list, as openssl checks it.
    isp.do("routers", "revoke", ROUTER)
    path = tmp_path / "crl.pem"
    end = time.monotonic() + DEADLINE_S
    while True:
        path.write_bytes(curl(isp, "/crl.pem"))
        if len(x509.load_pem_x509_crl(path.read_bytes())) == 2:
            break
        assert time.monotonic() < end
        time.sleep(0.5)
    words = ("openssl", "verify", "-crl_check", "-CRLfile", path, "-CAfile", isp.authority.certificate, renewed)
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode != 0
    assert "certificate revoked" in done.stdout + done.stderr


# ── openssl as the authority of a server ────────────────────────────────────────────────────────────


def test_what_openssl_issues(tmp_path: Path) -> None:
    """Root, intermediate, certificate and PKCS #7 are openssl's; this client gets the chain below the root."""
    authority = Authority(tmp_path / "tls")

    def signed(name: str, by: str, more: str) -> Path:
        extensions = tmp_path / f"{name}.ext"
        extensions.write_text(more)
        words: list[str | Path] = [
            "-CA",
            tmp_path / f"{by}.pem",
            "-CAkey",
            tmp_path / f"{by}.key",
            "-extfile",
            extensions,
        ]
        made = run(
            "openssl", "x509", "-req", "-in", tmp_path / f"{name}.csr", *words, "-set_serial", "77", "-days", "90"
        )
        path = tmp_path / f"{name}.pem"
        path.write_bytes(made)
        return path

    def key_of(name: str) -> tuple[str | Path, ...]:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout", tmp_path / f"{name}.key")
        return (*curve, "-subj", f"/O=ISP/CN={name}")

    (tmp_path / "root.pem").write_bytes(run("openssl", "req", "-x509", *key_of("root"), "-days", "900"))
    (tmp_path / "middle.csr").write_bytes(run("openssl", "req", "-new", *key_of("middle")))
    middle = signed("middle", "root", "basicConstraints=critical,CA:TRUE,pathlen:0\n")

    def certs_only(*files: Path) -> bytes:
        names = [word for file in files for word in ("-certfile", file)]
        return http(base64.encodebytes(run("openssl", "crl2pkcs7", "-nocrl", "-outform", "DER", *names)))

    def issue(body: bytes) -> bytes:
        der = base64.b64decode(body)
        (tmp_path / "router.csr").write_bytes(run("openssl", "req", "-inform", "DER", "-verify", data=der))
        return certs_only(signed("router", "middle", "extendedKeyUsage=clientAuth\n"))

    router = Enrolling(tmp_path / "router", authority)
    with Scripted(authority) as server:
        server.answers["cacerts"] = certs_only(tmp_path / "root.pem", middle)
        server.answers["simpleenroll"] = server.answers["simplereenroll"] = issue
        assert router.enrol(server.url) == 0
        first = router.pem.read_bytes()
        names = [one.subject.rfc4514_string() for one in x509.load_pem_x509_certificates(first)]
        assert names == ["CN=cpe-0001", "CN=middle,O=ISP"]
        run("openssl", "verify", "-CAfile", tmp_path / "root.pem", "-untrusted", router.pem, router.pem)
        assert router.enrol(server.url) == 0
        assert router.pem.read_bytes() != first
