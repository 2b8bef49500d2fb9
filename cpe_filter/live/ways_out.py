"""Ways out of the home that are not watched: what the kernel has seen leave there, and which default routes lead there.

The same of networks that are not in the policy: mail that comes from there and leaves by a watched way. Knows when each
is read, and how it is logged and reported. Must not know how it is read (enforce.unwatched, home.default_routes). Such
a way may be intended: a VPN, a second uplink, a network of guests. So nothing is refused, and log and status name the
interface. Bounded: interfaces, lines in the log, and readings, however often routes change.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from cpe_filter.enforce.unwatched import mail_left
from cpe_filter.home.default_routes import Changes, Way, default_routes
from cpe_filter.inputs import printable
from cpe_filter.lean.clocks import PacketTime, Posix, posix
from cpe_filter.lean.log import LogOnce, notice, warning
from cpe_filter.lean.token_bucket import level as token_level
from cpe_filter.live.part import Part
from cpe_filter.policy.interfaces import matches
from cpe_filter.policy.model import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.lean.log import Line, Log
    from cpe_filter.lean.token_bucket import Bucket

#: Seconds between two readings of the kernel's counts; and of the routes, if no change was notified.
COUNTS_S, ROUTES_S = 5.0, 60.0
#: Seconds between two readings of the routes while they change.
CHANGED_S = 1.0
#: The most ways that are remembered: interfaces, of each family.
MOST = 64
#: Lines in the log: so many at once, and so many in an hour.
LINES_BURST, LINES_PER_HOUR = 16, 60
#: Seconds that the kernel keeps the switch without the filter.
UNCLEAR_S = 7 * 86400.0


#: Interface, family, and whether mail comes from there; else it leaves by it.
Key = tuple[str, int, bool]


class _Unwatched:
    """One interface and family. since: POSIX seconds. route: "" if no default route leads there."""

    __slots__ = ("connections", "counted", "last", "mail", "route", "since")

    def __init__(self, since: Posix) -> None:
        self.since = since
        self.route = ""
        self.mail = False  # the kernel has seen mail leave there, in the last day
        self.connections = 0
        self.counted = 0  # as the kernel's element had it last
        self.last: Posix | None = None


class WaysOut(Part):
    """Registers with `poll`. switch: sets or clears in the kernel that a route cannot be known in advance."""

    def __init__(
        self,
        policy: Policy,
        poll: select.poll,
        switch: Callable[[bool, float], None],
        log: Log,
    ) -> None:
        self._network = policy.network
        self._switch = switch
        self._log = log
        self._log_once = LogOnce(log)
        self._ways: dict[Key, _Unwatched] = {}
        self._next_counts = self._next_routes = self._earliest = 0.0
        self._unclear = False
        self._logged: dict[Key, str] = {}
        self._lines: Bucket | None = None
        self._changes: Changes | None = None
        try:
            self._changes = Changes(poll)
        except OSError as error:
            log(warning(f"no notifications of routes ({error.strerror}); reading them every {ROUTES_S:g} s"))

    def __contains__(self, fd: int) -> bool:
        return self._changes is not None and fd == self._changes.fd

    def serve(self, fd: int) -> None:
        if self._changes is not None:
            self._changes.serve()

    def tick(self, now: PacketTime) -> None:
        if now >= self._earliest and self._changes is not None and self._changes.changed():
            self._next_routes = now
        looks = now >= self._next_routes or now >= self._next_counts
        if now >= self._next_routes:
            self._next_routes, self._earliest = now + ROUTES_S, now + CHANGED_S
            self._read_routes()
        if now >= self._next_counts:
            self._next_counts = now + COUNTS_S
            self._read_counts()
            if self._unclear:
                self._switch(True, UNCLEAR_S)
        if looks:
            self._forget()
            self._log_changes(now)

    def reload(self, policy: Policy) -> None:
        self._network = policy.network
        self._next_counts = self._next_routes = 0.0

    # ── reading ─────────────────────────────────────────────────────────────────────────────────

    def _read_routes(self) -> None:
        try:
            ways = default_routes(self._network.lan)
        except OSError as error:
            self._log_once.changed("routes", warning(f"the router's routes could not be read: {error.strerror}"))
            return
        self._log_once.clear("routes")
        elsewhere = [way for way in ways if not self._known(way.interface)]
        for one in self._ways.values():
            one.route = ""
        for way in elsewhere:
            found = self._way((way.interface, way.family, False))
            if found is not None and found.route != "default":
                found.route = "standby" if way.standby else "default"
        self._set_unclear(ways, elsewhere)

    def _set_unclear(self, ways: list[Way], elsewhere: list[Way]) -> None:
        unclear = bool(elsewhere) and any(way.blind for way in ways)
        if unclear != self._unclear:
            self._unclear = unclear
            self._switch(unclear, UNCLEAR_S)

    def _read_counts(self) -> None:
        try:
            left = mail_left()
        except OSError:
            return  # those of the last time: the guard restores the ruleset
        now = time.time()
        for one in self._ways.values():
            one.mail = False
        for key, (connections, ago_s) in left.items():
            interface, _, came = key
            # It was not watched before a reload; or what comes from there has left by it, and was translated (464XLAT).
            if self._known(interface) or (came and self._is_way_out(interface)):
                continue
            found = self._way(key)
            if found is None:
                continue
            found.connections += connections - (found.counted if connections >= found.counted else 0)
            found.counted, found.last, found.mail = connections, Posix(now - ago_s), True

    def _is_way_out(self, interface: str) -> bool:
        return any((interface, family, False) in self._ways for family in (4, 6))

    def _known(self, interface: str) -> bool:
        return interface == "lo" or matches(interface, (*self._network.wan, *self._network.lan))

    def _way(self, key: Key) -> _Unwatched | None:
        """The way, new or known; None if there are too many."""
        if key not in self._ways and len(self._ways) < MOST:
            self._ways[key] = _Unwatched(posix())
        return self._ways.get(key)

    def _forget(self) -> None:
        """Drops ways that are gone or watched now."""
        for key, one in list(self._ways.items()):
            if self._known(key[0]) or not (one.route or one.mail):
                del self._ways[key]
                self._logged.pop(key, None)

    # ── saying ──────────────────────────────────────────────────────────────────────────────────

    def _log_changes(self, now: PacketTime) -> None:
        """A line for each way that is new, or by which mail has left for the first time."""
        for key, one in self._ways.items():
            state = "mail" if one.mail else one.route
            before = self._logged.get(key)
            if before == "mail" or before == state:
                continue
            tokens = token_level(self._lines, float(LINES_BURST), LINES_PER_HOUR, now)
            if tokens < 1.0:
                self._lines = tokens, now
                return
            self._lines = tokens - 1.0, now
            self._logged[key] = state
            self._log(_line(key, one, before is not None and before != "standby"))

    def facts(self) -> dict[str, Any]:
        return {"unwatched": self.unwatched(), "unlisted": self.unlisted()}

    def unwatched(self) -> list[dict[str, Any]]:
        """For each interface by which mail leaves unwatched its families, what is known of them, and since when."""
        return self._entries(False)

    def unlisted(self) -> list[dict[str, Any]]:
        """The same of each interface that unwatched mail comes from."""
        return self._entries(True)

    def _entries(self, came: bool) -> list[dict[str, Any]]:
        """came: of interfaces that mail comes from."""
        found: dict[str, dict[str, Any]] = {}
        for (interface, family, its_came), one in sorted(self._ways.items()):
            if its_came != came:
                continue
            entry = found.setdefault(
                interface,
                {
                    "interface": printable(interface),
                    "families": [],
                    "connections": 0,
                    "since": round(one.since, 3),
                    "last": None,
                    **({} if came else {"default_route": [], "standby_route": []}),
                },
            )
            entry["families"].append(family)
            entry["connections"] += one.connections
            entry["since"] = min(entry["since"], round(one.since, 3))
            if one.last is not None:
                entry["last"] = max(entry["last"] or 0.0, round(one.last, 3))
            if one.route:
                entry[f"{one.route}_route"].append(family)
        return list(found.values())

    def close(self) -> None:
        if self._changes is not None:
            self._changes.close()
            self._changes = None


def _line(key: Key, one: _Unwatched, known: bool) -> Line:
    """known: it is logged already that this is a way out."""
    interface, family, came = key
    if came:
        return warning(
            f"IPv{family} mail of {printable(interface)} is not watched: {one.connections} connections have left; "
            "to filter it, add it to [network] lan "
            "(OpenWrt: its network, and all others of the home, to list lan_network)"
        )
    if known:
        text = f"mail has left by {printable(interface)} over IPv{family}: {one.connections} connections so far"
        return notice(text)
    if one.mail:
        reason = f"mail of the home has left there ({one.connections} connections)"
    elif one.route == "default":
        reason = "a default route leads there"
    else:
        reason = "a default route of lower priority leads there"
    leaves = "leaves" if one.mail or one.route == "default" else "can leave"
    return warning(
        f"IPv{family} {leaves} by {printable(interface)}, which is not watched: {reason}; "
        "to filter it, add it to [network] wan "
        "(OpenWrt: its network, and all others of the Internet, to list wan_network)"
    )
