"""From the desk's click to the router and back, in the lab: real page, collector, uplink and filter.

The instruction releases a device at its router, the router answers, and the case says so. What is not the desk's, or
not for this router, or was there before, changes nothing and is answered with its reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cpe_filter.collect import signing
from cpe_filter.collect.intake.outgoing import EVERY_S
from tests.collect.web.site import HASH, PASSWORD
from tests.lab.mail import sent
from tests.lab.net import PYTHON, Lab, mx4
from tests.send.test_live_upstream import COLLECTOR, Rebooting, Scene, until

pytestmark = pytest.mark.live

PAGE = 8080
#: In the collector's network: logs in, opens the page that asks, and clicks; prints the case's page.
_CLICK = """
import http.cookiejar, re, sys, urllib.parse, urllib.request
base, case, act, days, password = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
def post(path, **form):
    return opener.open(base + path, urllib.parse.urlencode(form).encode()).read().decode()
post("/login", name="anna", password=password, next="/")
if act:
    ask = opener.open(f"{base}/cases/{case}/{act}").read().decode()
    token = re.search('name="token" value="([^"]+)"', ask)[1]
    post(f"/cases/{case}/{act}", token=token, text="spoke to them", days=days)
print(opener.open(f"{base}/cases/{case}").read().decode())
"""


class Desk(Scene):
    """The scene, with a desk whose key the router knows."""

    def __init__(self, lab: Rebooting) -> None:
        super().__init__(lab)
        self.key = signing.generate()
        secret = lab.folder / "desk.sec"
        secret.write_bytes(self.key.secret)
        secret.chmod(0o600)
        keys = lab.folder / "flash" / "keys" / "desk"
        keys.mkdir(parents=True)
        (keys / "desk.pub").write_bytes(self.key.public)
        self.collector.tables["desk"] = {"instruction_key": str(secret)}
        self.collector.tables["page"] = {
            "address": f"{COLLECTOR}:{PAGE}",
            "plain_http": True,
            "users": [f"anna:desk:{HASH}"],
        }
        self.collector.write()

    def click(self, case: str, act: str = "", days: int = 1) -> str:
        """The text of the case's page, after a click."""
        words = [PYTHON, "-c", _CLICK, f"http://{COLLECTOR}:{PAGE}", case, act, str(days), PASSWORD]
        text = self.lab.run("internet", words).stdout
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text))

    def rows(self) -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(self.collector.folder / "collector.db")) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute("SELECT * FROM desk_instruction ORDER BY sequence")]

    def case_of(self, dev: str) -> str:
        until(lambda: dev in self.collector.cases(), "no case")
        return self.collector.cases()[dev].id

    def delivered(self) -> None:
        """What waits is sent."""
        done = self.send()
        assert done.returncode == 0, done.stderr

    def leave(self, *documents: bytes) -> None:
        """As `send` leaves what a collector has answered."""
        path = self.lab.folder / "report" / "sent" / "instructions"
        new = path.with_name("x")
        new.write_text(json.dumps([data.decode() for data in documents]))
        new.rename(path)


@pytest.fixture
def scene(live: None) -> Iterator[Desk]:
    lab = Rebooting(devices=2)
    with lab:
        lab.start_servers()
        made = Desk(lab)
        with made.collector:
            yield made


def _answers(scene: Desk) -> list[dict[str, Any]]:
    return [event for event in scene.waiting() if event["kind"] == "instruction"]


def _refused(scene: Desk, *given: tuple[bytes, str]) -> None:
    """Documents that come together are each answered with its code, and nothing else happens."""
    before = len(_answers(scene))
    scene.leave(*(data for data, _ in given))
    until(lambda: len(_answers(scene)) >= before + len(given), f"no answers, expected {given}")
    answers = _answers(scene)[before:]
    assert {answer["result"] for answer in answers} == {"refused"}
    assert {(answer["doc"], answer.get("why")) for answer in answers} == {(_named(data), why) for data, why in given}


def _named(data: bytes) -> str:
    """As an answer names a document: by what is signed, below the signature's two lines."""
    *_, signed = data.split(b"\n", 2)
    return hashlib.sha256(signed).hexdigest()[:16]


def test_from_the_click_to_the_router_and_back(scene: Desk) -> None:
    lab, collector = scene.lab, scene.collector
    running_filter = lab.start_filter(scene.policy)
    scene.convict(running_filter, "device2")
    (raised,) = scene.wait_for("raised")
    scene.delivered()
    scene.wait_for()  # else the next event is taken for this one
    case = scene.case_of(raised["dev"])

    # The desk clicks; the router learns it with its next report.
    assert "waiting for the router" in scene.click(case, "router-release")
    (row,) = scene.rows()
    document_ = row["document"].encode()
    time.sleep(EVERY_S + 0.5)  # the listener knows of it: a report that comes before is answered without it
    scene.convict(running_filter, "device1", 60)
    until(lambda: [event["kind"] for event in scene.waiting()] == ["raised"], "no event")
    until(lambda: scene.send().returncode == 0 and (lab.folder / "report" / "sent" / "instructions").exists(), "none")
    running_filter.wait_for(f"instruction {row['id']} of the Internet provider, release {raised['dev']}: applied")
    assert f"release of {Lab.mac('device2')}" in running_filter.log()

    # It answers, and the case says so.
    until(lambda: {event["kind"] for event in scene.waiting()} == {"closed", "instruction"}, "no answer")
    scene.delivered()
    until(lambda: scene.rows()[0]["state"] == "applied", "not applied")
    assert scene.rows()[0]["document"] == ""
    assert "applied" in scene.click(case)
    until(lambda: collector.cases()[raised["dev"]].state == "clean", "not clean")

    # The same again, and others, change nothing.
    scene.wait_for()
    scene.leave(document_)
    until(lambda: [event["result"] for event in _answers(scene)] == ["applied"], "not answered again")
    scene.delivered()
    scene.wait_for()
    other = next(event for event in scene.told.values() if event["kind"] == "raised" and event["dev"] != raised["dev"])
    body = f'[instruction]\naction = "release"\ndevice = "{other["dev"]}"\n'
    now = row["sequence"]

    def signed(key: signing.SecretKey, sequence: int, audience: str = "router:cpe-0001", more: str = body) -> bytes:
        header = signing.header(signing.Header("instruction", sequence, now - 60, now + 86400, (audience,)))
        return key.sign((header + more).encode())

    _refused(
        scene,
        (signed(scene.key, now - 1), "sequence"),
        (signed(scene.key, now + 1, "router:cpe-0002"), "audience"),
        (signed(signing.generate(), now + 1), "key"),
        (signed(scene.key, now + 1).replace(other["dev"].encode(), b"0" * 16), "signature"),
        (signed(scene.key, now + 1, more=body.replace("release", "block")), "content"),
        (signed(scene.key, now + 1, more=body + "[filter]\nmode = 'block'\n"), "content"),
        (signed(scene.key, now + 1, more=body.replace(other["dev"], "0" * 16)), "device"),
        (b"not a document", "format"),
    )
    assert "instruction" in running_filter.log()
    assert collector.cases()[other["dev"]].state == "open"
    assert running_filter.stop() == 0
    assert "Traceback" not in running_filter.log()
    assert "Traceback" not in collector.log.read_text()
    shown = lab.run("router", [PYTHON, "-m", "cpe_filter", "report", "show", "--policy", str(scene.policy)]).stdout
    assert "the Internet provider's instruction: release" in shown


def test_exempted_from_the_isp_s_side(scene: Desk) -> None:
    """Its mail passes, it is in the list of exemptions, and a restart keeps what was taken."""
    lab = scene.lab
    running_filter = lab.start_filter(scene.policy)
    scene.convict(running_filter, "device2")
    (raised,) = scene.wait_for("raised")
    scene.delivered()
    case = scene.case_of(raised["dev"])
    scene.click(case, "router-exempt", days=3)
    (row,) = scene.rows()
    data = row["document"].encode()
    scene.leave(data)
    running_filter.wait_for(f"exempt {raised['dev']}: applied")
    listed = lab.run(
        "router", [PYTHON, "-m", "cpe_filter", "exempt", "list", "--json", "--policy", str(scene.policy)]
    ).stdout
    (exemption,) = [json.loads(listed)] if isinstance(json.loads(listed), dict) else json.loads(listed)
    assert exemption["device"] == Lab.mac("device2")
    assert f"case {case}" in listed
    until(lambda: sent(lab, mx4(0), device="device2"), "its mail does not pass")
    until(lambda: {event["kind"] for event in scene.waiting()} == {"closed", "instruction"}, "no answer")

    # Started again, without its memory: the same document is answered as before, an older one refused.
    assert running_filter.stop() == 0
    running_filter = lab.start_filter(scene.policy)
    before = len(_answers(scene))
    scene.leave(data)
    until(lambda: len(_answers(scene)) > before, "not answered again")
    assert _answers(scene)[-1]["result"] == "applied"
    assert running_filter.stop() == 0


def test_a_release_ends_the_quarantine(scene: Desk) -> None:
    """At once, in the kernel, too; and the incident says that the ISP has done it."""
    lab = scene.lab
    scene.policy.write_text(scene.policy.read_text() + "[notice]\nquarantine = true\n")
    lab.start_responder(scene.policy)
    running_filter = lab.start_filter(scene.policy)
    scene.convict(running_filter, "device2")
    running_filter.wait_for(f"device {Lab.mac('device2')} is in quarantine until it is released")

    def held() -> bool:
        listed = lab.run("router", ["nft", "list", "set", "inet", "cpe_filter", "quarantined"]).stdout
        return Lab.mac("device2") in listed

    until(held, "not held")
    until(lambda: any(event["kind"] == "raised" for event in scene.waiting()), "not reported")
    (raised,) = [event for event in scene.waiting() if event["kind"] == "raised"]
    now = int(time.time())
    header = signing.header(signing.Header("instruction", now, now - 60, now + 86400, ("router:cpe-0001",)))
    body = f'[instruction]\naction = "release"\ndevice = "{raised["dev"]}"\nreason = "case 7"\n'
    scene.leave(scene.key.sign((header + body).encode()))
    running_filter.wait_for(f"device {Lab.mac('device2')} is released from quarantine by a command")
    running_filter.wait_for(f"release {raised['dev']}: applied")
    assert not held()
    until(lambda: any(event["kind"] == "closed" for event in scene.waiting()), "not closed")
    (closed,) = [event for event in scene.waiting() if event["kind"] == "closed"]
    assert closed["notice"]["quarantine"] == {"state": "released", "who": "isp"}
    assert running_filter.stop() == 0


def test_the_end_of_a_quarantine_leaves_the_device_compromised(scene: Desk) -> None:
    """From the desk's click to the kernel and back: its mail stays refused, and no restart holds it again."""
    lab, collector = scene.lab, scene.collector
    scene.policy.write_text(scene.policy.read_text() + "[notice]\nquarantine = true\n")
    lab.start_responder(scene.policy)
    running_filter = lab.start_filter(scene.policy)
    scene.convict(running_filter, "device2")
    running_filter.wait_for(f"device {Lab.mac('device2')} is in quarantine until it is released")

    def in_set(name: str) -> bool:
        return Lab.mac("device2") in lab.run("router", ["nft", "list", "set", "inet", "cpe_filter", name]).stdout

    until(lambda: in_set("quarantined"), "not held")
    (raised,) = scene.wait_for("raised")
    scene.delivered()
    case = scene.case_of(raised["dev"])
    deadline = time.monotonic() + 60
    while "End the quarantine" not in scene.click(case):  # the news of it may come with the next report
        assert time.monotonic() < deadline, "no button"
        scene.delivered()
    assert "waiting for the router" in scene.click(case, "router-end-quarantine")
    (row,) = scene.rows()
    scene.leave(row["document"].encode())
    running_filter.wait_for(f"device {Lab.mac('device2')} is released from quarantine by the Internet provider's desk")
    running_filter.wait_for(f"end-quarantine {raised['dev']}: applied")
    assert not in_set("quarantined")
    assert in_set("blocked")
    until(lambda: _answers(scene)[-1:] and _answers(scene)[-1]["act"] == "end-quarantine", "not answered")
    until(lambda: any(_ended(event) for event in scene.waiting()), "its end is not reported")
    scene.delivered()
    until(lambda: scene.rows()[0]["state"] == "applied", "not applied")
    until(lambda: "Quarantine: released by the provider" in scene.click(case), "not in the history")
    assert "End the quarantine" not in scene.click(case)
    assert collector.cases()[raised["dev"]].state == "open"
    # The same again has nothing to end; neither a reload nor a restart holds the device again.
    lab.run("router", [PYTHON, "-m", "cpe_filter", "reload", "--policy", str(scene.policy)])
    assert running_filter.stop() == 0
    running_filter = lab.start_filter(scene.policy)
    now = int(time.time()) + 5
    header = signing.header(signing.Header("instruction", now, now - 60, now + 86400, ("router:cpe-0001",)))
    body = f'[instruction]\naction = "end-quarantine"\ndevice = "{raised["dev"]}"\n'
    _refused(scene, (scene.key.sign((header + body).encode()), "nothing"))
    assert not in_set("quarantined")
    assert running_filter.stop() == 0
    assert "Traceback" not in running_filter.log()


def _ended(event: dict[str, Any]) -> bool:
    held = event.get("notice", {}).get("quarantine")
    return bool(held == {"state": "released", "who": "isp"})
