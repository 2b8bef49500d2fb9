"""Requests to the running filter: reload, release, and exemptions (exemption_control).

Knows the policy file and the engine's devices. Must not know sockets (see control_socket), the kernel's language, or
how an answer is shown. Nothing is half done: a policy that is wrong, or that the kernel refuses, leaves everything as
it was. Every change is a line in the log, with its requester.

Slow work (reading files, writing the exemptions file, the program nft) runs in child processes, and packets go on
meanwhile. Until a request is done no other is handled: the control socket does one thing after the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cpe_filter.detect.score import COMPROMISED
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.enforce.nftables import KernelError
from cpe_filter.inputs import shown
from cpe_filter.lean.clocks import PacketTime, Posix, posix
from cpe_filter.lean.forked import BackgroundCall, CallFailedError
from cpe_filter.lean.log import Log, err, notice
from cpe_filter.live.control_socket import Peer
from cpe_filter.live.device_search import called, compromised_device
from cpe_filter.live.exemption_control import ExemptionControl
from cpe_filter.live.job import Job
from cpe_filter.live.requests import asker
from cpe_filter.policy import exemptions_store
from cpe_filter.policy import load as load_policy
from cpe_filter.policy.exemptions import Contents
from cpe_filter.policy.model import MAX_REASON, Policy, PolicyError, Reread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.detect.device import Device
    from cpe_filter.live.exemption_control import FilterHost
    from cpe_filter.live.job import Answer, Steps

#: Seconds to wait for a running job when the filter stops: nft must not load rules after the ruleset was removed.
CLOSE_S = 3.0


class Control:
    """`begin` once, `handle` for each request, `hang_up` on SIGHUP, `due` every second, `close` at the end."""

    def __init__(
        self,
        policy: Policy,
        path: str,
        host: FilterHost,
        log: Log,
        wall: Callable[[], Posix] = posix,
    ) -> None:
        """policy: as read from the file `path`. wall: POSIX time, which may jump."""
        self._path = path
        self._host = host
        self._log = log
        self._wall = wall
        self._exemptions = ExemptionControl(policy, path, host, log, wall)
        self._read_at = wall()
        self._refused = ""
        self._job: Job | None = None
        self._verbs: dict[str, Callable[[str, Answer], Answer | Steps[Answer]]] = {
            "reload": self._reload,
            "release": self._release,
            "end-quarantine": self._end_quarantine,
            "exempt": self._exemptions.add,
            "unexempt": self._exemptions.remove,
            "reread": self._exemptions.reread,
            "exemptions": self._exemptions.page,
            "status": lambda requester, request: self.policy_facts(),
        }
        self.begin = self._exemptions.begin
        self.in_force = self._exemptions.in_force

    def handle(self, peer: Peer, request: dict[str, Any]) -> Answer | Job:
        """Handles a request. The answer has `lines` for people, or an `error`. It may come later; until
        then there must be no other request."""
        verb = self._verbs.get(str(request.get("do")))
        if verb is None:
            return {"error": f"the running filter knows no request {shown(str(request.get('do')))}"}
        try:
            answer = verb(asker(peer.uid, request.get("sudo")), request)
        except PolicyError as error:
            return {"error": str(error)}
        return answer if isinstance(answer, dict) else self._start(answer)

    def ask(self, verb: str, requester: str, request: Answer, done: Callable[[Answer], None]) -> Answer | Job:
        """A request of the filter's own parts. done: gets its answer."""

        def steps() -> Steps[Answer]:
            answer = self._verbs[verb](requester, request)
            answered = answer if isinstance(answer, dict) else (yield from answer)
            return answered

        def reported() -> Steps[Answer]:
            answer = yield from _answered(steps())
            done(answer)
            return answer

        return self._start(reported())

    def hang_up(self) -> Answer | Job:
        """SIGHUP: a reload without an answer."""
        return self._start(self._reload("SIGHUP", {}))

    def due(self, now: PacketTime) -> Callable[[], Answer | Job] | None:
        """Work that is due, when there is no request: exemptions expire. now: the engine's seconds."""
        if self._job is not None and not self._job.is_done:
            return None  # what it has read must not change before it is in effect
        steps = self._exemptions.due(now)
        return None if steps is None else lambda: self._start(steps)

    def close(self) -> None:
        """The filter stops: gives up work that takes longer than a moment."""
        if self._job is not None and not self._job.is_done:
            self._job.stop(CLOSE_S)

    def policy_facts(self) -> Answer:
        """The policy file, when it was read (POSIX time), and why the last reload was refused, if it was."""
        return {"file": self._path, "read": round(self._read_at, 3), "refused": self._refused or None}

    def _start(self, steps: Steps[Answer]) -> Answer | Job:
        """Does the first steps."""
        self._job = job = Job(_answered(steps))
        answer = job.advance()
        return job if answer is None else answer

    # ── the policy ──────────────────────────────────────────────────────────────────────────────

    def _reload(self, requester: str, request: Answer) -> Steps[Answer]:
        old = self._exemptions.policy
        try:
            reread, contents = yield from self._read(old)
            yield from self._host.apply(self._exemptions.effective(reread.policy, contents))
        except (PolicyError, KernelError) as error:
            self._refused = str(error)
            self._log(err(f"reload by {requester} refused, the policy stays as it was: {error}"))
            return {"error": f"{error}; the running filter's policy stays as it was"}
        self._exemptions.policy = reread.policy
        self._read_at, self._refused = self._wall(), ""
        lines = self._summary(reread)
        self._log(notice(f"reload by {requester}: {'; '.join(lines)}"))
        self._exemptions.found_by_reload(contents, requester)
        self._unblock(old, reread.policy)
        return {"lines": lines}

    def _read(self, old: Policy) -> Steps[tuple[Reread, Contents]]:
        """Both files, read in a child process. Raises `PolicyError`."""
        if os.path.exists(self._path) and not os.path.isfile(self._path):  # a pipe would hold up the child
            raise PolicyError(f"{self._path}: not a regular file, so it cannot be read again")
        try:
            plain = yield BackgroundCall(
                lambda: (load_policy.plain_reread(self._path, old), self._exemptions.plain_load()), PolicyError
            )
        except CallFailedError as error:
            raise PolicyError(f"{self._path}: could not be read: {error}") from None
        reread, contents = plain
        return load_policy.from_plain_reread(reread), exemptions_store.from_plain(contents)

    def _summary(self, reread: Reread) -> list[str]:
        changed = f"changed {', '.join(reread.changed)}" if reread.changed else "nothing in it has changed"
        lines = [f"{self._path} is in effect: {changed}"]
        if reread.later:
            lines.append(f"only after a restart of the filter: {', '.join(reread.later)}")
        if reread.responder:
            responder = ", ".join(reread.responder)
            lines.append(f"only after a restart of the responder (cpe-filter explain): {responder}")
        return [*lines, *reread.lacks]

    def _unblock(self, old: Policy, new: Policy) -> None:
        """Unblocks devices that the old policy blocked and the new one does not; the kernel would still block them."""
        for device in self._host.devices():
            blocked = device.score.standing == COMPROMISED and effective_mode(old, device) == "block"
            if not blocked or effective_mode(new, device) == "block":
                continue
            try:
                self._host.unblock(device)
            except KernelError as error:
                minutes = old.filter.block_minutes
                self._log(err(f"the kernel refuses {device.name} for up to {minutes} minutes more: {error}"))

    # ── devices ─────────────────────────────────────────────────────────────────────────────────

    def _named(self, request: Answer) -> tuple[Device, str, str]:
        """The compromised device of a request, its name, and the reason with a colon. Raises `PolicyError`."""
        reason = request.get("reason", "")
        if not isinstance(reason, str) or len(reason) > MAX_REASON or not reason.isprintable():
            raise PolicyError(f"the reason must be one line of at most {MAX_REASON} characters")
        device = compromised_device(str(request.get("device", "")), self._host.devices(), self._host.host_name)
        return device, called(device, self._host.host_name(device)), f": {reason}" if reason else ""

    def _end_quarantine(self, requester: str, request: Answer) -> Answer:
        device, name, because = self._named(request)
        if not self._host.end_quarantine(device):
            raise PolicyError(f"{name} is not in quarantine")
        self._log(notice(f"end of the quarantine of {name} by {requester}{because}"))
        return {"lines": [f"{name} is no longer in quarantine; it stays compromised."]}

    def _release(self, requester: str, request: Answer) -> Answer:
        device, name, because = self._named(request)
        self._log(notice(f"release of {name} by {requester}{because}"))
        policy, failure = self._exemptions.policy, ""
        try:
            self._host.release(device)
        except KernelError as error:
            failure = f"The kernel refuses it for up to {policy.filter.block_minutes} minutes more: {error}"
        mode = effective_mode(policy, device)
        lines = [
            f"{name} is no longer compromised, in mode {mode}.",
            "It stays watched: new evidence blocks it again, sooner than the first time; mail that is taken clears it.",
        ]
        if mode == "block":
            lines.append("The policy's own mode is block, so its direct mail stays refused, like that of all devices.")
        if failure:
            lines.append(failure)
            self._log(err(failure))
        return {"lines": lines}


def _answered(steps: Steps[Answer]) -> Steps[Answer]:
    """A `PolicyError` as an answer."""
    try:
        return (yield from steps)
    except PolicyError as error:
        return {"error": str(error)}
