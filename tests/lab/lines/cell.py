"""One filter on one line: mail of a person and of a bot, by IPv4 and by IPv6, and what the filter did and said.

A cell is right if the bot's mail is filtered as the mode says, or passes as without a filter and is said to be
unwatched. What the filter says was refused must have been refused. Judges by the mail that servers took, the log, the
status and the kernel's counters. Must not know how a line is laid.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from tests.lab.lines.lay import BOTS, CLIENT, Laid
from tests.lab.mail import bot, sent
from tests.lab.net import DEADLINE_S, PATIENCE, RELAY4, RELAY6, Filter, Lab, mx4, mx6

#: The bot's first servers, and later ones: those that answer (see `servers`).
FIRST, LATER = ([number for number in range(start, start + 30) if number % 10 < 8] for start in (0, 30))
#: Strangers that take a person's letter, one after the other.
_TAKING = [number for number in range(60, 250) if number % 10 in (0, 4)]
#: Seconds in which the filter notices a way out: it reads the kernel's counts every five seconds.
_NOTICED_S = 15.0 * PATIENCE
#: Mode limit: the connections that a device may begin at once, and what comes in while the bot runs.
_BURST, _SLACK = 12, 3

FILTERED, SILENTLY, UNWATCHED = "filtered", "filtered, without an answer", "not watched, and reported"
BOTH = "filtered by one way, the other not watched and reported"
#: How the responder's refusal begins; other replies of 5xx are the servers' own.
_EXPLAINED = "554 5.7.1 Your Internet provider"


class Setting(NamedTuple):
    """complete: the policy's interfaces are the line's; else they are those of before."""

    mode: str
    fail: str
    complete: bool


class Cell(NamedTuple):
    """What was found for one family. `wrong`: what is not right, "" if nothing."""

    family: int
    found: str
    wrong: str


Replies = dict[str, str]
Status = dict[str, Any]


def baseline(lab: Lab, laid: Laid) -> dict[int, Replies]:
    """What the servers answer the bots without a filter, by family. Raises RuntimeError if the line does not work."""
    found = {family: _bot(lab, laid, family, FIRST) for family in BOTS}
    for family, replies in found.items():
        if not all(reply[:1].isdigit() for reply in replies.values()):
            raise RuntimeError(f"the line does not carry IPv{family}: {replies}")
    return found


def measure(lab: Lab, laid: Laid, setting: Setting, without: dict[int, Replies]) -> list[Cell]:
    """Runs a filter on the line, and judges it for each family."""
    lab.lan, lab.wan = (laid.lan, laid.wan) if setting.complete else (laid.old_lan, laid.old_wan)
    _forget(lab)
    policy = lab.policy(f'[filter]\nmode = "{setting.mode}"\nfail = "{setting.fail}"\n')
    policy.write_text(policy.read_text().replace("[network]\n", f"[network]\n{laid.network}", 1))
    running = lab.start_filter(policy)
    responder = lab.start_responder(policy)
    judges = [_Judge(lab, laid, setting, running, family, without[family]) for family in BOTS]
    try:
        with ThreadPoolExecutor(len(judges)) as threads:  # the families' bots are two devices
            list(threads.map(_Judge.judge, judges))
            if setting.fail == "closed":
                running.stop(signal.SIGKILL)
                list(threads.map(_Judge.closed, judges))
    finally:
        lab.stop(responder)
        running.stop()
        _forget(lab)
    return [judge.cell() for judge in judges]


def _forget(lab: Lab) -> None:
    """No standing and no rules are left of a filter that ran before."""
    shutil.rmtree(lab.folder / "flash", ignore_errors=True)
    for name in ("state", "status.json"):
        (lab.folder / name).unlink(missing_ok=True)
    lab.run("router", ["nft", "delete", "table", "inet", "cpe_filter"], check=False)


def _bot(lab: Lab, laid: Laid, family: int, numbers: list[int]) -> Replies:
    """Server -> the last reply to the bot of this family."""
    options = ["--six"] if family == 6 else ["--prefix", laid.prefix]
    words = ["--servers", *map(str, numbers), "--wait", str(3 * PATIENCE), *options]
    return {result["server"]: result["reply"] for result in bot(lab, *words, device=BOTS[family])}


class _Judge:
    """One family's mail on a line with a filter."""

    def __init__(self, lab: Lab, laid: Laid, setting: Setting, running: Filter, family: int, without: Replies) -> None:
        self._lab = lab
        self._laid = laid
        self._setting = setting
        self._running = running
        self._family = family
        self._without = without
        self._found = ""
        self._wrong: list[str] = []
        # What the policy lacks: the home's network, or the interfaces by which this mail leaves.
        self._unlisted = [name for name in laid.lan if name not in lab.lan]
        self._elsewhere = self._unlisted or [name for name in laid.leaves[family] if name not in lab.wan]
        self._some_watched = not self._unlisted and len(self._elsewhere) < len(laid.leaves[family])

    def judge(self) -> None:
        """While the filter runs."""
        self._person()
        replies = _bot(self._lab, self._laid, self._family, FIRST)
        passed = {server for server, reply in replies.items() if reply[:3] == self._without[server][:3]}
        passed -= {server for server, reply in replies.items() if reply.startswith(_EXPLAINED)}
        stopped = set(replies) - passed
        status = self._status()
        self._said_what_happened(status, stopped)
        if self._elsewhere and not self._some_watched:
            self._is_unwatched(status, passed, stopped)
        else:
            self._is_filtered(status, passed, stopped, replies)

    def closed(self) -> None:
        """Fail closed, after the filter was killed: only mail to the relay passes, but for what was never watched."""
        self._require(self._person_to(relay=True), "without the filter a person's mail to the relay did not pass")
        if not self._elsewhere:
            self._require(not self._person_to(relay=False), "without the filter mail passed in fail closed")

    def cell(self) -> Cell:
        return Cell(self._family, self._found, "; ".join(self._wrong))

    def _require(self, right: bool, otherwise: str) -> None:
        if not right:
            self._wrong.append(otherwise)

    # ── what is right ───────────────────────────────────────────────────────────────────────────

    def _person(self) -> None:
        """A person's mail to the relay passes always, and to a stranger where the mode lets it."""
        self._require(self._person_to(relay=True), "a person's mail to the relay did not pass")
        if self._setting.mode != "block":
            self._require(self._person_to(relay=False), "a person's mail to a stranger did not pass")

    def _person_to(self, relay: bool) -> bool:
        """Whether the relay, or a stranger that the person has not written to yet, takes a letter."""
        number = _TAKING[len(self._lab.mail()) % len(_TAKING)]
        if self._family == 6:
            server = RELAY6 if relay else mx6(number)
        else:
            server = self._laid.prefix + (RELAY4 if relay else mx4(number))
        return sent(self._lab, server, device=CLIENT)

    def _is_filtered(self, status: Status, passed: set[str], stopped: set[str], replies: Replies) -> None:
        mode, partly, found = self._setting.mode, bool(self._elsewhere), FILTERED
        if mode == "block":
            self._require(bool(stopped), "nothing of the bot's mail was stopped")
            self._require(partly or not passed, f"{len(passed)} of the bot's {len(replies)} connections passed")
            silent = [server for server in stopped if replies[server] == "timeout"]
            found = SILENTLY if silent and self._laid.silent else FILTERED
            self._require(not silent or self._laid.silent, f"{len(silent)} of {len(stopped)} got no answer")
        if mode == "limit":
            self._require(partly or len(passed) <= _BURST + _SLACK, f"{len(passed)} of {len(replies)} passed the limit")
        self._require(self._listed(status) is not None, "the bot is not in the status")
        if mode != "block":
            self._convicted(status)
        said = self._unwatched(status)
        if partly:
            self._is_said(said)
        else:
            self._require(not said, f"a watched way is said to be unwatched: {', '.join(said)}")
        self._found = BOTH if partly else found

    def _convicted(self, status: Status) -> None:
        """The bot's next connections find it convicted, and nothing is delivered that leaves by a watched way."""
        end = time.monotonic() + _NOTICED_S
        while (device := self._listed(status) or {}).get("standing") != "compromised":
            if time.monotonic() > end:
                self._wrong.append(f"the bot is {device.get('standing', 'not in the status')}")
                return
            _bot(self._lab, self._laid, self._family, LATER[:6])
            status = self._status()
        later = _bot(self._lab, self._laid, self._family, LATER)
        through = [server for server, reply in later.items() if not _refused(reply)]
        self._require(bool(self._elsewhere) or not through, f"{len(through)} of {len(later)} passed after conviction")
        self._require(len(through) < len(later), "all passed after conviction")

    def _is_unwatched(self, status: Status, passed: set[str], stopped: set[str]) -> None:
        self._require(not stopped, f"{len(stopped)} of {len(passed) + len(stopped)} were stopped on an unwatched way")
        device = self._listed(status)
        self._require(not device or not device["connections"], "the status has connections of the bot")
        self._is_said(self._unwatched(status))
        self._found = UNWATCHED

    def _is_said(self, unwatched: Status) -> None:
        for name in self._elsewhere:
            self._require(name in unwatched, f"the status does not say that {name} is unwatched")
            line = f"IPv{self._family} leaves by {name}, which is not watched"
            if name in self._unlisted:
                line = f"IPv{self._family} mail of {name} is not watched"
            self._require(line in self._running.log(), f"not in the log: {line}")

    def _said_what_happened(self, status: Status, stopped: set[str]) -> None:
        """No more is said to be refused than the bot saw refused; nothing, where the mail was not watched."""
        device = self._listed(status)
        refused = device["refused"] if device else 0
        self._require(refused <= len(stopped), f"{refused} said to be refused, {len(stopped)} were")
        address = {4: self._lab.address4, 6: self._lab.address6}[self._family](BOTS[self._family])
        lines = [
            line
            for line in self._running.log().splitlines()
            if re.search(r"\brefused\b", line) and (address in line or self._lab.mac(BOTS[self._family]) in line)
        ]
        self._require(bool(stopped) or not lines, f"nothing was refused, and the log says {lines[:1]}")

    # ── what was said ───────────────────────────────────────────────────────────────────────────

    def _status(self) -> Status:
        """The status as it is from now on; waits while it does not count what has left by an unwatched way."""
        begun = time.time()
        end = time.monotonic() + _NOTICED_S
        path = self._running.policy.with_name("status.json")
        while True:
            status: Status = json.loads(path.read_text()) if path.exists() else {}
            said = self._unwatched(status)
            counted = all(said.get(name, {}).get("connections") for name in self._elsewhere)
            if status.get("updated", 0) > begun and (counted or time.monotonic() > end):
                return status
            if time.monotonic() > end + DEADLINE_S or self._running.process.poll() is not None:
                raise RuntimeError(f"no status of the filter: {self._running.log()}")
            time.sleep(0.1)

    def _listed(self, status: Status) -> Status | None:
        """The bot."""
        mac = self._lab.mac(BOTS[self._family])
        return next((device for device in status["devices"] if device["device"] == mac), None)

    def _unwatched(self, status: Status) -> Status:
        """Interface -> what the status says of it for this family."""
        found = (*status.get("unwatched", ()), *status.get("unlisted", ()))
        return {one["interface"]: one for one in found if self._family in one["families"]}


def _refused(reply: str) -> bool:
    return reply in ("refused", "reset", "timeout", "closed") or reply.startswith(_EXPLAINED)
