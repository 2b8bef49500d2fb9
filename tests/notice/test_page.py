"""The subscriber's page: what it says of which device, and that nothing hostile comes alive on it."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from cpe_filter.detect.device import HOME, ROUTER, Device
from cpe_filter.notice.devices import Entry, entry
from cpe_filter.notice.page import NAMED, SHOWN, PageSettings, page
from cpe_filter.notice.style import HASH, STYLE
from cpe_filter.policy.model import Policy
from cpe_filter.texts.notice import LANGUAGES, Words

NOW = 1_800_000_000.0
SETTINGS = PageSettings("en", "Example Net", "https://help.isp.example/mail?x=1&y='2'", "monitor", True, False)
BOT = Entry(
    "living-room-tv", "", "00:1A:2B", False, "C4:D5", "compromised", "block", NOW - 7200, NOW - 60, "", 0.0,
    ("unknown-user", "dnsbl-listed", "path-spaced", "verb-case", "helo-unqualified", "no-quit"),
)  # fmt: skip
CLEAR = BOT._replace(name="laptop", standing="clear", mode="monitor", first=None, indicators=(), tail="01:02")
SUSPECT = BOT._replace(name="printer", standing="suspected", mode="limit", tail="03:04", first=None)
SERVER = BOT._replace(name="cellar", standing="unusual", mode="monitor", tail="05:06")


@pytest.fixture(autouse=True)
def in_the_netherlands() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


class Reader(HTMLParser):
    """Tags that are not closed, and what a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words += data


def read(settings: PageSettings, *entries: Entry) -> Reader:
    return Reader(page(settings, entries, NOW))


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_said_of_a_compromised_device(language: str) -> None:
    found = read(SETTINGS._replace(language=language), CLEAR, BOT)
    words = Words(language, "Example Net")
    assert ("html", {"lang": language}) in found.tags
    for key in ("h_action_one", "action", "standing_compromised", "blocked_block", "works", "step_1", "step_2"):
        assert words(key) in found.words
    for key in ("step_3", "own", "object", "privacy", "privacy_reports", "lead_action"):
        assert words(key) in found.words
    assert "living-room-tv" in found.words
    assert words("maker", oui="00:1A:2B") in found.words
    assert words("tail", tail="C4:D5") in found.words
    # Local time: 2027-01-15 08:00 UTC is 09:00 there.
    assert words("since", time=words.moment(time.localtime(NOW - 7200))) in found.words
    assert "07:00" in found.words
    assert "(CET)" in found.words
    told = words.noticed(BOT.indicators)
    assert [text for text in told if text in found.words] == told[:4]
    assert len(told) == 5, "two of the six mean the same"


def test_a_home_where_nothing_is_wrong() -> None:
    found = read(SETTINGS, CLEAR)
    assert "No action required" in found.words
    assert "Action required" not in found.words
    assert "laptop" in found.words
    assert read(SETTINGS).words.count("No device has sent mail straight") == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_of_a_suspected_device_nothing_is_said(language: str) -> None:
    """Word for word what is said of a clear one."""
    settings = SETTINGS._replace(language=language)
    clear = SUSPECT._replace(standing="clear", mode="monitor", indicators=())
    assert page(settings, [SUSPECT, CLEAR], NOW) == page(settings, [clear, CLEAR], NOW)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_device_that_looks_like_a_mail_server_is_asked_about(language: str) -> None:
    words = Words(language, "Example Net")
    found = read(SETTINGS._replace(language=language), SERVER, CLEAR)
    for key in ("h_question", "standing_unusual", "lead_question", "own"):
        assert words(key) in found.words
    for key in ("lead_none", "h_noticed", "h_steps", "step_1"):
        assert words(key) not in found.words
    assert words("since", time=words.moment(time.localtime(NOW - 7200))) in found.words
    both = read(SETTINGS._replace(language=language), SERVER, BOT)
    assert words("h_action_one") in both.words
    assert both.words.index("living-room-tv") < both.words.index("cellar")


def test_released_and_cleared() -> None:
    released = read(SETTINGS, SUSPECT._replace(past="released", past_at=NOW))
    assert "On 15 January 2027, 09:00 this device was reported as cleaned." in released.words
    cleared = read(SETTINGS, CLEAR._replace(past="cleared", past_at=NOW))
    assert "Clear since 15 January 2027, 09:00" in cleared.words
    again = read(SETTINGS, BOT._replace(past="released", past_at=NOW))
    assert "reported as cleaned" not in again.words


def test_the_worst_comes_first() -> None:
    older = BOT._replace(name="camera", first=NOW - 9000)
    words = read(SETTINGS, CLEAR, SERVER, older, BOT).words
    assert "2 devices need your attention" in words
    places = [words.index(name) for name in ("living-room-tv", "camera", "cellar", "laptop")]
    assert places == sorted(places)


def test_monitor_and_block() -> None:
    assert "Nothing. The filter only watches." in read(SETTINGS, BOT._replace(mode="monitor")).words
    general = "No device on this connection may send mail straight"
    assert general not in read(SETTINGS, BOT).words
    assert general in read(SETTINGS._replace(mode="block"), CLEAR).words


@pytest.mark.parametrize("language", LANGUAGES)
def test_how_much_it_sent(language: str) -> None:
    settings = SETTINGS._replace(language=language)
    thousand = "1,234" if language == "en" else "1.234"
    words = Words(language, "Example Net")
    found = read(settings, BOT._replace(counts=(1234, 17))).words
    assert words("h_connections") + words("connections", count=thousand, refused=17) in found
    assert words("h_connections") not in read(settings, BOT).words


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("mode", "now", "key"),
    [
        ("block", "block", "then_block"),
        ("limit", "block", "then_free"),
        ("monitor", "block", "then_free"),
        ("limit", "limit", "then_watch"),
        ("monitor", "monitor", "then_watch"),
    ],
)
def test_what_follows_from_cleaning_it_is_true(language: str, mode: str, now: str, key: str) -> None:
    """In mode block nothing may send mail straight, cleaned or not."""
    words = Words(language, "Example Net")
    found = read(SETTINGS._replace(language=language, mode=mode), BOT._replace(mode=now)).words
    assert f"{words('step_3')} {words(key)}" in found
    assert (words("then_free") in found, words("then_block") in found) == (key == "then_free", key == "then_block")


def test_where_to_answer_and_whom_to_call() -> None:
    url = "http://192.0.2.1:2580/"
    settings = SETTINGS._replace(phone="0800 <1234>", answer_at=(url, "http://192.0.2.129:2580/"))
    found = read(settings, BOT)
    assert "0800 <1234>" in found.words
    links = [attributes["href"] for tag, attributes in found.tags if tag == "a"]
    assert links == [url, "http://192.0.2.129:2580/", SETTINGS.help_url]
    assert "you can answer on it" in found.words
    # Nothing is to be answered, or the device cannot.
    for other in (CLEAR, BOT._replace(place="behind"), BOT._replace(place="router")):
        assert "you can answer on it" not in read(settings, other).words


def test_what_the_provider_is_told() -> None:
    assert "None of this leaves your home." in read(SETTINGS._replace(reports=False)).words
    assert "The name that the device gives itself" not in read(SETTINGS).words
    assert "The name that the device gives itself" in read(SETTINGS._replace(names=True)).words


def test_without_name_provider_or_help() -> None:
    found = read(SETTINGS._replace(provider="", help_url=""), BOT._replace(name="", oui="", random=True))
    assert "Device without a name" in found.words
    assert "Random hardware address" in found.words
    assert "tell your Internet provider" in found.words
    assert [tag for tag, _ in found.tags if tag == "a"] == []


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "'><svg/onload=alert(1)>",
        "</style></title><iframe src=//evil.example>",
        "a\u202eb\u2066c",
        "\x1b[2J\x00\x07",
        "{provider}{0.__class__}",
        "&lt;b&gt;",
        "%s%n",
        "\ud800",
        "x" * 5000,
    ],
)
@pytest.mark.parametrize("standing", ["compromised", "clear"])
def test_hostile_names_are_inert(name: str, standing: str) -> None:
    quiet = read(SETTINGS, BOT._replace(standing=standing))
    text = page(SETTINGS, [BOT._replace(name=name, standing=standing)], NOW)
    found = Reader(text)
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in quiet.tags]
    assert all(c.isprintable() or c == "\n" for c in text)
    assert len(text) < len(page(SETTINGS, [BOT._replace(standing=standing)], NOW)) + 1500
    text.encode()


def test_a_hostile_providers_name_is_inert() -> None:
    settings = SETTINGS._replace(provider='<b>"x"</b>&')
    assert [tag for tag, _ in read(settings, BOT).tags] == [tag for tag, _ in read(SETTINGS, BOT).tags]
    assert '<b>"x"</b>&' in read(settings, BOT).words


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_needs_nothing_and_links_only_to_help(language: str) -> None:
    text = page(SETTINGS._replace(language=language), [BOT, CLEAR, SUSPECT], NOW)
    found = Reader(text)
    links = [attributes["href"] for tag, attributes in found.tags if "href" in attributes]
    assert links == [SETTINGS.help_url]
    assert all("src" not in attributes for _, attributes in found.tags)
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "form", "input", "link", "img", "iframe", "base"})
    assert not re.search(r"url\(|@import", STYLE)
    assert set(re.findall(r"https?://[^\"<& ]+", text)) == {"https://help.isp.example/mail?x=1"}
    assert not re.search(r"[\w.]+@[\w-]+\.\w+", text), "no e-mail address"
    assert not re.search(r"\b\d{1,3}(\.\d{1,3}){3}\b", text), "no server's address"


def test_the_style_sheet_is_the_one_that_the_policy_allows() -> None:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    assert f"sha256-{digest}" == HASH
    assert f"style-src '{HASH}'" in page(SETTINGS, [], NOW)


def test_many_devices_make_a_page_that_ends() -> None:
    many = [BOT._replace(name=f"bot{n}", first=NOW - n) for n in range(200)] + [CLEAR] * 56
    text = page(SETTINGS, many, NOW)
    assert text.count("<article") == SHOWN
    assert f"And {256 - SHOWN - NAMED} more." in text
    assert len(text) < 150_000


# ── what becomes of a device ────────────────────────────────────────────────────────────────────


def made(key: bytes) -> Device:
    device = Device(key, 1000.0)
    device.seen(1010.0, bytes((192, 168, 1, 7)))
    return device


@pytest.mark.parametrize(
    ("key", "name", "place", "oui", "random", "tail"),
    [
        (bytes.fromhex("001a2b3cc4d5"), "tv", "", "00:1A:2B", False, "C4:D5"),
        (bytes.fromhex("021a2b3cc4d5"), "tv", "", "", True, "C4:D5"),
        (bytes.fromhex("001a2b3cc4d5") + bytes((192, 168, 7, 5)), "192.168.7.5", "behind", "", False, ""),
        (bytes((192, 168, 1, 7)), "192.168.1.7", "", "", False, ""),
        (ROUTER, "", "router", "", False, ""),
        (HOME, "", "home", "", False, ""),
    ],
)
def test_what_tells_a_device_apart(key: bytes, name: str, place: str, oui: str, random: bool, tail: str) -> None:
    found = entry(made(key), Policy(), name if name == "tv" else "", ("", 0.0), 5.0)
    assert (found.name, found.place, found.oui, found.random, found.tail) == (name, place, oui, random, tail)
    assert found.last == 1015.0
    assert found.first is None


def test_findings_are_the_weightiest_against_it() -> None:
    device = made(bytes(6))
    for name in ("accepted", "helo-dynamic", "sustained", "sustained"):
        device.score.add(name, 10.0)
    assert entry(device, Policy(), "", ("", 0.0), 0.0).indicators[0] == "sustained"
    assert "accepted" not in entry(device, Policy(), "", ("", 0.0), 0.0).indicators


def test_the_router_itself_has_one_step() -> None:
    found = read(SETTINGS, BOT._replace(place="router", name=""))
    assert "The router itself" in found.words
    assert "it has to be updated or replaced" in found.words
    assert "three steps" not in found.words


def test_an_unknown_device_of_the_home_has_one_step() -> None:
    found = read(SETTINGS, BOT._replace(place="home", name=""))
    assert "An unknown device in your home" in found.words
    assert "it keeps changing its address" in found.words
    assert "three steps" not in found.words
