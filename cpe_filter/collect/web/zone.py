"""The time zone of what one request shows: the desk's, or the one that the user has chosen. Never of what is exported.

Knows time zones. Must not know HTML or requests. `use` holds for the request that calls it (a context variable), so
that a page need not pass the zone to every cell. UTC works without time zone data.
"""

from __future__ import annotations

import datetime
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

UTC = "UTC"
_DAY = datetime.timedelta(days=1)


class _Zone(NamedTuple):
    name: str
    info: datetime.tzinfo


_UTC = _Zone(UTC, datetime.timezone.utc)
_now: ContextVar[_Zone] = ContextVar("zone", default=_UTC)


def use(*names: str) -> None:
    """From here on in this request times are in the first of these zones that exists, or else in UTC."""
    _now.set(next((found for found in map(_find, names) if found), _UTC))


def name() -> str:
    """The name of the zone, such as Europe/Amsterdam."""
    return _now.get().name


def known() -> tuple[str, ...]:
    """The names to choose from, sorted; UTC first."""
    return _known()


@cache
def _known() -> tuple[str, ...]:
    # `Etc/GMT+1` is an hour behind UTC; names without a slash are old ones.
    return (UTC, *sorted(one for one in available_timezones() if "/" in one and not one.startswith("Etc/")))


def _find(zone: str) -> _Zone | None:
    if zone == UTC:
        return _UTC
    if not 0 < len(zone) <= 64 or not zone.isascii():
        return None
    try:
        return _Zone(zone, ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def local(seconds: float) -> datetime.datetime:
    """Raises `OverflowError`, `ValueError` and `OSError` for a time that has no year."""
    return datetime.datetime.fromtimestamp(seconds, _now.get().info)


def abbreviation(moment: datetime.datetime) -> str:
    """`CET`, `CEST`; `+03` for zones that have none. It distinguishes the two hours of the same name in autumn."""
    return moment.tzname() or ""


def day_start(text: str) -> int | None:
    """`2026-10-25` -> its first second in the zone; None if it is not a date."""
    return _first_second(text, datetime.timedelta())


def day_end(text: str) -> int | None:
    """`2026-10-25` -> the first second of the following day; None if it is not a date."""
    return _first_second(text, _DAY)


def _first_second(text: str, later: datetime.timedelta) -> int | None:
    try:
        day = datetime.date.fromisoformat(text) + later
        moment = datetime.datetime(day.year, day.month, day.day, tzinfo=_now.get().info)
        return int(moment.timestamp())
    except (ValueError, OverflowError, OSError):
        return None


def moments(text: str) -> list[int]:
    """`2026-10-25T02:30` (a browser's field) -> the POSIX seconds that it may mean in the zone, the earlier one first.

    Two in the hour that is repeated in autumn; none if it is not a time, or in the hour that spring leaves out. A time
    that ends with Z, or with an offset, is that time.
    """
    try:
        moment = datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
        if moment.tzinfo is not None:
            return [int(moment.timestamp())]
        folds = {int(moment.replace(tzinfo=_now.get().info, fold=fold).timestamp()) for fold in (0, 1)}
        return sorted(second for second in folds if local(second).replace(tzinfo=None) == moment)
    except (ValueError, OverflowError, OSError):
        return []
