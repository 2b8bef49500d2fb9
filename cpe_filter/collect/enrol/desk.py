"""Commands of people: `collector enrol ID [--output DIR]` and `collector routers import|list|revoke|allow`.

Knows the register and the authority. Must not know HTTP. stdout has the output alone.
"""

from __future__ import annotations

import base64
import binascii
import csv
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cpe_filter.collect.config.model import Config
from cpe_filter.collect.enrol import register
from cpe_filter.collect.enrol.authority import AuthorityError, digest_of, key_problem, request_of
from cpe_filter.collect.enrol.listener import authority_of
from cpe_filter.collect.intake.identity import RefusedError, router_id
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Store

_DIGEST = re.compile(r"[0-9a-f]{64}")
#: Errors of a file that are shown.
_MAX_ERRORS = 20


class EnrolError(Exception):
    """What cannot be done. One line, or a line for each error of a file."""


def _by() -> audit.By:
    return audit.By(audit.os_user(), audit.COMMAND)


def checked(router: str) -> str:
    try:
        return router_id(router)
    except RefusedError as error:
        raise EnrolError(f"{router[:64]!a}: {error}") from None


async def enrol(config: Config, store: Store, router: str, output: str | None, now: int) -> None:
    """A one-time token to stdout, or the file of a key and a certificate into a folder. Raises `EnrolError`."""
    router = checked(router)
    try:
        if output is None:
            print(await register.make_token(store, router, config.enrol.token_hours, now, _by()))
            print(f"for router {router}, once, within {config.enrol.token_hours} hours", file=sys.stderr)
            return
        await _issue(config, store, router, output, now)
    except (register.RegisterError, AuthorityError) as error:
        raise EnrolError(str(error)) from None


async def _issue(config: Config, store: Store, router: str, folder: str, now: int) -> None:
    known = await register.known(store, router)
    if known is not None and known.state == register.REVOKED:
        raise EnrolError(f"router {router} is revoked; `collector routers allow {router}` allows it again")
    if not config.enrol.ca:
        raise EnrolError("[enrol] ca is empty; `collector enrol` with --output needs ca and ca_key")
    own = authority_of(config)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, router)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    der = request.public_bytes(serialization.Encoding.DER)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = os.path.join(folder, f"{router}.pem")
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise EnrolError(f"{path}: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        try:
            made = await own.issue(request_of(der, router), router)
            await register.allow(store, router, now, _by())
            row = register.Certificate(made.serial, router, made.key, "hand", made.issued_at, made.ends_at)
            if not await register.note(store, row, by=_by()):
                raise EnrolError(f"router {router} has been revoked meanwhile")
            file.write(pem + made.chain)
            file.flush()
        except OSError as error:
            file.raw.close()  # without a second attempt to write
            os.unlink(path)
            raise EnrolError(f"{path}: {error.strerror}") from None
        except BaseException:
            os.unlink(path)  # an empty file would be in the way of the next attempt
            raise
    ends = time.strftime("%Y-%m-%d", time.gmtime(made.ends_at))
    print(path)
    print(f"key and certificate of router {router}, which expires on {ends}", file=sys.stderr)


# ── routers ─────────────────────────────────────────────────────────────────────────────────────────


async def routers(store: Store, what: str, name: str, reason: str, now: int) -> None:
    """Raises `EnrolError`."""
    if what == "import":
        count = await register.load(store, _rows(name), now, _by())
        print(f"{count} routers imported", file=sys.stderr)
        return
    if what == "list":
        for row in await register.listed(store, checked(name) if name else ""):
            times = {key: _time(row[key]) for key in row if key.endswith("_at")}
            print(json.dumps({**row, **times, "state": _state(row, now)}))
        return
    router = checked(name)
    try:
        if what == "allow":
            await register.allow(store, router, now, _by())
            print(f"router {router} is allowed", file=sys.stderr)
        else:
            count = await register.revoke(store, router, reason, now, _by())
            print(f"router {router} is revoked, with {count} certificates", file=sys.stderr)
    except register.RegisterError as error:
        raise EnrolError(str(error)) from None


def _state(row: Row, now: int) -> str:
    if row["revoked_at"] is not None:
        return "revoked"
    return "expired" if now >= row["ends_at"] else "valid"


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _rows(path: str) -> Iterator[tuple[str, str]]:
    """Router and digest of each line. The file is read twice: nothing is imported of one with an error."""
    for _ in _parsed(path):
        pass
    yield from _parsed(path)


def _parsed(path: str) -> Iterator[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from _lines(file, path)
    except OSError as error:
        raise EnrolError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise EnrolError(f"{path}: not UTF-8 text") from None


def _lines(file: TextIO, path: str) -> Iterator[tuple[str, str]]:
    """A header `router,key`, then a router on each line. Raises `EnrolError` with up to 20 errors."""
    reader = csv.reader(file, strict=True)
    errors: list[str] = []
    try:
        if [field.strip().lower() for field in next(reader, [])] != ["router", "key"]:
            raise EnrolError(f"{path}:1: expected the header router,key")
        for fields in reader:
            if not fields:
                continue
            try:
                if len(fields) != 2:
                    raise EnrolError(f"{len(fields)} fields; expected router,key")
                yield checked(fields[0].strip()), key_digest(fields[1].strip())
            except EnrolError as error:
                errors.append(f"{path}:{reader.line_num}: {error}")
                if len(errors) >= _MAX_ERRORS:
                    break
    except csv.Error as error:
        errors.append(f"{path}:{reader.line_num}: not CSV: {error}")
    if errors:
        raise EnrolError("\n".join(errors))


def key_digest(text: str) -> str:
    """Of a public key: SubjectPublicKeyInfo in Base64 (the middle of a PEM file), or its SHA-256 already; "" for none.
    Raises `EnrolError`."""
    if not text or _DIGEST.fullmatch(text):
        return text
    try:
        public = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise EnrolError(
            "key: expected a public key (SubjectPublicKeyInfo) in Base64, its SHA-256 (64 hex digits), or nothing"
        ) from None
    if problem := key_problem(public):
        raise EnrolError(f"key: {problem}")
    return digest_of(public)
