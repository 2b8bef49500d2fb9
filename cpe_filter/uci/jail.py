"""The jail of `run`: what is mounted in it, and whether ujail can build it.

Knows procd's ujail: its options, and that procd splits mounts at spaces. Must not know a policy. Where the jail cannot
be built, ujail ends with a reason, and procd would start it again without end; so it is tried before, with a Python
that loads what `run` does: a library that is missing in the jail keeps the filter from starting, too.
"""

from __future__ import annotations

import os
import sys

from cpe_filter.enforce import process
from cpe_filter.inputs import printable
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.uci import places

#: The files that `run` opens, by strace: Python with its library, nft and what both are linked with, /etc/passwd for
#: [report] user. ujail adds what the program is linked with, and leaves out missing files.
_FILES = (places.PROGRAM, "/lib", "/usr/lib", "/usr/sbin/nft", "/etc/passwd", "/etc/localtime")
_MOUNTABLE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")
_TRIAL = "import cpe_filter.live.daemon"
#: Seconds that the trial has. A router's Python takes one or two to load that.
TRIAL_S = 20.0
_LONGEST = 200
#: What main.jail may say.
OFF, ON, REQUIRED = "0", "1", "required"
NOT_INSTALLED = "procd-ujail is not installed"


class Jail(NamedTuple):
    """mounts, writable: paths in the jail; no mounts: there is no jail. reason: why not. left_out: folders that are
    missing in it."""

    mounts: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    reason: str = ""
    left_out: tuple[str, ...] = ()


def plan(written: list[str], read: list[str]) -> Jail:
    """A jail where these folders are. A folder that is only read, and cannot be mounted, is left out."""
    if not os.access(places.at(places.UJAIL), os.X_OK):
        return Jail(reason=NOT_INSTALLED)
    for folder in written:
        if not _mountable(folder):
            return Jail(reason=f"procd cannot mount {folder}")
    left_out = tuple(folder for folder in read if not _mountable(folder))
    mounts = (*_FILES, *(folder for folder in read if folder not in left_out))
    jail = Jail(mounts, tuple(written), "", left_out)
    reason = _tried(jail)
    return Jail(reason=reason) if reason else jail


def _mountable(folder: str) -> bool:
    return folder.strip("/") != "" and _MOUNTABLE.issuperset(folder)


def _tried(jail: Jail) -> str:
    """Why ujail cannot build it, "" if it can. It is asked once for each jail and installation."""
    words = [places.at(places.UJAIL), "-t", "5", "-n", "cpe-filter-try", "-C", places.at(places.CAPABILITIES), "-c"]
    words += ["-p", *(word for path in jail.mounts for word in ("-r", path))]
    words += [*(word for path in jail.writable for word in ("-w", path)), "--", sys.executable, "-c", _TRIAL]
    command = f"{' '.join(words)} {places.read(places.run(places.INSTALLED)).decode('ascii', 'replace')}".strip()
    known, _, reason = places.read(places.run(places.JAIL)).decode("utf-8", "replace").partition("\n")
    if known == command:
        return reason.strip()
    try:
        done = process.run(*words, timeout_s=TRIAL_S)
        reason = "" if done.code == 0 else _reason(done.errors or done.out) or f"ujail ended with {done.code}"
    except TimeoutError:
        reason = f"the filter does not start in it within {TRIAL_S:.0f} s"
    except OSError as error:
        reason = f"ujail: {error.strerror}"
    with open(places.run(places.JAIL), "w", encoding="utf-8") as file:
        file.write(f"{command}\n{reason}\n")
    return reason


def _reason(output: bytes) -> str:
    """The line that says why: the last error of Python's or the loader's, else the first line of ujail's."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() and not line.startswith("jail: ")]
    line = (errors[-1:] or lines[:1] or [""])[0].removeprefix("jail: ")
    return printable(line)[:_LONGEST]
