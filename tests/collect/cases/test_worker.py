"""The whole way: a router's report -> a case -> the webhook, /metrics and files; and the command line."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xarf import SchemaValidator

from tests.collect.ca import Authority
from tests.collect.cases.test_webhook import SECRET, verified
from tests.collect.http_end import Asked, End, Reply
from tests.collect.reports import body, incident
from tests.collect.running import Collector
from tests.lab.net import DEADLINE_S, PROJECT

MAP = "router,subscriber,region,contact,asn,address\nrouter-1,S1,north,crm:1,64500,8.8.1.1\n"
EXPORT = {"org": "Example ISP", "contact": "abuse@isp.example", "domain": "isp.example"}


def run(collector: Collector, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cpe_filter", "collector", "--config", str(collector.config), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=DEADLINE_S)


def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {"map": tmp_path / "map.csv", "secret": tmp_path / "secret", "out": tmp_path / "out"}
    made["map"].write_text(MAP)
    made["secret"].touch(0o600)
    made["secret"].write_text(SECRET)
    made["out"].mkdir()
    return made


def collector(tmp_path: Path, authority: Authority, files: dict[str, Path], **tables: dict[str, Any]) -> Collector:
    whole: dict[str, dict[str, Any]] = {
        "cases": {"every_s": 1},
        "subscribers": {"file": str(files["map"])},
        "export": EXPORT,
        **tables,
    }
    return Collector(tmp_path / "c", authority, "run", **whole)


def test_from_a_report_to_everybody(tmp_path: Path, authority: Authority, files: dict[str, Path]) -> None:
    down = True

    def answer(asked: Asked) -> Reply:
        return Reply(503 if down else 200)

    with End(answer) as end:
        hook = {"url": f"{end.url}/hook", "secret_file": str(files["secret"])}
        it = collector(tmp_path, authority, files, webhook=hook)
        with it:
            pair = authority.router("router-1")
            raised = incident(2, up=900, kind="raised", name="annas-tv")
            assert it.post(pair, body(incident(1, up=890, kind="opened"), raised)).status == 200
            until(lambda: end.asked, "the webhook was not asked")
            it.kill()  # while the notification waits
            down = False
            it.start()
            until(lambda: len(end.asked) >= 2, "the webhook was not asked again")
            assert it.post(pair, body(raised)).status == 200  # sent again: nothing new
            assert it.post(pair, body(incident(3, up=950, kind="closed"))).status == 200
            until(lambda: [verified(one)["event"] for one in end.asked][-1] == "clean", "clean was not told")
            until(
                lambda: it.metrics().get('cpe_collector_webhook_total{outcome="delivered"}') == 2,
                "metrics do not say so",
            )
        told = [(verified(one)["event"], one.headers["webhook-id"]) for one in end.asked]
        assert len({number for _, number in told}) == 2
        assert [event for event, _ in told][-2:] == ["opened", "clean"]
    out = files["out"]
    done = run(it, "export", "xarf", "--output", str(out), "--mark", "desk")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.endswith("1 incident exported\n")
    made = [json.loads(path.read_text()) for path in out.iterdir()]
    assert [SchemaValidator().validate(one) for one in made] == [[]]
    assert (made[0]["source_identifier"], made[0]["source_port"]) == ("8.8.1.1", 40000)
    assert "annas-tv" not in json.dumps(made) + base64.b64decode(made[0]["evidence"][0]["payload"]).decode()
    again = run(it, "export", "xarf", "--output", str(out), "--mark", "desk")
    assert again.stderr.endswith("0 incidents exported\n")
    text = run(it, "export", "csv").stdout
    row = next(csv.DictReader(io.StringIO(text, newline="")))
    assert (row["subscriber"], row["state"], row["source"]) == ("S1", "clean", "8.8.1.1")
    one = run(it, "export", "intelmq", "--case", row["case"], "--since", "2020-01-01").stdout
    assert json.loads(one)["source.account"] == "S1"
    assert run(it, "export", "intelmq", "--since", "2100-01-01T00:00:00Z").stdout == ""
    assert "rebuilt the cases of 1 devices" in run(it, "rebuild").stderr


def test_map_that_comes_later_and_breaks(tmp_path: Path, authority: Authority, files: dict[str, Path]) -> None:
    files["map"].write_text("router,subscriber\n")
    with collector(tmp_path, authority, files) as it:
        pair = authority.router("router-1")
        assert it.post(pair, body(incident(1, up=900, kind="raised"))).status == 200

        def subscribers() -> list[str]:
            text = run(it, "export", "csv").stdout
            return [row["subscriber"] for row in csv.DictReader(io.StringIO(text, newline=""))]

        until(lambda: subscribers() == [""], "no case")
        files["map"].write_text(MAP)
        until(lambda: subscribers() == ["S1"], "the new map was not read")
        files["map"].write_text("router,subscriber\nrouter-1,,\n")
        until(lambda: it.metrics().get("cpe_collector_subscribers_failed") == 1, "nothing says that the map is wrong")
        said = [line for line in it.lines() if line["event"] == "subscriber map"]
        assert "map.csv:2: 3 fields; the header has 2" in said[0]["why"]
        done = run(it, "export", "csv")
        assert done.returncode == 2
        assert re.fullmatch(
            r"cpe-filter: \S+map\.csv:2: 3 fields; the header has 2\n", done.stderr.splitlines(True)[-1]
        )
        files["map"].write_text(MAP)
        until(lambda: it.metrics().get("cpe_collector_subscribers_failed") == 0, "the right map was not read")
        assert subscribers() == ["S1"]


def test_map_by_http(tmp_path: Path, authority: Authority, files: dict[str, Path]) -> None:
    """A lookup at the ISP, with its token; while it fails reports come in, and cases wait for their subscriber."""
    down = True

    def answer(asked: Asked) -> Reply:
        if down:
            return Reply(500)
        row = {"subscriber": "S9", "region": "south", "address": ["8.8.1.1"]}
        return Reply(200, json.dumps({"rows": [row]}).encode()) if asked.path == "/lines/router-1" else Reply(404)

    files["secret"].write_text("let-me-in\n")
    with End(answer) as end:
        lookup = {
            "file": "",
            "url": f"{end.url}/lines/{{router}}",
            "token_file": str(files["secret"]),
            "known_minutes": 1,
            "unknown_minutes": 1,
        }
        with collector(tmp_path, authority, files, subscribers=lookup) as it:
            pair = authority.router("router-1")
            assert it.post(pair, body(incident(1, up=900, kind="raised"))).status == 200
            until(lambda: it.metrics().get("cpe_collector_subscribers_failed") == 1, "nothing says that it fails")
            assert [line["why"] for line in it.lines() if line["event"] == "subscriber map"] == [
                "the answer for a router cannot be used: status 500"
            ]
            assert it.post(pair, body(incident(2, up=900, kind="updated"))).status == 200
            down = False
            done = run(it, "rebuild")
            assert done.returncode == 0, done.stderr
            text = run(it, "export", "csv").stdout
        row = next(csv.DictReader(io.StringIO(text, newline="")))
        assert (row["subscriber"], row["region"], row["source"]) == ("S9", "south", "8.8.1.1")
        assert {one.path for one in end.asked} == {"/lines/router-1"}
        assert {one.headers["authorization"] for one in end.asked} == {"Bearer let-me-in"}
        assert "let-me-in" not in it.log.read_text()


def test_dead_letters_are_seen_and_tried_again(tmp_path: Path, authority: Authority, files: dict[str, Path]) -> None:
    gone = True
    with End(lambda asked: Reply(410 if gone else 200)) as end:
        hook = {"url": f"{end.url}/", "secret_file": str(files["secret"])}
        with collector(tmp_path, authority, files, webhook=hook) as it:
            assert it.post(authority.router("router-1"), body(incident(1, up=900, kind="raised"))).status == 200
            until(lambda: run(it, "webhook", "list").stdout, "no dead letter")
            dead = json.loads(run(it, "webhook", "list").stdout)
            assert (dead["kind"], dead["status"], dead["tries"]) == ("opened", 410, 1)
            gone = False
            assert run(it, "webhook", "retry").stderr.endswith("1 events requeued\n")
            until(lambda: len(end.asked) == 2, "it was not tried again")
            until(lambda: run(it, "webhook", "list").stdout == "", "it is still dead")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export"], "the following arguments are required: FORMAT"),
        (["export", "stix"], "invalid choice: 'stix' (choose from 'xarf', 'intelmq', 'csv')"),
        (["webhook"], "the following arguments are required: list|retry"),
        (["rebuild", "all"], "unrecognized arguments: all"),
        (["check", "--since", "2026-01-01"], "unrecognized arguments: --since 2026-01-01"),
        (["burn"], "invalid choice: 'burn'"),
        (["export", "csv", "--since", "yesterday"], "--since is 'yesterday'; expected 2026-11-24 or"),
        (["export", "csv", "--since", "2026-11-24T12:00"], "--since has no time zone"),
        (["export", "csv", "--case", "x'; --"], "no case x'; --"),
        (["export", "csv", "--mark", "m"], "a mark needs --output with a folder"),
        (["export", "csv", "--output", "/nonexistent/x"], "/nonexistent/x: No such file or directory"),
    ],
)
def test_wrong_words_are_one_line(
    tmp_path: Path, authority: Authority, files: dict[str, Path], words: list[str], said: str
) -> None:
    it = collector(tmp_path, authority, files)
    it.write()
    done = run(it, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(r"cpe-filter( collector( [a-z]+)?)?: ", done.stderr.splitlines()[-1]), done.stderr
    assert said in done.stderr


def test_check_reads_what_the_desk_needs(tmp_path: Path, authority: Authority, files: dict[str, Path]) -> None:
    hook = {"url": "https://desk.example/hook", "secret_file": str(files["secret"])}
    it = collector(tmp_path, authority, files, webhook=hook)
    it.write()
    assert run(it, "check").returncode == 0
    for name, content, said in (
        ("map", "router\n", "map.csv:1: column subscriber is missing"),
        ("secret", "guess-me", "secret: not whsec_ and Base64"),
        ("secret", "", "secret: expected one line of text"),
    ):
        before = files[name].read_text()
        files[name].write_text(content)
        done = run(it, "check")
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert "guess-me" not in done.stderr
        files[name].write_text(before)
    files["secret"].write_text(SECRET)
    files["secret"].chmod(0o644)
    assert "secret: others can read or change it (mode 0644); allowed: 0600 or 0640" in run(it, "check").stderr
    files["secret"].unlink()
    assert "secret: No such file or directory" in run(it, "check").stderr


def test_export_needs_to_know_who_reports(tmp_path: Path, authority: Authority, files: dict[str, Path]) -> None:
    it = collector(tmp_path, authority, files, export={})
    it.write()
    done = run(it, "export", "xarf")
    assert done.returncode == 2
    assert "XARF needs [export] org, contact and domain" in done.stderr
