"""The section `provision` of /etc/config/cpe-filter: which signed documents this router gets, from where and when.

Knows the section's options and what the service is started with for them. Must not know documents: those that are in
force are laid over the policy by whoever `prepare` is given (provision, in a package of its own).
"""

from __future__ import annotations

from cpe_filter.inputs import shown
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.spread import place_of
from cpe_filter.uci import places
from cpe_filter.uci.export import FLAGS, Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.policy.model import Policy

KIND = "provision"
OPTIONS = ("enabled", "url", "ca", "every_hours", "splay_minutes", "region")
#: Addresses, characters of one and of a region, hours and minutes that may be set.
_MOST_URLS, _LONGEST, _REGION = 8, 1024, 64
_HOURS, _MINUTES = (1, 720), (0, 1440)
_MODEL = "/tmp/sysinfo/board_name"  # noqa: S108 - procd writes it before any service starts
_ADDRESS = "/sys/class/net/br-lan/address"


class Provision(NamedTuple):
    """urls: https. ca: a file of certificates, "" for the system's. enabled: documents count, and are fetched."""

    enabled: bool = True
    urls: tuple[str, ...] = ()
    ca: str = ""
    every_hours: int = 24
    splay_minutes: int = 60
    region: str = ""


class Laid(NamedTuple):
    """policy, text: with the documents that are in force or tried; text "" if there are none. lasting: without one
    that is tried. problems: why documents are left out. router: its name in certificates, "" without one."""

    policy: Policy
    text: bytes
    lasting: Policy
    problems: list[str]
    router: str


class ProvisionError(ValueError):
    """An option that cannot be used; the text names it, and what is allowed."""


def read(section: Section) -> Provision:
    """Raises `ProvisionError`."""
    for option, value in section.options.items():
        if option not in OPTIONS:
            raise ProvisionError(f"cpe-filter.provision.{option}: unknown option; known: {' '.join(OPTIONS)}")
        if isinstance(value, list) and option != "url":
            raise ProvisionError(f"cpe-filter.provision.{option} is a list; expected one value")
    enabled, ca, region = (section.text(option) for option in ("enabled", "ca", "region"))
    if enabled and enabled not in FLAGS:
        raise _error("enabled", enabled, "0, 1")
    urls = section.words("url")
    if len(urls) > _MOST_URLS:
        raise ProvisionError(f"cpe-filter.provision.url has {len(urls)} addresses; allowed: at most {_MOST_URLS}")
    for url in urls:
        if not _is_plain(url, _LONGEST) or not url.startswith("https://") or not url[8:].partition("/")[0]:
            raise _error("url", url, "https://HOST/PATH")
    if ca and not (ca.startswith("/") and _is_plain(ca, _LONGEST)):
        raise _error("ca", ca, "the path of a file of certificates (PEM)")
    if region and not (_is_plain(region, _REGION) and region == region.strip()):
        raise _error("region", region, f"1 to {_REGION} printable ASCII characters")
    every = _number(section, "every_hours", 24, _HOURS, "hours")
    splay = _number(section, "splay_minutes", 60, _MINUTES, "minutes")
    return Provision(section.flag("enabled", True), tuple(urls), ca, every, splay, region)


def _number(section: Section, option: str, default: int, allowed: tuple[int, int], unit: str) -> int:
    text = section.text(option)
    least, most = allowed
    if text and not (text.isascii() and text.isdecimal() and len(text) < 6 and least <= int(text) <= most):
        raise _error(option, text, f"a whole number from {least} to {most} ({unit})")
    return int(text or default)


def _error(option: str, value: str, allowed: str) -> ProvisionError:
    return ProvisionError(f"cpe-filter.provision.{option} is {shown(value)}; allowed: {allowed}")


def _is_plain(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isascii() and text.isprintable()


def model() -> str:
    """This router's, for documents that are for one; "" if it is not known."""
    text = places.read(places.at(_MODEL), 256).decode("ascii", "replace").strip()
    return text if _is_plain(text, _REGION) else ""


def arguments(settings: Provision) -> list[str]:
    """The arguments of `cpe-filter policy fetch`, a line each."""
    own, out = places.run(places.OWN), places.run(places.POLICY)
    words = [*settings.urls, f"--policy={own}", f"--out={out}", f"--folder={places.at(places.PROVISION)}"]
    words += [f"--keys={places.at(places.KEYS)}", f"--service={places.at(places.SCRIPT)}"]
    for option, value in (("ca", settings.ca), ("region", settings.region), ("model", model())):
        if value:
            words.append(f"--{option}={value}")
    return words


def lines(settings: Provision, router: str) -> list[str]:
    """For the file `service`: `fetch EVERY FIRST`, seconds between two fetches, and of the router's uptime before the
    first. router: its name in certificates; without one its MAC spreads it."""
    if not settings.enabled or not settings.urls:
        return []
    name = router.encode() or places.read(places.at(_ADDRESS), 64)
    return [f"fetch {settings.every_hours * 3600} {int(place_of(name, b'fetch') * settings.splay_minutes * 60)}"]
