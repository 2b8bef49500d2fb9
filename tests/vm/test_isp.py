"""A router that its ISP provisions, from a factory's key: the packages' own service, a real EST server and web server.

On a root of its own in a namespace of this machine. isp_scene does what is done.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.lived import Seen
from tests.vm.test_life import on_a_root

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def seen(built: Path) -> Seen:
    return on_a_root("tests.vm.isp_scene", "isp", built, "new")


def test_it_gets_its_certificate_and_reports_with_it(seen: Seen) -> None:
    one = seen["enrolled"]
    assert (one["got"], one["mode"], one["said"], one["sends"]) == (True, "600", 1, 0), one
    assert '"how": "factory"' in seen["log"]["est"]


def test_a_document_is_fetched_tried_and_in_force(seen: Seen) -> None:
    before, tried, good = seen["tried"]["before"], seen["tried"], seen["in force"]
    assert (before["mode"], before["version"], before["shown"]) == ("monitor", "", "in force:  no policy")
    assert (tried["tried"], tried["mode"]) == (True, "limit"), seen["log"]["text"]
    assert (good["confirmed"], good["mode"], good["version"]) == (True, "limit", "isp-1"), seen["log"]["text"]
    assert good["shown"].startswith("in force:  policy 1, ")
    assert good["pid"] == before["pid"]
    told, signalled = before["reloads"]
    assert good["reloads"] == [told + 1, signalled], "one reload, and none by the service"


def test_a_tampered_one_changes_nothing(seen: Seen) -> None:
    good, one = seen["in force"], seen["tampered"]
    assert (one["refused"], one["changed"]) == (True, True), seen["log"]["text"]
    assert [one[name] for name in ("mode", "version", "shown", "pid", "reloads")] == [
        good[name] for name in ("mode", "version", "shown", "pid", "reloads")
    ]


def test_a_later_one_takes_its_place_and_uci_can_have_none_count(seen: Seen) -> None:
    later, off = seen["later"], seen["disabled"]
    assert (later["confirmed"], later["mode"], later["version"]) == (True, "monitor", "isp-2"), seen["log"]["text"]
    assert later["shown"].startswith("in force:  policy 2, ")
    assert (off["back"], off["version"]) == (True, "")
