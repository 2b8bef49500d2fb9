"""When the certificates of this process expire, for /metrics: those that its listeners show, and those it trusts.

Knows files and X.509. Must not know TLS or who uses a file. Files are read again once an hour, as new ones are taken
over without a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from cryptography import x509

from cpe_filter.collect.config.model import Config
from cpe_filter.collect.metrics import Metrics

_EVERY_S = 3600.0
_MOST_BYTES = 16 << 20

_log = logging.getLogger("cpe_filter.collect")


def of_services(config: Config) -> dict[str, str]:
    """Key of the configuration -> file, for `run`, `ingest` and `consume`, of the listeners that are there."""
    files = {"client_ca": config.listen.client_ca if config.listen.address or config.tls_proxy.address else ""}
    for name, table in (("listen", config.listen), ("page", config.page), ("api", config.api)):
        files[name] = table.certificate if table.address else ""
    return {name: path for name, path in files.items() if path}


def of_enrolment(config: Config) -> dict[str, str]:
    """The same for `est`."""
    enrol = config.enrol
    files = {"enrol": enrol.certificate, "enrol_ca": enrol.ca, "factory_ca": enrol.factory_ca}
    return {name: path for name, path in files.items() if path}


def ends(path: str) -> float:
    """When the first certificate of a file expires, POSIX seconds. Raises OSError, ValueError."""
    with open(path, "rb") as file:
        found = x509.load_pem_x509_certificates(file.read(_MOST_BYTES))
    return min(one.not_valid_after_utc.timestamp() for one in found)


def look(files: Mapping[str, str], metrics: Metrics) -> None:
    """Sets the metric; a file that cannot be read keeps its last value, and is logged."""
    for name, path in files.items():
        try:
            metrics.certificate_ends.labels(name).set(ends(path))
        except (OSError, ValueError, x509.InvalidVersion) as error:
            why = error.strerror if isinstance(error, OSError) else "no certificate in PEM"
            _log.error("certificate file", extra={"fields": {"file": path, "why": why}})


async def watch(files: Mapping[str, str], metrics: Metrics) -> None:
    while True:
        look(files, metrics)
        await asyncio.sleep(_EVERY_S)
