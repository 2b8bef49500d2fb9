"""Secret keys of signify and usign, and documents that routers can verify."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from cpe_filter.collect import signing
from cpe_filter.signed import document, signify
from tests.signed.making import header, key
from tests.signed.test_signify import VECTORS


@pytest.mark.parametrize(("secret", "public"), [("signify", "policy/signify"), ("usign", "desk/usign")])
def test_keys_of_the_programs(secret: str, public: str) -> None:
    own = signing.parse((VECTORS / f"secret-{secret}.sec").read_bytes())
    given = signify.public_key((VECTORS / "keys" / f"{public}.pub").read_bytes())
    assert signify.public_key(own.public) == given


def test_what_signify_signed_we_sign_alike() -> None:
    """Ed25519 leaves no choice, so the bytes are the same."""
    own = signing.parse((VECTORS / "secret-signify.sec").read_bytes())
    signed = signify.signed_message((VECTORS / "policy-signify.signed").read_bytes())
    assert signify.signed_message(own.sign(signed.message))[:3] == signed[:3]


def test_our_own_key_is_read_again(tmp_path: Path) -> None:
    own = signing.generate()
    path = tmp_path / "desk.sec"
    path.write_bytes(own.secret)
    path.chmod(0o640)
    assert signing.load(str(path)).public == own.public


def _body(**changes: bytes) -> bytes:
    body = base64.b64decode(key("one").secret.split(b"\n")[1])
    parts = {"letters": body[:4], "rounds": body[4:8], "salt": body[8:24], "checksum": body[24:32], "rest": body[32:]}
    return b"untrusted comment: x\n" + base64.b64encode(b"".join({**parts, **changes}.values())) + b"\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not a secret key"),
        (key("one").public, "not a secret key"),
        (b"untrusted comment: x\n!!!\n", "not a secret key"),
        (_body(letters=b"EcBK"), "not a secret key"),
        (_body(rounds=bytes((0, 0, 0, 42))), "has a passphrase"),
        (_body(checksum=bytes(8)), "its checksum is wrong"),
    ],
)
def test_what_is_not_a_usable_key(data: bytes, text: str) -> None:
    with pytest.raises(signing.KeyFileError, match=text):
        signing.parse(data)


def test_who_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "desk.sec"
    path.write_bytes(signing.generate().secret)
    path.chmod(0o644)
    with pytest.raises(signing.KeyFileError, match="others can read or change it"):
        signing.load(str(path))
    with pytest.raises(signing.KeyFileError, match="No such file"):
        signing.load(str(tmp_path / "none"))


def test_texts_of_any_kind_are_written_as_toml() -> None:
    awkward = 'a"b\\c\nd\te\x00\x7f\u2028\U0001f600 [document]'
    data = signing.header(header(audience=["router:x"])) + f"[t]\nv = {signing.text(awkward)}\n"
    made = document.parse(data.encode(), "1")
    assert made.content == {"t": {"v": awkward}}
    staged = signing.header(header("policy", rollout_permille=3, salt="s", min_agent="1"))
    assert document.parse(staged.encode(), "1").rollout_permille == 3
