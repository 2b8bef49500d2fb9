"""`collector init DIR`: all that a trial needs in one new folder: certificates, a map, a configuration, a first report.

Makes P-256 keys and certificates with the `cryptography` package. Must not know how any of it is read: `check` says
whether it can be used. The certificate authority is for a trial: its key lies next to the others.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import secrets
import shlex
from ipaddress import ip_address
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cpe_filter import __version__
from cpe_filter.collect import password

ROUTER, USER = "cpe-0001", "desk"
#: Days that the certificates hold: a trial's.
_DAYS = 90
#: Without letters that are taken for others.
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_HOST = re.compile(r"[0-9A-Za-z]([0-9A-Za-z.-]{0,251}[0-9A-Za-z])?")
_LOCAL = ("localhost", "127.0.0.1", "::1")


class TrialError(Exception):
    """A folder or name that cannot be used. One line."""


class _Signed(NamedTuple):
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def make(folder: str, host: str | None = None) -> str:
    """Fills a new or empty folder; returns the next steps, for people. Raises `TrialError`.

    host: a name or address by which routers reach the collector, besides localhost.
    """
    try:
        folder = os.path.abspath(folder)
    except OSError as error:
        raise TrialError(f"the current folder: {error.strerror}") from None
    if host is not None and not (_HOST.fullmatch(host) or _is_address(host)):
        raise TrialError(f"--host is {host[:60]!a}; expected a host name or an IP address")
    if not folder.isascii() or not folder.isprintable() or '"' in folder or "\\" in folder:
        raise TrialError(
            f'{folder!a}: the path of the folder may have printable US-ASCII characters alone, without " and \\'
        )
    secret = "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))
    files = _files(folder, host, password.hashed(secret))
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        if found := sorted(os.listdir(folder)):
            raise TrialError(
                f"{folder} is not empty (it has {found[0][:60]!a}); nothing is overwritten: name another folder"
            )
        os.chmod(folder, 0o700)  # not before: a folder with files is someone else's
        for name, content in files.items():
            _write(os.path.join(folder, name), content)
    except OSError as error:
        raise TrialError(f"{error.filename or folder}: {error.strerror}") from None
    return _next_steps(folder, secret)


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _write(path: str, content: bytes) -> None:
    """A new file of mode 0600, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(content)


def _files(folder: str, host: str | None, hashed: str) -> dict[str, bytes]:
    authority = _authority()
    names = [*([host] if host else []), *_LOCAL]
    server = _issue(authority, "collector", ExtendedKeyUsageOID.SERVER_AUTH, names)
    router = _issue(authority, ROUTER, ExtendedKeyUsageOID.CLIENT_AUTH, [])
    files = {}
    for name, pair in (("ca", authority), ("server", server), (ROUTER, router)):
        files[f"{name}.pem"] = pair.certificate.public_bytes(serialization.Encoding.PEM)
        files[f"{name}.key"] = pair.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    files["map.csv"] = _MAP.encode()
    files["report.json"] = json.dumps(_report(), indent=1).encode() + b"\n"
    everywhere = host is not None and host not in _LOCAL
    address = "[::]:8443" if everywhere else "127.0.0.1:8443"
    files["collector.toml"] = _CONFIGURATION.format(
        folder=folder, address=address, enrol=address.replace("8443", "8444"), user=f"{USER}:desk:{hashed}"
    ).encode()
    return files


def _authority() -> _Signed:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Trial CA of cpe-filter")])
    usage = x509.KeyUsage(
        digital_signature=False, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = _dated(name).issuer_name(name).public_key(key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _Signed(key, builder.sign(key, hashes.SHA256()))


def _issue(authority: _Signed, name: str, purpose: x509.ObjectIdentifier, hosts: list[str]) -> _Signed:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _dated(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    builder = builder.issuer_name(authority.certificate.subject).public_key(key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    if hosts:
        others = [x509.IPAddress(ip_address(each)) if _is_address(each) else x509.DNSName(each) for each in hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
    return _Signed(key, builder.sign(authority.key, hashes.SHA256()))


def _dated(name: x509.Name) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).serial_number(x509.random_serial_number())
    begins = now - datetime.timedelta(hours=1)  # a router's clock may be slow
    return builder.not_valid_before(begins).not_valid_after(now + datetime.timedelta(days=_DAYS))


def _report() -> dict[str, object]:
    """A router's report of a device that sends spam."""
    event = {
        "seq": 1, "up": 4990, "kind": "raised", "id": "00000000000000aa", "dev": "000000000000000a",
        "standing": "compromised", "first": 4900, "last": 4990, "conns": 9, "nets": 8, "msgs": 1, "rcpts": 3,
        "refused": 4, "ind": {"helo-dynamic": 9, "dnsbl-listed": 2}, "act": "explain",
        "sp": [{"up": 4980, "port": 40001, "family": 4}],
    }  # fmt: skip
    about = {"v": 1, "boot": "11111111-2222-4333-8444-555555555555", "up": 5000, "t": None, "synced": False}
    return {**about, "pol": "v7", "ver": __version__, "dropped": 0, "events": [event]}


def _next_steps(folder: str, secret: str) -> str:
    configuration, authority, key, certificate, report = (
        shlex.quote(f"{folder}/{name}")
        for name in ("collector.toml", "ca.pem", f"{ROUTER}.key", f"{ROUTER}.pem", "report.json")
    )
    return f"""\
{folder} has a certificate authority, a server's certificate, one for the router {ROUTER}, a map of subscribers,
a configuration and a report. All files have mode 0600. For a trial alone: the certificates expire in {_DAYS} days.

start:   cpe-filter collector --config {configuration}
report:  curl --cacert {authority} --cert {certificate} --key {key} \\
           -H 'Content-Type: application/json' -d @{report} https://localhost:8443/v1/reports
look:    http://127.0.0.1:8080/ as {USER}, password {secret} (shown once; only its hash is kept)
check:   cpe-filter collector --config {configuration} doctor
enrol:   certificates for more routers: see [enrol] in {configuration}
"""


_MAP = f"router,subscriber,region,contact,address\n{ROUTER},S-1,north,crm:1,8.8.1.1\n"

_CONFIGURATION = """\
# A trial of cpe-filter's collector, made by `cpe-filter collector init`. docs/collector.md has every key.

[listen]
address = "{address}"
certificate = "{folder}/server.pem"
key = "{folder}/server.key"
client_ca = "{folder}/ca.pem"

[store]
path = "{folder}/collector.db"

[subscribers]
file = "{folder}/map.csv"

[export]
org = "Example ISP"
contact = "abuse@isp.example"
domain = "isp.example"

[page]
address = "127.0.0.1:8080"
users = ["{user}"]

# Certificates for more routers (docs/enrolment.md). Without the first `# ` of each line, and with
# crl = "{folder}/crl.pem" in [listen] once it is there, `collector est` gives them, in a process of its own:
#   cpe-filter collector --config {folder}/collector.toml est
#   cpe-filter collector --config {folder}/collector.toml enrol cpe-0002        # a one-time token
# [enrol]
# address = "{enrol}"
# certificate = "{folder}/server.pem"
# key = "{folder}/server.key"
# ca = "{folder}/ca.pem"
# ca_key = "{folder}/ca.key"
# crl = "{folder}/crl.pem"
"""
