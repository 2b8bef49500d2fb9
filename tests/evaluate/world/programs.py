"""How client programs talk: dialect, TLS, patience.

Knows programs. Must not know who is a bot. Dialects and JA4 of Postfix, Exim, OpenSMTPD, msmtp, swaks, curl and smtplib
are those of the recordings in `pcaps`; JA4 of Go, Java, Node, PHP and of OpenSSL without TLS 1.3 are measured
(tests.lab.tls); other fingerprints (`_made_up`) only stand for a library that differs from these. Retry times: Postfix
qmgr(8), Exim's default retry rule, Exchange's and sendmail's documentation; where a
program's are not documented they are judgement.
"""

from __future__ import annotations

import hashlib
import random
from typing import NamedTuple

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

POSTFIX = "t13i871000_c66346c74e42_24695f2957a7"
EXIM = "t13i291200_723694b0fccc_2cc26d266019"
SMTPLIB = "t13i181000_85036bcba153_d41ae481755e"
OPENSMTPD = "t13i750900_479067518aa3_a29327ec888c"
SWAKS = "t13i311000_e8f1e7e78f70_d41ae481755e"
CURL = "t13i311000_e8f1e7e78f70_b26ce05bbdd6"
MSMTP = "t13d291300_723694b0fccc_2cc26d266019"


def _made_up(start: str) -> str:
    digits = hashlib.sha256(start.encode()).hexdigest()
    return f"{start}_{digits[:12]}_{digits[12:24]}"


GO, JAVA = "t13d190900_9dc949149365_97f8aa674fd9", "t13i371100_db35923f8641_7c76daad20ec"
NODE, PHP = "t13i590900_a33745022dd6_1f22a2ca17c4", "t13d751100_479067518aa3_d41ae481755e"
OLD_OPENSSL = "t12i280600_d943125447b4_e7e480e5a997"
#: Windows' Schannel, embedded TLS stacks, Android: shapes only, no recordings.
SCHANNEL, MBEDTLS, WOLFSSL = _made_up("t12d210700"), _made_up("t12i160600"), _made_up("t12d120500")
ANDROID, APPLE, THUNDERBIRD = _made_up("t13d161100"), _made_up("t13d201100"), _made_up("t13d171300")


WIFI, SLEEPING = "wifi", "sleeping"
HOME_RESOLVER, OWN_RESOLVER, NO_LOOKUP = "home", "own", "none"


class Client(NamedTuple):
    """A program and its configuration.

    second_mx: after a failure for now it asks another MX at once. banner_for_now: a 5yz banner is a failure for now.
    retry: first and longest pause, and for how long (0: never again). tls: none, may or must. blind: goes on to the
    message whatever the answers. hangs_up: share of sessions left without QUIT after a refusal. operator: round trip in
    ms to whoever relays through the device (least, most); (0, 0) for programs of its own. pace: share of
    commands before which the program thinks, for so many ms (least, most): not mail programs (0.01-0.09 ms measured),
    but people who type, firmware and phones. network: of the device, "" for a cable. mx: how it finds a domain's
    servers: by the home's resolver settings, by a resolver outside of its own, or without an MX question (a server's
    name is configured, or an operator has found it). naive: takes a reply's first line for all of it. goes_on: in the
    clear, where STARTTLS is refused.
    """

    helo: str
    ehlo: bool = True
    spaced: bool = False
    lower: bool = False
    early: bool = False
    pipelines: bool = False
    tls: str = "none"
    ja4: str = POSTFIX
    quits: float = 1.0
    hangs_up: float = 0.0
    blind: bool = False
    retry: tuple[float, float, float] = (0.0, 0.0, 0.0)
    growth: float = 1.0
    second_mx: bool = False
    banner_for_now: bool = False
    operator: tuple[float, float] = (0.0, 0.0)
    pace: tuple[float, float, float] = (0.0, 0.0, 0.0)
    network: str = ""
    mx: str = HOME_RESOLVER
    naive: bool = False
    goes_on: bool = False


def some_patience(rng: random.Random) -> float:
    """maximal_queue_lifetime: its default of 5 days, or less (J)."""
    return rng.choice((5.0, 5.0, 2.0, 1.0)) * DAY


def postfix(helo: str, tls: str = "may", patience: float = 5 * DAY) -> Client:
    """minimal_backoff_time 300 s, maximal 4000 s, 5 days; smtp_skip_5xx_greeting; two sessions a delivery."""
    return Client(
        helo,
        pipelines=True,
        tls=tls,
        ja4=POSTFIX,
        retry=(300.0, 4000.0, patience),
        second_mx=True,
        banner_for_now=True,
        goes_on=True,
    )


def exim(helo: str, tls: str = "may") -> Client:
    """F,2h,15m; G,16h,1h,1.5; F,4d,6h."""
    return Client(
        helo,
        pipelines=True,
        tls=tls,
        ja4=EXIM,
        retry=(15 * MINUTE, 6 * HOUR, 4 * DAY),
        growth=0.5,
        second_mx=True,
        goes_on=True,
    )


def sendmail(helo: str) -> Client:
    return Client(
        helo, pipelines=True, tls="may", ja4=SWAKS, retry=(30 * MINUTE, 30 * MINUTE, 5 * DAY), second_mx=True,
        banner_for_now=True, goes_on=True,
    )  # fmt: skip


def opensmtpd(helo: str) -> Client:
    return Client(helo, tls="may", ja4=OPENSMTPD, retry=(400.0, 4 * HOUR, 4 * DAY), second_mx=True, goes_on=True)


def exchange(helo: str) -> Client:
    """RetryInterval 15 minutes, expires after 2 days."""
    return Client(
        helo,
        pipelines=True,
        tls="may",
        ja4=SCHANNEL,
        retry=(15 * MINUTE, 15 * MINUTE, 2 * DAY),
        second_mx=True,
        goes_on=True,
    )


def some_mta(rng: random.Random, helo: str) -> Client:
    """Postfix mostly (J)."""
    make = rng.choices((postfix, exim, sendmail, opensmtpd, exchange), (0.62, 0.2, 0.06, 0.06, 0.06))[0]
    made = make(helo)
    return made._replace(retry=(*made.retry[:2], some_patience(rng))) if made.ja4 == POSTFIX else made


def smtplib(helo: str, tls: str = "none", quits: float = 1.0) -> Client:
    """A script: no retry. Says QUIT where it leaves its `with`."""
    return Client(helo, tls=tls, ja4=SMTPLIB, quits=quits)


def msmtp(helo: str = "localhost", tls: str = "none") -> Client:
    return Client(helo, pipelines=True, tls=tls, ja4=MSMTP)


def swaks(helo: str, tls: str = "none") -> Client:
    return Client(helo, tls=tls, ja4=SWAKS)


def php(helo: str, tls: str = "may") -> Client:
    """PHPMailer and the like straight to an MX."""
    return Client(helo, tls=tls, ja4=PHP)


def node(helo: str, tls: str = "may") -> Client:
    """Nodemailer: STARTTLS where offered, its own host's name or [127.0.0.1]."""
    return Client(helo, tls=tls, ja4=NODE)


def go(helo: str, tls: str = "may") -> Client:
    """Go's net/smtp: EHLO localhost by default, STARTTLS where offered, QUIT."""
    return Client(helo, tls=tls, ja4=GO)


#: How firmware thinks, as tests.lab.turnaround plays it; how many devices do is judgement.
_FIRMWARE = ((0.0, 0.0, 0.0), (1.0, 2.0, 15.0), (1.0, 5.0, 40.0), (0.3, 50.0, 300.0), (0.6, 50.0, 300.0))


def appliance(rng: random.Random, helo: str) -> Client:
    """Firmware: some say HELO, some write `MAIL FROM: <`, few take TLS, 70 % never retry (the brief; rest J).

    One in twenty takes a reply's first line for all of it, as many send the message whatever the answers, one in sixty
    does not wait for the greeting (J).
    """
    retry = (
        (0.0, 0.0, 0.0) if rng.random() < 0.7 else (rng.choice((60.0, 300.0, 900.0)), HOUR, rng.uniform(0.2, 24) * HOUR)
    )
    return Client(
        helo,
        ehlo=rng.random() < 0.65,
        spaced=rng.random() < 0.25,
        lower=rng.random() < 0.08,
        tls="may" if rng.random() < 0.15 else "none",
        ja4=rng.choice((MBEDTLS, WOLFSSL, OLD_OPENSSL)),
        quits=rng.choice((0.0, 0.5, 1.0, 1.0)),
        retry=retry,
        mx=NO_LOOKUP,
        pace=rng.choices(_FIRMWARE, (0.5, 0.3, 0.1, 0.05, 0.05))[0],
        network=rng.choices(("", WIFI, SLEEPING), (0.45, 0.4, 0.15))[0],
        early=rng.random() < 1 / 60,
        blind=rng.random() < 0.05,
        naive=rng.random() < 0.05,
        goes_on=rng.random() < 0.5,
    )


def typed(helo: str) -> Client:
    """Somebody with telnet or nc."""
    return Client(helo, ehlo=helo != "foo", quits=0.8, pace=(1.0, 900.0, 3200.0))


def windows_mailer(helo: str) -> Client:
    """A newsletter program for Windows that sends directly: no TLS, no pipelining, its own queue of two hours."""
    return Client(helo, ja4=SCHANNEL, retry=(10 * MINUTE, HOUR, 2 * HOUR))
