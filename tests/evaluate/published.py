"""Published methods and thresholds in use, on the same sessions: when does each raise its alarm?

Knows the methods of the papers that it names. A message's label is the server's reply to it (spam: refused
with 5yz), because no content is read; a message that STARTTLS hides has no label. Each method restarts after an alarm,
as in practice.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from cpe_filter.inspect.session import LOST, REFUSED, TRYING
from tests.evaluate.facts import Session, messages


class Method(Protocol):
    def see(self, session: Session, labels: Sequence[bool]) -> bool:
        """Takes a session with its messages' labels; True where it raises an alarm."""


class Sprt:
    """Wald's test between two Bernoulli rates, restarted after either answer."""

    def __init__(self, theta1: float, theta0: float, alpha: float = 0.01, beta: float = 0.01) -> None:
        self._up, self._down = math.log(theta1 / theta0), math.log((1 - theta1) / (1 - theta0))
        self._high, self._low = math.log((1 - beta) / alpha), math.log(beta / (1 - alpha))
        self._sum = 0.0

    def add(self, positive: bool) -> bool:
        self._sum += self._up if positive else self._down
        if self._sum >= self._high:
            self._sum = 0.0
            return True
        if self._sum <= self._low:
            self._sum = 0.0
        return False


class Spot:
    """SPOT (Duan et al. 2012): theta1 .9, theta0 .2, alpha = beta = .01."""

    def __init__(self) -> None:
        self._test = Sprt(0.9, 0.2)

    def see(self, session: Session, labels: Sequence[bool]) -> bool:
        return max([self._test.add(label) for label in labels], default=False)


class Trw:
    """TRW (Jung 2004) on first contacts: a connect fails with .8 (bot) or .2; alpha = beta = .01."""

    def __init__(self) -> None:
        self._test = Sprt(0.8, 0.2)
        self._known: set[bytes] = set()

    def see(self, session: Session, labels: Sequence[bool]) -> bool:
        if session.phase == TRYING or session.server in self._known:
            return False
        self._known.add(session.server)
        return self._test.add(session.phase in (LOST, REFUSED))


class Hourly:
    """CT and PT of the SPOT paper, in windows of an hour: more than 30 spams; 6 messages or more, over half spam."""

    def __init__(self, more_than: int = 0, at_least: int = 0) -> None:
        self._more_than, self._at_least = more_than, at_least
        self._hour, self._all, self._spam = -1, 0, 0

    def see(self, session: Session, labels: Sequence[bool]) -> bool:
        if not labels:
            return False
        hour = int(session.time // 3600)
        if hour != self._hour:
            self._hour, self._all, self._spam = hour, 0, 0
        self._all += len(labels)
        self._spam += sum(labels)
        if self._at_least:
            alarm = self._all >= self._at_least and 2 * self._spam > self._all
        else:
            alarm = self._spam > self._more_than
        if alarm:
            self._all = self._spam = 0
        return alarm


class Rate:
    """So many connections, or MAIL commands that can be read, within so many seconds."""

    def __init__(self, count: int, seconds: float, mail_commands: bool = False) -> None:
        self._seconds, self._mail_commands = seconds, mail_commands
        self._times: deque[float] = deque(maxlen=count)

    def see(self, session: Session, labels: Sequence[bool]) -> bool:
        times = self._times
        count = sum(event.kind == "sender" for event in session.events) if self._mail_commands else 1
        for _ in range(count):
            times.append(session.time)
            if len(times) == times.maxlen and session.time - times[0] <= self._seconds:
                times.clear()
                return True
        return False


#: MikroTik's recipe wants 30 concurrent connections and 50 in 5 s: 50 in 5 s, taken to last so long, are both.
METHODS: dict[str, Callable[[], Method]] = {
    "SPOT": Spot,
    "CT, >30 spams/h": lambda: Hourly(more_than=30),
    "PT, >=6/h, >50 %": lambda: Hourly(at_least=6),
    "TRW on connects": Trw,
    "MikroTik recipe": lambda: Rate(50, 5.0),
    "ET sid 2002087": lambda: Rate(10, 60.0, mail_commands=True),
    "iungonetwork": lambda: Rate(21, 60.0),
    "BotFlex SMTP": lambda: Rate(21, 300.0),
}


class All:
    """Every method at once. `alarms` counts, for each, the days with an alarm; `first` is set by whoever asks."""

    def __init__(self) -> None:
        self._methods = {name: make() for name, make in METHODS.items()}
        self._days: dict[str, int] = dict.fromkeys(METHODS, -1)
        self.alarms: dict[str, int] = dict.fromkeys(METHODS, 0)

    def see(self, session: Session) -> list[str]:
        """The methods that raise an alarm now."""
        labels = messages(session.events)
        out = [name for name, method in self._methods.items() if method.see(session, labels)]
        for name in out:
            day = int(session.time // 86400)
            if self._days[name] != day:
                self._days[name] = day
                self.alarms[name] += 1
        return out
