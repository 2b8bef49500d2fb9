"""When the subscriber's page is written: at a change, once a minute, apart; and what can go wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpe_filter.detect.device import Device
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED
from cpe_filter.notice.notice import HASTE_S, MINUTE_S, PAST, Notice, NoticeError, write
from tests.lab.net import DEADLINE_S, within
from tests.policies import changed_policy, make_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing

NOW = 1000.0


class Home:
    def __init__(self, folder: Path, devices: int = 2) -> None:
        self.page = folder / "notice" / "index.html"
        self.policy = make_policy(notice_page=str(self.page), notice_provider="Example Net")
        self.devices = [Device(bytes((0, 16, 32, 0, n >> 8, n & 255)), NOW) for n in range(devices)]
        self.log: list[str] = []
        self.notice = Notice(lambda device: f"host{device.key[5]}", lambda policy: ["192.0.2.1"], self.log.append)

    def tick(self, now: float) -> bool:
        """Whether a child was begun; waits for it."""
        self.notice.tick(self.devices, self.policy, now)
        if self.notice._call is None:
            return False
        self.wait()
        return True

    def wait(self) -> None:
        end = time.monotonic() + DEADLINE_S
        while (call := self.notice._call) is not None and not self.notice._is_done(call):
            assert time.monotonic() < end
            time.sleep(0.005)

    def stand(self, number: int, standing: Standing, now: float, why: str = "dnsbl-listed") -> None:
        device = self.devices[number]
        device.score.standing = standing
        if standing == COMPROMISED:
            device.compromised_at = now, 1
        self.notice.changed(device, why, now)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.notice.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_it_is_written_at_once_and_at_a_change(home: Home) -> None:
    assert home.tick(NOW)
    assert "No action required" in home.page.read_text()
    assert home.page.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in home.page.parent.iterdir()] == ["index.html"]
    assert not home.tick(NOW + 1)
    home.stand(0, COMPROMISED, NOW + 10)
    assert home.tick(NOW + 10)
    text = home.page.read_text()
    assert "One device needs your attention" in text
    assert "host0" in text
    assert home.log == []


def test_changes_in_a_row_wait_a_moment(home: Home) -> None:
    assert home.tick(NOW)
    for second in range(1, 21):
        home.stand(0, COMPROMISED if second % 2 else CLEAR, NOW + second)
        assert home.tick(NOW + second) == (second % int(HASTE_S) == 0)


def test_counts_alone_are_shown_once_a_minute(home: Home) -> None:
    assert home.tick(NOW)
    home.devices[0].connections += 1
    assert not home.tick(NOW + MINUTE_S - 1)
    assert home.tick(NOW + MINUTE_S)
    assert not any(home.tick(NOW + MINUTE_S + second) for second in range(1, 600, 7)), "nothing has changed"


def test_release_and_clearing(home: Home) -> None:
    home.stand(0, COMPROMISED, NOW)
    home.stand(0, SUSPECTED, NOW + 1, "released")
    home.tick(NOW + 1)
    assert "this device was reported as cleaned" in home.page.read_text()
    home.stand(0, CLEAR, NOW + 10, "accepted")
    home.tick(NOW + 10)
    assert "Clear since" in home.page.read_text()
    home.notice.rekeyed(home.devices[0].key, b"other!")
    home.devices[0].key = b"other!"
    home.tick(NOW + 20)
    assert "Clear since" in home.page.read_text()
    home.stand(0, COMPROMISED, NOW + 30)
    home.tick(NOW + 30)
    assert "Clear since" not in home.page.read_text()


def test_what_became_of_devices_is_bounded(home: Home) -> None:
    for number in range(5 * PAST):
        device = Device(number.to_bytes(6, "big"), NOW)
        home.notice.changed(device, "released", NOW)
    assert len(home.notice._past) == PAST


def test_another_place_and_none(home: Home, tmp_path: Path) -> None:
    home.tick(NOW)
    first, home.page = home.page, tmp_path / "other" / "page.html"
    home.policy = changed_policy(home.policy, notice_page=str(home.page), notice_language="de")
    home.notice.reload()
    assert home.tick(NOW + 10)
    assert not first.exists()
    assert '<html lang="de">' in home.page.read_text()
    home.policy = changed_policy(home.policy, notice_page="")
    home.notice.reload()
    assert not home.tick(NOW + 20)
    assert not home.page.exists()


def test_it_goes_with_the_filter(home: Home) -> None:
    home.notice.tick(home.devices, home.policy, NOW)
    home.notice.close()  # while it is being written
    assert list(home.page.parent.iterdir()) == []


def test_a_failure_is_told_once_and_tried_again(home: Home) -> None:
    home.page.parent.mkdir()
    home.page.mkdir()
    assert home.tick(NOW)
    assert home.log == [f"page for subscribers not written: {home.page}: Is a directory"]
    assert not home.tick(NOW + 1)
    assert home.tick(NOW + MINUTE_S)
    assert len(home.log) == 1
    home.page.rmdir()
    assert home.tick(NOW + 2 * MINUTE_S)
    assert home.page.is_file()
    home.page.unlink()


def test_only_a_page_is_replaced_and_only_in_a_safe_folder(tmp_path: Path) -> None:
    path = tmp_path / "shadow"
    path.write_text("root:x:")
    with pytest.raises(NoticeError, match="Exists and is not a page"):
        write(str(path), "<!DOCTYPE html>")
    assert path.read_text() == "root:x:"
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(NoticeError, match="Others can write to its folder"):
        write(str(shared / "index.html"), "<!DOCTYPE html>")
    with pytest.raises(NoticeError, match=r"File exists|Not a directory"):
        write(str(path / "below" / "index.html"), "<!DOCTYPE html>")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["shadow", "shared"]


def test_packets_never_wait_for_it(tmp_path: Path) -> None:
    """256 devices: no turn of the event loop takes 100 ms, whatever the child does meanwhile."""
    home = Home(tmp_path, 256)
    for number in range(256):
        home.stand(number, COMPROMISED, NOW)
    longest = 0.0
    for turn in range(5):
        home.notice.reload()
        end = time.monotonic() + DEADLINE_S
        while True:
            began = time.monotonic()
            home.notice.tick(home.devices, home.policy, NOW + turn * HASTE_S)
            longest = max(longest, time.monotonic() - began)
            if home.notice._call is None and not home.notice._due:
                break
            assert time.monotonic() < end
            time.sleep(0.002)
    assert longest < within(0.1)
    home.notice.close()
