"""SHA-512 without OpenSSL.

Knows where Python's own is. Must not know what is hashed. Saves 3.8 MB: hashlib loads OpenSSL's library.
"""

from __future__ import annotations

__all__ = ["sha512"]

try:
    from _sha2 import sha512  # Python 3.12 on
except ImportError:
    try:
        from _sha512 import sha512  # type: ignore[import-not-found, no-redef, unused-ignore]
    except ImportError:
        from hashlib import sha512
