"""When unwatched ways are logged and reported: once each, again if they come back, and bounded."""

from __future__ import annotations

import select
from typing import Any

import pytest

from cpe_filter.enforce.unwatched import Left
from cpe_filter.home.default_routes import Way
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live import ways_out
from cpe_filter.live.ways_out import LINES_BURST, MOST, ROUTES_S, WaysOut
from cpe_filter.policy.model import Policy


class Router:
    """What the kernel would say, and what is said of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.routes: list[Way] = []
        self.left: dict[tuple[str, int, bool], Left] = {}
        self.lines: list[str] = []
        self.switched: list[bool] = []
        self.now = 0.0
        monkeypatch.setattr(ways_out, "default_routes", lambda lan: self.routes)
        monkeypatch.setattr(ways_out, "mail_left", lambda: self.left)
        self.ways = WaysOut(
            Policy(),
            select.poll(),
            lambda on, seconds: self.switched.append(on),
            lambda line: self.lines.append(str(line)),
        )

    def look(self) -> list[str]:
        """The lines that another reading of everything makes."""
        self.now += ROUTES_S
        before = len(self.lines)
        self.ways.tick(PacketTime(self.now))
        return self.lines[before:]

    def unwatched(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ways.facts()["unwatched"]
        return found


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Router:
    return Router(monkeypatch)


def way(interface: str = "wg0", standby: bool = False, blind: bool = False) -> Way:
    return Way(interface, 4, 254, standby, blind)


def test_a_line_once_and_again_when_it_comes_back(router: Router) -> None:
    router.routes = [way(), way("wan")]
    (line,) = router.look()
    assert line.startswith("IPv4 leaves by wg0, which is not watched: a default route leads there; ")
    assert router.look() == []
    (entry,) = router.unwatched()
    assert (entry["interface"], entry["families"], entry["connections"]) == ("wg0", [4], 0)
    router.routes = []
    assert router.look() == []
    assert router.unwatched() == []
    router.routes = [way()]
    assert router.look() == [line]
    router.ways.close()


def test_mail_has_a_line_of_its_own(router: Router) -> None:
    router.routes = [way()]
    router.look()
    router.left = {("wg0", 4, False): Left(7, 2.0)}
    assert router.look() == ["mail has left by wg0 over IPv4: 7 connections so far"]
    router.left = {("wg0", 4, False): Left(9, 2.0)}
    assert router.look() == []
    assert router.unwatched()[0]["connections"] == 9
    # The ruleset was loaded again: the kernel counts from 0.
    router.left = {("wg0", 4, False): Left(3, 2.0)}
    router.look()
    assert router.unwatched()[0]["connections"] == 12
    router.ways.close()


def test_a_standby_route_can_become_the_way(router: Router) -> None:
    router.routes = [way("wwan0", standby=True)]
    (line,) = router.look()
    assert line.startswith("IPv4 can leave by wwan0, which is not watched: a default route of lower priority")
    router.routes = [way("wwan0")]
    (line,) = router.look()
    assert line.startswith("IPv4 leaves by wwan0")
    router.ways.close()


def test_the_switch_follows_routes_that_cannot_be_told(router: Router) -> None:
    router.routes = [way("wan", blind=True)]
    router.look()
    assert router.switched == []  # all ways are watched
    router.routes = [way("wan"), way(blind=True)]
    router.look()
    assert True in router.switched
    router.routes = [way("wan"), way()]
    router.look()
    assert router.switched[-1] is False
    router.ways.close()


def test_what_a_reload_watches_is_forgotten(router: Router) -> None:
    router.routes, router.left = [way()], {("wg0", 4, False): Left(7, 2.0)}
    router.look()
    policy = Policy()
    router.ways.reload(policy._replace(network=policy.network._replace(wan=("wan", "wg*"))))
    assert router.look() == []
    assert router.unwatched() == []
    router.ways.close()


def test_bounds(router: Router) -> None:
    """However many there are, and however often they come and go."""
    router.routes = [way(f"t{number}\x1b") for number in range(5 * MOST)]
    lines = router.look()
    assert len(lines) == LINES_BURST
    assert all(line.isprintable() for line in lines)
    assert len(router.unwatched()) == MOST
    for number in range(100):
        router.routes = [way(f"u{number}")]
        router.look()
    assert len(router.lines) <= LINES_BURST + 100 * ROUTES_S / 60 + 2
    router.ways.close()


def test_failures_are_logged_once(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> list[Way]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(ways_out, "default_routes", fails)
    assert router.look() == ["the router's routes could not be read: Input/output error"]
    assert router.look() == []
    router.ways.close()
