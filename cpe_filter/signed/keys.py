"""The folder of keys: which public keys a router trusts, and for what.

Knows the folder's form. Must not know documents. Each purpose has a folder of its own, `policy/`, `detector/` or
`desk/`, with public keys of signify in it, whatever their names; so several keys are valid while one replaces another.
The file `revoked` next to these names keys that are not trusted any more, whoever else lists them: one number of 16 hex
digits in a line, `#` begins a comment.
"""

from __future__ import annotations

import os
import stat

from cpe_filter.lean import files
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.signed import ed25519, signify
from cpe_filter.signed.errors import KEY, PURPOSE, REVOKED, SignedError

FOLDER = "/etc/cpe-filter/keys"
#: Whole policies; tables and texts of the detector; what relaxes one router.
POLICY, DETECTOR, DESK = "policy", "detector", "desk"
PURPOSES = (POLICY, DETECTOR, DESK)
#: Keys of a purpose, bytes of a file.
MAX_KEYS, MAX_FILE = 16, 4096
_REVOKED = "revoked"


class Keys(NamedTuple):
    """points: by purpose and number of the key."""

    points: dict[tuple[str, bytes], bytes]
    revoked: frozenset[bytes]

    def trusts(self, purpose: str, number: bytes) -> bool:
        """Whether a key with this number may sign for the purpose."""
        return number not in self.revoked and (purpose, number) in self.points

    def find(self, purpose: str, number: bytes) -> bytes:
        """The public key with this number. Raises `SignedError`."""
        return self.of((purpose,), number)[purpose]

    def of(self, purposes: tuple[str, ...], number: bytes) -> dict[str, bytes]:
        """The public keys with this number, by purpose: at least one. Raises `SignedError`."""
        if number in self.revoked:
            raise SignedError(REVOKED, f"key {number.hex()} is revoked")
        points = {one: self.points[one, number] for one in purposes if (one, number) in self.points}
        if points:
            return points
        expected = " or ".join(purposes)
        others = [other for other, found in self.points if found == number]
        if others:
            raise SignedError(PURPOSE, f"key {number.hex()} is for {others[0]}; expected a key for {expected}")
        raise SignedError(KEY, f"key {number.hex()} is not among the keys for {expected}")


def exist(purpose: str, folder: str = FOLDER) -> bool:
    """Whether there may be keys for this purpose: a cheap look."""
    try:
        return bool(os.listdir(os.path.join(folder, purpose)))
    except OSError:
        return False


def load(folder: str = FOLDER) -> Keys:
    """Reads the folder. A purpose without a folder has no keys. Raises `SignedError`: half a list is not a list."""
    points: dict[tuple[str, bytes], bytes] = {}
    _names(folder)  # who can write to it could remove `revoked`
    for purpose in PURPOSES:
        for path in _files(os.path.join(folder, purpose)):
            key = _key(path)
            if points.get((purpose, key.number), key.point) != key.point:
                raise SignedError(KEY, f"{path}: another key of {purpose} has the same number")
            points[purpose, key.number] = key.point
    return Keys(points, _revoked(os.path.join(folder, _REVOKED)))


def _files(folder: str) -> list[str]:
    names = _names(folder)
    if len(names) > MAX_KEYS:
        raise SignedError(KEY, f"{folder}: {len(names)} files; allowed: at most {MAX_KEYS} keys")
    return [os.path.join(folder, name) for name in names]


def _names(folder: str) -> list[str]:
    """What is in a folder that no other user can write to. Raises `SignedError`."""
    try:
        names = sorted(os.listdir(folder))
        status = os.stat(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SignedError(KEY, f"{folder}: {error.strerror}") from None
    if status.st_uid not in (0, os.geteuid()) or stat.S_IMODE(status.st_mode) & 0o022:
        raise SignedError(KEY, f"{folder}: others can write to it")
    return [name for name in names if not name.startswith(".")]


def _key(path: str) -> signify.PublicKey:
    try:
        key = signify.public_key(_read(path))
    except SignedError as error:
        raise SignedError(KEY, f"{path}: {error}") from None
    if not ed25519.is_usable(key.point):
        raise SignedError(KEY, f"{path}: not a point of Ed25519, or one of small order")
    return key


def _revoked(path: str) -> frozenset[bytes]:
    try:
        text = _read(path).decode("ascii", "replace")
    except FileNotFoundError:
        return frozenset()
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        try:
            found.add(bytes.fromhex(word)) if word else None
        except ValueError:
            raise SignedError(KEY, f"{path}: line {number} is not 16 hex digits") from None
    if any(len(one) != signify.NUMBER_BYTES for one in found):
        raise SignedError(KEY, f"{path}: a number does not have 16 hex digits")
    return frozenset(found)


def _read(path: str) -> bytes:
    """Raises `SignedError`, FileNotFoundError."""
    try:
        data = files.read(path, MAX_FILE + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SignedError(KEY, f"{path}: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise SignedError(KEY, f"{path}: too large; allowed: at most {MAX_FILE} bytes")
    return data
