"""A file that appears complete or not at all: a temporary file next to it, renamed at the end.

Knows the file system. Must not know what is written.
"""

from __future__ import annotations

import os
import stat
from types import TracebackType


class CannotWrite(Exception):
    """The text says why. The file is unchanged."""


class Whole:
    """`with Whole(path) as file: ...; file.text = ...`. Says at once when the place cannot be written to.

    begins: what an existing file must begin with, unless it is empty. Another file is not overwritten.
    """

    def __init__(self, path: str, begins: bytes = b"") -> None:
        self.begins = begins
        self.path = os.path.realpath(path)  # a link stays one
        self.text = ""
        self._temporary = os.path.join(os.path.dirname(self.path), f".cpe-filter-{os.urandom(6).hex()}.new")
        self._handle = -1

    def __enter__(self) -> Whole:
        try:
            if os.path.lexists(self.path) and not stat.S_ISREG(os.stat(self.path).st_mode):
                # A rename would put a file in the place of a folder or device.
                raise CannotWrite("Is a directory" if os.path.isdir(self.path) else "Not a regular file")
            if os.path.lexists(self.path) and self._is_foreign():
                raise CannotWrite("Exists and is no page, left as it is")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._handle = os.open(self._temporary, flags, 0o666)
        except OSError as error:
            raise CannotWrite(_why(error)) from None
        return self

    def _is_foreign(self) -> bool:
        with open(self.path, "rb") as file:
            start = file.read(len(self.begins))
        return bool(start) and start != self.begins

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with os.fdopen(self._handle, "wb") as file:
                if kind is None:
                    file.write(self.text.encode())
                    file.flush()
                    os.fsync(file.fileno())
            if kind is None:
                os.replace(self._temporary, self.path)
        except OSError as error:
            raise CannotWrite(_why(error)) from None
        finally:
            try:
                os.unlink(self._temporary)
            except OSError:
                pass  # it has its name by now


def _why(error: OSError) -> str:
    return error.strerror or str(error)
