"""One message through the SMTP relay of the ISP: TLS, AUTH, envelope, content, and what came of it.

Knows SMTP (RFC 5321, 3207, 8314, 4954, 6531) by smtplib; blocking, for a thread. Must not know cases. What the relay
says is reduced to its code: its texts repeat the address.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
from dataclasses import dataclass
from typing import Literal, NamedTuple

from cpe_filter.collect.config.model import StartTls
from cpe_filter.collect.mail.message import Envelope

#: accepted: the relay has it. deferred, refused: this message, for now or for good. unavailable: no message would do
#: better now.
Outcome = Literal["accepted", "deferred", "refused", "unavailable"]


@dataclass(frozen=True, slots=True)
class Terms:
    """context: verifies the relay's certificate. hello: the name in EHLO. user: empty for no login.
    tls_at_once: TLS begins with the connection (RFC 8314), not by STARTTLS."""

    host: str
    port: int
    starttls: StartTls
    context: ssl.SSLContext
    hello: str
    user: str = ""
    password: str = ""
    timeout_s: float = 30.0
    tls_at_once: bool = False


class Result(NamedTuple):
    """status: an enhanced status code (RFC 3463), or the reply's; None without one. why: for people, "" if accepted."""

    outcome: Outcome
    status: str | None
    why: str


class _RelayError(Exception):
    """The relay cannot be used now."""

    def __init__(self, why: str, status: str | None = None) -> None:
        super().__init__(why)
        self.status = status


def problem(terms: Terms) -> str | None:
    """Connects, begins TLS and logs in, and sends no message: why that failed, for people; None if it did not."""
    connection: smtplib.SMTP | None = None
    try:
        connection = _connect(terms, min(terms.timeout_s, 10.0))
        _begin(connection, terms)
        connection.quit()
    except ssl.SSLCertVerificationError as error:
        return f"certificate: {error.verify_message}"[:200]
    except (_RelayError, smtplib.SMTPException, OSError, ValueError) as error:
        return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]
    finally:
        if connection is not None:
            connection.close()
    return None


def send(terms: Terms, envelope: Envelope) -> Result:
    """Never raises for what the relay or the network does."""
    connection: smtplib.SMTP | None = None
    try:
        connection = _connect(terms, terms.timeout_s)
        _begin(connection, terms)
        result = _transaction(connection, envelope)
    except _RelayError as error:
        return Result("unavailable", error.status, str(error))
    except smtplib.SMTPResponseException as error:
        return Result("unavailable", _status(error.smtp_code, error.smtp_error), f"reply {error.smtp_code}")
    except ssl.SSLCertVerificationError as error:
        return Result("unavailable", None, f"certificate of the relay: {error.verify_message}"[:200])
    except (OSError, smtplib.SMTPException, ValueError) as error:
        return Result("unavailable", None, f"{type(error).__name__}: {getattr(error, 'strerror', None) or 'no answer'}")
    else:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            connection.quit()
        return result
    finally:
        if connection is not None:
            connection.close()


def _connect(terms: Terms, timeout_s: float) -> smtplib.SMTP:
    if terms.tls_at_once:
        return smtplib.SMTP_SSL(terms.host, terms.port, terms.hello, timeout=timeout_s, context=terms.context)
    return smtplib.SMTP(terms.host, terms.port, terms.hello, timeout_s)


def _begin(connection: smtplib.SMTP, terms: Terms) -> None:
    """EHLO, TLS and login. Raises `_RelayError` and what smtplib raises."""
    connection.ehlo_or_helo_if_needed()
    if terms.starttls != "off" and not terms.tls_at_once:
        if connection.has_extn("starttls"):
            connection.starttls(context=terms.context)
            connection.ehlo_or_helo_if_needed()
        elif terms.starttls == "required":
            raise _RelayError("the relay does not offer STARTTLS")
    if not terms.user:
        return
    try:
        connection.login(terms.user, terms.password)
    except smtplib.SMTPAuthenticationError as error:
        raise _RelayError("the relay refused the login", _status(error.smtp_code, error.smtp_error)) from None
    except smtplib.SMTPNotSupportedError:
        raise _RelayError("the relay does not offer AUTH") from None


def _transaction(connection: smtplib.SMTP, envelope: Envelope) -> Result:
    options = []
    if envelope.utf8:
        if not connection.has_extn("smtputf8"):
            return Result("refused", "5.6.7", "the relay does not offer SMTPUTF8, which this address needs")
        options = ["SMTPUTF8", "BODY=8BITMIME"]
        connection.command_encoding = "utf-8"
    code, text = connection.mail(envelope.sender, options)
    if code != 250:
        raise _RelayError(f"the relay refused the envelope sender: reply {code}", _status(code, text))
    code, text = connection.rcpt(envelope.recipient)
    if code not in (250, 251, 252):
        return _refusal(code, text, "recipient")
    try:
        code, text = connection.data(envelope.content)
    except smtplib.SMTPDataError as error:
        return _refusal(error.smtp_code, error.smtp_error, "message")
    return Result("accepted", _status(code, text), "") if code == 250 else _refusal(code, text, "message")


def _refusal(code: int, text: bytes | str, what: str) -> Result:
    status = _status(code, text)
    if code == 421 or not 400 <= code < 600:
        return Result("unavailable", status, f"reply {code}")
    verb = "refused" if code >= 500 else "deferred"
    return Result("refused" if code >= 500 else "deferred", status, f"the relay {verb} the {what}: reply {code}")


def _status(code: int, text: bytes | str) -> str:
    plain = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    found = re.match(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9.])", plain)
    return found[0] if found else str(code)
