"""OpenSMTPD 6 or later in a box. The events that it reports to a filter say what happened (smtpd-filters(7))."""

from __future__ import annotations

import time
from typing import Any

from tests.lab.mtas import Certificate, Mta, Sessions, transaction


class OpenSmtpd(Mta):
    """OpenSMTPD 6 or later. Knows neither CHUNKING nor SMTPUTF8."""

    name = "opensmtpd"
    _SERVER = """
{pki}
table sender {{ "spammer@home.example" }}
table bulk {{ "bulk@home.example" }}
table nobody {{ "nobody@friends.example" }}
table later {{ "later@friends.example" }}
table everybody {{ "@" = "mail" }}
filter "senders" phase mail-from match mail-from <sender> reject "550 we know you"
filter "unknown" phase rcpt-to match rcpt-to <nobody> reject "550 User unknown in virtual mailbox table"
filter "grey" phase rcpt-to match rcpt-to <later> reject "450 Greylisted for 300 seconds"
filter "messages" phase commit match mail-from <bulk> reject "554 this message is not wanted"
filter "events" proc-exec "/etc/report"
filter "rules" chain {{ "events", "senders", "unknown", "grey", "messages" }}
listen on {ip} {tls} hostname mx.opensmtpd.example filter "rules"
action "in" maildir "/var/mail/in" virtual <everybody>
match from any for any action "in"
"""
    #: Writes down every event about incoming sessions (smtpd-filters(7)).
    _REPORT = """#!/bin/sh
printf 'register|report|smtp-in|*\\nregister|ready\\n'
exec cat >> /var/log/report
"""
    _CLIENT = """
action "out" relay host "{scheme}://{to}" {verify} helo opensmtpd.home.example
match from any for any action "out"
"""

    def serve(self, ip: str, certificate: Certificate | None) -> None:
        self.ip = ip
        pki = tls = ""
        if certificate:
            self._certificate(certificate)
            pki = 'pki box cert "/etc/ssl/box.crt"\npki box key "/etc/ssl/box.key"'
            tls = "tls pki box"
        self.box.write("etc/report", self._REPORT, 0o755)
        self._start(self._SERVER.format(ip=ip, pki=pki, tls=tls))

    def send_through(self, to: str, tls: bool, together: bool) -> None:
        host = f"[{to}]" if ":" in to else to
        scheme, verify = ("smtp+tls", "tls no-verify") if tls else ("smtp+notls", "")
        self._start(self._CLIENT.format(scheme=scheme, to=host, verify=verify))

    def _start(self, text: str) -> None:
        self.box.write("etc/smtpd.conf", text)
        self.box.write("etc/mailname", "opensmtpd.home.example\n")
        self.box.folder("var/lib/opensmtpd/empty", "root")
        self.box.start(["smtpd", "-d"])
        self._wait("var/log/stderr", "info: OpenSMTPD")
        end = time.monotonic() + 10
        while not (self.box.files / "run/smtpd.sock").exists() and time.monotonic() < end:
            time.sleep(0.05)

    def submit(self, sender: str, recipients: list[str], text: str) -> None:
        self._queue(["sendmail", "-i", "-f", sender, *recipients], text)

    def idle(self) -> bool:
        return all("|pending|" in line and not line.endswith("|") for line in self._queue(["smtpctl", "show", "queue"]))

    def _queue(self, arguments: list[str], given: str = "") -> list[str]:
        """Runs a program that Debian installs setgid, which unpacked it is not."""
        return self.box.run(["setpriv", "--egid=opensmtpq", "--clear-groups", *arguments], given).splitlines()

    def sessions(self) -> tuple[Sessions, int]:
        ended: Sessions = []
        running: dict[str, dict[str, Any]] = {}
        for line in self.box.read("var/log/report").splitlines():
            fields = line.split("|")
            if fields[0] != "report":
                continue
            event, key, rest = fields[4], fields[5], fields[6:]
            if event == "link-connect":
                running[key] = {"server": self.ip, "helo": None, "tls": False, "transactions": []}
            elif event == "link-disconnect":
                ended.append(running.pop(key))
                ended[-1].pop("asked", None)
            elif key in running:
                self._event(running[key], event, rest)
        return ended, len(running)

    def _event(self, session: dict[str, Any], event: str, rest: list[str]) -> None:
        """One event of a session."""
        transactions = session["transactions"]
        if event == "link-identify":
            session["helo"] = rest[1]
        elif event == "link-tls":
            session["tls"] = True
        elif event == "protocol-client" and rest[0].upper().startswith("MAIL FROM:"):
            # A sender that a filter refuses becomes no event of its own.
            session["asked"] = rest[0].partition("<")[2].partition(">")[0]
        elif event == "filter-response" and rest[:2] == ["mail-from", "reject"]:
            transactions.append({**transaction(session["asked"]), "rcpt_to": None, "outcome": "rejected"})
        elif event == "tx-mail":
            transactions.append(transaction(rest[2]))
        elif event == "tx-rcpt":
            transactions[-1]["rcpt_to"].append(rest[2])
            transactions[-1]["recipients_accepted"] += rest[1] == "ok"
            transactions[-1]["outcome"] = "aborted" if transactions[-1]["recipients_accepted"] else "rejected"
        elif event == "tx-data" and rest[1] != "ok":
            transactions[-1]["outcome"] = "rejected"
        elif event == "tx-commit":
            transactions[-1]["outcome"] = "accepted"
            transactions[-1]["bytes"] = self._delivered(rest[0], chunked=False)
