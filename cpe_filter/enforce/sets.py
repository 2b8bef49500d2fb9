"""What the filter tells the kernel: elements of the ruleset's sets.

Knows which set takes what key, and how long an element stays. Must not know why a device or a connection is put
anywhere, nor rules. Keys are packed as nft's registers hold them: each part filled up to four bytes. A transaction
takes some 30 us whatever is in it, so changes of connections are collected and made together by `flush`, before the
verdicts of the packets that they are for.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

from cpe_filter.enforce.nfnetlink import ELEMENT, Request, Transactions, set_elements
from cpe_filter.enforce.ruleset import (
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
    REFUSED,
    REFUSED_NEW,
    TABLE,
)
from cpe_filter.lean.log import LogOnce
from cpe_filter.lean.netlink import attribute, attributes, nested

#: Seconds that a connection's element stays at most; it is taken out when the engine forgets the connection.
CONNECTION_S = 86400
#: Seconds that a SYN's refusal stays: the next one of the same connection may be decided otherwise.
REFUSED_NEW_S = 1
#: Seconds that a refused connection is refused without asking; then it is one that nobody knows, which is refused, too.
REFUSED_S = 900
_LASTS = {REFUSED: REFUSED_S, REFUSED_NEW: REFUSED_NEW_S}
#: Seconds that a pair of device and server is let alone before its next connection is looked at.
KNOWN_S = 3600
#: Changes that may wait for a `flush`; beyond, they are made at once.
_WAITING = 256
#: Elements of one message: its attributes' lengths have 16 bits.
_TOGETHER = 256
#: Kinds of errors that are logged.
_ERRORS_LOGGED = 16
_NAME_TABLE, _NAME_SET, _ELEMENTS = 1, 2, 3  # NFTA_SET_ELEM_LIST_...
_ELEMENT, _KEY, _VALUE, _TIMEOUT = 1, 1, 1, 4  # NFTA_LIST_ELEM, NFTA_SET_ELEM_..., NFTA_DATA_VALUE
_TABLE = attribute(_NAME_TABLE, TABLE.encode() + b"\0")
_SWITCH_KEY = bytes((6,))  # IPPROTO_TCP

#: A set's name and a key in it.
Element = tuple[str, bytes]


def connection_key(key: bytes) -> tuple[str, bytes]:
    """Family ("4", "6") and key of a connection in the sets: of inspect.session's key, without the server's port."""
    size = len(key) // 2 - 2
    client, server, port = key[:size], key[size : 2 * size], key[-4:-2]
    return ("4" if size == 4 else "6"), client + port + b"\0\0" + server


def pair_key(mac: bytes, server: bytes) -> tuple[str, bytes]:
    """Family and key of a pair of device and server."""
    return ("4" if len(server) == 4 else "6"), mac + b"\0\0" + server


class Sets:
    """The sets of a ruleset that is installed. log: takes a line where the kernel refuses; at most one an error."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log_once = LogOnce(log, _ERRORS_LOGGED)
        self._transactions = Transactions()
        self._waiting: list[tuple[bool, Element, float]] = []
        self._made = True  # what has been flushed early
        self.failures = 0

    # ── connections: collected ──────────────────────────────────────────────────────────────────

    def add_connection(self, name: str, key: bytes) -> None:
        """Puts a connection (inspect.session's key) into a set, with the next `flush`."""
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
            self._made = self.flush()

    def flush(self) -> bool:
        """Makes the changes that wait. What the kernel refuses of them is left out, and the rest made all the same.

        Whether all of them were made.
        """
        before, self._made = self._made, True
        if not self._waiting:
            return before
        changes, self._waiting = self._waiting, []
        if self._commit(_requests(changes)):
            return before
        # One of them is refused: a full set, perhaps.
        made = [self._commit(_requests([change]), quiet=False) for change in changes]
        return before and all(made)

    # ── devices and switches: at once ───────────────────────────────────────────────────────────

    def alive(self) -> bool:
        """The filter lives for `ALIVE_S` seconds more. False where the kernel did not take it."""
        return self._commit(_refresh([(ALIVE, _SWITCH_KEY)], ALIVE_S), quiet=False)

    def switch(self, name: str, on: bool, seconds: float) -> None:
        """Sets a switch for so long, or clears it."""
        element = (name, _SWITCH_KEY)
        self._commit(_refresh([element], seconds) if on else _requests([(False, element, seconds)]), quiet=False)

    def put(self, name: str, macs: Iterable[bytes], seconds: float) -> None:
        """Puts devices into a set, for so long from now on."""
        self._each([(name, mac) for mac in macs], seconds)

    def block_address(self, address: bytes, seconds: float) -> None:
        """Blocks what has no MAC by its packed address."""
        self._each([(ADDRESS_BLOCKED + ("4" if len(address) == 4 else "6"), address)], seconds)

    def take_out(self, name: str, key: bytes) -> bool:
        """Takes a device out of a set. Whether the kernel did so; what is not there is no error."""
        return self._commit(_requests([(False, (name, key), 1.0)]), quiet=False)

    def release(self, key: bytes) -> bool:
        """A device (packed MAC or address) is refused no more on its own account."""
        if len(key) in (4, 16):
            return self.take_out(ADDRESS_BLOCKED + ("4" if len(key) == 4 else "6"), key)
        done = [self.take_out(name, key) for name in (BLOCKED, ASKED, LIMITED)]
        return all(done)

    def forget_pairs(self) -> None:
        """No pair is let alone any more: all are looked at again, those with connections that run, too."""
        self.flush()  # none that waits may come after
        self._empty(KNOWN + "4", KNOWN + "6", "quiet")

    def forget_connections(self) -> None:
        """Whatever an earlier filter has decided about connections: nobody knows any more what is said in them."""
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
            if not self._commit(_refresh(some, seconds)):
                for element in some:
                    self._commit(_refresh([element], seconds), quiet=False)

    def _commit(self, requests: list[Request], quiet: bool = True) -> bool:
        try:
            self._transactions.commit(requests)
        except OSError as error:
            if not quiet:
                self.failures += 1
                text = error.strerror or str(error)
                # Without the ruleset there is nothing to say: whoever watches it puts it back.
                if error.errno != errno.ENOENT:
                    self._log_once.first(text, f"the kernel refused a set element: {text}")
            return False
        return True


def _requests(changes: list[tuple[bool, Element, float]]) -> list[Request]:
    """Neighbouring changes of one kind to one set become one message.

    An element that is taken out is put in first: to take out what is not there would undo the whole transaction.
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
    """Puts elements in for so long from now on, whether or not they are there: to add alone would keep their time."""
    name = elements[0][0]
    body = _body(name, [key for _, key in elements], seconds)
    return [Request(ELEMENT, False, body), Request(ELEMENT, True, body), Request(ELEMENT, False, body)]


def _body(name: str, keys: list[bytes], seconds: float) -> bytes:
    timeout = attribute(_TIMEOUT, int(seconds * 1000).to_bytes(8, "big"))
    elements = [nested(_ELEMENT, nested(_KEY, attribute(_VALUE, key)), timeout) for key in keys]
    return _TABLE + _named(name) + nested(_ELEMENTS, *elements)


def _named(name: str) -> bytes:
    return attribute(_NAME_SET, name.encode() + b"\0")


def elements(name: str) -> set[bytes]:
    """The keys in a set. Raises OSError."""
    found = set()
    for element in set_elements(TABLE.encode(), name.encode()):
        key = dict(attributes(element)).get(_KEY, b"")
        found.add(dict(attributes(key)).get(_VALUE, b""))
    return found
