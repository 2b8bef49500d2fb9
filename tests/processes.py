"""What a test leaves behind of this process's descriptors and children.

Knows /proc and waitpid(2). Must not know what is tested.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """No descriptor is left open at the end, and no child process is left that nobody has waited for."""
    before = descriptors()
    yield
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
