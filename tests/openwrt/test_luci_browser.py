"""The LuCI pages in a real browser, over the real rpcd plugin and command line: look, exempt, release."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.detect.score import CONVICT_AT, SUSPECT_AT
from cpe_filter.report import spool_dir
from cpe_filter.report.spool_reader import SpoolReader
from tests.openwrt.luci_pages import Pages, shipped
from tests.openwrt.luci_po import catalogue
from tests.openwrt.luci_router import BOX, LAPTOP, NAS, REPORTING, SERVER, SUSPECT, Filter, Router, provided
from tests.openwrt.luci_server import LuciServer
from tests.openwrt.package import BUSYBOX
from tests.replay.test_browser import CONTRAST, OVERFLOW
from tests.texts.accessible import CLIPPED, problems
from tests.texts.browser import PROGRAM, Browser

pytestmark = pytest.mark.skipif(not (PROGRAM and BUSYBOX), reason="no chromium or no busybox here")

HOSTILE = '<img src=x onerror="window.hurt=1">%s<script>window.hurt=1</script>&amp;\u202e'
VIEWS = ("status", "exemptions", "reported", "settings")
#: Rules for a whole page, whose frame is LuCI's; an alert's heading is an h4 in all of LuCI.
_FRAME = ("heading-order", "document-title", "landmark-one-main", "region", "page-has-heading-one", "html-has-lang")
#: As the status has it (live.notify.desk): one that was answered, one that was not, and others of the home.
NOTICES = {
    "served": True,
    "led": 1,
    "counts": {"shown": 3, "shown_to_others": 2, "seen": 1},
    "devices": [
        {
            "device": BOX, "leads": False, "shut_out": False, "times_shown": 3, "answer": "seen",
            "led_at": 1_795_545_000.0, "first_shown_at": 1_795_545_060.0, "shown_at": 1_795_545_120.0,
            "answered_at": 1_795_545_180.0,
        },
        {
            "device": "", "leads": True, "shut_out": False, "times_shown": 0, "answer": None,
            "led_at": None, "first_shown_at": None, "shown_at": None, "answered_at": None,
        },
    ],
}  # fmt: skip


class Home(Pages):
    """The pages of a router whose filter runs."""

    def __init__(self, browser: Browser, server: LuciServer, filter_: Filter) -> None:
        super().__init__(browser, server)
        self.filter = filter_
        self.router = server.router


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@pytest.fixture
def home(browser: Browser, tmp_path: Path) -> Iterator[Home]:
    with Router(tmp_path / "root", REPORTING) as router, LuciServer(router, shipped()) as server:
        browser.size(1000, 900)
        browser.scheme("light")
        with Home(browser, server, router.start()) as made:
            yield made


@contextlib.contextmanager
def alone(browser: Browser, folder: Path) -> Iterator[Pages]:
    """The pages of a router on which no filter runs yet."""
    with Router(folder / "root") as router, LuciServer(router, shipped()) as server, Pages(browser, server) as pages:
        yield pages


def card(mac: str) -> str:
    return f"[aria-labelledby=cpe-device-{mac.replace(':', '-')}]"


# ── status ──────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_subscriber_reads_first(home: Home) -> None:
    home.open("status", there=".cpe-device")
    assert home.words("[role=status]") == "Action required\nMost likely infected: tv-box (…00:53:0b)"
    box = home.words(card(BOX))
    (bot,) = (one for one in home.filter.engine.devices if one.name == BOX)
    assert 0 < bot.refused <= bot.connections
    assert bot.messages <= bot.recipients
    for text in (
        "tv-box\nHardware address: 00:00:5e:00:53:0b\nManufacturer code 00:00:5E\nNetwork addresses: 192.168.1.111",
        "Compromised Action required\nsince Nov 24, 2026, 7:40 PM",  # in the browser's own time
        "This device sends e-mail the way spam programs do.",
        "What is blocked\nE-mail that this device sends straight to other mail servers (port 25).",
        "What still works\nEverything else on this device: websites, video, webmail, and e-mail through your mail",
        f"Connections: {bot.connections}, of them refused: {bot.refused}. "
        f"Messages: {bot.messages}, to {bot.recipients} recipients.",
        "Disconnect the device from the Internet",
        "It wrote to many addresses that do not exist.",
        "In its favour:",
    ):
        assert text in box, text
    assert home.ask(f"document.querySelector('{card(SUSPECT)}')") is None  # nothing is said of a suspicion
    others = home.words("table")
    assert "old-phone (…7e:90:1d)" in others
    assert "annas-laptop (…00:53:01)\t5\t5\tNov 24, 2026" in others
    assert "tv-box" not in others
    counts = home.words(".cpe-counts")
    assert re.search(r"Packets of mail looked at\n2,\d\d\d\n", counts)
    assert f"Connections refused\n{bot.refused}\n" in counts
    for title, number in (
        ("Packets refused by the kernel", "65"),
        ("Packets dropped by the kernel", "1,002"),
        ("Packets that waited for the filter", "17"),
        ("Connections to known servers", "40"),
    ):
        assert f"{title}\n{number}\n" in counts
    assert re.search(r"Packets not observed\n1,205, last Nov 24, 2026, \d", counts)
    home.clean()


def test_to_whom_the_notice_was_shown_and_when(home: Home) -> None:
    home.filter.write(notice=NOTICES)
    home.open("status", there=".cpe-device")
    home.says("Notices shown")
    row = home.ask(
        "[...document.querySelectorAll('h3')].find(e => e.innerText == 'Notices shown').parentElement.innerText"
    )
    found = " ".join(str(row).replace("\u202f", " ").split())
    assert "Opened on other devices of the home: 2 times." in found
    assert "Device First led to it Times opened Last opened Answer Answered" in found
    assert (
        "tv-box (…00:53:0b) Nov 24, 2026, 7:30 PM 3 Nov 24, 2026, 7:32 PM I have seen this Nov 24, 2026, 7:33 PM"
        in found
    )
    assert "– – 0 – – –" in found
    home.filter.write(notice={**NOTICES, "served": False})
    home.says("Nobody serves the notice at the moment")
    odd: Any
    for odd in (None, 7, {"devices": None}, {"devices": [], "counts": None}):
        home.filter.write(notice=odd)
        home.until("![...document.querySelectorAll('h3')].some(e => e.innerText == 'Notices shown')")
        home.filter.write(notice=NOTICES)
        home.says("Notices shown")
    home.clean()


def test_what_the_provider_has_signed(home: Home) -> None:
    home.open("status", there=".cpe-device")
    assert "Signed documents" not in home.words()
    provided(home.router)
    (home.router.run / "fetch.last").write_text("1 1795543200\nhttps://x/: <b>no</b> route\n")
    (home.router.run / "enrol.last").write_text("0 1795543200\nthe certificate of cpe-1 ends some day\n")
    home.open("status", there=".cpe-device")
    home.says("Signed documents")
    last = "Number 8 was tried and taken back. The collector could not be reached any more."
    home.says(f"Settings\t7\tNov 24, 2026, 7:00 PM\tDec 24, 2026, 7:00 PM\t{last}")
    for line in (
        "A document was refused, and nothing has changed. Nobody whom this router trusts has signed it as it is.",
        "Looked for documents Nov 24, 2026, 7:00 PM, and could not get all: https://x/: <b>no</b> route",
        "The certificate of this router is in order, as of Nov 24, 2026, 7:00 PM.",
    ):
        home.says(line)
    home.clean()


def test_is_this_your_mail_server(home: Home) -> None:
    """One click, and its mail passes."""
    (device,) = (one for one in home.filter.engine.devices if one.name == SERVER)
    device.score.standing, device.unusual_at = "unusual", (home.filter.now - 3600, 7)
    (box,) = (one for one in home.filter.engine.devices if one.name == BOX)
    box.score.standing = "clear"
    home.filter.write()
    home.open("status", there=".cpe-device")
    assert home.words("[role=status] .notice") == "Is this your mail server?\nmail (…00:53:05)"
    words = home.words(card(SERVER))
    assert "Is this your mail server?" in words
    assert "This device sends e-mail as a mail server does." in words
    assert "action required" not in words
    assert "What was noticed" not in words
    home.press("This is my mail server", card(SERVER))
    home.says(f"exemption 1 added: device {SERVER}, destination any", ".alert-message [role=status]")
    assert "Our own mail server" in home.filter.log[-1]
    home.clean()


def test_counters_are_live_and_nothing_is_lost_to_them(home: Home) -> None:
    home.open("status", there=".cpe-device")
    home.ask(f"document.querySelector('{card(BOX)} summary').click()")
    home.ask(f"document.querySelector('{card(BOX)} button').focus()")
    home.ask(f"window.kept = document.querySelector('{card(BOX)}'); 0")
    home.filter.updated += 65
    home.filter.engine.mail_packets = 123456
    home.filter.write(failures=7)
    home.says("123,456", ".cpe-counts")
    assert "Failures\n7" in home.words(".cpe-counts")
    home.says("As of Nov 24, 2026, 7:51")
    assert home.ask("window.kept.isConnected") is True
    assert home.ask(f"document.activeElement == document.querySelector('{card(BOX)} button')") is True
    assert home.ask(f"document.querySelector('{card(BOX)} details').open") is False
    home.clean()


def test_the_chart_grows_and_stays_across_pages(home: Home) -> None:
    home.open("status", there=".cpe-device")
    line = f"document.querySelector('{card(BOX)} .line').getAttribute('points').split(' ').length"
    assert home.ask(f"document.querySelectorAll('{card(BOX)} .dot').length") == 4  # first, suspected, compromised, now
    (device,) = (one for one in home.filter.engine.devices if one.name == BOX)
    for number in range(3):
        home.filter.updated += 10
        device.score.value += 1.5
        home.filter.write()
        home.until(f"{line} > {number + 2}")
    before = home.ask(line)
    label = home.ask(f"document.querySelector('{card(BOX)} svg[role=img]').getAttribute('aria-label')")
    score = round(device.score.value, 2)  # as the status has it
    said = f"Score {score:.1f} now; suspected from {SUSPECT_AT:g}, compromised from {CONVICT_AT:g}. From"
    assert label.startswith(said)
    assert home.words(f"{card(BOX)} .cpe-plot") == "suspected\ncompromised"
    home.open("exemptions")
    home.open("status", there=".cpe-device")
    assert home.ask(line) >= before
    # Whatever is in the browser's store: it is drawn as far as it is points.
    for stored in (json.dumps({BOX: [["x", 1], 7, None]}), "[", "null", json.dumps({BOX: 7})):
        home.open("exemptions")  # the status page would write its own points over them
        home.ask(f"sessionStorage.setItem('cpe-filter-scores', {json.dumps(stored)}); 0")
        home.open("status", there=".cpe-device")
        assert home.ask(line) == 2
    home.clean()


def test_no_filter_runs(home: Home) -> None:
    home.open("status", there=".cpe-device")
    (home.router.run / "status.json").rename(home.router.run / "gone")
    (home.router.run / "config-error").write_text(f"cpe-filter.filter.mode is {HOSTILE}\n")
    home.says("The filter is not running, so mail is not watched.", "[role=status]")
    assert "no filter is running (there is no " in home.words("[role=status]")
    home.says(f"cpe-filter.filter.mode is {HOSTILE}", "[role=alert]")
    assert home.ask("document.querySelectorAll('.cpe-device').length") == 0
    (home.router.run / "gone").rename(home.router.run / "status.json")
    (home.router.run / "config-error").unlink()
    home.until(f"document.querySelector('{card(BOX)}')")
    home.until("document.querySelector('[role=alert]').innerText == ''")
    home.clean()


def test_nothing_to_do(browser: Browser, tmp_path: Path) -> None:
    with alone(browser, tmp_path) as pages:
        pages.server.router.start(())
        pages.open("status")
        pages.says("No action required\nNo device has sent mail straight to a mail server so far.", "[role=status]")
        pages.clean()


def test_ways_out_that_are_not_watched(home: Home) -> None:
    entry = {
        "families": [4, 6],
        "connections": 0,
        "since": 1.0,
        "last": None,
        "default_route": [4],
        "standby_route": [],
    }
    home.filter.write(
        unwatched=[
            {**entry, "interface": HOSTILE},
            {**entry, "interface": "wwan0", "families": [6], "default_route": [], "standby_route": [6]},
            {**entry, "interface": "wg0", "families": [4], "connections": 7, "last": 1795435200.0},
        ]
    )
    home.open("status", there=".alert-message.notice")
    text = home.words(".alert-message.notice")
    assert f"IPv4, IPv6 leaves by {HOSTILE}, which is not watched. A default route leads there." in text
    assert "IPv6 can leave by wwan0, which is not watched. A default route of lower priority leads there." in text
    assert (
        "IPv4 leaves by wg0, which is not watched. Connections of mail that left there: 7, the last Nov 23, 2026"
        in text
    )
    assert "If this is intended, nothing has to be done." in text
    home.filter.write(
        unlisted=[{"interface": HOSTILE, "families": [4, 6], "connections": 7, "since": 0, "last": 1795435200.0}]
    )
    home.open("status", there=".alert-message.notice")
    text = home.words(".alert-message.notice")
    assert (
        f"IPv4, IPv6 mail of {HOSTILE} is not watched. Connections of mail from there: 7, the last Nov 23, 2026" in text
    )
    assert "add the network under Settings, Networks of the home." in text
    assert home.ask("document.querySelectorAll('#view img, #view script').length") == 0
    home.filter.write()
    home.clean()


def test_names_from_the_network_are_inert(home: Home) -> None:
    home.filter.names |= {BOX: HOSTILE, LAPTOP: HOSTILE, SUSPECT: ""}
    home.filter.write(handoff=HOSTILE)
    home.router.call("exempt_add", device=LAPTOP, destination="192.0.2.25", reason=HOSTILE.replace("\u202e", ""))
    home.open("status", there=".cpe-device")
    assert home.words(f"{card(BOX)} h3") == HOSTILE
    assert "Device without a name (…7e:90:1d)" in home.words("table")
    home.press("I have cleaned this device")
    assert HOSTILE in home.words("#modal_overlay")
    home.press("Cancel", "#modal_overlay")
    home.clean()
    home.open("exemptions")
    assert HOSTILE in home.words("#cpe-device")
    assert HOSTILE.replace("\u202e", "") in home.words("[data-exemption='1']")
    home.press("Remove", "#view")
    assert HOSTILE in home.words("#modal_overlay")
    for view in VIEWS:
        home.open(view)
        assert home.ask("document.querySelectorAll('#view img, #view script, #modal_overlay img').length") == 0
        home.clean()


# ── exemptions ──────────────────────────────────────────────────────────────────────────────────────


def test_this_is_my_mail_server(home: Home) -> None:
    home.open("status", there=".cpe-device")
    home.browser.events.clear()
    home.press("This is my mail server", card(BOX))
    home.until("document.querySelector('#view #cpe-device')")
    assert home.ask("document.getElementById('cpe-device').value") == BOX
    home.put("#cpe-reason", 'our own; it\'s "the" server')
    home.put("#cpe-destination", "192.0.2.25")
    home.put("#cpe-lasts", "7d")
    home.press("Add exemption")
    home.says(f"exemption 1 added: device {BOX}, destination 192.0.2.25, until ", ".alert-message [role=status]")
    home.until("document.querySelector(\"[data-exemption='1']\")")
    row = home.words("[data-exemption='1']")
    assert row.startswith(f"tv-box ({BOX})\t192.0.2.25\t")
    assert 'our own; it\'s "the" server' in row
    assert home.ask("document.getElementById('cpe-reason').value") == ""
    assert len(home.filter.engine.policy.exempt) == 2
    fixed = home.words("[data-exemption='policy-1']")
    assert "By your provider or in the settings; not to be removed here." in fixed
    home.press("Remove", "#view")
    assert home.ask("document.activeElement.innerText") == "Remove"
    home.press("Cancel", "#modal_overlay")
    assert len(home.filter.engine.policy.exempt) == 2
    home.press("Remove", "#view")
    home.press("Remove", "#modal_overlay")
    home.until("!document.querySelector(\"[data-exemption='1']\")")
    home.says("exemption 1 removed")
    assert len(home.filter.engine.policy.exempt) == 1
    home.clean()


def test_another_device_and_what_is_refused(home: Home) -> None:
    home.open("exemptions")
    assert home.ask("document.getElementById('cpe-other').getClientRects().length") == 0
    home.put("#cpe-device", "other")
    assert home.ask("document.getElementById('cpe-other').getClientRects().length") == 1
    home.put("#cpe-other", "toaster")
    home.put("#cpe-reason", "x")
    home.press("Add exemption")
    home.says('device is "toaster"; allowed: a MAC such as 02:00:00:12:34:56', ".alert-message [role=alert]")
    assert home.ask("document.getElementById('cpe-other').value") == "toaster"  # to be mended, not typed anew
    home.put("#cpe-other", "02:00:00:00:00:77")
    home.put("#cpe-lasts", "")
    home.press("Add exemption")
    home.until("document.querySelector(\"[data-exemption='1']\")")
    assert "02:00:00:00:00:77\tAny mail server\tFor ever\tx" in home.words("[data-exemption='1']")
    home.put("#cpe-device", "any")
    home.put("#cpe-reason", "x")
    home.press("Add exemption")
    home.says("exempts every device for every destination; name a device or a destination")
    # The browser itself asks for a reason.
    calls = [call for call in home.server.calls if call[1] == "exempt_add"]
    home.put("#cpe-reason", "")
    home.press("Add exemption")
    assert home.ask("document.querySelector('.cpe-form').checkValidity()") is False
    assert [call for call in home.server.calls if call[1] == "exempt_add"] == calls
    home.clean()


def test_exemptions_without_a_filter(browser: Browser, tmp_path: Path) -> None:
    with alone(browser, tmp_path) as pages:
        pages.open("exemptions", more=f"&device={NAS}")
        pages.says("no filter is running (", ".cpe-wide")
        assert pages.ask("document.getElementById('cpe-device').value") == NAS
        pages.put("#cpe-reason", "x")
        pages.press("Add exemption")
        pages.says("takes effect when the filter starts")
        pages.until("document.querySelector(\"[data-exemption='1']\")")
        pages.clean()


def test_a_device_in_the_address_is_a_mac_or_nothing(home: Home) -> None:
    home.open("exemptions", more="&device=%22%3E%3Cimg%20src%3Dx%20onerror%3D%22window.hurt%3D1%22%3E")
    assert "onerror" not in home.words("#cpe-device")
    home.clean()


def test_by_keyboard_alone(home: Home) -> None:
    home.open("exemptions", more=f"&device={NAS}")
    for wanted, text in (
        ("cpe-device", ""),
        ("cpe-destination", "192.0.2.25"),
        ("cpe-lasts", ""),
        ("cpe-reason", "ours"),
    ):
        for _ in range(12):
            if home.ask("document.activeElement.id") == wanted:
                break
            home.browser.key("Tab", 9)
        assert home.ask("document.activeElement.id") == wanted
        assert home.ask("getComputedStyle(document.activeElement).outlineStyle") != "none"
        if text:
            home.browser.call("Input.insertText", text=text)
    home.browser.key("Enter", 13, "\r")
    home.until("document.querySelector(\"[data-exemption='1']\")")
    assert "192.0.2.25" in home.words("[data-exemption='1']")
    home.open("status", there=".cpe-device")
    reached = []
    for _ in range(12):
        home.browser.key("Tab", 9)
        reached.append(home.ask("document.activeElement.tagName + ' ' + document.activeElement.innerText"))
    assert "BUTTON I have cleaned this device" in reached
    assert "SUMMARY What was noticed" in reached
    while home.ask("document.activeElement.innerText") != "I have cleaned this device":
        home.browser.key("Tab", 9)
    home.browser.key("Enter", 13, "\r")
    home.until("document.activeElement.id == 'cpe-filter-reason'")
    home.browser.key("Escape", 27)
    home.until("!document.body.classList.contains('modal-overlay-active')")
    assert home.ask("document.activeElement.innerText") == "I have cleaned this device"
    home.clean()


# ── a release ───────────────────────────────────────────────────────────────────────────────────────


def test_a_device_is_released(home: Home) -> None:
    home.open("status", there=".cpe-device")
    home.press("I have cleaned this device")
    assert home.ask("document.querySelector('[role=dialog]').getAttribute('aria-modal')") == "true"
    assert "Has this device been cleaned?\ntv-box (…00:53:0b)" in home.words("[role=dialog]")
    assert home.ask("document.activeElement.id") == "cpe-filter-reason"
    home.browser.call("Input.insertText", text="factory reset; it's fine")
    home.press("Yes, I have cleaned it", "#modal_overlay")
    home.says("is no longer compromised, in mode limit.", ".alert-message [role=status]")
    home.until(f"!document.querySelector('{card(BOX)}')")
    assert home.words("[role=status] .success").startswith("No action required")
    assert f"release of {BOX} (tv-box) by uid 0: factory reset; it's fine" in home.filter.log
    home.clean()


def test_a_release_that_comes_too_late(home: Home) -> None:
    home.open("status", there=".cpe-device")
    home.press("I have cleaned this device")
    home.router.call("release", device=BOX)
    home.press("Yes, I have cleaned it", "#modal_overlay")
    home.says("That was not done.", ".alert-message [role=alert]")
    assert "is suspected, not compromised; no device is compromised" in home.words(".alert-message [role=alert]")
    home.clean()


# ── reports ─────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_provider_is_told(home: Home) -> None:
    reader = SpoolReader(spool_dir.folder(str(home.router.run / "status.json")))
    text = json.dumps(
        {"v": 1, "events": [{"kind": "opened", "dev": HOSTILE, "conns": "7", "why": {}}, 7, {"kind": {}}]}
    )
    reader.write(
        spool_dir.LAST,
        [{"at": 1795543200, "how": HOSTILE, "report": text}, {"at": 1795543300, "how": "200", "report": "{}"}],
    )
    reader.close()
    home.open("reported")
    page = home.words()
    assert "Reports go to https://reports.isp.example" in page
    assert re.search(r"Waiting to be sent: [1-9]", page)
    pseudonym = home.router.call("reported")["reported"]["devices"]
    (name,) = (dev for dev, mac in pseudonym.items() if mac == BOX)
    assert f"A device is compromised: {BOX}, called {name} there. Connections: 16, messages: 4" in page
    assert page.index("7:01 PM: taken") < page.index(f"7:00 PM: not taken: {HOSTILE}")
    assert f"A device looks like a mail server: {HOSTILE}. Connections: 7, messages: 0" in page
    assert page.count("An event of another version") == 2
    home.ask("[...document.querySelectorAll('details')].pop().open = true; 0")
    assert home.ask("[...document.querySelectorAll('pre')].pop().innerText") == text
    home.clean()


def test_nothing_is_reported(browser: Browser, tmp_path: Path) -> None:
    with alone(browser, tmp_path) as pages:
        pages.server.router.start(())
        pages.open("reported")
        pages.says("There is nothing to show.\nno reports are made (/", "[role=status]")
        pages.clean()


# ── rights ──────────────────────────────────────────────────────────────────────────────────────────


def post(home: Home, role: str, name: str, method: str, **arguments: Any) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": [role, name, method, arguments]}
    return home.server.rpc(message)


def test_who_may_only_look(home: Home) -> None:
    home.open("status", role="viewer", there=".cpe-device")
    assert home.ask("document.querySelectorAll('.cpe-device button, .cpe-device a').length") == 0
    home.open("exemptions", role="viewer")
    assert home.ask("document.querySelectorAll('#view form, #view button').length") == 0
    assert "What is exempt" in home.words()
    home.clean()
    for method in ("exempt_add", "exempt_remove", "release"):
        assert post(home, "viewer", "cpe-filter", method)["error"]["message"] == "Access denied"
        assert post(home, "nobody", "cpe-filter", method)["error"]["message"] == "Access denied"
    for method in ("status", "exempt_list", "reported"):
        assert post(home, "viewer", "cpe-filter", method)["result"][0] == 0
        assert post(home, "nobody", "cpe-filter", method)["error"]["message"] == "Access denied"


def test_exempting_needs_no_right_to_settings(home: Home) -> None:
    assert post(home, "subscriber", "cpe-filter", "exempt_list")["result"][0] == 0
    assert "reason is empty" in post(home, "subscriber", "cpe-filter", "exempt_add")["result"][1]["error"]
    for method in ("get", "set", "delete", "add"):
        answer = post(home, "subscriber", "uci", method, config="cpe-filter", section="main", values={"enabled": "0"})
        assert answer["error"]["message"] == "Access denied"
    assert post(home, "viewer", "uci", "get", config="cpe-filter")["result"][0] == 0
    assert post(home, "viewer", "uci", "set", config="cpe-filter", section="main", values={})["error"]


# ── looks ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lang", ["en", "de", "nl", "tr"])
def test_looks_and_reads_everywhere(home: Home, lang: str) -> None:
    """Light and dark, wide and narrow: nothing too wide, too pale, without a name or complained of."""
    home.filter.names[NAS] = "a-name-as-long-as-dhcp-lets-a-device-have-one-" + "x" * 17
    home.filter.write()
    home.router.call("exempt_add", device=NAS, destination="2001:db8:1:2:3:4:5:6", reason="r" * 200)
    provided(home.router)
    (home.router.run / "fetch.last").write_text(f"1 1795543200\n{'x' * 300}\n")
    backs = {}
    for scheme in ("light", "dark"):
        home.browser.scheme(scheme)
        for width in (320, 390, 1440):
            home.browser.size(width, 900)
            for view in VIEWS:
                home.open(view, lang=lang)
                if view == "status":
                    home.until("document.querySelector('.cpe-device')")
                    home.says(catalogue(lang)["Signed documents"] if lang != "en" else "Signed documents")
                home.ask("document.querySelectorAll('details').forEach(e => { e.open = true; }); 0")
                backs[scheme] = home.ask("getComputedStyle(document.body).backgroundColor")
                assert home.ask(OVERFLOW) == 0, (scheme, width, view)
                assert home.ask(CONTRAST) == [], (scheme, width, view)
                assert width == 320 or home.ask(CLIPPED) == [], (scheme, width, view)
                assert width == 320 or problems(home.browser, *_FRAME) == [], (scheme, width, view)
                home.clean()
    assert backs == {"light": "rgb(255, 255, 255)", "dark": "rgb(34, 34, 34)"}


@pytest.mark.parametrize("lang", ["de", "nl", "tr"])
def test_no_english_is_left(home: Home, lang: str) -> None:
    said = catalogue(lang)
    for view in VIEWS:
        home.open(view, lang=lang)
        if view == "status":
            home.until("document.querySelector('.cpe-device')")
        lines = {line.strip() for line in home.words().splitlines()}
        # A line that is one of the English texts, and not the same in this language.
        assert not {line for line in lines if said.get(line, line) != line}
    assert said["Exemptions"] != "Exemptions"
