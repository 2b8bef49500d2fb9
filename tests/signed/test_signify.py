"""Files of signify and usign are read, and no other form of them."""

from __future__ import annotations

import pytest

from cpe_filter.signed import signify
from cpe_filter.signed.errors import FORMAT, SignedError
from tests.lab.net import PROJECT
from tests.signed.making import key

VECTORS = PROJECT / "tests" / "signed" / "vectors"


def test_a_key_and_a_message_of_the_programs_are_read() -> None:
    for file, document in (("policy/signify.pub", "policy-signify"), ("desk/usign.pub", "instruction-usign")):
        public = signify.public_key((VECTORS / "keys" / file).read_bytes())
        data = (VECTORS / f"{document}.signed").read_bytes()
        signed = signify.signed_message(data)
        assert signed.number == public.number
        assert signed.head + signed.message == data
        assert signed.message.startswith(b"[document]\n")


def test_what_is_written_is_read_again() -> None:
    data = signify.encoded("x", b"12345678", bytes(range(64))) + b"a\nb"
    assert signify.signed_message(data) == (b"12345678", bytes(range(64)), b"a\nb", data[:-3])


KEY = key("one")
GOOD = KEY.sign(b"m\n")
FIRST, SECOND = GOOD.split(b"\n")[:2]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        FIRST,
        FIRST + b"\n",
        FIRST + b"\n" + SECOND,
        b"trusted comment: x\n" + SECOND + b"\nm",
        b"untrusted comment: " + b"x" * 1024 + b"\n" + SECOND + b"\nm",
        FIRST + b"\r\n" + SECOND + b"\r\nm",
        FIRST + b"\n " + SECOND + b"\nm",
        FIRST + b"\n" + SECOND + b" \nm",
        FIRST + b"\n" + SECOND[:-1] + b"\nm",
        FIRST + b"\n" + SECOND[:40] + b"-" + SECOND[40:] + b"\nm",
        FIRST + b"\n" + SECOND[:-2] + b"1=\nm",  # bits that no byte has
        FIRST + b"\n" + b"QQ" + SECOND[2:] + b"\nm",  # not Ed
        KEY.public,
        b"untrusted comment: x\n" + b"A" * 139 + b"=\n",
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(SignedError, match="not a signature of signify") as refusal:
        signify.signed_message(data)
    assert refusal.value.code == FORMAT


def test_a_key_has_nothing_behind_it() -> None:
    assert signify.public_key(KEY.public).number == KEY.number
    for data in (KEY.public + b"\n", KEY.public + KEY.public, GOOD, KEY.secret):
        with pytest.raises(SignedError):
            signify.public_key(data)
