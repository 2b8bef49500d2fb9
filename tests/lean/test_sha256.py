"""The digest is SHA-256's, and OpenSSL's library is not loaded for it."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from cpe_filter.lean.sha256 import sha256


def test_it_is_that_of_hashlib() -> None:
    """FIPS 180-4's example, and the length of a block."""
    assert sha256(b"abc").hexdigest() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    for content in (b"", bytes(64), b"x" * 1000):
        assert sha256(content).digest() == hashlib.sha256(content).digest()


def test_openssl_stays_out() -> None:
    code = "import sys, cpe_filter.lean.sha256; print({'hashlib', '_hashlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True).stdout == "set()\n"
