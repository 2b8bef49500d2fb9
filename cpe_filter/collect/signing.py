"""Signs documents for routers, with a key of signify or usign.

Knows the form of their secret keys, and how a document's header is written. Must not know stores or pages, or what a
document asks for.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cpe_filter.collect import file_modes
from cpe_filter.signed import signify

_COMMENT = b"untrusted comment: "
#: A secret key: `Ed`, `BK`, rounds (4), salt (16), checksum (8), number (8), seed and public key (64).
_BYTES = 104
_MAX_FILE = 4096


class KeyFileError(Exception):
    """A file that is not a secret key, or may not be used as one; the text says why."""


class SecretKey:
    """Signs. number: names the key, 8 bytes."""

    def __init__(self, number: bytes, key: Ed25519PrivateKey) -> None:
        self.number, self._key = number, key

    @property
    def public(self) -> bytes:
        """The file with the public key, for the routers."""
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return signify.encoded(f"cpe-filter public key {self.number.hex()}", self.number, raw)

    @property
    def secret(self) -> bytes:
        """The file with the secret key, without a passphrase."""
        seed = self._key.private_bytes_raw()
        both = seed + self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        body = b"EdBK" + bytes(4) + secrets.token_bytes(16) + hashlib.sha512(both).digest()[:8] + self.number + both
        comment = f"cpe-filter secret key {self.number.hex()}".encode()
        return _COMMENT + comment + b"\n" + base64.b64encode(body) + b"\n"

    def sign(self, message: bytes) -> bytes:
        """The document: two lines with the signature, then the message."""
        head = signify.encoded(f"signed by key {self.number.hex()}", self.number, self._key.sign(message))
        return head + message


def generate() -> SecretKey:
    """A new key."""
    return SecretKey(secrets.token_bytes(signify.NUMBER_BYTES), Ed25519PrivateKey.generate())


def load(path: str) -> SecretKey:
    """A secret key of `signify -G -n` or `usign -G`, that others cannot read or change. Raises `KeyFileError`."""
    try:
        with open(path, "rb") as file:
            owner = os.fstat(file.fileno()).st_uid
            data = file.read(_MAX_FILE)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    if owner not in (0, os.geteuid()):
        raise KeyFileError(f"{path}: it belongs to user {owner}; allowed: root, or the user of this process")
    if wrong := file_modes.fault(path):
        raise KeyFileError(wrong)
    try:
        return parse(data)
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from None


def parse(data: bytes) -> SecretKey:
    """The content of such a file. Raises `KeyFileError`."""
    comment, _, rest = data.partition(b"\n")
    try:
        body = base64.b64decode(rest.strip(), validate=True)
    except ValueError:
        body = b""
    if not comment.startswith(_COMMENT) or len(body) != _BYTES or body[:4] != b"EdBK":
        raise KeyFileError("not a secret key of signify or usign")
    if body[4:8] != bytes(4):
        raise KeyFileError("the key has a passphrase, which cannot be typed here; make one without: signify -G -n")
    both, checksum, number = body[40:], body[24:32], body[32:40]
    if hashlib.sha512(both).digest()[:8] != checksum:
        raise KeyFileError("damaged: its checksum is wrong")
    key = Ed25519PrivateKey.from_private_bytes(both[:32])
    try:
        Ed25519PublicKey.from_public_bytes(both[32:]).verify(key.sign(b""), b"")
    except InvalidSignature:
        raise KeyFileError("damaged: its public key is not that of its secret") from None
    return SecretKey(number, key)


class Header(NamedTuple):
    """As in signed.document. issued, expires: POSIX seconds."""

    type: str
    sequence: int
    issued: int
    expires: int
    audience: Sequence[str]
    rollout_permille: int = 1000
    salt: str = ""
    min_agent: str = ""


def header(of: Header) -> str:
    """The table [document], as TOML."""
    lines = [
        "[document]",
        f"type = {text(of.type)}",
        f"sequence = {of.sequence}",
        f"issued = {_time(of.issued)}",
        f"expires = {_time(of.expires)}",
        f"audience = [{', '.join(map(text, of.audience))}]",
    ]
    if of.rollout_permille != 1000:
        lines += [f"rollout_permille = {of.rollout_permille}", f"salt = {text(of.salt)}"]
    if of.min_agent:
        lines.append(f"min_agent = {text(of.min_agent)}")
    return "\n".join(lines) + "\n"


def text(value: str) -> str:
    """A text as a basic string of TOML."""
    out = []
    for c in value:
        if c in '"\\':
            out.append("\\" + c)
        elif c.isprintable():
            out.append(c)
        else:
            out.append(f"\\U{ord(c):08x}")
    return f'"{"".join(out)}"'


def _time(posix: int) -> str:
    moment = datetime.datetime.fromtimestamp(posix, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
