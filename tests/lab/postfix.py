"""Postfix 3 in a box. Its log says what happened: INFO of its access maps, `reject:` of smtpd and cleanup, qmgr."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.lab.mtas import Certificate, Mta, Sessions, transaction


class Postfix(Mta):
    """Postfix 3."""

    name = "postfix"
    _MASTER = """
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
discard unix - - n - - discard
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
    _COMMON = """
compatibility_level = 3.6
maillog_file = /var/log/postfix.log
maillog_file_prefixes = /var
myhostname = {name}
mydestination =
mynetworks =
alias_maps =
inet_protocols = all
inet_interfaces = all
biff = no
"""
    _SERVER = """
smtpd_peername_lookup = no
smtpd_client_connection_rate_limit = 0
smtpd_delay_reject = no
smtpd_relay_restrictions = reject_unauth_destination
smtpd_helo_restrictions = check_helo_access static:{{INFO asked}}
smtpd_sender_restrictions = check_sender_access static:{{INFO asked}}, check_sender_access texthash:/etc/postfix/senders
smtpd_recipient_restrictions =
    check_recipient_access static:{{INFO asked}}, check_recipient_access texthash:/etc/postfix/recipients, permit
header_checks = regexp:/etc/postfix/headers
nested_header_checks =
virtual_mailbox_domains = static:all
virtual_mailbox_base = /var/mail
virtual_mailbox_maps = static:in/
virtual_uid_maps = static:8
virtual_gid_maps = static:8
virtual_minimum_uid = 1
"""
    _SERVER_TLS = """
smtpd_tls_security_level = may
smtpd_tls_cert_file = /etc/ssl/box.crt
smtpd_tls_key_file = /etc/ssl/box.key
smtpd_tls_loglevel = 1
"""
    _CLIENT = """
relayhost = [{to}]
smtp_host_lookup = native
smtp_dns_support_level = disabled
smtp_tls_security_level = {tls}
"""
    #: Its own home's mail (bounces) is taken and thrown away. A home's patience is the lab's: seconds for minutes.
    _CLIENT_BY_MX = """
transport_maps = inline:{ home.example=discard: }
smtp_tls_security_level = may
smtp_connect_timeout = 3s
minimal_backoff_time = 5s
maximal_backoff_time = 5s
queue_run_delay = 3s
"""
    _CLIENT_TOGETHER = """
smtp_destination_concurrency_limit = 1
smtp_connection_cache_destinations = {to}
"""

    def serve(self, ip: str, certificate: Certificate | None) -> None:
        self.ip = ip
        text = self._COMMON.format(name="mx.postfix.example") + self._SERVER.format(ip=ip)
        if certificate:
            self._certificate(certificate)
            text += self._SERVER_TLS
        self.box.write("etc/postfix/senders", "spammer@home.example REJECT we know you\n")
        # Not smtpd_end_of_data_restrictions: after these the next MAIL is a "nested" one to Postfix, and not logged.
        self.box.write("etc/postfix/headers", "/^From: bulk@home.example$/ REJECT this message is not wanted\n")
        self.box.write(
            "etc/postfix/recipients",
            "nobody@friends.example 550 5.1.1 User unknown in virtual mailbox table\n"
            "later@friends.example 450 4.2.0 Greylisted for 300 seconds\n",
        )
        self._start(text, f"[{ip}]:smtp inet n - n - - smtpd\n")

    def send_through(self, to: str, tls: bool, together: bool) -> None:
        host = f"ipv6:{to}" if ":" in to else to
        text = self._COMMON.format(name="postfix.home.example")
        text += self._CLIENT.format(to=host, tls="may" if tls else "none")
        self._start(text + (self._CLIENT_TOGETHER.format(to=host) if together else ""))

    def hold_by_mx(self, resolver: str) -> None:
        """Gets ready to send to each domain's MX, as this resolver knows it, but keeps all mail until `flush`."""
        self.box.write("etc/resolv.conf", f"nameserver {resolver}\n")
        self._start(self._by_mx() + "defer_transports = smtp\n")

    def flush(self) -> None:
        """Lets the queue go, all of it at once."""
        self.box.write("etc/postfix/main.cf", self._by_mx())
        self.box.run(["postfix", "reload"])
        self.box.run(["postqueue", "-f"])

    def _by_mx(self) -> str:
        return self._COMMON.format(name="mail.home.example") + self._CLIENT_BY_MX

    def queue(self) -> list[tuple[str, str]]:
        """What is queued: (queue, recipient)."""
        messages = [json.loads(line) for line in self.box.run(["postqueue", "-j"]).splitlines()]
        return [(one["queue_name"], recipient["address"]) for one in messages for recipient in one["recipients"]]

    def _start(self, main: str, listen: str = "") -> None:
        self.box.write("etc/postfix/main.cf", main)
        self.box.write("etc/postfix/master.cf", self._MASTER + listen)
        self.box.folder("var/lib/postfix", "postfix")
        self.box.start(["postfix", "start-fg"])
        self._wait("var/log/postfix.log", "daemon started")

    def submit(self, sender: str, recipients: list[str], text: str) -> None:
        self.box.run(["sendmail", "-i", "-f", sender, *recipients], text)

    def idle(self) -> bool:
        queue = self.box.run(["postqueue", "-j"])
        return '"deferred"' in queue or not (queue.strip() or list(self.box.files.glob("var/spool/postfix/maildrop/*")))

    def sessions(self) -> tuple[Sessions, int]:
        ended: Sessions = []
        running: dict[str, dict[str, Any]] = {}
        queued: dict[str, dict[str, Any]] = {}
        for line in self.box.read("var/log/postfix.log").splitlines():
            found = re.search(r" postfix/(\w+)\[(\d+)\]: (.*)", line)
            if not found:
                continue
            service, pid, text = found.groups()
            if service == "qmgr" and (taken := re.match(r"(\w+): from=<", text)) and taken[1] in queued:
                queued[taken[1]]["outcome"] = "accepted"
            if service == "cleanup" and (refused := re.match(r"(\w+): reject: ", text)) and refused[1] in queued:
                queued[refused[1]]["outcome"] = "rejected"
            if service != "smtpd":
                continue
            if text.startswith("connect from"):
                running[pid] = {"server": self.ip, "helo": None, "tls": False, "transactions": []}
            elif text.startswith("disconnect from"):
                session = running.pop(pid)
                session["chunked"] = " bdat=" in text
                ended.append(session)
            elif pid in running:
                self._line(running[pid], queued, text)
        for session in ended:
            chunked = session.pop("chunked")
            for t in session["transactions"]:
                queue_id = t.pop("id", "")
                if t["outcome"] == "accepted":
                    t["bytes"] = self._delivered(queue_id, chunked)
        return ended, len(running)

    @staticmethod
    def _line(session: dict[str, Any], queued: dict[str, dict[str, Any]], text: str) -> None:
        """One line of smtpd within a session."""
        if "TLS connection established" in text:
            session["tls"] = True
        transactions = session["transactions"]
        if found := re.match(r"(\w+): client=", text):
            queued[found[1]] = transactions[-1]
            transactions[-1]["id"] = found[1]
        found = re.match(r"\w+: (info|reject): (\S+) from .* helo=<(.*)>$", text)
        if not found:
            return
        what, verb, session["helo"] = found.groups()
        mail_from, rcpt_to = (re.search(rf" {key}=<(.*?)>[ ;]", text) for key in ("from", "to"))
        if what == "info" and verb == "MAIL" and mail_from:
            transactions.append(transaction(mail_from[1]))
        elif what == "info" and verb == "RCPT" and rcpt_to:
            transactions[-1]["rcpt_to"].append(rcpt_to[1])
            transactions[-1]["recipients_accepted"] += 1
        elif what == "reject":
            transactions[-1]["recipients_accepted"] -= verb == "RCPT"
            if verb == "MAIL":
                transactions[-1]["rcpt_to"] = None
            if verb != "RCPT" or not transactions[-1]["recipients_accepted"]:
                transactions[-1]["outcome"] = "rejected"
