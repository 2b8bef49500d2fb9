"""Keys, documents and folders of keys for tests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cpe_filter.collect import signing
from cpe_filter.detect import rates
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.signed.document import Recipient

ROUTER = Recipient("cpe-0001", "acme,box-1", "north")
NOW = 1_800_000_000
DAY = 86_400


def header(kind: str = "instruction", **changes: object) -> signing.Header:
    audience = ("router:cpe-0001",) if kind == "instruction" else ("*",)
    made = signing.Header(kind, 7, NOW - 60, NOW + DAY, audience)
    return made._replace(**changes)  # type: ignore[arg-type]


def message(kind: str = "instruction", content: str = "", **changes: object) -> bytes:
    return (signing.header(header(kind, **changes)) + content).encode()


def folder_of(tmp_path: Path, **keys: signing.SecretKey | tuple[signing.SecretKey, ...]) -> str:
    """A folder of keys: by purpose, one or more."""
    root = tmp_path / "keys"
    for purpose, given in keys.items():
        (root / purpose).mkdir(parents=True, exist_ok=True)
        for key in given if isinstance(given, tuple) else (given,):
            path = root / purpose / f"{key.number.hex()}.pub"
            path.write_bytes(key.public)
            path.chmod(0o644)
        (root / purpose).chmod(0o755)
    return str(root)


def key(name: str) -> signing.SecretKey:
    """Always the same for a name, so that parametrized tests have the same names in each process."""
    seed = hashlib.sha256(name.encode()).digest()
    return signing.SecretKey(seed[:8], Ed25519PrivateKey.from_private_bytes(seed))


def table(bound: float) -> str:
    """The content of a document of type table: `helo-rotates` with one bound for mail servers."""
    return f'[table]\nrates = """\n{rates_text(bound)}"""\n'


def rates_text(bound: float) -> str:
    """A table of rates with one row, as `collector calibrate` writes it."""
    own = INDICATORS["helo-rotates"]
    return rates.encode({"helo-rotates": rates.Row(own.bot, (bound, *own.usual[1:]))}).decode()


def replies(*wordings: str) -> str:
    """The content of a document of type replies."""
    return f"[replies]\nwordings = {json.dumps(wordings)}\n"
