"""What the stand-ins have done by Python. Knows pip and folders; must not know what a recipe is.

unpack REQUIREMENT ARCHIVE SHA256 FOLDER   the source archive of a requirement, fetched unless it is there
source ARCHIVE SHA256 FOLDER               a source archive that is there
install SOURCE FOLDER                      a pure-Python source's packages, as an installation has them
pick FILESPEC SOURCE TARGET                the files that a recipe's filespec names
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NoReturn

from tools.ipk.unpack import UnpackError
from tools.ipk.unpack import unpack as unpacked

_PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def unpack(requirement: str, archive: Path, sha256: str, folder: Path) -> None:
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [*_PIP, "download", "--no-deps", "--no-binary", ":all:", "--dest", str(archive.parent), requirement],
            capture_output=True,
            text=True,
        )
        if done.returncode or not archive.exists():
            lines = done.stderr.strip().splitlines() or [f"pip brought no {archive.name}"]
            _fail(f"{requirement} cannot be fetched: {lines[-1]}")
    source(archive, sha256, folder)


def source(archive: Path, sha256: str, folder: Path) -> None:
    """sha256: "skip" takes any, as in the SDK."""
    if not archive.exists():
        _fail(f"{archive}: there is no such file, and nothing is downloaded here")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if sha256 not in ("skip", found):
        _fail(f"{archive.name} is not what the recipe means: its SHA-256 is {found}")
    try:
        unpacked(archive, folder)
    except (UnpackError, tarfile.TarError) as error:
        _fail(str(error))


def install(source: Path, folder: Path) -> None:
    done = subprocess.run(
        [*_PIP, "install", "--no-deps", "--no-compile", "--target", str(folder), str(source)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        _fail(f"{source.name} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    for notes in folder.glob("*.dist-info"):
        shutil.rmtree(notes)  # pip's own, with paths and times of this build


def pick(filespec: str, source: Path, target: Path) -> None:
    """`+|PATTERN` takes, `-|PATTERN` takes away again, in this order. What matches nothing is an error."""
    for line in filter(None, map(str.strip, filespec.splitlines())):
        sign, _, pattern = line.partition("|")
        if sign not in ("+", "-"):
            _fail(f"filespec: {line}: only + and - are known here")
        base = source if sign == "+" else target
        matches = sorted(base.glob(pattern.lstrip("/")))
        if not matches:
            _fail(f"filespec: {line}: there is no such file")
        for match in matches:
            if sign == "+":
                _copy(match, target / match.relative_to(source))
            elif match.is_dir():
                shutil.rmtree(match)
            else:
                match.unlink()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


def _fail(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    step, *rest = sys.argv[1:]
    if step == "unpack":
        unpack(rest[0], Path(rest[1]), rest[2], Path(rest[3]))
    elif step == "source":
        source(Path(rest[0]), rest[1], Path(rest[2]))
    elif step == "install":
        install(Path(rest[0]), Path(rest[1]))
    elif step == "pick":
        pick(Path(rest[0]).read_text(), Path(rest[1]), Path(rest[2]))
    else:
        _fail(f"there is no step {step}")
