"""usign or signify as a second opinion: where one is installed it has to accept a signature, too.

Knows how these programs are called. Must not know which keys are trusted. It has a veto, and not the last word: what a
router accepts must not depend on its packages, and usign accepts signatures that strict verifiers refuse (S above the
order). A program that cannot be run, or is not what its name says, is passed over.
"""

from __future__ import annotations

import os

from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.signed import signify
from cpe_filter.signed.errors import SIGNATURE, SignedError

#: In this order; the first that is there. OpenWrt's, OpenBSD's and Alpine's, Debian's.
PROGRAMS = ("/usr/bin/usign", "/usr/bin/signify-openbsd", "/usr/bin/signify")
#: Where its files are for the moment: memory on a router.
_FOLDER = "/tmp"  # noqa: S108 - a folder of a random name, made for this user alone
#: What both programs end with for a wrong signature.
_REFUSED = 1


class _Files(NamedTuple):
    key: str
    signature: str
    message: str


def agree(key: signify.PublicKey, signed: signify.SignedMessage, programs: tuple[str, ...] = PROGRAMS) -> None:
    """Asks the first program that is installed. Raises `SignedError` if it refuses the signature."""
    found = [path for path in programs if os.access(path, os.X_OK)]
    if not found:
        return
    try:
        code = _ask(found[0], key, signed)
    except OSError:
        return  # no space, no process: our own verifier has accepted it
    if code == _REFUSED:
        raise SignedError(SIGNATURE, f"{found[0]} refuses the signature of key {signed.number.hex()}")


def _ask(path: str, key: signify.PublicKey, signed: signify.SignedMessage) -> int:
    """The program's exit code. Raises OSError."""
    folder = os.path.join(_FOLDER, f"cpe-filter.{os.urandom(8).hex()}")
    os.mkdir(folder, 0o700)
    files = _Files(*(os.path.join(folder, name) for name in _Files._fields))
    try:
        _write(files.key, signify.encoded("key", key.number, key.point))
        _write(files.signature, signify.encoded("signature", signed.number, signed.signature))
        _write(files.message, signed.message)
        words = [path, "-V", "-q", "-p", files.key, "-x", files.signature, "-m", files.message]
        quiet = [(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_RDWR, 0) for n in (0, 1, 2)]
        child = os.posix_spawn(path, words, {}, file_actions=quiet)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for name in files:
            _remove(name)
        os.rmdir(folder)


def _write(path: str, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
