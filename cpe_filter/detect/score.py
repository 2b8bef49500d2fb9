"""Evidence -> score -> standing: a CUSUM (Page 1954) over each device's log-likelihood ratios, one sum for each kind of
legitimate sender that a device might be.

Knows how evidence adds up. Must not know what the indicators mean. No sum falls below zero, so a bot after a clean
year is found as fast as one on the first day. No clock resets a sum, so a slow bot is found in as many messages as a
fast one.

A device is compromised when it looks like a bot rather than like *any* of `evidence.SENDER_PROFILES`: the smallest sum
decides. That bounds the error. Whichever of these senders a device is, its own sum is a CUSUM against it and has to
pass the threshold as well. (Lorden's e^h sessions between false alarms would hold if the indicators of a contact were
independent and their absence counted, too. They are not, so the interval is measured; see below.) A device is suspected
when it looks like a bot rather than like the first of them, the ordinary mail server. On SYNs alone a newsletter's
first run does that, too.

Evidence that only the device's side of a connection shows may have been sent by any host in the home in its name. So
there are two rows of sums. `sums` add what both ends of connections show, and convict. `loose` add everything, and can
only make a device suspected.
"""

from __future__ import annotations

import math

from cpe_filter.detect.evidence import INDICATORS, LEGITIMATE, SENDER_PROFILES, SHARES, UNSPOKEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Standing = Literal["clear", "suspected", "compromised"]

CLEAR: Standing = "clear"
SUSPECTED: Standing = "suspected"
COMPROMISED: Standing = "compromised"

#: The false-alarm interval is measured: `python -m tests.evaluate.calibrate` prints after how many first contacts and
#: sessions each sender passes the threshold by chance, next to Lorden's e^h.
SUSPECT_AT = 8.0
CONVICT_AT = 11.3
#: A suspicion ends below this.
CLEAR_BELOW = 3.0
#: The most that a sum may hold, so that legitimate mail can bring it down again.
MOST = 20.0
#: The most that one session may add: less than it takes to convict all but the rare senders.
SESSION_CLIP = 10.0
#: After a release each sum begins with this share of what convicts.
PROBATION = 0.4
#: An indicator's firings are counted up to here.
MANY = 65535
#: The most that evidence of one side alone can come to.
_NO_PROOF = CONVICT_AT - 0.1
#: A family supports a conviction when it gave at least so much.
FAMILY_MINIMUM = 1.0

_ORDINARY, _OTHERS = 0, range(1, len(SENDER_PROFILES))
#: What each sum has to reach for a conviction, and how much a nat of it adds to the score beyond suspicion.
_NEEDED = tuple(CONVICT_AT + math.log(share) for share in SHARES)
_SCALES = tuple((CONVICT_AT - SUSPECT_AT) / needed for needed in _NEEDED)
#: The sums that an indicator changes, with its weight. Most indicators that fire in every session change one or two.
_WEIGHTS = {
    name: tuple((n, weight) for n, weight in enumerate(indicator.weights) if weight)
    for name, indicator in INDICATORS.items()
}


class Tally:
    """How often an indicator fired on a device, and what it has added to the score in all (nats).

    loose: the part of it that only one side has shown.
    """

    __slots__ = ("count", "loose", "weight")

    def __init__(self, count: int = 0, weight: float = 0.0) -> None:
        self.count = count
        self.weight = weight
        self.loose = 0.0


class Score:
    """One device's evidence. `sums`: nats, in the order of `SENDER_PROFILES`; `tallies`: by indicator.

    loose: the same, including what only one side has shown; None if that adds nothing.
    """

    __slots__ = ("loose", "standing", "sums", "tallies", "value")

    def __init__(self) -> None:
        self.sums = [0.0] * len(SENDER_PROFILES)
        self.loose: list[float] | None = None
        self.value = 0.0
        self.standing: Standing = CLEAR
        self.tallies: dict[str, Tally] = {}

    def add(self, name: str, room: float, part: float = 1.0, proven: bool = True) -> float:
        """An indicator fired in a session that may still add `room`. Returns what the session may add after it.

        part: of its weight, where something else explains the rest. proven: both ends of a connection show it.
        """
        indicator = INDICATORS[name]
        tally = self.tallies.get(name)
        if tally is None:
            tally = self.tallies[name] = Tally()
        discount = part * indicator.repeat_discount**tally.count if indicator.repeat_discount < 1 else part
        if tally.count < MANY:
            tally.count += 1
        before = self.value
        if self.standing == COMPROMISED:  # one more suspicion changes nothing
            self.loose = None
        if not proven and self.standing == COMPROMISED:
            heaviest = 0.0
        elif not proven:
            if self.loose is None:
                self.loose = [*self.sums]
            heaviest = _raise(self.loose, name, discount, room)
        else:
            heaviest = _raise(self.sums, name, discount, room)
            if self.loose is not None:
                _raise(self.loose, name, discount, room)
                if self.loose == self.sums:
                    self.loose = None
        self._weigh()
        added = self.value - before
        tally.weight += added
        if not proven:
            tally.loose += added
        return room - heaviest if heaviest < room else 0.0

    def _weigh(self) -> None:
        """Up to `SUSPECT_AT` the score is the distance from an ordinary mail server; beyond, from all senders."""
        self.value = _value(self.sums)
        if self.loose is not None:
            self.value = max(self.value, min(_value(self.loose), _NO_PROOF))

    @property
    def nearest_profile(self) -> str:
        """The legitimate sender that the device is most like: the one whose sum decides."""
        return min(self.profile_margins, key=lambda sender: sender[1] / sender[2])[0]

    @property
    def profile_margins(self) -> list[tuple[str, float, float]]:
        """(a legitimate sender, evidence that the device is not one, how much of it rules that sender out), nats."""
        return list(zip(SENDER_PROFILES, self.sums, _NEEDED, strict=True))

    @property
    def families(self) -> list[str]:
        """The families that gave enough evidence against the device to count, from what both ends show."""
        sums: dict[str, float] = {}
        for name, tally in self.tallies.items():
            family = INDICATORS[name].family
            if family != LEGITIMATE:
                sums[family] = sums.get(family, 0.0) + tally.weight - tally.loose
        return sorted(family for family, weight in sums.items() if weight >= FAMILY_MINIMUM)

    def judge(self) -> bool:
        """Brings the standing up to date; True if it changed. A conviction stays."""
        before = self.standing
        if before == COMPROMISED:
            return False
        if self.value >= CONVICT_AT and self._may_convict():  # `loose` alone never comes to so much
            self.standing = COMPROMISED
        elif self.value >= SUSPECT_AT:
            self.standing = SUSPECTED
        elif self.value < CLEAR_BELOW:
            self.standing = CLEAR
        return self.standing != before

    def release(self) -> None:
        """A person has declared the device cleaned. It is watched, half way between nothing and the thresholds.

        All evidence counts as new again. New evidence convicts it sooner than the first time, or clears it.
        """
        self.sums = [PROBATION * scale for scale in _NEEDED]
        self.loose = None
        self.tallies.clear()
        self._weigh()
        self.standing = SUSPECTED

    def restore(self, standing: Standing, sums: list[float], tallies: dict[str, Tally]) -> None:
        """Sets the score to what it was before a restart. sums: in the order of `SENDER_PROFILES`."""
        self.sums = [min(MOST, max(0.0, value)) for value in sums]
        self.loose = None
        self.tallies = tallies
        self._weigh()
        self.standing = standing

    def _may_convict(self) -> bool:
        """Two families, one of them more than SYNs show."""
        families = self.families
        return len(families) >= 2 and not UNSPOKEN.issuperset(families)


class SharedScore(Score):
    """A score to which several devices add. left: nats that the device with the current evidence may still add."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        super().__init__()
        self.left = 0.0

    def add(self, name: str, room: float, part: float = 1.0, proven: bool = True) -> float:
        allowed = min(room, self.left)
        used = allowed - super().add(name, allowed, part, proven)
        self.left -= used
        return room - used


def _raise(sums: list[float], name: str, discount: float, room: float) -> float:
    """Adds an indicator's weights to the sums. Returns the heaviest, 0 if no weight is against the device."""
    heaviest = 0.0
    for n, weight in _WEIGHTS[name]:
        change = weight * discount
        # Plain comparisons, and as few as possible: this runs for every piece of evidence.
        if change > 0:
            if change > heaviest:  # noqa: PLR1730
                heaviest = change
            total = sums[n] + (change if change < room else room)
            sums[n] = total if total < MOST else MOST
        elif sums[n]:  # nothing takes from a sum of 0
            total = sums[n] + change
            sums[n] = total if total > 0 else 0.0
    return heaviest


def _value(sums: list[float]) -> float:
    value = sums[_ORDINARY]
    if value > SUSPECT_AT:  # none of the others gives less than that
        for n in _OTHERS:
            other = SUSPECT_AT + _SCALES[n] * sums[n]
            if other < value:  # noqa: PLR1730
                value = other
    return value
