"""The README and the default policy say what the code does: their tables and outputs are held against it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from cpe_filter.policy import Policy, load
from cpe_filter.policy_keys import KEYS
from tests.lab.net import PROJECT

README = (PROJECT / "README.md").read_text()


def toml(value: Any) -> str:
    """A default as it would be written in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def key_table() -> str:
    """The table of policy keys, from the table in the code."""
    lines = []
    for key in KEYS:
        allowed = f"{key.allowed} {key.unit}" if key.kind == "number" else key.allowed
        lines.append(f"| `[{key.table}]` `{key.name}` | `{toml(key.default)}` | {allowed} | {key.meaning} |")
    return "\n".join(lines)


def test_table_of_policy_keys() -> None:
    assert key_table() in README


def test_default_policy_holds_every_key_at_its_default() -> None:
    path = PROJECT / "openwrt" / "policy.toml"
    assert load(str(path)) == Policy()
    text = path.read_text()
    for key in KEYS:
        assert f"\n{key.name} = {toml(key.default)}" in text


def test_replay_output_is_real() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cpe_filter", "replay", "pcaps/bot-sprayer.pcap"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.rstrip() in README


def test_exemption_example_is_valid(tmp_path: Path) -> None:
    start = README.index("[[exempt]]")
    path = tmp_path / "policy.toml"
    path.write_text(README[start : README.index("```", start)])
    (exemption,) = load(str(path)).exempt
    assert exemption.reason == "its own mail server"


def test_both_commands_are_on_the_first_screen() -> None:
    first = "\n".join(README.splitlines()[:24])
    assert "make demo" in first
    assert "make test" in first


def test_captures_figure_of_the_readme(captures: Path) -> None:
    from cpe_filter.replay import Options, replay

    (device,) = replay(str(captures / "bot" / "spambot.pcap"), Options(), lambda _: None)["devices"]
    suspected, compromised = device["suspected_at"]["connection"], device["compromised_at"]["connection"]
    assert f"suspected at its connection {suspected} and\nconvicted at {compromised}" in README
    assert f"{len(list((captures / 'legit').glob('*.pcap')))} captures of legitimate mail" in README
