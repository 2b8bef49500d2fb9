"""Submission servers of the lab's Internet, and a program that logs in at them: real TLS, no mail.

Knows just enough SMTP for EHLO, STARTTLS, AUTH and a message. Password `right` is taken, every other one refused.

    python -m tests.lab.submission serve FOLDER         on all addresses, ports 465, 587 and 2525; "ready" when it is
    python -m tests.lab.submission login PASSWORD HOST:PORT...   a message follows where the password is taken
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

PORTS = (465, 587, 2525)


def certificate(folder: Path) -> Path:
    """A self-signed one with its key, in one file."""
    made = folder / "submission.pem"
    if not made.exists():
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=mx.example"]
        subprocess.run([*words, "-keyout", str(made), "-out", f"{made}.crt"], check=True, capture_output=True)
        made.write_text(made.read_text() + Path(f"{made}.crt").read_text())
    return made


def serve(folder: Path) -> None:
    """Never returns."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(folder))
    listeners = []
    for port in PORTS:
        listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        listeners.append(threading.Thread(target=_accept, args=(listener, port, context)))
        listeners[-1].start()
    print("ready", flush=True)


def _accept(listener: socket.socket, port: int, context: ssl.SSLContext) -> None:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_session, args=(client, port, context), daemon=True).start()


def _session(client: socket.socket, port: int, context: ssl.SSLContext) -> None:
    try:
        if port == 465:
            client = context.wrap_socket(client, server_side=True)
        client.sendall(b"220 mx.example ESMTP\r\n")
        lines = client.makefile("rb")
        while line := lines.readline(2048):
            word = line[:4].upper()
            if word == b"STAR":
                client.sendall(b"220 go on\r\n")
                client = context.wrap_socket(client, server_side=True)
                lines = client.makefile("rb")
            elif word == b"EHLO":
                client.sendall(b"250-mx.example\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")
            elif word == b"AUTH":
                client.sendall(b"235 welcome\r\n" if line.rstrip().endswith(b"AHJpZ2h0") else b"535 5.7.8 no\r\n")
            elif word == b"DATA":
                client.sendall(b"354 go on\r\n")
                while lines.readline(2048) not in (b".\r\n", b""):
                    pass
                client.sendall(b"250 taken\r\n")
            elif word == b"QUIT":
                client.sendall(b"221 bye\r\n")
                break
            else:
                client.sendall(b"250 ok\r\n")
    except OSError:
        pass
    client.close()


def login(password: str, places: list[str]) -> None:
    """Prints a line for each place: sent, refused, or the error's name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for place in places:
        host, _, port = place.rpartition(":")
        try:
            if port == "465":
                server: smtplib.SMTP = smtplib.SMTP_SSL(host, 465, "laptop", timeout=3, context=context)
            else:
                server = smtplib.SMTP(host, int(port), "laptop", timeout=3)
                server.starttls(context=context)
            with server:
                server.login("alice@example.com", password)
                server.sendmail("alice@example.com", "bob@example.net", "Subject: hello\r\n\r\n" + "word " * 200)
            print("sent", flush=True)
        except smtplib.SMTPAuthenticationError:
            print("refused", flush=True)
        except OSError as error:
            print(type(error).__name__, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]))
    else:
        login(sys.argv[2], sys.argv[3:])
