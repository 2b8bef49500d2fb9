"""The policy: what the Internet provider or the owner of the router has decided, as one frozen `Policy`.

Knows the fields and their defaults, and what an exemption may be. Must not know how a policy is read (load, file, keys)
or carried out. NamedTuples, because dataclasses would take 2.6 MB.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from cpe_filter.inputs import found
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.lean.clocks import Posix

Network = IPv4Network | IPv6Network

#: Characters of an exemption's reason.
MAX_REASON = 200
#: What `network` takes, for people.
NETWORK = "an address or network such as 192.0.2.25 or 2001:db8::/48"


class PolicyError(ValueError):
    """A policy that cannot be used. The text names file, table, key, finding and what is allowed."""


class Exemption(NamedTuple):
    """`device` may send straight to `destination`. It stays watched.

    device: packed MAC (6 bytes) or None for any. destination: network or None for any. until: last second, POSIX time,
    or None if it never expires.
    """

    device: bytes | None
    destination: Network | None
    until: Posix | None
    reason: str


class FilterTable(NamedTuple):
    """[filter]: what happens to direct mail, and the queue to the filter."""

    version: str = ""
    mode: str = "block"
    escalate: bool = True
    refusal: str = "explain"
    fail: str = "open"
    queue: int = 25
    queue_length: int = 64
    queue_rate: int = 500
    block_minutes: int = 60


class NetworkTable(NamedTuple):
    """[network]: interfaces, ports, and destinations that are always allowed."""

    lan: tuple[str, ...] = ("br-lan",)
    wan: tuple[str, ...] = ("wan",)
    ports: tuple[int, ...] = (25,)
    relays: tuple[Network, ...] = ()
    nat64: tuple[IPv6Network, ...] = ()
    private_destinations: str = "pass"
    router_output: bool = True
    # On OpenWrt only root can write to /tmp; elsewhere these are only read, and nothing in them is trusted.
    leases: tuple[str, ...] = ("/tmp/dhcp.leases", "/tmp/odhcpd.leases", "/tmp/hosts/odhcpd")  # noqa: S108


class LimitsTable(NamedTuple):
    """[limits]: the rates of mode limit."""

    connections_per_hour: int = 60
    connections_burst: int = 12
    destinations_per_hour: int = 20
    destinations_burst: int = 6
    # A household's own server writes a few messages a day; after an outage its queue goes out at once.
    messages_per_hour: int = 60
    messages_burst: int = 20
    recipients_per_hour: int = 100
    recipients_burst: int = 30


class DetectTable(NamedTuple):
    """[detect]: what the detector may look at."""

    watch_dns: bool = True
    read_known: bool = False
    submission: bool = True
    replies: tuple[str, ...] = ()  # rows, as detect.replies reads them


class SignedTable(NamedTuple):
    """[signed]: what `cpe-filter policy make` has from the ISP's documents (signed_table).

    policy, table, replies: the documents in it, "NUMBER DIGEST"; "" without one. rates: a text as detect.rates reads
    it. wordings: rows as detect.replies reads them.
    """

    policy: str = ""
    table: str = ""
    replies: str = ""
    rates: str = ""
    wordings: str = ""

    @property
    def names(self) -> dict[str, str]:
        """The documents by type, without types that have none."""
        return {name: self[place] for place, name in enumerate(self._fields[:3]) if self[place]}


class StatusTable(NamedTuple):
    """[status]: the status file, the metrics file and the control socket."""

    status_file: str = "/var/run/cpe-filter/status.json"
    status_interval_s: int = 5
    metrics_file: str = ""
    metrics_interval_s: int = 60
    control_socket: str = "/var/run/cpe-filter/control"


class StateTable(NamedTuple):
    """[state]: files that survive a restart."""

    state_file: str = "/etc/cpe-filter/state"
    exemptions_file: str = "/etc/cpe-filter/exemptions.toml"


class ExplainTable(NamedTuple):
    """[explain]: the responder that explains refusals."""

    text: str = ""
    url: str = ""
    port: int = 2525
    max_connections: int = 64
    user: str = "nobody"
    tests: bool = True
    test_patience: bool = True
    test_replies: bool = True
    test_starttls: bool = True
    test_retry: bool = True


class ReportTable(NamedTuple):
    """[report]: reports to the ISP's collector."""

    url: str = ""
    ca: str = "/etc/cpe-filter/collector-ca.pem"
    certificate: str = "/etc/cpe-filter/router.pem"
    key: str = "/etc/cpe-filter/router.key"
    user: str = "cpe-filter"
    heartbeat: bool = True
    update_minutes: int = 15
    hostnames: bool = False


class NoticeTable(NamedTuple):
    """[notice]: what subscribers read, what is put in a compromised device's way, and how they may answer."""

    language: str = "en"
    provider: str = ""
    help_url: str = ""
    help_phone: str = ""
    page: str = ""
    show: str = "device"
    show_port: int = 2580
    hours: str = "0-24"
    times_a_day: int = 1
    emergency: tuple[str, ...] = ()
    self_release: int = 2
    self_exempt: bool = False
    remind_days: int = 7
    quarantine: bool = False
    quarantine_days: int = 30
    helpful: tuple[Network, ...] = ()


class Policy(NamedTuple):
    """What the ISP or the owner of the router has decided: the tables of the policy file.

    Keys, units and ranges: keys.KEYS.
    """

    filter: FilterTable = FilterTable()
    network: NetworkTable = NetworkTable()
    limits: LimitsTable = LimitsTable()
    detect: DetectTable = DetectTable()
    status: StatusTable = StatusTable()
    state: StateTable = StateTable()
    explain: ExplainTable = ExplainTable()
    report: ReportTable = ReportTable()
    notice: NoticeTable = NoticeTable()
    signed: SignedTable = SignedTable()
    exempt: tuple[Exemption, ...] = ()


class Reread(NamedTuple):
    """A policy file read again while a filter runs.

    policy: the new one; keys that need a restart of the filter are as before. changed: the keys with new values, as
    `[table] key`; later: those that need a restart of the filter; responder: those that need a restart of the
    responder. lacks: what it asks for that is not installed, a line each (packages).
    """

    policy: Policy
    changed: tuple[str, ...]
    later: tuple[str, ...]
    responder: tuple[str, ...]
    lacks: tuple[str, ...]


# ── what an exemption may be, in a file or asked for ────────────────────────────────────────────────


def parse_exemption(entry: dict[str, Any], where: str) -> Exemption:
    """From the keys `device`, `destination` and `reason`, without an end. Raises `PolicyError`, with `where` first."""
    device = entry.get("device", "any")
    packed = None if device == "any" else parse_mac(device)
    if device != "any" and packed is None:
        raise PolicyError(f'{where} device is {found(device)}; allowed: a MAC such as 02:00:00:12:34:56, or "any"')
    destination = entry.get("destination", "any")
    where_to = None if destination == "any" else network(destination, f"{where} destination")
    if packed is None and where_to is None:
        raise PolicyError(f"{where} exempts every device for every destination; name a device or a destination")
    reason = entry.get("reason", "")
    if not isinstance(reason, str) or len(reason) > MAX_REASON or not reason.isprintable():
        raise PolicyError(f"{where} reason is {found(reason)}; allowed: one line of at most {MAX_REASON} characters")
    return Exemption(packed, where_to, None, reason)


def network(value: Any, where: str) -> Network:
    """An address or network. Raises `PolicyError`."""
    parsed = parse_network(value)
    if parsed is None:
        raise PolicyError(f"{where} has {found(value)}; allowed: {NETWORK}")
    return parsed


def parse_network(value: Any) -> Network | None:
    """An address or network; None if it is not one."""
    if isinstance(value, str) and "%" not in value:  # a zone (RFC 4007) is not an address, and could hold anything
        try:
            return ip_network(value, strict=False)
        except ValueError:
            pass
    return None


def parse_mac(text: Any) -> bytes | None:
    """`02:00:00:12:34:56` (or with dashes) as 6 bytes; None if it is not a MAC."""
    if not isinstance(text, str):
        return None
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or not all(len(p) == 2 and all(c in "0123456789abcdefABCDEF" for c in p) for p in parts):
        return None
    return bytes(int(p, 16) for p in parts)
