"""What a recipe makes: its packages, and the files of each.

Knows GNU make, the stand-ins of buildroot/ and the words of an OpenWrt recipe. Must not know archives, or what the
recipes of this project say.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tools.ipk import interpreter
from tools.ipk.error import RecipeError

PROJECT = Path(__file__).resolve().parents[2]
FEED = PROJECT / "openwrt"
BUILDROOT = Path(__file__).with_name("buildroot")
#: Every package of the buildroot's needs it, unsaid.
_ALWAYS = "libc"


class Package(NamedTuple):
    """As a recipe describes it.

    architecture: "all", since nothing is compiled. user: Require-User's words. texts: by name (conffiles, postinst
    and so on). root: its files as installed, once they are staged.
    """

    name: str
    version: str
    architecture: str
    depends: tuple[str, ...]
    conflicts: tuple[str, ...]
    provides: tuple[str, ...]
    section: str
    title: str
    url: str
    license: str
    user: str
    source: str
    texts: dict[str, str]
    root: Path

    @property
    def conffiles(self) -> list[str]:
        return sorted(self.texts.get("conffiles", "").split())


def described(recipe: Path, out: Path, minor: str) -> list[Package]:
    """The packages of a recipe's folder, without files. Raises `RecipeError`."""
    return _made("describe", recipe, out, minor, sys.executable)


def staged(recipe: Path, out: Path, minor: str, downloads: Path | None = None) -> list[Package]:
    """The packages of a recipe's folder, their files beneath `out`. Raises `RecipeError`.

    downloads: where source archives are looked for.
    """
    return _made("stage", recipe, out, minor, interpreter.command(minor), downloads)


def recipes() -> list[Path]:
    """The folders of the feed's recipes."""
    return sorted(path.parent for path in FEED.glob("*/Makefile"))


def _made(goal: str, recipe: Path, out: Path, minor: str, python: str, downloads: Path | None = None) -> list[Package]:
    if shutil.which("make") is None:
        raise RecipeError("GNU make is not installed")
    out = out.resolve() / recipe.name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    variables = {
        "TOPDIR": BUILDROOT,
        "OUT": out,
        "PYTHON3_VERSION": minor,
        "HOST_PYTHON3_BIN": python,
        "PROGRAM": f"PYTHONPATH={PROJECT} {sys.executable} -m tools.ipk.steps",
    }
    if downloads is not None:
        variables["DL_DIR"] = downloads.resolve()
    words = [f"{name}={value}" for name, value in variables.items()]
    # What a make around this one has set is none of a recipe's business.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(recipe), goal, *words],
        capture_output=True,
        text=True,
        env=environment | {"LC_ALL": "C.UTF-8"},
        umask=0o022,  # what make and its programs write is for everybody to read, as in a package
    )
    if done.returncode:
        raise RecipeError(f"{recipe.name}: {_last_words(done.stderr)}")
    return [_read(path.parent) for path in sorted(out.glob("*/VERSION"))]


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("make: ***")]
    return lines[-1] if lines else text.strip() or "make failed"


def _read(folder: Path) -> Package:
    def field(name: str) -> str:
        return " ".join((folder / name).read_text().split())

    texts = ("description", "conffiles", "preinst", "postinst", "prerm", "postrm")
    return Package(
        name=folder.name,
        version=field("VERSION"),
        architecture=field("PKGARCH"),
        depends=_dependencies(folder.name, field("DEPENDS")),
        conflicts=tuple(field("CONFLICTS").split()),
        provides=tuple(word.lstrip("@") for word in field("PROVIDES").split()),
        section=field("SECTION"),
        title=field("TITLE"),
        url=field("URL"),
        license=field("LICENSE"),
        user=field("USERID"),
        source=f"feeds/cpe_filter/{Path(field('SOURCE')).name}",
        texts={name: (folder / name).read_text() for name in texts if (folder / name).exists()},
        root=folder / "root",
    )


def _dependencies(package: str, text: str) -> tuple[str, ...]:
    """`+name` and `name` are packages, `@SYMBOL` is the configuration's. Conditions are for the SDK."""
    words = [word.lstrip("+") for word in text.split() if not word.startswith("@")]
    for word in words:
        if ":" in word:
            raise RecipeError(f"{package}: DEPENDS {word}: a condition that only the SDK knows the answer to")
    return tuple(dict.fromkeys((_ALWAYS, *words)))
