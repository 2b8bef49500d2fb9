"""The policy file: TOML -> `Policy`.

Knows how tables become a policy, and the [[exempt]] tables. Must not know what a key means, or how a policy is carried
out. keys has the keys; toml_file reads and checks. Not part of the running filter, which reads its policy in a child
process (load).
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from typing import Any

from cpe_filter import toml_file
from cpe_filter.inputs import found, shown
from cpe_filter.lean.clocks import Posix
from cpe_filter.policy import signed_table
from cpe_filter.policy.interfaces import overlap
from cpe_filter.policy.keys import AT_START, BY_TABLE, KEYS, OF_RESPONDER
from cpe_filter.policy.kinds import MAX_LIST
from cpe_filter.policy.model import Exemption, Policy, PolicyError, Reread, parse_exemption
from cpe_filter.policy.packages import provided

_EXEMPT_KEYS = ("device", "destination", "until", "reason")


def load(path: str) -> Policy:
    """Reads and checks a policy file. Raises `PolicyError`."""
    return loaded(path)[0]


def loaded(path: str) -> tuple[Policy, tuple[str, ...]]:
    """The policy of a file, and lines about what it asks for that is not installed (packages). Raises `PolicyError`."""
    return provided(build(toml_file.load(path, PolicyError), path))


def reread(path: str, old: Policy) -> Reread:
    """The file again, while a filter runs with `old`. Raises `PolicyError`."""
    new, lacks = loaded(path)
    differ = [key for key in KEYS if key.value(old) != key.value(new)]
    later = [key for key in differ if key in AT_START]
    responder = [key for key in differ if key in OF_RESPONDER]
    changed = [key.place for key in differ if key not in later]
    if old.exempt != new.exempt:
        changed.append("[[exempt]]")
    if old.signed != new.signed:
        changed.append("[signed]")
    for key in later:
        new = _with(new, key.table, {key.name: key.value(old)})
    places = (tuple(key.place for key in later), tuple(key.place for key in responder))
    return Reread(new, tuple(changed), *places, lacks)


def _with(policy: Policy, table: str, values: dict[str, Any]) -> Policy:
    """The policy with these keys of one table changed."""
    changed: dict[str, Any] = {table: getattr(policy, table)._replace(**values)}
    return policy._replace(**changed)


def problems(path: str) -> tuple[str, ...]:
    """All that is wrong with a policy file, each as `load` would say it."""
    found_all: list[str] = []
    try:
        provided(build(toml_file.load(path, PolicyError), path, found_all))
    except PolicyError as error:
        found_all.append(str(error))
    return tuple(found_all)


def build(data: dict[str, Any], path: str, problems: list[str] | None = None) -> Policy:
    """Checks parsed TOML. Raises `PolicyError`. problems: as for `toml_file.check`."""
    policy = Policy()
    tables = {table: content for table, content in data.items() if table not in ("exempt", "signed")}
    lists = {"exempt": _EXEMPT_KEYS}
    for table, values in toml_file.check(tables, path, BY_TABLE, PolicyError, lists, problems).items():
        policy = _with(policy, table, values)
    if "signed" in data:
        policy = policy._replace(signed=signed_table.table(data["signed"], path))
    if "exempt" in data:
        try:
            policy = policy._replace(exempt=_exemptions(data["exempt"], path))
        except PolicyError as error:
            toml_file.note(error, problems)
    network = policy.network
    both = dict.fromkeys(max(one, other) for one in network.lan for other in network.wan if overlap(one, other))
    if both:
        raise PolicyError(
            f"{path}: [network] lan and wan both name {', '.join(sorted(both))}; an interface is one or the other"
        )
    return policy


def _exemptions(content: Any, path: str) -> tuple[Exemption, ...]:
    return tuple(timed_exemption(entry, where) for where, entry in exempt_tables(content, _EXEMPT_KEYS, MAX_LIST, path))


def exempt_tables(content: Any, keys: tuple[str, ...], most: int, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each table [[exempt]], which has only these keys, and before it its place for errors. Raises `PolicyError`."""
    if not isinstance(content, list) or len(content) > most:
        raise PolicyError(f"{path}: exempt is {found(content)}; expected tables [[exempt]], at most {most}")
    for number, entry in enumerate(content, 1):
        where = f"{path}: [[exempt]] number {number}"
        if not isinstance(entry, dict):
            raise PolicyError(f"{where} is {found(entry)}; expected a table")
        for name in entry:
            if name not in keys:
                raise PolicyError(f"{where} unknown key {shown(name)}; {toml_file.nearest(name, keys)}")
        yield where, entry


def timed_exemption(entry: dict[str, Any], where: str) -> Exemption:
    """A table [[exempt]] whose keys are known ones. Raises `PolicyError`, which begins with `where`."""
    until = entry.get("until")
    return parse_exemption(entry, where)._replace(until=None if until is None else moment(until, f"{where} until"))


def moment(value: Any, where: str) -> Posix:
    """The last second of a date, or a date and time, as POSIX time. Raises `PolicyError`."""
    if not hasattr(value, "timetuple"):  # a TOML date or date-time
        raise PolicyError(f"{where} is {found(value)}; allowed: a date such as 2027-01-31, or a date and time")
    # A date alone lasts to its end; a time without zone is UTC, like the router's clock.
    try:
        utc = value.utctimetuple() if hasattr(value, "utctimetuple") else None
    except OverflowError:  # in UTC it lies outside the years 1 to 9999
        raise PolicyError(f"{where} is {value}; allowed: a date from the years 1 to 9999") from None
    return Posix(calendar.timegm(utc)) if utc else Posix(calendar.timegm(value.timetuple()) + 86399)
