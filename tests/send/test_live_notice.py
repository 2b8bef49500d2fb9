"""From the notice to the abuse desk, in the lab: people answer at the device, and the desk sees it.

Real parts from end to end: the bot, the filter, the kernel's redirect, the responder, each system's own check of the
network, Chromium in the device's namespace, the spool, the sender with its certificate, the collector, its case, and
the desk's page in another Chromium. The device's other traffic is compared byte for byte while its HTTP leads to the
notice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from cpe_filter.collect.cases.model import Case
from cpe_filter.collect.password import hashed
from tests.lab.net import DEADLINE_S, PYTHON, Lab, within
from tests.lab.web import CHECKS, ECHO_PORTS, WEB4, WEB6
from tests.notice.test_live_way import ECHO, Way
from tests.send.test_live_upstream import Rebooting, Scene, until
from tests.texts.browser import Browser

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("chromium")]

BOT, OTHER = "device1", "device2"
PASSWORD = "correct horse battery"
DESK = "http://127.0.0.1:8088/"
#: `make live`: as the router's service sends, at its own second of the minute, and how long that takes.
WHOLE = os.environ.get("ATTACKS") == "all"


class Told(Way):
    """A lab where the notice is served, and a collector with a page in its Internet."""

    def __init__(self, lab: Rebooting) -> None:
        self.scene = Scene(lab)
        self.scene.collector.tables["page"] = {"address": "127.0.0.1:8088", "users": [f"anna:desk:{hashed(PASSWORD)}"]}
        self.scene.collector.start()
        report = self.scene.policy.read_text().partition("[report]\n")[2]
        super().__init__(lab, rest=f"[report]\n{report}")
        self.scene.policy = self.policy

    def browser(self, name: str) -> Browser:
        """Chromium on one of the hosts."""
        return Browser(self.lab.command(name, []))

    def case(self) -> Case:
        (case,) = self.scene.collector.cases().values()
        return case


@pytest.fixture
def told(live: None) -> Iterator[Told]:
    lab = Rebooting(devices=2)
    with lab:
        lab.start_servers()
        made = Told(lab)
        try:
            yield made
        finally:
            made.scene.collector.stop()


def press(browser: Browser, selector: str) -> None:
    browser.events.clear()
    assert browser.ask(f"(e => {{ if (e) e.click(); return Boolean(e); }})(document.querySelector({selector!r}))")
    browser.loaded()


def text(browser: Browser) -> str:
    return str(browser.ask("document.body.innerText"))


def desk_sees(browser: Browser, case: str) -> str:
    """The page of a case, loaded again."""
    browser.visit(f"{DESK}cases/{case}")
    if browser.ask("location.pathname") == "/login":
        browser.ask(
            f"document.querySelector('#name').value = 'anna'; document.querySelector('#password').value = {PASSWORD!r}"
        )
        press(browser, "button")
        browser.visit(f"{DESK}cases/{case}")
    return text(browser)


def unharmed(lab: Lab, device: str) -> None:
    """HTTPS and other ports: what is sent comes back byte for byte."""
    given = "".join(chr(33 + n * n % 90) for n in range(60_000))
    for port in ECHO_PORTS:
        for address in (WEB4, WEB6):
            assert lab.run(device, [PYTHON, "-c", ECHO, address, str(port)], given=given).stdout == "True\n", port


def test_an_answer_at_the_device_reaches_the_desk(told: Told) -> None:
    lab, scene = told.lab, told.scene
    assert {told.check(BOT, system) for system in CHECKS} == {"online"}
    told.convict()
    told.wait(BOT, 302)
    scene.wait_for("raised")
    assert scene.send().returncode == 0
    until(scene.collector.cases, "no case")
    case = told.case()
    assert (case.state, case.told_at, case.seen_at, case.answered_at) == ("open", None, None, None)
    # Each system finds the notice by its own check, at the device alone; nothing else of it is touched.
    assert {system: told.check(BOT, system) for system in CHECKS} == dict.fromkeys(CHECKS, "notice")
    assert {told.check(OTHER, system) for system in CHECKS} == {"online"}
    unharmed(lab, BOT)
    sender = (
        lab.start("router", [PYTHON, "-m", "cpe_filter", "send", "--wait", "--policy", str(told.policy)])
        if WHOLE
        else None
    )
    with told.browser("internet") as desk, told.browser(BOT) as people:
        before = desk_sees(desk, case.id)
        assert "Notice on the router" not in before
        # What a system opens when its check is led elsewhere.
        people.visit(f"http://{WEB4}/generate_204")
        assert people.ask("location.port") == "2580"
        assert "One device needs your attention" in text(people)
        unharmed(lab, BOT)
        answered = time.monotonic()
        press(people, "button[value=seen]")
        assert "Thank you" in text(people)
        # At once.
        assert {told.check(BOT, system) for system in CHECKS} == {"online"}
        if not WHOLE:
            until(
                lambda: any(one.get("notice", {}).get("answer") for one in scene.waiting()),
                "the answer is not in the spool",
            )
            assert scene.send().returncode == 0
        until(lambda: told.case().state == "acknowledged", "the case has not changed", within(60))
        took = time.monotonic() - answered
        case = told.case()
        assert (case.answer, case.told_by, case.seen_by, case.objection) == ("seen", "router", "device", 0)
        assert case.seen_at is not None
        assert case.answered_at is not None
        assert case.opened_at <= case.seen_at <= case.answered_at <= time.time()
        after = desk_sees(desk, case.id)
        for words in ("Notice opened at the device", "Notice answered", "acknowledged"):
            assert words in after, after
        people.visit(f"http://{WEB4}/")
        assert "the Internet" in text(people)
    unharmed(lab, BOT)
    if sender is not None:
        print(f"\nFrom the button to the changed case: {took:.1f} s")
        assert sender.wait(DEADLINE_S) == 0
    assert told.filter.stop() == 0
    assert "Traceback" not in told.filter.log()
    assert "Traceback" not in scene.collector.log.read_text()
