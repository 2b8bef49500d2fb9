"""A table of rates that `calibrate` proposes: the text that the detector reads (detect.rates), and its digest.

Knows where the text comes from. Must not know what a table may change on a router.
"""

from __future__ import annotations

import hashlib

from cpe_filter.detect.rates import HEADER, LEAST, MOST, MOST_BYTES, Row, TableError, decode, encode

__all__ = ["HEADER", "LEAST", "MOST", "MOST_BYTES", "Row", "TableError", "decode", "digest", "encode"]


def digest(text: bytes) -> str:
    """SHA-256 of the text, in hex."""
    return hashlib.sha256(text).hexdigest()
