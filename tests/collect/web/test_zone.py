"""Times in the desk's zone: the repeated and the missing hour, days, a user's choice, zones that do not exist."""

from __future__ import annotations

import contextvars
import zoneinfo
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cpe_filter.collect.config import keys
from cpe_filter.collect.config.file import ConfigError, build
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.users import User
from cpe_filter.collect.web import zone
from cpe_filter.collect.web.access import ByPassword
from cpe_filter.collect.web.layout import when
from cpe_filter.collect.web.sessions import Sessions
from tests.collect.web.site import HASH, Page, read

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]

#: 2026-10-25T00:30Z and 01:30Z: both 02:30 in Amsterdam.
FIRST, SECOND = 1_792_888_200, 1_792_891_800
HOUR = 3600


@pytest.fixture
def amsterdam() -> Any:
    """Within a context of its own."""

    def run(work: Callable[[], Any]) -> Any:
        def inside() -> Any:
            zone.use("Europe/Amsterdam")
            return work()

        return contextvars.copy_context().run(inside)

    return run


def test_the_hour_that_is_repeated_is_unambiguous(amsterdam: Any) -> None:
    first, second = amsterdam(lambda: (when(FIRST), when(SECOND)))
    assert first == (
        '<time datetime="2026-10-25T00:30Z" title="2026-10-25 00:30 UTC" class="nowrap">2026-10-25 02:30 '
        '<span class="tz">CEST</span></time>'
    )
    assert "02:30 " in second
    assert ">CET<" in second
    assert "T01:30Z" in second
    assert amsterdam(lambda: zone.moments("2026-10-25T02:30")) == [FIRST, SECOND]


def test_the_hour_that_is_missing(amsterdam: Any) -> None:
    assert amsterdam(lambda: zone.moments("2026-03-29T02:30")) == []
    spring = amsterdam(lambda: zone.moments("2026-03-29T03:00"))
    assert amsterdam(lambda: when(spring[0])).count("CEST") == 1
    assert amsterdam(lambda: when(spring[0] - 1, exact=True)).count("01:59:59") == 1


def test_days_have_23_24_and_25_hours(amsterdam: Any) -> None:
    def hours(day: str) -> float:
        first, after = zone.day_start(day), zone.day_end(day)
        assert first is not None
        assert after is not None
        return (after - first) / HOUR

    assert [amsterdam(lambda day=day: hours(day)) for day in ("2026-03-29", "2026-06-01", "2026-10-25")] == [23, 24, 25]
    assert amsterdam(lambda: zone.day_start("2026-06-01")) == 1_780_264_800


@pytest.mark.parametrize("text", ["", "today", "2026-13-01", "9999-12-31", "2026-06-31", "x" * 1000])
def test_what_is_not_a_day(text: str) -> None:
    assert zone.day_end(text) is None


@pytest.mark.parametrize("text", ["", "now", "2026-10-25T02:99", "x" * 100, "0000-00-00T00:00"])
def test_what_is_not_a_time(text: str) -> None:
    assert zone.moments(text) == []


def test_a_time_with_its_own_zone(amsterdam: Any) -> None:
    for text in ("2026-10-25T01:30Z", "2026-10-25T02:30+01:00", "2026-10-25T01:30:00+00:00"):
        assert amsterdam(lambda text=text: zone.moments(text)) == [SECOND]


def test_times_without_a_year_are_shown_as_unknown(amsterdam: Any) -> None:
    assert amsterdam(lambda: [when(1 << 60), when(-(1 << 60)), when(None)]) == ["?", "?", "&ndash;"]


@pytest.mark.parametrize("name", ["Nowhere/Land", "../../etc/passwd", "/etc/localtime", "", "x" * 99, "Zürich", "a\0b"])
def test_a_zone_that_does_not_exist_is_passed_over(name: str) -> None:
    def work() -> str:
        zone.use(name, "Asia/Kathmandu")
        return zone.name()

    assert contextvars.copy_context().run(work) == "Asia/Kathmandu"


def test_a_zone_without_letters_has_its_offset() -> None:
    def work() -> str:
        zone.use("Europe/Istanbul")
        return when(FIRST)

    assert '03:30 <span class="tz">+03</span>' in contextvars.copy_context().run(work)


@pytest.mark.parametrize("value", ["Europe/Nowhere", "", 5, "../x"])
def test_the_configuration_names_a_zone_that_exists(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"\[page\] zone is .*; allowed: a time zone such as Europe/Amsterdam"):
        build({"listen": {"address": ""}, "tls_proxy": {"address": "unix:/x"}, "page": {"zone": value}}, "c.toml")


def test_without_time_zone_data_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_name: str) -> zoneinfo.ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError

    monkeypatch.setattr(keys, "ZoneInfo", none)
    data = {"listen": {"address": ""}, "tls_proxy": {"address": "unix:/x"}}
    assert build({**data, "page": {"zone": "UTC"}}, "c.toml").page.zone == "UTC"
    with pytest.raises(ConfigError, match="has no time zone data; install the package tzdata"):
        build({**data, "page": {"zone": "Europe/Amsterdam"}}, "c.toml")


def test_a_user_chooses_a_zone_for_the_browser(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        access = ByPassword([User("root", "admin", HASH)], Sessions(3600, 600), b"x-remote-user")
        page = Page(store, access, zone="Europe/Amsterdam")
        cookie = await page.log_in("root")
        await audit.record(store, audit.By("anna"), "note", now=SECOND)
        assert "2026-10-25 02:30:00 CET" in read((await page.ask("/audit", cookie=cookie)).text).text
        form = read((await page.ask("/zone", cookie=cookie)).text)
        assert "that of the desk: Europe/Amsterdam" in form.text
        token = {"token": form.hidden["token"]}
        assert (await page.post("/zone", {**token, "zone": "Europe/Nowhere"}, cookie)).status == 400
        assert (await page.post("/zone", {"zone": "Asia/Kathmandu"}, cookie)).status == 403
        chosen = await page.post("/zone", {**token, "zone": "Asia/Kathmandu"}, cookie)
        assert chosen.status == 303
        assert "HttpOnly" in chosen.headers["set-cookie"]
        both = f"{cookie}; {chosen.cookie}"
        found = read((await page.ask("/audit", cookie=both)).text)
        assert "2026-10-25 07:15:00 +0545" in found.text
        assert "Times are those of Asia/Kathmandu, now +0545 (UTC+05:45)." in found.text
        assert (
            "1 to 1 of 1" in read((await page.ask("/audit?since=2026-10-25&until=2026-10-25", cookie=both)).text).text
        )
        # Back to the desk's.
        desk = await page.post("/zone", {**token, "zone": ""}, both)
        assert "Max-Age=0" in desk.headers["set-cookie"]
        for forged in ("x", "../../etc/passwd", '"', "Europe/Nowhere"):
            text = read((await page.ask("/audit", cookie=f"{cookie}; __Host-fleet-zone={forged}")).text).text
            assert "02:30:00 CET" in text

    with_store(work)
