"""A document: TOML whose table [document] says what it is, for which routers, and until when it holds.

Knows the header's keys and their ranges, and the bounds of the whole. Must not know signatures, the content behind the
header, clocks or which router this is. An unknown key of the header is refused, not ignored: a later version may add
one that narrows a document's audience. A document for later versions says so in min_agent, which is read first.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from cpe_filter import toml_file
from cpe_filter.inputs import found, shown
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.sha256 import sha256
from cpe_filter.signed.errors import AGENT, HEADER, LARGE, TOML, SignedError
from cpe_filter.signed.keys import DESK, DETECTOR, POLICY

#: Types of documents.
POLICY_BUNDLE, TABLE, REPLIES, INSTRUCTION = "policy", "table", "replies", "instruction"
#: Which keys sign each type.
PURPOSE = {POLICY_BUNDLE: POLICY, TABLE: DETECTOR, REPLIES: DETECTOR, INSTRUCTION: DESK}
#: Bytes of a message of each type.
MAX_BYTES = {POLICY_BUNDLE: 64 << 10, TABLE: 64 << 10, REPLIES: 64 << 10, INSTRUCTION: 4 << 10}
#: Levels of tables and lists within the content, and values in all.
MAX_DEPTH, MAX_VALUES = 6, 20_000
#: Routers, models and regions of an audience, and characters of one.
MAX_AUDIENCE, MAX_NAME = 256, 64
MAX_SEQUENCE = 1 << 53
ALL = 1000
#: The last second of the year 9999: what a calendar can say. The first is that of 1970.
MAX_TIME = 253402300799
EVERYBODY = "*"
KINDS = ("router", "model", "region")

_HEADER = "document"
_REQUIRED = ("type", "sequence", "issued", "expires", "audience")
_OPTIONAL = ("rollout_permille", "salt", "min_agent")


class Recipient(NamedTuple):
    """This router. An unknown model or region is ""."""

    router: str
    model: str = ""
    region: str = ""


class Document(NamedTuple):
    """issued, expires: POSIX seconds. audience: `*`, `router:ID`, `model:NAME`, `region:NAME`.

    content: the tables behind the header. message: the signed bytes. key: the number of the key that signed it.
    """

    type: str
    sequence: int
    issued: int
    expires: int
    audience: tuple[str, ...]
    rollout_permille: int
    salt: str
    min_agent: str
    content: dict[str, Any]
    message: bytes = b""
    key: bytes = b""

    @property
    def digest(self) -> str:
        """16 hex digits that name the signed bytes."""
        return digest(self.message)

    def is_for(self, recipient: Recipient) -> bool:
        """Whether the audience has this router."""
        names = {f"{kind}:{value}" for kind, value in zip(KINDS, recipient, strict=True) if value}
        return EVERYBODY in self.audience or not names.isdisjoint(self.audience)

    def is_rolled_out_to(self, router: str) -> bool:
        """Whether this router is among the permille: always the same ones for one salt, more when it is raised.

        One without a name is among the last: all of these would be first together, and be no small part.
        """
        if not router:
            return self.rollout_permille == ALL
        number = int.from_bytes(sha256((self.salt + router).encode()).digest(), "big")
        return number % ALL < self.rollout_permille


def digest(message: bytes) -> str:
    """16 hex digits that name signed bytes."""
    text: str = sha256(message).hexdigest()
    return text[:16]


def parse(message: bytes, agent: str) -> Document:
    """The signed bytes as a document. agent: the version of this program. Raises `SignedError`."""
    data = _tables(message)
    header = data.pop(_HEADER, None)
    if not isinstance(header, dict):
        raise SignedError(HEADER, "no table [document] in it")
    needed = _text(header, "min_agent", "") if "min_agent" in header else ""
    if needed and is_later(needed, agent):
        raise SignedError(AGENT, f"it needs cpe-filter {needed} or later; this is {agent}")
    for name in header:
        if name not in (*_REQUIRED, *_OPTIONAL):
            raise SignedError(HEADER, f"[document] unknown key {shown(name)}")
    for name in _REQUIRED:
        if name not in header:
            raise SignedError(HEADER, f"[document] {name} is missing")
    made = Document(
        _type(header),
        _number(header, "sequence", 0, 1, MAX_SEQUENCE),
        _time(header, "issued"),
        _time(header, "expires"),
        _audience(header["audience"]),
        _number(header, "rollout_permille", ALL, 0, ALL),
        _text(header, "salt", ""),
        needed,
        data,
        message,
    )
    if len(message) > MAX_BYTES[made.type]:
        raise SignedError(LARGE, f"{len(message)} bytes; allowed: at most {MAX_BYTES[made.type]} for {made.type}")
    if made.expires <= made.issued:
        raise SignedError(HEADER, "[document] expires is not later than issued")
    if made.rollout_permille < ALL and not made.salt:
        raise SignedError(HEADER, "[document] rollout_permille needs salt: else the same routers are always first")
    if made.type == INSTRUCTION and (len(made.audience) != 1 or not made.audience[0].startswith("router:")):
        raise SignedError(HEADER, "[document] audience of an instruction: expected one router, router:ID")
    return made


def _tables(message: bytes) -> dict[str, Any]:
    most = max(MAX_BYTES.values())
    if len(message) > most:
        raise SignedError(LARGE, f"{len(message)} bytes; allowed: at most {most}")
    if _has_long_key(message):  # each dot of a key is a table, whose parser looks at all those above it again
        raise SignedError(TOML, "nested too deeply")
    try:
        data = toml_file.parse(message, "document", ValueError)
    except ValueError as error:
        raise SignedError(TOML, str(error)) from None
    _look_through(data)
    return data


def _has_long_key(message: bytes) -> bool:
    """Whether a line has more dots in a row than a key may. The parser takes 22 s for a key of 32,000 parts on a PC."""
    for run in message.replace(b" ", b"").replace(b"\t", b"").split(b"\n"):
        dots = 0
        for byte in run:
            if byte == 0x2E:
                dots += 1
                if dots > 64:
                    return True
            elif byte in b"=[]{},#":
                dots = 0
    return False


def _look_through(data: dict[str, Any]) -> None:
    """Raises `SignedError` for too many levels or values."""
    level: list[Any] = [data]
    count = 0
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for value in level:
            inner += value.values() if isinstance(value, dict) else value
        count += len(inner)
        if count > MAX_VALUES:
            raise SignedError(TOML, f"more than {MAX_VALUES} values")
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return
    raise SignedError(TOML, f"nested too deeply; allowed: {MAX_DEPTH} levels")


def _type(header: dict[str, Any]) -> str:
    value = header["type"]
    if not isinstance(value, str) or value not in PURPOSE:
        raise SignedError(HEADER, f"[document] type is {found(value)}; allowed: {', '.join(PURPOSE)}")
    return value


def _number(header: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = header.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SignedError(HEADER, f"[document] {name} is {found(value)}; allowed: a whole number from {low} to {high}")
    return value


def _text(header: dict[str, Any], name: str, default: str) -> str:
    value = header.get(name, default)
    if not isinstance(value, str) or not _is_name(value):
        raise SignedError(
            HEADER, f"[document] {name} is {found(value)}; allowed: 1 to {MAX_NAME} printable ASCII characters"
        )
    return value


def _is_name(value: str) -> bool:
    return len(value) <= MAX_NAME and value.isascii() and value.isprintable()


def _time(header: dict[str, Any], name: str) -> int:
    value = header[name]
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise SignedError(HEADER, f"[document] {name} is {found(value)}; expected a time like 2026-12-31T00:00:00Z")
    posix = int((value - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds())
    if not 0 <= posix <= MAX_TIME:
        raise SignedError(HEADER, f"[document] {name} is {value.isoformat()}; allowed: the years 1970 to 9999")
    return posix


def _audience(value: Any) -> tuple[str, ...]:
    allowed = f'allowed: a list of 1 to {MAX_AUDIENCE} of "*", "router:ID", "model:NAME", "region:NAME"'
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_AUDIENCE:
        raise SignedError(HEADER, f"[document] audience is {found(value)}; {allowed}")
    for one in value:
        kind, _, name = one.partition(":") if isinstance(one, str) else ("", "", "")
        if one != EVERYBODY and (kind not in KINDS or not name or not _is_name(name)):
            raise SignedError(HEADER, f"[document] audience has {found(one)}; {allowed}")
    return tuple(value)


def is_later(version: str, other: str) -> bool:
    """Whether one version of this program is later than another."""
    return _version(version) > _version(other)


def _version(text: str) -> tuple[int, ...]:
    """Numbers between dots, up to the first that is not one; an unreadable version is later than all."""
    numbers: list[int] = []
    for part in text.split("."):
        if not part.isdecimal() or len(part) > 6:
            break
        numbers.append(int(part))
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers) if text[:1].isdecimal() else (1 << 30,)
