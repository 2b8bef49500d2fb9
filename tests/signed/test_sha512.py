"""The digest is SHA-512's, and OpenSSL's library is not loaded for it."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from cpe_filter.signed.sha512 import sha512


def test_it_is_that_of_hashlib() -> None:
    for content in (b"", b"abc", bytes(128), b"x" * 1000):
        assert sha512(content).digest() == hashlib.sha512(content).digest()


def test_openssl_stays_out() -> None:
    code = "import sys, cpe_filter.signed.sha512; print({'hashlib', '_hashlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True).stdout == "set()\n"
