"""Pseudonyms, and the secret they are made with."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

import pytest

from cpe_filter.report.key import KEY_BYTES, load, pseudonym

MAC = bytes.fromhex("020000000102")


def test_the_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "flash" / "state.key"
    key = load(str(path))
    assert len(key) == KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert load(str(path)) == key
    assert load(str(tmp_path / "other")) != key


@pytest.mark.parametrize("content", [b"", b"short", bytes(17)])
def test_what_is_no_secret_is_not_used_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(OSError, match="Not a key"):
        load(str(path))
    assert path.read_bytes() == content


def test_a_secret_that_others_could_have_written_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "state.key"
    path.write_bytes(bytes(KEY_BYTES))
    path.chmod(0o622)
    with pytest.raises(OSError, match="Others can write"):
        load(str(path))


def test_the_pseudonym_is_hmac_of_rfc_2104() -> None:
    for length in (4, 6, 10, 14, 16):
        key, device = os.urandom(KEY_BYTES), os.urandom(length)
        assert pseudonym(key, device) == hmac.new(key, device, hashlib.sha256).hexdigest()[:16]
    assert pseudonym(bytes(16), MAC) != pseudonym(bytes(15) + b"\1", MAC)
