"""Permissions of files with keys and secrets: whoever can read one can act as the collector.

Knows permissions. Must not know what a file is for.
"""

from __future__ import annotations

import os
import stat

#: Bits that must not be set. The group may read: a key often belongs to root and the group of the service.
_OTHERS = 0o037


def fault(path: str) -> str | None:
    """What is wrong with the permissions of a file, for people; None if nothing, or if the file does not exist."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return None
    if mode & _OTHERS:
        return f"{path}: others can read or change it (mode {mode:04o}); allowed: 0600 or 0640"
    return None
