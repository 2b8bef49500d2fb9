"""The file of `cpe-filter exempt`: it is read, changed under a lock, and replaced in one step.

Knows the file and its text. Must not know the kernel, the engine or the control socket; exemptions_file parses it, in a
child process.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cpe_filter.lean.files import lock_folder, read, replace
from cpe_filter.lean.forked import CallFailedError, call
from cpe_filter.policy.exemptions import Contents, Kept, destination_text, device_text, toml_time
from cpe_filter.policy.load import from_plain_exemption, plain_exemption
from cpe_filter.policy.model import PolicyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes that are read: one more than a policy may have, so that the parser refuses a longer file.
MAX_FILE_BYTES = (1 << 20) + 1


_OPENING = """\
# Exemptions that `cpe-filter exempt` has added, besides those of the policy. Change them with that command.
"""


class DamagedFileError(PolicyError):
    """The file is not a valid exemptions file. The text names file, place and what is allowed."""


def load(path: str) -> Contents:
    """The file as it is; empty if there is none.

    Raises `DamagedFileError`, and `PolicyError` if it cannot be read.
    """
    raw = _raw(path)
    if raw is None:
        return Contents()
    try:
        return from_plain(call(lambda: _parsed(raw, path), PolicyError))
    except PolicyError as error:
        raise DamagedFileError(str(error)) from None
    except CallFailedError as error:
        raise PolicyError(f"{path}: could not be read: {error}") from None


def plain_load(path: str) -> Any:
    """The same for `from_plain`, only in a child process: the parser stays in memory. Raises `PolicyError`."""
    raw = _raw(path)
    return _plain(Contents()) if raw is None else _parsed(raw, path)


def from_plain(plain: Any) -> Contents:
    """What `plain_load` has found."""
    following, kept = plain
    return Contents(
        following,
        tuple(Kept(number, from_plain_exemption(one), added, by) for number, one, added, by in kept),
    )


def _plain(contents: Contents) -> tuple[Any, ...]:
    """As lean.forked can carry it."""
    kept = [(one.id, plain_exemption(one.exemption), one.added, one.by) for one in contents.kept]
    return contents.next, kept


def _raw(path: str) -> bytes | None:
    try:
        return read(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}") from None


def _parsed(raw: bytes, path: str) -> Any:
    from cpe_filter.policy.exemptions_file import parse

    return _plain(parse(raw, path))


def change(path: str, what: Callable[[Contents], Contents], wait_s: float = 0.0) -> tuple[Contents, Contents]:
    """Reads the file, changes it and replaces it, under a lock. Returns it before and after.

    wait_s: how long to wait for another process that changes it. Raises `PolicyError`; so may `what`: the file stays.
    """
    return _change(path, what, wait_s, load)


def plain_change(path: str, what: Callable[[Contents], Contents]) -> Any:
    """The same, only in a child process, both for `from_plain`."""
    before, after = _change(path, what, 0.0, lambda path: from_plain(plain_load(path)))
    return _plain(before), _plain(after)


def _change(
    path: str, what: Callable[[Contents], Contents], wait_s: float, load: Callable[[str], Contents]
) -> tuple[Contents, Contents]:
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
        lock = lock_folder(folder, wait_s)
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}") from None
    if lock < 0:
        raise PolicyError(f"{path}: another program is changing it; try again")
    try:
        before = load(path)
        after = what(before)
        if after != before:
            replace(path, render(after).encode())
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}; it stays as it was") from None
    finally:
        os.close(lock)
    return before, after


def set_aside(path: str) -> str:
    """Renames a damaged file, for the owner to repair. Returns its new path."""
    try:
        os.replace(path, f"{path}.bad")
    except OSError as error:
        return f"it stays there: {error.strerror}"
    return f"kept as {path}.bad"


def render(contents: Contents) -> str:
    """The file's text."""
    out = [_OPENING, f"next = {contents.next}\n"]
    for one in contents.kept:
        device, destination, until, reason = one.exemption
        out.append(f"\n[[exempt]]\nid = {one.id}\n")
        out.append(f'device = "{device_text(device)}"\ndestination = "{destination_text(destination)}"\n')
        if until is not None:
            out.append(f"until = {toml_time(until)}\n")
        out.append(f"reason = {_toml_text(reason)}\n")
        if one.added is not None:
            out.append(f"added = {toml_time(one.added)}\n")
        out.append(f"by = {_toml_text(one.by)}\n")
    return "".join(out)


def _toml_text(text: str) -> str:
    """A basic string. It is printable, so there is nothing else to escape."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
