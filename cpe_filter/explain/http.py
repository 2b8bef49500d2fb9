"""Requests of browsers and of connectivity checks, and the answers to them, as bytes.

Knows as much of HTTP/1.1 (RFC 9110, RFC 9112) as the notice needs. Must not know sockets, clocks, devices or words.
Pure. A connection carries one request. Nothing of a request is kept or given back, except what is compared.
"""

from __future__ import annotations

from cpe_filter.lean.named_tuple import NamedTuple

#: Bytes of a request's head and of its form.
MAX_HEAD, MAX_FORM = 4096, 512
#: Languages that are looked at in a request.
MAX_LANGUAGES = 16
_REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_METHODS = ("GET", "HEAD", "POST")
#: For every answer: it is for this client alone, is not kept, and is in no frame of another page.
_ALWAYS = (
    "Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
    "Referrer-Policy: same-origin\r\n"
)


class Request(NamedTuple):
    """method: one of three. path, query: as sent. host, origin, site, languages: headers, None where there is none.
    form: that of a POST."""

    method: str
    path: str
    query: str
    host: str | None
    origin: str | None
    site: str | None
    form: str
    languages: str | None = None


def parse(data: bytes) -> Request | int | None:
    """A request; the code of an error; None while it is incomplete. data: all that the client has sent."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return 431 if len(data) > MAX_HEAD else None
    if end > MAX_HEAD:
        return 431
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0") or not first.isprintable():
        return 400
    method, target, _ = words
    if method not in _METHODS:
        return 405
    headers = _headers(lines)
    if headers is None:
        return 400
    form = ""
    if method == "POST":
        length = headers.get("content-length", "")
        if "transfer-encoding" in headers or not length.isascii() or not length.isdecimal() or len(length) > 6:
            return 400
        if int(length) > MAX_FORM:
            return 413
        body = data[end + 4 :]
        if len(body) < int(length):
            return None
        form = body[: int(length)].decode("latin-1")
    if "://" in target[:8]:  # the absolute form
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    host, origin, site, languages = map(headers.get, ("host", "origin", "sec-fetch-site", "accept-language"))
    return Request(method, path, query, host, origin, site, form, languages)


def _headers(lines: list[str]) -> dict[str, str] | None:
    """By name; None if one is malformed or, of those that decide, there twice."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name.strip() != name:
            return None
        if name in headers and name in ("host", "origin", "content-length"):
            return None
        headers[name] = value.strip(" \t")
    return headers


def fields(text: str) -> dict[str, str]:
    """Of a form or a query. Only letters, digits and dashes are needed, so nothing is decoded."""
    found = {}
    for pair in text.split("&")[:8]:
        name, _, value = pair.partition("=")
        found[name] = value
    return found


def language(header: str | None, known: tuple[str, ...]) -> str | None:
    """The one of `known` that Accept-Language (RFC 9110 section 12.5.4) prefers; None if it names none of them."""
    best, found = 0.0, None
    for item in (header or "").split(",", MAX_LANGUAGES)[:MAX_LANGUAGES]:
        tag, _, parameter = item.partition(";")
        code, weight = tag.strip(" \t").partition("-")[0].lower(), _weight(parameter.strip(" \t"))
        if code in known and weight > best:
            best, found = weight, code
    return found


def _weight(parameter: str) -> float:
    """0 for what is not one."""
    if not parameter:
        return 1.0
    name, _, value = parameter.partition("=")
    whole, _, part = value.partition(".")
    if name.strip().lower() != "q" or whole not in ("0", "1") or len(part) > 3 or not (part or "0").isdecimal():
        return 0.0
    return min(1.0, float(f"{whole}.{part or 0}")) if part.isascii() else 0.0


def response(
    code: int, body: str = "", kind: str = "text/html; charset=utf-8", more: str = "", head: bool = False
) -> bytes:
    """An answer. more: further headers, each with its CR LF. head: to HEAD, so without the body."""
    content = body.encode()
    about = f"Content-Type: {kind}\r\nContent-Length: {len(content)}\r\n{_ALWAYS}{more}\r\n"
    return f"HTTP/1.1 {code} {_REASONS[code]}\r\n{about}".encode("latin-1") + (b"" if head else content)


def redirect(url: str) -> bytes:
    """To the notice. Its link is for programs that show the answer rather than follow it."""
    return response(302, f'<a href="{url}">{url}</a>\n', more=f"Location: {url}\r\n")
