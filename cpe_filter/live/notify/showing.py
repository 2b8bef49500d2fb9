"""Whose plain HTTP leads to the notice, and what people have answered there.

Knows which devices are compromised, [notice] of the policy, and the time. Must not know packets, the kernel, HTTP or
words. Pure. Times are the engine's seconds; the hour of the day comes in.

A compromised device's HTTP leads there until it is answered at that device. With `home` the others of the home are
shown it, too, because most infected boxes have no screen: each at most `times_a_day`, until it has opened the page, or
for `SHOWING_S` from the first request that was led there. Who answers at another device ends it for these others, and
not at the device itself: else one bot could silence the notice of another. A device of which people have only "seen"
the notice, and that still sends `remind_days` later, is shown it again as the home's other devices are.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal

    from cpe_filter.policy.model import NoticeTable

    #: seen: read; cleaned: the device has been cleaned; server: it is a mail server; mistake: it is not infected.
    Said = Literal["", "seen", "cleaned", "server", "mistake"]

#: What can be answered.
ANSWERS = ("seen", "cleaned", "server", "mistake")
#: Seconds that HTTP of one of the home's other devices leads there, after the first that has.
SHOWING_S = 900.0
#: Seconds within which a device's releases count, and its answers; and how many answers.
RELEASES_S, ANSWERS_S, MOST_ANSWERS = 30 * 86400.0, 3600.0, 10
#: Compromised devices and other devices that are remembered.
MOST = 256
#: Seconds between two convictions at least; released devices take longer.
SAME_S = 5.0
_DAY_S = 86400.0
#: Days on which people are reminded after an answer.
REMINDED_DAYS = 30


class Notified:
    """A compromised device. since: of its standing. led_at: when HTTP of it was last led to the notice; shown_at: when
    the page was first and last opened at it, and how often. answer: the last answer; by_other: one of the home has seen
    it; others: how often it was opened at those. sends: it has sent mail within a day. Times: 0 if not yet."""

    __slots__ = (
        "answer",
        "answered_at",
        "by_other",
        "first_shown_at",
        "led_at",
        "others",
        "sends",
        "shown",
        "shown_at",
        "since",
    )

    def __init__(self, since: float) -> None:
        self.since = since
        self.led_at = self.first_shown_at = self.shown_at = self.answered_at = 0.0
        self.shown = self.others = 0
        self.answer: Said = ""
        self.by_other = self.sends = False


class _Viewer:
    """One of the home's other devices. began: its first request that was led there; ended: the end of a showing."""

    __slots__ = ("began", "ended", "shown")

    def __init__(self) -> None:
        self.began = self.ended = 0.0
        self.shown = 0


class Showing:
    """`look` now and then; `led`, `opened` and `answer` as it happens."""

    def __init__(self) -> None:
        self.notified: dict[bytes, Notified] = {}
        self._viewers: dict[bytes, _Viewer] = {}
        self._releases: dict[bytes, list[float]] = {}
        self._answers: dict[bytes, list[float]] = {}

    def look(self, compromised: Iterable[tuple[bytes, float]], now: float) -> None:
        """compromised: key and since when, of each compromised device. One that is so again is shown it again.

        A restart moves times by a little, or back with a clock that was set back; a new conviction is a later one.
        """
        found: dict[bytes, Notified] = {}
        for key, since in compromised:
            known = self.notified.get(key)
            if known is None or since - known.since > SAME_S:
                known = Notified(since)
            known.since = since
            known.answered_at = min(known.answered_at, now)
            if len(found) < MOST:
                found[key] = known
        self.notified = found
        for table in (self._releases, self._answers):
            for key, times in list(table.items()):
                if times[-1] > now:  # the clock was set back
                    table[key] = [min(time, now) for time in times]
                elif now - times[-1] > RELEASES_S:
                    del table[key]

    def led_devices(
        self,
        notice: NoticeTable,
        alone: Iterable[bytes],
        others: Iterable[bytes],
        hour: int,
        now: float,
        held: Iterable[bytes] = (),
    ) -> set[bytes]:
        """The MACs whose HTTP leads to the notice now.

        alone: MACs that are of one host; others: those of the home's other devices. Neither has devices that are
        exempt or for emergencies. hour: of the day, 0 to 23. held: those in quarantine: theirs always leads there,
        because it leads nowhere else.
        """
        led = set(held)
        if notice.show == "off" or not is_within(notice.hours, hour):
            return led
        notified = self.notified
        led.update(mac for mac in alone if mac in notified and self._is_open(mac, notice, now))
        if notice.show == "home" and any(not one.answer and not one.by_other for one in notified.values()):
            led.update(mac for mac in others if mac not in notified and self._is_due(mac, notice.times_a_day, now))
        return led

    def _is_open(self, mac: bytes, notice: NoticeTable, now: float) -> bool:
        """Whether a compromised device has not answered, or has to be reminded."""
        one = self.notified[mac]
        if one.answer != "seen" or not one.sends or not notice.remind_days:
            return not one.answer
        days = (now - one.answered_at) / _DAY_S - notice.remind_days
        return 0 <= days < REMINDED_DAYS and self._is_due(mac, notice.times_a_day, now)

    def _is_due(self, mac: bytes, times_a_day: int, now: float) -> bool:
        viewer = self._viewers.get(mac)
        if viewer is None:
            return True
        if viewer.began and now - viewer.began >= SHOWING_S:
            viewer.began, viewer.ended = 0.0, viewer.began + SHOWING_S
        return not viewer.ended or now - viewer.ended >= _DAY_S / times_a_day

    def led(self, mac: bytes, now: float) -> None:
        """A request of this device was led to the notice."""
        one = self.notified.get(mac)
        if one is not None:
            one.led_at = now
            if not one.answer:
                return
        viewer = self._viewer(mac)
        if not viewer.began:
            viewer.began, viewer.ended = now, 0.0

    def opened(self, mac: bytes, now: float) -> Notified | None:
        """The page was opened at this device. Returns what is known of it, if it is compromised."""
        one = self.notified.get(mac)
        if one is not None:
            one.first_shown_at, one.shown_at = one.first_shown_at or now, now
            one.shown += 1
            if one.answer:  # it was a reminder
                viewer = self._viewer(mac)
                viewer.began, viewer.ended = 0.0, now
            return one
        if self.notified:
            viewer = self._viewer(mac)
            viewer.began, viewer.ended = 0.0, now
            viewer.shown += 1
        return None

    def _viewer(self, mac: bytes) -> _Viewer:
        if mac not in self._viewers and len(self._viewers) >= MOST:
            del self._viewers[next(iter(self._viewers))]
        return self._viewers.setdefault(mac, _Viewer())

    @property
    def shown_to_others(self) -> int:
        return sum([viewer.shown for viewer in self._viewers.values()])

    # ── answers ─────────────────────────────────────────────────────────────────────────────────

    def may_answer(self, mac: bytes, now: float) -> bool:
        """Whether this device has not answered too often; this is one more."""
        if mac not in self._answers and len(self._answers) >= MOST:
            del self._answers[next(iter(self._answers))]
        times = [time for time in self._answers.get(mac, []) if now - time < ANSWERS_S]
        self._answers[mac] = [*times, now][-MOST_ANSWERS:]
        return len(times) < MOST_ANSWERS

    def answer(self, mac: bytes, answer: Said, now: float) -> None:
        """An answer at the compromised device itself."""
        one = self.notified[mac]
        one.answer, one.answered_at = answer, now

    def opened_elsewhere(self) -> None:
        """One of the home's other devices was shown it."""
        for one in self.notified.values():
            one.others += 1

    def seen_by_other(self) -> None:
        """One of the home's other devices has seen it."""
        for one in self.notified.values():
            one.by_other = True

    def releases_left(self, mac: bytes, most: int, now: float) -> int:
        """How often it may still be released by people themselves."""
        return max(0, most - len([time for time in self._releases.get(mac, []) if now - time < RELEASES_S]))

    def released(self, mac: bytes, now: float) -> None:
        """It was released by people themselves."""
        if mac not in self._releases and len(self._releases) >= MOST:
            del self._releases[next(iter(self._releases))]
        self._releases[mac] = [*self._releases.get(mac, [])[-31:], now]

    def not_released(self, mac: bytes) -> None:
        """The last release of it has failed, and does not count."""
        times = self._releases.pop(mac)[:-1]
        if times:
            self._releases[mac] = times

    # ── across restarts ─────────────────────────────────────────────────────────────────────────

    def plain(self) -> list[Any]:
        """What must outlive a restart, for JSON: answers, so that nothing is shown again, and releases."""
        answered = [
            [key.hex(), one.since, one.shown, one.shown_at, one.answer, one.answered_at, one.by_other, one.others]
            for key, one in self.notified.items()
            if one.shown or one.answer or one.by_other or one.others
        ]
        return [answered, [[key.hex(), *times] for key, times in self._releases.items()]]

    def restore(self, plain: Any) -> None:
        """Takes what `plain` has given. Raises ValueError if it is anything else."""
        try:
            answered, releases = plain
            for key, since, shown, shown_at, answer, answered_at, by_other, *others in answered[:MOST]:
                one = Notified(float(since))
                one.shown, one.shown_at, one.first_shown_at = int(shown), float(shown_at), float(shown_at)
                one.answer, one.answered_at = (answer if answer in ANSWERS else ""), float(answered_at)
                one.by_other, one.others = bool(by_other), int(others[0]) if others else 0
                self.notified[bytes.fromhex(key)] = one
            for key, *times in releases[:MOST]:
                self._releases[bytes.fromhex(key)] = [float(time) for time in times[-32:]]
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not what was saved: {error}") from None
        self._releases = {key: times for key, times in self._releases.items() if times}

    def rekeyed(self, before: bytes, after: bytes) -> None:
        """A device continues under another key."""
        if before in self.notified:
            self.notified[after] = self.notified.pop(before)
        for table in (self._releases, self._answers):
            if before in table:
                table[after] = table.pop(before)


def is_within(hours: str, hour: int) -> bool:
    """Whether an hour, 0 to 23, lies in `8-22`; `22-6` goes over midnight."""
    first, _, last = hours.partition("-")
    start, end = int(first), int(last)
    return start <= hour < end if start < end else hour >= start or hour < end
