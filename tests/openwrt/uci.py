"""OpenWrt's `uci` on the files in $UCI_CONFIG_DIR: show, export, get, set, add_list, del_list, delete, commit, revert.

`python uci.py [-q] [-S] [-n] COMMAND ...`. Read as libuci's file.c reads: a line may hold several commands, quotes may
hold line ends, a section of a known name goes on, and without -S the first mistake ends it; with -S (as config_load of
functions.sh) only the line with the mistake is left out. Changes wait in $UCI_CONFIG_DIR/.uci, as the real one's do in
/tmp/.uci, and are seen by all but the file until `commit`. Left out: `import`, `batch`, `add`, `rename`, `reorder`,
conf2dir, delta files of others, the real names of sections without one, and a list that `del_list` has emptied. Runs
alone, without this project.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

FOLDER = os.environ.get("UCI_CONFIG_DIR", "/etc/config")
CHANGES = ".uci"
NAME = re.compile(r"[A-Za-z0-9_]+")
KIND = re.compile(r"[!-~]+")
PACKAGE = re.compile(r"[A-Za-z0-9_-]+")
_SPACES = " \t\n\v\f\r"


class Section:
    """`config kind 'name'` and what is below it. name: "" for an anonymous one."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        self.options: dict[str, str | list[str]] = {}

    def set(self, name: str, value: str) -> None:
        """An empty value sets nothing, and changes nothing."""
        if value:
            self.options[name] = value

    def add(self, name: str, value: str) -> None:
        """An option before becomes the list's first entry, at the place of the new list."""
        before = self.options.get(name)
        if isinstance(before, list):
            before.append(value)
        else:
            self.options[name] = [value] if before is None else [before, value]


class UciFileError(Exception):
    """What the real one says."""


class _CommandError(Exception):
    """In a file; the text is libuci's reason."""


class _Reader:
    """A file on the way to its sections. A line with more behind it in quotes is joined to one."""

    def __init__(self, text: str, strict: bool) -> None:
        self._lines = re.findall(r"[^\n]*\n|[^\n]+", text)
        self._strict = strict
        self._line = self._pos = 0
        self._buffer = ""
        self.sections: list[Section] = []
        self._section: Section | None = None

    def read(self) -> list[Section]:
        """Raises `UciFileError`."""
        while self._lines:
            self._buffer, self._pos = "", 0
            self._more()
            try:
                self._commands()
            except _CommandError as mistake:
                if self._strict:
                    raise UciFileError(f"Parse error ({mistake}) at line {self._line}, byte {self._pos}") from None
        return self.sections

    # ── characters ──────────────────────────────────────────────────────────────────────────────

    @property
    def _char(self) -> str:
        """ "" at the end of the buffer."""
        return self._buffer[self._pos : self._pos + 1]

    def _more(self) -> bool:
        """The next line, in place of what follows."""
        self._buffer = self._buffer[: self._pos]
        if not self._lines:
            return False
        line = self._lines.pop(0)
        self._buffer += line
        self._line += line.endswith("\n")
        return True

    def _skip(self) -> None:
        while self._char and self._char in _SPACES:
            self._pos += 1

    def _escaped(self) -> bool:
        """Behind a backslash: whether a character follows that stands for itself. A line's end does not."""
        self._pos += 1
        if self._buffer[self._pos :] in ("", "\n", "\r\n"):
            self._more()
            return False
        return True

    def _take(self, word: list[str]) -> None:
        word.append(self._char)
        self._pos += 1

    def _quoted(self, word: list[str], quote: str) -> None:
        self._pos += 1
        while self._char != quote:
            if not self._char:
                if not self._more():
                    raise _CommandError(f"EOF with unterminated {quote}")
            elif self._char != "\\" or quote == "'" or self._escaped():
                self._take(word)
        self._pos += 1

    def _word(self) -> str:
        word: list[str] = []
        begun, ended = self._pos, False
        while not ended:
            if self._char in ("'", '"') and self._char:
                self._quoted(word, self._char)
            elif self._char in ("", "#", ";"):
                break
            elif self._char != "\\" or self._escaped():
                self._take(word)
            ended = not self._char or self._char in _SPACES
        if self._char == "#" or (self._char == ";" and self._pos == begun + len(word)):
            self._buffer = self._buffer[: self._pos]  # the end of the word is written over it
        elif self._char and self._char != ";":
            self._pos += 1
        return "".join(word)

    def _argument(self, required: bool = False, allowed: re.Pattern[str] | None = None) -> str:
        self._skip()
        if self._char == ";":
            self._pos += 1
            word = ""
        else:
            word = self._word()
        if required and not word:
            raise _CommandError("insufficient arguments")
        if allowed and word and not allowed.fullmatch(word):
            raise _CommandError("invalid character in name field")
        return word

    def _end(self) -> None:
        if self._argument() and self._strict:
            raise _CommandError("too many arguments")

    # ── commands ────────────────────────────────────────────────────────────────────────────────

    def _commands(self) -> None:
        self._skip()
        while True:
            found = re.compile(r"[ \t]*([^ \t]+)").match(self._buffer, self._pos)
            if not found or found[1].startswith("#"):
                return
            commands: dict[str, tuple[str, Callable[[], None]]] = {
                "p": ("package", self._package),
                "c": ("config", self._config),
                "o": ("option", lambda: self._option(Section.set)),
                "l": ("list", lambda: self._option(Section.add)),
            }
            name, command = commands.get(found[1][0], ("", self._package))
            if found[1] not in (name, name[:1]) or not name:
                raise _CommandError("invalid command")
            if name in ("option", "list") and self._section is None:
                self._pos += len(found[0]) - len(found[0].lstrip(" \t"))
                raise _CommandError("option/list command found before the first section")
            if found.end() >= len(self._buffer):
                raise _CommandError(f"{'option' if name == 'list' else name} without name")
            self._pos = found.end() + 1
            command()

    def _package(self) -> None:
        self._argument(True, PACKAGE)
        self._end()

    def _config(self) -> None:
        kind = self._argument(True)
        if not KIND.fullmatch(kind):
            raise _CommandError("invalid character in type field")
        name = self._argument(allowed=NAME)
        self._end()
        same = [one for one in self.sections if name and one.name == name]
        if same and same[0].kind != kind and self._strict:
            raise _CommandError("section of different type overwrites prior section with same name")
        self._section = same[0] if same else Section(kind, name)
        self._section.kind = kind
        if not same:
            self.sections.append(self._section)

    def _option(self, put: Callable[[Section, str, str], None]) -> None:
        name = self._argument(True, NAME)
        value = self._argument()
        self._end()
        assert self._section is not None
        put(self._section, name, value)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _anonymous(number: int) -> str:
    """What a section without a name is called."""
    return f"cfg{number + 1:02x}aaaa"


def text_of(package: str, sections: list[Section], names: bool) -> str:
    """The file, under a line with the package's name. names: anonymous sections get one."""
    out = [f"package {package}\n"] if package else []
    for number, section in enumerate(sections):
        name = section.name or (_anonymous(number) if names else "")
        out.append(f"\nconfig {section.kind}{f' {_quoted(name)}' if name else ''}\n")
        for option, value in section.options.items():
            if isinstance(value, list):
                out += [f"\tlist {option} {_quoted(item)}\n" for item in value]
            else:
                out.append(f"\toption {option} {_quoted(value)}\n")
    return "".join([*out, "\n"])


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(text)


def _changed(package: str) -> str:
    return os.path.join(FOLDER, CHANGES, package)


def load(package: str, strict: bool) -> list[Section]:
    """Raises `UciFileError`."""
    for path in (_changed(package), os.path.join(FOLDER, package)):
        if os.path.isfile(path):
            return _Reader(_read(path), strict).read()
    raise UciFileError("Entry not found")


def _values(value: str | list[str], quoted: bool) -> str:
    if isinstance(value, str):
        return _quoted(value) if quoted else value
    return " ".join(_quoted(one) if quoted or set(one) & set(" \t\r\n") else one for one in value)


class _Place:
    """`package.section.option`, where the section may be `@kind[number]`."""

    def __init__(self, text: str, strict: bool) -> None:
        self.package, self._section, self.option = (*text.split(".", 2), "", "")[:3]
        if self.option and not NAME.fullmatch(self.option):
            raise UciFileError("Parse error")
        self.sections = load(self.package, strict)
        self.section = self._find()

    def _find(self) -> Section | None:
        found = re.fullmatch(r"@([!-~]*)\[(-?\d+)\]", self._section)
        if not found:
            named = [one for number, one in enumerate(self.sections) if self._section in (one.name, _anonymous(number))]
            return named[0] if named and self._section else None
        same = [one for one in self.sections if one.kind == found[1] or not found[1]]
        number = int(found[2])
        return same[number] if -len(same) <= number < len(same) else None

    def add(self, kind: str) -> None:
        if not NAME.fullmatch(self._section) or not KIND.fullmatch(kind):
            raise UciFileError("Invalid argument")
        if self.section is None:
            self.sections.append(Section(kind, self._section))
        else:
            self.section.kind = kind

    def save(self) -> None:
        os.makedirs(os.path.join(FOLDER, CHANGES), exist_ok=True)
        _write(_changed(self.package), text_of("", self.sections, False))


def _get(place: _Place) -> str:
    if place.section is None or (place.option and place.option not in place.section.options):
        raise UciFileError("Entry not found")
    return (_values(place.section.options[place.option], False) if place.option else place.section.kind) + "\n"


def _set(place: _Place, value: str) -> str:
    if not place.option:
        place.add(value)
    elif place.section is None:
        raise UciFileError("Invalid argument")
    elif value:
        place.section.set(place.option, value)
    else:
        place.section.options.pop(place.option, None)
    place.save()
    return ""


def _add_list(place: _Place, value: str) -> str:
    if place.section is None or not place.option:
        raise UciFileError("Invalid argument")
    place.section.add(place.option, value)
    place.save()
    return ""


def _del_list(place: _Place, value: str) -> str:
    if place.section is None:
        raise UciFileError("Invalid argument")
    before = place.section.options.get(place.option)
    if isinstance(before, list):
        left = [one for one in before if one != value]
        place.section.options[place.option] = left
        if not left:
            del place.section.options[place.option]
    place.save()
    return ""


def _delete(place: _Place, value: str) -> str:
    if place.section is None or (place.option and place.option not in place.section.options):
        raise UciFileError("Entry not found")
    if place.option:
        del place.section.options[place.option]
    else:
        place.sections.remove(place.section)
    place.save()
    return ""


def _show(package: str, strict: bool) -> str:
    out, seen = [], dict[str, int]()
    for section in load(package, strict):
        name = section.name or f"@{section.kind}[{seen.get(section.kind, 0)}]"
        seen[section.kind] = seen.get(section.kind, 0) + 1
        out.append(f"{package}.{name}={section.kind}\n")
        out += [f"{package}.{name}.{option}={_values(value, True)}\n" for option, value in section.options.items()]
    return "".join(out)


def _settle(packages: list[str], keep: bool, strict: bool) -> str:
    """`commit`, or `revert`; of all packages where none is named."""
    folder = os.path.join(FOLDER, CHANGES)
    for package in packages:
        load(package, strict)
    for package in packages or (sorted(os.listdir(folder)) if os.path.isdir(folder) else []):
        if os.path.exists(_changed(package)):
            if keep:
                _write(os.path.join(FOLDER, package), _read(_changed(package)))
            os.unlink(_changed(package))
    return ""


def run(arguments: list[str]) -> str:
    """Does what the arguments say; what is printed. Raises `UciFileError`."""
    flags = [word for word in arguments if word in ("-q", "-S", "-n")]
    command, *rest = [word for word in arguments if word not in flags]
    strict = "-S" not in flags
    if command == "export":
        return text_of(rest[0], load(rest[0], strict), "-n" in flags)
    if command == "show":
        return _show(rest[0], strict)
    if command in ("commit", "revert"):
        return _settle(rest, command == "commit", strict)
    place, _, value = rest[0].partition("=")
    if command == "get":
        return _get(_Place(place, strict))
    changes = {"set": _set, "add_list": _add_list, "del_list": _del_list, "delete": _delete}
    if command not in changes:
        raise UciFileError(f"{command} is not known to this stand-in")
    return changes[command](_Place(place, strict), value)


if __name__ == "__main__":
    try:
        said = run(sys.argv[1:])
        sys.stdout.buffer.write(said.encode("utf-8", "surrogateescape"))
    except UciFileError as error:
        if "-q" not in sys.argv:
            sys.stderr.write(f"uci: {error}\n")
        sys.exit(1)
