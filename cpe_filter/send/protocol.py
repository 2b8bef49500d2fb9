"""Rules that a router and the collector share: the path of reports, sizes, and how Retry-After is read.

Knows HTTP header fields. Must not know connections. The collector uses it, too.
"""

from __future__ import annotations

from datetime import timezone
from email.utils import parsedate_to_datetime

PATH = "/v1/reports"
#: Events in one report (report-v1.schema.json).
MAX_EVENTS = 256
#: Bytes of a report on the wire, compressed.
MAX_BODY = 64 * 1024
#: Signed instructions in one answer, and characters of one.
MAX_INSTRUCTIONS, MAX_INSTRUCTION = 8, 6144


def retry_after(value: str, date: str, clock: float) -> float:
    """Seconds that Retry-After asks for (RFC 9110 section 10.2.3): a number or a date; 0 if it is neither.

    date: the Date field of the same answer. A date in Retry-After counts from it, because the clock of a router may be
    wrong by years, and both dates are of the server's clock. clock: POSIX seconds, used where Date is missing or
    malformed.
    """
    text = value.strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    then = _posix(text)
    if then is None:
        return 0.0
    now = _posix(date)
    return max(0.0, then - (clock if now is None else now))


def _posix(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # "-0000": UTC, says RFC 5322 section 3.3
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
