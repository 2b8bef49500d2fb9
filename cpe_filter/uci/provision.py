"""The section `provision` of /etc/config/cpe-filter: which signed documents this router gets, from where and when.

Knows the section's options and what the service is started with for them. Must not know documents: those that are in
force are laid over the policy by whoever `prepare` is given (provision, in a package of its own).
"""

from __future__ import annotations

from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.spread import place_of
from cpe_filter.uci import places
from cpe_filter.uci.export import Section
from cpe_filter.uci.options import Options, is_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.policy.model import Policy

KIND = "provision"
OPTIONS = ("enabled", "url", "ca", "every_hours", "splay_minutes", "region")
#: Addresses, characters of a region, hours and minutes that may be set.
_MOST_URLS, _REGION = 8, 64
_HOURS, MINUTES = (1, 720), (0, 1440)
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


def read(section: Section) -> Provision:
    """Raises `OptionError`."""
    options = Options(section, OPTIONS, ("url",))
    return Provision(
        options.flag("enabled", True),
        options.urls("url", _MOST_URLS),
        options.path("ca", "a file of certificates (PEM)"),
        options.number("every_hours", 24, _HOURS, "hours"),
        options.number("splay_minutes", 60, MINUTES, "minutes"),
        options.text("region", _REGION),
    )


def model() -> str:
    """This router's, for documents that are for one; "" if it is not known."""
    text = places.read(places.at(_MODEL), 256).decode("ascii", "replace").strip()
    return text if is_plain(text, _REGION) else ""


def arguments(settings: Provision) -> list[str]:
    """The words behind `cpe-filter`, for a fetch."""
    own, out = places.run(places.OWN), places.run(places.POLICY)
    words = [
        "policy",
        "fetch",
        *settings.urls,
        f"--policy={own}",
        f"--out={out}",
        f"--folder={places.at(places.PROVISION)}",
    ]
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
