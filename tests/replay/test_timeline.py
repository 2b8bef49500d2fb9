"""Timelines: what is kept of a long history, what the drawing in a terminal shows, and `--timeline` itself."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.detect.detector import Step
from cpe_filter.detect.device import Device
from cpe_filter.detect.evidence import INDICATORS, LEGITIMATE
from cpe_filter.detect.score import CLEAR, COMPROMISED, CONVICT_AT, SUSPECT_AT, SUSPECTED
from cpe_filter.replay import chart
from cpe_filter.replay.axis import axis, moment
from cpe_filter.replay.replay import Options, replay
from cpe_filter.replay.timeline import DEVICES, MOVERS, POINTS, SOON, Timeline, Track, as_json
from tests.build import START
from tests.lab.net import PROJECT

RECORDINGS = sorted((PROJECT / "pcaps").glob("*.pcap"))


def walk(timeline: Timeline, device: Device, scores: list[float], every_s: float = 1.0, convict: bool = True) -> None:
    """Feeds a device's scores to a timeline as the detector would: the standing follows after the step."""
    before, score = 0.0, device.score
    for number, value in enumerate(scores):
        step = Step(START + number * every_s, device, number + 1, "refused", value - before, value)
        timeline.step(step)
        before = value
        if convict and value >= CONVICT_AT:
            score.standing = COMPROMISED
        elif score.standing != COMPROMISED:
            score.standing = SUSPECTED if value >= SUSPECT_AT else CLEAR if value < 3 else score.standing


def track(scores: list[float], every_s: float = 1.0, convict: bool = True) -> Track:
    timeline, device = Timeline(), Device(b"\x02\0\0\0\1\1", START)
    walk(timeline, device, scores, every_s, convict)
    timeline.finish()
    return timeline.tracks["02:00:00:00:01:01"]


def wander(steps: int, seed: int, highest: float = CONVICT_AT - 0.8) -> list[float]:
    rng, value, out = random.Random(seed), 0.0, []
    for _ in range(steps):
        value = min(highest, max(0.0, value + rng.uniform(-1.5, 1.5)))
        out.append(value)
    return out


# ── what is kept ────────────────────────────────────────────────────────────────────────────────────


def test_a_short_history_is_kept_whole() -> None:
    scores = wander(100, 1)
    assert [point.score for point in track(scores).points()] == scores


@pytest.mark.parametrize("steps", [161, 1000, 20000])
@pytest.mark.parametrize("convict", [True, False])
def test_a_long_history_is_bounded_and_keeps_extremes_and_crossings(steps: int, convict: bool) -> None:
    scores = wander(steps, steps, highest=20.0)
    kept = track(scores, convict=convict)
    points = kept.points()
    assert len(points) <= POINTS
    assert [point.number for point in points] == sorted({point.number for point in points})
    assert all(point.score == scores[point.number - 1] for point in points)
    numbers = {point.number - 1 for point in points}
    assert {0, steps - 1} <= numbers
    assert max(point.score for point in points) == max(scores) == kept.peak.score
    assert min(point.score for point in points) == min(scores)
    for threshold in (SUSPECT_AT, CONVICT_AT):
        first = next(n for n, score in enumerate(scores) if score >= threshold)
        assert first in numbers


def test_evenly_over_the_whole_history() -> None:
    """Neither its beginning nor its end is told in more detail: no gap is much longer than a run."""
    points = track(wander(20000, 7)).points()
    gaps = [after.number - before.number for before, after in pairwise(points)]
    assert max(gaps) <= 2 * 20000 // 80 * 2


def test_a_short_dip_in_a_long_history_is_kept() -> None:
    scores = [10.0] * 5000 + [1.0] + [10.0] * 5000
    assert 1.0 in [point.score for point in track(scores).points()]


def test_what_follows_a_conviction_takes_nothing_from_what_led_to_it() -> None:
    scores = [n / 10 for n in range(121)]
    long = track([*scores, *wander(20000, 3)])
    assert [point.score for point in long.points()][:121] == scores
    assert len(long.points()) <= POINTS
    assert len(long.soon) == SOON


def test_movers_are_those_that_moved_it_most_and_those_that_are_marked() -> None:
    scores = wander(3000, 5)
    kept = track(scores)
    added = [abs(b - a) for a, b in pairwise([0.0, *scores])]
    most = sorted(added, reverse=True)[:MOVERS]
    movers = kept.movers()
    assert [point.number for point in movers] == sorted(point.number for point in movers)
    assert set(most) <= {abs(point.added) for point in movers}
    assert len(movers) <= MOVERS + 4
    marks = [kept.mark(point) for point in movers if kept.mark(point)]
    assert marks == [SUSPECTED]


def test_movers_end_with_the_conviction() -> None:
    kept = track([5.0, 9.0, 14.0, 20.0, 30.0])
    assert [(point.score, kept.mark(point)) for point in kept.movers()] == [
        (5.0, ""),
        (9.0, SUSPECTED),
        (14.0, COMPROMISED),
    ]


def test_past_the_threshold_without_a_second_family() -> None:
    """The score may pass the threshold before a conviction is allowed: both moments are marked."""
    timeline, device = Timeline(), Device(b"\x02\0\0\0\1\1", START)
    walk(timeline, device, [9.0, 15.0, 15.5], convict=False)
    device.score.standing = COMPROMISED
    timeline.step(Step(START + 9, device, 9, "dnsbl-listed", 1.0, 16.5))
    timeline.finish()
    kept = timeline.tracks["02:00:00:00:01:01"]
    assert [kept.mark(point) for point in kept.movers()] == [SUSPECTED, f"passes {CONVICT_AT:g}", COMPROMISED]


def test_the_devices_that_rose_highest_are_kept() -> None:
    timeline = Timeline()
    rng = random.Random(4)
    peaks = [round(rng.uniform(0.5, 12.0), 6) for _ in range(3 * DEVICES)]
    for number, peak in enumerate(peaks):
        walk(timeline, Device(number.to_bytes(6, "big"), START), [peak / 2, peak])
    timeline.finish()
    assert timeline.crowded
    assert len(timeline.tracks) == DEVICES
    assert sorted(t.peak.score for t in timeline.tracks.values()) == sorted(peaks)[-DEVICES:]


def test_a_device_that_came_late_says_so() -> None:
    timeline = Timeline(limit=1)
    walk(timeline, Device(b"\1" * 6, START), [5.0])
    walk(timeline, Device(b"\2" * 6, START), [4.0, 8.0])
    timeline.finish()
    assert list(timeline.tracks) == ["02:02:02:02:02:02"]
    assert not timeline.tracks["02:02:02:02:02:02"].begun
    assert "(what came before was not kept)" in chart.lines(timeline.tracks["02:02:02:02:02:02"], "utf-8")


# ── the drawing ─────────────────────────────────────────────────────────────────────────────────────


def rows(kept: Track, encoding: str = "utf-8") -> list[str]:
    """The part of the chart to the right of its side, from the top."""
    drawn = chart.draw(axis(kept), chart.glyphs(encoding))
    return [line[chart._LABEL + 2 :].ljust(chart.COLUMNS) for line in drawn[: chart.ROWS + 1]]


def test_scores_stand_at_their_height() -> None:
    """A stair: 0 to the conviction in ten steps, each a row higher."""
    kept = track([CONVICT_AT / 10 * n - 1e-9 for n in range(1, 11)], convict=False)
    heights = ["".join(row[column] for row in rows(kept)).count("█") for column in range(chart.COLUMNS)]
    assert heights == sorted(heights)
    assert set(heights) >= set(range(1, 11))


def test_thresholds_are_lines_with_labels() -> None:
    lines = chart.draw(axis(track([1.0, 1.3, 1.0])), chart.glyphs("utf-8"))
    assert lines[0].startswith(f"{CONVICT_AT:>4g} compromised │▁▁▁")
    suspected = chart.ROWS - round(chart.ROWS * SUSPECT_AT / CONVICT_AT)
    assert lines[suspected].startswith(f"{SUSPECT_AT:>6g} suspected │▁▁▁")
    others = (*lines[1:suspected], *lines[suspected + 1 : chart.ROWS - 1])
    assert all("▁▁▁" not in line for line in others)


def test_scores_above_the_threshold_are_clipped_and_marked() -> None:
    top = rows(track([5.0, 20.0, 5.0, 5.0], convict=False))[0]
    assert "▲" in top
    assert top.count("▲") < chart.COLUMNS
    assert "▲" not in rows(track([5.0, CONVICT_AT - 0.1, 5.0], convict=False))[0]


def test_what_was_reached_and_left_within_a_column_is_shown() -> None:
    scores = [1.0] * 500 + [12.0] + [1.0] * 500
    assert any("░" in row for row in rows(track(scores)))


def test_an_early_conviction_has_room() -> None:
    """A bot convicted in the first seconds of a day: the chart shows the seconds, and says that it went on."""
    kept = track([n * 1.4 for n in range(1, 12)] + [15.4] * 3000)
    drawn = axis(kept)
    assert drawn.cut
    assert 0.5 < drawn.position(kept.standings[COMPROMISED]) < 0.8
    assert any(line.startswith("(drawn to 12:00:") for line in chart.lines(kept, "utf-8"))


def test_evidence_of_one_moment_is_drawn_in_order() -> None:
    kept = track([2.0, 4.0, 8.0], every_s=0.0)
    lines = chart.lines(kept, "utf-8")
    assert lines[0].startswith("score in order of evidence")
    assert axis(kept).by_order


def test_a_score_that_stayed_at_zero_needs_no_chart() -> None:
    assert chart.lines(track([0.0, 0.0]), "utf-8") == ["score over time: it stayed at 0.0 (2 pieces of evidence)"]


@pytest.mark.parametrize("start", [0.0, START, 1e12])
@pytest.mark.parametrize("span", [0.05, 0.3, 7.0, 90.0, 3000.0, 50000.0, 1e6, 1e8, 1e9])
def test_ticks_are_at_round_times_within_the_chart(start: float, span: float) -> None:
    device = Device(b"\x02\0\0\0\1\1", start)
    kept = Track(Step(start, device, 1, "refused", 1.0, 1.0))
    for number in range(2, 11):
        kept.add(Step(start + span * (number - 1) / 9, device, number, "refused", 1.0, float(number)))
    ticks = axis(kept).ticks(5)
    assert 1 <= len(ticks) <= 6
    assert [tick.position for tick in ticks] == sorted({tick.position for tick in ticks})
    assert [tick.connection for tick in ticks] == sorted(tick.connection for tick in ticks)
    assert len({tick.label for tick in ticks}) == len(ticks) or start == 1e12
    for width in (len(line) for line in chart.draw(axis(kept), chart.BLOCKS)):
        assert width <= chart._LABEL + 2 + chart.COLUMNS


def test_moments() -> None:
    assert moment(START + 0.96, 0.1) == "12:00:01.0"
    assert moment(START + 0.25, 0.01) == "12:00:00.25"
    assert moment(START, 60) == "12:00:00"
    assert moment(START, 3600) == "11-23 12:00"
    assert moment(START, 86400) == "2026-11-23"
    assert moment(1e300, 86400) == "?"
    assert moment(1e300, 0.01) == "?"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", None, "no such encoding"])
def test_characters_that_the_terminal_has(encoding: str | None) -> None:
    lines = chart.lines(track([1.0, 8.0, 3.0, 20.0, 13.0], convict=False), encoding)
    assert ("█" in "".join(lines)) == (encoding == "utf-8")
    if encoding != "utf-8":
        assert "".join(lines).isascii()


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_recordings(path: Path) -> None:
    """Each recording's timelines agree with its verdicts, fit a terminal, and end with the device's score."""
    timeline = Timeline()
    result = replay(str(path), Options(timeline=True), lambda _: None, timeline)
    for device in result["devices"]:
        kept = timeline.tracks.get(device["device"])
        assert (kept is None) == (not device["evidence"])
        assert device["timeline"] == as_json(kept)
        if kept is None:
            continue
        assert device["timeline"][-1]["score"] == device["score"]
        assert kept.count >= sum(item["count"] for item in device["evidence"])  # and what was not seen
        point = kept.standings.get(COMPROMISED)
        at = device["compromised_at"]
        assert (point is None) == (at is None)
        if point and at:
            assert (round(point.time, 6), point.connection) == (at["time"], at["connection"])
        for encoding in ("utf-8", "ascii"):
            assert max(len(line) for line in chart.lines(kept, encoding)) <= 110
            assert all(len(line) <= 74 for line in chart.draw(axis(kept), chart.glyphs(encoding)))


# ── the command ─────────────────────────────────────────────────────────────────────────────────────


def command(*arguments: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cpe_filter", "replay", *arguments],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )


def test_timeline_in_the_terminal() -> None:
    plain = command("pcaps/bot-sprayer.pcap").stdout
    done = command("pcaps/bot-sprayer.pcap", "--timeline")
    assert (done.returncode, done.stderr) == (0, "")
    # The chart is added; all else is as without it.
    assert [line for line in done.stdout.splitlines() if line in plain.splitlines()] == [*plain.splitlines(), ""]
    assert f"{CONVICT_AT:g} compromised │" in done.stdout
    assert "▲" in done.stdout
    marked = [line.split()[-1] for line in done.stdout.splitlines() if line.endswith(("  suspected", "  compromised"))]
    assert marked == ["suspected", "compromised"]


def test_timeline_in_a_terminal_without_blocks() -> None:
    done = command("pcaps/bot-sprayer.pcap", "--timeline", encoding="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert f"{CONVICT_AT:g} compromised |" in done.stdout


def test_timeline_as_json() -> None:
    def device(*more: str) -> dict[str, Any]:
        (found,) = json.loads(command("pcaps/bot-sprayer.pcap", "--json", *more).stdout)["devices"]
        return dict(found)

    told = device("--timeline")
    timeline = told.pop("timeline")
    assert told == device()
    assert [set(point) for point in timeline] == [{"time", "connection", "indicator", "added", "score"}] * len(timeline)
    first = next(point for point in timeline if point["score"] >= SUSPECT_AT)
    assert told["suspected_at"] == {"time": first["time"], "connection": first["connection"]}
    assert {point["indicator"] for point in timeline} >= {item["indicator"] for item in told["evidence"]}
    assert timeline[-1]["score"] == told["score"]


def test_what_was_not_seen_is_called_so() -> None:
    """A rate's absence moves the score as its presence does, and the score is the sum of all steps."""
    timeline = Timeline()
    replay(str(PROJECT / "pcaps" / "bot-sprayer.pcap"), Options(timeline=True), lambda _: None, timeline)
    (kept,) = timeline.tracks.values()
    points = kept.points()
    assert kept.count == len(points)
    assert any(point.absent for point in points)
    for before, point in pairwise(points):
        assert point.score == pytest.approx(before.score + point.added)
        assert not point.absent or INDICATORS[point.indicator].family != LEGITIMATE
