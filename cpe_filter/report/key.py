"""Pseudonyms: the names of devices for the Internet provider, and the secret that only the router knows.

Knows the keyed hash and the key's file. Must not know what is reported. The pseudonym is HMAC-SHA-256 (RFC 2104) of
the device's key, truncated to 8 bytes. A plain hash could be reversed in seconds by trying all MACs of a manufacturer;
with the secret that is impossible. The secret is made once, kept in a file of mode 0600, and never sent or logged.

hashlib would load OpenSSL: 3.9 MB. The module of the hash alone takes 0.1 MB.
"""

from __future__ import annotations

import errno
import os

from cpe_filter.lean.files import read, replace
from cpe_filter.lean.sha256 import sha256

#: Bytes of the secret.
KEY_BYTES = 16
_BLOCK = 64


def load(path: str) -> bytes:
    """The secret in a file; made and kept there if there is none. Raises OSError.

    A file of another length is not overwritten: a new secret would give every device a new name upstream.
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
