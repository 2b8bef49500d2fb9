"""`make ipk`: the feed's pure-Python packages, without an SDK.

    python -m tools.ipk [--openwrt 24.10 | --python 3.11] [--out FOLDER] [RECIPE ...]

Writes OUT/PYTHON/NAME.ipk and OUT/PYTHON/apk/NAME/, and says how large they are. Exit codes: 0 done; 2 a package could
not be built, one line on stderr says why; the others are.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from tools.ipk import apk, archive, interpreter
from tools.ipk.error import RecipeError
from tools.ipk.recipe import FEED, PROJECT, Package, recipes, staged


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.ipk", description=__doc__.splitlines()[0])
    router = parser.add_mutually_exclusive_group()
    release = f"the router's release: {', '.join(interpreter.RELEASES)} (default: {interpreter.DEFAULT_RELEASE})"
    router.add_argument("--openwrt", default=interpreter.DEFAULT_RELEASE, metavar="RELEASE", help=release)
    router.add_argument("--python", metavar="MINOR", help="the router's Python, in place of a release")
    parser.add_argument("--out", type=Path, default=PROJECT / "build" / "packages", metavar="FOLDER")
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="folders of openwrt/ (default: all)")
    options = parser.parse_args(words)
    minor = options.python if options.python is not None else interpreter.RELEASES.get(options.openwrt)
    if minor is None:
        return _say(f"--openwrt {options.openwrt}: unknown; known: {', '.join(interpreter.RELEASES)}")
    if not re.fullmatch(r"3\.\d{1,2}", minor):
        return _say(f"--python {minor}: a minor such as 3.11 is wanted")
    wanted = [FEED / name for name in options.recipes] or recipes()
    out = options.out / minor
    code = 0
    for recipe in wanted:
        try:
            if not (recipe / "Makefile").exists():
                raise RecipeError(f"{recipe.name}: there is no such recipe")
            _build(recipe, out, minor)
        except RecipeError as error:
            code = _say(str(error))
        except OSError as error:
            code = _say(f"{error.filename or 'output'}: {error.strerror}")
    return code


def _build(recipe: Path, out: Path, minor: str) -> None:
    time = archive.epoch()
    with tempfile.TemporaryDirectory(prefix="cpe-filter-ipk-") as work:
        for package in staged(recipe, Path(work), minor):
            _write(package, out, time)


def _write(package: Package, out: Path, time: int) -> None:
    data = archive.ipk(package, time)
    path = out / archive.file_name(package)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    apk.stage(package, out / "apk" / package.name, time)
    size = archive.installed_size(package, time)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    print(f"{shown}: {len(data) / 1000:.1f} kB, {size / 1000:.1f} kB installed")


def _say(text: str) -> int:
    print(f"ipk: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
