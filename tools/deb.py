"""`make deb`: the Debian package of the ISP's side, by dpkg-buildpackage, from the release's source archive.

    python -m tools.deb [--out FOLDER]

Writes OUT/cpe-filter-collector_VERSION_ARCHITECTURE.deb, for the Debian that it runs on: libraries of wheels are for
one Python. Knows the archive, and what packaging/debian lacks: its changelog. Must not know what is in the package.
Exit codes: 0 done; 2 what is needed is missing, or a program failed, one line on stderr.
"""

from __future__ import annotations

import argparse
import email.utils
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools import dist
from tools.ipk.error import RecipeError
from tools.ipk.recipe import PROJECT
from tools.ipk.unpack import unpack

PACKAGE = "cpe-filter-collector"
MAINTAINER = "The cpe-filter authors <maintainers@cpe-filter.example>"


class DebError(Exception):
    """One line: what is missing, or the last words of a program that failed."""


def release() -> str:
    """What follows the version: deb12, on Debian 12. Raises `DebError`."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError as error:
        raise DebError(f"/etc/os-release: {error.strerror}") from None
    fields = dict(line.partition("=")[::2] for line in lines)
    name, number = (fields.get(one, "").strip('"') for one in ("ID", "VERSION_ID"))
    if name not in ("debian", "ubuntu") or not number:
        raise DebError(f"this system is {name or 'unknown'} {number}; packages are built on Debian or Ubuntu")
    return f"{'deb' if name == 'debian' else 'ubuntu'}{number}"


def changelog(version: str, when: int) -> str:
    """debian/changelog, of one entry."""
    date = email.utils.formatdate(when)
    return f"cpe-filter ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- {MAINTAINER}  {date}\n"


def build(out: Path) -> Path:
    """The package. Raises `DebError`, `RecipeError`, OSError."""
    if shutil.which("dpkg-buildpackage") is None or shutil.which("dh") is None:
        raise DebError("dpkg-buildpackage and debhelper are needed: apt-get install " + " ".join(_needed()))
    version = f"{dist.version(PROJECT)}+{release()}"
    when = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cpe-filter-deb-") as folder:
        archive = Path(folder) / "source.tar.gz"
        archive.write_bytes(dist.packed(PROJECT))
        unpack(archive, Path(folder))
        source = Path(folder) / f"{dist.NAME}-{dist.version(PROJECT)}"
        shutil.copytree(source / "packaging" / "debian", source / "debian")
        (source / "debian" / "changelog").write_text(changelog(version, when))
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(when)}
        # dh reads these of a make around it.
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
            environment.pop(name, None)
        words = ["dpkg-buildpackage", "--build=binary", "--unsigned-source", "--unsigned-changes"]
        # The virtual environment of `make` is none of the package's.
        environment["PATH"] = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        log = out / "build.log"
        with log.open("wb") as written:
            code = subprocess.run(
                words, cwd=source, env=environment, stdout=written, stderr=subprocess.STDOUT
            ).returncode
        if code:
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            raise DebError(f"dpkg-buildpackage failed ({log}): {' / '.join(lines[-3:])[:400]}")
        made = [path for path in Path(folder).iterdir() if path.suffix in (".deb", ".changes", ".buildinfo")]
        for path in made:
            shutil.copy(path, out / path.name)
        (package,) = (path for path in made if path.suffix == ".deb" and path.name.startswith(f"{PACKAGE}_"))
    return out / package.name


def _needed() -> list[str]:
    return ["build-essential", "debhelper", "dh-python", "python3-pip", "python3-setuptools"]


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.deb", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PROJECT / "build" / "deb", metavar="FOLDER")
    options = parser.parse_args(words)
    try:
        path = build(options.out)
    except (DebError, RecipeError) as error:
        print(f"deb: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"deb: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
