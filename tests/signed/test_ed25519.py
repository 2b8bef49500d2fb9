"""The verifier against RFC 8032's vectors, OpenSSL, and signatures that only a strict verifier refuses."""

from __future__ import annotations

import hashlib
import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cpe_filter.signed.ed25519 import ORDER, P, _BASE, _decoded, _sum, _two_products, is_usable, verify  # isort: skip

#: RFC 8032 section 7.1, TEST 1, 2, 3 and SHA(abc): public key, message, signature.
VECTORS = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17a"
        "d9bef1177331a704",
    ),
)
#: All points whose order divides 8, as others list them (y, with either sign), and their other encodings.
SMALL = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
)
NOT_CANONICAL = (
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def signed(message: bytes) -> tuple[bytes, bytes]:
    key = Ed25519PrivateKey.generate()
    return key.public_key().public_bytes_raw(), key.sign(message)


def openssl(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_rfc_s_vectors(public: str, message: str, signature: str) -> None:
    parts = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
    assert verify(*parts)
    assert not verify(parts[0], parts[1] + b"\0", parts[2])


def test_what_openssl_signs_is_accepted() -> None:
    drawn = random.Random(1)
    for length in (0, 1, 31, 32, 63, 64, 111, 112, 127, 128, 1023, 5000):
        message = drawn.randbytes(length)
        assert verify(signed(message)[0], message, signed(message)[1]) is False  # of another key
        public, signature = signed(message)
        assert verify(public, message, signature)


def test_with_any_bit_changed_it_is_refused_as_by_openssl() -> None:
    message = b"release"
    public, signature = signed(message)
    for at in range(0, 512, 3):
        changed = bytearray(signature)
        changed[at // 8] ^= 1 << at % 8
        assert not verify(public, message, bytes(changed))
    for at in range(0, 256, 5):
        other = bytearray(public)
        other[at // 8] ^= 1 << at % 8
        assert not verify(bytes(other), message, signature)


def test_s_above_the_order_is_refused() -> None:
    """The same signature in another form: usign accepts it."""
    public, signature = signed(b"m")
    s = int.from_bytes(signature[32:], "little") + ORDER
    again = signature[:32] + s.to_bytes(32, "little")
    assert not verify(public, b"m", again)
    assert verify(public, b"m", signature)


@pytest.mark.parametrize("public", SMALL + NOT_CANONICAL)
def test_a_key_that_fits_many_messages_is_refused(public: str) -> None:
    """With A and R the identity and S = 0, lax verifiers accept every message."""
    key = bytes.fromhex(public)
    assert not is_usable(key)
    identity = bytes.fromhex(SMALL[0])
    for r in (identity, key):
        assert not any(verify(key, b"%d" % n, r + bytes(32)) for n in range(16))


def test_without_the_cofactor() -> None:
    """A signature whose R has a part of small order: right with the cofactor alone. OpenSSL refuses it, too."""
    secret, nonce = 0x1234567890ABCDEF, 0xFEDCBA0987654321
    small = _decoded(bytes.fromhex(SMALL[4]))
    assert small is not None
    public = _encoded(_two_products(secret, _BASE, 0, _BASE))
    for torsion, good in ((None, True), (small, False)):
        point = _two_products(nonce, _BASE, 0, _BASE)
        r = _encoded(point if torsion is None else _sum(point, torsion))
        k = int.from_bytes(hashlib.sha512(r + public + b"m").digest(), "little") % ORDER
        signature = r + ((nonce + k * secret) % ORDER).to_bytes(32, "little")
        assert verify(public, b"m", signature) == openssl(public, b"m", signature) == good


def test_other_lengths_are_refused() -> None:
    public, signature = signed(b"m")
    for length in (0, 31, 33):
        assert not verify((public + b"\0")[:length], b"m", signature)
        assert not is_usable((public + b"\0")[:length])
    for length in (0, 63, 65):
        assert not verify(public, b"m", (signature + b"\0")[:length])


def test_bytes_of_chance_are_judged_as_by_openssl() -> None:
    drawn = random.Random(2)
    for _ in range(200):
        public, signature = drawn.randbytes(32), drawn.randbytes(64)
        assert verify(public, b"m", signature) == openssl(public, b"m", signature) is False


def _encoded(point: tuple[int, int, int, int]) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")
