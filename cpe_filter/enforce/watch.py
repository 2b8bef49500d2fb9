"""Keeps the ruleset in the kernel: what somebody else takes out or changes is found and put back.

Knows how the ruleset is recognised, and when to look. Must not know what is in it: how to put it back is given. A
firewall's restart (`fw4 restart`, `nft flush ruleset`) takes every table out; the filter would sit at a queue that
nothing comes to, and think that nobody sends mail.

The kernel tells of each change; what concerns our tables has the ruleset looked at, at most once a second. It is
recognised by its handles, of which the kernel never gives one twice: rules cannot be changed, only replaced. Sets that
only the policy fills are compared element by element; what rules add to the others is no news anyway.
"""

from __future__ import annotations

import select
from collections.abc import Callable

from cpe_filter.enforce import nfnetlink
from cpe_filter.enforce.nfnetlink import Change, listing, set_elements
from cpe_filter.enforce.ruleset import BY_POLICY, TABLE
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.netlink import attributes, name

#: Seconds between two looks, between two repairs, and between looks where the kernel's news cannot be had.
LOOK_S, MEND_S, BLIND_S = 1.0, 2.0, 5.0
#: Seconds to the next try, at most: after each repair that failed twice as long.
LONGEST_REST_S = 60.0
#: Seconds between two lines in the log about the same thing.
SAY_S = 60.0
#: Datagrams of news read in one turn.
_TURN = 256

_TABLE = TABLE.encode()
_BY_POLICY = frozenset(name.encode() for name in BY_POLICY)
# Attributes (linux/netfilter/nf_tables.h).
_TABLE_NAME, _TABLE_FLAGS, _TABLE_HANDLE = 1, 2, 4
_CHAIN_TABLE, _CHAIN_HANDLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY = 1, 2, 3, 4, 5
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE = 1, 2, 3
_SET_TABLE, _SET_NAME, _SET_FLAGS, _SET_HANDLE = 1, 2, 3, 16
_OBJECT_TABLE, _OBJECT_NAME, _OBJECT_TYPE, _OBJECT_DATA = 1, 2, 3, 4
_COUNTER, _COUNTER_BYTES, _COUNTER_PACKETS = 1, 1, 2
#: Sets whose elements cannot change (constant), or do so by themselves (timeout, filled by rules).
_CONSTANT, _BY_ITSELF = 0x2, 0x30


class Ward(NamedTuple):
    """Something that is to stay in the kernel.

    concerns: whether a change may have touched it. wrong: what is the matter with it, "" if nothing; may raise OSError.
    mend: puts it back; "" or why it could not.
    """

    title: str
    concerns: Callable[[Change], bool]
    wrong: Callable[[], str]
    mend: Callable[[], str]


class Ruleset:
    """The ruleset as a ward. `installed` after each change of our own: what is there then is right."""

    def __init__(self, install: Callable[[], str]) -> None:
        self._install = install
        self._right: tuple[bytes, ...] = ()

    def installed(self) -> None:
        """Our own change is done. Raises OSError."""
        self._right = _table()

    def ward(self) -> Ward:
        return Ward("the ruleset", self._concerns, self._wrong, self._mend)

    def _concerns(self, change: Change) -> bool:
        if change.family != nfnetlink.INET or change.table != _TABLE:
            return False
        # The filter, and rules, change elements of other sets all the time.
        return change.what != nfnetlink.ELEMENT or change.name in _BY_POLICY

    def _wrong(self) -> str:
        found = _table()
        if not found:
            return "was taken out"
        return "" if found == self._right else "was changed"

    def _mend(self) -> str:
        error = self._install()
        if not error:
            self.installed()
        return error


def _table() -> tuple[bytes, ...]:
    """Our own table, empty where it is not there. Raises OSError."""
    parts = []
    for found in _ours(nfnetlink.TABLE):
        parts.append(_kept(found, _TABLE_FLAGS, _TABLE_HANDLE))
    if not parts:
        return ()
    for found in _ours(nfnetlink.CHAIN):
        parts.append(_kept(found, _CHAIN_HANDLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY))
    for found in _ours(nfnetlink.RULE, (_RULE_TABLE, _TABLE + b"\0")):
        parts.append(_kept(found, _RULE_CHAIN, _RULE_HANDLE))
    for found in _ours(nfnetlink.SET, (_SET_TABLE, _TABLE + b"\0")):
        parts.append(_kept(found, _SET_NAME, _SET_HANDLE))
        flags = int.from_bytes(found.get(_SET_FLAGS, b""), "big")
        if flags & (_CONSTANT | _BY_ITSELF):
            continue
        try:
            parts += sorted(set_elements(_TABLE, name(found[_SET_NAME])))  # a hash table's order may change
        except FileNotFoundError:
            continue  # it went meanwhile; the news of that is on its way
    return tuple(parts)


def _ours(what: int, *given: tuple[int, bytes]) -> list[dict[int, bytes]]:
    """Everything of a kind in our table."""
    try:
        found = [dict(attributes(data)) for _, data in listing(what, nfnetlink.INET, *given)]
    except FileNotFoundError:
        return []
    return [one for one in found if name(one.get(1, b"")) == _TABLE]


def _kept(found: dict[int, bytes], *kinds: int) -> bytes:
    return b"".join(b"%d:" % kind + found.get(kind, b"") for kind in kinds)


def counters() -> dict[str, tuple[int, int]]:
    """The ruleset's named counters: packets and bytes. Empty where it is not there. Raises OSError."""
    counted = {}
    given = ((_OBJECT_TABLE, _TABLE + b"\0"), (_OBJECT_TYPE, _COUNTER.to_bytes(4, "big")))
    for found in _ours(nfnetlink.OBJECT, *given):
        data = dict(attributes(found.get(_OBJECT_DATA, b"")))
        packets, size = (int.from_bytes(data.get(kind, b""), "big") for kind in (_COUNTER_PACKETS, _COUNTER_BYTES))
        counted[name(found.get(_OBJECT_NAME, b"")).decode("ascii", "replace")] = packets, size
    return counted


class Counters:
    """The kernel's counters since the filter's start. A new ruleset begins at 0; these go on."""

    def __init__(self) -> None:
        self.totals: dict[str, tuple[int, int]] = {}
        self._last: dict[str, tuple[int, int]] = {}

    def read(self) -> None:
        """Raises OSError; the totals then stay as they are."""
        now = counters()
        for title, (packets, size) in now.items():
            before = self._last.get(title, (0, 0))
            if packets < before[0]:
                before = 0, 0
            total = self.totals.get(title, (0, 0))
            self.totals[title] = total[0] + packets - before[0], total[1] + size - before[1]
        self._last = now

    def restart(self) -> None:
        """The ruleset is a new one."""
        self._last = {}


class Watch:
    """Looks after `wards`. Registers with `poll`: `serve` a descriptor of ours (`in`), `tick` every second.

    Times are seconds that never go back. `mended` counts repairs.
    """

    def __init__(self, wards: list[Ward], poll: select.poll, log: Callable[[str], None]) -> None:
        self.mended = 0
        self._wards = [_Watched(ward) for ward in wards]
        self._poll = poll
        self._log = log
        self._ours = False  # of the changes told since the last generation one concerns a ward
        self._by = ""
        self._socket: socket.socket | None = None
        try:
            self._socket = nfnetlink.news()
        except OSError as error:
            log(f"the kernel tells of no changes to its rules ({error.strerror}): looked for every {BLIND_S:g} s")
        else:
            poll.register(self._socket.fileno(), select.POLLIN)

    def __contains__(self, fd: int) -> bool:
        return self._socket is not None and fd == self._socket.fileno()

    def serve(self, now: float) -> None:
        """Reads what the kernel tells, and looks where that concerns a ward."""
        if self._socket is None:
            return
        try:
            for _ in range(_TURN):
                for change in nfnetlink.changes(self._socket):
                    self._heard(change)
        except BlockingIOError:
            pass
        except OSError:  # ENOBUFS: there was more than the kernel could keep for us
            for watched in self._wards:
                watched.due = True
        self._look(now)

    def _heard(self, change: Change) -> None:
        if change.what == nfnetlink.GENERATION:
            if self._ours:
                self._by = change.by
            self._ours = False
            return
        for watched in self._wards:
            if watched.ward.concerns(change):
                watched.due = self._ours = True

    def tick(self, now: float) -> None:
        """What had to wait; everything where the kernel does not tell."""
        for watched in self._wards:
            if self._socket is None and now - watched.looked >= BLIND_S:
                watched.due = True
            if watched.unsaid and now - watched.said >= SAY_S:
                self._say_rest(watched, now)
        self._look(now)

    def close(self) -> None:
        if self._socket is not None:
            self._poll.unregister(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _look(self, now: float) -> None:
        for watched in self._wards:
            if not watched.due or now - watched.looked < LOOK_S or now < watched.rests_until:
                continue
            watched.looked, watched.due = now, False
            ward = watched.ward
            try:
                wrong = ward.wrong()
                if not wrong:
                    continue
                error = ward.mend()
            except OSError as problem:
                wrong, error = "was changed", problem.strerror or str(problem)
            by, self._by = f" (by {self._by})" if self._by else "", ""
            if error:
                watched.due = True
                self._say(watched, now, f"{wrong}{by} and could not be restored", f": {error}")
                watched.rest = min(LONGEST_REST_S, max(MEND_S, 2 * watched.rest))
            else:
                self.mended += 1
                self._say(watched, now, f"{wrong} from outside{by}, restored")
                watched.rest = MEND_S
            watched.rests_until = now + watched.rest

    def _say(self, watched: _Watched, now: float, text: str, detail: str = "") -> None:
        """One line a minute; how many more there were is told by `tick`."""
        if now - watched.said < SAY_S:
            watched.unsaid += 1
            return
        if watched.unsaid:
            self._say_rest(watched, now)
        self._log(f"{watched.ward.title} {text}{detail}")
        watched.said = now

    def _say_rest(self, watched: _Watched, now: float) -> None:
        self._log(f"{watched.ward.title}: the same again, not told each time: {watched.unsaid}")
        watched.said, watched.unsaid = now, 0


class _Watched:
    """A ward, and when what was done about it."""

    def __init__(self, ward: Ward) -> None:
        self.ward = ward
        self.due = True  # whether all is well is not known yet
        self.looked = self.rests_until = self.said = float("-inf")
        self.rest = 0.0
        self.unsaid = 0
