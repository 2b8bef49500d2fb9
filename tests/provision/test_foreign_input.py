"""Files of other programs, and damaged ones, as documents: the last good policy stays, with one clear line.

The signatures are those of the real signify, where it is installed, and of our own signer.
"""

from __future__ import annotations

import base64
import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cpe_filter.collect import signing
from cpe_filter.provision import command
from cpe_filter.signed.document import MAX_BYTES
from tests.provision.test_command import Router, router
from tests.signed import making

__all__ = ["router"]
SIGNIFY = shutil.which("signify-openbsd") or shutil.which("signify")
CONTENT = '[filter]\nmode = "limit"\n'
Sign = Callable[[bytes], bytes]


def message(router: Router, content: str = CONTENT, **changes: object) -> bytes:
    """A good one, that a change of its form spoils."""
    now = router.now
    header = signing.Header("policy", 9, now - 60, now + 86400, ("*",))._replace(**changes)  # type: ignore[arg-type]
    return (signing.header(header) + content).encode()


@pytest.fixture(params=["signify", "ours"])
def sign(request: pytest.FixtureRequest, router: Router, tmp_path: Path) -> Sign:
    """Signs a message as `signify -S -e` does; the router trusts the key."""
    if request.param == "ours":
        return router.key.sign
    if SIGNIFY is None:
        pytest.skip("signify is not installed")
    public, secret = tmp_path / "real.pub", tmp_path / "real.sec"
    subprocess.run([SIGNIFY, "-G", "-n", "-c", "an ISP", "-p", public, "-s", secret], check=True)
    trusted = Path(router.place.keys) / "policy" / "real.pub"
    trusted.write_bytes(public.read_bytes())
    trusted.chmod(0o644)

    def work(data: bytes) -> bytes:
        (tmp_path / "m").write_bytes(data)
        subprocess.run([SIGNIFY, "-S", "-e", "-s", secret, "-m", tmp_path / "m", "-x", tmp_path / "m.sig"], check=True)
        return (tmp_path / "m.sig").read_bytes()

    return work


def is_refused(router: Router, data: bytes, codes: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert router.apply(router.document(sequence=5)) == 0
    capsys.readouterr()
    path = router.tmp / "foreign.signed"
    path.write_bytes(data)
    assert router.apply(path) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1), shown
    assert shown.err.endswith(tuple(f"({code}); the policy stays as it was\n" for code in codes)), shown.err
    assert all(c.isprintable() for c in shown.err[:-1])
    assert router.mode == "monitor"
    assert len(router.reloads) == 1


def _two_lines(data: bytes) -> tuple[bytes, bytes, bytes]:
    comment, signature, rest = data.split(b"\n", 2)
    return comment, signature, rest


def _signature_twice(data: bytes) -> bytes:
    comment, signature, rest = _two_lines(data)
    return b"\n".join((comment, signature, comment, signature, rest))


def _message_in_crlf(data: bytes) -> bytes:
    comment, signature, rest = _two_lines(data)
    return b"\n".join((comment, signature, rest.replace(b"\n", b"\r\n")))


def _head(change: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> Callable[[bytes], bytes]:
    def work(data: bytes) -> bytes:
        comment, signature, rest = _two_lines(data)
        return b"\n".join((*change(comment, signature), rest))

    return work


#: What happens to a good file, and the codes of which one it is refused with.
DAMAGED: dict[str, tuple[Callable[[bytes], bytes], tuple[str, ...]]] = {
    "CR LF everywhere": (lambda d: d.replace(b"\n", b"\r\n"), ("format",)),
    "CR LF in the message": (_message_in_crlf, ("signature",)),
    "CR LF behind the comment": (_head(lambda c, s: (c + b"\r", s + b"\r")), ("format",)),
    "CR alone": (lambda d: d.replace(b"\n", b"\r"), ("format",)),
    "a byte order mark": (lambda d: b"\xef\xbb\xbf" + d, ("format",)),
    "UTF-16": (lambda d: d.decode().encode("utf-16"), ("format",)),
    "UTF-32": (lambda d: d.decode().encode("utf-32"), ("format",)),
    "an empty line behind": (lambda d: d + b"\n", ("signature",)),
    "a space behind": (lambda d: d + b" ", ("signature",)),
    "a NUL behind": (lambda d: d + b"\0", ("signature",)),
    "Ctrl-Z behind": (lambda d: d + b"\x1a", ("signature",)),
    "NULs to a block's end": (lambda d: d + bytes(-len(d) % 512), ("signature",)),
    "without its last newline": (lambda d: d.rstrip(b"\n"), ("signature",)),
    "an empty line before": (lambda d: b"\n" + d, ("format",)),
    "an empty line between": (_head(lambda c, s: (c, b"\n" + s)), ("format",)),
    "indented": (lambda d: b" " + d, ("format",)),
    "another word than untrusted": (lambda d: d.replace(b"untrusted", b"trusted", 1), ("format",)),
    "no space before the comment": (lambda d: d.replace(b"comment: ", b"comment:", 1), ("format",)),
    "a long comment": (_head(lambda c, s: (c + b"x" * 1024, s)), ("format",)),
    "no comment": (lambda d: d.split(b"\n", 1)[1], ("format",)),
    "the signature in two lines": (_head(lambda c, s: (c, s[:40] + b"\n" + s[40:])), ("format",)),
    "a NUL in the signature": (_head(lambda c, s: (c, s[:40] + b"\0" + s[40:])), ("format",)),
    "base64 for URLs": (_head(lambda c, s: (c, s.replace(b"+", b"-").replace(b"/", b"_")[:-4] + b"-_-_")), ("format",)),
    "without padding": (_head(lambda c, s: (c, s.rstrip(b"=")[:-1])), ("format",)),
    "hex": (_head(lambda c, s: (c, base64.b64decode(s).hex().encode())), ("format",)),
    "another algorithm": (_head(lambda c, s: (c, base64.b64encode(b"ED" + base64.b64decode(s)[2:]))), ("format",)),
    "the signature twice": (_signature_twice, ("signature",)),
    "the file twice": (lambda d: d + d, ("signature",)),
    "the signature alone": (lambda d: b"\n".join(_two_lines(d)[:2]) + b"\n", ("signature",)),
    "the message alone": (lambda d: _two_lines(d)[2], ("format",)),
    "compressed": (gzip.compress, ("format",)),
    "base64 of it": (base64.b64encode, ("format",)),
    "nothing": (lambda d: b"", ("format",)),
    "a NUL": (lambda d: b"\0", ("format",)),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_was_changed_on_its_way(
    router: Router, sign: Sign, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, codes = DAMAGED[name]
    data = sign(message(router))
    assert change(data) != data
    is_refused(router, change(data), codes, capsys)


@pytest.mark.parametrize(
    "comment", [b"", b"\xff\xfe", b"signature from a key", b"x" * 900, b"\t", b"\0", b"\r", "ключ".encode()]
)
def test_the_comment_means_nothing(router: Router, sign: Sign, comment: bytes) -> None:
    """It is not signed, and not shown."""
    _, signature, rest = _two_lines(sign(message(router)))
    path = router.tmp / "foreign.signed"
    path.write_bytes(b"untrusted comment: " + comment + b"\n" + signature + b"\n" + rest)
    assert router.apply(path) == 0
    assert router.mode == "limit"


#: What a key signs that is not a document: the message, by the good one, and its code.
SIGNED: dict[str, tuple[Callable[[bytes], bytes], tuple[str, ...]]] = {
    "CR LF": (lambda m: m.replace(b"\n", b"\r\n"), ()),
    "CR alone": (lambda m: m.replace(b"\n", b"\r"), ("toml",)),
    "a byte order mark": (lambda m: b"\xef\xbb\xbf" + m, ("toml",)),
    "UTF-16": (lambda m: m.decode().encode("utf-16"), ("toml",)),
    "latin-1": (lambda m: m + b"# \xe9\n", ("toml",)),
    "a NUL": (lambda m: m + b"# \0\n", ("toml",)),
    "NULs behind": (lambda m: m + bytes(100), ("toml",)),
    "an escape": (lambda m: m + b"# \x1b[2J\n", ("toml",)),
    "half a character": (lambda m: m + b"# \xf0\x9f\n", ("toml",)),
    "a surrogate": (lambda m: m + b"# \xed\xa0\x80\n", ("toml",)),
    "nothing": (lambda m: b"", ("header",)),
    "a space": (lambda m: b" ", ("header",)),
    "JSON": (lambda m: b'{"document": {"type": "policy"}}', ("toml",)),
    "YAML": (lambda m: b"document:\n  type: policy\n", ("toml",)),
    "no header": (lambda m: CONTENT.encode(), ("header",)),
    "the header twice": (lambda m: m + b"[document]\n", ("toml",)),
    "a huge number": (lambda m: m + b"[limits]\nmessages_per_hour = " + b"9" * 5000 + b"\n", ("toml",)),
    "a huge exponent": (lambda m: m + b"[detect]\nx = 1e999999999\n", ("content",)),
    "a huge text": (lambda m: m + b'x = "' + b"y" * (60 << 10) + b'"\n', ("content",)),
    "too large": (lambda m: m + b"#" * MAX_BYTES["policy"] + b"\n", ("large",)),
    "many values": (lambda m: m + b"x = [" + b"1," * 25_000 + b"]\n", ("toml",)),
    "many tables": (lambda m: m + b"".join(b"[t%d]\n" % n for n in range(8000)), ("content", "toml")),
    "many dots": (lambda m: m + b"a." * 20_000 + b"a = 1\n", ("toml",)),
    "deep lists": (lambda m: m + b"x = " + b"[" * 20_000 + b"]" * 20_000 + b"\n", ("toml",)),
    "deep tables": (lambda m: m + b"x = " + b"{a=" * 9_000 + b"1" + b"}" * 9_000 + b"\n", ("toml",)),
    "open brackets": (lambda m: m + b"x = " + b"[" * 50_000, ("toml",)),
    "signed twice": (lambda m: making.key("isp").sign(m), ("toml",)),
}


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_message_that_is_not_a_document(
    router: Router, sign: Sign, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, codes = SIGNED[name]
    data = sign(change(message(router)))
    if not codes:
        path = router.tmp / "foreign.signed"
        path.write_bytes(data)
        assert router.apply(path) == 0
        return
    is_refused(router, data, codes, capsys)


def test_a_file_of_minisign(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    """The same two lines, and two more: a trusted comment, and a signature of both."""
    comment, signature, rest = _two_lines(router.key.sign(message(router)))
    other = base64.b64encode(bytes(64))
    both = b"\n".join((comment, signature, b"trusted comment: timestamp:1", other, rest))
    is_refused(router, both, ("signature",), capsys)


@pytest.mark.parametrize(
    "audience",
    [("router:cpe-9",), ("model:box-2",), ("region:south",), ("router:box-1", "model:north", "region:box-1")],
)
def test_a_document_for_others(
    router: Router, sign: Sign, audience: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    is_refused(router, sign(message(router, audience=audience)), ("audience",), capsys)


def test_keys_are_replaced_while_documents_go_on(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    """New key added, used, old key revoked: what it signed stays in force until the next, and nothing of it comes."""
    new = making.key("next")
    assert router.apply(router.document(sequence=5)) == 0
    assert router.apply(router.document(CONTENT, key=new, sequence=6)) == 2
    making.folder_of(router.tmp, policy=new)
    assert router.apply(router.document(sequence=7)) == 0
    # A number of its own does not let the new key go back behind what is in force.
    assert router.apply(router.document(CONTENT, key=new, sequence=6)) == 2
    (Path(router.place.keys) / "revoked").write_text(router.key.number.hex() + "\n")
    capsys.readouterr()
    assert router.apply(router.document(CONTENT, sequence=8)) == 2
    assert capsys.readouterr().err.endswith("(revoked); the policy stays as it was\n")
    router.boot = "b2"
    assert command.make(router.place) == 0
    assert router.mode == "monitor"
    assert router.apply(router.document(CONTENT, key=new, sequence=8)) == 0
    assert router.mode == "limit"
