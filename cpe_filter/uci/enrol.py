"""The section `enrol` of /etc/config/cpe-filter: from where this router gets its certificate, and by which identity.

Knows the section's options and what the service is started with for them. Must not know EST, keys or certificates
(enrol, in a package of its own).
"""

from __future__ import annotations

import os

from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.spread import place_of
from cpe_filter.uci import places
from cpe_filter.uci.export import Section
from cpe_filter.uci.options import Options
from cpe_filter.uci.provision import MINUTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.policy.model import Policy

KIND = "enrol"
OPTIONS = ("enabled", "url", "ca", "id", "factory_key", "factory_certificate", "token", "splay_minutes")
#: Seconds between two looks whether the certificate is due. While it is not, nothing is asked.
EVERY_S = 6 * 3600
_MOST_ID = 64
#: What else an id may hold (collect.intake.identity).
_ID_SIGNS = "._:@-"
_SECRET = "--token"  # noqa: S105 - an option's name


class Enrol(NamedTuple):
    """url: of the EST server, "" for none. id: the router's, "" for its certificate's or its MAC. The rest: files."""

    enabled: bool = True
    url: str = ""
    ca: str = ""
    id: str = ""
    factory_key: str = ""
    factory_certificate: str = ""
    token: str = ""
    splay_minutes: int = 60


def read(section: Section) -> Enrol:
    """Raises `OptionError`."""
    options = Options(section, OPTIONS)
    url, name = options.text("url", 1024), options.text("id", _MOST_ID)
    if url and not _is_server(url):
        raise options.error("url", url, "https://HOST or https://HOST:PORT")
    if name and not (name[0].isalnum() and all(char.isalnum() or char in _ID_SIGNS for char in name)):
        raise options.error("id", name, "letters, digits and . _ : @ -, a letter or digit first")
    key, certificate = (
        options.path("factory_key", "the factory's private key (PEM)"),
        options.path("factory_certificate", "the factory's certificate (PEM)"),
    )
    if certificate and not key:
        raise options.error("factory_certificate", certificate, "only with factory_key")
    return Enrol(
        options.flag("enabled", True),
        url,
        options.path("ca", "a file of certificates (PEM)"),
        name,
        key,
        certificate,
        options.path("token", "a file with a one-time token"),
        options.number("splay_minutes", 60, MINUTES, "minutes"),
    )


def _is_server(url: str) -> bool:
    """As `cpe-filter enrol` reads it: it adds EST's own path."""
    place = url.removeprefix("https://").removesuffix("/")
    host, _, port = place.rpartition(":") if place[-1:] != "]" and ":" in place else (place, "", "443")
    return (
        url.startswith("https://")
        and bool(host)
        and not set(place) & set("/@?# ")
        and port.isdecimal()
        and 0 < int(port[:6]) < 65536
    )


def mac(policy: Policy) -> str:
    """Of the home's side, 12 hexadecimal digits; "" while no interface of it is there."""
    for name in ("br-lan", *policy.network.lan):
        text = places.read(places.at(f"{places.SYS}/class/net/{name}/address"), 64).decode("ascii", "replace")
        digits = text.strip().lower().replace(":", "")
        if len(digits) == 12 and set(digits) <= set("0123456789abcdef") and digits.strip("0"):
            return digits
    return ""


def arguments(settings: Enrol, name: str) -> list[str]:
    """The words behind `cpe-filter`. name: the router's id, "" for its certificate's."""
    words = ["enrol", f"--policy={places.run(places.POLICY)}", f"--url={settings.url}"]
    for option, value in (
        ("--ca", settings.ca),
        ("--id", name),
        ("--factory-key", settings.factory_key),
        ("--factory-certificate", settings.factory_certificate),
        (_SECRET, settings.token),
    ):
        if value:
            words.append(f"{option}={value}")
    return words


def started(settings: Enrol, policy: Policy) -> tuple[str, list[str]]:
    """The line of the file `service`, `enrol EVERY FIRST`, and the arguments; "" and none without a server.

    A router without a certificate and without an id is called by its MAC; without that it waits.
    """
    address = mac(policy)
    name = settings.id or ("" if os.path.exists(policy.report.certificate) else address)
    if not settings.enabled or not settings.url or not (settings.id or address):
        return "", []
    place = place_of((settings.id or address).encode(), b"enrol")
    return f"enrol {EVERY_S} {int(place * settings.splay_minutes * 60)}", arguments(settings, name)
