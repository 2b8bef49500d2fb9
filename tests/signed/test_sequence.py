"""A document is taken once, whatever is killed in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpe_filter.signed import document, sequence
from cpe_filter.signed.errors import SEQUENCE, SignedError
from tests.signed.making import message


def made(number: int, kind: str = "instruction", key: bytes = b"12345678") -> document.Document:
    return document.parse(message(kind, sequence=number), "1")._replace(key=key)


def test_only_what_is_later_is_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "state")
    taken = sequence.load(path)
    taken.check(made(5))
    taken.take(made(5))
    taken.done(made(5).digest, "applied")
    taken.save(path)
    again = sequence.load(path)
    for number in (1, 4, 5):
        with pytest.raises(SignedError, match=f"its sequence is {number}; 5 was taken before") as refusal:
            again.check(made(number))
        assert refusal.value.code == SEQUENCE
    again.check(made(6))
    again.check(made(1, "policy"))
    again.check(made(1, key=b"87654321"))
    assert again.outcome(made(5).digest) == "applied"
    assert again.outcome(made(6).digest) == ""


def test_it_is_bounded(tmp_path: Path) -> None:
    path = str(tmp_path / "state")
    taken = sequence.Taken()
    for number in range(1, 500):
        taken.take(made(number, key=number.to_bytes(8, "big")))
        taken.done(f"{number:016x}", "a" * 20)
    taken.save(path)
    assert (tmp_path / "state").stat().st_size <= sequence.MAX_BYTES
    assert sequence.load(path).outcome(f"{499:016x}")
    assert not sequence.load(path).outcome(f"{1:016x}")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"last": {"a": "b"}, "outcomes": {}}', "[" * 9000, "x" * 20000])
def test_a_damaged_file_takes_nothing(tmp_path: Path, text: str) -> None:
    """Else whoever can damage it could replay everything."""
    path = tmp_path / "state"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SignedError, match="damaged"):
        sequence.load(str(path))
