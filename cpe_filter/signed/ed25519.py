"""Ed25519 signatures (RFC 8032 section 5.1): verification alone, on whole numbers.

Knows the curve. Must not know keys' files or documents. Nothing here is secret, so nothing has to take constant time.
Strict where RFC 8032 leaves a choice, so that a signature has one form and all routers judge it alike:

- S is below the group's order. Else anyone could make a second signature of a signed message (malleability).
- A and R are canonical encodings: y is below the field's prime, and x = 0 has no sign.
- A is not of small order: for such a key one signature fits many messages.
- The equation is [S]B = R + [k]A, without the cofactor, as in signify, usign and OpenSSL. The one with the cofactor
  also accepts some signatures that a key's owner has to make on purpose, and those programs refuse.
"""

from __future__ import annotations

from cpe_filter.signed.sha512 import sha512

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: Extended homogeneous coordinates X, Y, Z, T: x = X/Z, y = Y/Z, x*y = T/Z.
    Point = tuple[int, int, int, int]

#: Bytes of a public key and of a signature.
KEY_BYTES, SIGNATURE_BYTES = 32, 64

P = 2**255 - 19
#: Order of the base point.
ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, P - 2, P) % P
_ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)
_IDENTITY: Point = (0, 1, 1, 0)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this is the key's signature of the message."""
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    s = int.from_bytes(signature[32:], "little")
    a = _decoded(public)
    r = _decoded(signature[:32])
    if s >= ORDER or a is None or r is None or _is_small(a):
        return False
    k = int.from_bytes(sha512(signature[:32] + public + message).digest(), "little") % ORDER
    x, y, z, t = a
    left = _two_products(s, _BASE, k, (P - x, y, z, P - t))  # [S]B - [k]A
    return (left[0] - r[0] * left[2]) % P == 0 and (left[1] - r[1] * left[2]) % P == 0


def is_usable(public: bytes) -> bool:
    """Whether a key's signatures can be verified: a canonical point that is not of small order."""
    point = _decoded(public) if len(public) == KEY_BYTES else None
    return point is not None and not _is_small(point)


def _decoded(data: bytes) -> Point | None:
    """The point (section 5.1.3), with Z = 1; None if it is not a canonical encoding of one."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * _ROOT_OF_MINUS_1 % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def _is_small(point: Point) -> bool:
    """Whether the point's order divides the cofactor, 8."""
    for _ in range(3):
        point = _sum(point, point)
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


def _sum(p: Point, q: Point) -> Point:
    """Section 5.1.4. Complete: it also doubles."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * _D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _two_products(m: int, p: Point, n: int, q: Point) -> Point:
    """[m]p + [n]q, bit by bit of both numbers at once (Shamir's trick)."""
    both = _sum(p, q)
    total = _IDENTITY
    for bit in range(max(m.bit_length(), n.bit_length()) - 1, -1, -1):
        total = _sum(total, total)
        which = (m >> bit & 1) + 2 * (n >> bit & 1)
        if which:
            total = _sum(total, (p, q, both)[which - 1])
    return total


def _base() -> Point:
    return _decoded((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")) or _IDENTITY  # y = 4/5, x even (section 5.1)


_BASE = _base()
