"""A real Postfix as the relay, with STARTTLS and AUTH, and the bounce that it writes: in the case.

Postfix runs in a box on a host of the lab; connections are opened in that host's namespace. The password is checked by
Dovecot's protocol, of which this file has the few lines that Postfix asks.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email
import email.policy
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cpe_filter.collect.mail import bounce, message, relay
from cpe_filter.collect.store.base import Store
from tests.collect.ca import Authority
from tests.collect.desks import WithStore
from tests.collect.mail.post import KEY, TERMS, Post, subscriber
from tests.conftest import LIVE_REQUIRED
from tests.lab import boxes
from tests.lab.net import DEADLINE_S, Lab, why_not
from tests.lab.netns import inside
from tests.lab.postfix import Postfix

pytestmark = pytest.mark.live

HOST, PORT = "device1", 2525
USER, PASSWORD = "cpe-filter", "correct horse"
_MAIN = """
smtpd_peername_lookup = no
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_cert_file = /etc/ssl/box.crt
smtpd_tls_key_file = /etc/ssl/box.key
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_relay_restrictions = permit_sasl_authenticated, reject
recipient_delimiter = +
virtual_mailbox_domains = isp.example, friends.example
virtual_mailbox_base = /var/mail
virtual_mailbox_maps = inline:{
    { s1@friends.example = in/ } { gone@friends.example = in/ } { bounces@isp.example = bounces/ } }
virtual_uid_maps = static:8
virtual_gid_maps = static:8
virtual_minimum_uid = 1
transport_maps = inline:{ { gone@friends.example = smtp:[127.0.0.1]:2526 } }
smtp_host_lookup = native
smtp_dns_support_level = disabled
"""


#: The other side's mail server, which refuses at RCPT: so the bounce is the relay's.
_OTHER = """[127.0.0.1]:2526 inet n - n - - smtpd
  -o myhostname=mx.friends.example
  -o smtpd_relay_restrictions=permit
  -o smtpd_recipient_restrictions=check_recipient_access,texthash:/etc/postfix/gone,reject
"""


#: As at port 465.
_AT_ONCE = f"[127.0.0.1]:{PORT + 3} inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n"


class _Server:
    """Certificate and key as the box takes them."""

    def __init__(self, authority: Authority) -> None:
        pair = authority.server("127.0.0.1")
        self.cert, self.key = pair.certificate.read_text(), pair.key.read_text()


class Relay(Postfix):
    """Accepts mail of `USER` alone."""

    def start(self, authority: Authority) -> None:
        self._certificate(_Server(authority))
        self.box.write("etc/postfix/gone", "gone@friends.example 550 5.1.1 This mailbox is gone\n")
        listen = f"[127.0.0.1]:{PORT} inet n - n - - smtpd\n{_AT_ONCE}{_OTHER}"
        self._start(self._COMMON.format(name="relay.isp.example") + _MAIN, listen)
        self._serve_logins()

    def _serve_logins(self) -> None:
        folder = self.box.files / "var/spool/postfix/private"
        listener = socket.socket(socket.AF_UNIX)
        place = os.open(folder, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{place}/auth")  # the whole path may be too long for a socket
        os.chmod(folder / "auth", 0o666)  # noqa: S103
        os.close(place)
        listener.listen()
        threading.Thread(target=self._logins, args=(listener,), daemon=True).start()

    @staticmethod
    def _logins(listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_login, args=(connection,), daemon=True).start()

    def delivered(self, mailbox: str) -> list[bytes]:
        folder = self.box.files / "var/mail" / mailbox / "new"
        files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns) if folder.is_dir() else []
        return [file.read_bytes() for file in files]


def _login(connection: socket.socket) -> None:
    good = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    with connection, connection.makefile("rw") as lines:
        lines.write("VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t" + "0" * 32 + "\nDONE\n")
        lines.flush()
        for line in lines:
            words = line.rstrip("\n").split("\t")
            if words[0] == "AUTH":
                is_good = words[-1] == f"resp={good}"
                lines.write(f"OK\t{words[1]}\tuser={USER}\n" if is_good else f"FAIL\t{words[1]}\n")
                lines.flush()


@pytest.fixture(scope="module")
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Relay, relay.Terms]]:
    reason = why_not()
    if reason:
        (pytest.fail if LIVE_REQUIRED and os.geteuid() == 0 else pytest.skip)(reason)
    missing = next((text for text in boxes.missing() if text.startswith("postfix ")), "")
    if missing:
        pytest.skip(f"{missing}: make peers gets it")
    authority = Authority(tmp_path_factory.mktemp("ca"))
    context = ssl.create_default_context(cafile=str(authority.certificate))
    terms = relay.Terms("127.0.0.1", PORT, "required", context, "isp.example", USER, PASSWORD, 30)
    with Lab(devices=1) as lab:
        mta = Relay(lab, HOST)
        with contextlib.closing(mta):
            mta.start(authority)
            yield mta, terms


def send(mta: Relay, terms: relay.Terms, envelope: message.Envelope) -> relay.Result:
    with inside(mta.box.lab.namespace(HOST)):
        return relay.send(terms, envelope)


def envelope(to: str = "s1@friends.example") -> message.Envelope:
    return message.Envelope("notice@isp.example", to, b"Subject: x\r\n\r\n.\r\nx\r\n", not to.isascii())


def test_refusals_of_a_real_relay(postfix: tuple[Relay, relay.Terms]) -> None:
    mta, terms = postfix
    found = send(mta, terms, envelope("nobody@friends.example"))
    assert (found.outcome, found.status) == ("refused", "5.1.1")
    assert "nobody" not in found.why
    found = send(mta, replace(terms, password="wrong"), envelope())
    assert (found.outcome, found.why) == ("unavailable", "the relay refused the login")
    # Postfix offers AUTH by TLS only; without a login it relays nothing.
    found = send(mta, replace(terms, starttls="off"), envelope())
    assert (found.outcome, found.why) == ("unavailable", "the relay does not offer AUTH")
    found = send(mta, replace(terms, starttls="off", user=""), envelope())
    assert found.outcome == "refused"
    found = send(mta, replace(terms, context=ssl.create_default_context()), envelope())
    assert found.outcome == "unavailable"
    assert found.why.startswith("certificate of the relay: ")
    found = send(mta, replace(terms, port=PORT + 2), envelope())
    assert found.outcome == "unavailable"


def test_tls_at_once(postfix: tuple[Relay, relay.Terms]) -> None:
    mta, starttls = postfix
    terms = replace(starttls, port=PORT + 3, tls_at_once=True)
    before = len(mta.delivered("in"))
    assert send(mta, terms, envelope()) == relay.Result("accepted", "2.0.0", "")
    end = time.monotonic() + DEADLINE_S
    while len(mta.delivered("in")) == before:
        assert time.monotonic() < end, mta.box.read("var/log/postfix.log")
        time.sleep(0.1)
    mail = email.message_from_bytes(mta.delivered("in")[-1], policy=email.policy.default)
    assert any("ESMTPSA" in line for line in mail.get_all("Received", []))
    found = send(mta, replace(terms, password="wrong"), envelope())
    assert (found.outcome, found.why) == ("unavailable", "the relay refused the login")
    # A certificate that cannot be verified, or of another name: nothing is sent, the password least of all.
    found = send(mta, replace(terms, context=ssl.create_default_context()), envelope())
    assert found.outcome == "unavailable"
    assert found.why.startswith("certificate of the relay: ")
    found = send(mta, replace(terms, host="localhost"), envelope())
    assert (found.outcome, found.why[:24]) == ("unavailable", "certificate of the relay")
    # The wrong way at either port ends in time, and no message is blamed.
    for wrong in (replace(terms, port=PORT, timeout_s=3.0), replace(starttls, port=PORT + 3, timeout_s=3.0)):
        found = send(mta, wrong, envelope())
        assert (found.outcome, found.status) == ("unavailable", None), found


def test_delivered_and_returned(postfix: tuple[Relay, relay.Terms], with_store: WithStore) -> None:
    mta, terms = postfix

    async def work(store: Store) -> None:
        before = len(mta.delivered("bounces"))
        post = Post(store, subscriber(), subscriber("r2", "S2", email="gone@friends.example"), per_case=3)
        post.sender._relay = lambda one: send(mta, terms, one)
        await post.step()
        await post.report("raised", 60)
        await post.report("raised", 60, router="r2")
        assert await post.step(61) == 2
        assert await post.states() == ["sent", "sent"]
        end = time.monotonic() + DEADLINE_S
        while len(mta.delivered("bounces")) == before:
            assert time.monotonic() < end, mta.box.read("var/log/postfix.log")
            await asyncio.sleep(0.1)
        mail = email.message_from_bytes(mta.delivered("in")[-1], policy=email.policy.default)
        assert mail["To"] == "s1@friends.example"
        assert mail["Return-Path"].startswith("<bounces+")
        assert "ESMTPSA" in mail["Received"]  # S: TLS, A: AUTH (RFC 3848)
        assert "Türkçe metin aşağıdadır." in mail.get_content()
        maildir = bounce.Maildir(
            str(mta.box.files / "var/mail/bounces"), store, TERMS.bounce_address, KEY, post.metrics
        )
        assert await maildir.step(int(post.now) + 1) == 1
        rows = await store.read(
            "SELECT c.subscriber, c.state, m.state AS mail, m.status FROM desk_case c"
            " JOIN desk_mail m ON m.case_id = c.id ORDER BY 1"
        )
        assert [tuple(row.values()) for row in rows] == [
            ("S1", "notified", "sent", "2.0.0"),
            ("S2", "open", "bounced", "5.1.1"),
        ]

    with_store(work)
