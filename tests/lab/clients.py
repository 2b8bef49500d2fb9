"""Mail programs of people and scripts as peers: how swaks, msmtp, curl and Python's smtplib are called for a letter.

They run on the lab's laptop. A refused letter is not an error here: the servers' logs have the outcome.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

from tests.lab.net import PYTHON, Lab
from tests.lab.servers import Ruled

HOME = "device1"
USER, PASSWORD = Ruled.USER.decode(), Ruled.PASSWORD.decode()


class Letter(NamedTuple):
    """A message to send. size: bytes of padding."""

    sender: str
    recipients: tuple[str, ...]
    size: int = 0

    def text(self) -> str:
        """The message, lines end in LF; it has lines that begin with dots."""
        padding = "A line of padding, seventy-two letters long with its end, more or less.\n" * (self.size // 72)
        return (
            f"Date: Thu, 01 Jan 2026 12:00:00 +0000\nMessage-ID: <{crc32(repr(self).encode()):08x}@home.example>\n"
            f"From: {self.sender or USER + '@home.example'}\nTo: {', '.join(self.recipients)}\n"
            "Subject: a letter\n\nHello,\n.a line that begins with a dot,\n..\n.\nand the last but one.\n"
            f"{padding}.end\n"
        )


class Want(NamedTuple):
    """What a scenario asks of a client."""

    to: str
    tls: bool = False
    auth: str = ""
    utf8: bool = False
    together: bool = False  # in one connection
    pipelining: bool = False


def swaks(lab: Lab, want: Want, letter: Letter, on: str = HOME) -> None:
    program = ["swaks", "--server", want.to, "--port", "25", "--helo", "swaks.home.example", "--data", "-"]
    program += ["-6"] if ":" in want.to else []
    program += ["--tls"] if want.tls else []
    program += ["--pipeline"] if want.pipelining else []
    if want.auth:
        program += ["--auth", want.auth, "--auth-user", USER, "--auth-password", PASSWORD]
    program += ["--from", letter.sender or "<>", "--to", ",".join(letter.recipients)]
    lab.run(on, program, letter.text(), check=False)


def msmtp(lab: Lab, want: Want, letter: Letter, on: str = HOME) -> None:
    program = ["msmtp", f"--host={want.to}", "--port=25", "--domain=msmtp.home.example", f"--from={letter.sender}"]
    program += ["--tls=on", "--tls-starttls=on", "--tls-certcheck=off"] if want.tls else ["--tls=off"]
    if want.auth:
        # The password comes from a file: a program's arguments are for everybody to see.
        secret = lab.folder / "secret"
        secret.write_text(PASSWORD + "\n")
        program += [f"--auth={want.auth.lower()}", f"--user={USER}", f"--passwordeval=cat {secret}"]
    lab.run(on, [*program, "--", *letter.recipients], letter.text(), check=False)


def curl(lab: Lab, want: Want, letter: Letter, on: str = HOME) -> None:
    host = f"[{want.to}]" if ":" in want.to else want.to
    program = ["curl", "-sS", "--crlf", "--url", f"smtp://{host}/curl.home.example", "--upload-file", "-"]
    program += ["--ssl-reqd", "--insecure"] if want.tls else []
    program += ["--user", f"{USER}:{PASSWORD}", "--login-options", f"AUTH={want.auth}"] if want.auth else []
    program += ["--mail-from", letter.sender, "--mail-rcpt-allowfails"]
    for recipient in letter.recipients:
        program += ["--mail-rcpt", recipient]
    lab.run(on, program, letter.text(), check=False)


def smtplib(lab: Lab, want: Want, letters: tuple[Letter, ...]) -> None:
    """All letters in one connection."""
    program = [PYTHON, "-m", "tests.lab.letters", want.to, "--helo", "smtplib.home.example"]
    program += ["--starttls"] if want.tls else []
    program += ["--auth", want.auth, "--user", USER] if want.auth else []
    program += ["--utf8"] if want.utf8 else []
    given = [PASSWORD, *([letter.sender, letter.recipients, letter.text()] for letter in letters)]
    lab.run(HOME, program, json.dumps(given), check=False)


ONE_BY_ONE: dict[str, Callable[[Lab, Want, Letter], None]] = {"swaks": swaks, "msmtp": msmtp, "curl": curl}
