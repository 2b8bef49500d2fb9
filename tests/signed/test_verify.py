"""Signature, key, purpose, type, audience and dates: the vectors, and each byte changed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from cpe_filter.collect import signing
from cpe_filter.signed import document, keys, program, signify
from cpe_filter.signed.document import Recipient
from cpe_filter.signed.errors import CODES, LARGE, TYPE, SignedError
from cpe_filter.signed.verify import authenticated, verify
from tests.signed.making import DAY, NOW, ROUTER, folder_of, key, message
from tests.signed.test_signify import VECTORS

EXPECTED = json.loads((VECTORS / "expected.json").read_text())
CONTENT = '[instruction]\naction = "release"\ndevice = "0123456789abcdef"\n'
DESK = key("desk")


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """A copy whose files nobody else can write to, as on a router."""
    shutil.copytree(VECTORS, tmp_path / "vectors")
    for path in (tmp_path / "vectors" / "keys").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "vectors"


@pytest.mark.parametrize("name", EXPECTED["documents"])
@pytest.mark.parametrize("programs", [(), program.PROGRAMS])
def test_vectors(vectors: Path, name: str, programs: tuple[str, ...]) -> None:
    """Whether usign or signify is installed makes no difference."""
    kind, outcome = EXPECTED["documents"][name]
    recipient = Recipient(*(EXPECTED[field] for field in ("router", "model", "region")))
    data = (vectors / f"{name}.signed").read_bytes()
    found = keys.load(str(vectors / "keys"))
    if outcome == "ok":
        made = verify(data, found, kind, recipient, EXPECTED["now"], EXPECTED["agent"], programs)
        assert data.endswith(made.message)
        assert made.key == signify.signed_message(data).number
        return
    with pytest.raises(SignedError) as refusal:
        verify(data, found, kind, recipient, EXPECTED["now"], EXPECTED["agent"], programs)
    assert refusal.value.code == outcome
    assert refusal.value.code in CODES
    assert "\n" not in str(refusal.value)


def test_all_vectors_are_expected() -> None:
    assert {path.stem for path in VECTORS.glob("*.signed")} == set(EXPECTED["documents"])


def test_each_byte_changed_is_refused(tmp_path: Path) -> None:
    """Except those of the comment, which nobody reads."""
    found = keys.load(folder_of(tmp_path, desk=DESK))
    data = DESK.sign(message(content=CONTENT))
    assert verify(data, found, "instruction", ROUTER, NOW, programs=()).sequence == 7
    comment = range(len("untrusted comment: "), data.index(b"\n"))
    for at in range(len(data)):
        for change in (0x01, 0x20, 0x80):
            other = data[:at] + bytes((data[at] ^ change,)) + data[at + 1 :]
            if at in comment:
                if other[at] != 0x0A:
                    assert verify(other, found, "instruction", ROUTER, NOW, programs=()).sequence == 7
                continue
            with pytest.raises(SignedError):
                verify(other, found, "instruction", ROUTER, NOW, programs=())
    for length in range(len(data)):
        with pytest.raises(SignedError):
            verify(data[:length], found, "instruction", ROUTER, NOW, programs=())
    with pytest.raises(SignedError):
        verify(data + b"\n", found, "instruction", ROUTER, NOW, programs=())


@pytest.mark.parametrize(
    ("now", "outcome"),
    [
        (None, "ok"),  # not synchronised
        (NOW, "ok"),
        (NOW + DAY - 1, "ok"),
        (NOW + DAY, "expired"),
        (4_300_000_000, "expired"),  # 2106, behind 32 bits
        (0, "early"),  # 1970
        (NOW - DAY, "ok"),  # clocks differ
        (NOW - 2 * DAY, "early"),
    ],
)
def test_dates(tmp_path: Path, now: int | None, outcome: str) -> None:
    found = keys.load(folder_of(tmp_path, desk=DESK))
    data = DESK.sign(message(content=CONTENT))
    if outcome == "ok":
        assert verify(data, found, "instruction", ROUTER, now, programs=()).sequence == 7
        return
    with pytest.raises(SignedError, match="the clock says") as refusal:
        verify(data, found, "instruction", ROUTER, now, programs=())
    assert refusal.value.code == outcome


def test_a_document_for_one_purpose_is_none_for_another(tmp_path: Path) -> None:
    """With one key for all purposes the type is still compared."""
    found = keys.load(folder_of(tmp_path, desk=DESK, policy=DESK, detector=DESK))
    for kind in document.PURPOSE:
        data = DESK.sign(message(kind))
        for other in document.PURPOSE:
            if other == kind:
                assert authenticated(data, found, kind, programs=()).type == kind
                continue
            with pytest.raises(SignedError) as refusal:
                verify(data, found, other, ROUTER, NOW, programs=())
            assert refusal.value.code == TYPE


def test_a_large_one_is_refused_unread(tmp_path: Path) -> None:
    found = keys.load(folder_of(tmp_path, desk=DESK))
    with pytest.raises(SignedError) as refusal:
        verify(DESK.sign(message() + b"#" * 8000), found, "instruction", ROUTER, NOW, programs=())
    assert refusal.value.code == LARGE


def test_rotation(tmp_path: Path) -> None:
    """Both keys hold until the old one is revoked."""
    new = signing.generate()
    folder = folder_of(tmp_path, desk=(DESK, new))
    for one in (DESK, new):
        verify(one.sign(message()), keys.load(folder), "instruction", ROUTER, NOW, programs=())
    (tmp_path / "keys" / "revoked").write_text(DESK.number.hex() + "\n")
    verify(new.sign(message()), keys.load(folder), "instruction", ROUTER, NOW, programs=())
    with pytest.raises(SignedError, match="is revoked"):
        verify(DESK.sign(message()), keys.load(folder), "instruction", ROUTER, NOW, programs=())


def test_what_we_sign_the_programs_verify(tmp_path: Path) -> None:
    tool = shutil.which("signify-openbsd") or shutil.which("usign")
    if tool is None:
        pytest.skip("neither signify-openbsd nor usign is installed")
    (tmp_path / "key").write_bytes(DESK.public)
    signed = signify.signed_message(DESK.sign(message()))
    (tmp_path / "sig").write_bytes(signed.head)
    (tmp_path / "m").write_bytes(signed.message)
    words = [tool, "-V", "-p", str(tmp_path / "key"), "-x", str(tmp_path / "sig"), "-m", str(tmp_path / "m")]
    assert subprocess.run(words).returncode == 0


def test_of_several_types_each_needs_its_own_key(tmp_path: Path) -> None:
    isp, detector = key("isp"), key("detector")
    both = key("both")
    found = keys.load(folder_of(tmp_path, policy=(isp, both), detector=(detector, both), desk=DESK))
    kinds = ("policy", "table", "replies")
    for signer, good in ((isp, ("policy",)), (detector, ("table", "replies")), (both, kinds), (DESK, ())):
        for kind in kinds:
            data = signer.sign(message(kind))
            if kind in good:
                assert verify(data, found, kinds, ROUTER, NOW, programs=()).type == kind
            else:
                with pytest.raises(SignedError) as error:
                    verify(data, found, kinds, ROUTER, NOW, programs=())
                assert error.value.code == "purpose"
    with pytest.raises(SignedError) as error:
        verify(isp.sign(message("instruction")), found, kinds, ROUTER, NOW, programs=())
    assert error.value.code == "type"
