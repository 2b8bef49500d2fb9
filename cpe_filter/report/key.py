"""Pseudonyms: what the Internet provider calls a device, and the secret that only the router knows.

Knows the keyed hash and the key's file. Must not know what is reported. The pseudonym is HMAC-SHA-256 (RFC 2104) of
the device's key, cut to 8 bytes. Without the secret nobody can try all MACs of a manufacturer, which a plain hash
would allow in seconds. The secret is made once, kept in a file of mode 0600, and never sent or logged.

hashlib would load OpenSSL: 3.9 MB. The sum alone takes 0.1 MB.
"""

from __future__ import annotations

import errno
import os

from cpe_filter.lean.files import read, replace

try:
    from _sha2 import sha256  # Python 3.12 on
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found, no-redef, unused-ignore]
    except ImportError:  # a Python built without its own
        from hashlib import sha256

#: Bytes of the secret.
KEY_BYTES = 16
_BLOCK = 64


def load(path: str) -> bytes:
    """The secret of a file, made and kept there if there is none. Raises OSError.

    A file of another length is none of ours and stays: a new secret would give every device a new name upstream.
    """
    try:
        key = read(path, KEY_BYTES + 1)
    except FileNotFoundError:
        key = os.urandom(KEY_BYTES)
        replace(path, key)
        return key
    if len(key) != KEY_BYTES:
        raise OSError(errno.EINVAL, f"Not a key of {KEY_BYTES} bytes")
    return key


def pseudonym(key: bytes, device: bytes) -> str:
    """16 hex digits for a device's key (see detect.device)."""
    padded = key.ljust(_BLOCK, b"\0")
    inner = sha256(bytes(b ^ 0x36 for b in padded) + device).digest()
    outer: str = sha256(bytes(b ^ 0x5C for b in padded) + inner).hexdigest()
    return outer[:16]
