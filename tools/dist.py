"""`make dist`: the release's source archive, and the recipe that downloads it.

    python -m tools.dist [--out FOLDER]

Writes OUT/cpe-filter-VERSION.tar.gz and OUT/feed/cpe-filter/, the recipe with the archive's SHA-256, for the packages
feed. Knows which files are the project's, and archives. Must not know what is in a file, except the version and the
recipe's line for the hash. The same files give the same bytes: no names, numbers or times of the builder. Exit codes: 0
done; 2 there is nothing to pack, or a file cannot be read or written.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.ipk import archive
from tools.ipk.archive import Member
from tools.ipk.error import RecipeError
from tools.ipk.recipe import FEED, PROJECT

#: What a version line of cpe_filter/__init__.py looks like.
_VERSION = re.compile(r'^__version__ = "(\d[\w.]*)"$', re.MULTILINE)
#: The recipe's line that has to have the hash of the archive, which holds that recipe, too: so there it has none.
_HASH = re.compile(r"^PKG_HASH:=.*$", re.MULTILINE)
NAME = "cpe-filter"


def version(project: Path) -> str:
    """Raises `RecipeError`."""
    found = _VERSION.search((project / "cpe_filter" / "__init__.py").read_text())
    if found is None:
        raise RecipeError("cpe_filter/__init__.py has no line __version__ = ...")
    return found[1]


def files(project: Path) -> list[Path]:
    """The project's own: those that git has or, without git, as in an unpacked archive, all that are no build's."""
    if (project / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=project, capture_output=True)
        if listed.returncode:
            raise RecipeError(f"git ls-files: {listed.stderr.decode(errors='replace').strip()}")
        names = [name for name in listed.stdout.decode().split("\0") if name]
        return [path for name in sorted(names) if (path := project / name).is_file()]
    built = {"build", "__pycache__"}
    return [
        path
        for path in sorted(project.rglob("*"))
        if path.is_file() and not built & {*path.relative_to(project).parts} and path.suffix != ".pyc"
    ]


def packed(project: Path) -> bytes:
    """The archive: a gzip'd GNU tar of one folder, NAME-VERSION. Raises `RecipeError`."""
    top = f"{NAME}-{version(project)}"
    found: dict[str, Member] = {}
    for path in files(project):
        name = f"{top}/{path.relative_to(project)}"
        for folder in list(Path(name).parents)[-2::-1]:
            found.setdefault(str(folder), Member(str(folder), 0o755, None))
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        found[name] = Member(name, mode, path.read_bytes())
    if len(found) < 2:
        raise RecipeError(f"{project} has no files")
    return archive.gzip(archive.tar((found[name] for name in sorted(found)), archive.epoch(), ""))


def write(project: Path, out: Path) -> Path:
    """The archive and the recipe; returns the archive's path. Raises `RecipeError`, OSError."""
    data = packed(project)
    path = out / f"{NAME}-{version(project)}.tar.gz"
    recipe = out / "feed" / NAME
    shutil.rmtree(recipe, ignore_errors=True)
    recipe.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(project / "openwrt" / NAME, recipe)
    makefile = recipe / "Makefile"
    text, lines = _HASH.subn(f"PKG_HASH:={hashlib.sha256(data).hexdigest()}", makefile.read_text())
    if lines != 1:
        raise RecipeError(f"{FEED.name}/{NAME}/Makefile: one line PKG_HASH:= is expected, {lines} are there")
    makefile.write_text(text)
    path.write_bytes(data)
    return path


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.dist", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PROJECT / "build" / "dist", metavar="FOLDER")
    options = parser.parse_args(words)
    try:
        path = write(PROJECT, options.out)
    except RecipeError as error:
        print(f"dist: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"dist: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
    print(f"{options.out / 'feed' / NAME}: the recipe for the packages feed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
