"""How a command ends: exit codes, and the error that becomes one line on stderr."""

from __future__ import annotations

import os
import sys

EXIT_OK, EXIT_UNUSABLE = 0, 2


class UsageError(Exception):
    """Input or surroundings that a command cannot work with; the text says why."""


def silence() -> None:
    """Output that could not be written must not be tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
