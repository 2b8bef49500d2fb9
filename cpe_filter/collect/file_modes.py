"""Files that hold keys and secrets: whoever else can read them speaks for the collector. Knows permissions."""

from __future__ import annotations

import os
import stat

#: Others may do nothing, the group may read: a key is often root's, and read by the service's group.
_OTHERS = 0o037


def fault(path: str) -> str:
    """What is wrong with a file's permissions, for people; "" if nothing, or if there is no such file."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return ""
    if mode & _OTHERS:
        return f"{path}: others can read or change it (mode {mode:04o}); allowed: 0600 or 0640"
    return ""
