"""A source archive -> its files, none of them outside the folder.

Knows tar. Must not know what is in it. `extractall(filter="data")` came with 3.11.4 and 3.10.12; Debian 12 has 3.11.2.
"""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath


class UnpackError(ValueError):
    """A member that a source archive does not have; the text names it."""


def unpack(archive: Path, folder: Path) -> None:
    """Files and folders alone. Raises `UnpackError`, OSError, `tarfile.TarError`; then nothing has been written."""
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        for member in members:
            path = PurePosixPath(member.name)
            if not (member.isreg() or member.isdir()) or path.is_absolute() or ".." in path.parts:
                raise UnpackError(f"{archive.name}: {member.name[:80]!a} is not a file or folder below it")
            # As the filter "data" does: no owner, and nothing that only root may set.
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.uid = member.gid = 0
            member.uname = member.gname = ""
        opened.extractall(folder, members)  # noqa: S202
