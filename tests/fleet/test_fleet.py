"""The simulated fleet itself: lives that the published schema accepts, and all of `python -m tests.fleet`."""

from __future__ import annotations

import json
import random
import re
import ssl
import subprocess
import sys
import time

from cpe_filter.collect import wire
from cpe_filter.detect.evidence import INDICATORS
from tests.fleet import lives
from tests.fleet.senders import Counts, Sender
from tests.lab.net import DEADLINE_S, PROJECT


def sender(life: lives.Life) -> Sender:
    """It sends nothing here."""
    return Sender(life, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), 0, Counts(), 1)


def test_same_seed_same_fleet() -> None:
    assert lives.fleet(50, 1) == lives.fleet(50, 1)
    assert lives.fleet(50, 1) != lives.fleet(50, 2)


def test_every_event_fits_the_schema_and_none_is_of_the_future() -> None:
    now = int(time.time())
    kinds = set()
    for life in lives.fleet(150):
        events = lives.events(life, random.Random(1))
        body = sender(life)._body(events)
        report, rejected = wire.parse(json.dumps(body).encode(), life.router, None, now)
        assert rejected == []
        assert len(report.events) == len(events)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        for event in report.events:
            assert report.at(event["up"]) <= now - life.silent
            kinds.add(event["kind"])
    assert kinds == {"opened", "raised", "updated", "closed", "heartbeat"}


def test_incidents_follow_each_other() -> None:
    for life in lives.fleet(300):
        for one in life.incidents:
            assert one.raised is None or one.opened >= one.raised > 0
            assert one.closed is None or (one.raised if one.raised is not None else one.opened) >= one.closed > 0
            assert set(one.indicators) <= set(INDICATORS)


def test_news_and_rubbish() -> None:
    good, *_, bad = lives.fleet(80)
    assert (good.bad, bad.bad) == (False, True)
    for life in (good, bad):
        one = sender(life)
        for _ in range(300):
            body = json.dumps(one._body(one._news())).encode()
            assert wire.parse(body, life.router, None, int(time.time()))[1] == []
    refused = 0
    one = sender(bad)
    for _ in range(20):
        try:
            wire.parse(json.dumps(one._rubbish()).encode(), bad.router, None, 0)
        except wire.ReportError:
            refused += 1
    assert refused == 20


def test_the_whole_of_it() -> None:
    """As `make fleet` starts it: it comes up, says where the page is, lets routers report, and ends cleanly."""
    command = [sys.executable, "-m", "tests.fleet", "--routers", "30", "--seconds", "4"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"84 days of history: 30 reports with \d{2,} events in ", done.stdout)
    assert re.search(r"The fleet page: http://127\.0\.0\.1:\d+/\n", done.stdout)
    assert re.search(r"log in as admin with \S{12}\n", done.stdout)
    assert re.search(r"\d+ reports with \d+ events taken, .* 0 lost\n$", done.stdout)


def test_it_needs_no_pytest() -> None:
    """`make fleet` installs what the collector needs, and no more."""
    program = "import sys; sys.modules.update(pytest=None, hypothesis=None); import tests.fleet.__main__"
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)
