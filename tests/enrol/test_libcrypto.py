"""Keys, requests and signatures of libcrypto, read by the package `cryptography`."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from cpe_filter.enrol.libcrypto import Crypto, KeyFileError
from cpe_filter.enrol.protocol import factory_text

PEM, NONE = serialization.Encoding.PEM, serialization.NoEncryption()


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, NONE)


def test_a_new_key_and_its_request() -> None:
    crypto = Crypto()
    made = crypto.make_key()
    key = serialization.load_pem_private_key(made, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert crypto.make_key() != made
    request = x509.load_der_x509_csr(crypto.request(made, "cpe-0001"))
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=cpe-0001"
    der = request.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert crypto.public(made) == der


def test_signatures_of_each_kind_of_key() -> None:
    crypto, text = Crypto(), factory_text("est.isp.example", "cpe-0001", "00", "11")
    elliptic, edwards = ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()
    long = rsa.generate_private_key(65537, 2048)
    elliptic.public_key().verify(crypto.sign(pem(elliptic), text), text, ec.ECDSA(hashes.SHA256()))
    edwards.public_key().verify(crypto.sign(pem(edwards), text), text)
    long.public_key().verify(crypto.sign(pem(long), text), text, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("text", [b"", b"x" * 5000, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key(text: bytes) -> None:
    with pytest.raises(KeyFileError, match="not a private key in PEM without a passphrase"):
        Crypto().sign(text, b"text")


def test_a_key_with_a_passphrase() -> None:
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    with pytest.raises(KeyFileError, match="without a passphrase"):
        Crypto().public(locked)
