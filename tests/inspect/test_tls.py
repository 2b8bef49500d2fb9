"""ClientHello: server name and JA4, against OpenSSL's own hellos and the fingerprint's published example."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.inspect.facts import ClientHello
from cpe_filter.inspect.smtp import Dialogue
from cpe_filter.inspect.states import OPAQUE
from cpe_filter.inspect.tls import LONGEST, NotTLSError, client_hello


def openssl_hello(name: str | None, alpn: list[str] | None = None) -> bytes:
    """What Python's ssl module sends first."""
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    if alpn:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def block(size: int, content: bytes) -> bytes:
    return len(content).to_bytes(size, "big") + content


def pairs(text: str) -> bytes:
    return bytes.fromhex(text.replace(",", ""))


def hello(ciphers: bytes, extensions: list[tuple[int, bytes]], record: int = 16384) -> bytes:
    """A ClientHello from its parts, cut into records of so many bytes."""
    body = b"\x03\x03" + bytes(32) + block(1, b"") + block(2, ciphers) + block(1, b"\0")
    body += block(2, b"".join(kind.to_bytes(2, "big") + block(2, content) for kind, content in extensions))
    message = b"\x01" + block(3, body)
    return b"".join(b"\x16\x03\x01" + block(2, message[i : i + record]) for i in range(0, len(message), record))


def published_example(record: int = 16384) -> bytes:
    """The ClientHello of the fingerprint's specification (Chrome), GREASE values and all."""
    ciphers = "0a0a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
    plain = [0x0005, 0x000A, 0x000B, 0x0012, 0x0015, 0x0017, 0x001B, 0x0023, 0x002D, 0x0033, 0x4469, 0xFF01]
    extensions = [
        (0x1A1A, b""),
        (0x0000, block(2, b"\0" + block(2, b"mx.example.org"))),
        (0x0010, block(2, block(1, b"h2") + block(1, b"http/1.1"))),
        (0x002B, block(1, pairs("2a2a,0304,0303"))),
        (0x000D, block(2, pairs("0403,0804,0401,0503,0805,0501,0806,0601"))),
        *((kind, b"") for kind in plain),
    ]
    return hello(pairs(ciphers), extensions, record)


def test_published_example() -> None:
    data = published_example()
    wanted = ClientHello("mx.example.org", "t13d1516h2_8daaf6152771_e5627efa2ab1", len(data))
    assert client_hello(data) == wanted
    assert client_hello(data + b"more") == wanted


def test_spread_over_records() -> None:
    data, whole = published_example(record=50), client_hello(published_example())
    assert whole is not None
    assert client_hello(data + b"more") == whole._replace(size=len(data))


@pytest.mark.parametrize(("name", "mark"), [("mx.example.org", "d"), (None, "i")])
def test_openssl(name: str | None, mark: str) -> None:
    found = client_hello(openssl_hello(name))
    assert found is not None
    assert found.server_name == (name or "")
    assert found.ja4[:4] == f"t13{mark}"
    with_alpn = client_hello(openssl_hello(name, ["smtp"]))
    assert with_alpn is not None
    assert with_alpn.ja4.split("_")[0].endswith("sp")


def test_every_prefix_asks_for_more() -> None:
    data = openssl_hello("mx.example.org")
    assert {client_hello(data[:n]) for n in range(len(data))} == {None}


@pytest.mark.parametrize(
    "data",
    [b"EHLO a\r\n", b"\x17\x03\x03\0\5hello", b"\x16\x03\x01\0\0", b"\x16\x03\x01\0\4\2\0\0\0", b"\x16\x02"],
)
def test_not_tls(data: bytes) -> None:
    with pytest.raises(NotTLSError):
        client_hello(data)


@settings(derandomize=True, max_examples=300)
@given(st.integers(0, 400), st.integers(0, 255), st.binary(max_size=40))
def test_never_anything_but_a_result_or_nottls(at: int, byte: int, tail: bytes) -> None:
    data = bytearray(published_example())
    data[at % len(data)] = byte
    try:
        found = client_hello(bytes(data) + tail)
    except NotTLSError:
        return
    assert found is None or len(found.ja4) == 36


def starttls() -> Dialogue:
    dialogue = Dialogue()
    dialogue.server_seen = True
    for client, line in ((False, b"220 mx\r\n"), (True, b"EHLO a.example\r\n"), (False, b"250 STARTTLS\r\n")):
        (dialogue.client if client else dialogue.server)(line)
    dialogue.client(b"STARTTLS\r\n")
    dialogue.server(b"220 go\r\n")
    return dialogue


@pytest.mark.parametrize("step", [1, 7, 4000])
def test_after_starttls(step: int) -> None:
    dialogue = starttls()
    data = openssl_hello("mx.example.org")
    for at in range(0, len(data), step):
        assert dialogue.mode != OPAQUE
        dialogue.client(data[at : at + step])
    assert dialogue.mode == OPAQUE
    assert dialogue.facts.tls
    assert dialogue.facts.client_hello is not None
    assert dialogue.facts.client_hello.server_name == "mx.example.org"


def test_tls_from_the_first_byte() -> None:
    dialogue = Dialogue()
    dialogue.server_seen = True
    dialogue.client(openssl_hello("submission.example.org"))
    assert dialogue.facts.opaque_reason == "tls"
    assert dialogue.facts.client_hello is not None
    assert dialogue.facts.client_hello.server_name == "submission.example.org"
    assert not dialogue.facts.violations


def test_a_hello_without_end_is_given_up() -> None:
    dialogue = starttls()
    dialogue.client(b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + bytes(LONGEST))
    assert dialogue.facts.opaque_reason == "tls"
    assert dialogue.facts.client_hello is None


def test_pretended_tls_goes_on_in_the_clear() -> None:
    dialogue = starttls()
    dialogue.client(b"EHLO b.example\r\n")
    dialogue.server(b"250 ok\r\n")
    assert dialogue.facts.helo == "b.example"
    assert dialogue.mode != OPAQUE
