"""Evidence -> score -> standing: a CUSUM over each device's log-likelihood ratios (Page 1954).

Knows how evidence adds up. Must not know what the indicators mean. The sum never falls below zero, so a bot
after a clean year is found as fast as one on the first day, and is never reset by a clock, so a slow bot is
found in as many messages as a fast one. With bounded increments the false-alarm interval of a threshold h is at
least e^h sessions (Lorden 1971), as far as the weights are true ratios.

Two sums are kept: what SYNs alone show (destinations, failed connections), and what was said. The first
counts up to `SYN_CAP` only: a newsletter's first run and a bot look alike on SYNs, so that much makes a device
suspected, and a conviction takes words as well.
"""

from __future__ import annotations

from cpe_filter.detect.evidence import FADE_FLOOR, INDICATORS, LEGITIMATE, SYN_ONLY

CLEAR, SUSPECTED, COMPROMISED = "clear", "suspected", "compromised"

#: ln 1000 and ln 1e6: one false suspicion in 1,000 sessions, one false conviction in a million.
SUSPECT_AT = 6.9
CONVICT_AT = 13.8
#: A suspicion ends below this.
CLEAR_BELOW = 3.0
#: The most that evidence from SYNs alone counts.
SYN_CAP = 9.0
#: What was said outweighs that it was said to a stranger: evidence of legitimate use counts so much against SYNs.
SYN_RELIEF = 4.0
#: What one session's words may add, and take.
SESSION_CLIP = 4.0
SESSION_FLOOR = -2.5
#: What remains of a weight where the device got the same from the same neighbourhood before.
REPEATED = 0.1
#: And the discount for each further time of that: all of it together adds no more than the first time did.
REPEATED_FADE = 0.9
#: A family supports a conviction when it gave at least so much.
FAMILY_MINIMUM = 1.0


class Tally:
    """How often an indicator fired on a device, and what it has added in all (nats)."""

    __slots__ = ("count", "weight")

    def __init__(self, count: int = 0, weight: float = 0.0) -> None:
        self.count = count
        self.weight = weight


class Score:
    """One device's evidence: `syn` and `talk` are the two sums, nats."""

    __slots__ = ("standing", "syn", "talk", "tallies")

    def __init__(self) -> None:
        self.syn = 0.0
        self.talk = 0.0
        self.standing = CLEAR
        self.tallies: dict[str, Tally] = {}

    @property
    def value(self) -> float:
        """The score that the thresholds are for."""
        return min(self.syn, SYN_CAP) + self.talk

    def add(self, name: str, gained: float, fresh: bool = True) -> float:
        """An indicator fired in a session whose words have given `gained` so far. Returns what they have given then.

        `fresh` is False where the device met this server's neighbourhood before: the same finding there is hardly
        news, and fades away entirely, so that one misconfigured printer at one server never adds up to a bot.
        """
        indicator = INDICATORS[name]
        tally = self.tallies.get(name)
        if tally is None:
            tally = self.tallies[name] = Tally()
        weight = indicator.weight
        if weight > 0:
            if fresh:
                weight *= max(FADE_FLOOR, indicator.fade**tally.count)
            else:
                weight *= REPEATED * min(indicator.fade, REPEATED_FADE) ** tally.count
        tally.count += 1
        if indicator.family in SYN_ONLY:
            tally.weight += weight
            self.syn = self.syn + weight
            return gained
        change = max(SESSION_FLOOR, min(SESSION_CLIP, gained + weight)) - gained
        if weight < 0:
            # Cap first: what lies above it must not shield the sum from evidence of legitimate use.
            self.syn = max(0.0, min(self.syn, SYN_CAP) + SYN_RELIEF * change)
            change = max(change, -self.talk)  # what is not there cannot be taken, and gives a session no room
        tally.weight += change
        self.talk += change
        return gained + change

    @property
    def families(self) -> list[str]:
        """Families of evidence against the device that gave enough to count."""
        sums: dict[str, float] = {}
        for name, tally in self.tallies.items():
            family = INDICATORS[name].family
            if family != LEGITIMATE:
                sums[family] = sums.get(family, 0.0) + tally.weight
        return sorted(family for family, weight in sums.items() if weight >= FAMILY_MINIMUM)

    def judge(self) -> bool:
        """Brings the standing up to date; True if it changed. A conviction stays."""
        before = self.standing
        if before == COMPROMISED:
            return False
        value = self.value
        if value >= CONVICT_AT and self._may_convict():
            self.standing = COMPROMISED
        elif value >= SUSPECT_AT:
            self.standing = SUSPECTED
        elif value < CLEAR_BELOW:
            self.standing = CLEAR
        return self.standing != before

    def _may_convict(self) -> bool:
        """Two families, one of them more than SYNs show."""
        families = self.families
        return len(families) >= 2 and not SYN_ONLY.issuperset(families)
