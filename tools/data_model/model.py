"""What an ACS or a USP controller sees of the filter, and where each value comes from. Pure.

Knows the policy's keys, UCI's options, and the ubus object `cpe-filter`. Must not know XML, JSON or an agent. A
key that is neither a parameter nor in `LEFT_OUT` is an error (tests/packaging/test_tr069).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.policy.keys import KEYS
from cpe_filter.policy.kinds import MAX_LIST, MAX_PORTS, MAX_PREFIXES, MAX_PROVIDER, MAX_TEXT, MAX_URL, MAX_VERSION
from cpe_filter.policy.model import Policy
from cpe_filter.report.document_news import RESULTS, TYPES
from cpe_filter.status.refusals import KINDS as REFUSALS
from cpe_filter.toml_file import Key

#: Read only, or also written.
RO, RW = "readOnly", "readWrite"
#: The object's name, after the vendor's prefix.
NAME = "CpeFilter"


class Uci(NamedTuple):
    """An option of /etc/config/cpe-filter, in a section of this name. is_list: `list` in place of `option`."""

    section: str
    option: str
    is_list: bool = False

    def __str__(self) -> str:
        return f"cpe-filter.{self.section}.{self.option}"


class Ubus(NamedTuple):
    """A value of what a method of the ubus object `cpe-filter` answers. key: names with dots between."""

    method: str
    key: str

    def __str__(self) -> str:
        return f"{self.method}: {self.key}"


class Action(NamedTuple):
    """A call of ubus that does something. arguments: fixed ones, or `@Input.NAME` of a command."""

    object: str
    method: str
    arguments: dict[str, str]

    def __str__(self) -> str:
        return f"{self.object}.{self.method}: {', '.join(self.arguments.values())}"


class Parameter(NamedTuple):
    """type: of TR-106, of an entry if it is a list. source: None of an argument. default: as it is shown; None without
    one. low, high: of a number. size: characters at most of a string. items: entries of a list, at least and at most.
    In a table a key of ubus is one of an entry."""

    name: str
    type: str
    meaning: str
    source: Uci | Ubus | Action | None
    access: str = RO
    default: str | None = None
    unit: str = ""
    low: int | None = None
    high: int | None = None
    words: tuple[str, ...] = ()
    pattern: str = ""
    size: int = 0
    items: tuple[int, int] | None = None


class Command(NamedTuple):
    """A command of USP. CWMP has none: there `trigger`, if it has one, is a parameter that does it when it is set."""

    name: str
    meaning: str
    action: Action
    inputs: tuple[Parameter, ...] = ()
    trigger: str = ""


class Object(NamedTuple):
    """path: below the extension, "" or with a dot at its end, `Device.{i}.`. entries: of a table, the array of ubus.
    unique: the parameter that names an entry."""

    path: str
    meaning: str
    parameters: tuple[Parameter, ...]
    commands: tuple[Command, ...] = ()
    entries: Ubus | None = None
    unique: str = ""


# ── settings: the policy's keys and the service's options ───────────────────────────────────────────

_URL = "(https://.+)?"
#: Of a kind of policy key: the type, the most characters, the pattern, and entries of a list.
_KINDS: dict[str, tuple[str, int, str, tuple[int, int] | None]] = {
    "version": ("string", MAX_VERSION, "[A-Za-z0-9._+-]*", None),
    "sentence": ("string", MAX_TEXT, "[ -~]*", None),
    "title": ("string", MAX_PROVIDER, "", None),
    "url": ("string", MAX_URL, _URL, None),
    "hours": ("string", 5, "[0-9]{1,2}-[0-9]{1,2}", None),
    "networks": ("string", 43, "", (0, MAX_LIST)),
    "prefixes": ("string", 43, "", (0, MAX_PREFIXES)),
    "ports": ("unsignedInt", 0, "", (1, MAX_PORTS)),
}
_PORTS = (1, 65535)
#: Why an option is not a parameter.
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "the router's own interfaces and networks: the service takes them from the firewall's zones and netifd": (
        *("network.lan", "network.wan", "network.lan_network", "network.wan_network"),
    ),
    "a file, a socket or a user of this router; its owner or its image decides": (
        *("main.policy_file", "main.jail", "network.leases", "status.status_file", "status.metrics_file"),
        *("status.control_socket", "state.state_file", "state.exemptions_file", "explain.user", "notice.page"),
        *("report.ca", "report.certificate", "report.key", "report.user", "provision.ca", "enrol.ca"),
        *("enrol.factory_key", "enrol.factory_certificate", "enrol.token"),
    ),
    "a number that must not collide with another program of this router": (
        *("filter.queue", "explain.port", "notice.show_port"),
    ),
    "for programs on the router alone": ("status.status_interval_s", "status.metrics_interval_s"),
    "names devices of the home by their MAC, which nothing else of the filter sends to the ISP; the desk exempts a "
    "device by a signed instruction, under its pseudonym": (
        *("notice.emergency", "exempt.device", "exempt.destination", "exempt.until", "exempt.reason"),
    ),
    "free text with commas, which an agent takes as entries; a signed document of type `replies` has them": (
        "detect.replies",
    ),
}
_LEFT = frozenset(option for options in LEFT_OUT.values() for option in options)
#: The mode without the option depends on whether there are relays.
_NO_DEFAULT = ("filter.mode",)
_TITLES = {
    "filter": "What happens to mail sent straight to servers outside.",
    "network": "Destinations that always pass, and ports that count as mail.",
    "limits": "The rates of mode limit.",
    "detect": "What the detector may look at.",
    "explain": "The responder that explains refusals.",
    "report": "Reports to the Internet provider's collector.",
    "notice": "What subscribers read, and how they may answer.",
    "provision": "Signed documents of the Internet provider.",
    "enrol": "How the router gets its certificate.",
}


def camel(name: str) -> str:
    """`messages_per_hour` as MessagesPerHour."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _of_key(key: Key) -> Parameter:
    option = f"{key.table}.{key.name}"
    default = None if option in _NO_DEFAULT else _shown(key.value(Policy()))
    meaning = key.meaning.replace("`", "")
    source = Uci(key.table, key.name)
    name = camel(key.name)
    if key.kind == "flag":
        return Parameter(name, "boolean", meaning, source, RW, default)
    if key.kind == "number":
        unit = key.unit.replace("packets/s", "packets/second")
        return Parameter(name, "unsignedInt", meaning, source, RW, default, unit, key.low, key.high)
    if key.kind == "word":
        return Parameter(name, "string", meaning, source, RW, default, words=key.words)
    kind, size, pattern, items = _KINDS[key.kind]
    low, high = _PORTS if key.kind == "ports" else (None, None)
    source = source._replace(is_list=items is not None)
    return Parameter(
        name, kind, meaning, source, RW, default, low=low, high=high, pattern=pattern, size=size, items=items
    )


_ENABLE = Parameter("Enable", "boolean", "Whether the service runs.", Uci("main", "enabled"), RW, "true")
_PROVISION = (
    Parameter("Enable", "boolean", "Whether documents count, and are fetched.", Uci("provision", "enabled"), RW,
              "true"),
    Parameter("Url", "string", "Where documents are; each is fetched. A comma in a URL is written as %2C.",
              Uci("provision", "url", True), RW, "", pattern="https://[^ ,]+", size=1024, items=(0, 8)),
    Parameter("EveryHours", "unsignedInt", "Time between two fetches.", Uci("provision", "every_hours"), RW, "24",
              "hours", 1, 720),
    Parameter("SplayMinutes", "unsignedInt", "Over which the routers of the provider are spread after a power cut.",
              Uci("provision", "splay_minutes"), RW, "60", "minutes", 0, 1440),
    Parameter("Region", "string", "The router's region, for documents that are for one.", Uci("provision", "region"),
              RW, "", pattern="[ -~]*", size=64),
)  # fmt: skip

_ENROL = (
    Parameter("Enable", "boolean", "Whether a certificate is got and renewed.", Uci("enrol", "enabled"), RW, "true"),
    Parameter("Url", "string", "The provider's server for certificates (EST).", Uci("enrol", "url"), RW, "",
              pattern="(https://[^/@?# ]+/?)?", size=1024),
    Parameter("Id", "string", "The name by which the provider knows the router; empty: of its certificate, or its MAC.",
              Uci("enrol", "id"), RW, "", pattern="([A-Za-z0-9][A-Za-z0-9._:@-]*)?", size=64),
    Parameter("SplayMinutes", "unsignedInt", "Over which the routers of the provider are spread after a power cut.",
              Uci("enrol", "splay_minutes"), RW, "60", "minutes", 0, 1440),
)  # fmt: skip


# ── what runs ───────────────────────────────────────────────────────────────────────────────────────


def _status(name: str, type_: str, key: str, meaning: str, size: int = 0, unit: str = "") -> Parameter:
    return Parameter(name, type_, meaning, Ubus("status", key), unit=unit, size=size)


_STANDING = {
    CLEAR: "Devices that send mail like a legitimate sender.",
    UNUSUAL: "Devices that look like a mail server.",
    SUSPECTED: "Devices that are suspected.",
    COMPROMISED: "Devices that are compromised.",
}
_STATUS = Object("Status.", "The running filter.", (
    _status("Running", "boolean", "running", "Whether the filter runs."),
    _status("Problem", "string", "config_error", "Why the configuration is not used, empty if it is.", 1000),
    _status("Mode", "string", "status.mode", "The mode in force: of a signed document where one sets it.", 16),
    _status("ReloadProblem", "string", "status.policy.refused", "Why the last reload was refused; empty if it was not.",
            1000),
    *(_status(f"{camel(word)}Devices", "unsignedInt", f"status.standings.{word}", meaning)
      for word, meaning in _STANDING.items()),
    _status("QuarantinedDevices", "unsignedInt", "status.notice.quarantined", "Devices held in quarantine."),
    _status("Exemptions", "unsignedInt", "status.exempt_count", "Exemptions in force."),
))  # fmt: skip
_STATS = Object("Stats.", "Counters, from 0 when the filter starts.", (
    _status("MailPackets", "unsignedLong", "status.mail_packets", "Packets of mail connections looked at."),
    _status("LostPackets", "unsignedLong", "status.lost", "Packets shown to the filter and lost: it was busy."),
    _status("Failures", "unsignedLong", "status.failures", "Packets on which the filter failed."),
    _status("RulesetRestored", "unsignedLong", "status.restored", "Rules put back after changes of others."),
    *(_status(f"Refused{camel(word)}", "unsignedLong", f"status.refusals.{word}",
              f"Connections refused or ended: {word.replace('_', ' ')}.") for word in REFUSALS),
))  # fmt: skip
_PSEUDONYM = "[0-9a-f]{16}"
_DEVICE = Object(
    "Device.{i}.",
    "A device of the home whose incident is reported, under the pseudonym that reports have. Only this router can "
    "resolve it.",
    (
        Parameter("Pseudonym", "string", "As in reports.", Ubus("reported", "dev"), pattern=_PSEUDONYM, size=16),
        Parameter("Standing", "string", "What is known of it.", Ubus("reported", "standing"), words=tuple(_STANDING)),
        Parameter("Since", "dateTime", "When the incident began.", Ubus("reported", "since")),
    ),
    entries=Ubus("reported", "reported.open"),
    unique="Pseudonym",
)
_DOCUMENT = Object(
    "Document.{i}.",
    "A type of signed document: what is in force, and how the latest one ended.",
    (
        Parameter("Type", "string", "What it sets.", Ubus("reported", "type"), words=TYPES),
        Parameter("Sequence", "unsignedLong", "Of the one in force; 0: none is.", Ubus("reported", "number")),
        Parameter("Digest", "string", "Of the one in force; empty: none is.", Ubus("reported", "doc"),
                  pattern=f"({_PSEUDONYM})?", size=16),
        Parameter("Result", "string", "Of the latest one; empty: not known.", Ubus("reported", "result"),
                  words=("", *RESULTS)),
        Parameter("Reason", "string", "Why the latest one was not applied, a code.", Ubus("reported", "why"), size=16),
    ),
    entries=Ubus("reported", "reported.documents"),
    unique="Type",
)  # fmt: skip

# ── what is done ────────────────────────────────────────────────────────────────────────────────────

_REASON = Parameter("Reason", "string", "For the log.", None, default="", size=200)
FETCH = Command(
    "FetchPolicy()", "Signed documents are fetched within two minutes; the service begins its waiting again.",
    Action("service", "signal", {"name": "cpe-filter", "instance": "fetch"}), trigger="FetchPolicy",
)  # fmt: skip
RELEASE = Command(
    "Release()", "A compromised device has been cleaned. As `cpe-filter release`.",
    Action("cpe-filter", "release", {"device": "@Input.MACAddress", "reason": "@Input.Reason", "quiet": "1"}),
    (Parameter("MACAddress", "string", "As in Device.Hosts.Host.{i}.PhysAddress.", None, size=17), _REASON),
)  # fmt: skip


def objects() -> Iterator[Object]:
    """All of them: settings by section, then what runs."""
    yield Object("", "The filter of mail that leaves the home on TCP port 25.", (_ENABLE,), (RELEASE,))
    for table in dict.fromkeys(key.table for key in KEYS):
        found = tuple(_of_key(key) for key in KEYS if key.table == table and f"{table}.{key.name}" not in _LEFT)
        if found:
            yield Object(f"{camel(table)}.", _TITLES[table], found)
    yield Object("Provision.", _TITLES["provision"], _PROVISION, (FETCH,))
    yield Object("Enrol.", _TITLES["enrol"], _ENROL)
    yield _STATUS
    yield _STATS
    yield _DEVICE
    yield _DOCUMENT


def parameters() -> Iterator[tuple[str, Parameter]]:
    """Each with its name below the extension. Arguments of commands are not among them."""
    for one in objects():
        for parameter in one.parameters:
            yield one.path + parameter.name, parameter
