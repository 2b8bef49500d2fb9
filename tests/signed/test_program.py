"""A program that is installed has a veto; one that does not run has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpe_filter.signed import program, signify
from cpe_filter.signed.errors import SIGNATURE, SignedError
from tests.signed.making import key

KEY = key("one")
PUBLIC, SIGNED = signify.public_key(KEY.public), signify.signed_message(KEY.sign(b"m\n"))


def stand_in(tmp_path: Path, text: str) -> str:
    path = tmp_path / "usign"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_it_gets_key_signature_and_message(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = stand_in(tmp_path, f'/bin/cat "$4" "$6" "$8" > {out}; echo "$1 $2 $3 $5 $7" >> {out}')
    program.agree(PUBLIC, SIGNED, (path,))
    lines = out.read_text().splitlines()
    assert lines[1] == KEY.public.decode().splitlines()[1]
    assert lines[3] == SIGNED.head.decode().splitlines()[1]
    assert lines[4:] == ["m", "-V -q -p -x -m"]


def test_its_refusal_counts(tmp_path: Path) -> None:
    with pytest.raises(SignedError, match="usign refuses the signature of key") as refusal:
        program.agree(PUBLIC, SIGNED, (str(tmp_path / "none"), stand_in(tmp_path, "exit 1")))
    assert refusal.value.code == SIGNATURE


@pytest.mark.parametrize("text", ["exit 0", "exit 127", "kill -9 $$"])
def test_one_that_fails_otherwise_is_passed_over(tmp_path: Path, text: str) -> None:
    program.agree(PUBLIC, SIGNED, (stand_in(tmp_path, text),))


def test_one_that_cannot_be_run_is_passed_over(tmp_path: Path) -> None:
    path = Path(stand_in(tmp_path, ""))
    path.write_bytes(b"\x7fELF of another machine")
    program.agree(PUBLIC, SIGNED, (str(path),))


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_FOLDER", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    program.agree(PUBLIC, SIGNED, (stand_in(tmp_path, ""),))
    assert not [*(tmp_path / "t").iterdir()]
