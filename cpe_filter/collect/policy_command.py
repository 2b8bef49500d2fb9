"""`cpe-filter policy build|sign|publish|halt`, at the ISP.

Composes policy_bundle, published, policy_changes and rollout.reach. Must not know how a document is signed, or what
files a folder has. Whatever is refused, nothing is written. What is printed says what changes, then for which routers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Sequence

from cpe_filter.collect import document_content, policy_bundle, published, service, signing
from cpe_filter.collect.config.file import ConfigError, load
from cpe_filter.collect.policy_bundle import DAY, BundleError
from cpe_filter.collect.published import Channel, Index, PublishedError
from cpe_filter.collect.rollout import reach
from cpe_filter.collect.rollout.advice import advice
from cpe_filter.collect.rollout.spread import Terms
from cpe_filter.collect.store.base import StoreError
from cpe_filter.collect.subscribers.file import read as read_map
from cpe_filter.collect.subscribers.map import MapError, line_at
from cpe_filter.lean.atomic_file import AtomicFile
from cpe_filter.outcome import EXIT_OK, UsageError, complain
from cpe_filter.signed.document import ALL, POLICY_BUNDLE, REPLIES, TABLE, Document

#: There was nothing to do; dangerous, and for many routers at once.
EXIT_NOTHING, EXIT_DANGEROUS = 1, 3
#: Of 1000 routers: a dangerous change is published to more only after a stage, or with --yes.
MAX_UNTRIED = 100
#: What counts on routers where a document sets nothing.
_OWN = {POLICY_BUNDLE: "each router's own", TABLE: "the built-in table", REPLIES: "the built-in table of wordings"}
#: Lines about changes; days before the end that are worth a warning.
_MOST, _SHORT = 60, 7


def run(options: argparse.Namespace) -> int:
    """Does what the arguments say; the exit code. Raises `UsageError`."""
    work = {"build": _build, "sign": _sign, "publish": _publish, "halt": _halt}[options.verb]
    try:
        return work(options)
    except (BundleError, PublishedError) as error:
        raise UsageError(str(error)) from None


# ── build, sign ─────────────────────────────────────────────────────────────────────────────────────


def _build(options: argparse.Namespace) -> int:
    message, lines = policy_bundle.make(_asked(options))
    _write(options.output, message)
    print("\n".join(lines))
    return EXIT_OK


def _sign(options: argparse.Namespace) -> int:
    if not _is_built(options.file):
        if options.signature:
            raise BundleError(f"{options.file}: not a document of `build`, which a signature could belong to")
        document, lines = policy_bundle.sign(_asked(options))
        _write(options.output, document)
        print("\n".join(lines))
        return EXIT_OK
    if any((options.sequence, options.audience, options.salt, options.min_agent)):
        raise BundleError(
            f"{options.file} has its header: --sequence, --audience, --salt, --min-agent cannot change it"
        )
    message = policy_bundle.contents(options.file)
    made = policy_bundle.parsed(message)
    policy_bundle.check_content(made, options.file)
    if options.signature:
        document = policy_bundle.joined(message, policy_bundle.contents(options.signature))
        policy_bundle.checked(document, options.keys, time.time())
    else:
        document = policy_bundle.sealed(message, options.key)
    _write(options.output, document)
    print(policy_bundle.headline(made).removesuffix(":"))
    return EXIT_OK


def _is_built(path: str) -> bool:
    return policy_bundle.contents(path).lstrip().startswith(b"[document]")


def _asked(options: argparse.Namespace) -> policy_bundle.Asked:
    last, sequence = options.last or "", options.sequence
    if options.published:
        index = published.read(options.published)
        sequence = sequence or str(published.next_sequence(options.published, index, options.type))
        channel = index.channels.get(options.channel, Channel("", ""))
        if channel.current is not None and channel.type == options.type and not last:
            last = os.path.join(options.published, options.channel + published.SUFFIX)
    if not sequence:
        raise BundleError("--sequence is missing; or --published, where the last one is found")
    return policy_bundle.Asked(
        options.file,
        getattr(options, "key", None) or "",
        _whole(sequence, "--sequence"),
        _whole(options.expires, "--expires"),
        tuple(options.audience or ("*",)),
        _whole(options.permille, "--permille"),
        options.salt or "",
        options.min_agent or "",
        last,
        options.type,
    )


# ── publish, halt ───────────────────────────────────────────────────────────────────────────────────


def _publish(options: argparse.Namespace) -> int:
    if bool(options.file) == bool(options.permille):
        raise BundleError("expected a DOCUMENT, or --permille for the next step of the current one")
    index = published.read(options.published)
    if options.file:
        return _put(options, index, policy_bundle.contents(options.file))
    current = _current(options, index)
    permille = _whole(options.permille, "--permille")
    if permille == current.rollout_permille:
        if _completed(options, index, current):
            return EXIT_OK
        complain(f"channel {options.channel}: {current.type} {current.sequence} is for {permille} of 1000 already")
        return EXIT_NOTHING
    message = policy_bundle.again(current, _header(options, index, current, current.audience, permille))
    data = _signed(options, message)
    return EXIT_OK if data is None else _put(options, index, data)


def _halt(options: argparse.Namespace) -> int:
    index = published.read(options.published)
    current = _current(options, index)
    entry = index.channels[options.channel].current
    if options.to is None and entry is not None and entry.halts is not None:
        if _completed(options, index, current):
            return EXIT_OK
        complain(f"channel {options.channel}: {current.type} {current.sequence} is a halt already, of {entry.halts}")
        return EXIT_NOTHING
    if options.if_advised and not _is_advised(options):
        return EXIT_NOTHING
    target = _target(options, index)
    header = _header(options, index, target or current, current.audience, ALL)
    if target is None:
        header = header._replace(min_agent="")
    message = policy_bundle.again(target, header)
    what = f"the content of {target.sequence}" if target is not None else f"an empty one: {_OWN[current.type]} counts"
    print(f"halt of {current.type} {current.sequence}: {current.type} {header.sequence} is {what}")
    data = _signed(options, message)
    return EXIT_OK if data is None else _put(options, index, data, halt=True)


def _is_advised(options: argparse.Namespace) -> bool:
    """Prints why or why not. Raises `BundleError` where that is not known: what is published stays then."""
    if not options.config:
        raise BundleError("--if-advised needs --config: the collector's store says what routers report")

    async def look() -> tuple[bool, str]:
        config = load(options.config)
        terms = Terms(options.published, config.provision.halt_at)
        async with service.opened(config) as store:
            return await advice(store, terms, options.channel, int(time.time()))

    try:
        advised, line = asyncio.run(look())
    except (ConfigError, StoreError) as error:
        raise BundleError(f"whether a halt is advised is not known: {error}") from None
    print(line)
    return advised


def _target(options: argparse.Namespace, index: Index) -> Document | None:
    """What comes back; None for nothing. Raises `PublishedError`."""
    if options.to is not None:
        sequence = _whole(options.to, "--to")
        return _to_sign_again(options, sequence) if sequence else None
    entry = published.good_before(index.channels[options.channel])
    return _to_sign_again(options, entry.sequence) if entry is not None else None


def _to_sign_again(options: argparse.Namespace, sequence: int, data: bytes = b"") -> Document:
    """A document of the archive whose content is signed again, so its signature has to be good: who can write to the
    folder, a web server's for example, must not choose what the key signs. Raises `BundleError`, `PublishedError`."""
    data = data or published.archived_bytes(options.published, options.channel, sequence)
    name = f"{options.channel} {sequence}"
    try:
        made = policy_bundle.authentic(data, options.keys)
    except BundleError as error:
        raise BundleError(f"{name} in the archive is not signed again: {error}") from None
    if made.sequence != sequence:
        raise BundleError(f"{name} in the archive is not signed again: it is {made.type} {made.sequence}")
    return made


def _put(options: argparse.Namespace, index: Index, data: bytes, halt: bool = False) -> int:
    """Verifies a document, says what changes and for which routers, and publishes it."""
    now = int(time.time())
    made = policy_bundle.checked(data, options.keys, now)
    channel = index.channels.get(options.channel, Channel(options.channel, made.type))
    entry = channel.current
    if entry is not None and entry.digest == made.digest:
        if _completed(options, index, made):
            return EXIT_OK
        complain(f"channel {options.channel}: {made.type} {made.sequence} is published already")
        return EXIT_NOTHING
    new = published.added(index, options.channel, made, now)
    last = published.current(options.published, options.channel, entry) if entry is not None else None
    warnings = _say(made, last, channel, now)
    untried = not any(one.content == published.content_digest(made) for one in channel.entries)
    if halt:
        _write_published(options, data, made, index, new)
    concerned = _concerned(options, made, now)
    for text in warnings:
        print(f"warning: {text}" + (f" ({concerned:,} routers)" if concerned is not None else ""))
    if halt:
        return EXIT_OK
    if warnings and untried and made.rollout_permille > MAX_UNTRIED and not options.yes:
        complain(
            f"not published: this may stop legitimate mail, and {made.rollout_permille} of 1000 routers would get it at"
            f" once. Publish it for at most {MAX_UNTRIED} of 1000 first, or use --yes"
        )
        return EXIT_DANGEROUS
    _write_published(options, data, made, index, new)
    return EXIT_OK


def _write_published(options: argparse.Namespace, data: bytes, made: Document, index: Index, new: Index) -> None:
    """index: by which it was judged. The folder is locked only now: a store that does not answer must not keep another
    person from a halt. Raises `PublishedError`."""
    name = options.channel + published.SUFFIX
    if options.dry_run:
        print(f"{os.path.join(options.published, name)} would be {made.type} {made.sequence}; nothing was written")
        return
    with published.locked(options.published):
        if published.read(options.published) != index:
            raise PublishedError(f"{options.published}: another process has published there meanwhile; begin again")
        published.put(options.published, options.channel, data, made, new)
    _say_published(options, made)


def _say_published(options: argparse.Namespace, made: Document) -> None:
    name = os.path.join(options.published, options.channel + published.SUFFIX)
    print(f"{name} is {made.type} {made.sequence}, digest {made.digest}")


def _say(made: Document, last: Document | None, channel: Channel, now: int) -> list[str]:
    """Prints what changes; returns what is dangerous."""
    before = last.content if last is not None else {}
    against = f", compared with {last.sequence} for {', '.join(last.audience)}" if last is not None else ""
    print(policy_bundle.headline(made).removesuffix(":") + against + ":")
    lines = document_content.changes(made.type, before, made.content)
    print("\n".join(lines[:_MOST]))
    if len(lines) > _MOST:
        print(f"  and {len(lines) - _MOST} more")
    found = document_content.dangers(made.type, before, made.content)
    gone = [name for name in last.audience if name not in made.audience] if last is not None else []
    if gone and "*" not in made.audience:
        found.append(f"audience: {', '.join(gone)} left out; these routers keep what they have")
    content = published.content_digest(made)
    if last is not None and _leaves_behind(last, made):
        found.append(
            f"{last.rollout_permille} of 1000 routers may have {last.sequence}; those that are not among the first of"
            f" this one keep it. `policy halt` takes {last.sequence} back from all"
        )
    taken_back = [one.sequence for one in channel.entries if one.content == content and one.state == published.HALTED]
    if taken_back:
        found.append(f"this content was halted before, as {taken_back[-1]}")
    if made.expires < now + _SHORT * DAY:
        found.append(f"it expires within {_SHORT} days; a router that was off then refuses it")
    return found


def _leaves_behind(last: Document, made: Document) -> bool:
    """Whether routers may keep a stage of another content, because this stage is for others."""
    if last.rollout_permille in (0, ALL) or made.rollout_permille == ALL or made.content == last.content:
        return False
    return made.salt != last.salt or made.rollout_permille < last.rollout_permille


def _concerned(options: argparse.Namespace, made: Document, now: int) -> int | None:
    """Prints which routers it concerns by the collector's store; how many routers. None without a store."""
    if not options.config:
        return None
    try:
        config = load(options.config)
        region_of = _regions(config.subscribers.file, now)

        async def look() -> reach.Reach:
            async with service.opened(config) as store:
                return await reach.count(store, made, now, region_of)

        found = asyncio.run(look())
    except (ConfigError, StoreError, MapError) as error:
        # Never a reason not to halt, nor to publish what is signed: the store only counts.
        complain(f"which routers it concerns is not known: {error}")
        return None
    print("\n".join(reach.lines(found, made)))
    return found.first


def _regions(path: str, now: int) -> reach.RegionOf | None:
    if not path:
        return None
    rows = read_map(path)

    def region_of(router: str) -> str:
        line = line_at(rows.get(router, ()), now)
        return line.region if line is not None else ""

    return region_of


# ── pieces ──────────────────────────────────────────────────────────────────────────────────────────


def _current(options: argparse.Namespace, index: Index) -> Document:
    channel = index.channels.get(options.channel)
    if channel is None or channel.current is None:
        known = ", ".join(sorted(index.channels)) or "none"
        raise PublishedError(f"{options.published}: nothing is published in channel {options.channel}; there: {known}")
    data = published.current_bytes(options.published, options.channel, channel.current)
    return _to_sign_again(options, channel.current.sequence, data)


def _completed(options: argparse.Namespace, index: Index, made: Document) -> bool:
    """Whether this command was cut short before, and is complete now."""
    if options.dry_run:
        return False
    with published.locked(options.published):
        if not published.complete(options.published, index, options.channel, made):
            return False
    _say_published(options, made)
    return True


def _header(
    options: argparse.Namespace, index: Index, of: Document, audience: Sequence[str], permille: int
) -> signing.Header:
    """Of the next document: later than all, from now on."""
    now = int(time.time())
    expires = policy_bundle.after(now, _whole(options.expires, "--expires"))
    salt = of.salt if permille < ALL else ""
    number = published.next_sequence(options.published, index, of.type)
    return signing.Header(of.type, number, now, expires, audience, permille, salt, of.min_agent)


def _signed(options: argparse.Namespace, message: bytes) -> bytes | None:
    """The document; None where the message was written, to be signed elsewhere."""
    if options.key:
        return policy_bundle.sealed(message, options.key)
    if not options.unsigned:
        raise BundleError("--key is missing; or --unsigned FILE, to sign it on another machine")
    if options.dry_run:
        print(f"{options.unsigned} would be written, to be signed")
        return None
    _write(options.unsigned, message)
    print(f"{options.unsigned}: sign it, then: policy sign {options.unsigned} --signature SIG --output DOCUMENT, and")
    print(f"policy publish DOCUMENT --published {options.published} --channel {options.channel}")
    return None


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise BundleError(f"{name} is {text[:40]!a}; allowed: a whole number of at most 15 digits")
    return int(text)


def _write(path: str, data: bytes) -> None:
    if os.path.lexists(path) and not os.path.isfile(path):  # a device, or a pipe, would be replaced by a file
        raise UsageError(f"{path}: exists and is not a regular file")
    file = AtomicFile(path, 0o644)
    file.write(data)
    file.finish(durable=True)
