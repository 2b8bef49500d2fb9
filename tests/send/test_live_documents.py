"""What becomes of signed documents, from a router behind its NAT to the ISP's store.

The router fetches documents from a web server in the Internet: a good one, one that was changed on the way,
twice, and one that is taken back in its trial. The running filter reports each outcome once, across a restart of it,
and the collector's store shows what is in force.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect import signing
from cpe_filter.provision.folder import digest_of
from tests.lab.net import DEADLINE_S, PYTHON, Filter
from tests.send.test_live_upstream import COLLECTOR, Rebooting, Scene, until
from tests.signed import making

pytestmark = pytest.mark.live

WEB = 8444
_SERVE = """
import http.server, ssl, sys
folder, address, port, certificate, key = sys.argv[1:]
def handler(*arguments):
    return http.server.SimpleHTTPRequestHandler(*arguments, directory=folder)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server = http.server.HTTPServer((address, int(port)), handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
#: `cpe-filter policy fetch`, with a trial of another length.
_FETCH = """
import sys
from cpe_filter.cli.control import Filter
from cpe_filter.provision import command, trial
from cpe_filter.provision.place import Place
url, ca, base, out, folder, keys, socket, limit, settle = sys.argv[1:]
trial.LOOK_S = 0.5
place = Place(base, out, folder, keys, limit_s=float(limit), settle_s=float(settle))
sys.exit(command.fetch([url], ca, 0.0, place, lambda: Filter(socket).do({"do": "reload"})))
"""


class Provisioned:
    """A router that fetches documents, and the web server of its ISP."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.lab = scene, scene.lab
        folder = self.lab.folder
        self.keys = making.folder_of(folder, policy=making.key("isp"))
        self.base, self.out = scene.policy, folder / "run" / "policy.toml"
        self.folder = folder / "flash" / "provision"
        self.web = folder / "web"
        self.web.mkdir()
        pair = folder / "ca" / "server.pem"
        words = [str(self.web), COLLECTOR, str(WEB), str(pair), str(pair.with_suffix(".key"))]
        self.server = self.lab.start("internet", [PYTHON, "-c", _SERVE, *words], subprocess.DEVNULL)

    def publish(self, content: str, sequence: int) -> bytes:
        now = int(time.time())
        header = signing.Header("policy", sequence, now - 60, now + 86400, ("*",))
        data = making.key("isp").sign((signing.header(header) + content).encode())
        (self.web / "routers.signed").write_bytes(data)
        return data

    def command(self, limit: float = 8.0, settle: float = 1.0) -> list[str]:
        ca = str(self.scene.collector.authority.certificate)
        words = [f"https://{COLLECTOR}:{WEB}/routers.signed", ca, str(self.base), str(self.out), str(self.folder)]
        words += [self.keys, str(self.lab.folder / "control"), str(limit), str(settle)]
        return [PYTHON, "-c", _FETCH, *words]

    def fetch(self) -> int:
        done = self.lab.run("router", self.command(), check=False)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode != 1, done.stderr
        return done.returncode

    def policy(self, verb: str, *words: str) -> str:
        places = ["--folder", str(self.folder), "--keys", self.keys]
        done = self.lab.run("router", [PYTHON, "-m", "cpe_filter", "policy", verb, *places, *words])
        return done.stdout

    def waits(self) -> list[tuple[str, int | None, str | None]]:
        """Result, number and why of the documents' events in the spool."""
        events = [event for event in self.scene.waiting() if event["kind"] == "document"]
        return [(event["result"], event.get("number"), event.get("why")) for event in events]

    def sent(self) -> None:
        """All that waits is sent, and the filter knows it."""
        done = self.scene.send()
        assert done.returncode == 0, done.stderr
        until(lambda: not self.waits(), "the spool is not empty")

    def stored(self, table: str) -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(self.scene.collector.folder / "collector.db")) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY at")]  # noqa: S608


@pytest.fixture
def router(live: None) -> Iterator[Provisioned]:
    lab = Rebooting(devices=1)
    with lab:
        lab.start_servers()
        made = Scene(lab)
        with made.collector:
            yield Provisioned(made)


def test_each_outcome_reaches_the_isp_once(router: Provisioned) -> None:
    lab, scene = router.lab, router.scene
    router.policy("make", "--policy", str(router.base), "--out", str(router.out))
    running: Filter = lab.start_filter(router.out)
    until((lab.folder / "report" / "spool").exists, "reports are not made")
    _wait_for_web(router)

    good = router.publish('[filter]\nmode = "limit"\n', 41)
    assert router.fetch() == 0
    until(lambda: router.waits() == [("applied", 41, None)], "applied")
    router.sent()
    assert [(row["type"], row["digest"], row["sequence"]) for row in router.stored("router_in_force")] == [
        ("policy", digest_of(good), 41)
    ]

    # Changed on the way.
    tampered = router.publish('[filter]\nmode = "limit"\n', 42).replace(b"limit", b"limes")
    (router.web / "routers.signed").write_bytes(tampered)
    assert [router.fetch(), router.fetch()] == [2, 2]
    until(lambda: router.waits() == [("refused", None, "signature")], "refused")
    router.sent()

    # The collector is not reached any more while the next one is tried; the filter restarts before that is sent.
    worse = router.publish('[filter]\nmode = "monitor"\n', 43)
    trying = lab.start("router", router.command(limit=4.0, settle=3.0))
    until((router.folder / "policy" / "trial").exists, "no trial")
    assert scene.collector.stop() == 0
    assert trying.wait(DEADLINE_S) == 4
    until(lambda: router.waits() == [("taken-back", 43, "collector")], "taken back")
    assert running.stop() == 0
    running = lab.start_filter(router.out)
    scene.collector.start()
    until(lambda: scene.send().returncode == 0, "not sent")
    until(lambda: not router.waits(), "the spool is not empty")
    assert router.fetch() == 2  # it is not tried again, and nothing is reported of that

    # In the first heartbeat after the restart is what is in force.
    until(lambda: [event["kind"] for event in scene.waiting()] == ["heartbeat"], "no heartbeat", 90.0)
    router.sent()
    until(lambda: "heartbeat" in [event["kind"] for event in scene.collector.stored().values()], "not stored")
    events = list(scene.collector.stored().values())
    documents = [(event["result"], event.get("doc")) for event in events if event["kind"] == "document"]
    assert documents == [
        ("applied", digest_of(good)), ("refused", digest_of(tampered)), ("taken-back", digest_of(worse)),
    ]  # fmt: skip
    (beat,) = [event for event in events if event["kind"] == "heartbeat"]
    assert beat["docs"] == [{"type": "policy", "doc": digest_of(good), "number": 41}]
    assert [(row["type"], row["sequence"], row["result"], row["why"]) for row in router.stored("router_document")] == [
        ("policy", 41, "applied", None), ("", None, "refused", "signature"), ("policy", 43, "taken-back", "collector"),
    ]  # fmt: skip
    (in_force,) = [row for row in router.stored("router_in_force") if row["digest"]]
    assert (in_force["router"], in_force["digest"]) == ("cpe-0001", digest_of(good))

    status = json.loads(router.policy("status", "--json"))
    assert status["documents"][0]["in_force"]["sequence"] == 41
    assert [one["result"] for one in status["outcomes"]] == ["applied", "refused", "taken-back"]
    assert running.stop() == 0
    for log in (running.log(), scene.collector.log.read_text()):
        assert "Traceback" not in log
    assert Path(f"{lab.folder}/flash/state.incidents").exists()  # so a reboot repeats nothing


def _wait_for_web(router: Provisioned) -> None:
    probe = f"import socket; socket.create_connection(('{COLLECTOR}', {WEB}), 1)"
    until(lambda: router.lab.run("router", [PYTHON, "-c", probe], check=False).returncode == 0, "no web server")
