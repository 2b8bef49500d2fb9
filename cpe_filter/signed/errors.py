"""Why a document is refused: a code for reports, and a line for people.

Must not know how anything is checked.
"""

from __future__ import annotations

#: Too large; not signify's form; no such key; a revoked key; a key for other documents; not its signature.
LARGE, FORMAT, KEY, REVOKED, PURPOSE, SIGNATURE = "large", "format", "key", "revoked", "purpose", "signature"
#: Not TOML, or too deep; a header that is wrong; another type; needs a later version; for others.
TOML, HEADER, TYPE, AGENT, AUDIENCE = "toml", "header", "type", "agent", "audience"
#: Issued later than now; expired; not later than one that was taken.
EARLY, EXPIRED, SEQUENCE = "early", "expired", "sequence"
CODES = (
    *(LARGE, FORMAT, KEY, REVOKED, PURPOSE, SIGNATURE),
    *(TOML, HEADER, TYPE, AGENT, AUDIENCE),
    *(EARLY, EXPIRED, SEQUENCE),
)


class SignedError(ValueError):
    """A document, or a key, that is refused. code: one of `CODES`; the text is one line for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
