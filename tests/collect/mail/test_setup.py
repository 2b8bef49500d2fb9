"""[mail] in the configuration, the check of its files, and the command that takes bounces."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.config.file import ConfigError, build
from cpe_filter.collect.mail import setup, token
from cpe_filter.collect.store.sqlite import SQLite
from tests.collect.mail.post import KEY, Post
from tests.collect.mail.test_bounce import report
from tests.collect.running import toml
from tests.lab.net import DEADLINE_S, PROJECT

LISTEN = {"certificate": "/c", "key": "/k", "client_ca": "/a"}
GOOD = {"relay": "smtp.isp.example:587", "from_address": "notice@isp.example"}


def config(**mail: Any) -> Any:
    return build({"listen": LISTEN, "mail": {**GOOD, **mail}}, "f")


@pytest.mark.parametrize(
    ("mail", "said"),
    [
        ({"relay": "smtp.isp.example"}, r"f: \[mail\] relay is .*; allowed: smtp.isp.example:587"),
        ({"relay": "smtp.isp.example:0"}, r"relay is"),
        ({"relay": "a b:25"}, r"relay is"),
        ({"relay": "2001:db8::1:25"}, r"relay is"),
        ({"starttls": "maybe"}, r'starttls is "maybe"; allowed: required, opportunistic, off'),
        ({"from_address": ""}, r"from_address is missing"),
        ({"from_address": "notice"}, r'from_address is "notice"; allowed: an e-mail address'),
        ({"from_address": "a@b.example\r\nBcc: c@d.example"}, r"from_address is"),
        ({"reply_to": "jörg@b.example"}, r"reply_to is"),
        ({"user": "u"}, r"user and password_file go together"),
        ({"user": "u", "password_file": "/p", "starttls": "opportunistic"}, r"the password would be readable"),
        ({"security": "ssl"}, r'security is "ssl"; allowed: starttls, tls'),
        ({"relay": "smtp.isp.example:465"}, r'port 465, where TLS begins at once .*; set security = "tls"'),
        ({"security": "tls", "starttls": "opportunistic"}, r'starttls is "opportunistic", but security = "tls"'),
        ({"security": "tls", "starttls": "off"}, r'starttls is "off", but security = "tls"'),
        ({"bounce_address": "b@isp.example"}, r"bounce_address and key_file go together"),
        ({"bounce_maildir": "/m"}, r"bounce_maildir needs bounce_address"),
        ({"bounce_address": f"{'b' * 32}@isp.example", "key_file": "/k"}, r"more than 31 characters"),
        ({"quiet_hours": "21-7"}, r'quiet_hours is "21-7"; allowed: 21:00-07:00'),
        ({"quiet_hours": "24:00-07:00"}, r"quiet_hours is"),
        ({"second_language": "fr"}, r'second_language is "fr"; allowed: en, nl, de, tr, or empty'),
        ({"per_day": 0}, r"per_day is 0"),
        ({"relay": "", "automatic": True}, r"automatic needs relay"),
    ],
)
def test_errors(mail: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(**mail)


@pytest.mark.parametrize("relay", ["smtp.isp.example:587", "192.0.2.1:25", "[2001:db8::1]:25", "localhost:2525"])
def test_relays(relay: str) -> None:
    terms = setup.relay_terms(config(relay=relay))
    assert f"{terms.host}:{terms.port}" == relay.replace("[", "").replace("]", "")
    assert terms.hello == "isp.example"


def test_tls_at_once() -> None:
    terms = setup.relay_terms(config(relay="smtp.isp.example:465", security="tls"))
    assert terms.tls_at_once
    assert terms.context.check_hostname
    assert not setup.relay_terms(config()).tls_at_once


def test_bounds() -> None:
    bounds = setup.bounds(config(quiet_hours="21:30-07:00", automatic=True, give_up_hours=1))
    assert (bounds.automatic, bounds.quiet, bounds.give_up_s) == (True, (1290, 420), 3600)
    assert setup.bounds(config()).quiet == (0, 0)


def run(path: Path, what: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cpe_filter", "collector", "--config", str(path), what]
    return subprocess.run(command, input=given, capture_output=True, cwd=PROJECT, timeout=DEADLINE_S)


def test_the_command_takes_a_bounce(tmp_path: Path) -> None:
    key, store_path, path = tmp_path / "key", tmp_path / "collector.db", tmp_path / "collector.toml"
    key.write_text("whsec_" + base64.b64encode(KEY).decode())
    key.chmod(0o600)
    mail = {**GOOD, "bounce_address": "bounces@isp.example", "key_file": str(key)}
    tables = {"listen": LISTEN, "store": {"path": str(store_path)}, "mail": mail}
    path.write_text(toml(tables))

    async def sent() -> str:
        store = SQLite(str(store_path))
        await store.open()
        post = Post(store, automatic=False)
        await post.report("raised", 60)
        await post.asked()
        await post.step(61)
        await store.close()
        return post.sent[0].sender

    async def state() -> str:
        store = SQLite(str(store_path))
        await store.open()
        rows = await store.read("SELECT c.state FROM desk_case c JOIN desk_mail m ON m.case_id = c.id")
        await store.close()
        return str(rows[0]["state"])

    sender = asyncio.run(sent())
    assert asyncio.run(state()) == "notified"
    # A forged one, and one that is none: taken, and nothing changes.
    forged = token.address("bounces@isp.example", bytes(32), "0" * 20)
    for raw in (report(forged), b"", b"hello\n" * 200_000):
        done = run(path, "bounce", raw)
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert asyncio.run(state()) == "notified"
    done = run(path, "bounce", report(sender) + b"x" * 2_000_000)
    assert done.returncode == 0, done.stderr
    assert b"secret@" not in done.stderr
    assert asyncio.run(state()) == "open"
    path.write_text(toml({**tables, "store": {"path": str(tmp_path / "none" / "collector.db")}}))
    assert run(path, "bounce", report(sender)).returncode == 75
    key.chmod(0o644)
    done = run(path, "bounce", report(sender))
    assert done.returncode in (2, 75)
    path.write_text(toml({**tables, "mail": GOOD}))
    done = run(path, "bounce", b"")
    assert done.returncode in (2, 75)
