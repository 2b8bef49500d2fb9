"""Exim 4 in a box. Its main log says what happened: `logwrite` of its ACLs, its own `rejected` and `<=` lines."""

from __future__ import annotations

import re
from typing import Any

from tests.lab.mtas import Certificate, Mta, Sessions, transaction


class Exim(Mta):
    """Exim 4."""

    name = "exim"
    _COMMON = """
primary_hostname = {name}
qualify_domain = home.example
log_file_path = /var/log/exim-%s
log_selector = +pid +incoming_interface +incoming_port +received_recipients +smtp_connection +tls_cipher
spool_directory = /var/spool/exim4
host_lookup =
print_topbitchars
rfc1413_query_timeout = 0s
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
keep_environment =
add_environment = <; PATH=/bin:/usr/bin
"""
    _SERVER = """
daemon_smtp_ports = 25
local_interfaces = <; {ip}
acl_smtp_helo = asked_helo
acl_smtp_mail = asked_mail
acl_smtp_rcpt = asked_rcpt
acl_smtp_data = at_end
{tls}
begin acl
asked_helo:
  accept logwrite = asked [$sender_host_address]:$sender_host_port tls=$tls_in_cipher helo=<$sender_helo_name>
asked_mail:
  warn logwrite = asked [$sender_host_address]:$sender_host_port mail=<$sender_address>
  deny senders = spammer@home.example
    message = we know you
  accept
asked_rcpt:
  warn logwrite = asked [$sender_host_address]:$sender_host_port rcpt=<$local_part@$domain>
  deny local_parts = nobody
    message = User unknown in virtual mailbox table
  defer local_parts = later
    message = Greylisted for 300 seconds
  accept
at_end:
  deny senders = bulk@home.example
    message = this message is not wanted
  accept
begin routers
all:
  driver = accept
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = /var/mail/in
  maildir_format
  user = mail
  group = mail
"""
    _SERVER_TLS = """
tls_advertise_hosts = *
tls_certificate = /etc/ssl/box.crt
tls_privatekey = /etc/ssl/box.key
"""
    _CLIENT = """
tls_advertise_hosts =
begin acl
begin routers
out:
  driver = manualroute
  route_list = * "{to}"
  transport = smtp
begin transports
smtp:
  driver = smtp
  {tls}
begin retry
* * F,1h,15m
"""

    #: Its own home's mail (bounces) is taken and thrown away.
    _CLIENT_BY_MX = """
tls_advertise_hosts =
begin acl
begin routers
home:
  driver = redirect
  domains = home.example
  data = :blackhole:
out:
  driver = dnslookup
  transport = smtp
begin transports
smtp:
  driver = smtp
begin retry
* * F,1h,15m
"""

    def serve(self, ip: str, certificate: Certificate | None) -> None:
        self.ip = ip
        tls = "tls_advertise_hosts ="
        if certificate:
            self._certificate(certificate, "Debian-exim")
            tls = self._SERVER_TLS
        self._configure(self._COMMON.format(name="mx.exim.example") + self._SERVER.format(ip=ip, tls=tls))
        self.box.start(["exim4", "-bdf", "-q30m"])
        self._wait("var/log/exim-main", "daemon started")

    def send_through(self, to: str, tls: bool, together: bool) -> None:
        text = self._COMMON.format(name="exim.home.example")
        host = to.replace(":", "::")  # a colon separates hosts
        self._configure(text + self._CLIENT.format(to=host, tls="" if tls else "hosts_avoid_tls = *"))

    def send_by_mx(self, resolver: str) -> None:
        """Gets ready to send to each domain's MX, as this resolver knows it; by STARTTLS where it is offered."""
        self.box.write("etc/resolv.conf", f"nameserver {resolver}\n")
        self._configure(self._COMMON.format(name="mail.home.example") + self._CLIENT_BY_MX)

    def deliver(self, sender: str, recipients: list[str], text: str) -> None:
        """Takes a message from a local user and tries each of its recipients once before it returns."""
        self.box.run(["exim4", "-odf", "-oi", "-f", sender, "--", *recipients], text)

    def _configure(self, text: str) -> None:
        self.box.write("etc/exim4/exim4.conf", text)
        self.box.folder("var/spool/exim4", "Debian-exim")

    def submit(self, sender: str, recipients: list[str], text: str) -> None:
        self.box.run(["exim4", "-odq", "-oi", "-f", sender or "<>", "--", *recipients], text)

    def idle(self) -> bool:
        """Runs the queue to its end, in two stages so that messages share a connection."""
        self.box.run(["exim4", "-qq"])
        return not self.box.run(["exim4", "-bpc"]).strip().strip("0") or "defer" in self.box.read("var/log/exim-main")

    def sessions(self) -> tuple[Sessions, int]:
        ended: Sessions = []
        running: dict[str, dict[str, Any]] = {}
        for line in self.box.read("var/log/exim-main").splitlines():
            peer = re.search(r"(\[[0-9a-f.:]+\]:\d+)", line)
            if not peer:
                continue
            if "TCP/IP connection count" in line:
                running[peer[1]] = {"server": self.ip, "helo": None, "tls": False, "transactions": []}
            elif " SMTP connection from " in line:  # closed, lost, or dropped
                ended.append(running.pop(peer[1]))
            elif peer[1] in running:
                self._line(running[peer[1]], line)
        return ended, len(running)

    def _line(self, session: dict[str, Any], line: str) -> None:
        """One line of the main log about a session."""
        transactions = session["transactions"]
        if found := re.search(r" asked \S+ tls=(\S*) helo=<(.*)>$", line):
            session["tls"] |= bool(found[1])
            session["helo"] = found[2]
        elif found := re.search(r" asked \S+ mail=<(.*)>$", line):
            transactions.append(transaction(found[1]))
        elif found := re.search(r" asked \S+ rcpt=<(.*)>$", line):
            transactions[-1]["rcpt_to"].append(found[1])
            transactions[-1]["recipients_accepted"] += 1
        elif re.search(r" (temporarily )?rejected RCPT ", line):
            transactions[-1]["recipients_accepted"] -= 1
            if not transactions[-1]["recipients_accepted"]:
                transactions[-1]["outcome"] = "rejected"
        elif found := re.search(r" rejected (MAIL|after DATA)", line):
            transactions[-1]["outcome"] = "rejected"
            if found[1] == "MAIL":
                transactions[-1]["rcpt_to"] = None
        elif found := re.search(r" (\S+) <= ", line):
            transactions[-1]["outcome"] = "accepted"
            transactions[-1]["bytes"] = self._delivered(found[1], " K " in line)
