"""What `send` may use: its certificate and key, and the clock.

Knows permissions. Must not know what is sent, or TLS.
"""

from __future__ import annotations

import os
import stat
import time

from cpe_filter.policy.model import Policy
from cpe_filter.report.certificate import MOST_BYTES, Certificate, CertificateError, parse
from cpe_filter.report.clock_state import synchronised


class CannotSendError(RuntimeError):
    """Nothing can be sent with this policy, or from here; the text says why."""


def check_files(policy: Policy) -> Certificate:
    """The router's certificate, after a check of all three files. Raises `CannotSendError`."""
    for name, path, others in (
        ("ca", policy.report.ca, 0o022),
        ("certificate", policy.report.certificate, 0o022),
        ("key", policy.report.key, 0o037),
    ):
        try:
            status = os.stat(path)
            with open(path, "rb"):
                pass
        except OSError as error:
            raise CannotSendError(f"[report] {name}: {path}: {error.strerror}") from None
        if status.st_mode & others:
            mode = stat.S_IMODE(status.st_mode)
            what = "others can read or change it" if others == 0o037 else "others can change it"
            allowed = "0600 or 0640" if others == 0o037 else "0644"
            raise CannotSendError(f"[report] {name}: {path}: {what} (mode {mode:04o}); allowed: {allowed}")
    path = policy.report.certificate
    try:
        with open(path, "rb") as file:
            own = parse(file.read(MOST_BYTES))
    except CertificateError as error:
        raise CannotSendError(f"[report] certificate: {path}: {error}") from None
    if not own.name:
        raise CannotSendError(f"[report] certificate: {path}: it has no common name (CN)")
    if time.time() > own.ends and synchronised():
        ended = time.strftime("%Y-%m-%d", time.gmtime(own.ends))
        raise CannotSendError(f"[report] certificate: {path}: it has expired on {ended}")
    return own
