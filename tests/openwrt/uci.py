"""OpenWrt's `uci`, as far as our scripts use it: export, get, set, add_list, commit on files in $UCI_CONFIG_DIR.

`python uci.py [-q] [-S] [-n] COMMAND ...`. Strict unless -S: then what precedes a mistake is exported, with status 0,
as by the real one. test_uci and test_init pass with that one, too (CPE_FILTER_UCI names it). Runs alone, without this
project.
"""

from __future__ import annotations

import os
import re
import sys

FOLDER = os.environ.get("UCI_CONFIG_DIR", "/etc/config")
NAME = re.compile(r"[A-Za-z0-9_]+")

Options = list[tuple[str, "str | list[str]"]]


class Section:
    """`config kind 'name'` and what is below it. name: "" for an anonymous one."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        self.options: Options = []

    def put(self, name: str, value: str, to_list: bool) -> None:
        """As a further line of the file would: an option replaces, a list grows, and takes in an option before it."""
        known = dict(self.options)
        before = known.get(name)
        if isinstance(before, list):
            known[name] = [*before, value]
        elif to_list:
            known[name] = [value] if before is None else [before, value]
        elif value:
            known[name] = value
        self.options = list(known.items())


class Wrong(Exception):
    """What the real one says; `before` is what stands before the mistake."""

    def __init__(self, text: str, before: list[Section] | None = None) -> None:
        super().__init__(text)
        self.before = before or []


class _Unterminated(Exception):
    def __init__(self, text: str, lines: list[tuple[int, list[str]]]) -> None:
        super().__init__(text)
        self.lines = lines


def _lines(text: str) -> list[tuple[int, list[str]]]:
    """The lines that are not empty, by number and in words. Quotes may hold line ends."""
    token = re.compile(
        r"[ \t\r]+|#[^\n]*|(?P<end>\n)|(?P<word>(?:'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|[^\s'\"\\])+)", re.DOTALL
    )
    out: list[tuple[int, list[str]]] = []
    words: list[str] = []
    at, number = 0, 1
    while at < len(text):
        found = token.match(text, at)
        if not found:
            raise _Unterminated(f"Parse error (EOF with unterminated {text[at]}) at line {number}, byte 1", out)
        if found["word"]:
            words.append(_unquoted(found["word"]))
        elif found["end"]:
            out += [(number, words)] if words else []
            words = []
        number += found[0].count("\n")
        at = found.end()
    return out + ([(number, words)] if words else [])


def _unquoted(word: str) -> str:
    parts = re.findall(r"'([^']*)'|\"((?:\\.|[^\"\\])*)\"|\\(.)|([^'\"\\]+)", word, re.DOTALL)
    return "".join(
        single + re.sub(r"\\(.)", r"\1", double, flags=re.DOTALL) + c + plain for single, double, c, plain in parts
    )


def parse(text: str) -> list[Section]:
    """Raises `Wrong`."""
    sections: list[Section] = []
    unterminated = ""
    try:
        lines = _lines(text)
    except _Unterminated as error:
        lines, unterminated = error.lines, str(error)
    for number, words in lines:
        wrong = _add(sections, words)
        if wrong:
            raise Wrong(f"Parse error ({wrong}) at line {number}, byte 1", sections)
    if unterminated:
        raise Wrong(unterminated, sections)
    return sections


def _add(sections: list[Section], words: list[str]) -> str:
    """A line of the file; "" or what is wrong with it."""
    kind, *rest = words
    if kind == "package" and len(rest) == 1:
        return ""
    if kind == "config" and len(rest) in (1, 2):
        name = rest[1] if len(rest) == 2 else ""
        if name and not NAME.fullmatch(name):
            return "invalid character in name field"
        same = [one for one in sections if name and one.name == name]
        if same and same[0].kind != rest[0]:
            return "section of different type overwrites prior section with same name"
        sections.append(Section(rest[0], name))
        return ""
    if kind in ("option", "list") and len(rest) == 2 and sections:
        if not NAME.fullmatch(rest[0]):
            return "invalid character in name field"
        sections[-1].put(rest[0], rest[1], kind == "list")
        return ""
    return "invalid command"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _anonymous(number: int) -> str:
    """What a section without a name is called."""
    return f"cfg{number:02x}aaaa"


def text_of(sections: list[Section], names: bool) -> str:
    """The file. names: anonymous sections get one."""
    out = []
    for number, section in enumerate(sections):
        name = section.name or (_anonymous(number) if names else "")
        out.append(f"config {section.kind}{f' {_quoted(name)}' if name else ''}\n")
        for option, value in section.options:
            if isinstance(value, list):
                out += [f"\tlist {option} {_quoted(item)}\n" for item in value]
            else:
                out.append(f"\toption {option} {_quoted(value)}\n")
        out.append("\n")
    return "".join(out)


def load(package: str) -> list[Section]:
    """Raises `Wrong`."""
    try:
        with open(os.path.join(FOLDER, package), encoding="utf-8", errors="surrogateescape", newline="") as file:
            return parse(file.read())
    except FileNotFoundError:
        raise Wrong("Entry not found") from None


def _export(package: str, strict: bool, names: bool) -> str:
    try:
        sections = load(package)
    except Wrong as error:
        if strict or not os.path.exists(os.path.join(FOLDER, package)):
            raise
        sections = error.before
    return f"package {package}\n\n{text_of(sections, names)}"


def _get(section: Section | None, option: str) -> str:
    if section is None or (option and option not in dict(section.options)):
        raise Wrong("Entry not found")
    value = dict(section.options)[option] if option else section.kind
    return (" ".join(value) if isinstance(value, list) else value) + "\n"


def run(arguments: list[str]) -> str:
    """Does what the arguments say; what is printed. Raises `Wrong`."""
    flags = [word for word in arguments if word in ("-q", "-S", "-n")]
    command, *rest = [word for word in arguments if word not in flags]
    if command == "export":
        return _export(rest[0], "-S" not in flags, "-n" in flags)
    if command == "commit":
        return ""
    place, _, value = rest[0].partition("=")
    package, name, option = (*place.split(".", 2), "")[:3]
    sections = load(package)
    section = next((one for number, one in enumerate(sections) if name in (one.name, _anonymous(number))), None)
    if command == "get":
        return _get(section, option)
    if command == "set" and not option:
        sections += [Section(value, name)] if section is None else []
    elif section is not None and command in ("set", "add_list"):
        section.put(option, value, command == "add_list")
    else:
        raise Wrong("Invalid argument")
    with open(os.path.join(FOLDER, package), "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(text_of(sections, False))
    return ""


if __name__ == "__main__":
    try:
        said = run(sys.argv[1:])
        sys.stdout.buffer.write(said.encode("utf-8", "surrogateescape"))
    except Wrong as error:
        if "-q" not in sys.argv:
            sys.stderr.write(f"uci: {error}\n")
        sys.exit(1)
