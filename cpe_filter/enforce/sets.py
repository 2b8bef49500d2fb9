"""Elements of the ruleset's sets, which the filter adds and removes.

Knows the key of each set, and how long an element stays. Must not know rules, or why a device or a connection is in a
set. Keys have the layout of nft's registers: each part is padded to four bytes. A transaction takes some 30 us,
whatever is in it. So changes for connections are collected, and `flush` makes them together, before the verdicts of the
packets that they are for.

What the kernel refuses is counted and logged, and the filter goes on. Only `release`, which a person waits for, raises.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from cpe_filter.enforce.nfnetlink import ELEMENT, Request, Transactions, set_elements
from cpe_filter.enforce.nftables import KernelError
from cpe_filter.enforce.ruleset_names import (
    ADDRESS_BLOCKED,
    ALIVE,
    ALIVE_S,
    ASKED,
    BLOCKED,
    BY_CONNECTION,
    FAMILIAR,
    KNOWN,
    LIMITED,
    LIMITED_S,
    NOTICE_CLIENTS,
    NOTICED,
    QUARANTINE_S,
    QUARANTINED,
    REFUSED,
    REFUSED_NEW,
    TABLE,
)
from cpe_filter.lean.log import Log, LogOnce, err
from cpe_filter.lean.netlink import attribute, attributes, nested

#: The most seconds that a connection's element stays; it is removed when the engine forgets the connection.
CONNECTION_S = 86400
#: Seconds that a SYN's refusal stays: the next SYN of the same connection may get another decision.
REFUSED_NEW_S = 1
#: Seconds that a refused connection is refused without the filter; afterwards it is unknown, and refused as such.
REFUSED_S = 900
_LASTS = {REFUSED: REFUSED_S, REFUSED_NEW: REFUSED_NEW_S}
#: Seconds that a pair of device and server is let alone before its next connection is shown.
KNOWN_S = 3600
#: Changes that may wait for a `flush`; with more they are made at once.
_WAITING = 256
#: Elements in one message, because the length of an attribute has 16 bits.
_TOGETHER = 256
#: Kinds of errors that are logged.
_ERRORS_LOGGED = 16
_NAME_TABLE, _NAME_SET, _ELEMENTS = 1, 2, 3  # NFTA_SET_ELEM_LIST_...
# NFTA_LIST_ELEM (whose number the kernel does not read), NFTA_SET_ELEM_..., NFTA_DATA_VALUE.
_ELEMENT, _KEY, _VALUE, _TIMEOUT = 1, 1, 1, 4
_TABLE = attribute(_NAME_TABLE, TABLE.encode() + b"\0")
_SWITCH_KEY = bytes((6,))  # IPPROTO_TCP

#: A set's name and a key in it.
Element = tuple[str, bytes]


def connection_key(key: bytes) -> tuple[str, bytes]:
    """Family ("4", "6") and key of a connection in the sets: inspect.session's key without the server's port."""
    size = len(key) // 2 - 2
    client, server, port = key[:size], key[size : 2 * size], key[-4:-2]
    return ("4" if size == 4 else "6"), client + port + b"\0\0" + server


def pair_key(mac: bytes, server: bytes) -> tuple[str, bytes]:
    """Family and key of a pair of device and server."""
    return ("4" if len(server) == 4 else "6"), mac + b"\0\0" + server


class Sets:
    """The sets of an installed ruleset. log: takes a line if the kernel refuses a change, at most one an error."""

    def __init__(self, log: Log) -> None:
        self._log_once = LogOnce(log, _ERRORS_LOGGED)
        self._transactions = Transactions()
        self._waiting: list[tuple[bool, Element, float]] = []
        self._problem: str | None = None  # of early flushes
        self.failures = 0

    # ── connections: collected ──────────────────────────────────────────────────────────────────

    def add_connection(self, name: str, key: bytes) -> None:
        """Adds a connection (inspect.session's key) to a set, with the next `flush`."""
        family, packed = connection_key(key)
        self._later(True, (name + family, packed), _LASTS.get(name, CONNECTION_S))

    def remove_connection(self, name: str, key: bytes) -> None:
        family, packed = connection_key(key)
        self._later(False, (name + family, packed), CONNECTION_S)

    def add_pair(self, mac: bytes, server: bytes) -> None:
        """Lets a device's connections to a server alone, from the next `flush` on."""
        family, packed = pair_key(mac, server)
        self._later(True, (KNOWN + family, packed), KNOWN_S)

    def limit(self, mac: bytes) -> None:
        """Refuses a device's new connections for some seconds, from the next `flush` on."""
        self._later(True, (LIMITED, mac), LIMITED_S)

    def _later(self, add: bool, element: Element, seconds: float) -> None:
        self._waiting.append((add, element, seconds))
        if len(self._waiting) >= _WAITING:
            self._problem = self.flush()

    def flush(self) -> str | None:
        """Makes the changes that wait. If the kernel refuses some, the others are made all the same.

        Returns why one was refused, None if all were made.
        """
        problem, self._problem = self._problem, None
        if not self._waiting:
            return problem
        changes, self._waiting = self._waiting, []
        if self._commit(_requests(changes)) is None:
            return problem
        # One of them is refused: a full set, perhaps.
        for change in changes:
            problem = self._commit(_requests([change]), quiet=False) or problem
        return problem

    # ── devices and switches: at once ───────────────────────────────────────────────────────────

    def alive(self) -> None:
        """Declares the filter alive for `ALIVE_S` seconds more."""
        self._commit(_refresh([(ALIVE, _SWITCH_KEY)], ALIVE_S), quiet=False)

    def stopped(self) -> None:
        """Declares it not alive, at once."""
        self.switch(ALIVE, False, 1.0)

    def switch(self, name: str, on: bool, seconds: float) -> None:
        """Sets a switch for so many seconds, or clears it."""
        element = (name, _SWITCH_KEY)
        self._commit(_refresh([element], seconds) if on else _requests([(False, element, seconds)]), quiet=False)

    def put(self, name: str, macs: Iterable[bytes], seconds: float) -> None:
        """Adds devices to a set, for so many seconds from now on."""
        self._each([(name, mac) for mac in macs], seconds)

    def block_address(self, address: bytes, seconds: float) -> None:
        """Blocks a device without a MAC by its packed address."""
        self._each([(ADDRESS_BLOCKED + ("4" if len(address) == 4 else "6"), address)], seconds)

    def forget_asked(self, mac: bytes) -> None:
        """No decision of the filter is asked for about a device any more."""
        self._take_out(ASKED, mac)

    def release(self, key: bytes) -> None:
        """Removes a device (packed MAC or address) from all sets that refuse it. Raises `KernelError`."""
        names = (BLOCKED, ASKED, LIMITED) if len(key) == 6 else (ADDRESS_BLOCKED + ("4" if len(key) == 4 else "6"),)
        problems = [self._take_out(name, key) for name in names]
        for problem in problems:
            if problem:
                raise KernelError(f"the kernel did not take it out of its sets: {problem}")

    def _take_out(self, name: str, key: bytes) -> str | None:
        """Why the kernel did not do so, or None; a missing device is not an error."""
        return self._commit(_requests([(False, (name, key), 1.0)]), quiet=False)

    def show_notice(self, macs: Iterable[bytes], seconds: float) -> None:
        """Leads the plain HTTP of these devices to the notice, for so many seconds from now on."""
        self.put(NOTICED, macs, seconds)

    def end_notice(self, mac: bytes) -> None:
        """Leads a device's HTTP there no longer."""
        self._take_out(NOTICED, mac)

    def quarantine(self, macs: Iterable[bytes]) -> None:
        """These devices are in quarantine, for `QUARANTINE_S` seconds from now on."""
        self.put(QUARANTINED, macs, QUARANTINE_S)

    def end_quarantine(self, mac: bytes) -> None:
        """A device is in quarantine no longer."""
        self._take_out(QUARANTINED, mac)

    def forget_pairs(self) -> None:
        """Ends letting pairs alone: the packets of all are shown again, including those of running connections."""
        self.flush()  # so that no collected pair is added afterwards
        self._empty(KNOWN + "4", KNOWN + "6", "quiet")

    def forget_connections(self) -> None:
        """Removes an earlier filter's decisions about connections, because their dialogues are not known."""
        self._empty(*(name + family for name in BY_CONNECTION for family in "46"))

    def _empty(self, *names: str) -> None:
        self._commit([Request(ELEMENT, True, _TABLE + _named(name)) for name in names], quiet=False)

    def familiar(self, macs: Iterable[bytes], seconds: float) -> None:
        """These devices are known to the home."""
        self.put(FAMILIAR, macs, seconds)

    def close(self) -> None:
        self._transactions.close()

    def _each(self, elements: list[Element], seconds: float) -> None:
        for at in range(0, len(elements), _TOGETHER):
            some = elements[at : at + _TOGETHER]
            if self._commit(_refresh(some, seconds)):
                for element in some:
                    self._commit(_refresh([element], seconds), quiet=False)

    def _commit(self, requests: list[Request], quiet: bool = True) -> str | None:
        """All of them or none. Returns why the kernel refused, or None. quiet: that is not counted and not logged."""
        try:
            self._transactions.commit(requests)
        except OSError as error:
            text = error.strerror or str(error)
            if not quiet:
                self.failures += 1
                # Without the ruleset there is nothing to log: the guard of the ruleset restores it.
                if error.errno != errno.ENOENT:
                    self._log_once.first(text, err(f"the kernel refused a set element: {text}"))
            return text
        return None


def _requests(changes: list[tuple[bool, Element, float]]) -> list[Request]:
    """Combines adjacent changes of one kind to one set into one message.

    An element is added before it is removed, because removing a missing one would undo the whole transaction.
    """
    requests = []
    at = 0
    while at < len(changes):
        add, (name, _), seconds = changes[at]
        end = at + 1
        while end < len(changes) and end - at < _TOGETHER:
            other, (its_name, _), its_seconds = changes[end]
            if (other, its_name, its_seconds) != (add, name, seconds):
                break
            end += 1
        body = _body(name, [key for _, (_, key), _ in changes[at:end]], seconds)
        requests.append(Request(ELEMENT, False, body))
        if not add:
            requests.append(Request(ELEMENT, True, body))
        at = end
    return requests


def _refresh(elements: list[Element], seconds: float) -> list[Request]:
    """Adds elements for so many seconds from now on. Existing ones would keep their time, so they are removed first."""
    name = elements[0][0]
    body = _body(name, [key for _, key in elements], seconds)
    return [Request(ELEMENT, False, body), Request(ELEMENT, True, body), Request(ELEMENT, False, body)]


def _body(name: str, keys: list[bytes], seconds: float) -> bytes:
    timeout = attribute(_TIMEOUT, int(seconds * 1000).to_bytes(8, "big"))
    elements = [nested(_ELEMENT, nested(_KEY, attribute(_VALUE, key)), timeout) for key in keys]
    return _TABLE + _named(name) + nested(_ELEMENTS, *elements)


def _named(name: str) -> bytes:
    return attribute(_NAME_SET, name.encode() + b"\0")


def notice_client(address: bytes) -> bytes:
    """The MAC from which this address (packed) speaks with the notice's server; b"" if there is none, or several.

    Raises OSError.
    """
    size = len(address)
    family = "4" if size == 4 else "6"
    macs = {key[size : size + 6] for key in elements(NOTICE_CLIENTS + family) if key[:size] == address}
    return macs.pop() if len(macs) == 1 else b""


def elements(name: str) -> set[bytes]:
    """The keys in a set. Raises OSError."""
    found = set()
    for element in set_elements(TABLE.encode(), name.encode()):
        key = dict(attributes(element)).get(_KEY, b"")
        found.add(dict(attributes(key)).get(_VALUE, b""))
    return found
