"""Nonces, and the signature of a factory key over all that it is good for."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.collect.enrol import proof
from cpe_filter.collect.enrol.proof import NONCE_S, SKEW_S, Nonces, ProofError
from cpe_filter.enrol.libcrypto import Crypto
from cpe_filter.enrol.protocol import factory_text
from tests.collect.enrol.isp import HOST, Key, digest, new_key, private, spki

NOW = 1_795_521_600.0


def test_a_nonce_is_good_for_a_while_in_all_processes() -> None:
    one, other = Nonces(b"secret"), Nonces(b"secret")
    nonce = one.make(NOW)
    assert nonce != one.make(NOW)
    for age in (0, 1, NONCE_S - 1, -SKEW_S):  # a machine whose clock is slow
        assert other.problem(nonce, NOW + age) is None
    for age in (NONCE_S, 10 * NONCE_S, -SKEW_S - 1, -(10**9)):
        assert other.problem(nonce, NOW + age) == "the nonce has expired"
    assert Nonces(b"another").problem(nonce, NOW) == "the nonce is not of this server"


@given(st.integers(0, 71), st.sampled_from("0123456789abcdef"))
@settings(max_examples=200, deadline=None)
def test_a_nonce_with_one_digit_changed(at: int, to: str) -> None:
    nonces = Nonces(b"secret")
    nonce = nonces.make(NOW)
    changed = nonce[:at] + to + nonce[at + 1 :]
    assert (nonces.problem(changed, NOW) is None) == (changed == nonce)


@pytest.mark.parametrize("text", ["", "0", "0" * 72, "0" * 71, "0" * 73, "g" * 72, "\N{ARABIC-INDIC DIGIT ONE}" * 72])
def test_what_is_not_a_nonce(text: str) -> None:
    assert Nonces(b"secret").problem(text) == "the nonce is not of this server"


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_is_not_a_nonce(text: str) -> None:
    assert Nonces(b"secret").problem(text) == "the nonce is not of this server"


def test_the_fields_of_the_header() -> None:
    good = 'router="cpe-1", nonce="00", key="AA==", signature="BB=="'
    assert proof.fields(good) == {"router": "cpe-1", "nonce": "00", "key": "AA==", "signature": "BB=="}
    for bad in (
        "", "x", good.replace("router", "routers"), good.replace('nonce="00", ', ""), f'{good}, more="1"',
        good.replace("cpe-1", "cpe 1"), good.replace("AA==", "A" * 1300), good + " " * 5000,
    ):  # fmt: skip
        with pytest.raises(ProofError, match="expected key, nonce, router, signature, each once"):
            proof.fields(bad)


def test_a_field_that_comes_twice_is_refused() -> None:
    """Otherwise two programs could read two different routers."""
    with pytest.raises(ProofError, match="each once"):
        proof.fields('router="cpe-1", nonce="00", key="AA==", signature="BB==", router="cpe-2"')


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(ProofError):
        proof.fields(text)


TEXT = factory_text(HOST, "cpe-1", "00", hashlib.sha256(b"request").hexdigest())


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def keys() -> dict[str, Key]:
    return {
        "p256": new_key(),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "rsa": rsa.generate_private_key(65537, 2048),
    }


@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519", "rsa"])
def test_a_signature_is_for_one_text_and_one_key(kind: str) -> None:
    key = keys()[kind]
    signature = Crypto().sign(private(key), TEXT)
    assert proof.verify(base64_of(spki(key)), base64_of(signature), TEXT) == digest(key)
    others = [
        factory_text("other.example", "cpe-1", "00", hashlib.sha256(b"request").hexdigest()),
        factory_text(HOST, "cpe-2", "00", hashlib.sha256(b"request").hexdigest()),
        factory_text(HOST, "cpe-1", "01", hashlib.sha256(b"request").hexdigest()),
        factory_text(HOST, "cpe-1", "00", hashlib.sha256(b"another").hexdigest()),
        b"",
    ]
    for text in others:
        with pytest.raises(ProofError, match="the signature is not the factory key's"):
            proof.verify(base64_of(spki(key)), base64_of(signature), text)
    with pytest.raises(ProofError, match="the signature is not the factory key's"):
        proof.verify(base64_of(spki(keys()[kind])), base64_of(signature), TEXT)
    for wrong in (b"", b"\0", signature[:-1], signature + b"\0", b"\0" * len(signature), b"\x30\x80" * 400):
        with pytest.raises(ProofError, match="the signature is not the factory key's"):
            proof.verify(base64_of(spki(key)), base64_of(wrong), TEXT)


@pytest.mark.parametrize("text", ["", "A", "AAAA", "!!!!", "A" * 1200])
def test_a_key_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ProofError, match="the factory key cannot be read; expected SubjectPublicKeyInfo in Base64"):
        proof.verify(text, "AAAA", TEXT)


def test_keys_of_other_kinds() -> None:
    exchange = x25519.X25519PrivateKey.generate().public_key()
    der = exchange.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for bad in (der, spki(ec.generate_private_key(ec.SECP521R1())), spki(rsa.generate_private_key(3, 2048))):
        with pytest.raises(ProofError, match=r"^factory key: "):
            proof.verify(base64_of(bad), "AAAA", TEXT)


@given(st.binary(max_size=120), st.binary(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_bytes_prove_nothing(key: bytes, signature: bytes) -> None:
    with pytest.raises(ProofError):
        proof.verify(base64_of(key), base64_of(signature), TEXT)
