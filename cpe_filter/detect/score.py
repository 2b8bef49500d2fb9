"""Evidence -> score -> standing: a CUSUM (Page 1954) over each device's log-likelihood ratios, one sum for each kind of
legitimate sender that a device might be.

Knows how evidence adds up. Must not know what the indicators mean. No sum falls below zero, so a bot after a clean
year is found as fast as one on the first day. No clock resets a sum, so a slow bot is found in as many messages as a
fast one.

A device is compromised when it looks like a bot rather than like *any* sender of *any* kind in
`evidence.SENDER_PROFILES`: the sum that is least compared with what its kind takes decides. A kind is a whole range of
senders, bounded by rates. Each sum is taken against the kind's least favourable member, the one at all bounds (Huber
1965). For an indicator that a bot shows with rate q and no sender of the kind with more than p, the mean of the
likelihood ratio, p q/p + (1 - p)(1 - q)/(1 - p), is 1, and it is less for a sender with less than p. So whichever
sender of the kind a device is, and however its rates change within the bounds, the contacts between two times that a
sum exceeds h are e^h at least (Lorden 1971), as far as the indicators of a contact are independent given what came
before. They are not quite, and the absence of habits is not counted; so what comes of it is measured (`make evaluate`).

A bot's rate is not known either. The one that is used is estimated from what this device has shown before (Robbins and
Siegmund 1974): it begins at the row's and moves towards the device's own, within `STRENGTH` contacts. As it never uses
what it judges, the bound holds whatever it is.

Evidence that only the device's side of a connection shows may have been sent by any host in the home in its name. So
there are two rows of sums. `sums` add what both ends of connections show, and convict. `loose` add everything, and can
only make a device suspected.
"""

from __future__ import annotations

import math

from cpe_filter.detect.evidence import CLIP, FAMILIES, INDICATORS, LEGITIMATE, SENDER_PROFILES, SHARES, UNSPOKEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from cpe_filter.detect.evidence import Indicator

    Standing = Literal["clear", "unusual", "suspected", "compromised"]

CLEAR: Standing = "clear"
#: Passes for a mail server (see detect.unusual). Nothing is held against the device.
UNUSUAL: Standing = "unusual"
SUSPECTED: Standing = "suspected"
COMPROMISED: Standing = "compromised"

#: The false-alarm interval is measured: `python -m tests.evaluate.calibrate` prints how many contacts of each simulated
#: sender lie between two times that its score comes to the threshold, next to Lorden's e^h.
SUSPECT_AT = 7.5
CONVICT_AT = 10.5
#: A suspicion ends below this.
CLEAR_BELOW = 3.0
#: The most that a sum may hold, so that legitimate mail can bring it down again.
MOST = 20.0
#: The most that one session may add to the score: less than convicts.
SESSION_CLIP = 9.0
#: After a release each sum begins with this share of what convicts.
PROBATION = 0.4
#: An indicator's firings are counted up to here.
MANY = 65535
#: The most that evidence of one side alone can come to.
_NO_PROOF = CONVICT_AT - 0.1
#: A family supports a conviction when it gave at least so much (`Score.credits`).
FAMILY_MINIMUM = 1.0
#: The family of each indicator as a place in `FAMILIES`; evidence for a sender belongs to none.
_FAMILY = {name: FAMILIES.index(row.family) for name, row in INDICATORS.items() if row.family in FAMILIES}
#: Contacts that the table's rate of a bot is worth, next to the device's own; and what a contact is worth one later.
STRENGTH, FADE = 1.0, 0.85
#: No bot is taken to show an indicator more often than that.
_SURE = 0.9

#: What each sum has to reach for a conviction, and how much a nat of it adds to the score.
_NEEDED = tuple(CONVICT_AT + math.log(share) for share in SHARES)
_SCALES = tuple(CONVICT_AT / needed for needed in _NEEDED)
#: So many steps to take back what raised the score too much.
_FITS = 8
#: One indicator raises the score by less than that.
_ALLOWANCE_FOR_ALL = CLIP * max(_SCALES)
#: A habit: the sums that it changes, with its weight. Most habits that show in every session change few.
_WEIGHTS = {
    name: tuple((n, weight) for n, weight in enumerate(row.weights) if weight)
    for name, row in INDICATORS.items()
    if row.repeat
}
#: A rate: the sums that it changes, with the bound, its logarithm, and that of what is left to 1.
_BOUNDS = {
    name: tuple((n, p, math.log(p), math.log(1 - p)) for n, p in enumerate(row.usual) if p)
    for name, row in INDICATORS.items()
    if not row.repeat
}


#: The built-in rows of the indicators that a table from outside has changed (detect.rates).
built_in: dict[str, Indicator] = {}


def weigh(name: str, row: Indicator) -> None:
    """From now on the indicator weighs as in this row (detect.rates). A contact that shows a rate weighs by the row's
    bound; one that does not, by the built-in one."""
    if row.repeat:
        _WEIGHTS[name] = tuple((n, weight) for n, weight in enumerate(row.weights) if weight)
        return
    own = built_in.get(name, row).usual
    _BOUNDS[name] = tuple(
        (n, p, math.log(max(p, row.usual[n] or 1.0)), math.log(1 - p)) for n, p in enumerate(own) if p
    )


class Tally:
    """How often an indicator fired on a device, and what it has added to the score in all (nats).

    count: 0 for a rate that might have fired and did not. loose: the part of the weight that only one side has shown.
    hits, chances: how often a rate fired and might have, lately.
    """

    __slots__ = ("chances", "count", "hits", "loose", "weight")

    def __init__(self, count: int = 0, weight: float = 0.0) -> None:
        self.count = count
        self.weight = weight
        self.loose = self.hits = self.chances = 0.0


class Score:
    """One device's evidence. `sums`: nats, in the order of `SENDER_PROFILES`; `tallies`: by indicator.

    loose: the same, including what only one side has shown; None if that adds nothing.
    credits: what each of `FAMILIES` has added to the score or to the ordinary mail server's sum, whichever is more,
    since that sum was last 0; empty: nothing.
    """

    __slots__ = ("credits", "loose", "standing", "sums", "tallies", "value")

    def __init__(self) -> None:
        self.sums = [0.0] * len(SENDER_PROFILES)
        self.loose: list[float] | None = None
        self.credits: list[float] = []
        self.value = 0.0
        self.standing: Standing = CLEAR
        self.tallies: dict[str, Tally] = {}

    def add(self, name: str, allowance: float, part: float = 1.0, proven: bool = True) -> float:
        """An indicator fired in a session that may still add `allowance` to the score. Returns what is left of that.

        part: of its weight, where something else explains the rest. proven: both ends of a connection show it.
        """
        tally = self._tally(name)
        repeat = INDICATORS[name].repeat
        changes: Changes
        if not repeat:
            changes = _at_rate(name, tally, True)
        elif repeat < 1:
            changes, part = _WEIGHTS[name], part * repeat**tally.count
        else:
            changes = _WEIGHTS[name]
        if tally.count < MANY:
            tally.count += 1
        before, sure = self.value, _value(self.sums)
        if self.standing == COMPROMISED:  # one more suspicion changes nothing
            self.loose = None
        start = None
        if allowance < _ALLOWANCE_FOR_ALL:
            start = [*self.sums], None if self.loose is None else [*self.loose]
        if proven:
            self._raise(changes, part)
        elif self.standing != COMPROMISED:
            if self.loose is None:
                self.loose = [*self.sums]
            _raise(self.loose, changes, part)
        self._weigh()
        if start is not None and self.value - before > allowance:
            self._fit(*start, before, allowance)
        added = self.value - before
        if proven:  # for a conviction, whatever one side alone has shown
            gained = _value(self.sums) - sure
            tally.weight += gained
            self._credit(name, max(gained, _first(changes) * part))
        else:
            tally.weight += added
            tally.loose += added
        return max(0.0, allowance - max(0.0, added))

    def _fit(self, sums: list[float], loose: list[float] | None, before: float, allowance: float) -> None:
        """Takes back what raised the score by more than `allowance`, from all sums alike. sums, loose: before it."""
        for _ in range(_FITS):  # the least of the sums is another one on the way
            share = allowance / (self.value - before)
            if self.loose is not None:
                self.loose = [one + share * (now - one) for one, now in zip(loose or sums, self.loose, strict=True)]
            self.sums = [one + share * (now - one) for one, now in zip(sums, self.sums, strict=True)]
            self._weigh()
            if self.value - before <= allowance:
                return
        self.sums, self.loose = sums, loose
        self._weigh()

    def _tally(self, name: str) -> Tally:
        tally = self.tallies.get(name)
        if tally is None:
            tally = self.tallies[name] = Tally()
        return tally

    def lack(self, name: str, part: float = 1.0) -> None:
        """A rate that might have fired at a contact did not. part: of its weight."""
        tally = self._tally(name)
        if not any(self.sums[n] for n, *_ in _BOUNDS[name]):
            tally.hits = tally.chances = 0.0  # no change is under way: what comes is estimated again
            return
        sure = _value(self.sums)
        changes = _at_rate(name, tally, False)
        self._raise(changes, part)
        self._weigh()
        gained = _value(self.sums) - sure
        tally.weight += gained
        self._credit(name, min(gained, _first(changes) * part))

    def _raise(self, changes: Changes, part: float) -> None:
        _raise(self.sums, changes, part)
        if self.loose is not None:
            _raise(self.loose, changes, part)
            if self.loose == self.sums:
                self.loose = None

    def _credit(self, name: str, nats: float) -> None:
        """A family has added to the score, or to the ordinary mail server's sum. It counts where sums are full, too."""
        if not self.sums[0]:
            if self.credits:
                self.credits = []
        elif nats and name in _FAMILY:
            if not self.credits:
                self.credits = [0.0] * len(FAMILIES)
            place = _FAMILY[name]
            self.credits[place] = min(MOST, max(0.0, self.credits[place] + nats))

    def _weigh(self) -> None:
        """The score is the distance from the sender that it is nearest to, as a share of what convicts."""
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
        return sorted(
            family for family, credit in zip(FAMILIES, self.credits, strict=False) if credit >= FAMILY_MINIMUM
        )

    def judge(self) -> bool:
        """Brings the standing up to date; True if it changed. A conviction stays."""
        before = self.standing
        if before == COMPROMISED:
            return False
        if self.value >= CONVICT_AT and self._may_convict():  # `loose` alone never comes to so much
            self.standing = COMPROMISED
        elif self.value >= SUSPECT_AT:
            self.standing = SUSPECTED
        elif self.value < CLEAR_BELOW and before == SUSPECTED:  # evidence does not end `unusual`
            self.standing = CLEAR
        return self.standing != before

    def release(self) -> None:
        """A person has declared the device cleaned. It is watched, half way between nothing and the thresholds.

        All evidence counts as new again. New evidence convicts it sooner than the first time, or clears it.
        """
        self.sums = [PROBATION * scale for scale in _NEEDED]
        self.loose = None
        self.credits = []
        self.tallies.clear()
        self._weigh()
        self.standing = SUSPECTED

    def restore(self, standing: Standing, sums: list[float], tallies: dict[str, Tally]) -> None:
        """Sets the score to what it was before a restart. sums: in the order of `SENDER_PROFILES`."""
        self.sums = [min(MOST, max(0.0, value)) for value in sums]
        self.loose = None
        self.credits = []
        self.tallies = tallies
        self._weigh()
        self.standing = standing

    def _may_convict(self) -> bool:
        """Two families, one of them more than SYNs show."""
        families = self.families
        return len(families) >= 2 and not UNSPOKEN.issuperset(families)


#: What says nothing of several devices together: each has names and servers of its own.
_OF_ONE = frozenset(("helo-rotates", "helo-domain-rotates", "sender-rotates", "new-pair", "breadth"))


class SharedScore(Score):
    """A score to which several devices add. left: nats that the device with the current evidence may still add."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        super().__init__()
        self.left = 0.0

    def add(self, name: str, allowance: float, part: float = 1.0, proven: bool = True) -> float:
        if name in _OF_ONE:
            return allowance
        allowed = min(allowance, self.left)
        used = allowed - super().add(name, allowed, part, proven)
        self.left = max(0.0, self.left - used)
        return max(0.0, allowance - used)

    def lack(self, name: str, part: float = 1.0) -> None:
        if name not in _OF_ONE:
            super().lack(name, part)


if TYPE_CHECKING:
    from collections.abc import Iterable

    Changes = Iterable[tuple[int, float]]


def against(score: Score, most: int) -> tuple[str, ...]:
    """The indicators against a device, the heaviest first: a habit weighs once, a rate with each contact."""
    found = [
        (max(INDICATORS[name].weights) * (1 if INDICATORS[name].repeat else min(tally.count, 4)), name)
        for name, tally in score.tallies.items()
        if tally.count and any(INDICATORS[name].weights) and INDICATORS[name].family != LEGITIMATE
    ]
    return tuple(name for _, name in sorted(found, reverse=True)[:most])


def _at_rate(name: str, tally: Tally, fired: bool) -> list[tuple[int, float]]:
    """The sums that a rate changes at a contact, with weights: where a bot's rate is on the bot's side of the bound.

    The contact counts for the device's own rate afterwards.
    """
    row = INDICATORS[name]
    table, legitimate = row.bot, row.family == LEGITIMATE
    bot = min(_SURE, (STRENGTH * table + tally.hits) / (STRENGTH + tally.chances))
    changes = []
    weight = math.log(bot if fired else 1 - bot)
    least = 0.0 if fired and not legitimate else -CLIP  # by a bound from outside (weigh), which may be above the bot's
    for n, bound, shown, absent in _BOUNDS[name]:
        if (bot < bound) if legitimate else (bot > bound):
            changes.append((n, max(least, min(CLIP, weight - (shown if fired else absent)))))
    tally.hits = tally.hits * FADE + fired
    tally.chances = tally.chances * FADE + 1
    return changes


def _first(changes: Changes) -> float:
    """What they add to the first sum, the ordinary mail server's."""
    for n, weight in changes:  # in order
        return 0.0 if n else weight
    return 0.0


def _raise(sums: list[float], changes: Changes, part: float) -> None:
    for n, weight in changes:
        # Plain comparisons, and as few as possible: this runs for every piece of evidence.
        total = sums[n] + weight * part
        sums[n] = total if 0 < total < MOST else 0.0 if total <= 0 else MOST


def _value(sums: list[float]) -> float:
    value = MOST
    for n, scale in enumerate(_SCALES):
        share = scale * sums[n]
        if share < value:  # noqa: PLR1730
            value = share
    return value
