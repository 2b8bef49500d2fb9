"""/etc/config/cpe-filter as the tables of a policy, and as TOML.

Knows UCI's sections, how a value of UCI becomes a value of a kind, and how TOML writes one. Must not know which values
are valid (policy). So an unknown option is passed on and refused there. Whatever a value holds, it becomes one value
and nothing else. The service's own section, and networks, are for others (`main`, `Chosen`).
"""

from __future__ import annotations

from typing import Any

from cpe_filter import toml_file
from cpe_filter.inputs import shown
from cpe_filter.policy.keys import BY_TABLE
from cpe_filter.policy.model import PolicyError
from cpe_filter.uci import enrol, provision
from cpe_filter.uci.export import FLAGS, Section
from cpe_filter.uci.options import OptionError
from cpe_filter.uci.ways import Chosen

#: The options of the section `main`.
MAIN = ("enabled", "policy_file", "jail")
_LISTS = frozenset(("networks", "prefixes", "paths", "interfaces", "ports", "replies", "macs"))
_NUMBERS = frozenset(("number", "ports"))
#: A number of more digits is not a number of anything.
_MOST_DIGITS = 15
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_NETWORK = _NAME - {"-"}
_SIDES = ("lan", "wan")
#: Sections that concern the service alone, by type; they are only checked here.
_OF_SERVICE = {provision.KIND: provision.read, enrol.KIND: enrol.read}
_DATE = " is not a date; allowed: a date such as 2027-01-31, or a date and time"


class UciError(ValueError):
    """A configuration that cannot be used; the text names section and option, what is wrong and what is allowed."""


class Tables:
    """A configuration, read. Raises `UciError`.

    data: the policy's tables, as TOML's parser would give them, without LAN and WAN. chosen: these two, by `lan` and
    `wan`. main: the options of the section `main`.
    """

    def __init__(self, sections: list[Section]) -> None:
        self.data: dict[str, Any] = {}
        self.main = Section("cpe-filter", "main", {})
        self.chosen = {key: Chosen() for key in _SIDES}
        self._seen: set[str] = set()
        for section in sections:
            self._add(section)

    def _add(self, section: Section) -> None:
        kind, name = section.kind, section.name
        if kind == "cpe-filter":
            self._add_main(section)
        elif kind in _OF_SERVICE:
            self._check(section)
        elif not kind or not _NAME.issuperset(kind):
            raise UciError(f"cpe-filter.{name}: the section's type is unknown")
        elif kind == "exempt":
            count = len(self.data.setdefault("exempt", []))
            self.data["exempt"].append(self._table(section, f"@exempt[{count}]"))
        elif kind in self.data:
            raise UciError(f"cpe-filter.{name}: a second section of type {kind}; one is expected")
        else:
            self.data[kind] = self._table(section, kind)

    def _add_main(self, section: Section) -> None:
        if section.name != "main":
            raise UciError(f"cpe-filter.{section.name}: a section of type cpe-filter is called main")
        for option, value in section.options.items():
            if option not in MAIN:
                raise UciError(f"cpe-filter.main.{option}: unknown option; known: {' '.join(MAIN)}")
            if isinstance(value, list):
                raise UciError(f"cpe-filter.main.{option} is a list; expected one value")
        jail = section.text("jail")
        if jail and jail not in FLAGS and jail != "required":
            raise UciError(f"cpe-filter.main.jail is {shown(jail)}; allowed: 0, 1, required")
        self.main = section

    def _check(self, section: Section) -> None:
        if section.kind in self._seen:
            raise UciError(f"cpe-filter.{section.name}: a second section of type {section.kind}; one is expected")
        self._seen.add(section.kind)
        try:
            _OF_SERVICE[section.kind](section)
        except OptionError as error:
            raise UciError(str(error)) from None

    def _table(self, section: Section, place: str) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for option, value in section.options.items():
            where = f"cpe-filter.{place}.{option}"
            if not _NAME.issuperset(option):
                raise UciError(f"cpe-filter.{place}: an option's name is unknown")
            for text in value if isinstance(value, list) else [value]:
                if any("\ud800" <= char <= "\udfff" for char in text):
                    raise UciError(f"{where} is not UTF-8 text")
            side, _, rest = option.partition("_")
            if section.kind == "network" and side in _SIDES and rest in ("", "network"):
                self._choose(side, rest, section.words(option), where)
            else:
                table[option] = _value(section.kind, option, value, where)
        return table

    def _choose(self, side: str, rest: str, words: list[str], where: str) -> None:
        if rest and not all(_NETWORK.issuperset(word) for word in words):
            raise UciError(f"{where}: no network can have such a name")
        field = "networks" if rest else "devices"
        self.chosen[side] = self.chosen[side]._replace(**{field: tuple(words)})


def _value(table: str, option: str, value: str | list[str], where: str) -> Any:
    key = BY_TABLE.get(table, {}).get(option)
    kind = key.kind if key else "date" if (table, option) == ("exempt", "until") else "text"
    if kind in _LISTS:
        # `option` in place of `list`: several, with spaces between. In UCI `list leases ''` means that there are none.
        items = [item for item in value if item] if isinstance(value, list) else value.split()
        return [_one(kind, item, where) for item in items]
    if isinstance(value, list):
        return [item for item in value if item]
    return _one(kind, value, where)


def _one(kind: str, text: str, where: str) -> Any:
    """A malformed number, boolean or date stays a text, which the policy refuses."""
    if kind == "flag":
        return FLAGS.get(text, text)
    if kind in _NUMBERS and text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS:
        return int(text) if text[0] != "0" or text == "0" else text
    if kind == "date":
        return _date(text, where)
    return text


def _date(text: str, where: str) -> Any:
    if len(text) < 10 or not all(char in "0123456789TtZz:.+- " for char in text) or text[4] != "-" or text[7] != "-":
        return text
    try:
        found = toml_file.parse(f"until = {text}\n".encode(), "", PolicyError)["until"]
    except PolicyError:
        found = None
    if not hasattr(found, "timetuple"):
        raise UciError(where + _DATE)
    return found


# ── errors of a policy, in UCI's names ──────────────────────────────────────────────────────────────


def in_ucis_names(error: str) -> str:
    """An error about tables and keys of a policy, with the sections and options that they come from."""
    if error.startswith("[[exempt]] number "):
        number, _, rest = error.removeprefix("[[exempt]] number ").partition(" ")
        between = ": " if rest.startswith(("unknown key ", "exempts ")) else "."
        return f"cpe-filter.@exempt[{int(number) - 1}]{between}{rest}"
    if error.startswith("["):
        table, _, rest = error[1:].partition("] ")
        return f"cpe-filter.{table}{': ' if rest.startswith('unknown ') else '.'}{rest}"
    return f"cpe-filter: {error}"


# ── TOML ────────────────────────────────────────────────────────────────────────────────────────────


def toml(data: dict[str, Any]) -> str:
    """Tables as a TOML file; [network] comes last."""
    lines: list[str] = []
    for table in sorted(data, key=lambda name: name == "network"):
        many = isinstance(data[table], list)
        for content in data[table] if many else [data[table]]:
            lines += ["", f"[[{table}]]" if many else f"[{table}]"]
            lines += [f"{key} = {_written(value)}" for key, value in content.items()]
    return "\n".join(lines) + "\n"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value))}"'
    text: str = value.isoformat()  # a date, or a date and time
    return text


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return f"\\u{ord(char):04X}" if char < " " or char == "\x7f" else char
