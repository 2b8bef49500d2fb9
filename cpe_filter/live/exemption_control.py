"""Exemptions while the filter runs: those of the policy and those of the file, added, removed, expired.

Knows the exemptions file and the clock. Must not know sockets, the kernel's language, or how an answer is shown.
Nothing is half done: if the kernel refuses a change the file stays as it was. Child processes read and write files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cpe_filter.enforce.nftables import KernelError
from cpe_filter.lean.forked import BackgroundCall, CallFailedError
from cpe_filter.lean.log import Log, err, notice
from cpe_filter.live.requests import added_line, ids_to_remove, requested_exemption
from cpe_filter.policy import exemptions, exemptions_store
from cpe_filter.policy.exemptions import Contents, Kept, describe
from cpe_filter.policy.model import Exemption, Policy, PolicyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from cpe_filter.detect.device import Device
    from cpe_filter.lean.clocks import PacketTime, Posix
    from cpe_filter.live.job import Answer, Steps

    class FilterHost(Protocol):
        """What the control needs from the filter."""

        def devices(self) -> Iterable[Device]:
            """All devices."""

        def host_name(self, device: Device) -> str:
            """The device's name in DHCP, "" if none is known."""

        def apply(self, policy: Policy) -> Steps[None]:
            """Kernel and engine use this policy from now on, or both the previous one. Raises `KernelError`."""

        def release(self, device: Device) -> None:
            """A compromised device becomes suspected, and the kernel no longer refuses it; both are saved.

            Raises `KernelError` if the kernel still refuses it; the rest is done.
            """

        def end_quarantine(self, device: Device) -> bool:
            """A device is in quarantine no longer, whatever its standing; saved. False: it was not."""

        def unblock(self, device: Device) -> None:
            """The kernel does not refuse the device on its own any more. Raises `KernelError`."""


#: Exemptions in one answer.
PAGE = 12
#: Seconds that an expired exemption stays in the file. A clock that was set wrong for a moment then does no harm: the
#: exemption is in force again as soon as the clock is right.
KEEP_EXPIRED_S = 3600.0
#: Seconds until a change that the kernel refused is tried again.
RETRY_S = 10.0


class ExemptionControl:
    """`begin` once; then requests, and `due` every second.

    policy: the policy as its file says, without the exemptions of the other file. wall: POSIX time, which may jump.
    """

    def __init__(self, policy: Policy, path: str, host: FilterHost, log: Log, wall: Callable[[], Posix]) -> None:
        self.policy = policy
        self._path = path
        self._file = policy.state.exemptions_file
        self._host = host
        self._log = log
        self._wall = wall
        self._contents = Contents()
        self._expired: frozenset[Exemption] = frozenset()
        self._expired_since: dict[int, PacketTime] = {}  # by id, of those in the file; the engine's seconds
        self._retry_at = float("-inf")

    def begin(self) -> Policy:
        """The policy to start with: the file's, with all exemptions that are in force."""
        try:
            self._contents = exemptions_store.load(self._file)
        except exemptions_store.DamagedFileError as error:
            self._log(err(f"exemptions not used: {error}; {exemptions_store.set_aside(self._file)}"))
        except PolicyError as error:
            self._log(err(f"exemptions not used: {error}"))
        self._expired = self._expired_now(self._contents)
        return self.effective(self.policy, self._contents)

    def effective(self, policy: Policy, contents: Contents) -> Policy:
        """The policy with all exemptions that are in force."""
        return policy._replace(exempt=exemptions.in_force(_all(policy, contents), self._wall()))

    def plain_load(self) -> object:
        """The file, for `settle` by way of exemptions_store.from_plain; only in a child. Raises `PolicyError`."""
        return exemptions_store.plain_load(self._file)

    def settle(self, contents: Contents, cause: str) -> None:
        """These are in effect now: logs what is new in them. cause: the requester, or the reason."""
        before = {kept.id: kept for kept in self._contents.kept}
        after = {kept.id: kept for kept in contents.kept}
        for number in sorted({*before, *after}):
            old, new = before.get(number), after.get(number)
            kept = new or old
            if kept is not None and old != new:
                action = "removed" if new is None else "added" if old is None else "changed"
                self._log(notice(f"exemption {number} {action} {cause}: {describe(kept.exemption)}"))
        self._contents = contents
        self._expired = self._expired_now(contents)
        self._expired_since = {number: since for number, since in self._expired_since.items() if number in after}

    def found_by_reload(self, contents: Contents, requester: str) -> None:
        self.settle(contents, f"in {self._file}, found by a reload by {requester}")

    # ── requests ────────────────────────────────────────────────────────────────────────────────

    def add(self, requester: str, request: Answer) -> Steps[Answer]:
        """Raises `PolicyError`."""
        wall = self._wall()
        exemption = requested_exemption(request, wall)
        shortens = not request.get("relaxes")  # who may only relax must not shorten what a person has added

        def change(old: Contents) -> tuple[Contents, Kept, bool]:
            return exemptions.added(old, exemption, wall, requester, shortens)

        before = yield from self._change(lambda old: change(old)[0], requester)
        _, kept, replaces = change(before)
        return {"id": kept.id, "lines": [added_line(kept, replaces)]}

    def remove(self, requester: str, request: Answer) -> Steps[Answer]:
        """Raises `PolicyError`."""

        def ids(contents: Contents) -> list[int]:
            return ids_to_remove(request, contents, self.policy, self._path)

        before = yield from self._change(lambda old: exemptions.without(old, ids(old)), requester)
        numbers = ids(before)
        return {"ids": numbers, "lines": [f"exemption {number} removed" for number in numbers]}

    def reread(self, requester: str, request: Answer) -> Steps[Answer]:
        """A command has changed the file because it found no filter. Raises `PolicyError`."""
        try:
            contents = exemptions_store.from_plain((yield BackgroundCall(self.plain_load, PolicyError)))
            yield from self._host.apply(self.effective(self.policy, contents))
        except CallFailedError as error:
            raise PolicyError(f"{self._file}: could not be read: {error}") from None
        except KernelError as error:
            return {"error": str(error)}
        self.settle(contents, f"by {requester}")
        return {"lines": []}

    def page(self, requester: str, request: Answer) -> Answer:
        start = request.get("from", 0)
        if not isinstance(start, int) or not 0 <= start < 1 << 20:
            return {"error": "from is not a position in a list"}
        rows = [*self._rows()]
        more = start + PAGE < len(rows)
        return {"items": rows[start : start + PAGE], "next": start + PAGE if more else None}

    def in_force(self, most: int = 0) -> tuple[int, list[Answer]]:
        """How many exemptions are in force, and the first `most` of them, as objects for `exempt list`."""
        wall = self._wall()
        count = sum([not exemptions.expired(each, wall) for each in _all(self.policy, self._contents)])
        first: list[Answer] = []
        for row in self._rows() if most else ():
            if row["in_force"]:
                first.append(row)
            if len(first) >= most:
                break
        return count, first

    def _rows(self) -> Iterator[Answer]:
        return exemptions.rows(self.policy.exempt, self._path, self._contents, self._file, self._wall())

    def _change(self, change: Callable[[Contents], Contents], requester: str) -> Steps[Contents]:
        """Changes the file, and what kernel and engine use, or neither. Returns the old file. Raises `PolicyError`."""
        before, after = yield from self._write(change)
        try:
            yield from self._host.apply(self.effective(self.policy, after))
        except KernelError as error:
            try:
                yield from self._write(lambda contents: before)
            except PolicyError as failure:
                self._log(err(f"change of exemptions by {requester} is in their file and not in force: {failure}"))
                raise PolicyError(f"{error}; the change is not in force, but it stays in its file: {failure}") from None
            raise PolicyError(f"{error}; nothing is changed") from None
        self.settle(after, f"by {requester}")
        return before

    def _write(self, change: Callable[[Contents], Contents]) -> Steps[tuple[Contents, Contents]]:
        """The file before and after. Raises `PolicyError`."""
        try:
            plain = yield BackgroundCall(lambda: exemptions_store.plain_change(self._file, change), PolicyError)
        except CallFailedError as error:
            raise PolicyError(f"{self._file}: could not be changed: {error}") from None
        before, after = plain
        return exemptions_store.from_plain(before), exemptions_store.from_plain(after)

    # ── time ────────────────────────────────────────────────────────────────────────────────────

    def due(self, now: PacketTime) -> Steps[Answer] | None:
        """Work that is due: exemptions expire, and leave the file later. now: the engine's seconds."""
        expired = self._expired_now(self._contents)
        if expired != self._expired and now >= self._retry_at:
            return self._expire(expired, now)
        ended = [kept.id for kept in self._contents.kept if kept.exemption in self._expired]
        self._expired_since = {number: self._expired_since.get(number, now) for number in ended}
        gone = [number for number, since in self._expired_since.items() if now - since >= KEEP_EXPIRED_S]
        return self._clear_out(gone, now) if gone else None

    def _expired_now(self, contents: Contents) -> frozenset[Exemption]:
        wall = self._wall()
        return frozenset(each for each in _all(self.policy, contents) if exemptions.expired(each, wall))

    def _expire(self, expired: frozenset[Exemption], now: PacketTime) -> Steps[Answer]:
        """Some have expired, or are in force again because the clock was set back."""
        try:
            yield from self._host.apply(self.effective(self.policy, self._contents))
        except KernelError as error:
            if self._retry_at < now - 2 * RETRY_S:  # not every time
                self._log(err(f"expired exemptions are still in force: {error}"))
            self._retry_at = now + RETRY_S
            return {"lines": []}
        named = [(f"{number} of {self._path}", each) for number, each in enumerate(self.policy.exempt, 1)]
        named += [(str(kept.id), kept.exemption) for kept in self._contents.kept]
        for name, each in named:
            if each in expired and each not in self._expired:
                self._log(notice(f"exemption {name} has expired: {describe(each)}"))
            elif each in self._expired and each not in expired:
                self._log(notice(f"exemption {name} is in force again, the clock was set back: {describe(each)}"))
        self._expired = expired
        return {"lines": []}

    def _clear_out(self, gone: list[int], now: PacketTime) -> Steps[Answer]:
        """Removes those that expired a while ago from the file."""
        try:
            _, after = yield from self._write(lambda contents: exemptions.without(contents, gone))
        except PolicyError as error:
            self._log(err(f"expired exemptions stay in their file: {error}"))
            for number in gone:
                self._expired_since[number] = now
            return {"lines": []}
        self.settle(after, "from the file, it has expired")
        return {"lines": []}


def _all(policy: Policy, contents: Contents) -> tuple[Exemption, ...]:
    return (*policy.exempt, *(kept.exemption for kept in contents.kept))
