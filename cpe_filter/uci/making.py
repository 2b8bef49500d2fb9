"""The router's configuration -> policy.

Knows which programs print it (uci, ubus), and how its parts become one checked policy. Must not know what the service
does with that (prepare). Raises `UciError` where no policy comes of it.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

from cpe_filter import toml_file
from cpe_filter.enforce import process
from cpe_filter.lean.log import Line, notice, warning
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.policy.file import build
from cpe_filter.policy.model import NetworkTable, Policy, PolicyError
from cpe_filter.uci import enrol, export, lease_files, netifd, places, provision, tables, ways
from cpe_filter.uci.enrol import Enrol
from cpe_filter.uci.export import Section
from cpe_filter.uci.options import OptionError
from cpe_filter.uci.provision import Provision
from cpe_filter.uci.tables import Tables, UciError

#: Packages that a policy is made from, and the first one, which has to be right.
PACKAGES = ("cpe-filter", "network", "firewall", "dhcp")
#: Lease files that a policy takes.
_MOST_LEASES = 8
#: The table that names the ISP's documents in the policy that `run` reads.
SIGNED, _NOT_ITS_OWN = "signed", "is for documents of the ISP, not for the router's own policy"
_NOWHERE = "policy"
#: What uci says of a package that is not there.
_MISSING = "Entry not found"


class Sources(NamedTuple):
    """The texts of `uci export` by package, netifd's dump, and the devices that networks had before. unread: packages
    that are there and that uci cannot read, each with what it says."""

    exports: dict[str, str]
    dump: str
    seen: dict[str, str]
    unread: tuple[tuple[str, str], ...] = ()

    def digest(self) -> str:
        """Another text if the configuration is another. Not for another state of the networks."""
        return hashlib.sha256(repr(sorted(self.exports.items())).encode("utf-8", "surrogateescape")).hexdigest()[:32]


class Made(NamedTuple):
    """text: the policy file. notes: lines for people. seen: the devices of networks, to be kept. file: the ISP's, if
    that is what the policy is made from. chosen: whether the mode was set."""

    policy: Policy
    text: bytes
    notes: list[Line]
    seen: dict[str, str]
    file: str
    chosen: bool = True

    def hints(self) -> list[Line]:
        """What a user must know of this policy's mode and relays; not of a file, whose author has chosen both."""
        policy = self.policy
        if self.file or policy.network.relays or policy.filter.mode == "limit":
            return []
        if policy.filter.mode == "block":
            return [
                warning(
                    "filter.mode is block and network.relays is empty: mail to the Internet provider's relay is "
                    "refused, too"
                )
            ]
        if self.chosen:
            return []
        return [
            notice(
                "mode is monitor, because no relays are set: set network.relays to the Internet provider's mail relays "
                "(or filter.mode), and mail sent straight to other servers is refused"
            )
        ]


def read_sources(seen: dict[str, str]) -> Sources:
    """What the router says. Raises `UciError` if /etc/config/cpe-filter cannot be read."""
    exports, unread = {}, []
    for package in PACKAGES:
        done = _output("uci", "-n", "export", package)
        reason = done.errors.decode("utf-8", "replace").strip().rpartition("uci: ")[2] or "it cannot be read"
        if done.code and package == PACKAGES[0]:
            raise UciError(f"/etc/config/cpe-filter: {reason}")
        if done.code and reason != _MISSING:
            unread.append((package, reason))
        exports[package] = "" if done.code else done.out.decode("utf-8", "surrogateescape")
    dump = _output("ubus", "-S", "call", "network.interface", "dump")
    return Sources(exports, dump.out.decode("utf-8", "replace"), seen, tuple(unread))


def _output(*words: str) -> process.Done:
    try:
        return process.run(*words)
    except OSError as error:
        return process.Done(127, b"", f"{words[0]}: {error.strerror}".encode())


def configured(sources: Sources) -> Tables:
    """/etc/config/cpe-filter. Raises `UciError`."""
    return Tables(_sections(sources, PACKAGES[0]))


def service_section(sources: Sources) -> Section:
    """The section `main`, also where it or another section cannot be used; what may run, and how, does not depend on
    these."""
    try:
        sections = export.parse(sources.exports[PACKAGES[0]])
    except export.ExportError:
        sections = []
    mains = (one for one in sections if (one.kind, one.name) == (PACKAGES[0], "main"))
    return next(mains, Section(PACKAGES[0], "main", {}))


def provisioned(sources: Sources) -> Provision:
    """The section `provision`, also where another section cannot be used. One that cannot be used is the default: what
    is in force stays, and nothing is fetched."""
    try:
        found = _of_kind(sources, provision.KIND)
        return provision.read(found) if found else Provision()
    except OptionError:
        return Provision()


def enrolled(sources: Sources) -> Enrol:
    """The section `enrol`, in the same way."""
    try:
        found = _of_kind(sources, enrol.KIND)
        return enrol.read(found) if found else Enrol()
    except OptionError:
        return Enrol()


def _of_kind(sources: Sources, kind: str) -> Section | None:
    try:
        return next((one for one in export.parse(sources.exports[PACKAGES[0]]) if one.kind == kind), None)
    except export.ExportError:
        return None


def make(sources: Sources, settings: Tables) -> Made:
    """The policy of this configuration. Raises `UciError`."""
    file = settings.main.text("policy_file")
    if file:
        return _of_file(file, sources)
    notes = [warning(f"/etc/config/{package} is not used: {error}") for package, error in sources.unread]
    chosen = {*settings.data.get("filter", {})}
    _complete(settings, sources, notes)
    router = _router(sources, notes)
    table = settings.data.pop("network", {})
    for key, side in (("lan", router.lan(settings.chosen["lan"])), ("wan", router.wan(settings.chosen["wan"]))):
        table[key] = _allowed(key, side, notes)
    _disjoint(table, settings, notes)
    settings.data["network"] = table
    if SIGNED in settings.data:
        raise UciError(f"cpe-filter.{SIGNED}: it {_NOT_ITS_OWN}")
    try:
        policy = build(settings.data, _NOWHERE)
    except PolicyError as error:
        raise UciError(tables.in_ucis_names(str(error).removeprefix(f"{_NOWHERE}: "))) from None
    text = tables.toml(settings.data).encode()
    return Made(policy, text, [*notes, *router.notes], router.devices.seen, "", "mode" in chosen)


def _of_file(path: str, sources: Sources) -> Made:
    if not os.path.isfile(path) or not os.access(path, os.R_OK):  # a pipe in its place must not hold us up
        raise UciError(f"cpe-filter.main.policy_file: {path} cannot be read")
    text = places.read(path, toml_file.MAX_FILE_BYTES + 1)
    try:
        data = toml_file.parse(text, path, PolicyError)
        if SIGNED in data:  # a copy of what the service has made, documents and all
            raise PolicyError(f"{path}: [{SIGNED}] {_NOT_ITS_OWN}")
        policy = build(data, path)
    except PolicyError as error:
        raise UciError(str(error)) from None
    return Made(policy, text, [], sources.seen, path)


def _sections(sources: Sources, package: str, notes: list[Line] | None = None) -> list[Section]:
    try:
        return export.parse(sources.exports[package])
    except export.ExportError as error:
        if notes is None:
            raise UciError(f"/etc/config/{package}: {error}") from None
        notes.append(warning(f"/etc/config/{package} is not used: {error}"))
        return []


def _router(sources: Sources, notes: list[Line]) -> ways.Router:
    network, firewall = (_sections(sources, name, notes) for name in ("network", "firewall"))
    dump = netifd.parse(sources.dump)
    return ways.Router(network, firewall, dump, sources.seen, places.at(places.SYS))


def _complete(settings: Tables, sources: Sources, notes: list[Line]) -> None:
    """What is not configured and has no fixed default on OpenWrt: the mode, and where the leases are."""
    network = settings.data.get("network", {})
    if "mode" not in settings.data.get("filter", {}) and not network.get("relays"):
        settings.data.setdefault("filter", {})["mode"] = "monitor"
    if "leases" not in network:
        leases = lease_files.paths(_sections(sources, "dhcp", notes))
        if len(leases) > _MOST_LEASES:
            notes.append(notice(f"devices' names are read from {_MOST_LEASES} of {len(leases)} lease files of DHCP"))
        if tuple(leases) != NetworkTable().leases:
            settings.data.setdefault("network", network)["leases"] = leases[:_MOST_LEASES]


def _allowed(key: str, side: ways.Side, notes: list[Line]) -> list[str]:
    if not side.devices:
        named = f" of {' '.join(side.unknown)}" if side.unknown else ""
        raise UciError(f"cpe-filter.network.{key}_network: no device is known{named}; name it by `list {key}`")
    if side.unknown:
        notes.append(
            notice(
                f"{key} is {' '.join(side.devices)} for now, without the device of {' '.join(side.unknown)}, which "
                "nothing names yet"
            )
        )
    return list(side.devices)


def _disjoint(table: dict[str, Any], settings: Tables, notes: list[Line]) -> None:
    """An interface that zones have on both sides is the Internet's; where UCI names it, that is an error of UCI's."""
    both = [name for name in table["lan"] if name in table["wan"]]
    if both and not any(chosen.devices or chosen.networks for chosen in settings.chosen.values()):
        left = [name for name in table["lan"] if name not in both]
        if left:
            table["lan"] = left
            notes.append(notice(f"{' '.join(both)} is in zones of both sides, and counts as wan"))
