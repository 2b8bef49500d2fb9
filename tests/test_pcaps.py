"""The recorded captures say what stands beside them; and the recorder itself works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab import record

NAMES = sorted(path.stem for path in record.PCAPS.glob("*.pcap"))


def test_every_scenario_is_recorded() -> None:
    assert sorted(record.SCENARIOS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_replay_says_what_is_expected(name: str) -> None:
    expected = json.loads((record.PCAPS / f"{name}.json").read_text())
    assert record.expected(record.PCAPS / f"{name}.pcap") == expected


@pytest.mark.parametrize("name", NAMES)
def test_standings(name: str) -> None:
    expected = json.loads((record.PCAPS / f"{name}.json").read_text())
    standings = {device["device"]: device["standing"] for device in expected["devices"]}
    if "bot" in name:
        assert standings.pop("02:00:00:00:01:02") == "compromised"
    assert set(standings.values()) <= {"clear"}


@pytest.mark.live
def test_recording_again_agrees_with_the_servers_logs(live: None, tmp_path: Path) -> None:
    for name in ("legit-laptop", "bot-sprayer"):
        # On a machine under load tcpdump may miss packets (seen once in 30 recordings): then a second one must agree.
        assert record.record(name, tmp_path) == [] or record.record(name, tmp_path) == []
