"""How a command ends: exit codes, and errors as lines on stderr.

Must not know what a command does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cpe_filter.lean.log_output import one_line

EXIT_OK, EXIT_UNUSABLE = 0, 2
#: The answer holds for a part of the input only.
EXIT_INCOMPLETE = 3
#: Problems of a file that are shown.
_MOST = 50
#: Ctrl-C: 128 and the number of SIGINT, as shells have it.
EXIT_INTERRUPTED = 130


class UsageError(Exception):
    """Input or surroundings that a command cannot work with; the text says why."""


def complain(text: object) -> None:
    """One line on stderr for whoever has run the command, without anything that a terminal would obey."""
    print(f"cpe-filter: {one_line(str(text))}", file=sys.stderr)


def complain_all(texts: Sequence[str]) -> None:
    """A line for each of these, and how many there are if that is not seen at once."""
    for text in texts[:_MOST]:
        complain(text)
    if len(texts) > _MOST:
        complain(f"{len(texts) - _MOST} more problems")


def silence() -> None:
    """Output that could not be written must not be tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
