"""Open incidents <-> bytes that survive a restart.

Knows incidents and the form of the bytes: JSON, and its checksum on a line of its own. Must not know files. Devices are
named by their own keys, so these bytes are for the router's files only. They are read completely or not at all.

Within one boot times are exact, even if the clock was set meanwhile, because the time of the boot is kept with them.
After a reboot they are ages.
"""

from __future__ import annotations

import math

from cpe_filter.detect.device import BEHIND, DEVICES, RESERVED
from cpe_filter.detect.evidence import INDICATORS, current
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.lean import json_text
from cpe_filter.lean.checksum import CorruptStateError, with_checksum, without_checksum
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.report.counts import Counts
from cpe_filter.report.document_news import NO_MARK, Mark
from cpe_filter.report.events import CLEARED, EXEMPT, EXPIRED, MERGED, RELEASED
from cpe_filter.report.incident import EXAMPLES, MAX_NAME, Example, Incident
from cpe_filter.report.tracker import MAX_CLOSED, IncidentTracker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Word = TypeVar("_Word", bound=str)

    from cpe_filter.report.incident import EndReason

#: A file that is older, or from the future, was written or is read with a wrong clock (as in detect.saved).
BELIEVED_S = 366 * 86400.0
_END_REASONS: dict[str, EndReason] = {reason: reason for reason in ("", CLEARED, RELEASED, EXPIRED, EXEMPT, MERGED)}
_STANDINGS = (CLEAR, UNUSUAL, SUSPECTED, COMPROMISED)
#: Lengths of devices' keys, except the router's own.
_KEYS = (4, 6, *BEHIND, 16)


def encode(incidents: IncidentTracker, boot: str, seq: int, now: PacketTime, news: Mark = NO_MARK) -> bytes:
    """All of it. boot: the kernel's boot_id; seq: that of the next event; now: the engine's time; news: how far the
    outcomes of documents were reported."""
    content = {
        "boot": boot,
        "seq": seq,
        "booted": incidents.booted,
        "written": now,
        "news": news,
        "incidents": [_dumped(incident) for incident in incidents.all()],
    }
    return with_checksum(json_text.encode(content).encode())


def parse(data: bytes) -> dict[str, Any]:
    """What `encode` has written, as plain values. Raises `CorruptStateError`. It imports json: not for `run` itself."""
    import json

    try:
        content = json.loads(without_checksum(data))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise CorruptStateError("not incidents of cpe-filter")
    return content


class SavedIncidents:
    """What was read. boot, seq: as given to `encode`."""

    def __init__(self, content: dict[str, Any]) -> None:
        """content: of `parse`. Raises `CorruptStateError`."""
        self._content = content
        try:
            self.boot, self.seq = str(self._content["boot"]), int(self._content["seq"])
            self._booted, self._written = (_finite(self._content[name]) for name in ("booted", "written"))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise CorruptStateError("not incidents of cpe-filter") from None

    @property
    def news(self) -> object:
        """How far the outcomes of documents were reported, for document_news.restored."""
        return self._content.get("news")

    def devices(self) -> dict[str, bytes]:
        """The devices' keys by their pseudonyms."""
        try:
            return {_hex(one["dev"]): bytes.fromhex(one["key"]) for one in self._content["incidents"]}
        except (KeyError, TypeError, ValueError):
            return {}

    def open(self) -> list[tuple[str, str, float]]:
        """Pseudonym, standing, and time of the first connection (POSIX, by the clock of that moment) of each that has
        not ended. Nothing else of them may leave the router but by a report."""
        try:
            return [
                (_hex(one["dev"]), _one_of(one["standing"], _STANDINGS), _finite(one["first"]))
                for one in self._content["incidents"]
                if not one["why"]
            ]
        except (KeyError, TypeError, ValueError):
            return []

    def restore(self, incidents: IncidentTracker, boot: str, now: PacketTime, lost: bool) -> None:
        """Restores them into an empty tracker. lost: sent events may not have arrived. Raises `CorruptStateError`."""
        if self.boot == boot:
            shift = incidents.booted - self._booted
        else:
            shift = 0.0 if 0 <= now - self._written <= BELIEVED_S else now - self._written
        try:
            found = [_loaded(one, shift) for one in self._content["incidents"][: DEVICES + MAX_CLOSED]]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
            raise CorruptStateError("not incidents of cpe-filter") from None
        for incident in found:
            incident.resend = lost
        incidents.restore(found)


def _dumped(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "key": incident.key.hex(),
        "dev": incident.dev,
        "name": incident.name,
        "standing": incident.standing,
        "act": incident.act,
        "first": incident.first,
        "last": incident.last,
        "base": incident.base,
        "counts": incident.counts,
        "told_at": incident.last_sent_at,
        "known": incident.arrived,
        "examples": incident.examples,
        "why": incident.reason,
    }


def _loaded(content: dict[str, Any], shift: float) -> Incident:
    """Raises ValueError, KeyError, TypeError and the like for a malformed one."""
    key = bytes.fromhex(content["key"])
    if len(key) not in _KEYS and key not in RESERVED:
        raise ValueError
    first, base = PacketTime(_finite(content["first"]) + shift), _counts(content["base"])
    incident = Incident(_hex(content["id"]), key, _hex(content["dev"]), first, base)
    incident.name = _name(content["name"])
    # Earlier versions had incidents of suspected devices; the tracker closes these.
    incident.standing = _one_of(content["standing"], _STANDINGS)
    incident.act = _one_of(content["act"], ("monitor", "limit", "explain", "reset"))
    incident.reason = _END_REASONS[content["why"]]
    incident.last = PacketTime(_finite(content["last"]) + shift)
    incident.counts = incident.last_sent_counts = _counts(content["counts"])
    incident.last_sent_at = PacketTime(_finite(content["told_at"]) + shift)
    incident.arrived = int(content["known"]) & 3
    for time, port, family in content["examples"][:EXAMPLES]:
        if not 0 <= port <= 65535 or family not in (4, 6):
            raise ValueError
        incident.examples.append(Example(PacketTime(_finite(time) + shift), int(port), int(family)))
    incident.last_sent_examples = len(incident.examples)
    return incident


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _hex(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 16 or any(c not in "0123456789abcdef" for c in value):
        raise ValueError
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME or not (value.isascii() and value.isprintable()):
        raise ValueError
    return value


def _one_of(value: Any, words: tuple[_Word, ...]) -> _Word:
    return words[words.index(value)]


def _counts(value: Any) -> Counts:
    connections, networks, messages, recipients, refused = (max(0, int(number)) for number in value[:5])
    by_code = {current(str(name)): max(0, int(count)) for name, count in value[5].items()}
    indicators = {code: count for code, count in by_code.items() if code in INDICATORS}
    return Counts(connections, networks, messages, recipients, refused, indicators)
