"""The folder of published documents: static files, as a web server or a CDN delivers them to routers.

    CHANNEL.signed             the document that routers of this channel get now
    CHANNEL.signed.etag        its ETag, for servers that take it from a file: the digest of its bytes
    archive/CHANNEL/41.signed  each document that was published, by its sequence
    index.json                 all channels with their documents; for people, the collector's page and other programs

A channel is a name in a URL: of one type and, as a rule, one audience. Knows files, digests and this order. Must not
know what is in a policy, or who signs. The archive is written first, the index next, what routers get last: after a
power cut the index is never behind what routers have, and publishing the same document again completes it.

A file's time of modification is the document's `issued`: servers that make an ETag from time and size (nginx, Apache,
Caddy) then give the same one on each machine, and another one for each document.
"""

from __future__ import annotations

import calendar
import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cpe_filter import __version__
from cpe_filter.collect.document_content import EMPTY
from cpe_filter.lean.atomic_file import AtomicFile
from cpe_filter.signed import document as documents
from cpe_filter.signed import signify
from cpe_filter.signed.document import ALL, Document
from cpe_filter.signed.errors import SignedError

INDEX, ARCHIVE, SUFFIX = "index.json", "archive", ".signed"
FORMAT = 1
#: Bytes of the index; channels; documents of a channel that the index lists, the latest. The archive keeps all.
MAX_INDEX, MAX_CHANNELS, MAX_LISTED = 8 << 20, 256, 200
MAX_FILE = 1 << 19
#: Digits of a sequence here. Routers take larger numbers, but behind the largest there is none for a halt.
_DIGITS = 15
CHANNEL = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_HEX = re.compile(r"[0-9a-f]{16}")
#: A name of an audience, with its kind: printable ASCII, as in a document's header.
_NAME = re.compile(rf"\*|[a-z]+:[ -~]{{0,{documents.MAX_NAME}}}")
#: States of a document: what routers get now, first to a part of them; one that another took the place of; one that
#: was taken back by a halt.
STAGED, CURRENT, REPLACED, HALTED = STATES = ("staged", "current", "replaced", "halted")


class PublishedError(Exception):
    """A folder, or a document for it, that cannot be used. One line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One document of a channel. issued, expires, published: POSIX seconds. content: names what is behind the header,
    the same for all steps of a rollout. halts: the sequence that this one took back, None for none."""

    sequence: int
    digest: str
    key: str
    issued: int
    expires: int
    audience: tuple[str, ...]
    permille: int
    salt: str
    content: str
    state: str
    published: int
    halts: int | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """entries: in the order of their sequences; the last one is what routers get."""

    name: str
    type: str
    entries: tuple[Entry, ...] = ()

    @property
    def current(self) -> Entry | None:
        return self.entries[-1] if self.entries else None


@dataclass(frozen=True, slots=True)
class Index:
    """What index.json says."""

    channels: dict[str, Channel] = field(default_factory=dict)


def next_sequence(folder: str, index: Index, kind: str) -> int:
    """Later than all documents of this type in all channels: a router that changes its channel must not find an older
    number. What was archived and never published, after a power cut, counts, too."""
    archive = os.path.join(folder, ARCHIVE)
    others = {name for name, one in index.channels.items() if one.type != kind}
    last = [one.current.sequence for one in index.channels.values() if one.type == kind and one.current is not None]
    for name in (*index.channels, *(_names(archive) - set(index.channels))):
        if name not in others:
            last += _numbers(os.path.join(archive, name))
    return max(last, default=0) + 1


def _names(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _numbers(folder: str) -> list[int]:
    stems = [name.removesuffix(SUFFIX) for name in _names(folder) if name.endswith(SUFFIX)]
    return [int(stem) for stem in stems if stem.isdecimal() and len(stem) <= _DIGITS]


def content_digest(document: Document) -> str:
    """16 hex digits that name what is behind the header."""
    return _content_digest(document.content)


def _content_digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read(folder: str) -> Index:
    """The index; an empty one if nothing was published here. Raises `PublishedError`."""
    path = os.path.join(folder, INDEX)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_INDEX + 1)
    except FileNotFoundError as error:
        if not os.path.isdir(folder):
            raise PublishedError(f"{folder}: {error.strerror}") from None
        found = sorted(name for name in _names(folder) if name.endswith(SUFFIX))
        if found:
            raise PublishedError(
                f"{path} is missing, and {found[0]} is there: copy the index from where the folder was copied to, or"
                " begin an empty folder with a larger --sequence"
            ) from None
        return Index()
    except OSError as error:
        raise PublishedError(f"{path}: {error.strerror}") from None
    try:
        if len(data) > MAX_INDEX:
            raise ValueError("too large")
        return _parsed(json.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PublishedError(f"{path}: not an index of published documents ({type(error).__name__})") from None


def _parsed(data: Any) -> Index:
    if data["format"] != FORMAT or len(data["channels"]) > MAX_CHANNELS:
        raise ValueError("format")
    channels = {}
    for name, one in data["channels"].items():
        if not CHANNEL.fullmatch(name) or one["type"] not in EMPTY or len(one["documents"]) > MAX_LISTED:
            raise ValueError("channel")
        entries = sorted(map(_entry, one["documents"]), key=lambda entry: entry.sequence)
        channels[name] = Channel(name, one["type"], tuple(entries))
    return Index(channels)


def _entry(raw: Any) -> Entry:
    """The page, the API and the store get what is here: so nothing else than `added` could have written."""
    values = {**raw, "audience": tuple(raw["audience"])}
    for key in ("issued", "expires", "published"):
        values[key] = _posix(values[key])
    entry = Entry(**values)
    numbers = [(entry.sequence, 10**_DIGITS), (entry.permille, ALL)]
    if entry.halts is not None:
        numbers.append((entry.halts, 10**_DIGITS))
    good = (
        entry.state in STATES
        and all(type(number) is int and 0 <= number <= most for number, most in numbers)
        and all(_HEX.fullmatch(text) for text in (entry.digest, entry.key, entry.content))
        and 0 < len(entry.audience) <= documents.MAX_AUDIENCE
        and all(_NAME.fullmatch(text) for text in (*entry.audience, "salt:" + entry.salt))
    )
    if not good:
        raise ValueError("entry")
    return entry


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """One publisher at a time. Raises `PublishedError`."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise PublishedError(f"{folder}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise PublishedError(f"{folder}: another process is publishing there") from None
    finally:
        os.close(descriptor)


def archived(folder: str, channel: str, sequence: int) -> Document:
    """A document of the archive, for people: its signature is not looked at. Raises `PublishedError`."""
    path = _archive(folder, channel, sequence)
    return _document(archived_bytes(folder, channel, sequence), path)


def archived_bytes(folder: str, channel: str, sequence: int) -> bytes:
    """The file. Raises `PublishedError`."""
    path = _archive(folder, channel, sequence)
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE)
    except OSError as error:
        raise PublishedError(f"{path}: {error.strerror}") from None


def current(folder: str, channel: str, entry: Entry) -> Document:
    """The last document of a channel, for people: its signature is not looked at. Raises `PublishedError`."""
    return _document(current_bytes(folder, channel, entry), _archive(folder, channel, entry.sequence))


def current_bytes(folder: str, channel: str, entry: Entry) -> bytes:
    """The last document of a channel, from the routers' file where the archive was not copied. Raises
    `PublishedError`."""
    try:
        data = archived_bytes(folder, channel, entry.sequence)
        _document(data, _archive(folder, channel, entry.sequence))
        return data
    except PublishedError:
        served = _served(folder, channel)
        try:
            if _document(served, channel).digest == entry.digest:
                return served
        except PublishedError:
            pass
        raise


def _document(data: bytes, path: str) -> Document:
    try:
        signed = signify.signed_message(data)
        return documents.parse(signed.message, __version__)._replace(key=signed.number)
    except SignedError as error:
        raise PublishedError(f"{path}: {error}") from None


def complete(folder: str, index: Index, channel: str, made: Document) -> bool:
    """Writes the last document where publishing it was cut short behind the index; whether it was. The caller holds
    `locked`. Raises `PublishedError`."""
    if read(folder) != index:
        return False
    try:
        with open(_archive(folder, channel, made.sequence), "rb") as file:
            data = file.read(MAX_FILE)
    except OSError:
        return False  # then `current` has found it in the routers' file
    if _served(folder, channel) == data:
        return False
    put(folder, channel, data, made, index)
    return True


def _served(folder: str, channel: str) -> bytes:
    """The file that routers get; nothing if there is none."""
    try:
        with open(os.path.join(folder, channel + SUFFIX), "rb") as file:
            return file.read(MAX_FILE)
    except OSError:
        return b""


def added(index: Index, channel: str, made: Document, now: int) -> Index:
    """The index with one more document. Pure. Raises `PublishedError` where it would go backward."""
    if not CHANNEL.fullmatch(channel):
        raise PublishedError(f"--channel {channel!a}: allowed: 1 to 64 letters, digits, and . _ -")
    if made.type not in EMPTY:
        raise PublishedError(f"the document is of type {made.type}, for one router; allowed: {', '.join(EMPTY)}")
    there = index.channels.get(channel, Channel(channel, made.type))
    if there.type != made.type:
        raise PublishedError(f"channel {channel} has documents of type {there.type}; this one is of type {made.type}")
    if channel not in index.channels and len(index.channels) >= MAX_CHANNELS:
        raise PublishedError(f"the folder has {MAX_CHANNELS} channels; allowed: no more")
    if made.sequence >= 10**_DIGITS:
        raise PublishedError(f"its sequence is {made.sequence}; allowed: at most {_DIGITS} digits, to leave later ones")
    current = there.current
    if current is not None and made.sequence <= current.sequence:
        raise PublishedError(
            f"channel {channel} has sequence {current.sequence}, the document {made.sequence}: it would go backward,"
            " and routers would refuse it"
        )
    content = content_digest(made)
    if current is not None and current.content == content:
        _check_step(channel, current, made)
    halts = _taken_back(there, content)
    entry = Entry(
        made.sequence, made.digest, made.key.hex(), made.issued, made.expires, made.audience, made.rollout_permille,
        made.salt, content, CURRENT if made.rollout_permille == ALL else STAGED, now, halts,
    )  # fmt: skip
    before = []
    for one in there.entries:
        state = one.state
        if halts is not None and current is not None and one.content == current.content:
            state = HALTED  # with the earlier steps of its rollout
        elif state in (STAGED, CURRENT):
            state = REPLACED
        before.append(replace(one, state=state))
    new = Channel(channel, made.type, (*before, entry)[-MAX_LISTED:])
    return Index({**index.channels, channel: new})


def _check_step(channel: str, current: Entry, made: Document) -> None:
    """The next step of a rollout. Raises `PublishedError`."""
    if made.rollout_permille < current.permille:
        raise PublishedError(
            f"channel {channel}: {current.permille} of 1000 routers have this content, {made.rollout_permille} would"
            " be fewer: it is not taken from a router by this; `policy halt` does that"
        )
    if made.rollout_permille < ALL and made.salt != current.salt:
        raise PublishedError(
            f"channel {channel}: this content is staged with salt {current.salt!a}; another salt would choose other"
            " routers"
        )


def _taken_back(there: Channel, content: str) -> int | None:
    """The sequence that a document with an earlier content takes back; None if its content is new, or the same."""
    current = there.current
    if current is None or current.content == content:
        return None
    known = content in EMPTY_CONTENTS or content in {one.content for one in there.entries} - halted(there)
    return current.sequence if known else None


def halted(channel: Channel) -> set[str]:
    """Contents that were taken back once."""
    return {one.content for one in channel.entries if one.state == HALTED}


def good_before(channel: Channel) -> Entry | None:
    """The last document before the current content that reached all of its audience and was never taken back."""
    bad = halted(channel) | ({channel.current.content} if channel.current else set())
    found = [one for one in channel.entries if one.permille == ALL and one.content not in bad]
    return found[-1] if found else None


#: The contents of documents that set nothing.
EMPTY_CONTENTS = frozenset(map(_content_digest, EMPTY.values()))


def put(folder: str, channel: str, data: bytes, made: Document, index: Index) -> None:
    """Writes a document, and the index that has it (`added`). The caller holds `locked`. Raises `PublishedError`."""
    archive = _archive(folder, channel, made.sequence)
    current = os.path.join(folder, channel + SUFFIX)
    try:
        os.makedirs(os.path.dirname(archive), exist_ok=True)
        _write_once(archive, data, made.issued)
        _replace(os.path.join(folder, INDEX), encoded(index), None)
        _replace(f"{current}.etag", f'"{etag(data)}"'.encode(), None)
        _replace(current, data, _changed(current, data, made.issued))
    except OSError as error:
        raise PublishedError(
            f"{error.filename or folder}: {error.strerror}; not published, or in part: once it can be written, the same"
            " command completes it"
        ) from None


def _changed(path: str, data: bytes, issued: int) -> int:
    """The time of modification of the current file: `issued`, but never that of another document before it."""
    try:
        with open(path, "rb") as file:
            before = int(os.fstat(file.fileno()).st_mtime)
            return before if file.read(MAX_FILE) == data else max(issued, before + 1)
    except FileNotFoundError:
        return issued


def etag(data: bytes) -> str:
    """Names the bytes of a file."""
    return hashlib.sha256(data).hexdigest()[:32]


def encoded(index: Index) -> bytes:
    """As index.json has it."""
    channels = {
        name: {
            "type": one.type,
            "current": one.current.sequence if one.current else None,
            "documents": [_plain(entry) for entry in one.entries],
        }
        for name, one in sorted(index.channels.items())
    }
    return json.dumps({"format": FORMAT, "channels": channels}, indent=1).encode() + b"\n"


def _plain(entry: Entry) -> dict[str, Any]:
    values = asdict(entry)
    for key in ("issued", "expires", "published"):
        values[key] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(values[key]))
    return values


def _posix(text: str) -> int:
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def _archive(folder: str, channel: str, sequence: int) -> str:
    return os.path.join(folder, ARCHIVE, channel, f"{sequence}{SUFFIX}")


def _write_once(path: str, data: bytes, issued: int) -> None:
    """A number names one document for good. Raises OSError, `PublishedError`."""
    try:
        with open(path, "rb") as file:
            if file.read(MAX_FILE) == data:
                return  # publishing was cut short before
        raise PublishedError(f"{path}: there is another document with this number")
    except FileNotFoundError:
        _replace(path, data, issued)


def _replace(path: str, data: bytes, changed: int | None) -> None:
    """changed: its time of modification, POSIX seconds; None: now."""
    file = AtomicFile(path, 0o644)
    file.write(data)
    if changed is not None:
        os.utime(file.fd, (changed, changed))
    file.finish(durable=True)
