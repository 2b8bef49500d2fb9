"""One answer of a web server to a GET, read strictly and within bounds (RFC 9112).

Knows the framing of HTTP/1.1. Must not know TLS, addresses or documents. A body counts only if it is complete: as long
as Content-Length says, or chunked to its end. Python's http.client is not used: it takes a body that was cut short for
a complete one, reads without a bound after a negative chunk size, and waits through any number of 1xx answers.
"""

from __future__ import annotations

from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    #: At most so many bytes that have come; b"" at the end.
    Receive = Callable[[int], bytes]

#: Bytes of all that is not body: status lines, fields, sizes of chunks, trailers.
MAX_FRAMING = 32 << 10
#: Characters of an ETag.
MAX_ETAG = 200
_CHUNK = 1 << 14
_TOKEN = b"!#$%&'*+-.^_`|~"
#: Fields that count; each may be there once.
_LENGTH, _CODING, _ENCODING, _ETAG = b"content-length", b"transfer-encoding", b"content-encoding", b"etag"
_KNOWN = (_LENGTH, _CODING, _ENCODING, _ETAG)


class AnswerError(Exception):
    """Not an answer that may be taken. One line, without anything that the server has sent except numbers."""


class Answer(NamedTuple):
    """etag: "" if there is none that can be sent back. body: empty, except for status 200."""

    status: int
    etag: str
    body: bytes


def read(receive: Receive, most: int) -> Answer:
    """Reads one answer. most: bytes of its body. Raises `AnswerError`, and what `receive` raises."""
    stream = _Stream(receive)
    status, fields = 0, {}
    while not status or (100 <= status < 200 and status != 101):  # interim answers, as many as the bound allows
        status = _status(stream.line())
        fields = _fields(stream)
    etag = _etag(fields.get(_ETAG, b""))
    return Answer(status, etag, _body(stream, fields, most) if status == 200 else b"")


class _Stream:
    """Lines and bytes of a connection. Lines have a bound in all."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._data = bytearray()
        self._framing = 0

    def _more(self, what: str) -> None:
        data = self._receive(_CHUNK)
        if not data:
            raise AnswerError(f"the connection ended within {what}")
        self._data += data

    def line(self) -> bytes:
        """The next line, without its end."""
        at = self._data.find(b"\n")
        while at < 0:
            if len(self._data) > MAX_FRAMING - self._framing:
                break
            searched = len(self._data)
            self._more("the header")
            at = self._data.find(b"\n", searched)
        self._framing += at + 1
        if at < 0 or self._framing > MAX_FRAMING:
            raise AnswerError(f"its header is too large; allowed: at most {MAX_FRAMING} bytes")
        line = bytes(self._data[: at + 1])
        del self._data[: at + 1]
        if not line.endswith(b"\r\n"):
            raise AnswerError("a line of its header does not end in CR LF")
        return line[:-2]

    def take(self, count: int, into: bytearray, what: str) -> None:
        """Adds so many bytes of a body."""
        while count:
            if not self._data:
                self._more(what)
            piece = self._data[:count]
            del self._data[:count]
            into += piece
            count -= len(piece)


def _status(line: bytes) -> int:
    """Of `HTTP/1.1 200 OK`."""
    version, _, rest = line.partition(b" ")
    number, _, _ = rest.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or len(number) != 3 or not number.isdigit() or number < b"100":
        raise AnswerError("it does not begin with a status line of HTTP/1.1")
    return int(number)


def _fields(stream: _Stream) -> dict[bytes, bytes]:
    """Those that count, to the empty line."""
    found: dict[bytes, bytes] = {}
    while line := stream.line():
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _is_token(name) or any((byte < 32 and byte != 9) or byte == 127 for byte in value):
            raise AnswerError("its header has a line that is not a field")
        name = name.lower()
        if name not in _KNOWN:
            continue
        if name in found:
            raise AnswerError(f"its header has {name.decode()} twice")
        found[name] = value
    return found


def _is_token(name: bytes) -> bool:
    return bool(name) and all(byte in _TOKEN or bytes((byte,)).isalnum() for byte in name)


def _etag(value: bytes) -> str:
    """What can be sent back in a field: quoted, or the same behind `W/`."""
    opaque = value.removeprefix(b"W/")
    quoted = len(opaque) >= 2 and opaque.startswith(b'"') and opaque.endswith(b'"')
    good = quoted and len(value) <= MAX_ETAG and all(32 < byte < 127 for byte in value)
    return value.decode("ascii") if good else ""


def _body(stream: _Stream, fields: dict[bytes, bytes], most: int) -> bytes:
    if fields.get(_ENCODING, b"identity").lower() not in (b"identity", b""):
        raise AnswerError("it is compressed, which was not asked for")
    length, coding = fields.get(_LENGTH), fields.get(_CODING)
    if length is not None and coding is not None:
        raise AnswerError("its header has content-length and transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked":
            raise AnswerError("its transfer-encoding is not chunked")
        return _chunked(stream, most)
    if length is None:
        raise AnswerError("its length is not known: neither content-length nor chunked")
    if not length.isdigit():
        raise AnswerError("its content-length is not a number")
    return _counted(stream, length, most)


def _counted(stream: _Stream, length: bytes, most: int) -> bytes:
    count = int(length) if len(length) < 16 else most + 1
    if count > most:
        raise _too_large(most)
    body = bytearray()
    stream.take(count, body, f"the document, which has {count} bytes")
    return bytes(body)


def _chunked(stream: _Stream, most: int) -> bytes:
    body = bytearray()
    while True:
        digits = stream.line().partition(b";")[0].rstrip(b" \t")
        if not digits or digits.strip(b"0123456789abcdefABCDEF"):
            raise AnswerError("the size of a chunk is not a number")
        size = int(digits, 16) if len(digits) < 16 else most + 1
        if size > most - len(body):
            raise _too_large(most)
        if not size:
            break
        stream.take(size, body, "a chunk of the document")
        if stream.line():
            raise AnswerError("a chunk is longer than its size")
    _fields(stream)  # trailers
    return bytes(body)


def _too_large(most: int) -> AnswerError:
    return AnswerError(f"too large; allowed: at most {most} bytes")
