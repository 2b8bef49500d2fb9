"""Whether a device passes for a mail server: the rule for the standing `unusual`. Pure.

Knows a device's score and names, and the operators it has dealt with. Must not know packets or policy.

What sets a mail server apart from a camera, a NAS or a script is breadth: it deals with many operators of mail servers,
day after day, under one name. A server's operator is known by the registered domain in its greeting (RFC 5321 section
4.2), which is in the clear before STARTTLS. So all of one provider's addresses are one operator, and a NAS that mails
one mailbox never has more than one, in however many networks that provider's servers are. Where our responder answers
in place of the server, the recipient's domain counts as the operator.

A device is unusual when it is clear, has dealt with `OPERATORS` operators within `WINDOW_DAYS`, and on `ACTIVE_DAYS` of
these days, under at most `NAMES` HELO names. If it takes mail from outside (it has answered a connection to one of the
ports of mail, through a port forward or by IPv6), `FEWEST` operators on one day are enough. It stops to be when fewer
than `FEWEST` operators are left of the last `WINDOW_DAYS`. The numbers are judgement: a family's Postfix writes to five
providers within days, and a device with a fixed list of one or two servers to no third one.

A record is bytes, empty before the first contact: the day of the last contact (days of the engine's clock, 2 bytes); a
bit for each of the last 30 days with a contact, the last day's the lowest, and the top bit for more than `NAMES` HELO
names (4 bytes); then up to `_MOST` operators, the latest at the end: mark and day of the last contact (2 bytes each).
38 bytes at most. HELO names themselves do not survive a restart, so the record says that there were too many.

A record from the future was written by a wrong clock. The next contact moves it to its own day; if it is more than
`WINDOW_DAYS` ahead, the device counts as one that has stopped.
"""

from __future__ import annotations

import struct

from cpe_filter.detect.device import RESERVED, Device
from cpe_filter.detect.names import registered_domain
from cpe_filter.detect.score import CLEAR, UNUSUAL
from cpe_filter.lean.checksum import checksum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.clocks import PacketTime

#: Operators, and days with a contact, that make a mail server; days that count; HELO names that it may have.
OPERATORS, ACTIVE_DAYS, WINDOW_DAYS, NAMES = 5, 3, 30, 3
#: With fewer operators than this it is none any more.
FEWEST = 3
#: In place of an indicator, where a standing changed because a device passes for a mail server, or no longer does.
MAIL_SERVER, NO_MAIL_SERVER = "mail-server", "no-mail-server"

_MOST = 8
_DAY_S = 86400.0
_LAST_DAY = 0xFFFF
_WINDOW = (1 << WINDOW_DAYS) - 1
_MANY_NAMES = 1 << 31
_head = struct.Struct(">HI")
_entry = struct.Struct(">HH")
#: Bytes of the longest record.
LONGEST = _head.size + _MOST * _entry.size


def operator(greeting: str) -> str:
    """The operator of the server that greets so (text without code): a registered domain. "" if it names none."""
    words = greeting.split(maxsplit=1)
    name = words[0].lower().rstrip(".,;:") if words else ""
    return registered_domain(name) if "." in name and name.rpartition(".")[2].isalpha() else ""


def contacted(record: bytes, domain: str, time: PacketTime, names: int = 1) -> bytes:
    """The record after a contact with this operator. time: seconds of the engine's clock. names: HELO names so far."""
    day = _day(time)
    last, days = _head.unpack_from(record) if record else (day, 0)
    if last > day + 1:
        record = _moved(record, last - day)
        last = day
    day = max(day, last)  # a clock that was set back does not make days
    many = _MANY_NAMES if names > NAMES else days & _MANY_NAMES
    days = (days << min(day - last, WINDOW_DAYS) | 1) & _WINDOW | many
    mark = checksum(domain.encode("utf-8", "replace")) & 0xFFFF
    entry = _entry.pack(mark, day)
    if record[: _head.size] == _head.pack(day, days) and entry in _entries(record):  # the usual case
        return record
    others = [each for each in _entries(record) if each[:2] != entry[:2]]
    return b"".join((_head.pack(day, days), *others[1 - _MOST :], entry))


def is_mail_server(device: Device, time: PacketTime) -> bool:
    """Whether a device passes for a mail server. Evidence against it comes first: one that is suspected does not."""
    record = device.operators
    if not record or device.key in RESERVED or device.score.standing not in (CLEAR, UNUSUAL):
        return False
    operators, active = (FEWEST, 1) if takes_mail(device, time) else (OPERATORS, ACTIVE_DAYS)
    last, days = _head.unpack_from(record)
    if len(record) < _head.size + operators * _entry.size or len(device.helos) > NAMES or days & _MANY_NAMES:
        return False
    days = days << min(max(0, _day(time) - last), WINDOW_DAYS) & _WINDOW
    return _recent(record, time) >= operators and bin(days).count("1") >= active


def takes_mail(device: Device, time: PacketTime) -> bool:
    """Whether a device has taken mail from outside within `WINDOW_DAYS`, as far as is known."""
    return bool(device.served_at) and time - device.served_at < WINDOW_DAYS * _DAY_S


def has_stopped(device: Device, time: PacketTime) -> bool:
    """Whether an unusual device has not dealt with servers as a mail server does for `WINDOW_DAYS`."""
    record = device.operators
    return _recent(record, time) < FEWEST or _head.unpack_from(record)[0] > _day(time) + WINDOW_DAYS


def is_record(data: bytes) -> bool:
    """Whether bytes of a file can be a record."""
    rest = len(data) - _head.size
    return not data or (0 < rest <= _MOST * _entry.size and rest % _entry.size == 0)


def _recent(record: bytes, time: PacketTime) -> int:
    """Operators with a contact in the last `WINDOW_DAYS`."""
    first = _day(time) - WINDOW_DAYS
    return sum([_entry.unpack(entry)[1] > first for entry in _entries(record)])


def _moved(record: bytes, days: int) -> bytes:
    """The record as if all had happened so many days before."""
    last, contacts = _head.unpack_from(record)
    entries = [_entry.pack(mark, max(0, day - days)) for mark, day in map(_entry.unpack, _entries(record))]
    return b"".join((_head.pack(last - days, contacts), *entries))


def _entries(record: bytes) -> list[bytes]:
    return [record[at : at + _entry.size] for at in range(_head.size, len(record), _entry.size)]


def _day(time: PacketTime) -> int:
    return min(_LAST_DAY, max(0, int(time // _DAY_S)))
