"""The subscriber's page on a real router: a bot is named on it within seconds, a release takes it off."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.notice.card import NOTICED
from tests.lab.mail import bot
from tests.lab.net import PYTHON, Filter, Lab, within

pytestmark = pytest.mark.live

#: Seconds until a change is on the page: a tick, the child's work, and what waits for `HASTE_S`.
SOON = within(12.0)


def start(lab: Lab, text: str = "") -> tuple[Filter, Path]:
    page = lab.folder / "notice" / "index.html"
    leases = lab.folder / "dhcp.leases"
    leases.write_text(f"1 {Lab.mac('device1')} {Lab.address4('device1')} living-room-tv *\n")
    policy = lab.policy(f'[notice]\nprovider = "Example <Net>"\npage = "{page}"\n{text}[filter]\nmode = "monitor"\n')
    policy.write_text(policy.read_text().replace(f"{lab.folder}/lab.leases", str(leases)))
    return lab.start_filter(policy), page


def wait_for(page: Path, text: str, seconds: float = SOON) -> str:
    end = time.monotonic() + seconds
    found = ""
    while time.monotonic() < end:
        found = page.read_text() if page.exists() else ""
        if text in found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{text!r} did not come: {found[-6000:]}")


def test_a_bot_is_named_and_its_release_clears_it(lab: Lab) -> None:
    running, page = start(lab)
    assert "living-room-tv" not in wait_for(page, "<h1>No action required</h1>")
    bot(lab, device="device1")
    running.wait_for("is now compromised")
    began = time.monotonic()
    shown = wait_for(page, "<h1>One device needs your attention</h1>")
    assert time.monotonic() - began < SOON
    assert "living-room-tv" in shown
    assert f"ends in {Lab.mac('device1')[-5:].upper()}" in shown
    assert 2 <= sum(row.subscriber in shown for row in INDICATORS.values()) <= NOTICED
    assert "Example &lt;Net&gt;" in shown
    assert page.stat().st_mode & 0o777 == 0o644
    lab.run("router", [PYTHON, "-m", "cpe_filter", "release", "living-room-tv", "--policy", str(running.policy)])
    shown = wait_for(page, "<h1>No action required</h1>")
    assert "this device was reported as cleaned" in shown
    assert running.stop() == 0
    assert list(page.parent.iterdir()) == []
    assert "not written" not in running.log()


def test_language_and_place_follow_a_reload(lab: Lab) -> None:
    running, page = start(lab)
    wait_for(page, '<html lang="en">')
    other = lab.folder / "elsewhere" / "index.html"
    text = running.policy.read_text()
    running.policy.write_text(text.replace("[notice]\n", '[notice]\nlanguage = "tr"\n').replace(str(page), str(other)))
    lab.run("router", [PYTHON, "-m", "cpe_filter", "reload", "--policy", str(running.policy)])
    wait_for(other, '<html lang="tr">')
    assert not page.exists()
    running.policy.write_text(running.policy.read_text().replace(f'page = "{other}"', 'page = ""'))
    lab.run("router", [PYTHON, "-m", "cpe_filter", "reload", "--policy", str(running.policy)])
    end = time.monotonic() + SOON
    while other.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_somebody_elses_file_is_left_alone_and_told_once(lab: Lab) -> None:
    page = lab.folder / "notice" / "index.html"
    page.parent.mkdir()
    page.write_text("root::0:0::/root:/bin/ash\n")
    running, _ = start(lab)
    running.wait_for(f"page for subscribers not written: {page}: Exists and is not a page, left as it is")
    assert running.stop() == 0
    assert page.read_text() == "root::0:0::/root:/bin/ash\n"
