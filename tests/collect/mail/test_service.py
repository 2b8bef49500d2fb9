"""A collector in a process of its own: from a router's report to the message, and from the maildir to the case."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from tests.collect.ca import Authority
from tests.collect.mail.post import KEY
from tests.collect.mail.test_bounce import report as bounce_report
from tests.collect.reports import BOOT, incident
from tests.collect.running import Collector
from tests.lab.net import DEADLINE_S
from tests.ports import free_port


class Relay:
    """Keeps the envelopes that it accepts."""

    def __init__(self) -> None:
        self.accepted: list[tuple[str, list[str]]] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.accepted.append((envelope.mail_from, envelope.rcpt_tos))
        return "250 2.0.0 Ok"


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not until():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_from_a_report_to_a_message_and_back(tmp_path: Path) -> None:
    relay, authority = Relay(), Authority(tmp_path / "ca")
    router, key, maildir = authority.router("r1"), tmp_path / "key", tmp_path / "bounces"
    (tmp_path / "map.csv").write_text("router,subscriber,email,language\nr1,S1,anna@friends.example,de tr\n")
    for name in ("new", "cur", "tmp"):
        (maildir / name).mkdir(parents=True)
    key.write_text("whsec_" + base64.b64encode(KEY).decode())
    key.chmod(0o600)
    controller = Controller(relay, hostname="127.0.0.1", port=free_port())
    controller.start()
    mail = {
        "relay": f"127.0.0.1:{controller.port}", "starttls": "off", "from_address": "notice@isp.example",
        "bounce_address": "bounces@isp.example", "key_file": str(key), "bounce_maildir": str(maildir),
        "automatic": True,
    }  # fmt: skip
    tables: dict[str, dict[str, Any]] = {
        "subscribers": {"file": str(tmp_path / "map.csv")},
        "cases": {"every_s": 1},
        "mail": mail,
    }
    try:
        with Collector(tmp_path / "collector", authority, "run", **tables) as collector:
            wait(lambda: collector.metrics().get('cpe_collector_mail_messages{state="sent"}') == 0)
            time.sleep(2)  # what began before notices were automatic is the desk's
            report = {
                "v": 1,
                "boot": BOOT,
                "up": 5000,
                "t": None,
                "synced": False,
                "pol": "",
                "ver": "0.1.0",
                "dropped": 0,
            }
            answer = collector.post(router, {**report, "events": [incident(1, up=5000, kind="raised")]})
            assert answer.status == 200
            wait(lambda: bool(relay.accepted))
            sender, recipients = relay.accepted[0]
            assert recipients == ["anna@friends.example"]
            message = maildir / "new" / "1"
            message.write_bytes(bounce_report(sender))
            wait(lambda: collector.metrics().get('cpe_collector_mail_total{outcome="bounced"}') == 1)
            wait(lambda: not message.exists())
        assert len(relay.accepted) == 1
        assert "friends.example" not in collector.log.read_text()
    finally:
        controller.stop()
