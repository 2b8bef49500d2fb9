"""Real peers: every client writes to every server, through the home's router, and what the servers logged of it.

Clients: swaks, msmtp, curl, Python's smtplib; Postfix, OpenSMTPD and Exim as senders. Servers: Postfix, OpenSMTPD,
Exim, aiosmtpd. Knows which client writes to which server, and which letters show which feature. `record` plays and
records `SCENARIOS`; `boxes` has the programs, `clients` their calls, `mtas` the MTAs and their logs.

`python -m tests.lab.peers [NAME...]` (`make peers`, root) gets what is missing and says what it could not get, records
again into a folder of its own and compares replay with the servers' logs; so with the scenarios of `devices`.
`tests.lab.record` writes to pcaps/.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.lab import boxes
from tests.lab.clients import HOME, ONE_BY_ONE, Letter, Want, smtplib
from tests.lab.exim import Exim
from tests.lab.mtas import Mta, Sessions
from tests.lab.net import Lab, mx4, mx6
from tests.lab.opensmtpd import OpenSmtpd
from tests.lab.postfix import Postfix

AWAY = "internet"
MTAS: dict[str, type[Mta]] = {"postfix": Postfix, "opensmtpd": OpenSmtpd, "exim": Exim}
SERVERS = ("postfix", "opensmtpd", "exim", "aiosmtpd")
#: Number of each server's address among the strangers (see `net`).
_NUMBERS = {"postfix": 10, "opensmtpd": 20, "exim": 30, "aiosmtpd": 40}


ANN, BEN, CID, DAN = "ann@home.example", "ben@friends.example", "cid@friends.example", "dan@friends.example"
NOBODY, LATER = "nobody@friends.example", "later@friends.example"
_TWO = Letter(ANN, (BEN, CID))
_PARTLY = Letter(ANN, (BEN, NOBODY, CID))
#: feature -> the letters that show it; "" is what every client sends to every server.
LETTERS: dict[str, tuple[Letter, ...]] = {
    "": (_TWO, _PARTLY),
    "null-sender": (Letter("", (BEN,)),),
    "refused": (Letter("spammer@home.example", (BEN,)), Letter("bulk@home.example", (BEN,)), Letter(ANN, (LATER,))),
    "starttls": (_TWO,),
    "ipv6": (_TWO, _PARTLY),
    "pipelining": (_TWO, _PARTLY),
    "large": (Letter(ANN, (BEN,), 300_000),),
    "smtputf8": (Letter("åsa@home.example", ("jörg@friends.example", BEN)),),
    "session": (_TWO, Letter(ANN, (BEN,), 2000), Letter(ANN, (DAN,))),
    "auth-plain": (_TWO,),
    "auth-login": (_TWO,),
    "auth-cram-md5": (_TWO,),
}


# ── servers ─────────────────────────────────────────────────────────────────────────────────────────


class Certificate:
    """A self-signed certificate, made on the spot. RSA: OpenSMTPD 6.8 cannot sign with anything else.

    `short`: of an elliptic curve, so that a recording is shorter.
    """

    def __init__(self, folder: Path, short: bool = False) -> None:
        self.files = folder / "peers.crt", folder / "peers.key"
        where = ["-out", str(self.files[0]), "-keyout", str(self.files[1])]
        kind = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] if short else ["rsa:2048"]
        options = ["-x509", "-newkey", *kind, "-nodes", "-days", "30", "-subj", "/CN=mx.lab.example"]
        subprocess.run(["openssl", "req", *options, *where], check=True, capture_output=True)
        self.cert, self.key = (file.read_text() for file in self.files)


class Server(Protocol):
    """What a scenario needs of a server."""

    def serve(self, ip: str, certificate: Certificate | None) -> None: ...
    def sessions(self) -> tuple[Sessions, int]: ...
    def close(self) -> None: ...


#: What a record of the lab's own servers has that a session of replay has, too.
LOGGED = ("server", "helo", "tls", "auth", "transactions")


class Aiosmtpd:
    """The lab's own servers, refusing by the envelope."""

    def __init__(self, lab: Lab, host: str) -> None:
        self._lab = lab
        self._host = host

    def serve(self, ip: str, certificate: Certificate | None) -> None:
        """Starts them all; STARTTLS if there is a certificate."""
        self._lab.start_servers("--rules", *_certificate_options(certificate))

    def sessions(self) -> tuple[Sessions, int]:
        """What was logged. Sessions are logged when they end, so none is known to be open."""
        return [{key: record[key] for key in LOGGED} for record in self._lab.mail()], 0

    def close(self) -> None:
        """They end with the lab."""


def _certificate_options(certificate: Certificate | None) -> list[str]:
    return ["--certificate", str(certificate.files[0]), "--key", str(certificate.files[1])] if certificate else []


# ── clients ─────────────────────────────────────────────────────────────────────────────────────────


def mta(name: str, lab: Lab, want: Want, letters: tuple[Letter, ...]) -> Mta:
    """A sending MTA, which gets the letters one after the other, or all at once. Returns it, still running."""
    sender = MTAS[name](lab, HOME)
    sender.send_through(want.to, want.tls, want.together)
    for number, letter in enumerate(letters, 1):
        sender.submit(letter.sender, list(letter.recipients), letter.text())
        if number == len(letters) or not want.together:
            _until(sender.idle, f"{name} sent nothing")
    return sender


CLIENTS = (*ONE_BY_ONE, "smtplib", *MTAS)


# ── scenarios ───────────────────────────────────────────────────────────────────────────────────────

#: Besides what every client sends to every server: feature -> pairs of client and server. No STARTTLS to OpenSMTPD:
#: Debian's 6.8.0p2 is built with OpenSSL 3, and its server side fails each handshake (its issues 1171 and 1239).
FEATURES: dict[str, str] = {
    "null-sender": "swaks-to-exim curl-to-opensmtpd smtplib-to-postfix",
    "refused": (
        "swaks-to-postfix msmtp-to-opensmtpd curl-to-aiosmtpd smtplib-to-exim postfix-to-exim "
        "opensmtpd-to-postfix exim-to-postfix exim-to-opensmtpd postfix-to-aiosmtpd"
    ),
    "starttls": (
        "swaks-to-postfix msmtp-to-exim curl-to-postfix smtplib-to-aiosmtpd postfix-to-exim "
        "opensmtpd-to-postfix opensmtpd-to-exim exim-to-postfix exim-to-aiosmtpd"
    ),
    "ipv6": (
        "swaks-to-exim msmtp-to-aiosmtpd curl-to-postfix smtplib-to-opensmtpd postfix-to-opensmtpd "
        "opensmtpd-to-exim exim-to-postfix"
    ),
    "pipelining": "swaks-to-postfix swaks-to-exim",
    "large": "smtplib-to-opensmtpd exim-to-postfix postfix-to-exim",
    "smtputf8": "smtplib-to-postfix curl-to-exim curl-to-aiosmtpd postfix-to-exim exim-to-postfix",
    "session": (
        "smtplib-to-postfix smtplib-to-aiosmtpd postfix-to-exim postfix-to-aiosmtpd exim-to-postfix "
        "exim-to-exim opensmtpd-to-exim"
    ),
    "auth-plain": "swaks-to-aiosmtpd msmtp-to-aiosmtpd",
    "auth-login": "curl-to-aiosmtpd smtplib-to-aiosmtpd",
    "auth-cram-md5": "swaks-to-aiosmtpd smtplib-to-aiosmtpd",
}


def play(lab: Lab, client: str, server: str, feature: str) -> Sessions:
    """Plays one scenario; returns what the server logged. Raises RuntimeError where it does not show its feature."""
    number = _NUMBERS[server]
    to = mx6(number) if feature == "ipv6" else mx4(number)
    auth = feature.removeprefix("auth-").upper() if feature.startswith("auth-") else ""
    want = Want(to, feature == "starttls", auth, feature == "smtputf8", feature == "session", feature == "pipelining")
    letters = LETTERS[feature]
    serving: Server = Aiosmtpd(lab, AWAY) if server == "aiosmtpd" else MTAS[server](lab, AWAY)
    sender: Mta | None = None
    try:
        serving.serve(to, Certificate(lab.folder) if want.tls else None)
        if client in MTAS:
            sender = mta(client, lab, want, letters)
        elif client == "smtplib" and want.together:
            smtplib(lab, want, letters)
        else:
            for letter in letters:
                if client == "smtplib":
                    smtplib(lab, want, (letter,))
                else:
                    ONE_BY_ONE[client](lab, want, letter)
        logged: Sessions = []

        def over() -> bool:
            nonlocal logged
            logged, still_open = serving.sessions()
            return bool(logged) and not still_open

        _until(over, "the sessions did not end")
    finally:
        if sender:
            sender.close()
        serving.close()
    if not shows(feature, logged):
        raise RuntimeError(f"this does not show {feature or 'accepted and refused recipients'}: {logged}")
    return logged


def _until(reached: Callable[[], bool], otherwise: str, timeout: float = 30) -> None:
    """Waits until a state is reached and stays so: a bounce may follow a moment later."""
    end = time.monotonic() + timeout
    times = 0
    while times < 3:
        times = times + 1 if reached() else 0
        if time.monotonic() > end:
            raise RuntimeError(otherwise)
        time.sleep(0.3)


def shows(feature: str, logged: Sessions) -> bool:
    """Whether what a server logged has the feature in it: a client that did not do its part proves nothing."""
    transactions = [t for session in logged for t in session["transactions"]]
    accepted = [t for t in transactions if t["outcome"] == "accepted"]
    if feature == "starttls":
        return bool(accepted) and all(session["tls"] for session in logged)
    if feature == "refused":
        return [t["outcome"] for t in transactions].count("rejected") >= 3
    if feature == "large":
        return any(int(t["bytes"]) > 290_000 for t in accepted)
    if feature == "smtputf8":
        return any(not t["mail_from"].isascii() for t in accepted)
    if feature == "session":
        return any(len(session["transactions"]) >= 3 for session in logged)
    if feature == "null-sender":
        return any(t["mail_from"] == "<>" for t in accepted)
    if feature.startswith("auth-"):
        return bool(accepted) and {session["auth"] for session in logged} == {feature[5:].upper()}
    return bool(accepted) and any(t["recipients_accepted"] < len(t["rcpt_to"] or ()) for t in transactions)


def _scenario(pair: str, feature: str) -> Callable[[Lab], Sessions]:
    client, _, server = pair.partition("-to-")
    return lambda lab: play(lab, client, server, feature)


SCENARIOS: dict[str, Callable[[Lab], Sessions]] = {
    "-".join(filter(None, ("peer", pair, feature))): _scenario(pair, feature)
    for feature, pairs in {"": " ".join(f"{c}-to-{s}" for c in CLIENTS for s in SERVERS), **FEATURES}.items()
    for pair in pairs.split()
}


def needs(name: str) -> list[str]:
    """What a scenario needs and is not here."""
    client, _, rest = name.removeprefix("peer-").partition("-to-")
    lacking = boxes.missing()
    return [text for text in lacking if text.split()[0] in (client, rest.split("-")[0], "openssl")]


def main() -> int:
    from tests.lab.record import REAL, record_all

    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these scenarios")
    names = parser.parse_args().names or list(REAL)
    begun = time.monotonic()
    lacking = boxes.get()
    for text in lacking:
        print(f"could not get {text}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="cpe-filter-peers-") as folder:
        agreed, differ, left = record_all(names, Path(folder))
    print(
        f"{agreed} of {len(names)} recordings agree with the servers' logs, {differ} differ, {left} left out; "
        f"{time.monotonic() - begun:.0f} s"
    )
    return 1 if differ or left or lacking else 0


if __name__ == "__main__":
    sys.exit(main())
