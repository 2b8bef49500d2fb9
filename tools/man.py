"""`python -m tools.man FOLDER`: the manual pages, made of the parser's own help and of the lists of keys.

    cpe-filter.8  cpe-filter-policy.5  cpe-collector.8  cpe-collector.toml.5

and completions for bash, zsh and tcsh (by shtab) in FOLDER/completions. man(7) is written, since mandoc and groff both
read it. Knows roff, argparse and `Key`. Must not know what a command does: a page says what `--help` says. Must not
need what the tests need: the Debian package's build runs it.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cpe_filter import __version__
from cpe_filter.cli.parser import make_parser
from cpe_filter.collect.config.keys import KEYS as COLLECTOR_KEYS
from cpe_filter.collect.config.model import Config
from cpe_filter.policy.keys import KEYS as POLICY_KEYS
from cpe_filter.policy.model import Policy
from cpe_filter.toml_file import Key

SHELLS = ("bash", "zsh", "tcsh")

_DONE = ("0", "Done.")
_UNUSABLE = (
    "2", "The arguments, a file or the system cannot be used. One line on stderr says what, where and what is "
         "allowed; check has a line for each problem.",
)  # fmt: skip
_INTERRUPTED = ("130", "Ctrl-C.")
_EXIT = [
    _DONE,
    ("1", "No filter is running (status, reload, release); reports are left undelivered (send)."),
    _UNUSABLE,
    ("3", "A part of the input could not be looked into (replay)."),
    _INTERRUPTED,
]
_COLLECTOR_EXIT = [
    _DONE,
    ("1", "A fault was found (doctor)."),
    _UNUSABLE,
    ("75", "The store cannot be reached; a mail system tries again later (bounce)."),
    _INTERRUPTED,
]
_FILES = [
    ("/etc/config/cpe-filter", "On OpenWrt: the configuration that the policy is made of."),
    (
        "/var/run/cpe-filter/policy.toml",
        "On OpenWrt: that policy; see cpe-filter-policy(5). Elsewhere --policy names it.",
    ),
    ("/var/run/cpe-filter/status.json", "What the running filter sees; `cpe-filter status` shows it."),
    ("/var/run/cpe-filter/control", "The socket for reload, release and exempt."),
    ("/etc/cpe-filter/state", "What is known of devices, for the time after a restart."),
    ("/etc/cpe-filter/exemptions.toml", "What `cpe-filter exempt` has added."),
]
_COLLECTOR_FILES = [
    ("/etc/cpe-filter/collector.toml", "The configuration, if --config names no other; see cpe-collector.toml(5)."),
]


# ── roff ────────────────────────────────────────────────────────────────────────────────────────────


def escaped(text: str) -> str:
    """Text in which roff finds no request and no escape. One line."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = "".join(character if character.isascii() else f"\\[u{ord(character):04X}]" for character in text)
    return "\\&" + text if text.startswith(".") else text


def paragraph(text: str) -> list[str]:
    """A paragraph; each sentence begins a line, as man-pages(7) wants it. `code` is bold."""
    parts = text.split("`")
    if len(parts) % 2:
        said = "".join(f"\\fB{escaped(part)}\\fR" if n % 2 else _spaced(part) for n, part in enumerate(parts))
    else:
        said = escaped(text)
    lines = textwrap.wrap(said, 78, break_long_words=False, break_on_hyphens=False) or [""]
    return ["\\&" + line if line.startswith((".", "'")) else line for line in lines]


def _spaced(part: str) -> str:
    """`escaped`, with the spaces at the ends."""
    if not part.strip():
        return " " if part else ""
    return (" " if part[0] == " " else "") + escaped(part) + (" " if part[-1] == " " else "")


def tagged(tag: str, text: str) -> list[str]:
    return [".TP", f"\\fB{escaped(tag)}\\fR", *paragraph(text)]


def title(name: str, section: int) -> list[str]:
    """The head. The date is that of SOURCE_DATE_EPOCH (reproducible-builds.org), else none."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    date = time.strftime("%Y-%m-%d", time.gmtime(int(epoch))) if epoch else ""
    return [f'.TH "{escaped(name).upper()}" "{section}" "{date}" "cpe\\-filter {escaped(__version__)}" "cpe\\-filter"']


def section(name: str, lines: Iterable[str]) -> list[str]:
    return [f'.SH "{name}"', *lines]


# ── commands ────────────────────────────────────────────────────────────────────────────────────────


def _verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name, help and parser of each command below this one."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {one.dest: one.help or "" for one in action._choices_actions}
            for name, below in action.choices.items():
                yield name, texts.get(name, ""), below


def _leaves(
    parser: argparse.ArgumentParser, path: str = "", text: str = ""
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Every command with a work of its own: its words, its help, its parser."""
    below = list(_verbs(parser))
    for name, said, one in below:
        yield from _leaves(one, f"{path} {name}".strip(), said)
    if path and not below:
        yield path, text, parser


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        plain = not isinstance(action, argparse._SubParsersAction | argparse._HelpAction | argparse._VersionAction)
        if plain and action.help != argparse.SUPPRESS:
            yield action


def _named(action: argparse.Action) -> str:
    value = action.metavar or action.dest.upper()
    shown = " ".join(value) if isinstance(value, tuple) else value
    if action.choices is not None and action.metavar is None:
        shown = "|".join(map(str, action.choices))
    if not action.option_strings:
        return f"{shown} ..." if action.nargs in ("+", "*") else shown
    names = ", ".join(action.option_strings)
    if action.nargs == "?":
        shown = f"[{shown}]"
    return names if action.nargs == 0 else f"{names} {shown}"


def command(words: str, text: str, parser: argparse.ArgumentParser) -> list[str]:
    """A command: how it is called, what it does, its arguments."""
    lines = [f'.SS "{escaped(words)}"', ".nf", *map(_verbatim, _usage(parser)), ".fi"]
    said = parser.description or (f"{text[0].upper()}{text[1:]}." if text else "")
    lines += [".PP", *paragraph(said)]
    for action in _arguments(parser):
        lines += tagged(_named(action), action.help or "")
    if parser.epilog:
        lines += [".PP", ".nf", *map(_verbatim, parser.epilog.rstrip().splitlines()), ".fi"]
    return lines


def _usage(parser: argparse.ArgumentParser) -> list[str]:
    """How it is called; arguments on further lines are below those of the first."""
    begin = "usage: "
    lines = parser.format_usage().rstrip().splitlines()
    return [line.removeprefix(begin if n == 0 else " " * len(begin)) for n, line in enumerate(lines)]


def _verbatim(line: str) -> str:
    spaces = len(line) - len(line.lstrip())
    return "\\&" + " " * spaces + escaped(line)


def _program(
    name: str,
    what: str,
    about: Iterable[str],
    commands: Iterable[list[str]],
    exits: list[tuple[str, str]],
    files: list[tuple[str, str]],
    see: str,
) -> str:
    lines = [
        *title(name, 8),
        *section("NAME", [f"{escaped(name)} \\- {escaped(what)}"]),
        *about,
        *section("COMMANDS", (line for one in commands for line in one)),
        *section("EXIT STATUS", (line for code, text in exits for line in tagged(code, text))),
        *section("FILES", (line for path, text in files for line in tagged(path, text))),
        *section("SEE ALSO", [see]),
    ]
    return "\n".join(lines) + "\n"


def filter_page() -> str:
    parser = make_parser()
    commands = [command(*one) for one in _leaves(parser) if not one[0].startswith("collector")]
    about = [
        *section("SYNOPSIS", [".B cpe\\-filter", ".I COMMAND", "[\\fIARGUMENT\\fR ...]"]),
        *section(
            "DESCRIPTION",
            [
                *paragraph(parser.description or ""),
                ".PP",
                *paragraph(
                    "It runs on the router and watches outbound mail on TCP port 25. Each device of the home is "
                    "judged by itself. What happens to mail that is sent straight to strangers' servers is said "
                    "in the policy; mail to the ISP's relays, webmail and submission are never touched."
                ),
            ],
        ),
    ]
    see = "\\fBcpe\\-filter\\-policy\\fR(5), \\fBcpe\\-collector\\fR(8), \\fBnft\\fR(8)"
    return _program("cpe-filter", "SMTP egress filter for subscribers' routers", about, commands, _EXIT, _FILES, see)


def collector_page() -> str:
    collector = next(one for name, _, one in _verbs(make_parser()) if name == "collector")
    about = [
        *section(
            "SYNOPSIS", [".B cpe\\-filter collector", "[\\fB\\-\\-config\\fR \\fIFILE\\fR]", "[\\fIVERB\\fR ...]"]
        ),
        *section("DESCRIPTION", paragraph(collector.description or "")),
    ]
    see = "\\fBcpe\\-collector.toml\\fR(5), \\fBcpe\\-filter\\fR(8)"
    commands = [command(*one) for one in _leaves(collector)]
    return _program(
        "cpe-collector", "the ISP's side of cpe-filter", about, commands, _COLLECTOR_EXIT, _COLLECTOR_FILES, see
    )


def toml(value: Any) -> str:
    """A default as it would be written in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return f"[{', '.join(toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


# ── files ───────────────────────────────────────────────────────────────────────────────────────────


def _keys(keys: Iterable[Key], defaults: Any) -> Iterator[str]:
    table = ""
    for key in keys:
        if key.table != table:
            table = key.table
            yield f'.SS "[{escaped(table)}]"'
        bounds = f"{key.low} to {key.high} ({key.unit})" if key.kind == "number" else key.allowed
        yield from tagged(f"{key.name} = {toml(key.value(defaults))}", key.meaning)
        yield ".br"
        yield f"Allowed: {escaped(bounds)}."


def _file(name: str, what: str, about: str, keys: Iterable[Key], defaults: Any, more: list[str], see: str) -> str:
    form = "The file is TOML. Unknown tables and keys are refused. Each key is shown with its default."
    lines = [
        *title(name, 5),
        *section("NAME", [f"{escaped(name)} \\- {escaped(what)}"]),
        *section("DESCRIPTION", [*paragraph(about), ".PP", *paragraph(form)]),
        *section("KEYS", _keys(keys, defaults)),
        *more,
        *section("SEE ALSO", [see]),
    ]
    return "\n".join(lines) + "\n"


def policy_page() -> str:
    exempt = section(
        "EXEMPTIONS",
        [
            *paragraph("Each table [[exempt]] lets a device send straight to a destination. It stays watched."),
            *tagged("device", 'A MAC such as "02:00:00:12:34:56", or "any".'),
            *tagged("destination", 'An address or a network, or "any".'),
            *tagged("until", "The last day, or a date and time; without it there is no end."),
            *tagged("reason", "One line that says what it is for."),
        ],
    )
    about = "What `cpe-filter run` does with outbound mail. `cpe-filter check` FILE checks it; `cpe-filter reload` has the running filter read it again."  # noqa: E501
    return _file(
        "cpe-filter-policy", "the policy of cpe-filter", about, POLICY_KEYS, Policy(), exempt, "\\fBcpe\\-filter\\fR(8)"
    )


def configuration_page() -> str:
    about = "The configuration of `cpe-filter collector`. `cpe-filter collector check` checks it."
    see = "\\fBcpe\\-collector\\fR(8)"
    name, what = "cpe-collector.toml", "the configuration of cpe-filter's collector"
    return _file(name, what, about, COLLECTOR_KEYS, Config(), [], see)


PAGES = {
    "cpe-filter.8": filter_page,
    "cpe-filter-policy.5": policy_page,
    "cpe-collector.8": collector_page,
    "cpe-collector.toml.5": configuration_page,
}


def completion(shell: str) -> str:
    """What a shell completes for `cpe-filter`."""
    import shtab

    return str(shtab.complete(make_parser(), shell))


def write(folder: Path) -> list[Path]:
    """Writes all pages and completions; returns their files."""
    (folder / "completions").mkdir(parents=True, exist_ok=True)
    files = {folder / name: make for name, make in PAGES.items()}
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "70"  # of argparse's usage lines, which are indented
    try:
        for path, make in files.items():
            path.write_text(make(), encoding="ascii")
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    completions = [folder / "completions" / f"cpe-filter.{shell}" for shell in SHELLS]
    for path, shell in zip(completions, SHELLS, strict=True):
        path.write_text(completion(shell), encoding="utf-8")
    return [*files, *completions]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tools.man FOLDER")
    for path in write(Path(sys.argv[1])):
        print(path)


if __name__ == "__main__":
    main()
