"""What a person asks of the running filter: reload, exempt, release. And exemptions whose time is over.

Knows the policy file, the exemptions file and the engine's devices. Must not know sockets (see control_socket), the
kernel's language, or how an answer is shown. Nothing is half done: a policy that is wrong, or that the kernel refuses,
leaves everything as it was. Every change is a line in the log, with who asked for it.

A reload reads its files in a child (see apart), and packets go on meanwhile. Until it has ended nothing else may be
asked: the control socket does one thing after the other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator

from cpe_filter.detect.device import HOME, HOME_WORD, Device
from cpe_filter.detect.score import COMPROMISED
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.inputs import shown
from cpe_filter.lean.forked import BackgroundCall, CallFailedError
from cpe_filter.live.control_socket import Peer
from cpe_filter.live.requests import added_line, asker, unwanted, wanted
from cpe_filter.policy import exemptions, exemptions_store
from cpe_filter.policy import load as load_policy
from cpe_filter.policy.exemptions import Contents, Kept, describe
from cpe_filter.policy.model import MAX_REASON, Exemption, Policy, PolicyError, Reread, parse_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from cpe_filter.live.control_socket import Later

    Answer = dict[str, Any]

    class Surroundings(Protocol):
        """What the control needs of the filter around it. What fails is said in a text, "" where nothing did."""

        def devices(self) -> Iterable[Device]:
            """All devices."""

        def host_name(self, device: Device) -> str:
            """What the device calls itself in DHCP, "" where nothing is known."""

        def apply(self, policy: Policy) -> str:
            """Kernel and engine go by this policy from now on, or both by the one of before."""

        def release(self, device: Device) -> str:
            """A compromised device is a suspect from now on, the kernel refuses it no more; both is written down."""

        def unblock(self, device: Device) -> str:
            """The kernel refuses the device by itself no more."""


#: Exemptions in one answer, devices named in an error.
PAGE, MAX_NAMED = 12, 8
#: Seconds that an exemption stays in the file when its time is over. A clock that was set wrong for a moment then does
#: no harm: the exemption is in force again as soon as the clock is right.
KEEP_OVER_S = 3600.0
#: Seconds until what the kernel refused is tried again.
RETRY_S = 10.0


class Control:
    """`begin` once, `tick` every second, `handle` for each request, `hang_up` on SIGHUP, `close` at the end."""

    def __init__(
        self,
        policy: Policy,
        path: str,
        around: Surroundings,
        log: Callable[[str], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """policy: as read from the file `path`. wall: POSIX time, which may jump."""
        self._policy = policy
        self._path = path
        self._file = policy.state.exemptions_file
        self._around = around
        self._log = log
        self._wall = wall
        self._contents = Contents()
        self._over: frozenset[Exemption] = frozenset()
        self._over_since: dict[int, float] = {}  # by id, of those in the file; the engine's seconds
        self._retry_at = float("-inf")
        self._read_at = wall()
        self._refused = ""
        self._reading: _Reading | None = None
        self._verbs: dict[str, Callable[[str, Answer], Answer | Later]] = {
            "reload": self._reload,
            "release": self._release,
            "exempt": self._exempt,
            "unexempt": self._unexempt,
            "reread": self._reread,
            "exemptions": self._list,
            "status": lambda who, request: self.about(),
        }

    def begin(self) -> Policy:
        """The policy to start with: the file's, with all exemptions that are in force."""
        try:
            self._contents = exemptions_store.load(self._file)
        except exemptions_store.DamagedFileError as error:
            self._log(f"exemptions not used: {error}; {exemptions_store.set_aside(self._file)}")
        except PolicyError as error:
            self._log(f"exemptions not used: {error}")
        self._over = self._now_over(self._contents)
        return self._effective(self._policy, self._contents)

    def tick(self, now: float) -> None:
        """Time passes: exemptions end. now: the engine's seconds, never going back."""
        if self._reading is not None:
            return  # what it has read is not to be changed before it is in effect
        over = self._now_over(self._contents)
        if over != self._over and now >= self._retry_at:
            self._expire(over, now)
        if self._over or self._over_since:
            self._clear_out(now)

    def handle(self, peer: Peer, request: dict[str, Any]) -> Answer | Later:
        """Does what is asked. The answer has `lines` for people, or an `error`; it may take its time, and until then
        nothing else is to be asked."""
        verb = self._verbs.get(str(request.get("do")))
        if verb is None:
            return {"error": f"the running filter knows no request {shown(str(request.get('do')))}"}
        try:
            return verb(asker(peer.uid, request.get("sudo")), request)
        except PolicyError as error:
            return {"error": str(error)}

    def hang_up(self) -> Answer | Later:
        """SIGHUP: a reload with nobody to answer to."""
        return self._reload("SIGHUP", {})

    def close(self) -> None:
        """The filter stops: what is being read is not waited for."""
        if self._reading is not None:
            self._reading.stop()
            self._reading = None

    def about(self) -> Answer:
        """The policy file, when it was read (POSIX time), and why the last reload was refused, if it was."""
        return {"file": self._path, "read": round(self._read_at, 3), "refused": self._refused or None}

    # ── the policy ──────────────────────────────────────────────────────────────────────────────

    def _read(self, work: Callable[[], Any], done: Callable[[Any], Answer], failed: Callable[[str], Answer]) -> Later:
        """Files are read by `work`, in a child; then the answer is that of `done`, or of `failed` with the reason.

        Raises `PolicyError`.
        """

        def ended(call: BackgroundCall) -> Answer:
            self._reading = None
            try:
                found = call.result()
            except PolicyError as error:
                return failed(str(error))
            except CallFailedError as error:
                return failed(f"{self._path}: could not be read: {error}")
            try:
                return done(found)
            except PolicyError as error:
                return {"error": str(error)}

        try:
            self._reading = _Reading(BackgroundCall(work, PolicyError), ended)
        except CallFailedError as error:
            raise PolicyError(f"{self._path}: could not be read: {error}") from None
        return self._reading

    def _reload(self, who: str, request: Answer) -> Answer | Later:
        old = self._policy
        try:
            if os.path.exists(self._path) and not os.path.isfile(self._path):  # a pipe would hold up the child
                raise PolicyError(f"{self._path}: not a regular file, so it cannot be read again")
            return self._read(
                lambda: (load_policy.plain_reread(self._path, old), exemptions_store.plain_load(self._file)),
                lambda found: self._reloaded(
                    who, load_policy.from_plain_reread(found[0]), exemptions_store.from_plain(found[1])
                ),
                lambda failure: self._refuse(who, failure),
            )
        except PolicyError as error:
            return self._refuse(who, str(error))

    def _reloaded(self, who: str, found: Reread, contents: Contents) -> Answer:
        """They were read, and are good."""
        old, new = self._policy, found.policy
        refused = self._around.apply(self._effective(new, contents))
        if refused:
            return self._refuse(who, refused)
        self._policy = new
        self._read_at, self._refused = self._wall(), ""
        changed = f"changed {', '.join(found.changed)}" if found.changed else "nothing in it has changed"
        lines = [f"{self._path} is in effect: {changed}"]
        if found.later:
            lines.append(f"only after a restart of the filter: {', '.join(found.later)}")
        if found.responder:
            responder = ", ".join(found.responder)
            lines.append(f"only after a restart of the responder (cpe-filter explain): {responder}")
        self._log(f"reload by {who}: {'; '.join(lines)}")
        self._settle(contents, f"in {self._file}, found by a reload by {who}")
        self._unblock(old, new)
        return {"lines": lines}

    def _refuse(self, who: str, error: str) -> Answer:
        self._refused = error
        self._log(f"reload by {who} refused, the policy stays as it was: {error}")
        return {"error": f"{error}; the running filter's policy stays as it was"}

    def _unblock(self, old: Policy, new: Policy) -> None:
        """Whom the old policy blocked and the new one does not: the kernel would go on by itself."""
        for device in self._around.devices():
            if device.score.standing == COMPROMISED and effective_mode(old, device) == "block":
                error = self._around.unblock(device) if effective_mode(new, device) != "block" else ""
                if error:
                    minutes = old.filter.block_minutes
                    self._log(f"the kernel refuses {device.name} for up to {minutes} minutes more: {error}")

    # ── exemptions ──────────────────────────────────────────────────────────────────────────────

    def _all(self, policy: Policy, contents: Contents) -> tuple[Exemption, ...]:
        return (*policy.exempt, *(one.exemption for one in contents.kept))

    def _effective(self, policy: Policy, contents: Contents) -> Policy:
        return policy._replace(exempt=exemptions.in_force(self._all(policy, contents), self._wall()))

    def _now_over(self, contents: Contents) -> frozenset[Exemption]:
        wall = self._wall()
        return frozenset(one for one in self._all(self._policy, contents) if exemptions.over(one, wall))

    def _settle(self, contents: Contents, how: str) -> None:
        """These are in effect now: says what of them is new. how: by whom, or why."""
        before = {one.id: one for one in self._contents.kept}
        after = {one.id: one for one in contents.kept}
        for number in sorted({*before, *after}):
            old, new = before.get(number), after.get(number)
            one = new or old
            if one is not None and old != new:
                what = "removed" if new is None else "added" if old is None else "changed"
                self._log(f"exemption {number} {what} {how}: {describe(one.exemption)}")
        self._contents = contents
        self._over = self._now_over(contents)
        self._over_since = {number: since for number, since in self._over_since.items() if number in after}

    def _change(self, what: Callable[[Contents], Contents], who: str) -> None:
        """Changes the file, and what kernel and engine go by, or neither. Raises `PolicyError`."""
        before, after = exemptions_store.change(self._file, what)
        error = self._around.apply(self._effective(self._policy, after))
        if error:
            exemptions_store.change(self._file, lambda contents: before)
            raise PolicyError(f"{error}; nothing is changed")
        self._settle(after, f"by {who}")

    def _exempt(self, who: str, request: Answer) -> Answer:
        wall = self._wall()
        exemption = wanted(request, wall)
        done: list[tuple[Kept, bool]] = []

        def add(contents: Contents) -> Contents:
            contents, one, replaces = exemptions.added(contents, exemption, wall, who)
            done.append((one, replaces))
            return contents

        self._change(add, who)
        return {"id": done[0][0].id, "lines": [added_line(*done[0])]}

    def _unexempt(self, who: str, request: Answer) -> Answer:
        gone: list[int] = []

        def remove(contents: Contents) -> Contents:
            gone.extend(unwanted(request, contents, self._policy, self._path))
            return exemptions.without(contents, gone)

        self._change(remove, who)
        return {"ids": gone, "lines": [f"exemption {number} removed" for number in gone]}

    def _reread(self, who: str, request: Answer) -> Answer | Later:
        """The file was changed by somebody who thought that no filter ran."""

        def done(found: Any) -> Answer:
            contents = exemptions_store.from_plain(found)
            error = self._around.apply(self._effective(self._policy, contents))
            if error:
                return {"error": error}
            self._settle(contents, f"by {who}")
            return {"lines": []}

        return self._read(lambda: exemptions_store.plain_load(self._file), done, lambda failure: {"error": failure})

    def _list(self, who: str, request: Answer) -> Answer:
        start = request.get("from", 0)
        if not isinstance(start, int) or not 0 <= start < 1 << 20:
            return {"error": "from is no place in a list"}
        rows = list(self._rows())
        more = start + PAGE < len(rows)
        return {"items": rows[start : start + PAGE], "next": start + PAGE if more else None}

    def _rows(self) -> Iterator[Answer]:
        return exemptions.rows(self._policy.exempt, self._path, self._contents, self._file, self._wall())

    def in_force(self, most: int = 0) -> tuple[int, list[Answer]]:
        """How many exemptions are in force, and the first `most` of them, as objects for `exempt list`."""
        wall = self._wall()
        count = sum([not exemptions.over(one, wall) for one in self._all(self._policy, self._contents)])
        first: list[Answer] = []
        for row in self._rows() if most else ():
            if row["in_force"]:
                first.append(row)
            if len(first) >= most:
                break
        return count, first

    def _expire(self, over: frozenset[Exemption], now: float) -> None:
        """Some are over, or are not any more: the clock was set back."""
        error = self._around.apply(self._effective(self._policy, self._contents))
        if error:
            if self._retry_at < now - 2 * RETRY_S:  # not every time
                self._log(f"exemptions whose time is over are still in force: {error}")
            self._retry_at = now + RETRY_S
            return
        named = [(f"{number} of {self._path}", one) for number, one in enumerate(self._policy.exempt, 1)]
        named += [(str(one.id), one.exemption) for one in self._contents.kept]
        for name, one in named:
            if one in over and one not in self._over:
                self._log(f"exemption {name} is over: {describe(one)}")
            elif one in self._over and one not in over:
                self._log(f"exemption {name} is in force again, the clock was set back: {describe(one)}")
        self._over = over

    def _clear_out(self, now: float) -> None:
        """Takes those that have been over for a while out of the file."""
        ended = [one.id for one in self._contents.kept if one.exemption in self._over]
        self._over_since = {number: self._over_since.get(number, now) for number in ended}
        gone = [number for number, since in self._over_since.items() if now - since >= KEEP_OVER_S]
        if not gone:
            return
        try:
            _, after = exemptions_store.change(self._file, lambda contents: exemptions.without(contents, gone))
        except PolicyError as error:
            self._log(f"exemptions that are over stay in their file: {error}")
            for number in gone:
                self._over_since[number] = now
            return
        self._settle(after, "from the file, its time is over")

    # ── devices ─────────────────────────────────────────────────────────────────────────────────

    def _release(self, who: str, request: Answer) -> Answer:
        reason = request.get("reason", "")
        if not isinstance(reason, str) or len(reason) > MAX_REASON or not reason.isprintable():
            raise PolicyError(f"the reason must be one line of at most {MAX_REASON} characters")
        device = self._find(str(request.get("device", "")))
        called = self._called(device)
        because = f": {reason}" if reason else ""
        self._log(f"release of {called} by {who}{because}")
        error = self._around.release(device)
        mode = effective_mode(self._policy, device)
        lines = [
            f"{called} is no longer compromised but a suspect, in mode {mode}.",
            "It stays watched: new evidence blocks it again, sooner than the first time; mail that is taken clears it.",
        ]
        if mode == "block":
            lines.append("The policy's own mode is block, so its direct mail stays refused as everybody's is.")
        if error:
            lines.append(f"The kernel refuses it for up to {self._policy.filter.block_minutes} minutes more: {error}")
            self._log(lines[-1])
        return {"lines": lines}

    def _find(self, text: str) -> Device:
        """The compromised device that is called so: by its name in `status`, its MAC, or its name in DHCP;
        `home` is the unknown device of this home.
        """
        key, devices = parse_mac(text), list(self._around.devices())
        found = [device for device in devices if text == device.name or (key is not None and key == device.key)]
        if not found and text:
            found = [device for device in devices if self._around.host_name(device).lower() == text.lower()]
        if not found and text == HOME_WORD:
            found = [device for device in devices if device.key == HOME]
        bad = [device for device in devices if device.score.standing == COMPROMISED]
        if len(found) > 1:
            bad_ones = [device for device in found if device in bad]
            if len(bad_ones) != 1:
                raise PolicyError(f"{shown(text)} is the name of {self._named(found)}; name one by its MAC")
            found = bad_ones
        known = f"compromised: {self._named(bad)}" if bad else "no device is compromised"
        if not found:
            raise PolicyError(f"no device is called {shown(text)}; {known}")
        if found[0] not in bad:
            raise PolicyError(f"{self._called(found[0])} is {found[0].score.standing}, not compromised; {known}")
        return found[0]

    def _named(self, devices: list[Device]) -> str:
        more = f" and {len(devices) - MAX_NAMED} more" if len(devices) > MAX_NAMED else ""
        return ", ".join(self._called(device) for device in devices[:MAX_NAMED]) + more

    def _called(self, device: Device) -> str:
        name = self._around.host_name(device)
        return f"{device.name} ({name})" if name else device.name


# ── an answer that takes its time (control_socket.Later) ────────────────────────────────────────────


class _Reading:
    """Files that a child reads."""

    __slots__ = ("_call", "_ended")

    def __init__(self, call: BackgroundCall, ended: Callable[[BackgroundCall], Answer]) -> None:
        self._call = call
        self._ended = ended

    @property
    def fd(self) -> int:
        return self._call.fd

    def advance(self) -> Answer | None:
        return self._ended(self._call) if self._call.poll() else None

    def stop(self) -> None:
        self._call.stop()
