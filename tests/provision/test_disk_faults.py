"""`policy apply` as a process that is killed, or whose disk fails, at each call that changes the disk.

What has to hold each time: whole files, one of the two policies, nothing tried twice, and a way on.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from cpe_filter.policy import file as policy_file
from cpe_filter.provision import command, trial
from cpe_filter.report.document_news import parse
from tests.provision import disk
from tests.provision.test_command import Router, router
from tests.signed import making

__all__ = ["router"]
#: Of each type the document in force and the next one.
CONTENTS = {
    "policy": ('[filter]\nmode = "monitor"\n', '[filter]\nmode = "limit"\n'),
    "table": (making.table(0.1), making.table(0.2)),
    "replies": (making.replies("mailbox-full: monitor"), making.replies("mailbox-full: limit")),
}
#: All ways to fail for a policy; for the other types, which go the same way, one each.
_KILLS = [("policy", how, reboots) for how in disk.KILLS for reboots in (True, False)]
_KILLS += [("table", "half", True), ("replies", "after", False)]
_FAULTS = [("policy", fault, ever, good) for fault in disk.ERRORS for ever in (False, True) for good in (False, True)]
_FAULTS += [("table", "full", True, False), ("replies", "eio", False, True)]
_MOST = 120
#: Seconds of a trial that is to end well: none passes on its time, however slow the machine is.
_PATIENT_S = 30.0


def taken(router: Router, kind: str) -> tuple[Path, Path, Path]:
    """One in force; two more: the next one, and one for afterwards."""
    old, new = CONTENTS[kind]
    router.state = lambda: state(router)
    assert router.apply(router.document(old, sequence=3, type=kind)) == 0
    later, latest = (router.document(new, sequence=number, type=kind) for number in (4, 5))
    return router.tmp / "3.signed", later, latest


def state(router: Router) -> str:
    """Which of the two documents is in the policy that `run` reads: monitor, limit, as the first says."""
    policy = policy_file.load(router.place.out)
    if policy.signed.rates:
        return "limit" if "0.2000" in policy.signed.rates else "monitor"
    return policy.signed.wordings.removeprefix("f") or policy.filter.mode


def snapshot(router: Router) -> dict[str, bytes]:
    folder = Path(router.place.folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def whole(router: Router) -> None:
    """Each file can be read, and the policy that `run` reads is one of the two."""
    assert router.state() in ("monitor", "limit")
    for name, data in snapshot(router).items():
        if name.endswith(("bad", "taken", "etags")):
            json.loads(data)
        if name == "news/list":
            parse(data)
    assert command.status(router.place) == 0


def reported(router: Router, sequence: int) -> list[str]:
    """What has become of a document, as the filter reports it."""
    return [one.result for one in parse(snapshot(router)["news/list"]).ended if one.sequence == sequence]


def running(router: Router) -> str:
    """What the filter runs with: the policy of its last reload."""
    return router.reloads[-1]


@pytest.mark.parametrize(("kind", "how", "reboots"), _KILLS)
def test_killed_at_each_write(router: Router, tmp_path: Path, how: str, reboots: bool, kind: str) -> None:
    """The power goes (reboots), or the process alone is killed; the router goes on, and takes the next document."""
    for at in range(1, _MOST):
        (tmp_path / str(at)).mkdir()
        folder, out = str(tmp_path / str(at) / "provision"), str(tmp_path / f"{at}/out")
        place = router.place = router.place._replace(folder=folder, out=out, limit_s=_PATIENT_S)
        router.boot, router.uptime = "b1", 100.0
        _, new, later = taken(router, kind)
        before = snapshot(router)

        ended = disk.run(partial(router.apply, new), at, how, tmp_path)
        assert ended.code in (0, -9), (at, ended.err)
        if not ended.reached:
            assert ended.code == 0
            break
        tried = router.state()
        if reboots:
            router.boot, router.uptime = "b2", 5.0
            assert command.make(place) == 0
            router.reloads.append(router.state())
        else:  # the filter runs with what it has read; later it fetches again
            router.reloads.append(tried)
            router.uptime += 1000
        whole(router)
        in_force = snapshot(router)[f"{kind}/good"]
        assert in_force in (before[f"{kind}/good"], new.read_bytes()), at
        code = router.apply(new)
        assert code in (0, 2), at
        whole(router)
        assert running(router) == router.state() == ("limit" if code == 0 else "monitor"), (at, ended.changes)
        said = reported(router, 4)  # it is tried once more
        assert said in ([["applied"], ["taken-back", "applied"]] if code == 0 else [["taken-back"]]), (at, said)
        assert router.apply(later) == 0, at
        assert running(router) == router.state() == "limit"
        assert reported(router, 5) == ["applied"], at
        assert not [name for name in snapshot(router) if name.endswith(("new", "trial"))], at
    else:
        pytest.fail("it did not end")
    assert at > 15


@pytest.mark.parametrize(("kind", "fault", "ever", "good"), _FAULTS)
def test_a_disk_that_fails_at_each_write(
    router: Router, tmp_path: Path, fault: str, ever: bool, good: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ever: later calls fail, too. good: it would be confirmed. In the end one policy counts, for the filter, too."""
    monkeypatch.setattr(trial, "LOOK_S", 0.01)
    for at in range(1, _MOST):
        (tmp_path / str(at)).mkdir()
        folder, out = str(tmp_path / str(at) / "provision"), str(tmp_path / f"{at}/out")
        place = router.place._replace(folder=folder, out=out, limit_s=_PATIENT_S, settle_s=0.01)
        router.place = place
        router.uptime = 100.0
        router.works = lambda: {"filter": True, "rules": True}
        _, new, later = taken(router, kind)
        old = policy_file.load(place.out)
        if not good:
            router.place = place._replace(limit_s=0.2)
            router.works = lambda: {"filter": True, "rules": router.state() == "monitor"}
        ended = disk.run(partial(router.apply, new), at, fault, tmp_path, ever)
        if not ended.reached:
            break
        assert ended.code in (0, 2, 4), (at, ended.err)
        lines = ended.err.splitlines()
        assert not [line for line in lines if not line.startswith("cpe-filter: ")], (at, lines)
        assert "Traceback" not in ended.err
        if ended.code:
            taken_back = lines[-1].startswith(f"cpe-filter: {kind} 4 was taken back: ")
            assert taken_back or lines[-1].endswith((")", "; the policy stays as it was")), (at, lines)
        assert router.state() in ("monitor", "limit"), (at, ended.changes, ended.out, lines, list(snapshot(router)))
        whole(router)
        if ended.code == 2:
            assert policy_file.load(place.out) == old, at
        router.uptime += 1000
        router.works = lambda: {"filter": True, "rules": True}
        router.place = place
        assert command.make(place) == 0
        whole(router)
        if ended.code == 2:
            assert router.state() == "monitor"
        assert router.apply(later) == 0, at
        assert router.state() == "limit"
    else:
        pytest.fail("it did not end")
