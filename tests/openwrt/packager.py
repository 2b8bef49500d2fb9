"""opkg and apk, as far as the order goes in which they put files and run a package's scripts.

`Opkg(within).install(IPK)` and `Apk(within).install(FOLDER)` also upgrade; `remove(NAME)`. FOLDER is what tools.ipk
stages for `apk mkpkg`. Knows what opkg-lede (of 2020) and apk-tools 3 do, both tried on these packages: opkg stops the
old service before its files go, runs the old package's postrm at an upgrade, too, and leaves folders behind; apk stops
nothing at an upgrade. A changed file of `conffiles` stays, and the new one is put next to it. No dependencies, no
alternatives, no signatures. Files go to this machine's own root: only on a root that goes away (root.sh, tests.vm).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.lab.net import DEADLINE_S
from tests.openwrt import ipk

Command = list[str]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _run(within: Command, script: Path, words: Command, upgrade: bool) -> str:
    """A script's output; "" where the package has none."""
    if not script.exists():
        return ""
    environment = {**os.environ, "PKG_UPGRADE": str(int(upgrade)), "PKG_ROOT": "/"}
    done = subprocess.run(
        [*within, "/bin/sh", str(script), *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=DEADLINE_S,
    )
    return done.stdout + done.stderr + (f"exit {done.returncode}\n" if done.returncode else "")


class Opkg:
    """`within`: what a command is put behind, to run in the router's network."""

    def __init__(self, within: Command) -> None:
        self._within = within
        self._info = Path("/usr/lib/opkg/info")
        self._info.mkdir(parents=True, exist_ok=True)

    def _scripts(self, name: str) -> list[Path]:
        return sorted(self._info.glob(f"{name}.*"))

    def install(self, package: Path) -> str:
        """Also over an older one. Returns what scripts said."""
        new = ipk.read(package.read_bytes())
        name = new.control["Package"]
        said, upgrade = "", (self._info / f"{name}.list").exists()
        kept: dict[str, bytes] = {}
        if upgrade:
            said += _run(self._within, self._info / f"{name}.prerm", ["upgrade", new.control["Version"]], True)
            kept = self._changed(name)
            said += _run(self._within, self._info / f"{name}.postrm", ["upgrade", new.control["Version"]], True)
            self._remove_files(name)
        for one in self._scripts(name):
            one.unlink()
        for script, text in new.scripts.items():
            (self._info / f"{name}.{script}").write_text(text)
        (self._info / f"{name}.control").write_text("".join(f"{key}: {value}\n" for key, value in new.control.items()))
        conffiles = []
        for place, member in new.files.items():
            path = Path(place)
            if member.content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            if place in new.conffiles:
                conffiles.append(f"{place} {hashlib.sha256(member.content).hexdigest()}\n")
            if place in kept and kept[place] != member.content:
                path.write_bytes(kept[place])
                path = Path(f"{place}-opkg")
            path.write_bytes(member.content)
            path.chmod(member.mode)
        files = [place for place, member in new.files.items() if member.content is not None]
        (self._info / f"{name}.list").write_text("".join(f"{place}\n" for place in files))
        (self._info / f"{name}.conffiles").write_text("".join(conffiles))
        return said + _run(self._within, self._info / f"{name}.postinst", ["configure"], upgrade)

    def remove(self, name: str) -> str:
        said = _run(self._within, self._info / f"{name}.prerm", ["remove"], False)
        self._remove_files(name)
        said += _run(self._within, self._info / f"{name}.postrm", ["remove"], False)
        for one in self._scripts(name):
            one.unlink()
        return said

    def _sums(self, name: str) -> dict[str, str]:
        lines = (self._info / f"{name}.conffiles").read_text().splitlines()
        return dict(line.split() for line in lines)

    def _changed(self, name: str) -> dict[str, bytes]:
        sums = self._sums(name)
        return {place: Path(place).read_bytes() for place in sums if _digest(Path(place)) not in ("", sums[place])}

    def _remove_files(self, name: str) -> None:
        """All but changed conffiles. Folders stay, empty or not: opkg knows no owner of theirs."""
        changed = self._changed(name)
        for place in (self._info / f"{name}.list").read_text().splitlines():
            if place not in changed:
                Path(place).unlink(missing_ok=True)


class Apk:
    """As `Opkg`. Packages are the folders below apk/ that tools.ipk writes."""

    def __init__(self, within: Command) -> None:
        self._within = within
        self._scripts = Path("/lib/apk/db/scripts")
        self._packages = Path("/lib/apk/packages")
        self._scripts.mkdir(parents=True, exist_ok=True)

    def install(self, package: Path) -> str:
        name = package.name
        kept = self._scripts / name
        upgrade = kept.is_dir()
        sums = self._sums(name)
        old = self._files(name)
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        for script in package.glob("p*-*"):
            shutil.copy(script, kept)
        said = _run(self._within, kept / f"pre-{'upgrade' if upgrade else 'install'}", [], upgrade)
        new = []
        for path in sorted((package / "files").rglob("*")):
            place = Path("/", path.relative_to(package / "files"))
            if path.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            new.append(str(place))
            # Below /etc apk overwrites what is as it came, and nothing else.
            if upgrade and place.parts[1] == "etc" and sums.get(str(place), "") not in ("", _digest(place)):
                place = Path(f"{place}.apk-new")
            shutil.copy(path, place)
        for gone in set(old) - set(new):
            Path(gone).unlink(missing_ok=True)
        return said + _run(self._within, kept / f"post-{'upgrade' if upgrade else 'install'}", [], upgrade)

    def remove(self, name: str) -> str:
        kept = self._scripts / name
        said = _run(self._within, kept / "pre-deinstall", [], False)
        sums, files = self._sums(name), self._files(name)
        places = [Path(one) for one in files] + [Path(f"/lib/apk/packages/{name}.list")]
        for place in places:
            if sums.get(str(place), "") in ("", _digest(place)):
                place.unlink(missing_ok=True)
        # apk removes folders that are empty then.
        for folder in sorted({one for place in places for one in place.parents}, key=lambda one: -len(one.parts)):
            if folder.parts[1:2] != ("etc",) or len(folder.parts) > 2:
                self._remove_folder(folder)
        said += _run(self._within, kept / "post-deinstall", [], False)
        shutil.rmtree(kept)
        return said

    @staticmethod
    def _remove_folder(folder: Path) -> None:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _files(self, name: str) -> list[str]:
        path = self._packages / f"{name}.list"
        extra = sorted(str(one) for one in self._packages.glob(f"{name}.*") if one.suffix != ".list")
        return [*path.read_text().splitlines(), *extra] if path.exists() else []

    def _sums(self, name: str) -> dict[str, str]:
        path = self._packages / f"{name}.conffiles_static"
        return dict(line.split() for line in path.read_text().splitlines()) if path.exists() else {}
