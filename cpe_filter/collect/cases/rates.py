"""A table of rates that `calibrate` proposes: the text that the detector reads (detect.rates), its digest, and what of
it a signed document can bring to routers.

Knows where the text comes from. Must not know documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cpe_filter.detect.evidence import INDICATORS, LEGITIMATE
from cpe_filter.detect.rates import HEADER, LEAST, MOST, MOST_BYTES, Row, TableError, decode, encode

__all__ = ["HEADER", "LEAST", "MOST", "MOST_BYTES", "Row", "TableError", "decode", "digest", "encode", "relaxing"]


def digest(text: bytes) -> str:
    """SHA-256 of the text, in hex."""
    return hashlib.sha256(text).hexdigest()


def relaxing(rows: Mapping[str, Row]) -> dict[str, Row]:
    """What of a table a signed one may have, because no evidence weighs more by it: wider bounds."""
    out = {}
    for name, row in rows.items():
        own = INDICATORS[name]
        open_ = own.family != LEGITIMATE
        pairs = zip(own.usual, row.usual, strict=True)
        usual = tuple(0.0 if not old or (open_ and not new) else max(old, new) for old, new in pairs)
        if usual != own.usual:
            out[name] = Row(own.bot, usual)
    return out
