"""What the running filter is asked, without sockets and kernel: reload, exemptions and their end, release."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpe_filter.detect.device import HOME, ROUTER, Device
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED
from cpe_filter.enforce.nftables import KernelError
from cpe_filter.engine import Engine
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.lean.forked import BackgroundCall
from cpe_filter.live.control import Control
from cpe_filter.live.control_socket import ANSWER, Peer
from cpe_filter.live.exemption_control import KEEP_EXPIRED_S, PAGE, RETRY_S
from cpe_filter.live.requests import MAX_IDS, asker
from cpe_filter.policy import exemptions, exemptions_store
from cpe_filter.policy import load as load_policy
from cpe_filter.policy.exemptions import MAX_KEPT
from cpe_filter.policy.keys import AT_START, OF_RESPONDER
from cpe_filter.policy.load import load
from cpe_filter.policy.model import Exemption, Policy, PolicyError

if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing
    from cpe_filter.live.job import Steps

_quiet = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

MAC, OTHER = "02:00:00:12:34:56", "02:00:00:00:00:99"
SERVER = "192.0.2.25"
DAY = 86400.0
START = 1795500000.0  # 2026-11-24 06:00:00 UTC


class Around:
    """A filter without a kernel: it remembers what it was told."""

    def __init__(self, policy: Policy) -> None:
        self.engine = Engine(policy)
        self.applied: list[Policy] = []
        self.unblocked: list[Device] = []
        self.released: list[Device] = []
        self.names: dict[bytes, str] = {}
        self.refuses = ""
        self.quarantined: set[bytes] = set()

    def devices(self) -> Iterable[Device]:
        return self.engine.devices

    def host_name(self, device: Device) -> str:
        return self.names.get(device.key, "")

    def apply(self, policy: Policy) -> Steps[None]:
        yield BackgroundCall(self._refuse, KernelError)
        self.applied.append(policy)
        self.engine.reload(policy)

    def release(self, device: Device) -> None:
        self.released.append(device)
        self.engine.release(device.key, PacketTime(1.0))
        self.unblock(device)

    def end_quarantine(self, device: Device) -> bool:
        held = device.key in self.quarantined
        self.quarantined.discard(device.key)
        return held

    def unblock(self, device: Device) -> None:
        self.unblocked.append(device)
        self._refuse()

    def _refuse(self) -> None:
        if self.refuses:
            raise KernelError(self.refuses)


def answered(answer: Any) -> dict[str, Any]:
    """The answer, waited for where it takes its time."""
    while not isinstance(answer, dict):
        if answer.fd >= 0:
            select.select([answer.fd], [], [], 10)
        answer = answer.advance() or answer
    return answer


class Running:
    """A filter with a policy file, and what it says."""

    def __init__(self, folder: Path, text: str = "") -> None:
        self.path = folder / "policy.toml"
        self.file = folder / "etc" / "exemptions.toml"
        self.write(text)
        self.time = START
        self.log: list[str] = []
        self.start()

    def write(self, text: str) -> None:
        """The policy file."""
        self.path.write_text(f'[state]\nexemptions_file = "{self.file}"\n{text}')

    def start(self) -> None:
        self.log.clear()
        policy = load(str(self.path))
        self.around = Around(policy)
        self.control = Control(policy, str(self.path), self.around, self.log.append, lambda: self.time)
        self.around.engine.reload(self.control.begin())

    @property
    def policy(self) -> Policy:
        """What engine and kernel go by."""
        return self.around.engine.policy

    def exempt(self) -> list[tuple[str, str]]:
        """Device and destination of the exemptions in force."""
        found = self.policy.exempt
        return [(exemptions.device_text(one.device), exemptions.destination_text(one.destination)) for one in found]

    def ask(self, do: str, uid: int = 0, **more: Any) -> Any:
        """The answer, which goes through JSON as in the socket."""
        request = json.loads(json.dumps({"do": do, "sudo": None, **more}))
        answer = answered(self.control.handle(Peer(1, uid), request))
        encoded = json.dumps(answer)
        assert len(encoded) <= ANSWER
        return json.loads(encoded)

    def add(self, device: str = MAC, reason: str = "why", **more: Any) -> Any:
        return self.ask("exempt", device=device, reason=reason, **more)

    def tick(self, seconds: float) -> None:
        """Time passes, for clock and engine alike."""
        self.time += seconds
        self.due(self.time)

    def due(self, now: float) -> None:
        """Does what time calls for, in turns of a second each, until there is nothing more."""
        while (work := self.control.due(now)) is not None:
            answered(work())

    def device(self, standing: Standing, key: bytes = bytes.fromhex("020000000099"), name: str = "") -> Device:
        device = self.around.engine.devices.get(key, 0.0)
        device.score.standing = standing
        if name:
            self.around.names[key] = name
        return device


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path)


# ── reload ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_good_policy_takes_effect(running: Running) -> None:
    running.write('[filter]\nmode = "monitor"\n[network]\nports = [25, 26]\n[[exempt]]\ndestination = "::1"\n')
    running.time += 60
    answer = running.ask("reload")
    assert answer["lines"] == [f"{running.path} is in effect: changed [filter] mode, [network] ports, [[exempt]]"]
    assert (running.policy.filter.mode, running.policy.network.ports) == ("monitor", (25, 26))
    assert running.exempt() == [("any", "::1")]
    assert running.log == [f"reload by uid 0: {answer['lines'][0]}"]
    assert running.control.policy_facts() == {"file": str(running.path), "read": START + 60, "refused": None}
    assert "nothing in it has changed" in running.ask("reload")["lines"][0]


def test_a_bad_policy_is_refused_and_all_stays(running: Running) -> None:
    before = running.policy
    running.write('[filter]\nmode = "blok"\n')
    error = running.ask("reload")["error"]
    assert error.startswith(f'{running.path}: [filter] mode is "blok"; allowed: monitor, limit, block; ')
    assert "stays as it was" in error
    assert running.around.applied == []
    assert running.policy == before
    assert "refused" in running.log[0]
    about = running.ask("status")
    assert (about["read"], about["refused"]) == (
        START,
        f'{running.path}: [filter] mode is "blok"; allowed: monitor, limit, block',
    )
    running.write("")
    running.ask("reload")
    assert running.ask("status")["refused"] is None


def test_a_policy_that_is_gone(running: Running) -> None:
    os.unlink(running.path)
    assert "No such file" in running.ask("reload")["error"]
    assert running.around.applied == []


def test_a_policy_that_would_hold_us_up(running: Running) -> None:
    os.unlink(running.path)
    os.mkfifo(running.path)
    assert "not a regular file, so it cannot be read again" in running.ask("reload")["error"]


def test_a_bad_exemptions_file_is_refused_with_it(running: Running) -> None:
    running.add()
    before = running.policy
    running.file.write_text("[[exempt")
    running.write('[filter]\nmode = "monitor"\n')
    assert f"{running.file}: not TOML" in running.ask("reload")["error"]
    assert running.policy == before
    assert running.file.read_text() == "[[exempt"  # to be mended, not set aside


def test_what_the_kernel_refuses_leaves_the_old_policy(running: Running) -> None:
    before = running.policy
    running.around.refuses = "nft refused the ruleset: why"
    running.write('[filter]\nmode = "monitor"\n')
    assert "nft refused the ruleset: why" in running.ask("reload")["error"]
    assert running.policy == before
    running.around.refuses = ""
    assert "changed [filter] mode" in running.ask("reload")["lines"][0]


def test_hang_up(running: Running) -> None:
    running.write('[filter]\nmode = "limit"\n')
    answered(running.control.hang_up())
    assert running.policy.filter.mode == "limit"
    running.write("nonsense")
    answered(running.control.hang_up())
    assert running.policy.filter.mode == "limit"
    assert [line.split(":")[0] for line in running.log] == [
        "reload by SIGHUP",
        "reload by SIGHUP refused, the policy stays as it was",
    ]


# ── while a policy is read ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A policy takes as long to read as this file is there."""
    held, read = tmp_path / "held", load_policy.plain_reread

    def slow(path: str, old: Policy) -> Any:
        while held.exists():
            time.sleep(0.01)
        return read(path, old)

    held.touch()
    monkeypatch.setattr(load_policy, "plain_reread", slow)
    return held


def test_a_reload_holds_nobody_up(running: Running, slowly: Path) -> None:
    running.write('[filter]\nmode = "limit"\n')
    answer: Any = running.control.handle(Peer(1, 0), {"do": "reload"})
    running.due(running.time)
    assert answer.advance() is None  # what holds it is still there
    assert running.around.applied == []
    slowly.unlink()
    assert "changed [filter] mode" in answered(answer)["lines"][0]
    assert running.policy.filter.mode == "limit"


def test_exemptions_do_not_end_under_a_reload(running: Running, slowly: Path) -> None:
    running.add(until=START + 60)
    answer: Any = running.control.handle(Peer(1, 0), {"do": "reload"})
    running.tick(2 * KEEP_EXPIRED_S)
    running.tick(2 * KEEP_EXPIRED_S)
    assert "id = 1" in running.file.read_text()
    slowly.unlink()
    answered(answer)
    assert running.exempt() == []
    running.tick(1)
    running.tick(2 * KEEP_EXPIRED_S)
    assert "id = 1" not in running.file.read_text()


def test_a_child_that_dies_is_an_answer(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_policy, "plain_reread", lambda path, old: os._exit(3))
    error = running.ask("reload")["error"]
    assert error.startswith(f"{running.path}: could not be read: its process ended with 3; the running filter")
    assert "stays as it was" in running.log[0]


def test_no_process_is_an_answer(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    for verb in ("reload", "reread"):
        assert "no process for it: Resource temporarily unavailable" in running.ask(verb)["error"]


def test_the_end_during_a_reload(running: Running, slowly: Path) -> None:
    running.control.handle(Peer(1, 0), {"do": "reload"})
    running.control.close()
    running.control.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def other(value: Any) -> str:
    """Another value for a key that is bound to the start, as TOML."""
    if isinstance(value, tuple):
        return '["other"]' if value and not value[0].startswith("/") else '["/other"]'
    if isinstance(value, bool):
        return str(not value).lower()
    if isinstance(value, int):
        return str(value + 1)
    words = {"open": "closed", "nobody": "other", "en": "nl", "device": "home", "": "https://isp.example"}
    return f'"{words.get(value, "/other" if value.startswith("/") else "Other.")}"'


@pytest.mark.parametrize("key", AT_START, ids=lambda key: key.name)
def test_what_needs_a_restart_keeps_its_value_and_is_named(running: Running, key: Any) -> None:
    text = f"[{key.table}]\n{key.name} = {other(key.value(Policy()))}\n"
    if key.table == "state":  # `write` has the table already
        file = "" if key.name == "exemptions_file" else f"exemptions_file = '{running.file}'\n"
        running.path.write_text(text + file)
    else:
        running.write(text)
    before = key.value(running.policy)
    for _ in range(2):  # and again, as long as it differs
        lines = running.ask("reload")["lines"]
        assert lines[0].endswith("is in effect: nothing in it has changed")
        assert lines[1] == f"only after a restart of the filter: [{key.table}] {key.name}"
        assert key.value(running.policy) == before
    assert f"only after a restart of the filter: [{key.table}] {key.name}" in running.log[0]


@pytest.mark.parametrize("key", [key for key in OF_RESPONDER if key not in AT_START], ids=lambda key: key.name)
def test_what_the_responder_reads_is_named(running: Running, key: Any) -> None:
    value = '"/other"' if key.kind == "file" else other(key.value(Policy()))
    running.write(f"[{key.table}]\n{key.name} = {value}\n")
    line = f"only after a restart of the responder (cpe-filter explain): [{key.table}] {key.name}"
    assert running.ask("reload")["lines"][1:] == [line]


def test_the_kernel_forgets_whom_the_new_policy_does_not_block(running: Running) -> None:
    running.write('[filter]\nmode = "monitor"\n')
    running.start()
    bad, _ = running.device(COMPROMISED), running.device(SUSPECTED, b"suspct")
    running.write('[filter]\nmode = "monitor"\nblock_minutes = 5\n')
    running.ask("reload")
    assert running.around.unblocked == []
    running.write('[filter]\nmode = "limit"\nescalate = false\n')
    running.ask("reload")
    assert running.around.unblocked == [bad]


# ── exemptions ──────────────────────────────────────────────────────────────────────────────────────


def test_an_exemption_is_in_force_at_once_and_after_a_restart(running: Running) -> None:
    answer = running.add(destination=SERVER, reason="its own", until=START + DAY)
    line = f"device {MAC}, destination {SERVER}, until 2026-11-25 06:00:00 UTC (its own)"
    assert answer == {"id": 1, "lines": [f"exemption 1 added: {line}"]}
    assert running.exempt() == [(MAC, SERVER)]
    assert running.log == [f"exemption 1 added by uid 0: {line}"]
    running.start()
    assert running.exempt() == [(MAC, SERVER)]
    assert running.log == []


def test_the_policy_s_own_stay_beside_them(running: Running) -> None:
    running.write('[[exempt]]\ndestination = "::1"\n')
    running.start()
    running.add()
    assert running.exempt() == [("any", "::1"), (MAC, "any")]
    running.write('[[exempt]]\ndestination = "::2"\n')
    running.ask("reload")
    assert running.exempt() == [("any", "::2"), (MAC, "any")]


def test_what_was_written_by_hand_comes_with_a_reload(running: Running) -> None:
    running.add()
    running.file.write_text(running.file.read_text() + f'[[exempt]]\ndevice = "{OTHER}"\n')
    running.ask("reload")
    assert running.exempt() == [(MAC, "any"), (OTHER, "any")]
    assert f"exemption 2 added in {running.file}, found by a reload by uid 0: device {OTHER}" in running.log[-1]


def test_remove(running: Running) -> None:
    running.add()
    running.add(OTHER)
    assert running.ask("unexempt", ids=["1"]) == {"ids": [1], "lines": ["exemption 1 removed"]}
    assert running.exempt() == [(OTHER, "any")]
    assert running.log[-1] == f"exemption 1 removed by uid 0: device {MAC}, destination any, never expires (why)"
    assert running.ask("unexempt", device=OTHER)["ids"] == [2]
    assert running.exempt() == []
    running.start()
    assert running.exempt() == []


def test_add_again_changes(running: Running) -> None:
    running.add(until=START + 60)
    assert running.add(reason="longer", until=START + DAY)["lines"][0].startswith("exemption 1 changed: ")
    assert "exemption 1 changed by uid 0: " in running.log[-1]
    running.tick(3600)
    assert running.exempt() == [(MAC, "any")]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"device": "any"}, "name a device or a destination"),
        ({"device": "phone"}, 'device is "phone"; allowed: a MAC'),
        ({"device": [1]}, "device is a list; allowed: a MAC"),
        ({"device": 7}, "device is 7; allowed: a MAC"),
        ({"destination": "mx.example"}, 'destination has "mx.example"; allowed: an address or network'),
        ({"destination": {}, "device": "any"}, "name a device or a destination"),
        ({"destination": {"a": 1}}, "destination has a table; allowed"),
        ({"reason": ""}, "reason is empty"),
        ({"reason": None}, "reason is empty"),
        ({"reason": "a\nb"}, 'reason is "a?b"; allowed: one line'),
        ({"reason": "x" * 201}, "allowed: one line of at most 200 characters"),
        ({"until": "tomorrow"}, "invalid --until"),
        ({"until": True}, "invalid --until"),
        ({"until": START}, "until 2026-11-24 06:00:00 UTC is in the past; now it is 2026-11-24 06:00:00 UTC"),
        ({"until": -(10**300)}, "is in the past"),
        ({"until": 10**300}, "invalid --until"),
        ({"until": float("nan")}, "invalid --until"),
        ({"until": float("-inf")}, "is in the past"),
    ],
)
def test_exemptions_that_are_none(running: Running, request_: dict[str, Any], says: str) -> None:
    error = running.ask("exempt", **{"device": MAC, "reason": "x", **request_})["error"]
    assert says in error
    assert "\n" not in error
    assert running.around.applied == []
    assert not running.file.exists()


@pytest.mark.parametrize(("first", "asked", "then"), [(None, 100, None), (200, 100, 200), (100, 200, 200)])
def test_who_may_only_relax_shortens_no_exemption(
    running: Running, first: int | None, asked: int, then: int | None
) -> None:
    """An instruction of the desk: what a person has added stays, if it lasts longer."""
    ends: dict[str, Any] = {"until": START + first} if first else {}
    number = running.add(reason="ours", **ends)["id"]
    answer = running.add(reason="the desk's", until=START + asked, relaxes=True)
    assert answer["id"] == number
    (kept,) = exemptions_store.load(str(running.file)).kept
    assert kept.exemption.until == (START + then if then else None)
    assert kept.exemption.reason == ("the desk's" if first == 100 else "ours")
    assert running.exempt() == [(MAC, "any")]
    # A person may.
    running.add(reason="ours", until=START + 50)
    assert exemptions_store.load(str(running.file)).kept[0].exemption.until == START + 50


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({}, "expected an id"),
        ({"ids": []}, "expected an id"),
        ({"ids": "1"}, "at most 64 ids"),
        ({"ids": [1]}, "at most 64 ids"),
        ({"ids": ["1"] * (MAX_IDS + 1)}, "at most 64 ids"),
        ({"ids": ["9"]}, 'no exemption with id "9"; known: 1'),
        ({"ids": ["policy-1"]}, "comes from the policy file"),
        ({"destination": "::1"}, "the exemption comes from the policy file"),
        ({"device": "x"}, "allowed: a MAC"),
        ({"device": 5}, "allowed: a MAC"),
    ],
)
def test_removals_that_are_none(running: Running, request_: dict[str, Any], says: str) -> None:
    running.write('[[exempt]]\ndestination = "::1"\n')
    running.start()
    running.add()
    assert says in running.ask("unexempt", **request_)["error"]
    assert running.exempt() == [("any", "::1"), (MAC, "any")]


def test_what_the_kernel_refuses_is_not_kept(running: Running) -> None:
    running.add()
    before = running.file.read_text()
    running.around.refuses = "nft refused the ruleset: why"
    for answer in (running.add(OTHER), running.ask("unexempt", ids=["1"])):
        assert answer == {"error": "nft refused the ruleset: why; nothing is changed"}
        assert running.file.read_text() == before
    assert running.exempt() == [(MAC, "any")]
    assert len(running.log) == 1


def test_what_the_kernel_refuses_and_the_file_keeps_is_said(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next start or reload it would be in force."""
    control = running.control._exemptions
    write, calls = control._write, []

    def full(change: Any) -> Any:
        calls.append(change)
        if len(calls) == 2:
            raise PolicyError("No space left on device")
        return write(change)

    monkeypatch.setattr(control, "_write", full)
    running.around.refuses = "nft refused the ruleset: why"
    says = "the change is not in force, but it stays in its file: No space left on device"
    assert running.add() == {"error": f"nft refused the ruleset: why; {says}"}
    assert running.exempt() == []
    assert running.log == ["change of exemptions by uid 0 is in their file and not in force: No space left on device"]


def test_what_cannot_be_written_is_not_in_force(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in running.add()["error"]
    assert running.exempt() == []


def test_who_has_asked(running: Running) -> None:
    running.ask("exempt", uid=5, device=MAC, reason="x")
    assert " by uid 5: " in running.log[0]
    assert exemptions_store.load(str(running.file)).kept[0].by == "uid 5"
    running.ask("exempt", device=OTHER, reason="x", sudo=["1000", "an\nna"])
    assert " by uid 0, through sudo uid 1000 (an?na): " in running.log[1]
    assert exemptions_store.load(str(running.file)).kept[1].by == "uid 0, through sudo uid 1000 (an?na)"
    for nonsense in (5, [], ["", ""], [1, 2], {"uid": 0}, ["a"] * 3):
        assert asker(0, nonsense) == "uid 0"
    assert len(asker(0, ["9" * 999, "x" * 999])) <= exemptions.MAX_BY


def test_list(running: Running) -> None:
    running.write('[[exempt]]\ndestination = "::1"\nuntil = 2026-01-01\nreason = "old"\n')
    running.start()
    running.add()
    first, second = running.ask("exemptions")["items"]
    assert first == {
        "id": "policy-1",
        "device": "any",
        "destination": "::1",
        "until": 1767311999.0,
        "reason": "old",
        "added": None,
        "by": "",
        "file": str(running.path),
        "in_force": False,
    }
    assert (second["id"], second["device"], second["added"], second["by"]) == ("1", MAC, START, "uid 0")
    assert (second["file"], second["in_force"]) == (str(running.file), True)


def test_how_many_are_in_force_and_the_first_of_them(running: Running) -> None:
    assert running.control.in_force(2) == (0, [])
    running.add(until=START + 60)
    for number in range(4):
        running.add(f"02:00:00:00:00:0{number}")
    count, first = running.control.in_force(2)
    assert (count, [row["id"] for row in first]) == (5, ["1", "2"])
    running.time += 61
    count, first = running.control.in_force(2)
    assert (count, [row["id"] for row in first]) == (4, ["2", "3"])
    assert running.control.in_force() == (4, [])
    assert len(running.control.in_force(99)[1]) == 4


def test_the_longest_list_comes_in_answers_of_bounded_size(running: Running) -> None:
    contents = exemptions.Contents()
    for number in range(MAX_KEPT):
        one = Exemption(bytes((2, 0, 0, 0, 0, number)), ip_network("2001:db8::/48"), None, "\U0001f4ee" * 200)
        contents = exemptions.added(contents, one, START, "\U0001f4ee" * exemptions.MAX_BY)[0]
    running.file.parent.mkdir()
    running.file.write_text(exemptions_store.render(contents))
    running.start()
    assert len(running.exempt()) == MAX_KEPT
    found, place = [], 0
    while place is not None:
        answer = running.ask("exemptions", **{"from": place})  # asserts the size
        assert len(answer["items"]) <= PAGE
        found += [item["id"] for item in answer["items"]]
        place = answer["next"]
    assert found == [str(number + 1) for number in range(MAX_KEPT)]
    for nonsense in (-1, 1 << 30, "x", None, 1.5, [1]):
        assert running.ask("exemptions", **{"from": nonsense})["error"] == "from is not a position in a list"


# ── their end ───────────────────────────────────────────────────────────────────────────────────────


def test_an_exemption_ends(running: Running) -> None:
    running.add(until=START + 60)
    running.add(OTHER)
    running.tick(60)
    assert len(running.exempt()) == 2
    running.tick(1)
    assert running.exempt() == [(OTHER, "any")]
    assert (
        running.log[-1]
        == f"exemption 1 has expired: device {MAC}, destination any, until 2026-11-24 06:01:00 UTC (why)"
    )
    told, applied = len(running.log), len(running.around.applied)
    running.tick(60)
    assert (len(running.log), len(running.around.applied)) == (told, applied)


def test_what_is_over_leaves_the_file_after_a_while(running: Running) -> None:
    running.add(until=START + 60)
    running.tick(61)
    assert not running.ask("exemptions")["items"][0]["in_force"]
    running.tick(KEEP_EXPIRED_S - 1)
    assert len(exemptions_store.load(str(running.file)).kept) == 1
    running.tick(1)
    assert exemptions_store.load(str(running.file)).kept == ()
    assert running.log[-1].startswith("exemption 1 removed from the file, it has expired: ")
    assert running.ask("exemptions")["items"] == []
    # Nor is its id given again.
    assert running.add()["id"] == 2


def test_a_clock_that_is_wrong_for_a_moment_costs_no_exemption(running: Running) -> None:
    running.add(until=START + DAY)
    now = START
    running.time += 10 * 365 * DAY
    for _ in range(60):
        now += 1
        running.due(now)
    assert running.exempt() == []
    assert "has expired" in running.log[-1]
    running.time -= 10 * 365 * DAY
    running.due(now + 1)
    assert running.exempt() == [(MAC, "any")]
    assert "exemption 1 is in force again, the clock was set back" in running.log[-1]
    # And the hour begins anew.
    running.time += 10 * 365 * DAY
    running.due(now + KEEP_EXPIRED_S)
    assert len(exemptions_store.load(str(running.file)).kept) == 1


def test_the_policy_s_end_too_but_its_file_is_not_ours(running: Running) -> None:
    text = f'[[exempt]]\ndevice = "{MAC}"\nuntil = 2026-11-24\n'
    running.write(text)
    running.start()
    assert running.exempt() == [(MAC, "any")]
    running.tick(DAY)
    assert running.exempt() == []
    assert f"exemption 1 of {running.path} has expired: " in running.log[-1]
    running.tick(2 * KEEP_EXPIRED_S)
    assert text in running.path.read_text()


def test_what_was_over_before_the_start(running: Running) -> None:
    running.add(until=START + 60)
    running.time += DAY
    running.start()
    assert running.exempt() == []
    running.due(0.0)
    assert running.around.applied == []
    running.due(KEEP_EXPIRED_S)
    assert exemptions_store.load(str(running.file)).kept == ()


def test_an_end_that_the_kernel_refuses_is_tried_again(running: Running) -> None:
    running.add(until=START + 60)
    running.around.refuses = "nft: busy"
    for _ in range(70):
        running.tick(1)
    assert running.exempt() == [(MAC, "any")]
    assert running.log[1:] == ["expired exemptions are still in force: nft: busy"]
    running.around.refuses = ""
    running.tick(RETRY_S)
    assert running.exempt() == []


def test_a_file_that_cannot_be_cleared_out(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.add(until=START + 60)

    def full(handle: int) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "fsync", full)
    running.tick(61)
    for _ in range(3):
        running.tick(KEEP_EXPIRED_S / 2)
    assert [line for line in running.log if "stay in their file" in line] == [
        f"expired exemptions stay in their file: {running.file}: Read-only file system; it stays as it was"
    ]


# ── a damaged file at the start ─────────────────────────────────────────────────────────────────────


def test_a_damaged_file_does_not_keep_the_filter_from_starting(running: Running) -> None:
    running.add()
    running.file.write_text("[[exempt")
    running.start()
    assert running.exempt() == []
    (line,) = running.log
    assert line.startswith(f"exemptions not used: {running.file}: not TOML")
    assert line.endswith(f"kept as {running.file}.bad")
    assert Path(f"{running.file}.bad").read_text() == "[[exempt"
    running.add(OTHER)
    assert running.exempt() == [(OTHER, "any")]


def test_a_file_of_others_is_neither_used_nor_replaced(running: Running) -> None:
    running.add()
    running.file.chmod(0o666)
    running.start()
    assert running.exempt() == []
    assert running.log == [f"exemptions not used: {running.file}: Others can write to it"]
    assert "Others can write to it" in running.add(OTHER)["error"]
    assert MAC in running.file.read_text()


def test_reread_after_a_change_without_a_filter(running: Running) -> None:
    one = Exemption(None, ip_network("::1"), None, "x")
    exemptions_store.change(str(running.file), lambda contents: exemptions.added(contents, one, START, "uid 0")[0])
    assert running.ask("reread") == {"lines": []}
    assert running.exempt() == [("any", "::1")]
    assert "exemption 1 added by uid 0: " in running.log[0]


# ── release ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("called", ["02:00:00:00:00:99", "02-00-00-00-00-99", "tv", "TV"])
def test_release(running: Running, called: str) -> None:
    running.write('[filter]\nmode = "monitor"\n')
    running.start()
    device = running.device(COMPROMISED, name="TV")
    running.device(CLEAR, b"laptop", name="laptop")
    first, second = running.ask("release", device=called, reason="new firmware")["lines"]
    assert first == f"{OTHER} (TV) is no longer compromised, in mode limit."
    assert "new evidence blocks it again" in second
    assert running.around.released == [device]
    assert device.score.standing == SUSPECTED
    assert running.log == [f"release of {OTHER} (TV) by uid 0: new firmware"]


def test_release_in_mode_block_says_that_nothing_passes(running: Running) -> None:
    running.device(COMPROMISED)
    assert "mode is block, so its direct mail stays refused" in running.ask("release", device=OTHER)["lines"][-1]


def test_release_that_the_kernel_does_not_do(running: Running) -> None:
    running.device(COMPROMISED)
    running.around.refuses = "nft is not installed"
    line = "The kernel refuses it for up to 60 minutes more: nft is not installed"
    assert running.ask("release", device=OTHER)["lines"][-1] == line
    assert running.log[-1] == line


def test_release_of_the_router_and_of_a_host_behind_one(running: Running) -> None:
    running.device(COMPROMISED, ROUTER)
    behind = bytes.fromhex("020000000101") + bytes((192, 168, 7, 5))
    running.device(COMPROMISED, behind)
    running.device(COMPROMISED, behind[:6])
    for name, key in (("router", ROUTER), ("02:00:00:00:01:01 192.168.7.5", behind), ("02:00:00:00:01:01", behind[:6])):
        assert "lines" in running.ask("release", device=name)
        assert running.around.released[-1].key == key


@pytest.mark.parametrize("called", ["home", "an unknown device of this home"])
def test_release_of_an_unknown_device_of_the_home(running: Running, called: str) -> None:
    running.device(CLEAR, b"laptop", name="laptop")
    home = running.around.engine.devices.home
    assert running.ask("release", device=called)["error"].endswith("; no device is compromised")
    home.score.standing = COMPROMISED
    (first, *_) = running.ask("release", device=called)["lines"]
    assert first.startswith("an unknown device of this home is no longer compromised")
    assert running.around.released[-1].key == HOME
    assert home.score.standing == SUSPECTED


@pytest.mark.parametrize("called", ["phone", "", "02:00:00:00:00:77", "\x1b[2J", "x" * 999, None, 5, ["TV"]])
def test_release_of_somebody_unknown(running: Running, called: object) -> None:
    assert running.ask("release", device=called)["error"].endswith("; no device is compromised")
    for number in range(10):
        running.device(COMPROMISED, bytes((2, 0, 0, 0, 0, number)), name=f"tv{number}")
    error = running.ask("release", device=called)["error"]
    assert "compromised: 02:00:00:00:00:00 (tv0), " in error
    assert error.endswith(" and 2 more")
    assert error.isprintable()
    assert len(error) < 500
    assert running.around.released == []


def test_release_of_who_is_not_compromised(running: Running) -> None:
    running.device(SUSPECTED, name="tv")
    running.device(COMPROMISED, b"camera", name="camera")
    error = running.ask("release", device="tv")["error"]
    assert error == f"{OTHER} (tv) is suspected, not compromised; compromised: 63:61:6d:65:72:61 (camera)"


def test_release_by_a_name_that_two_have(running: Running) -> None:
    running.device(COMPROMISED, b"tv-one", name="android")
    running.device(CLEAR, b"tv-two", name="android")
    running.device(COMPROMISED, b"tv-thr", name="Android")
    assert "name one by its MAC" in running.ask("release", device="android")["error"]
    running.device(CLEAR, b"tv-thr", name="Android")
    assert "lines" in running.ask("release", device="android")  # the one that it can be
    assert running.around.released[0].key == b"tv-one"


@pytest.mark.parametrize("reason", ["a\nb", "x" * 201, 5, None])
def test_reasons_that_are_none(running: Running, reason: object) -> None:
    running.device(COMPROMISED)
    assert "the reason must be one line" in running.ask("release", device=OTHER, reason=reason)["error"]


# ── whatever is asked ───────────────────────────────────────────────────────────────────────────────

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_fields = ("device", "destination", "until", "reason", "ids", "from", "sudo")
_verbs = ("reload", "release", "exempt", "unexempt", "reread", "exemptions", "status")


@_quiet
@given(st.sampled_from(_verbs) | _json, st.fixed_dictionaries({}, optional=dict.fromkeys(_fields, _json)))
def test_whatever_is_asked_gets_an_answer(tmp_path: Path, do: Any, more: dict[str, Any]) -> None:
    running = Running(tmp_path)
    running.file.unlink(missing_ok=True)
    running.device(COMPROMISED)
    answer = answered(running.control.handle(Peer(1, 0), {"do": do, **more}))
    assert "error" in answer or answer.keys() & {"lines", "items", "file"}
    json.dumps(answer)
    for line in (*running.log, answer.get("error", "")):
        assert "\n" not in line
