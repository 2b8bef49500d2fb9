"""The first message of a TLS client: ClientHello bytes -> server name and fingerprint.

Knows RFC 8446 section 4.1.2, RFC 6066 (server name) and the JA4 fingerprint (FoxIO, the open part for TLS clients).
Must not know SMTP. Only these two and the size of the handshake are kept. Never raises on any bytes.
"""

from __future__ import annotations

from cpe_filter.inspect.address import readable
from cpe_filter.inspect.facts import ClientHello

HANDSHAKE_RECORD = 0x16
CLIENT_HELLO = 1
#: A ClientHello with post-quantum key shares has about 2 kB; longer ones are not read.
LONGEST = 8192

_SERVER_NAME, _SIGNATURE_ALGORITHMS, _ALPN, _SUPPORTED_VERSIONS = 0, 13, 16, 43
_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}


class NotTLSError(ValueError):
    """These bytes do not begin a TLS handshake, or not a well-formed one."""


def client_hello(data: bytes) -> ClientHello | None:
    """Reads the ClientHello at the start of `data`; None if more bytes are needed. Raises `NotTLSError`."""
    found = _handshake(data)
    if found is None:
        return None
    message, size = found
    try:
        return ClientHello(*_parse(_Reader(message)), size)
    except IndexError:
        raise NotTLSError("a length in the ClientHello points behind its end") from None


def _handshake(data: bytes) -> tuple[bytes, int] | None:
    """The first handshake message, assembled from as many records as necessary, and the size of these."""
    out = b""
    at = 0
    while True:
        if at >= len(data):
            return None
        if data[at] != HANDSHAKE_RECORD or data[at + 1 : at + 2] not in (b"", b"\x03"):
            raise NotTLSError("not a handshake record")
        if len(data) < at + 5:
            return None
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if not 0 < size <= 16384:
            raise NotTLSError("a record of no sensible length")
        out += data[at + 5 : at + 5 + size]
        at += 5 + size
        if out[:1] not in (b"", bytes([CLIENT_HELLO])):
            raise NotTLSError("not a ClientHello")
        if len(out) >= 4 and len(out) - 4 >= int.from_bytes(out[1:4], "big"):
            return out[4 : 4 + int.from_bytes(out[1:4], "big")], at


class _Reader:
    """Takes fields from the front. Raises IndexError if they end too early."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        self.at += size
        if self.at > len(self.data):
            raise IndexError
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, length_size: int) -> bytes:
        return self.take(self.number(length_size))

    @property
    def more(self) -> bool:
        return self.at < len(self.data)


def _parse(hello: _Reader) -> tuple[str, str]:
    """Server name and JA4."""
    version = hello.number(2)
    hello.take(32)
    hello.block(1)
    ciphers = _numbers(hello.block(2))
    hello.block(1)
    extensions: list[int] = []
    name, alpn, algorithms = "", b"", []
    body = _Reader(hello.block(2) if hello.more else b"")
    while body.more:
        kind, content = body.number(2), body.block(2)
        if _grease(kind):
            continue
        extensions.append(kind)
        if kind == _SERVER_NAME:
            name = _server_name(content)
        elif kind == _ALPN and len(content) > 3:
            alpn = content[3 : 3 + content[2]]
        elif kind == _SIGNATURE_ALGORITHMS:
            algorithms = _numbers(content[2:])
        elif kind == _SUPPORTED_VERSIONS:
            version = max((v for v in _numbers(content[1:]) if not _grease(v)), default=version)
    ciphers = [c for c in ciphers if not _grease(c)]
    first = (
        f"t{_VERSIONS.get(version, '00')}{'d' if _SERVER_NAME in extensions else 'i'}"
        f"{min(len(ciphers), 99):02}{min(len(extensions), 99):02}{_alpn_mark(alpn)}"
    )
    others = ",".join(f"{e:04x}" for e in sorted(extensions) if e not in (_SERVER_NAME, _ALPN))
    if algorithms:
        others += "_" + ",".join(f"{a:04x}" for a in algorithms)
    return name, f"{first}_{_short(','.join(f'{c:04x}' for c in sorted(ciphers)))}_{_short(others)}"


def _server_name(content: bytes) -> str:
    reader = _Reader(content)
    reader.number(2)
    return readable(reader.block(2)) if reader.number(1) == 0 else ""


def _numbers(data: bytes) -> list[int]:
    return [data[i] << 8 | data[i + 1] for i in range(0, len(data) - 1, 2)]


def _grease(number: int) -> bool:
    """Whether it is a reserved value that clients send to keep servers tolerant (RFC 8701): 0x0a0a, 0x1a1a, ..."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def _alpn_mark(alpn: bytes) -> str:
    if not alpn:
        return "00"
    ends = bytes((alpn[0], alpn[-1]))
    if ends.isalnum():
        return ends.decode()
    return f"{alpn[0]:02x}"[0] + f"{alpn[-1]:02x}"[1]


def _short(text: str) -> str:
    from cpe_filter.lean.sha256 import sha256  # 40 kB: not before the first client says STARTTLS

    return sha256(text.encode()).hexdigest()[:12] if text else "000000000000"
