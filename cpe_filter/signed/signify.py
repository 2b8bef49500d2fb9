"""Files of OpenBSD's signify and OpenWrt's usign: public keys, and messages behind their signature.

Knows the form of these files (signify(1), `-e`). Must not know which keys are trusted. A file begins with a line
`untrusted comment: ...`, which is not signed, and not read here. The next line is base64 of the letters `Ed`, a
number of 8 bytes that names the key, and a key of 32 bytes or a signature of 64.

A document is one file, the message directly behind the two lines (`signify -S -e`): signature and message cannot be
separated on the way or by a power cut. usign writes the signature alone; both files one behind the other are the same.
"""

from __future__ import annotations

import binascii

from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.signed.ed25519 import KEY_BYTES, SIGNATURE_BYTES
from cpe_filter.signed.errors import FORMAT, SignedError

_COMMENT, _ALGORITHM = b"untrusted comment: ", b"Ed"
#: Bytes of the number of a key, and of a comment's line (signify's COMMENTMAXLEN).
NUMBER_BYTES, MAX_COMMENT = 8, 1024


class PublicKey(NamedTuple):
    """number: names the key; point: 32 bytes of RFC 8032."""

    number: bytes
    point: bytes


class SignedMessage(NamedTuple):
    """Not verified. number: names the key; head: the two lines of the signature, as they came."""

    number: bytes
    signature: bytes
    message: bytes
    head: bytes


def public_key(data: bytes) -> PublicKey:
    """A file with a public key. Raises `SignedError`."""
    body, rest = _body(data, KEY_BYTES, "public key")
    if rest:
        raise SignedError(FORMAT, "not a public key of signify: there is more behind it")
    return PublicKey(body[:NUMBER_BYTES], body[NUMBER_BYTES:])


def signed_message(data: bytes) -> SignedMessage:
    """A file with a signature and the message behind it. Raises `SignedError`."""
    body, message = _body(data, SIGNATURE_BYTES, "signature")
    return SignedMessage(body[:NUMBER_BYTES], body[NUMBER_BYTES:], message, data[: len(data) - len(message)])


def encoded(comment: str, number: bytes, body: bytes) -> bytes:
    """The two lines with a key or a signature. comment: one line of ASCII."""
    base64 = binascii.b2a_base64(_ALGORITHM + number + body)
    return _COMMENT + comment.encode("ascii") + b"\n" + base64


def _body(data: bytes, size: int, what: str) -> tuple[bytes, bytes]:
    """The bytes behind the letters `Ed`, and those behind the two lines."""
    comment, first, rest = data[: 2 * MAX_COMMENT].partition(b"\n")
    line, second, _ = rest.partition(b"\n")
    if not comment.startswith(_COMMENT) or len(comment) > MAX_COMMENT or not first or not second:
        raise SignedError(FORMAT, f"not a {what} of signify: it does not begin with a comment and a line of base64")
    try:
        body = binascii.a2b_base64(line)
    except binascii.Error:
        body = b""
    # Compared with what we would write: a2b_base64 passes over what is not base64.
    if body[:2] != _ALGORITHM or len(body) != 2 + NUMBER_BYTES + size or binascii.b2a_base64(body) != line + b"\n":
        raise SignedError(FORMAT, f"not a {what} of signify: its second line is not base64 of an Ed25519 {what}")
    return body[2:], data[len(comment) + len(line) + 2 :]
