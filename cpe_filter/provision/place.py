"""Where a router has its policies, keys and documents, and which router it is.

Knows files and the router's certificate. Must not know what a document says.
"""

from __future__ import annotations

import os
import time

from cpe_filter import toml_file
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.outcome import UsageError
from cpe_filter.policy import file as policy_file
from cpe_filter.policy.model import PolicyError
from cpe_filter.provision import trial
from cpe_filter.provision.folder import MAX_DOCUMENT, Folder
from cpe_filter.report.certificate import MOST_BYTES, CertificateError, parse
from cpe_filter.signed.document import POLICY_BUNDLE, REPLIES, TABLE, Recipient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.policy.model import Policy

#: Types of documents that a router keeps, in the order in which they are laid over its own policy.
TYPES = (POLICY_BUNDLE, TABLE, REPLIES)
_BOOT = "/proc/sys/kernel/random/boot_id"


class Place(NamedTuple):
    """base: the router's own policy. out: the one that `run` reads. folder: of documents. keys: of public keys.

    model, region: of this router, for audiences. limit_s, settle_s: of a trial.
    """

    base: str
    out: str
    folder: str
    keys: str
    model: str = ""
    region: str = ""
    limit_s: float = trial.LIMIT_S
    settle_s: float = trial.SETTLE_S


def folder_of(place: Place, kind: str) -> Folder:
    """The folder of a type's documents."""
    return Folder(os.path.join(place.folder, kind))


def boot() -> str:
    """This boot's id; another one after each restart of the kernel."""
    with open(_BOOT, encoding="ascii") as file:
        return file.read(64).strip()


def uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def base_of(place: Place) -> tuple[dict[str, Any], Policy]:
    """The router's own policy: its tables, and what they make. Raises `UsageError`."""
    try:
        data = toml_file.load(place.base, PolicyError)
        if "signed" in data:
            raise PolicyError(f"{place.base}: [signed] is for documents of the ISP, not for the router's own policy")
        return data, policy_file.build(data, place.base)
    except PolicyError as error:
        raise UsageError(str(error)) from None


def recipient_of(policy: Policy, place: Place) -> Recipient:
    """This router, by the name in its certificate; "" without one. policy: its own, or with documents over it, which
    cannot set where the certificate is."""
    name = ""
    try:
        with open(policy.report.certificate, "rb") as file:
            name = parse(file.read(MOST_BYTES)).name
    except (OSError, CertificateError):
        pass
    return Recipient(name, place.model, place.region)


def document_of(path: str) -> bytes:
    """A document's file. Raises `UsageError`."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_DOCUMENT:
        raise UsageError(f"{path}: too large; allowed: at most {MAX_DOCUMENT} bytes")
    return data


def date(posix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(posix))
