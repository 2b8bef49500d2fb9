"""The trial of the jail, with stand-ins for ujail that start what they are given, as in a jail that lacks something."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpe_filter.uci import jail, places

REASON = "stat(/etc/nsswitch.conf) failed: No such file or directory"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "ROOT", str(tmp_path))
    (tmp_path / "sbin").mkdir()
    (tmp_path / "var/run/cpe-filter").mkdir(parents=True)
    return tmp_path


def planned(root: Path, does: str) -> jail.Jail:
    """does: what ujail does with its command."""
    path = root / "sbin/ujail"
    path.write_text(f'#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\n{does}\n')
    path.chmod(0o755)
    return jail.plan(["/var/run/cpe-filter"], [])


def test_a_jail_in_which_the_filter_loads(root: Path) -> None:
    found = planned(root, 'exec "$@"')
    assert found.reason == ""
    assert found.writable == ("/var/run/cpe-filter",)


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (f"echo 'jail: {REASON}' >&2; exit 1", REASON),
        (
            'cd / && exec env PYTHONPATH=/nonexistent "$1" -S -c "$3"',
            "ModuleNotFoundError: No module named 'cpe_filter'",
        ),
        ('exec env PYTHONHOME=/nonexistent "$@"', "ModuleNotFoundError: No module named 'encodings'"),
        (
            "echo 'Error loading shared library libpython3.11.so.1.0: No such file' >&2; exit 127",
            "Error loading shared",
        ),
        ("echo 'jail: mount done' >&2; echo 'OSError: x' >&2; exit 1", "OSError: x"),
        ("exit 3", "ujail ended with 3"),
    ],
)
def test_why_there_is_none(root: Path, does: str, reason: str) -> None:
    found = planned(root, does)
    assert found.reason.startswith(reason)
    assert found.mounts == ()
    assert planned(root, 'exec "$@"').reason == found.reason  # asked once for an installation


def test_a_trial_that_hangs_ends(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jail, "TRIAL_S", 0.3)
    assert planned(root, "exec sleep 60").reason == "the filter does not start in it within 0 s"


def test_without_ujail(root: Path) -> None:
    assert jail.plan([], []).reason == jail.NOT_INSTALLED
