"""The status file, which says what the running filter knows: written atomically, and read for `cpe-filter status`.

Knows the engine's devices and counters. Must not judge. The file holds MACs, addresses, counts and DHCP names, so it
stays on the router. It holds no names from mail.

It is written in slices, a few devices in each turn of the loop, so no packet waits for it. Its counters are those of
the moment when it was begun (`updated`); a device is as it was a few milliseconds later.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator

from cpe_filter.detect.device import Device
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.engine import Engine
from cpe_filter.lean.atomic_file import AtomicFile
from cpe_filter.lean.clocks import Posix, posix
from cpe_filter.lean.json_text import encode
from cpe_filter.lean.log import Log, err
from cpe_filter.policy.model import Policy
from cpe_filter.status.devices import device_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


VERSION = 1
#: Written by the router's service: the filter's process as other programs see it.
_PID_FILE = "run.pid"
#: Exemptions in a status.
EXEMPT = 32
#: Bytes of a status file.
_LONGEST = 64 << 20
#: A device's text in the file: hash of its sources, where it begins, its length. 49 bytes of memory.
_place = struct.Struct("qII")


class NotRunningError(Exception):
    """No running filter has a status; the text says why."""


def head(engine: Engine, figures: dict[str, Any], now: Posix) -> dict[str, Any]:
    """The status object without its devices. `about`: what the router adds (pid, since, handoff, counters); `now`:
    POSIX seconds."""
    standings = dict.fromkeys((CLEAR, UNUSUAL, SUSPECTED, COMPROMISED), 0)
    for device in engine.devices:
        standings[device.score.standing] += 1
    return {
        "version": VERSION,
        "updated": round(now, 3),
        "mode": engine.policy.filter.mode,
        **({"signed": engine.policy.signed.names} if engine.policy.signed.names else {}),
        "packets": engine.packets,
        "mail_packets": engine.mail_packets,
        "unread_packets": engine.refusals,
        "flows": engine.flow_count,
        "evicted_flows": engine.evicted_flows,
        "standings": standings,
        **figures,
    }


def counted(engine: Engine, figures: dict[str, Any], now: Posix) -> dict[str, Any]:
    """The status object for metrics, which only count: it has only the standing of each device."""
    return {**head(engine, figures, now), "devices": ({"standing": one.score.standing} for one in engine.devices)}


def exemptions(count: int, first: list[dict[str, Any]]) -> dict[str, Any]:
    """count: how many are in force; first: at most `EXEMPT` of them, as `exempt list` shows them."""
    kept = ("id", "device", "destination", "until", "reason")
    return {"exempt_count": count, "exempt": [{key: one[key] for key in kept} for one in first]}


class Writer:
    """Keeps the file. Call `ask` for a new one, `step` in each turn of the loop, `write` if it must exist at once.

    path: the file. figures: what the router adds to it. named: a device's host name, "" if none is known. log: takes a
    line, once for each kind of failure.

    A device that has not changed is not encoded again. Its text is copied from the previous file, which stays open for
    that. So no texts are held in memory, only the place of each.
    """

    def __init__(
        self,
        engine: Engine,
        path: str,
        figures: Callable[[], dict[str, Any]],
        named: Callable[[Device], str],
        log: Log,
    ) -> None:
        self._engine = engine
        self._path = path
        self._figures = figures
        self._named = named
        self._log = log
        self._is_due = False
        self._file: AtomicFile | None = None  # while it is written
        self._pieces: Iterator[bytes] = iter(())
        self._last: AtomicFile | None = None  # the one that is there
        self._places: dict[bytes, bytes] = {}  # by device: `_place` of its text in the last file
        self._failure = ""

    def ask(self) -> None:
        """The file is out of date. If one is being written it is finished first, and then written once more."""
        self._is_due = True

    def step(self) -> bool:
        """Does a slice of the work. True: there is more; call it again when waiting packets are served."""
        try:
            return self._step()
        except OSError as error:
            failure = f"status not written: {self._path}: {error.strerror}"
            if failure != self._failure:
                self._log(err(failure))
            self._failure = failure
            return False

    def write(self) -> None:
        """Writes all of it. Raises OSError; then the old file stays."""
        self._is_due = True
        while self._step():
            pass

    def close(self) -> None:
        """The filter stops: removes its file, which would look like that of a running filter."""
        self._abandon()
        if self._last is not None:  # not the file of another filter that kept this one from starting
            self._last.close()
            self._last = None
            try:
                os.unlink(self._path)
            except OSError:
                pass

    def _step(self) -> bool:
        try:
            if self._file is None:
                if not self._is_due:
                    return False
                self._is_due = False
                self._pieces = self._made(encode(head(self._engine, self._figures(), posix())))
                self._file = AtomicFile(self._path, 0o640)
                return True
            if self._file.write_slice(self._pieces):
                return True
            self._file.publish()
        except OSError:
            self._abandon()
            raise
        if self._last is not None:
            self._last.close()
        self._last, self._file, self._failure = self._file, None, ""
        return self._is_due

    def _abandon(self) -> None:
        """Drops what was written, and the places in it."""
        if self._file is not None:
            self._file.abandon()
            self._file = None
        self._places.clear()

    def _made(self, first: str) -> Iterator[bytes]:
        """The file's text, in pieces: the part before the devices, each device, the end."""
        devices, table = list(self._engine.devices), self._engine.devices
        written: set[bytes] = set()
        piece = f'{first[:-1]},"devices":['.encode("ascii")
        yield piece
        at, comma = len(piece), b""
        for device in devices:
            if device.key in written or table.find(device.key) is not device:
                continue  # since this was begun, it was forgotten, or has come in another one's place
            written.add(device.key)
            text = self._text(device, at + len(comma))
            piece = comma + text
            comma = b","
            at += len(piece)
            yield piece
        yield b"]}\n"
        if len(self._places) > len(written):
            self._places = {key: self._places[key] for key in written}

    def _text(self, device: Device, at: int) -> bytes:
        """A device as JSON, at this place of the new file: copied from the last file if it is the same."""
        name, mode = self._named(device), effective_mode(self._engine.policy, device)
        stamp = hash((name, mode, *_shown(device)))
        place = self._places.get(device.key)
        text = b""
        if place is not None and self._last is not None:
            before, start, length = _place.unpack(place)
            if before == stamp:
                text = os.pread(self._last.fd, length, start)
                if len(text) != length:
                    text = b""
        if not text:
            facts = {**device_facts(device), "mode": mode, "refused": device.refused, "name": name or None}
            facts["class"] = device.dhcp_class or None
            text = encode(facts).encode("ascii")
        self._places[device.key] = _place.pack(stamp, at, len(text))
        return text


def _shown(device: Device) -> tuple[Any, ...]:
    """All sources of a device's text that change. Tallies change with their counts or the sums."""
    score = device.score
    return (
        device.last_seen,
        device.first_seen,
        *device.addresses,
        score.standing,
        score.value,  # depends on more than the sums
        *score.sums,
        sum([tally.count for tally in score.tallies.values()]),
        device.connections,
        device.sessions,
        device.networks,
        device.messages,
        device.recipients,
        device.mx_queries,
        device.refused,
        device.dhcp_class,
        device.suspected_at,
        device.compromised_at,
        device.unusual_at,
    )


def read(path: str) -> tuple[str, dict[str, Any]]:
    """The text of a running filter's file, and its content. Raises `NotRunningError`.

    Only the process is checked, so a caller that shows the content must expect anything.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LONGEST)
        import json

        content = json.loads(text)
        pid = content["pid"]
    except FileNotFoundError:
        raise NotRunningError(f"no filter is running (there is no {path})") from None
    except OSError as error:
        raise NotRunningError(f"{path}: {error.strerror}") from None
    except (KeyError, IndexError, RecursionError, TypeError, ValueError):
        raise NotRunningError(f"{path}: not a status file") from None
    if not isinstance(pid, int) or pid < 1:
        raise NotRunningError(f"{path}: not a status file")
    in_jail = content.get("pid_namespace") not in (None, pid_namespace())
    if not (_alive_in_jail(path) if in_jail else _alive(pid)):
        raise NotRunningError(f"the filter that wrote {path} (pid {pid}) does not run any more")
    return text, content


def pid_namespace() -> int | None:
    """The PID namespace of this process; None if the kernel has only one."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def of_service(path: str, name: str) -> str:
    """Where the router's service leaves a file: next to status file `path`, or next to the default one."""
    beside, usual = (os.path.join(os.path.dirname(one), name) for one in (path, Policy().status.status_file))
    return beside if os.path.exists(beside) else usual


def _alive_in_jail(path: str) -> bool:
    """Whether a filter in a jail runs. In its jail it is process 1, which means nothing outside."""
    try:
        with open(of_service(path, _PID_FILE), encoding="ascii") as file:
            pid = int(file.read(32))
            return pid > 0 and _alive(pid)
    except (OSError, ValueError):
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
