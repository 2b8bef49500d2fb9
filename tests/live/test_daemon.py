"""Starts that fail: each says what is missing, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.enforce import nftables
from cpe_filter.enforce.nflog import LogBusyError
from cpe_filter.enforce.nfqueue import QueueBusyError
from cpe_filter.enforce.ruleset_names import XTABLES
from cpe_filter.lean import plain_signal as signal
from cpe_filter.live import daemon as module
from cpe_filter.live import rules_in_kernel
from cpe_filter.live.control_socket import SocketInUseError
from cpe_filter.live.daemon import Daemon, RunError
from cpe_filter.live.part import Part
from cpe_filter.live.parts import StatePart
from cpe_filter.policy.model import Policy
from cpe_filter.status.status import Writer


class Kernel:
    """No kernel: the ruleset is there or not."""

    def __init__(self) -> None:
        self.installed = False

    def update(self, *_: Any) -> None:
        self.installed = True

    def remove(self) -> None:
        self.installed = False


class Socket:
    """A queue, or a log of packets, of which nothing comes."""

    def __init__(self, *_: Any) -> None:
        self.fd, self._write = os.pipe()
        self.lost = 0

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._write)


class Sets:
    """Sets that are in no kernel."""

    def __init__(self, *_: Any) -> None:
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    kernel = Kernel()
    before = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr(nftables, "find_handoff", lambda policy: XTABLES)
    monkeypatch.setattr(nftables, "find_log", lambda policy: True)
    monkeypatch.setattr(nftables, "is_installed", lambda: kernel.installed)
    monkeypatch.setattr(nftables, "update", kernel.update)
    monkeypatch.setattr(nftables, "remove", kernel.remove)
    monkeypatch.setattr(module, "Queue", Socket)
    monkeypatch.setattr(module, "PacketLog", Socket)
    monkeypatch.setattr("cpe_filter.live.gate.Sets", Sets)
    monkeypatch.setattr("cpe_filter.enforce.offload.remove", lambda: None)
    yield kernel
    signal.signal(signal.SIGHUP, before)


def policy_in(folder: Path) -> Policy:
    policy = Policy()
    return policy._replace(
        status=policy.status._replace(
            status_file=str(folder / "run" / "status.json"), control_socket=str(folder / "run" / "control")
        ),
        state=policy.state._replace(
            state_file=str(folder / "etc" / "state"), exemptions_file=str(folder / "etc" / "exemptions.toml")
        ),
        detect=policy.detect._replace(watch_dns=False),
    )


def failing(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


NO_FILES = OSError(errno.EMFILE, "Too many open files")
FAULTS: list[tuple[Any, str, Exception, str]] = [
    (nftables, "find_handoff", nftables.KernelError("no nft queue"), "no nft queue"),
    (module, "Queue", QueueBusyError("queue 25 cannot be bound: why"), "queue 25 cannot be bound: why"),
    (module, "PacketLog", LogBusyError("NFLOG group 25 is in use"), "NFLOG group 25 is in use"),
    (module, "Gate", NO_FILES, "no socket for the ruleset's sets: Too many open files"),
    (
        module,
        "ControlSocket",
        SocketInUseError(errno.EADDRINUSE, "P: taken"),
        "[status] control_socket: P: taken",
    ),
    (
        Writer,
        "write",
        OSError(errno.ENOSPC, "No space left"),
        "[status] status_file: STATUS: No space left",
    ),
    (os, "makedirs", OSError(errno.EROFS, "Read-only"), "[status] status_file: STATUS: Read-only"),
    (nftables, "update", nftables.KernelError("nft refused the ruleset: why"), "nft refused the ruleset: why"),
    (module, "EventLog", FileNotFoundError(errno.ENOENT, "No such file", "/a/file"), "/a/file: No such file"),
    (module, "RulesetGuard", NO_FILES, "a resource of the system: Too many open files"),
]


@pytest.mark.parametrize(
    ("place", "name", "error", "says"), FAULTS, ids=[f"{fault[1]}-{fault[3][:20]}" for fault in FAULTS]
)
def test_a_start_that_fails(
    tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, error: Exception, says: str
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    policy = policy_in(tmp_path)
    daemon = Daemon(policy, str(tmp_path / "policy.toml"))
    with monkeypatch.context() as patch:
        patch.setattr(place, name, failing(error))
        with pytest.raises(RunError) as raised:
            daemon.start()
    assert str(raised.value) == says.replace("STATUS", policy.status.status_file)
    assert not kernel.installed
    assert set(os.listdir("/proc/self/fd")) == before
    assert not os.path.exists(policy.status.control_socket)
    assert not os.path.exists(policy.status.status_file)


@pytest.mark.parametrize(
    ("fail", "mode", "stay"), [("open", "limit", False), ("closed", "limit", True), ("open", "block", True)]
)
def test_rules_of_an_earlier_filter(
    tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, fail: str, mode: str, stay: bool
) -> None:
    """Where these deny without a filter, a start that fails does not open them."""
    kernel.installed = True
    policy = policy_in(tmp_path)
    policy = policy._replace(filter=policy.filter._replace(fail=fail, mode=mode))
    monkeypatch.setattr(module, "RulesetGuard", failing(NO_FILES))
    with pytest.raises(RunError):
        Daemon(policy, str(tmp_path / "policy.toml")).start()
    assert kernel.installed is stay


class Guard(Part):
    """Guards nothing."""

    restored = 0

    def __init__(self, *_: Any) -> None:
        """As a RulesetGuard."""

    def end_repairs(self) -> None:
        """There are none."""


@pytest.mark.parametrize(
    ("fail", "has_log", "warned"), [("open", False, True), ("open", True, False), ("closed", False, False)]
)
def test_a_kernel_that_cannot_fail_open_says_so(
    tmp_path: Path,
    kernel: Kernel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fail: str,
    has_log: bool,
    warned: bool,
) -> None:
    """Without NFLOG everything goes through the queue, and the kernel drops what finds it full."""
    policy = policy_in(tmp_path)
    policy = policy._replace(filter=policy.filter._replace(fail=fail))
    monkeypatch.setattr(nftables, "find_log", lambda policy: has_log)
    monkeypatch.setattr(module, "RulesetGuard", Guard)
    monkeypatch.setattr(rules_in_kernel.RulesInKernel, "remove", lambda self: True)
    daemon = Daemon(policy, str(tmp_path / "policy.toml"))
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        daemon.start()
        daemon.stop(fail, save=False)
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    assert ("those that find it full are dropped" in capsys.readouterr().err) is warned


def test_what_the_state_keeps_of_other_parts_is_saved_after_them(
    tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports may begin with a reload, and then come after the state in the list of parts."""

    class Reports(Part):
        saved = False

        def save(self, now: float) -> None:
            self.saved = True

    monkeypatch.setattr(module, "RulesetGuard", Guard)
    daemon = Daemon(policy_in(tmp_path), str(tmp_path / "policy.toml"))
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    reports, seen = Reports(), []
    try:
        daemon.start()
        daemon._parts.append(reports)
        monkeypatch.setattr(daemon.state, "close", lambda devices, now: seen.append(reports.saved))
        daemon.stop("open", save=True)
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    assert seen == [True]


@pytest.mark.parametrize(
    ("mode", "fail", "stays"), [("monitor", "open", False), ("block", "open", True), ("monitor", "closed", True)]
)
def test_an_internal_error_ends_it_and_saves_nothing(
    tmp_path: Path,
    kernel: Kernel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mode: str,
    fail: str,
    stays: bool,
) -> None:
    """What is in memory may be what was wrong: the supervisor starts it again with the files of before."""
    policy = policy_in(tmp_path)
    policy = policy._replace(filter=policy.filter._replace(fail=fail, mode=mode))
    saved: list[StatePart] = []
    monkeypatch.setattr(StatePart, "save", lambda part, now: saved.append(part))
    monkeypatch.setattr(module, "RulesetGuard", Guard)
    monkeypatch.setattr(module, "check_host", lambda policy: None)
    monkeypatch.setattr(Daemon, "loop", failing(ZeroDivisionError("a defect")))
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert module.run(policy, str(tmp_path / "policy.toml")) == 70
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    assert saved == []
    assert not os.path.exists(policy.state.state_file)
    assert kernel.installed is stays
    assert "internal error, stopping: ZeroDivisionError: a defect" in capsys.readouterr().err


@pytest.mark.parametrize("error", [None, nftables.KernelError("nft: not done in time, ended")])
def test_a_ruleset_that_stays_is_not_called_removed(
    tmp_path: Path,
    kernel: Kernel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception | None,
) -> None:
    monkeypatch.setattr(module, "RulesetGuard", Guard)
    if error is not None:
        monkeypatch.setattr(nftables, "remove", failing(error))
    daemon = Daemon(policy_in(tmp_path), str(tmp_path / "policy.toml"))
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        daemon.start()
        daemon.stop("open", save=False)
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    said = capsys.readouterr().err
    assert ("stopped, ruleset removed" in said) is (error is None)
    assert ("stopped; the ruleset is still loaded" in said) is (error is not None)


@pytest.mark.parametrize("refused", [False, True])
def test_a_ruleset_that_another_program_has_just_removed_is_there_after_the_end_in_fail_closed(
    tmp_path: Path,
    kernel: Kernel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    refused: bool,
) -> None:
    install = failing(nftables.KernelError("nft failed with 1")) if refused else kernel.update
    monkeypatch.setattr(nftables, "install", install)
    monkeypatch.setattr(module, "RulesetGuard", Guard)
    daemon = Daemon(policy_in(tmp_path), str(tmp_path / "policy.toml"))
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        daemon.start()
        kernel.remove()
        daemon.stop("closed", save=False)
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    assert kernel.installed is not refused
    said = capsys.readouterr().err
    assert ("stopped; there is no ruleset" in said) is refused
    assert ("stopped; the ruleset stays" in said) is not refused
