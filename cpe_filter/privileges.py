"""How a process that root starts becomes an ordinary user: for good (the responder), or until one last step (`send`).

Knows users and process credentials. Must not know what the process does.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class PrivilegeError(RuntimeError):
    """The process cannot become this user; the text says why."""


class User:
    """The user that a process acts as. uid 0: the process was not started by root, so nothing changes."""

    def __init__(self, uid: int, gid: int) -> None:
        self._uid, self._gid = uid, gid

    def drop(self) -> None:
        """Gives up root for good. Raises `PrivilegeError`."""
        self.give_up(lambda: None)

    def give_up(self, before: Callable[[], Any]) -> Any:
        """Does one thing as root, then gives up root for good. Raises `PrivilegeError`."""
        if not self._uid:
            return before()
        os.seteuid(0)
        try:
            return before()
        finally:
            try:
                os.setresgid(self._gid, self._gid, self._gid)
                os.setresuid(self._uid, self._uid, self._uid)
            except OSError as error:
                raise PrivilegeError(f"root cannot give up its privileges: {error.strerror}") from None


def act_as(name: str, key: str) -> User:
    """Acts as this user, if the process is root.

    key: where the name comes from, for errors. Raises `PrivilegeError`.
    """
    if os.geteuid() != 0:
        return User(0, 0)
    import pwd

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise PrivilegeError(f"{key} is {name}; no such user") from None
    if entry.pw_uid == 0:
        raise PrivilegeError(f"{key} is {name}, another name of root; allowed: an ordinary user")
    try:
        os.setgroups([])
        os.setegid(entry.pw_gid)
        os.seteuid(entry.pw_uid)
    except OSError as error:
        raise PrivilegeError(f"{key} is {name}; root cannot become this user: {error.strerror}") from None
    return User(entry.pw_uid, entry.pw_gid)
