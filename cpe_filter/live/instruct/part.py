"""Instructions as a part of the daemon: when they are judged, carried out and answered.

Knows the reporter, the control's requests and devices. Must not know signatures (judge, in a child process). One
instruction at a time, each by the request that a command would make, so nothing new can be done to the ruleset.
Bounded: `BURST` at once and `PER_HOUR` in the long run, because a stolen key must not wear the router's flash; and
`FILES` with documents that are refused, because a collector needs no key to send these.
"""

from __future__ import annotations

import os

from cpe_filter.detect.device import Device
from cpe_filter.detect.score import COMPROMISED
from cpe_filter.lean.forked import BackgroundCall, CallFailedError
from cpe_filter.lean.log import Log, err, notice, warning
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.token_bucket import level
from cpe_filter.live.part import Part
from cpe_filter.report.events import APPLIED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.lean.clocks import PacketTime
    from cpe_filter.lean.token_bucket import Bucket
    from cpe_filter.live.notify.desk import Ask
    from cpe_filter.live.reports import Reports
    from cpe_filter.policy.model import Policy

#: The end of the state file's name under which it is kept what was taken, and the folder of keys next to that file.
SUFFIX, KEYS = ".signed", "keys"
#: Seconds between two looks for instructions, and between two looks whether there are keys for them.
LOOK_S, KEYS_S = 2.0, 60.0
#: Seconds that judging may take on the slowest router: eight signatures.
JUDGE_S = 60.0
#: Instructions that are carried out at once, and per hour.
BURST, PER_HOUR = 16, 1
#: Files that are judged at once, and per hour: each costs a process and up to eight lines in the log.
FILES, FILES_PER_HOUR = 16, 60
#: Why an instruction is not carried out: no such device here; nothing to relax; it has no MAC; the control refuses it.
DEVICE, NOTHING, NO_MAC, FAILED = "device", "nothing", "no-mac", "failed"


class _Judged(NamedTuple):
    """As judge.judge returns it."""

    digest: str
    outcome: str
    action: str
    dev: str
    reason: str
    until: int
    line: str


class Instructions(Part):
    """ask: has the control do something."""

    def __init__(self, reports: Reports, ask: Ask, policy: Policy, log: Log) -> None:
        self._reports = reports
        self._ask = ask
        self._policy = policy
        self._log = log
        self._stamp: tuple[int, int] | None = None
        self._next_look = self._next_keys = 0.0
        self._bucket: Bucket | None = None
        self._files: Bucket | None = None
        self._judging: BackgroundCall | None = None
        self._saving: BackgroundCall | None = None
        self._waiting: list[_Judged] = []
        self._asked = False  # the control has the first of them

    @property
    def _state(self) -> str:
        return self._policy.state.state_file + SUFFIX

    @property
    def _keys(self) -> str:
        return os.path.join(os.path.dirname(self._policy.state.state_file), KEYS)

    def reload(self, policy: Policy) -> None:
        self._policy = policy

    def tick(self, now: PacketTime) -> None:
        reporter = self._reports.reporter
        if reporter is None:
            return
        if now >= self._next_keys:
            self._next_keys = now + KEYS_S
            reporter.ask(_has_files(os.path.join(self._keys, "desk")))
        if self._judging is not None:
            if self._judging.poll():
                self._judged(self._judging)
        elif self._saving is not None:
            if self._saving.poll():
                self._saved(self._saving)
        elif self._waiting:
            if not self._asked:
                self._carry_out(self._waiting[0], now)
        elif now >= self._next_look:
            self._next_look = now + LOOK_S
            self._look(reporter.instructions(), now)

    def _look(self, path: str, now: PacketTime) -> None:
        """Begins to judge what `send` has left, if that is new."""
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError:
            return
        stamp = status.st_mtime_ns, status.st_ino
        files = level(self._files, FILES, FILES_PER_HOUR, now)
        if stamp == self._stamp or files < 1.0 or level(self._bucket, BURST, PER_HOUR, now) < 1.0:
            return
        self._files = files - 1.0, now
        folder, state, certificate = self._keys, self._state, self._policy.report.certificate

        def work() -> Any:
            from cpe_filter.live.instruct import judge

            return judge.judge(path, folder, state, certificate)

        try:
            self._judging = BackgroundCall(work, OSError, JUDGE_S)
        except CallFailedError as error:
            self._log(err(f"instructions not judged: {error}"))
            return
        self._stamp = stamp

    def _judged(self, call: BackgroundCall) -> None:
        self._judging = None
        try:
            self._waiting = [_Judged(*one) for one in call.result()]
        except (OSError, CallFailedError) as error:
            self._log(err(f"instructions not judged: {error}"))

    def _carry_out(self, one: _Judged, now: PacketTime) -> None:
        """The first that waits: by a request to the control, or at once."""
        if one.outcome:
            if one.line:
                self._log(warning(f"instruction {one.digest} of the Internet provider refused: {one.line}"))
            self._done(one, one.outcome, save=False)
            return
        tokens = level(self._bucket, BURST, PER_HOUR, now)
        if tokens < 1.0:
            return
        reporter = self._reports.reporter
        device = reporter.find(one.dev) if reporter is not None else None
        request, outcome = self._request(one, device)
        if outcome:
            self._bucket = tokens - 1.0, now
            self._done(one, outcome)
            return

        def done(answer: dict[str, Any]) -> None:
            self._asked = False
            problem = answer.get("error", "")
            if problem:
                self._log(warning(f"instruction {one.digest} of the Internet provider not carried out: {problem}"))
            self._done(one, FAILED if problem else APPLIED)

        self._asked = True
        if self._ask(one.action, f"the Internet provider, instruction {one.digest}", request, done):
            self._bucket = tokens - 1.0, now
        else:
            self._asked = False  # the control is busy: at the next tick

    def _request(self, one: _Judged, device: Device | None) -> tuple[dict[str, Any], str]:
        """The request, and an outcome instead of it: "" if there is none yet."""
        if device is None:
            return {}, DEVICE
        if one.action in ("release", "end-quarantine"):
            held = one.action == "release" or device.notice[2] == "held"
            if device.score.standing != COMPROMISED or not held:
                return {}, NOTHING
            return {"device": device.name, "reason": one.reason}, ""
        if len(device.key) != 6:
            return {}, NO_MAC
        request = {"device": device.key.hex(":"), "reason": one.reason or "by the ISP", "until": one.until}
        return {**request, "relaxes": True}, ""

    def _done(self, one: _Judged, outcome: str, save: bool = True) -> None:
        """Answers the first that waits. save: whether what has become of it is not kept yet."""
        self._waiting = self._waiting[1:]
        reporter = self._reports.reporter
        if reporter is not None:
            reporter.answer(one.digest, outcome, one.action, one.dev)
        if not save:
            return
        text = f"instruction {one.digest} of the Internet provider, {one.action} {one.dev}: {outcome}"
        self._log(notice(text) if outcome == APPLIED else warning(text))
        state = self._state

        def work() -> None:
            from cpe_filter.live.instruct import judge

            judge.note(state, one.digest, outcome)

        try:
            self._saving = BackgroundCall(work, Exception)
        except CallFailedError as error:
            self._log(err(f"what has become of instruction {one.digest} is not kept: {error}"))

    def _saved(self, call: BackgroundCall) -> None:
        self._saving = None
        try:
            call.result()
        except Exception as error:
            self._log(err(f"what has become of an instruction is not kept: {error}"))

    def close(self) -> None:
        for call in (self._judging, self._saving):
            if call is not None:
                call.stop(1.0)


def _has_files(folder: str) -> bool:
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False
