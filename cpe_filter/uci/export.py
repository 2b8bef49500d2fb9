"""The text of `uci export`: sections with options and lists.

Knows libuci's form of it (uci_export in file.c): a line for each section, option and entry of a list, values in single
quotes, where a quote is written as '\\''. A value may hold anything else, line ends included. Must not know what any of
it means. Bounded by the length of the text.
"""

from __future__ import annotations

from collections.abc import Iterator

from cpe_filter.lean.named_tuple import NamedTuple

_SPACE = " \t\r"


class ExportError(ValueError):
    """A text that is not what `uci export` prints; the text of the error says where."""


class Section(NamedTuple):
    """`config KIND 'NAME'` and what is below it. name: "" if the section has none. A list's value is a list."""

    kind: str
    name: str
    options: dict[str, str | list[str]]

    def text(self, option: str) -> str:
        """An option's value, a list's entries with spaces between; "" if it is not set."""
        value = self.options.get(option, "")
        return " ".join(value) if isinstance(value, list) else value

    def words(self, option: str) -> list[str]:
        """A list's entries, or the words of an option: `list` and `option` mean the same to most of OpenWrt."""
        return self.text(option).split()

    def flag(self, option: str, default: bool) -> bool:
        """As OpenWrt's config_get_bool."""
        return FLAGS.get(self.text(option), default)


#: What UCI takes as a boolean.
FLAGS = {
    **dict.fromkeys(("1", "on", "true", "yes", "enabled"), True),
    **dict.fromkeys(("0", "off", "false", "no", "disabled"), False),
}


def parse(text: str) -> list[Section]:
    """The sections of a package. Raises `ExportError`."""
    sections: list[Section] = []
    for number, words in _lines(text):
        command, *rest = words
        if command == "package" and len(rest) == 1:
            continue
        if command == "config" and len(rest) in (1, 2):
            sections.append(Section(rest[0], rest[1] if len(rest) == 2 else "", {}))
        elif command in ("option", "list") and len(rest) == 2 and sections:
            _put(sections[-1].options, rest[0], rest[1], command == "list")
        else:
            raise ExportError(f"line {number} is not of `uci export`")
    return sections


def _put(options: dict[str, str | list[str]], name: str, value: str, to_list: bool) -> None:
    before = options.get(name)
    if not to_list:
        options[name] = value
    elif isinstance(before, list):
        before.append(value)
    else:
        options[name] = [value] if before is None else [before, value]


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each line that is not empty, as its number and words. Quotes may hold line ends. Raises `ExportError`."""
    words: list[str] = []
    at, number, begun = 0, 1, 1
    while at < len(text):
        char = text[at]
        if char == "\n":
            if words:
                yield begun, words
            words = []
            number += 1
            begun = number
            at += 1
        elif char in _SPACE:
            at += 1
        else:
            word, end = _word(text, at, number)
            number += text.count("\n", at, end)
            words.append(word)
            at = end
    if words:
        yield begun, words


def _word(text: str, at: int, number: int) -> tuple[str, int]:
    """The word at a place, without its quotes, and where it ends."""
    parts = []
    while at < len(text) and text[at] not in _SPACE and text[at] != "\n":
        if text[at] == "'":
            end = text.find("'", at + 1)
            if end < 0:
                raise ExportError(f"line {number} has a quote without an end")
            parts.append(text[at + 1 : end])
            at = end + 1
        elif text[at] == "\\" and at + 1 < len(text):
            parts.append(text[at + 1])
            at += 2
        else:
            parts.append(text[at])
            at += 1
    return "".join(parts), at
