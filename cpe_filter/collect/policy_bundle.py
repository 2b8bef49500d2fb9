"""Makes a signed policy for routers: checks it, says what changes on which routers, signs it.

Knows policies, documents and secret keys. Must not know the store, the page, or how a router applies it. What a router
would refuse is refused here.
"""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

from cpe_filter import __version__, toml_file
from cpe_filter.collect import signing
from cpe_filter.policy import file as policy_file
from cpe_filter.policy.model import PolicyError
from cpe_filter.provision import overlay
from cpe_filter.signed import document as documents
from cpe_filter.signed import signify
from cpe_filter.signed.document import POLICY_BUNDLE, Document
from cpe_filter.signed.errors import SignedError

_NOTHING: dict[str, Any] = {}
#: Bytes of the policy, as a document takes it.
_MAX = documents.MAX_BYTES[POLICY_BUNDLE]


class BundleError(Exception):
    """A policy that is not signed. One line."""


class Asked(NamedTuple):
    """As on the command line. expires_days: from now on. last: the document that routers have now, "" for none."""

    policy: str
    key: str
    sequence: int
    expires_days: int
    audience: tuple[str, ...] = ("*",)
    permille: int = 1000
    salt: str = ""
    min_agent: str = ""
    last: str = ""


def sign(asked: Asked, now: float | None = None) -> tuple[bytes, list[str]]:
    """The document, and lines about what changes. Raises `BundleError`."""
    issued = int(time.time() if now is None else now)
    content = _content(asked.policy)
    last = _last(asked.last) if asked.last else None
    if last is not None and asked.sequence <= last.sequence:
        raise BundleError(f"--sequence is {asked.sequence}; expected more than the last document's, {last.sequence}")
    header = signing.Header(
        POLICY_BUNDLE,
        asked.sequence,
        issued,
        issued + asked.expires_days * 86400,
        asked.audience,
        asked.permille,
        asked.salt,
        asked.min_agent,
    )
    with open(asked.policy, "rb") as file:
        message = signing.header(header).encode() + b"\n" + file.read(_MAX)
    try:
        made = documents.parse(message, asked.min_agent or __version__)
    except SignedError as error:
        raise BundleError(str(error)) from None
    try:
        document = signing.load(asked.key).sign(message)
    except signing.KeyFileError as error:
        raise BundleError(f"{asked.key}: {error}") from None
    return document, [_whom(made), *changes(last.content if last is not None else _NOTHING, content)]


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A line for each key that is set, changed, or left to the router again."""
    lines = []
    for table, name in sorted(_names(before) | _names(after)):
        old, new = (_value(one, table, name) for one in (before, after))
        if old != new:
            lines.append(f"  [{table}] {name}: {_shown(old)} -> {_shown(new)}")
    if before.get("exempt") != after.get("exempt"):
        lines.append(f"  [[exempt]]: {len(before.get('exempt', []))} -> {len(after.get('exempt', []))} entries")
    return lines or ["  nothing changes"]


def _content(path: str) -> dict[str, Any]:
    """The policy's tables, each of which a document may set. Raises `BundleError`."""
    problems: list[str] = []
    try:
        if os.path.getsize(path) > _MAX:
            raise BundleError(f"{path}: too large; allowed: at most {_MAX} bytes")
        content = toml_file.load(path, PolicyError)
        overlay.merged({}, content)
        policy_file.build(content, path, problems)
    except (PolicyError, overlay.OverlayError) as error:
        raise BundleError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from None
    if problems:
        raise BundleError("; ".join(problems[:5]))
    return content


def _last(path: str) -> Document:
    try:
        with open(path, "rb") as file:
            return documents.parse(signify.signed_message(file.read(2 * _MAX)).message, __version__)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from None
    except SignedError as error:
        raise BundleError(f"{path}: {error}") from None


def _whom(made: Document) -> str:
    part = "" if made.rollout_permille == documents.ALL else f", {made.rollout_permille} of 1000 of these"
    return f"policy {made.sequence} for {', '.join(made.audience)}{part}, until {_date(made.expires)}:"


def _names(content: dict[str, Any]) -> set[tuple[str, str]]:
    return {(table, name) for table, values in content.items() if isinstance(values, dict) for name in values}


def _value(content: dict[str, Any], table: str, name: str) -> Any:
    """None if the document leaves it to the router."""
    values = content.get(table)
    return values.get(name) if isinstance(values, dict) else None


def _shown(value: Any) -> str:
    return "(the router's)" if value is None else repr(value)


def _date(posix: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(posix))
