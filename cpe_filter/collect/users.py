"""Users of the fleet page: a name, a role and a password hash in one line, `name:role:hash`.

Knows the line and how to ask for one on a terminal. Must not know HTTP.
"""

from __future__ import annotations

import getpass
import re
import sys
from typing import Literal, NamedTuple, get_args

from cpe_filter.collect import password

#: viewer reads; desk also acts; admin also reads the audit log.
Role = Literal["viewer", "desk", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
VIEWER, DESK, ADMIN = ROLES
#: The name of a user: in the configuration, from a proxy, and from an identity provider. The history of a case has
#: `mail`, `webhook` and `collector` for what the collector does itself: no user is called so.
NAME = re.compile(r"(?!(?:mail|webhook|collector)$)[0-9A-Za-z][0-9A-Za-z._@+-]{0,63}")


class UserError(ValueError):
    """A name, role or password that is not allowed; one line that says why."""


class User(NamedTuple):
    """One line of `[page] users`."""

    name: str
    role: Role
    hash: str


def parse(text: str) -> User | None:
    """Reads a line; None if it is malformed."""
    name, _, rest = text.partition(":")
    role, _, hashed = rest.partition(":")
    if not NAME.fullmatch(name) or not password.is_hash(hashed):
        return None
    return next((User(name, known, hashed) for known in ROLES if known == role), None)


def ask() -> str:
    """Asks for a name, a role and a password on the terminal, or reads them as three lines from stdin.

    Returns the line for `[page] users`. Raises `UserError`.
    """
    if sys.stdin.isatty():
        name = _prompt("Name: ")
        role = _prompt(f"Role, {', '.join(ROLES)} [{DESK}]: ") or DESK
        given = getpass.getpass(f"Password, at least {password.MIN_LENGTH} characters: ")
        if getpass.getpass("Again: ") != given:
            raise UserError("the passwords differ")
    else:
        lines = sys.stdin.read(4096).split("\n")
        if len(lines) < 3:
            raise UserError("expected three lines on stdin: name, role, password")
        name, role, given = (line.rstrip("\r") for line in lines[:3])
    if not NAME.fullmatch(name):
        raise UserError(
            "a name has 1 to 64 letters, digits and . _ @ + -, begins with a letter or digit, and is not mail, webhook "
            "or collector"
        )
    if role not in ROLES:
        raise UserError(f"a role is one of {', '.join(ROLES)}")
    try:
        return f"{name}:{role}:{password.hashed(given)}"
    except password.PasswordError as error:
        raise UserError(str(error)) from None


def _prompt(text: str) -> str:
    sys.stderr.write(text)
    sys.stderr.flush()
    return sys.stdin.readline().strip()
