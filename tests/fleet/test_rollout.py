"""The simulated rollout, for few routers, and what it replaces next to the real thing on files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from cpe_filter.provision import command, trial
from cpe_filter.provision.folder import Folder, digest_of
from cpe_filter.provision.place import Place
from tests.fleet import rollout
from tests.lab.net import PROJECT
from tests.provision.test_command import Router, router

__all__ = ["router"]
ROUTERS = 2000


@pytest.fixture(scope="module")
def found() -> dict[str, rollout.Figures]:
    return {name: rollout.simulate(name, ROUTERS, 3) for name in rollout.SCENARIOS}


@pytest.mark.parametrize("scenario", rollout.SCENARIOS)
def test_the_halt_reaches_all_that_ever_applied_it(found: dict[str, rollout.Figures], scenario: str) -> None:
    figures = found[scenario]
    assert figures.without == 0
    assert len(figures.fleet) == figures.routers == ROUTERS
    assert len(figures.reached) == figures.applied == figures.confirmed + figures.taken_back
    assert 0 < figures.applied <= figures.first
    expected, deviation = ROUTERS / 100, math.sqrt(ROUTERS * 0.01 * 0.99)
    assert abs(figures.first - expected) < 5 * deviation


def test_what_fails_its_trial_counts_for_a_minute(found: dict[str, rollout.Figures]) -> None:
    figures = found["fails"]
    assert figures.confirmed == 0
    assert max(figures.acted) <= 60
    assert figures.alert is not None
    assert figures.halted == figures.alert + rollout.REACTION_S


def test_what_passes_its_trial_counts_until_the_halt_is_fetched(found: dict[str, rollout.Figures]) -> None:
    figures = found["passes"]
    assert (figures.alert, figures.halted, figures.taken_back) == (None, 12 * rollout.HOUR, 0)
    assert max(figures.powered) <= figures.halted + 7 * rollout.DAY


def test_a_rollout_that_nobody_halts_reaches_its_part(found: dict[str, rollout.Figures]) -> None:
    for name in ("fails-late", "passes-late"):
        assert found[name].first - 3 <= found[name].applied <= found[name].first
    assert found["fails-late"].confirmed == 0
    assert max(found["fails-late"].acted) <= 60


def test_the_same_seed_gives_the_same_figures() -> None:
    one, other = (rollout.simulate("model", 300, 5) for _ in range(2))
    assert one._replace(refused={}) == other._replace(refused={})


def works(router: Router, fails: bool) -> Callable[[], trial.Looks]:
    """What works on this router, if the bad policy fails on it."""
    return lambda: {"filter": True, "rules": not (fails and Path(router.place.out).exists() and router.mode == "block")}


def test_a_router_of_the_simulation_does_what_one_on_files_does(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documents of one rollout, on real files, by the same commands: the same end for each router."""
    (tmp_path / "isp").mkdir()
    world = rollout.World(60, 8, "model", tmp_path / "isp")
    monkeypatch.setattr(rollout, "PERMILLE", 300)
    world.run()
    now = world.epoch
    for one in world.routers:
        if one.life.full or one.life.wrong_clock:
            continue
        base = tmp_path / one.name
        base.mkdir()
        place = Place(
            router.place.base, str(base / "out"), str(base / "documents"), str(world.isp.keys), one.model, "", 0.2, 0.05
        )
        router.place = place
        router.works = works(router, one.model in world.failing)
        monkeypatch.setattr("cpe_filter.provision.apply.recipient_of", rollout.recipient_named(one.name))
        monkeypatch.setattr("cpe_filter.provision.judge.time.time", lambda: now + rollout.DAY)
        saw_bad = any(digest == digest_of(world.bad) for _, digest in one.acts)
        for name, document in (("baseline", world.baseline), ("bad", world.bad), ("halt", world.halt)):
            path = base / name
            path.write_bytes(document)
            code = command.apply(str(path), place, router.reload)
            if name == "bad" and saw_bad:
                assert code == (4 if one.model in world.failing else 0)
            elif name == "bad":
                assert code in (0, 4, 5)
            else:
                assert code == 0
        files = Folder(str(base / "documents" / "policy"))
        assert files.good == one.files[f"{one.name}/policy/good"] == world.halt
        if saw_bad:
            former = one.files[f"{one.name}/policy/former"]
            assert files.former == former
            assert set(files.bad()) == ({digest_of(world.bad)} if one.model in world.failing else set())


def test_the_service_fetches_as_the_simulation_does() -> None:
    """What this takes from the shell script."""
    script = (PROJECT / "openwrt/cpe-filter/files/cpe-filter-repeat").read_text()
    for piece in (f"soon={rollout.SOON} ;;", "again=60", "-le 3600 ] || again=3600", "due=$((now + 3600))", "sleep 20"):
        assert piece in script, piece
