"""`cpe-filter report show`: the exact texts, words for them, and whose they are; hostile files shown inert."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.lean.checksum import with_checksum
from cpe_filter.report import show as reported
from cpe_filter.report.document_news import Ended, News, path_of
from cpe_filter.report.document_news import encode as encode_news
from cpe_filter.report.persistence import encode, parse
from cpe_filter.report.spool_dir import INCIDENTS
from cpe_filter.report.tracker import IncidentTracker
from tests.collect.ca import Authority
from tests.lab.net import PROJECT
from tests.policies import changed_policy
from tests.report.test_tracker import Home
from tests.send.test_send import BEAT, Desk, incident


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def desk(tmp_path: Path, authority: Authority) -> Iterator[Desk]:
    made = Desk(tmp_path, authority, authority.server("localhost"), authority.router("cpe-0001"))
    yield made
    made.collector.close()


def shown(desk: Desk, as_json: bool = False) -> str:
    lines: list[str] = []
    reported.show(desk.policy, as_json, lines.append)
    return "\n".join(lines)


def content(desk: Desk) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shown(desk, True))
    return found


def test_what_was_sent_and_what_waits_word_for_word(desk: Desk) -> None:
    desk.leave(incident("opened"), BEAT)
    desk.send()
    desk.leave(incident("closed", why="released"))
    text = shown(desk)
    sent = desk.collector.requests[0].text.decode()
    assert f"  {sent}" in text.splitlines()
    assert f"    {desk.spool.events[-1].line.decode().strip()}" in text.splitlines()
    assert "a device looks like a mail server: the one called 0123456789abcdef: 3 connections, 3 new networks" in text
    assert "it wrote to addresses that do not exist" in text
    assert "the filter works: 1 device, 0 unusual, 0 suspected, 0 compromised" in text
    assert "it has ended, its owner has released it" in text
    assert "Waiting to be sent: 1 event" in text
    found = content(desk)
    assert found["sent"][0]["text"] == sent
    assert found["sent"][0]["report"] == desk.collector.requests[0].report
    assert [event["kind"] for event in found["waiting"]] == ["closed"]
    assert found["url"] == desk.policy.report.url


def test_only_the_router_knows_whose_a_pseudonym_is(desk: Desk) -> None:
    home = Home()
    home.device(standing="compromised")
    home.look()
    incidents: IncidentTracker = home.incidents
    desk.writer.write(INCIDENTS, encode(incidents, desk.boot, 7, home.now))
    (known,) = incidents
    desk.leave(incident("raised", dev=known.dev))
    assert f"00:17:c8:11:22:33, called {known.dev}" in shown(desk)


def test_a_heartbeat_with_submission(desk: Desk) -> None:
    beat = {**BEAT, "sub": [{"dev": "ab" * 8, "servers": 64, "conns": 130, "fails": 120}]}
    desk.leave(beat)
    text = "the one called abababababababab: 64 submission servers, 120 of 130 connections failed"
    assert text in shown(desk)


def test_documents(desk: Desk) -> None:
    made = {"up": 5, "kind": "document", "doc": "ab" * 8}
    desk.leave(
        {**made, "type": "policy", "number": 41, "result": "taken-back", "why": "filter"},
        {**made, "result": "refused", "why": "signature"},
        {"up": 5, "kind": "document", "result": "refused", "why": "full"},
    )
    desk.leave({**BEAT, "docs": [{"type": kind, "doc": "ab" * 8, "number": 7} for kind in ("policy", "table")]})
    text = shown(desk)
    assert "0 compromised; policy 7 in force; table 7 in force\n" in text
    what = "the Internet provider's document"
    assert f"  {what} policy 41 abababababababab: taken-back (filter)\n" in text
    assert f"  {what} abababababababab: refused (signature)\n" in text
    assert f"  {what}: refused (full)\n" in text


def test_what_could_not_be_sent(desk: Desk) -> None:
    desk.policy = changed_policy(desk.policy, report_url="https://no-such-host.invalid")
    desk.leave(incident("opened"))
    assert desk.send() == 1
    text = shown(desk)
    assert "UTC: no-such-host.invalid has no address" in text
    assert "s from now, after 1 failure" in text


@pytest.mark.parametrize(
    "last",
    [1, None, "x", [1, None, "x", {}], [{"at": "x", "how": 1, "report": "{}"}],
     [{"at": 1, "how": "200", "report": "nope"}],
     [{"at": 10**30, "how": "\x1b[31m", "report": "[]"}],
     [{"at": 1, "how": "200", "report": '{"events":[1,{"kind":"x"},{"kind":"opened"},{"kind":"heartbeat"}]}'}],
     [{"at": 1, "how": "200", "report": '{"events":7}'}]],
)  # fmt: skip
def test_whatever_stands_in_the_sender_s_file(desk: Desk, last: Any) -> None:
    desk.leave(incident("opened"))
    desk.reader.write("last", last)
    assert "\x1b" not in shown(desk)
    content(desk)


def test_before_a_filter_has_run(desk: Desk, tmp_path: Path) -> None:
    desk.policy = changed_policy(desk.policy, status_file=str(tmp_path / "x" / "status.json"))
    with pytest.raises(reported.NotShownError, match="no reports are made"):
        shown(desk)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_command(desk: Desk) -> None:
    desk.leave(incident("opened"))
    words = [sys.executable, "-m", "cpe_filter", "report", "show", "--policy", str(desk.policy_file())]
    done = subprocess.run(words, capture_output=True, text=True, cwd=PROJECT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Reports go to {desk.policy.report.url}.\n")
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, cwd=PROJECT)
    assert json.loads(done.stdout)["waiting"][0]["kind"] == "opened"


def test_open_incidents_have_pseudonym_standing_and_time(desk: Desk) -> None:
    """What a management system may read: nothing that names the device."""
    home = Home()
    first, second = home.device(b"\x02\0\0\0\0\x07", "compromised"), home.device(standing="compromised")
    home.look()
    home.works(second, "clear")
    home.look()
    incidents: IncidentTracker = home.incidents
    desk.writer.write(INCIDENTS, encode(incidents, desk.boot, 7, home.now))
    (open_,) = content(desk)["open"]
    began = {one.key: one for one in incidents}[first.key]
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began.first))
    assert open_ == {"dev": began.dev, "standing": "compromised", "since": since}


@pytest.mark.parametrize("odd", [{"first": 1e300}, {"standing": "x"}, {"dev": 7}, {"first": None}])
def test_whatever_stands_among_the_incidents(desk: Desk, odd: dict[str, Any]) -> None:
    home = Home()
    home.device(standing="compromised")
    home.look()
    raw = parse(encode(home.incidents, desk.boot, 7, home.now))
    raw["incidents"][0] |= odd
    desk.writer.write(INCIDENTS, with_checksum(json.dumps(raw).encode()))
    assert [one["since"] for one in content(desk)["open"]] == ([""] if odd == {"first": 1e300} else [])


def test_documents_by_type(desk: Desk, tmp_path: Path) -> None:
    desk.policy = changed_policy(desk.policy, state_file=str(tmp_path / "flash" / "state"))  # not this machine's own
    assert content(desk)["documents"] == []
    in_force = (("table", "2" * 16, 3), ("policy", "1" * 16, 7))
    ended = (
        Ended(1, "taken-back", "policy", "3" * 16, 8, "dns"),
        Ended(2, "refused", "", "", 0, "signature"),
        Ended(3, "applied", "policy", "1" * 16, 7, ""),
        Ended(4, "refused", "replies", "4" * 16, 1, "expired"),
    )
    path = Path(path_of(desk.policy.state.state_file))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_news(News("0" * 16, in_force, ended)))
    assert [tuple(one.values()) for one in content(desk)["documents"]] == [
        ("policy", "1" * 16, 7, "applied", ""),
        ("table", "2" * 16, 3, "", ""),
        ("replies", "", 0, "refused", "expired"),
    ]
    path.write_bytes(b"no list\n")
    assert content(desk)["documents"] == []
