"""`make release`: all that is published of a version, in one folder, with checksums and a signature.

    python -m tools.release [--out FOLDER] [--openwrt RELEASE ...] [--unreleased]

    cpe_filter-VERSION.tar.gz, .whl          sdist and wheel, for pip
    cpe-filter-VERSION.tar.gz                the source archive, which OpenWrt's recipe downloads
    cpe-filter-VERSION-recipe.tar.gz         that recipe, with the archive's hash
    cpe-filter-VERSION-openwrt-RELEASE.tar.gz       .ipk, and what `apk mkpkg` makes .apk of
    cpe-filter-VERSION-docs.tar.gz, -man.tar.gz     documents, and as a site; manual pages and completions
    cpe-filter-VERSION.cdx.json              bill of materials (CycloneDX 1.6) of the ISP's side and replay
    SHA256SUMS, SHA256SUMS.sig               and a signature by signify, with the key in CPE_FILTER_SIGNIFY_KEY

The same sources give the same bytes, in any folder and at any time (SOURCE_DATE_EPOCH dates them). Knows what belongs
to a release. Must not know what is in it. Exit codes: 0 done; 2 something is missing, one line on stderr.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

from tools import cut, dist
from tools.ipk import __main__ as ipk
from tools.ipk import archive
from tools.ipk.archive import Member
from tools.ipk.error import RecipeError
from tools.ipk.interpreter import KEPT, RELEASES
from tools.ipk.recipe import PROJECT
from tools.ipk.unpack import unpack

#: OpenWrt's releases that packages are made for.
OPENWRT = ("24.10", "25.12")
KEY = "CPE_FILTER_SIGNIFY_KEY"


class ReleaseError(Exception):
    """One line: what is missing, or what failed."""


def make(project: Path, out: Path, openwrt: tuple[str, ...], unreleased: bool) -> list[str]:
    """The names of what was made. Raises `ReleaseError`, `RecipeError`, `cut.CutError`, OSError."""
    version = _version(project, unreleased)
    os.umask(0o022)  # modes are in archives
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    name = f"{dist.NAME}-{version}"
    with tempfile.TemporaryDirectory(prefix="cpe-filter-release-") as folder:
        work = Path(folder)
        source = dist.write(project, work / "dist")
        shutil.copy(source, out / source.name)
        _pack(work / "dist" / "feed", out / f"{name}-recipe.tar.gz", f"{name}-recipe")
        unpack(source, work)
        top = work / name
        _for_pip(top, work, out)
        for release in openwrt:
            built = work / "openwrt" / release
            if ipk.main(["--openwrt", release, "--out", str(built)]):
                raise ReleaseError(f"the packages for OpenWrt {release} could not be built")
            _pack(built / RELEASES[release], out / f"{name}-openwrt-{release}.tar.gz", f"{name}-openwrt-{release}")
        _documents(top, work / "docs")
        _pack(work / "docs", out / f"{name}-docs.tar.gz", f"{name}-docs")
        if _manual_pages(top, work / "man"):
            _pack(work / "man", out / f"{name}-man.tar.gz", f"{name}-man")
        _materials(top, version, out / f"{name}.cdx.json")
    names = sorted(path.name for path in out.iterdir())
    sums = "".join(f"{hashlib.sha256((out / each).read_bytes()).hexdigest()}  {each}\n" for each in names)
    (out / "SHA256SUMS").write_text(sums)
    return [*names, "SHA256SUMS", *_signature(out)]


def _version(project: Path, unreleased: bool) -> str:
    """Of all places the same, and cut. Raises `ReleaseError`, `cut.CutError`."""
    stated = cut.stated(project)
    if len(set(stated.values())) != 1:
        raise ReleaseError("versions differ: " + ", ".join(f"{where} has {what}" for where, what in stated.items()))
    version = next(iter(stated.values()))
    found = re.search(rf"^## \[{re.escape(version)}\] - ", (project / "CHANGELOG.md").read_text(), re.MULTILINE)
    if found is None and not unreleased:
        raise ReleaseError(
            f"CHANGELOG.md has no section [{version}]: `python -m tools.cut {version}` makes it, and"
            " `make release RELEASE=--unreleased` builds without it"
        )
    return version


def _pack(folder: Path, out: Path, top: str) -> None:
    """A folder as an archive of files and folders, below `top`."""
    members = [Member(top, 0o755, None)]
    members += [each._replace(path=f"{top}/{each.path}") for each in archive.members(folder) if each.path]
    out.write_bytes(archive.gzip(archive.tar(members, archive.epoch(), "")))


# ── for pip ─────────────────────────────────────────────────────────────────────────────────────────


def _for_pip(source: Path, work: Path, out: Path) -> None:
    """sdist and wheel, by the project's own build backend, and packed again without names and times of the builder."""
    for what in ("sdist", "wheel"):
        copy, made = work / f"for-{what}", work / f"made-{what}"
        shutil.copytree(source, copy)
        made.mkdir()
        code = f"import setuptools.build_meta as build, sys; build.build_{what}(sys.argv[1])"
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(archive.epoch())}
        done = subprocess.run(
            [sys.executable, "-c", code, str(made)], cwd=copy, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no answer"]
            raise ReleaseError(f"{what}: {lines[-1]} (setuptools 61 or later is needed)")
        (path,) = made.iterdir()
        packed = _sdist(path) if what == "sdist" else _wheel(path)
        (out / path.name).write_bytes(packed)


def _sdist(path: Path) -> bytes:
    found = []
    with tarfile.open(path) as opened:
        for member in opened:
            if member.isdir():
                found.append(Member(member.name, 0o755, None))
            elif (content := opened.extractfile(member)) is not None:
                found.append(Member(member.name, 0o755 if member.mode & 0o100 else 0o644, content.read()))
    return archive.gzip(archive.tar(sorted(found, key=lambda each: each.path), archive.epoch(), ""))


def _wheel(path: Path) -> bytes:
    """By name, its metadata last, as PEP 427 advises."""
    out = io.BytesIO()
    date = time.gmtime(archive.epoch())[:6]
    with zipfile.ZipFile(path) as opened, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name in sorted(opened.namelist(), key=lambda name: (".dist-info/" in name, name.endswith("RECORD"), name)):
            info = zipfile.ZipInfo(name, date)
            info.external_attr, info.create_system = (0o100644 << 16), 3
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, opened.read(name))
    return out.getvalue()


# ── documents, materials, the signature ─────────────────────────────────────────────────────────────


def _documents(source: Path, folder: Path) -> None:
    shutil.copytree(source / "docs", folder / "docs")
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "SECURITY.md"):
        shutil.copy(source / name, folder / name)
    if importlib.util.find_spec("mkdocs") is None:
        print("release: documents without the site: mkdocs is not installed", file=sys.stderr)
        return
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(archive.epoch()), "NO_MKDOCS_2_WARNING": "1"}
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder / "site")]
    done = subprocess.run(words, cwd=source, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"mkdocs: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")


def _manual_pages(source: Path, folder: Path) -> bool:
    """By `python -m tools.man FOLDER` of the source; whether it has that."""
    if importlib.util.find_spec("tools.man") is None:
        print("release: no manual pages: there is no tools/man", file=sys.stderr)
        return False
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(archive.epoch())}
    done = subprocess.run(
        [sys.executable, "-m", "tools.man", str(folder)], cwd=source, env=environment, stdout=subprocess.DEVNULL
    )
    if done.returncode:
        raise ReleaseError("the manual pages could not be made")
    return True


def _materials(source: Path, version: str, out: Path) -> None:
    """The bill of materials, by cyclonedx-py, from what is locked."""
    tool = _cyclonedx()
    locked = out.with_suffix(".in")
    # Both have some packages: one line of each.
    lines = [
        line for name in ("collector", "replay") for line in _requirements(source / "requirements" / f"{name}.txt")
    ]
    locked.write_text("\n".join(dict.fromkeys(lines)) + "\n")
    project = out.with_suffix(".toml")
    described = (source / "pyproject.toml").read_text()
    project.write_text(described.replace('dynamic = ["version"]', f'version = "{version}"', 1))
    words = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "cyclonedx_py",
        "requirements",
        str(locked),
        "--pyproject",
        str(project),
    ]
    words += ["--output-reproducible", "--sv", "1.6", "--of", "JSON", "-o", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(tool), "SOURCE_DATE_EPOCH": str(archive.epoch())}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=out.parent)
    locked.unlink()
    project.unlink()
    if done.returncode:
        raise ReleaseError(f"cyclonedx-py: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")


def _requirements(path: Path) -> list[str]:
    """One requirement a line, without what only builds."""
    joined = path.read_text().replace("\\\n", " ")
    found = [" ".join(line.split()) for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [line for line in found if not line.startswith("setuptools")]


def _cyclonedx() -> Path:
    """The folder with the program: got once, by hash."""
    locked = PROJECT / "requirements" / "release.txt"
    folder = KEPT / f"cyclonedx-{hashlib.sha256(locked.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as new:
            words = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
            words += ["--require-hashes", "--target", f"{new}/tool", "-r", str(locked)]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ["no answer"]
                raise ReleaseError(f"cyclonedx-bom cannot be got: {lines[-1]}")
            try:
                Path(new, "tool").rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return folder


def _signature(out: Path) -> list[str]:
    """SHA256SUMS.sig, where a key is given."""
    key = os.environ.get(KEY)
    if not key:
        print(f"release: not signed: {KEY} names no key (signify -G -n -p release.pub -s release.sec)", file=sys.stderr)
        return []
    program = shutil.which("signify-openbsd") or shutil.which("signify")
    if program is None:
        raise ReleaseError("signify is not installed (Debian: signify-openbsd)")
    words = [program, "-S", "-s", key, "-m", "SHA256SUMS", "-x", "SHA256SUMS.sig"]
    done = subprocess.run(words, cwd=out, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ReleaseError(f"signify: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return ["SHA256SUMS.sig"]


def main(words: list[str] | None = None, project: Path = PROJECT) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PROJECT / "build" / "release", metavar="FOLDER")
    parser.add_argument("--openwrt", nargs="+", default=OPENWRT, choices=tuple(RELEASES), help="for these releases")
    parser.add_argument("--unreleased", action="store_true", help="though the CHANGELOG has no section of the version")
    options = parser.parse_args(words)
    try:
        names = make(project, options.out.resolve(), tuple(options.openwrt), options.unreleased)
    except (ReleaseError, RecipeError, cut.CutError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"release: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return 2
    for name in names:
        print(f"{options.out / name}: {(options.out / name).stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
