"""The folder of keys: purposes, several keys at once, revoked ones, and who may write to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpe_filter.collect import signing
from cpe_filter.signed import keys, signify
from cpe_filter.signed.errors import KEY, PURPOSE, REVOKED, SignedError
from tests.signed import making
from tests.signed.making import folder_of

ONE, OTHER, THIRD = map(making.key, ("one", "other", "third"))


def test_several_keys_of_a_purpose(tmp_path: Path) -> None:
    found = keys.load(folder_of(tmp_path, policy=(ONE, OTHER), desk=THIRD))
    assert found.find("policy", ONE.number) == signify.public_key(ONE.public).point
    assert found.find("policy", OTHER.number) != found.find("desk", THIRD.number)
    assert keys.exist("desk", str(tmp_path / "keys"))
    assert not keys.exist("detector", str(tmp_path / "keys"))


@pytest.mark.parametrize(
    ("purpose", "number", "code", "text"),
    [
        ("policy", THIRD.number, PURPOSE, "is for desk; expected a key for policy"),
        ("policy", bytes(8), KEY, "is not among the keys for policy"),
        ("policy", OTHER.number, REVOKED, "is revoked"),
        ("desk", OTHER.number, REVOKED, "is revoked"),
    ],
)
def test_a_key_that_is_not_for_it(tmp_path: Path, purpose: str, number: bytes, code: str, text: str) -> None:
    folder = folder_of(tmp_path, policy=(ONE, OTHER), desk=THIRD)
    (tmp_path / "keys" / "revoked").write_text(f"# lost\n\n{OTHER.number.hex()}  # 2026\n")
    with pytest.raises(SignedError, match=text) as refusal:
        keys.load(folder).find(purpose, number)
    assert refusal.value.code == code


def test_no_folder_has_no_keys(tmp_path: Path) -> None:
    assert keys.load(str(tmp_path / "none")).points == {}


def _writable_file(root: Path) -> None:
    next((root / "policy").iterdir()).chmod(0o666)


def _writable_folder(root: Path) -> None:
    (root / "policy").chmod(0o777)


def _writable_root(root: Path) -> None:
    root.chmod(0o777)


def _foreign(root: Path) -> None:
    os.chown(next((root / "policy").iterdir()), 12345, -1)


def _link(root: Path) -> None:
    (root / "policy" / "link.pub").symlink_to(next((root / "policy").iterdir()))


def _pipe(root: Path) -> None:
    os.mkfifo(root / "policy" / "pipe.pub")


def _not_a_key(root: Path) -> None:
    (root / "policy" / "x").write_text("a key\n")


def _large(root: Path) -> None:
    (root / "policy" / "x").write_bytes(bytes(5000))


def _small_order(root: Path) -> None:
    (root / "policy" / "x").write_bytes(signify.encoded("x", bytes(8), b"\1" + bytes(31)))


def _many(root: Path) -> None:
    for _ in range(keys.MAX_KEYS):
        key = signing.generate()
        (root / "policy" / key.number.hex()).write_bytes(key.public)


def _same_number(root: Path) -> None:
    other = signify.public_key(OTHER.public).point
    (root / "policy" / "x").write_bytes(signify.encoded("x", ONE.number, other))


def _bad_revoked(root: Path) -> None:
    (root / "revoked").write_text("0011\n")


def _not_hex(root: Path) -> None:
    (root / "revoked").write_text("all of them\n")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_writable_file, "Others can write to it"),
        (_writable_folder, "others can write to it"),
        (_writable_root, "keys: others can write to it"),
        (_foreign, "Others can write to it"),
        (_link, "link.pub: Too many levels of symbolic links"),
        (_pipe, "Not a regular file"),
        (_not_a_key, "not a public key of signify"),
        (_large, "too large"),
        (_small_order, "of small order"),
        (_many, "allowed: at most 16 keys"),
        (_same_number, "another key of policy has the same number"),
        (_bad_revoked, "does not have 16 hex digits"),
        (_not_hex, "line 1 is not 16 hex digits"),
    ],
)
def test_a_folder_that_cannot_be_trusted_gives_no_keys(tmp_path: Path, spoil: object, text: str) -> None:
    folder = folder_of(tmp_path, policy=ONE)
    os.umask(0o022)
    spoil(tmp_path / "keys")  # type: ignore[operator]
    with pytest.raises(SignedError, match=text) as refusal:
        keys.load(folder)
    assert refusal.value.code == KEY
    assert "\n" not in str(refusal.value)
