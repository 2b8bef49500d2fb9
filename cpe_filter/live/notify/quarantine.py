"""Which devices are in quarantine, since when, and what ends it.

Knows which devices are compromised and may be in it, and the time. Must not know packets, the kernel or words. Pure.
Times are the engine's seconds.

A stay begins while the notice is served, because no device should be cut off without a page that says why. It ends
when the device is released by its users (`self`), by a command, an exemption or the policy (`isp`), when the ISP's desk
ends it (`desk`), or when the days have passed (`time`). After the last two the device is not held again before it is
convicted again.
"""

from __future__ import annotations

from cpe_filter.live.notify.showing import MOST, SAME_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Literal

    #: Who has ended a stay; "" while it lasts.
    By = Literal["", "self", "isp", "time", "desk"]

SELF: By = "self"
ISP: By = "isp"
TIME: By = "time"
DESK: By = "desk"
DAY_S = 86400.0


class Stay:
    """A compromised device's stay. since: of its standing; began; ended: 0 while it lasts; by: who ended it."""

    __slots__ = ("began", "by", "ended", "since", "stayed")

    def __init__(self, since: float, began: float) -> None:
        self.since = since
        self.began = began
        self.ended = 0.0
        self.by: By = ""
        #: Seconds until the last look: what a wrong clock after a restart cannot take away.
        self.stayed = 0.0

    @property
    def who(self) -> By:
        """`by` for reports and the status, which do not tell the desk from the rest of the ISP."""
        return ISP if self.by == DESK else self.by


class Quarantine:
    """`look` now and then, and at once when something has changed; `by_users` before they release a device, `by_desk`
    before a look that ends a stay."""

    def __init__(self) -> None:
        self.stays: dict[bytes, Stay] = {}
        self._by_users: set[bytes] = set()
        self._by_desk: set[bytes] = set()

    def look(
        self, compromised: Mapping[bytes, float], may: Iterable[bytes], served: bool, days: int, now: float
    ) -> list[tuple[bytes, Stay]]:
        """Brings the stays up to date. Returns those that have just begun or ended.

        compromised: since when, by key. may: those of them that may be in quarantine. served: whether the notice is.
        """
        may = set(may)
        changed = []
        for key, stay in list(self.stays.items()):
            since = compromised.get(key)
            # A restart moves times by a little, or back with a clock that was set back.
            gone = since is None or since - stay.since > SAME_S
            stay.since = stay.since if since is None or gone else since
            stay.began = min(stay.began, now - stay.stayed)
            if not stay.ended:
                stay.stayed = now - stay.began
                if gone or key not in may:
                    self._end(stay, SELF if key in self._by_users else ISP, now)
                elif key in self._by_desk:
                    self._end(stay, DESK, now)
                elif stay.stayed >= days * DAY_S:
                    self._end(stay, TIME, now)
                if stay.ended:
                    changed.append((key, stay))
                    self._by_users.discard(key)
            if gone:
                del self.stays[key]
        self._by_desk.clear()
        for key in may & compromised.keys() if served else ():
            known = self.stays.get(key)
            if (known is None and len(self.stays) < MOST) or (known is not None and known.by in (SELF, ISP)):
                self.stays[key] = Stay(compromised[key], now)
                changed.append((key, self.stays[key]))
        return changed

    def _end(self, stay: Stay, by: By, now: float) -> None:
        stay.ended, stay.by = now, by

    @property
    def held(self) -> set[bytes]:
        """The devices that are in quarantine."""
        return {key for key, stay in self.stays.items() if not stay.ended}

    def by_users(self, key: bytes, release: bool) -> None:
        """Its users release it now; or, after all, not."""
        if release:
            self._by_users.add(key)
        else:
            self._by_users.discard(key)

    def by_desk(self, key: bytes) -> bool:
        """The ISP's desk ends a stay with the next look. False: the device is not in quarantine."""
        if key not in self.held:
            return False
        self._by_desk.add(key)
        return True

    def rekeyed(self, before: bytes, after: bytes) -> None:
        """A device continues under another key."""
        if before in self.stays:
            self.stays[after] = self.stays.pop(before)

    # ── across restarts ─────────────────────────────────────────────────────────────────────────

    def plain(self) -> list[Any]:
        """For JSON."""
        return [
            [key.hex(), stay.since, stay.began, stay.stayed, stay.ended, stay.by] for key, stay in self.stays.items()
        ]

    def restore(self, plain: Any) -> None:
        """Takes what `plain` has given. Raises ValueError if it is anything else."""
        try:
            for key, since, began, stayed, ended, by in plain[:MOST]:
                stay = Stay(float(since), float(began))
                stay.stayed, stay.ended = max(0.0, float(stayed)), float(ended)
                stay.by = by if by in (SELF, ISP, TIME, DESK) else ""
                self.stays[bytes.fromhex(key)] = stay
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not what was saved: {error}") from None
