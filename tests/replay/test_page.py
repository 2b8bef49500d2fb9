"""The page of `replay --html`: well-formed, complete, needs nothing else, and gives a capture's strings no way out."""

from __future__ import annotations

import html
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.detect.score import SUSPECT_AT
from cpe_filter.lean.output_file import OutputFile, OutputFileError
from cpe_filter.replay import page as page_module
from cpe_filter.replay.page import Page
from cpe_filter.replay.replay import Options, replay
from cpe_filter.replay.timeline import Timeline
from cpe_filter.texts.html import shown
from tests.build import ACK, PSH, Conversation, frames, pcap
from tests.lab.net import PROJECT
from tests.texts.reader import HOSTILE, judged, page_of, read

RECORDINGS = sorted((PROJECT / "pcaps").glob("*.pcap"))

# ── what is on it ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_recordings(path: Path) -> None:
    result, timeline = judged(path)
    text = page_of((result, timeline))
    found = read(text)
    words = " ".join(" ".join(found.words).split())
    assert str(path) in words
    assert text.count('<svg class="chart"') == sum(track.peak.score >= 0.05 for track in timeline.tracks.values())
    for device in result["devices"]:
        assert device["device"] in words
        assert device["standing"] in words
        assert all(address in words for address in device["addresses"])
        for item in device["evidence"]:
            assert INDICATORS[item["indicator"]].meaning in words
            assert f"{item['weight']:+.1f}".replace("-", "−") in words
        for standing in ("suspected", "compromised"):
            at = device[f"{standing}_at"]
            if at:
                assert f"{standing.title()} at its connection {at['connection']}" in words
        track = timeline.tracks.get(device["device"])
        for point in track.points() if track else ():
            assert f"{point.score:.2f}" in words
    for item in result["sessions"]:
        assert item["server"] in words
        if item["helo"] is not None:
            assert item["helo"] in words


def test_all_recordings_on_one_page() -> None:
    page = Page()
    verdicts = []
    for path in RECORDINGS:
        result, timeline = judged(path)
        page.add(result, timeline, ["cut off"])
        verdicts += [device["standing"] for device in result["devices"]]
    page.failed("absent.pcap", "No such file or directory")
    found = read(page.text())
    bad = verdicts.count("compromised")
    assert found.title == f"{bad} of {len(verdicts)} devices are compromised - cpe-filter"
    assert f"{len(RECORDINGS) + 1} captures" in " ".join(found.words)
    assert found.words.count("cut off") == len(RECORDINGS)
    assert "No such file or directory" in found.words


def test_sessions_only_when_asked_for() -> None:
    timeline = Timeline()
    result = replay(str(PROJECT / "pcaps" / "legit-laptop.pcap"), Options(), lambda _: None, timeline)
    assert "SMTP sessions" not in page_of((result, timeline))


def test_the_same_input_gives_the_same_page() -> None:
    path = PROJECT / "pcaps" / "bot-sprayer.pcap"
    assert page_of(judged(path)) == page_of(judged(path))


def test_without_devices(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(pcap([]))
    assert read(page_of(judged(path))).title == "No device sent mail - cpe-filter"


def test_the_chart_in_words() -> None:
    text = page_of(judged(PROJECT / "pcaps" / "bot-sprayer.pcap"))
    words = re.search(r"<desc id=[^>]*>(.*?)</desc>", text)
    assert words
    assert re.search(r"^From 0\.0 at 2026-11-23 .* Suspected at its connection 5, .* Compromised at its", words[1])
    assert f"Never reached {SUSPECT_AT:g} (suspected)." in page_of(judged(PROJECT / "pcaps" / "legit-laptop.pcap"))


def test_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "SESSIONS", 7)
    monkeypatch.setattr(page_module, "DEVICES", 2)
    result, timeline = judged(PROJECT / "pcaps" / "bot-sprayer.pcap")
    result["devices"] *= 3
    for number, device in enumerate(result["devices"]):
        result["devices"][number] = {**device, "device": f"device {number}", "score": 20.0 + number}
    text = page_of((result, timeline))
    assert "20 sessions, the first 7" in text
    assert "3 devices, the first 2" in text
    assert read(text).rows < 100
    # The worst come first.
    assert "device 2" in text
    assert "device 0" not in text


# ── what must not get on it ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_from_the_wire(tmp_path: Path, text: str) -> None:
    """In HELO, in the envelope, in the server's replies, with whole addresses."""
    line = text[:400].encode("utf-8", "surrogatepass")
    talk = Conversation().open()
    talk.packet(False, PSH | ACK, b"220 mx.example.net\r\n")
    for command, reply in (
        (b"EHLO " + line, b"250 mx.example.net"),
        (b"MAIL FROM:<" + line + b"@example.org>", b"250 ok"),
        (b"RCPT TO:<" + line + b"@example.net>", b"550 5.1.1 " + line),
    ):
        talk.packet(True, PSH | ACK, command + b"\r\n")
        talk.packet(False, PSH | ACK, reply + b"\r\n")
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(frames(talk.close().packets)))
    result, timeline = judged(path, addresses=True)
    found = read(page_of((result, timeline)))
    (told,) = result["sessions"]
    for word in (told["helo"], told["last_reply"]):
        assert html.unescape(shown(word)[len("<bdi>") : -len("</bdi>")]) in found.words


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_hostile_strings_everywhere(hostile: str) -> None:
    """Every string of a result that is not one of our own words is the hostile one."""
    ours = ("standing", "indicator", "family", "families", "evidence", "timeline")

    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item if key in ours else poison(item) for key, item in value.items()}
        if isinstance(value, list):
            return [poison(item) for item in value]
        return hostile if isinstance(value, str) else value

    result, timeline = judged(PROJECT / "pcaps" / "bot-sprayer.pcap")
    (track,) = timeline.tracks.values()
    timeline.tracks = {hostile: track}
    page = Page()
    page.add(poison(result), timeline, [hostile])
    page.failed(hostile, hostile)
    text = page.text()
    found = read(text)
    assert text.count('<svg class="chart"') == 1
    visible = html.unescape(shown(hostile))[len("<bdi>") : -len("</bdi>")]
    assert sum(visible in words for words in found.words) > 100


def test_what_is_hidden_is_spelt_out() -> None:
    assert shown("a\x1b\u202eb\udcff") == r"<bdi>a\x1b\u202eb\udcff</bdi>"
    assert shown("Grüße, 世界") == "<bdi>Grüße, 世界</bdi>"
    assert len(shown("x" * 1000)) < 200


# ── the file ────────────────────────────────────────────────────────────────────────────────────────


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cpe_filter", "replay", *arguments], cwd=PROJECT, capture_output=True, text=True
    )


def test_the_command(tmp_path: Path) -> None:
    """Several captures, one of them unusable: one page, the output as ever, exit status 2."""
    target = tmp_path / "page.html"
    captures = ("pcaps/bot-sprayer.pcap", "absent.pcap", "pcaps/legit-laptop.pcap")
    plain, done = command(*captures), command(*captures, "--html", str(target), "--sessions")
    assert plain.returncode == done.returncode == 2
    assert done.stdout.startswith(plain.stdout[:1000])
    found = read(target.read_text())
    assert found.title == "1 of 2 devices is compromised - cpe-filter"
    assert os.listdir(tmp_path) == ["page.html"]


def test_the_json_beside_a_page_is_as_ever(tmp_path: Path) -> None:
    plain = command("pcaps/bot-sprayer.pcap", "--json")
    done = command("pcaps/bot-sprayer.pcap", "--json", "--html", str(tmp_path / "page.html"))
    assert (done.returncode, done.stdout) == (0, plain.stdout)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("absent/page.html", "No such file or directory"),
        (".", "Is a directory"),
        ("file/page.html", "Not a directory"),
        ("pipe", "Not a regular file"),
        ("", "Is a directory"),
    ],
)
def test_a_file_that_cannot_be_written(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputFileError, match=reason), OutputFile(f"{tmp_path}/{place}"):
        pass
    path = f"{tmp_path}/{place}" if place else ""
    done = command("pcaps/bot-sprayer.pcap", "--html", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"cpe-filter: --html {path}: {reason}\n"
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


def test_a_capture_is_never_taken_for_the_page(tmp_path: Path) -> None:
    """As in `--html CAPTURE CAPTURE`, where the file was forgotten."""
    capture = tmp_path / "a.pcap"
    capture.write_bytes(pcap([]))
    done = command("--html", str(capture), "pcaps/bot-sprayer.pcap")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"cpe-filter: --html {capture}: Exists and is not a page, left as it is\n"
    assert capture.read_bytes() == pcap([])
    for before in (b"", b"<!DOCTYPE html>\n<p>the last one"):
        page = tmp_path / "page.html"
        page.write_bytes(before)
        assert command("pcaps/bot-sprayer.pcap", "--html", str(page)).returncode == 0
        read(page.read_text())


def test_a_page_although_nobody_reads_the_output(tmp_path: Path) -> None:
    """`cpe-filter replay ... --html FILE | true`: with more output than a pipe takes."""
    target = tmp_path / "page.html"
    reader, writer = os.pipe()
    os.close(reader)
    arguments = ["pcaps/bot-sprayer.pcap"] * 9 + ["--json", "--sessions", "--html", str(target)]
    done = subprocess.run(
        [sys.executable, "-m", "cpe_filter", "replay", *arguments], cwd=PROJECT, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert read(target.read_text()).title.startswith("9 of 9 devices")


def test_the_old_page_stays_when_judging_is_interrupted(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("old")

    def interrupted() -> None:
        with OutputFile(str(target)) as file:
            file.text = "new"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["page.html"]


def test_the_file_is_replaced_and_a_link_to_it_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "page.html", tmp_path / "link.html"
    target.write_text("old")
    link.symlink_to(target)
    inode = target.stat().st_ino
    with OutputFile(str(link)) as file:
        assert target.read_text() == "old"
        file.text = "new"
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_ino != inode
    assert stat.S_IMODE(target.stat().st_mode) & 0o111 == 0
