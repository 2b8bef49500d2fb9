"""The router's key and certificate on flash: one file, so that a power cut cannot part them.

    [report] certificate        the key and the certificate with its chain, PEM, mode 0600
    [report] key                a symbolic link to it, or the same path
    [report] certificate.next   a new key that has no certificate yet: whoever asks again, asks for the same one

Each is replaced in one step and synced. Where the two were separate files, made by hand, the steps are: the old pair
into one file, the link in place of the old key, the new pair. After each of them there is a pair that belongs together.
Knows files and this order. Must not know keys or EST.
"""

from __future__ import annotations

import errno
import os

from cpe_filter.lean import files
from cpe_filter.report.certificate import MOST_BYTES, Certificate, CertificateError, parse

_KEY = b"PRIVATE KEY-----"


class Pair:
    """certificate, key: paths, as in [report]. Everything raises OSError."""

    def __init__(self, certificate: str, key: str) -> None:
        self.certificate, self.key = certificate, key
        self._next = f"{certificate}.next"

    def held(self) -> Certificate | None:
        """The certificate that is there; None without a pair."""
        try:
            with open(self.certificate, "rb") as file:
                found = parse(file.read(MOST_BYTES))
        except (FileNotFoundError, CertificateError):
            return None
        try:
            with open(self.key, "rb") as file:
                return found if _KEY in file.read(MOST_BYTES) else None
        except FileNotFoundError:
            return None

    def pending(self) -> bytes | None:
        """The new key that has no certificate yet, PEM."""
        try:
            found = files.read(self._next, MOST_BYTES)
        except FileNotFoundError:
            return None
        return found if _KEY in found else None

    def begin(self, key: bytes) -> None:
        """Keeps a new key until it has its certificate."""
        files.replace(self._next, key)

    def finish(self, chain: bytes) -> None:
        """The new key and its certificate are the router's. chain: PEM."""
        key = self.pending()
        if key is None:
            raise OSError(errno.ENOENT, "the new key is gone", self._next)
        if os.path.realpath(self.key) != os.path.realpath(self.certificate):
            if self.held() is not None:
                with open(self.certificate, "rb") as file:
                    certificate = file.read(MOST_BYTES)
                files.replace(self.certificate, files.read(self.key, MOST_BYTES) + b"\n" + certificate)
            self._link()  # before the first pair it leads to nothing, or to half of one, which does not count
        files.replace(self.certificate, key + chain)
        os.unlink(self._next)

    def _link(self) -> None:
        files.make_folder(self.key)
        temporary = f"{self.key}.new"
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        os.symlink(self.certificate, temporary)
        os.replace(temporary, self.key)
        handle = os.open(os.path.dirname(self.key), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
