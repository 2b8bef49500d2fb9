"""The program's entry point: exit codes, where output goes, and the way to the commands.

Exit codes: 0 done; 1 the filter is not running (status, reload, release), nothing was delivered (send); 2 unusable
input or surroundings, one line on stderr saying what, where, and what is allowed; 3 a part of the input could not be
looked into (replay); 130 Ctrl-C.

`run` stays in a router's memory, so it does not use argparse, which takes 1.4 MB. All other commands, and `run` with
anything unusual, are in `commands`.

Knows `run` and that there are other commands. Must not know their arguments (parser) or work (commands).
"""

from __future__ import annotations

import io
import os
import sys

from cpe_filter.lean.log import err, log, output
from cpe_filter.outcome import EXIT_INTERRUPTED, EXIT_OK, EXIT_UNUSABLE, UsageError, silence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: Commands that a supervisor starts.
_SERVICES = (["run"], ["explain"], ["send"])


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point of `cpe-filter`. Never returns; never shows a traceback for bad input."""
    _open_streams()
    if arguments is None:
        arguments = sys.argv[1:]
    # Services log; all other commands answer whoever has started them, unless that is a service's script.
    if (arguments[:1] not in _SERVICES or "--once" in arguments) and os.environ.get("CPE_FILTER_LOG") != "syslog":
        output.use_stderr()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names from the wire in a terminal that knows ASCII only
    try:
        try:
            code = _run(arguments)
        finally:
            sys.stdout.flush()
    except UsageError as error:
        log(err(str(error)))
        code = EXIT_UNUSABLE
    except BrokenPipeError:
        # The reader of our output has gone (`| head`), so there is nothing to report.
        silence()
        code = EXIT_OK
    except OSError as error:
        silence()
        log(err(_with_file(error)))
        code = EXIT_UNUSABLE
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    output.finish()
    sys.exit(code)


def _with_file(error: OSError) -> str:
    """An error and its file: where there are two, a file and what it was to replace, the second."""
    from cpe_filter.inputs import printable

    path = error.filename2 or error.filename
    text = error.strerror or str(error)
    return f"{printable(os.fsdecode(path))}: {text}" if isinstance(path, (str, bytes)) else text


def _open_streams() -> None:
    """Opens standard streams that were closed at the start; otherwise the next files would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
            os.set_inheritable(number, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _run(arguments: list[str]) -> int:
    # As in argparse: an argument that begins with a dash is not a file name.
    if len(arguments) == 3 and arguments[:2] == ["run", "--policy"] and not arguments[2].startswith("-"):
        from cpe_filter.cli.run import run_filter

        return run_filter(arguments[2])
    from cpe_filter.cli import commands

    return commands.run(arguments)
