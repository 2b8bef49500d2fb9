"""Makes signed documents for routers: checks a policy, writes the header, signs, or takes a signature made elsewhere.

Knows policies, documents and keys. Must not know the store, the page, where documents are published, or how a router
applies them. What a router would refuse is refused here.

    make      the message that is signed: header and policy
    sign      the same, signed with a key of this machine
    sealed    a message with a signature: of a key here, or of one that never leaves another machine (`joined`)
    again     the content of a document under a new header: the next step of a rollout, or a halt
    checked   a document as a router would take it: signature, key, dates, content
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from cpe_filter import __version__
from cpe_filter.collect import document_content, signing
from cpe_filter.collect.document_content import EMPTY, ContentError
from cpe_filter.signed import document as documents
from cpe_filter.signed import keys, signify, verify
from cpe_filter.signed.document import POLICY_BUNDLE, Document
from cpe_filter.signed.errors import EARLY, EXPIRED, SignedError
from cpe_filter.uci.tables import toml

DAY = 86_400
#: Bytes of a file with a document, of any type.
MAX_FILE = max(documents.MAX_BYTES.values()) + 2 * signify.MAX_COMMENT


class BundleError(Exception):
    """A document that is not made, signed or taken. One line."""


class Asked(NamedTuple):
    """As on the command line. policy: a file with the content of its type (document_content). expires_days: from now
    on. last: the document that routers have now, "" for none."""

    policy: str
    key: str
    sequence: int
    expires_days: int
    audience: tuple[str, ...] = ("*",)
    permille: int = 1000
    salt: str = ""
    min_agent: str = ""
    last: str = ""
    type: str = POLICY_BUNDLE


def sign(asked: Asked, now: float | None = None) -> tuple[bytes, list[str]]:
    """The document, and lines about what changes. Raises `BundleError`."""
    message, lines = make(asked, now)
    return sealed(message, asked.key), lines


def make(asked: Asked, now: float | None = None) -> tuple[bytes, list[str]]:
    """The message to sign, and lines about what changes; `asked.key` is not read. Raises `BundleError`."""
    issued = int(time.time() if now is None else now)
    data, content = _content(asked)
    last = read(asked.last) if asked.last else None
    if last is not None and last.type != asked.type:
        raise BundleError(f"{asked.last} is of type {last.type}; expected {asked.type}, as --type says")
    if last is not None and asked.sequence <= last.sequence:
        raise BundleError(f"--sequence is {asked.sequence}; expected more than the last document's, {last.sequence}")
    header = signing.Header(
        asked.type,
        asked.sequence,
        issued,
        after(issued, asked.expires_days),
        asked.audience,
        asked.permille,
        asked.salt,
        asked.min_agent,
    )
    if asked.min_agent and documents.is_later(asked.min_agent, __version__):
        raise BundleError(f"--min-agent is {asked.min_agent[:40]!a}; allowed: a version up to this one, {__version__}")
    text = document_content.text_of(asked.type, data)
    message = _written(signing.header(header).encode() + b"\n", text, content)
    before = last.content if last is not None else {}
    return message, [headline(parsed(message)), *document_content.changes(asked.type, before, content)]


def after(issued: int, days: int) -> int:
    """So many days after a time, POSIX seconds. Raises `BundleError`."""
    most = (documents.MAX_TIME - issued) // DAY
    if not 0 < days <= most:
        raise BundleError(f"--expires is {days}; allowed: 1 to {most} days")
    return issued + days * DAY


def _written(head: bytes, text: bytes, content: dict[str, Any]) -> bytes:
    """A header, and behind it a policy as it was written; from its tables where it begins with a key, which would be
    one of the header then."""
    try:
        good = parsed(head + text).content == content
    except BundleError:
        good = False
    return head + (text if good else toml(content).encode())


def parsed(message: bytes, agent: str = "") -> Document:
    """A message as a document. agent: the version for which it may be; this one. Raises `BundleError`."""
    try:
        return documents.parse(message, agent or __version__)
    except SignedError as error:
        raise BundleError(str(error)) from None


def sealed(message: bytes, key: str) -> bytes:
    """The message behind a signature of the secret key in a file. Raises `BundleError`."""
    try:
        return signing.load(key).sign(message)
    except signing.KeyFileError as error:
        raise BundleError(f"{key}: {str(error).removeprefix(f'{key}: ')}") from None


def joined(message: bytes, signature: bytes) -> bytes:
    """The message behind a signature that signify or usign has written on another machine. Raises `BundleError`.

    Its key is not looked at here: `checked` does that.
    """
    try:
        found = signify.signed_message(signature)
    except SignedError as error:
        raise BundleError(str(error)) from None
    if found.message:
        raise BundleError("there is more behind the signature; expected a detached one: signify -S, without -e")
    # The comment names the key only, whatever the other program has written there.
    return signify.encoded(f"signed by key {found.number.hex()}", found.number, found.signature) + message


def again(of: Document | None, header: signing.Header) -> bytes:
    """The content of a document, None for nothing, under a new header. Raises `BundleError`."""
    head = signing.header(header).encode() + b"\n"
    content: dict[str, Any] = of.content if of is not None else EMPTY[header.type]
    for text in (_text_of(of) if of is not None else b"", toml(content).encode()):
        made = parsed(head + text, header.min_agent)
        if made.content == content:
            return head + text
    raise BundleError("the document's content cannot be written again")


def _text_of(document: Document) -> bytes:
    """What is behind the header as it was written, with its comments, where the header comes first."""
    lines = document.message.split(b"\n")
    begins = [at for at, line in enumerate(lines) if at and line.startswith(b"[")]
    return b"\n".join(lines[begins[0] :]) if lines[0].strip() == b"[document]" and begins else b""


def checked(data: bytes, folder: str, now: float, agent: str = __version__) -> Document:
    """A document that routers would take: signed by a key of the folder, in time, with a content that they accept.

    Raises `BundleError`.
    """
    made = authentic(data, folder, agent)
    if made.issued > now + verify.SLACK_S:
        raise BundleError(f"it was issued at {date(made.issued)}, later than now ({EARLY})")
    if made.expires <= now:
        raise BundleError(f"it expired at {date(made.expires)} ({EXPIRED})")
    check_content(made, made.type)
    return made


def authentic(data: bytes, folder: str, agent: str = __version__) -> Document:
    """A document that is signed by a key of the folder, whatever its dates. Raises `BundleError`."""
    try:
        # The type is signed, too; which keys count for it, `authenticated` looks up.
        kind = documents.parse(signify.signed_message(data).message, agent).type
        return verify.authenticated(data, keys.load(folder), kind, agent)
    except SignedError as error:
        raise BundleError(f"{error} ({error.code})") from None


def check_content(made: Document, name: str) -> None:
    """Raises `BundleError` for what `cpe-filter check` or a router refuses. An instruction has another way."""
    if made.type not in document_content.TYPES:
        return
    try:
        document_content.check(made.type, made.content, name)
    except ContentError as error:
        raise BundleError(f"{name}: {error}") from None


def read(path: str) -> Document:
    """A document whose signature is not looked at. Raises `BundleError`."""
    try:
        return documents.parse(signify.signed_message(contents(path)).message, __version__)
    except SignedError as error:
        raise BundleError(f"{path}: {error}") from None


def contents(path: str) -> bytes:
    """A file of at most the size of a document. Raises `BundleError`."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise BundleError(f"{path}: too large; allowed: at most {MAX_FILE} bytes")
    return data


def headline(made: Document) -> str:
    """Which document, and for which routers, until when: a line."""
    part = "" if made.rollout_permille == documents.ALL else f", {made.rollout_permille} of 1000 of these"
    return f"{made.type} {made.sequence} for {', '.join(made.audience)}{part}, until {date(made.expires)}:"


def date(posix: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(posix))


def _content(asked: Asked) -> tuple[bytes, dict[str, Any]]:
    """The file, and what it says, which a document of its type may say. Raises `BundleError`."""
    path, most = asked.policy, documents.MAX_BYTES[asked.type]
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise BundleError(f"{path}: too large; allowed: at most {most} bytes")
        return data, document_content.parsed(asked.type, data, path)
    except ContentError as error:
        raise BundleError(f"{path}: {error}") from None
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from None
