"""Cuts a release: [Unreleased] of the CHANGELOG becomes the version's section, and each place gets the version.

    python -m tools.cut 0.2.0 [--date 2026-12-01]

The version has one source, cpe_filter/__init__.py; OpenWrt's recipes cannot read it and repeat it, and tests compare.
Knows the CHANGELOG's headings (Keep a Changelog) and these places. Must not know git: look at the change, and commit
and tag it. Exit codes: 0 done; 2 refused, and then nothing has been written, one line on stderr.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from pathlib import Path

from tools.ipk.recipe import PROJECT

#: File -> the line that states the version, before and after it.
PLACES = {
    "cpe_filter/__init__.py": ('__version__ = "', '"'),
    "openwrt/cpe-filter/Makefile": ("PKG_VERSION:=", ""),
    "openwrt/luci-app-cpe-filter/Makefile": ("PKG_VERSION:=", ""),
}
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})")
_UNRELEASED = "## [Unreleased]\n"
#: A sentence of the head that holds until the first release.
_NOTHING_YET = re.compile(r" Nothing has been released yet:[^.]*\.", re.DOTALL)


class CutError(Exception):
    """Why there can be no such release; one line."""


def stated(project: Path) -> dict[str, str]:
    """The version in each place. Raises `CutError` where one has none."""
    found = {}
    for name, (before, after) in PLACES.items():
        lines = re.findall(_line(before, after), (project / name).read_text(), re.MULTILINE)
        if len(lines) != 1:
            raise CutError(f"{name}: one line {before}VERSION{after} is expected, {len(lines)} are there")
        found[name] = lines[0]
    return found


def _line(before: str, after: str) -> str:
    return rf"^{re.escape(before)}([0-9][\w.]*){re.escape(after)}$"


def changelog(text: str, version: str, date: str) -> str:
    """The CHANGELOG with the section. Raises `CutError`."""
    if text.count(_UNRELEASED) != 1:
        raise CutError("CHANGELOG.md: one heading ## [Unreleased] is expected")
    if re.search(rf"^## \[{re.escape(version)}\]", text, re.MULTILINE):
        raise CutError(f"CHANGELOG.md has a section [{version}] already")
    head, _, rest = text.partition(_UNRELEASED)
    end = re.search(r"^## \[|^\[", rest, re.MULTILINE)
    content, later = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if not re.search(r"^- \S", content, re.MULTILINE):
        raise CutError("CHANGELOG.md: [Unreleased] is empty; there is nothing to release")
    head = _NOTHING_YET.sub("", head)
    return f"{head}{_UNRELEASED}\n## [{version}] - {date}\n{content}{later}"


def cut(project: Path, version: str, date: str) -> list[str]:
    """Writes all of it: the files that have changed. Raises `CutError`, OSError."""
    if not _VERSION.fullmatch(version):
        raise CutError(f"{version}: a version such as 0.2.0 is expected")
    try:
        datetime.date.fromisoformat(date)
    except ValueError:
        raise CutError(f"--date {date}: a date such as 2026-12-01 is expected") from None
    current = stated(project)["cpe_filter/__init__.py"]
    if _numbers(version) < _numbers(current):
        raise CutError(f"{version} is older than {current}, which cpe_filter/__init__.py states")
    new = {"CHANGELOG.md": changelog((project / "CHANGELOG.md").read_text(), version, date)}
    for name, (before, after) in PLACES.items():
        text = (project / name).read_text()
        text = re.sub(_line(before, after), f"{before}{version}{after}", text, flags=re.MULTILINE)
        new[name] = re.sub(r"^PKG_RELEASE:=.*$", "PKG_RELEASE:=1", text, flags=re.MULTILINE)
    changed = [name for name, text in new.items() if (project / name).read_text() != text]
    for name in changed:
        (project / name).write_text(new[name])
    return changed


def _numbers(version: str) -> tuple[int, ...]:
    found = _VERSION.match(version)
    return tuple(map(int, found.groups())) if found else ()


def main(words: list[str] | None = None, project: Path = PROJECT) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.cut", description=__doc__.splitlines()[0])
    parser.add_argument("version")
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    parser.add_argument("--date", default=today, help="of the release (default: today, UTC)")
    options = parser.parse_args(words)
    try:
        changed = cut(project, options.version, options.date)
    except CutError as error:
        print(f"cut: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cut: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{options.version}: {', '.join(changed)}; commit them, and tag the commit v{options.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
