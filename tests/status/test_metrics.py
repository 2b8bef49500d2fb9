"""The metrics file, read by Prometheus' own parser; what it must never hold; how it is written."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.engine import FORWARD, Engine
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.policy.model import Policy
from cpe_filter.status import metrics
from cpe_filter.status.metrics import exposition
from cpe_filter.status.status import counted
from tests.lab.net import PROJECT
from tests.status.statuses import UPDATED, device, status

HOME = status(
    device("02:00:00:00:01:01", name="laptop"),
    device("02:00:00:00:01:02", "compromised", name="tv-box"),
    device("02:00:00:00:01:03", "compromised"),
)


def read(text: str) -> dict[tuple[str, str], float]:
    """Samples by name and label's value."""
    parser = pytest.importorskip("prometheus_client.parser")
    samples: dict[tuple[str, str], float] = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge")
        for sample in family.samples:
            key = sample.name, next(iter(sample.labels.values()), "")
            assert key not in samples, f"{key} twice"
            samples[key] = sample.value
    return samples


def test_what_a_scrape_sees() -> None:
    found = read(exposition(HOME))
    expected = {
        ("packets_total", ""): 120,
        ("mail_packets_total", ""): 118,
        ("unread_packets_total", "fragment"): 2,
        ("unread_packets_total", "not-tcp"): 0,
        ("failures_total", ""): 0,
        ("flows", ""): 7,
        ("evicted_flows_total", ""): 4,
        ("devices", "clear"): 1,
        ("devices", "unusual"): 0,
        ("devices", "suspected"): 0,
        ("devices", "compromised"): 2,
        ("refusals_total", "compromised"): 3,
        ("refusals_total", "recipients"): 2,
        ("refusals_total", "other"): 0,
        ("kernel_packets_total", "blocked"): 2000000,
        ("kernel_bytes_total", "blocked"): 120000000,
        ("kernel_packets_total", "new_one"): 1,
        ("queue_waiting", ""): 3,
        ("queue_dropped_total", "queue"): 11,
        ("queue_dropped_total", "socket"): 2,
        ("ruleset_restored_total", ""): 2,
        ("exemptions", ""): 1,
        ("last_reload_success", ""): 1,
        ("policy_read_time_seconds", ""): UPDATED - 3000,
        ("start_time_seconds", ""): UPDATED - 3661,
        ("resident_memory_bytes", ""): 18_500_000,
    }
    for (name, label), value in expected.items():
        assert found[f"cpe_filter_{name}", label] == value, name


def test_a_refused_reload() -> None:
    policy = {**HOME["policy"], "refused": "policy.toml: not TOML"}
    found = read(exposition({**HOME, "policy": policy}))
    assert found["cpe_filter_last_reload_success", ""] == 0
    assert found["cpe_filter_policy_read_time_seconds", ""] == UPDATED - 3000


def test_what_is_not_known_is_left_out() -> None:
    least = {
        key: HOME[key]
        for key in ("updated", "since", "packets", "mail_packets", "unread_packets", "failures", "flows", "devices")
    }
    found = read(exposition(least))
    assert found["cpe_filter_packets_total", ""] == 120
    names = {name for name, _ in found}
    assert not {name for name in names if "kernel" in name or "queue" in name or "memory" in name or "reload" in name}
    assert read(exposition({**least, "kernel": {}, "queue_state": {}})) == found


def test_no_device_can_be_told_from_it() -> None:
    text = exposition(HOME)
    for secret in ("02:00", "192.168", "2001:db8", "192.0.2", "laptop", "tv-box", "mta", "/etc/"):
        assert secret not in text


def test_names_of_counters_cannot_break_the_format() -> None:
    odd = {'a"b\n# TYPE x': [1, 2], "": [3, 4]}
    found = read(exposition({**HOME, "kernel": odd}))
    assert {value for (name, _), value in found.items() if name == "cpe_filter_kernel_packets_total"} == {1, 3}


def test_large_numbers_stay_exact() -> None:
    assert f"cpe_filter_packets_total {2**53 - 1}\n" in exposition({**HOME, "packets": 2**53 - 1})


def test_of_a_real_engine() -> None:
    engine = Engine(Policy())
    engine.packet(PacketTime(0.0), FORWARD, None, b"")
    about: dict[str, Any] = {"since": 0.0, "failures": 0}
    found = read(exposition(counted(engine, about, 1.0)))
    assert found["cpe_filter_packets_total", ""] == 1
    assert found["cpe_filter_unread_packets_total", "empty"] == 1


# ── the file ────────────────────────────────────────────────────────────────────────────────────────


def test_written_whole_and_readable_by_all(tmp_path: Path) -> None:
    path = tmp_path / "cpe-filter.prom"
    before = os.umask(0o077)
    try:
        metrics.write(str(path), "one 1\n")
        held = path.open()
        metrics.write(str(path), "two 2\n")
    finally:
        os.umask(before)
    assert held.read() == "one 1\n"  # the old one, not half of each
    held.close()
    assert path.read_text() == "two 2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["cpe-filter.prom"]


def test_never_through_a_link(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    (tmp_path / "m.prom.new").symlink_to(other)
    (tmp_path / "m.prom").symlink_to(other)
    metrics.write(str(tmp_path / "m.prom"), "x 1\n")
    assert other.read_text() == "precious"
    assert not (tmp_path / "m.prom").is_symlink()


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        metrics.write(str(tmp_path / "folder"), "x 1\n")
    assert os.listdir(tmp_path) == ["folder"]
    with pytest.raises(FileNotFoundError):
        metrics.write(str(tmp_path / "none" / "m.prom"), "x 1\n")


def test_a_full_disk_keeps_the_old_one(tmp_path: Path) -> None:
    if os.geteuid() or not os.path.exists("/dev/full"):
        pytest.skip("needs root to mount a small tmpfs")
    import subprocess

    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(tmp_path)]).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        path = tmp_path / "m.prom"
        metrics.write(str(path), "old 1\n")
        with pytest.raises(OSError, match="No space left"):
            metrics.write(str(path), "x 1\n" * 20000)
        assert path.read_text() == "old 1\n"
        assert os.listdir(tmp_path) == ["m.prom"]
    finally:
        subprocess.run(["umount", str(tmp_path)])


def test_each_metric_is_in_the_documents() -> None:
    text = (PROJECT / "docs" / "metrics.md").read_text()
    assert not {name for name, _ in read(exposition(HOME)) if f"`{name}`" not in text}


def test_the_notice_is_counted() -> None:
    notice = {"served": True, "led": 2, "counts": {"shown": 3, "seen": 1}, "devices": []}
    found = read(exposition({**HOME, "notice": notice}))
    assert found["cpe_filter_notice_served", ""] == 1
    assert found["cpe_filter_notice_led_devices", ""] == 2
    assert found["cpe_filter_notice_total", "shown"] == 3
    assert ("cpe_filter_notice_served", "") not in read(exposition(HOME))
