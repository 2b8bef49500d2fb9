"""A page that replaces an earlier one in one step, at a path that a person has named.

Knows the file system. Must not know what is written. AtomicFile does the writing. A path from the command line or the
policy may be a link, a folder, a pipe or the wrong file: this refuses what a page must not replace.
"""

from __future__ import annotations

import os
import stat
from types import TracebackType

from cpe_filter.lean.atomic_file import AtomicFile


class OutputFileError(Exception):
    """The file was not written and is as it was. The text says why."""


class OutputFile:
    """`with OutputFile(path) as file: ...; file.text = ...`. Reports at once that the place cannot be written to.

    begins: how a file that exists must begin, unless it is empty; any other is left alone. durable: see AtomicFile.
    """

    def __init__(self, path: str, begins: bytes = b"", durable: bool = True) -> None:
        self._begins = begins
        self._path = os.path.realpath(path)  # a link stays one
        self._durable = durable
        self.text = ""

    def __enter__(self) -> OutputFile:
        folder, name = os.path.dirname(self._path), f".cpe-filter-{os.urandom(6).hex()}.new"
        try:
            if os.path.lexists(self._path):
                self._check()
            self._file = AtomicFile(self._path, 0o666, os.path.join(folder, name), masked=True)
        except OSError as error:
            raise OutputFileError(_reason(error)) from None
        return self

    def _check(self) -> None:
        """Raises `OutputFileError`, OSError."""
        if not stat.S_ISREG(os.stat(self._path).st_mode):  # a rename would replace a folder or device
            raise OutputFileError("Is a directory" if os.path.isdir(self._path) else "Not a regular file")
        with open(self._path, "rb") as file:
            start = file.read(len(self._begins))
        if start and start != self._begins:
            raise OutputFileError("Exists and is not a page, left as it is")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.abandon()
            return
        try:
            self._file.write(self.text.encode())
            self._file.finish(self._durable)
        except OSError as error:
            raise OutputFileError(_reason(error)) from None


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
