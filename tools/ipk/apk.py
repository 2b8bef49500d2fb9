"""Packages -> what `apk mkpkg` makes an .apk of: files, scripts, and the command itself.

Knows apk-tools 3 and where OpenWrt keeps what opkg had in its control archive: /lib/apk/packages. Must not know the
words of recipes. Signing and the index are the ISP's, or the SDK's.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from pathlib import Path

from tools.ipk.archive import Member, conffiles, description, members
from tools.ipk.recipe import Package

_FUNCTIONS = '. "${IPKG_INSTROOT}/lib/functions.sh"\n'
_THERE = '[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0\n'
_UPGRADE = "export PKG_UPGRADE=1\n"


def stage(package: Package, folder: Path, time: int) -> None:
    """Writes folder/files, folder/SCRIPT and folder/mkpkg, a command to run there. `folder` is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    files = members(package.root)
    for member in [*files, *_about(package, files)]:
        _write(folder / "files" / member.path, member.mode, member.content, time)
    texts = _scripts(package)
    for name, text in texts.items():
        _write(folder / name, 0o755, text.encode(), time)
    _write(folder / "mkpkg", 0o755, _command(package, texts).encode(), time)


def _about(package: Package, files: list[Member]) -> list[Member]:
    """/lib/apk/packages/NAME.*: the list of files, users, and the files to keep with what they were."""
    place = f"lib/apk/packages/{package.name}"
    found = [Member(path, 0o755, None) for path in ("lib", "lib/apk", "lib/apk/packages")]
    there = {f"/{member.path}": member.content for member in files if member.content is not None}
    kept = conffiles(package, files)
    if package.user:
        found.append(Member(f"{place}.rusers", 0o644, f"{package.user}\n".encode()))
    listed = sorted([*there, *(f"/{member.path}" for member in found if member.content is not None)])
    found.append(Member(f"{place}.list", 0o644, "".join(f"{path}\n" for path in listed).encode()))
    if kept:
        sums = "".join(f"{path} {hashlib.sha256(there[path] or b'').hexdigest()}\n" for path in kept)
        found.append(Member(f"{place}.conffiles", 0o644, "".join(f"{path}\n" for path in kept).encode()))
        found.append(Member(f"{place}.conffiles_static", 0o644, sums.encode()))
    return found


def _scripts(package: Package) -> dict[str, str]:
    """By apk's names. Those of an upgrade are the same, told that it is one."""

    def own(name: str) -> str:
        lines = package.texts.get(name, "").strip().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("#!")) + ("\n" if lines else "")

    root = f'export root="${{IPKG_INSTROOT}}"\nexport pkgname={shlex.quote(package.name)}\n'
    after = '[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0\n' + _THERE + _FUNCTIONS + root
    after += "add_group_and_user\ndefault_postinst\n" + own("postinst")
    # Before a package goes its own script is first: it may stop what the rest takes away.
    before = _THERE + _FUNCTIONS + root + ("( " + own("prerm").strip() + "\n)\n" if own("prerm") else "")
    scripts = {
        "post-install": after,
        "post-upgrade": _UPGRADE + after,
        "pre-deinstall": before + "default_prerm\n",
    }
    if own("preinst"):
        scripts |= {"pre-install": own("preinst"), "pre-upgrade": _UPGRADE + own("preinst")}
    if own("postrm"):
        scripts["post-deinstall"] = own("postrm")
    return {name: "#!/bin/sh\n" + text for name, text in scripts.items()}


def _command(package: Package, scripts: dict[str, str]) -> str:
    about = {
        "name": package.name,
        "version": package.version,
        "description": " ".join(description(package).split()),
        "arch": "noarch",
        "license": package.license,
        "origin": package.source,
        "url": package.url,
        "provides": " ".join(package.provides),
        "depends": " ".join((*package.depends, *(f"!{name}" for name in package.conflicts))),
    }
    words = ["apk", "mkpkg"]
    for name, value in about.items():
        words += ["--info", f"{name}:{value}"] if value else []
    for name in scripts:
        words += ["--script", f"{name}:{name}"]
    words += ["--files", "files", "--output", file_name(package)]
    return (
        "#!/bin/sh\n# For root, or under fakeroot: the files are packed as those of whoever owns them.\n"
        f'cd "$(dirname "$0")" && exec {shlex.join(words)}\n'
    )


def _write(path: Path, mode: int, content: bytes | None, time: int) -> None:
    if content is None:
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (time, time))
    path.chmod(mode)


def file_name(package: Package) -> str:
    return f"{package.name}-{package.version}.apk"
