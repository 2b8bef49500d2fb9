"""TLS of the listeners: contexts from certificate files, and new files taken over without a restart.

Knows certificates and keys. Must not know who a certificate names.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl

from cpe_filter.collect import file_modes
from cpe_filter.collect.intake.listener import ListenError

#: Seconds between two looks for new files.
CHECK_S = 10.0


def router_context(certificate: str, key: str, client_ca: str) -> ssl.SSLContext:
    """TLS 1.3 that verifies a client certificate against `client_ca`. Raises `ListenError`."""
    # Routers have OpenSSL 1.1.1 or later. In 1.2 a session could be resumed by its id: nothing here prevents that.
    context = _context(ssl.TLSVersion.TLSv1_3, certificate, key)
    # The handshake succeeds without a certificate, so that the application can answer 401. A certificate of another
    # authority, or one that is out of date, ends it.
    context.verify_mode = ssl.CERT_OPTIONAL
    # A resumed session is not verified again; a full handshake costs little.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_verify_locations(client_ca)
    except OSError as error:
        raise ListenError(f"{client_ca}: {_reason(error)}") from None
    return context


def browser_context(certificate: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 or later without client certificates. Raises `ListenError`."""
    return _context(ssl.TLSVersion.TLSv1_2, certificate, key)


def _context(minimum: ssl.TLSVersion, certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError, too
        raise ListenError(f"{certificate}, {key}: {_reason(error)}") from None
    if fault := file_modes.fault(key):
        raise ListenError(fault)
    return context


class Reloader:
    """Takes a new certificate and key over when their files change."""

    def __init__(self, context: ssl.SSLContext, certificate: str, key: str) -> None:
        self._context, self._certificate, self._key = context, certificate, key
        self._seen = self._stamp()

    def check(self) -> bool:
        """Whether there were new files, and they are in use now. Raises `ListenError`; then the old ones stay."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self._context.load_cert_chain(self._certificate, self._key)
        except OSError as error:
            raise ListenError(f"{self._certificate}, {self._key}: {_reason(error)}") from None
        return True

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        stamps = []
        for path in (self._certificate, self._key):
            with contextlib.suppress(OSError):
                status = os.stat(path)
                stamps.append((status.st_ino, status.st_mtime_ns))
        return tuple(stamps)


async def follow(context: ssl.SSLContext, certificate: str, key: str, name: str, log: logging.Logger) -> None:
    """Takes new files over as long as it runs. name: of the listener, in the log."""
    reloader = Reloader(context, certificate, key)
    while True:
        await asyncio.sleep(CHECK_S)
        try:
            if reloader.check():
                log.info(f"{name} certificate reloaded")
        except ListenError as error:
            log.error(f"{name} certificate", extra={"fields": {"why": str(error)}})


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
