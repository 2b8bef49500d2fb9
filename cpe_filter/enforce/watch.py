"""Keeps the ruleset in the kernel: finds and restores what other programs remove or change.

Knows how the ruleset is recognised, and when to check. Must not know its content; the caller restores it. A firewall's
restart (`fw4 restart`, `nft flush ruleset`) removes every table. The filter would then wait at an empty queue and
conclude that no device sends mail.

The kernel notifies of each change. One that concerns our tables makes us check the ruleset, at most once a second. It
is recognised by its handles, because the kernel never uses a handle twice: rules cannot be changed, only replaced. Sets
that only the policy fills are compared element by element; changes of the others by rules do not matter.
"""

from __future__ import annotations

import select
from collections.abc import Callable

from cpe_filter.enforce import nfnetlink
from cpe_filter.enforce.nfnetlink import Change, listing, set_elements
from cpe_filter.enforce.nftables import KernelError
from cpe_filter.enforce.ruleset_names import TABLE
from cpe_filter.enforce.ruleset_sets import BY_POLICY
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.forked import BackgroundCall, CallFailedError
from cpe_filter.lean.log import Line, Log, err, warning
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.netlink import attributes, name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.clocks import PacketTime

#: Seconds between two checks, between two repairs, and between checks if the kernel does not notify.
LOOK_S, REPAIR_EVERY_S, BLIND_S = 1.0, 2.0, 5.0
#: The most seconds to the next try; the time doubles after each repair that failed.
LONGEST_REST_S = 60.0
#: Seconds that a repair may take, which starts nft twice; and seconds to wait for one when the filter stops.
REPAIR_WAIT_S, CLOSE_S = 45.0, 3.0
#: Seconds between two lines in the log about the same thing.
LOG_EVERY_S = 60.0
#: Datagrams of notifications that are read in one turn.
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
#: Sets whose elements cannot change (constant), or change without us (timeout, filled by rules).
_CONSTANT, _BY_ITSELF = 0x2, 0x30


class Guarded(NamedTuple):
    """Something that must stay in the kernel.

    concerns: whether a change may have touched it. problem: what is wrong with it, or None; may raise OSError.
    repair: restores it; runs in a child process, so that no packet waits, and raises `KernelError` if it cannot.
    repaired: called here after that; may raise OSError.
    """

    title: str
    concerns: Callable[[Change], bool]
    problem: Callable[[], str | None]
    repair: Callable[[], None]
    repaired: Callable[[], None] = lambda: None


class Ruleset:
    """The ruleset, guarded. Call `installed` after each change of our own: the ruleset is right at that time.

    install: loads it (in a child process); installed_again: is called after it was restored.
    """

    def __init__(self, install: Callable[[], None], installed_again: Callable[[], None] = lambda: None) -> None:
        self._install = install
        self._installed_again = installed_again
        self._right: tuple[bytes, ...] = ()

    def installed(self) -> None:
        """Our own change is done. Raises OSError."""
        self._right = _table()

    def guarded(self) -> Guarded:
        return Guarded("ruleset", self._concerns, self._problem, self._install, self._repaired)

    def _concerns(self, change: Change) -> bool:
        if change.family != nfnetlink.INET or change.table != _TABLE:
            return False
        # The filter, and rules, change elements of other sets all the time.
        return change.what != nfnetlink.ELEMENT or change.name in _BY_POLICY

    def _problem(self) -> str | None:
        found = _table()
        if not found:
            return "removed"
        return None if found == self._right else "changed"

    def _repaired(self) -> None:
        self.installed()
        self._installed_again()


def _table() -> tuple[bytes, ...]:
    """Our own table, empty if it does not exist. Raises OSError."""
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
            continue  # it was removed meanwhile; the notification will follow
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
    """The ruleset's named counters: packets and bytes. Empty if it does not exist. Raises OSError."""
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
        self._handle = b""  # of the table that they were read from

    def read(self) -> None:
        """Raises OSError; the totals then stay as they are."""
        handle = b"".join([found.get(_TABLE_HANDLE, b"") for found in _ours(nfnetlink.TABLE)])
        now = counters()
        if handle != self._handle:
            self._last, self._handle = {}, handle
        for title, (packets, size) in now.items():
            before = self._last.get(title, (0, 0))
            if packets < before[0]:
                before = 0, 0
            total = self.totals.get(title, (0, 0))
            self.totals[title] = total[0] + packets - before[0], total[1] + size - before[1]
        self._last = now


class Watch:
    """Guards things in the kernel. On `poll`: call `serve` for a descriptor of ours (`in`), `tick` every second.

    Times are seconds that never go back. `repairs` counts them. `hold` while the caller changes what is guarded.
    """

    def __init__(self, things: list[Guarded], poll: select.poll, log: Log) -> None:
        self.repairs = 0
        self._watched = [_Watched(guarded) for guarded in things]
        self._poll = poll
        self._log = log
        self._held = False
        self._concerned = False  # one of the changes since the last generation concerns something guarded
        self._by = ""
        self._socket: socket.socket | None = None
        try:
            self._socket = nfnetlink.news()
        except OSError as error:
            log(warning(f"no nftables change notifications ({error.strerror}); polling every {BLIND_S:g} s"))
        else:
            poll.register(self._socket.fileno(), select.POLLIN)

    def __contains__(self, fd: int) -> bool:
        if self._socket is not None and fd == self._socket.fileno():
            return True
        return any(fd == watched.fd for watched in self._watched)

    @property
    def is_repairing(self) -> bool:
        return any(watched.call is not None for watched in self._watched)

    def hold(self, held: bool) -> None:
        """While held, nothing is checked and no repair begins, because the filter changes what is guarded."""
        self._held = held

    def serve(self, now: PacketTime) -> None:
        """Reads the kernel's notifications, and checks what is guarded if they concern it; ends repairs."""
        if self._socket is not None:
            try:
                for _ in range(_TURN):
                    for change in nfnetlink.changes(self._socket):
                        self._heard(change)
            except BlockingIOError:
                pass
            except OSError:  # ENOBUFS: there was more than the kernel could keep for us
                for watched in self._watched:
                    watched.due = True
        self._advance(now)

    def _heard(self, change: Change) -> None:
        if change.what == nfnetlink.GENERATION:
            if self._concerned:
                self._by = change.by
            self._concerned = False
            return
        for watched in self._watched:
            if watched.guarded.concerns(change):
                watched.due = self._concerned = True

    def tick(self, now: PacketTime) -> None:
        """Checks what had to wait; everything if the kernel does not notify."""
        for watched in self._watched:
            if self._socket is None and now - watched.looked >= BLIND_S:
                watched.due = True
            if watched.unlogged and now - watched.logged_at >= LOG_EVERY_S:
                self._log_rest(watched, now)
        self._advance(now)

    def close(self) -> None:
        """Waits for a moment for a running repair, because it must not come after what follows. None begins."""
        self._held = True
        for watched in self._watched:
            if watched.call is not None:
                self._unregister(watched)
                watched.call.stop(CLOSE_S)
                watched.call = None
        if self._socket is not None:
            self._poll.unregister(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _advance(self, now: PacketTime) -> None:
        for watched in self._watched:
            if watched.call is not None:
                if not self._end_repair(watched, watched.call, now):
                    continue
            if self._held or not watched.due or now - watched.looked < LOOK_S or now < watched.rests_until:
                continue
            watched.looked, watched.due = now, False
            try:
                problem = watched.guarded.problem()
                if problem is not None:
                    self._begin_repair(watched, problem)
            except (OSError, CallFailedError) as error:
                self._failed(watched, "changed", error, now)

    def _begin_repair(self, watched: _Watched, problem: str) -> None:
        """Raises `CallFailedError`."""
        by, self._by = f" by {self._by}" if self._by else "", ""
        watched.problem = f"{problem}{by}"
        call = BackgroundCall(watched.guarded.repair, KernelError, REPAIR_WAIT_S)
        watched.call, watched.fd = call, call.fd
        self._poll.register(call.fd, select.POLLIN)

    def _end_repair(self, watched: _Watched, call: BackgroundCall, now: PacketTime) -> bool:
        """Whether the repair is done."""
        done = call.poll()
        if call.fd < 0:
            self._unregister(watched)
        if not done:
            return False
        watched.call = None
        try:
            call.result()
            watched.guarded.repaired()
        except (KernelError, OSError, CallFailedError) as error:
            self._failed(watched, watched.problem, error, now)
            return True
        self.repairs += 1
        self._log_repair(watched, now, warning(f"{watched.guarded.title} {watched.problem}; restored"))
        watched.rest = REPAIR_EVERY_S
        watched.rests_until = now + watched.rest
        return True

    def _unregister(self, watched: _Watched) -> None:
        if watched.fd >= 0:
            self._poll.unregister(watched.fd)
            watched.fd = -1

    def _failed(self, watched: _Watched, problem: str, error: Exception, now: PacketTime) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        watched.due = True
        text = f"{watched.guarded.title} {problem} and could not be restored: {reason}"
        self._log_repair(watched, now, err(text))
        watched.rest = min(LONGEST_REST_S, max(REPAIR_EVERY_S, 2 * watched.rest))
        watched.rests_until = now + watched.rest

    def _log_repair(self, watched: _Watched, now: PacketTime, line: Line) -> None:
        """One line a minute; `tick` logs how many more there were."""
        if now - watched.logged_at < LOG_EVERY_S:
            watched.unlogged += 1
            return
        if watched.unlogged:
            self._log_rest(watched, now)
        self._log(line)
        watched.logged_at = now

    def _log_rest(self, watched: _Watched, now: PacketTime) -> None:
        self._log(warning(f"{watched.guarded.title}: repeated within a minute and not logged: {watched.unlogged}"))
        watched.logged_at, watched.unlogged = now, 0


class _Watched:
    """Something guarded, and when what was done about it. fd: registered for the repair that runs, else -1."""

    def __init__(self, guarded: Guarded) -> None:
        self.guarded = guarded
        self.due = True  # whether all is well is not known yet
        self.looked = self.rests_until = self.logged_at = float("-inf")
        self.rest = 0.0
        self.unlogged = 0
        self.call: BackgroundCall | None = None
        self.fd = -1
        self.problem = ""
