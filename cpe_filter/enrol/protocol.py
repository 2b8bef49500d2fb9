"""Rules of enrolment that a router and the ISP's EST server share: paths, bounds, and what a factory key signs.

EST (RFC 7030) leaves open how a client without a certificate authenticates by HTTP. Here are two ways: Basic with the
router's id and a one-time token; and the scheme of this file, for a router that has a key of its factory, but no
certificate of it. The server's 401 has a nonce; the router signs it together with all that it is good for:

    Authorization: CPE-Factory router="ID", nonce="...", key="BASE64", signature="BASE64"

Knows texts. Must not know HTTP or keys. The collector uses it, too.
"""

from __future__ import annotations

#: Behind the host; then one of cacerts, csrattrs, simpleenroll, simplereenroll.
PATH = "/.well-known/est/"
SCHEME = "CPE-Factory"
#: Bytes of a request, and of an answer, in Base64.
MAX_REQUEST, MAX_ANSWER = 16 << 10, 64 << 10


def factory_text(host: str, router: str, nonce: str, request: str) -> bytes:
    """What a factory key signs. host: of the server, in lower case, without a port. request: SHA-256 of the request
    (PKCS #10, DER), hexadecimal.

    So a signature is good for one server, one router, one nonce and one new key.
    """
    return f"cpe-filter enrolment 1\n{host}\n{router}\n{nonce}\n{request}\n".encode()
