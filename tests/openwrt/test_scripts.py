"""The maintainer scripts, of .ipk and .apk: in a router's shell, with base-files' functions as stand-ins."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.net import PROJECT
from tests.openwrt import ipk, light, package
from tests.openwrt.conftest import build
from tests.openwrt.test_ipk import WITH_CODE
from tools.ipk import apk, archive
from tools.ipk.recipe import Package

Read = Callable[[str], ipk.Ipk]
#: They say what they are called with.
FUNCTIONS = """
default_postinst() { echo "default_postinst $(basename "$1") ${2-} root=${root-} pkgname=${pkgname-} ${PKG_UPGRADE-}"; }
default_prerm() { echo "default_prerm $(basename "$1") ${2-} root=${root-} pkgname=${pkgname-} ${PKG_UPGRADE-}"; }
add_group_and_user() { echo "add_group_and_user pkgname=${pkgname-}"; }
"""


def run(script: Path, router: Path, *words: str, programs: Path | None = None, **environment: str) -> list[str]:
    if package.why_not():
        pytest.skip(package.why_not())
    path = f"{programs}:/usr/bin:/bin" if programs else "/usr/bin:/bin"
    done = subprocess.run(
        package.shell(programs, script, *words) if programs else [package.BUSYBOX, "ash", str(script), *words],
        capture_output=True,
        text=True,
        env={"PATH": path, "IPKG_INSTROOT": str(router), **environment},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


@pytest.fixture
def router(tmp_path: Path) -> Path:
    """A root with base-files' functions."""
    (tmp_path / "router" / "lib").mkdir(parents=True)
    (tmp_path / "router" / "lib" / "functions.sh").write_text(FUNCTIONS)
    return tmp_path / "router"


def written(folder: Path, scripts: dict[str, str]) -> dict[str, Path]:
    for name, text in scripts.items():
        (folder / name).write_text(text)
    return {name: folder / name for name in scripts}


def test_opkgs_scripts_leave_the_work_to_base_files(read: Read, router: Path, tmp_path: Path) -> None:
    scripts = written(tmp_path, read("cpe-filter").scripts)
    assert set(scripts) == {"postinst", "postrm", "prerm"}
    said = run(scripts["postinst"], router, "configure")
    assert said == ["default_postinst postinst configure root= pkgname="]
    assert run(scripts["prerm"], router, "remove") == ["default_prerm prerm remove root= pkgname="]


def test_they_do_nothing_where_there_is_no_router(read: Read, tmp_path: Path) -> None:
    for script in written(tmp_path, read("cpe-filter").scripts).values():
        assert run(script, tmp_path / "empty") == []


def test_an_image_builder_may_forbid_them(read: Read, router: Path, tmp_path: Path) -> None:
    scripts = written(tmp_path, read("cpe-filter").scripts)
    assert run(scripts["postinst"], router, IPKG_NO_SCRIPT="1") == []


def test_apks_scripts_make_the_user_and_tell_an_upgrade(packages: Path, router: Path) -> None:
    folder = packages / "apk" / "cpe-filter"
    common = f"root={router} pkgname=cpe-filter"
    assert run(folder / "post-install", router) == [
        "add_group_and_user pkgname=cpe-filter",
        f"default_postinst {common}",
    ]
    assert run(folder / "post-upgrade", router)[1] == f"default_postinst {common} 1"
    assert run(folder / "pre-deinstall", router) == [f"default_prerm {common}"]


def test_a_recipes_own_scripts_are_among_them(router: Path, tmp_path: Path) -> None:
    texts = {name: f"#!/bin/sh\necho own {name}\n" for name in ("preinst", "postinst", "prerm", "postrm")}
    (tmp_path / "root").mkdir()
    package = Package("p", "1-r1", "all", ("libc",), (), (), "net", "P", "", "MIT", "", "x", texts, tmp_path / "root")
    made = ipk.read(archive.ipk(package, 0)).scripts
    assert made["postinst-pkg"] == texts["postinst"]
    assert made["prerm-pkg"] == texts["prerm"]
    assert (made["preinst"], made["postrm"]) == (texts["preinst"], texts["postrm"])
    apk.stage(package, tmp_path / "apk", 0)
    assert run(tmp_path / "apk" / "post-install", router)[-1] == "own postinst"
    assert run(tmp_path / "apk" / "pre-deinstall", router)[0] == "own prerm"
    assert run(tmp_path / "apk" / "post-deinstall", router) == ["own postrm"]
    assert run(tmp_path / "apk" / "pre-upgrade", router) == ["own preinst"]


@pytest.mark.parametrize("script", ["postinst-pkg", "postrm"])
def test_a_service_that_runs_learns_that_the_sender_has_come_or_gone(read: Read, tmp_path: Path, script: str) -> None:
    """The sender is an instance of the filter's service: with its package no service starts or ends."""
    text = read("cpe-filter-report").scripts[script].replace("/etc/init.d/", f"{tmp_path}/")
    file = written(tmp_path, {script: text})[script]
    service = tmp_path / "cpe-filter"
    service.write_text('#!/bin/sh\n[ "$1" = running ] || echo "$1"\n')
    service.chmod(0o755)
    assert run(file, Path()) == []  # a root that is given is no router, whatever runs here
    assert run(file, Path(), IPKG_INSTROOT="") == ["reload"]
    service.write_text('#!/bin/sh\n[ "$1" != running ] || exit 1\necho "$1"\n')
    assert run(file, Path(), IPKG_INSTROOT="") == []  # stopped it stays
    if script == "postrm":
        service.unlink()
        assert run(file, Path(), IPKG_INSTROOT="") == []


def test_rpcd_learns_of_the_plugin_of_the_luci_app(tmp_path: Path) -> None:
    """As with the SDK's luci.mk: rpcd looks for plugins when it starts, or is told to by SIGHUP."""
    done = build(tmp_path, "luci-app-cpe-filter")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*/luci-app-cpe-filter_*.ipk")
    script = ipk.read(path.read_bytes()).scripts["postinst-pkg"].replace("/tmp/", f"{tmp_path}/")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "killall").write_text('#!/bin/sh\necho "killall $*"\n')
    (programs / "killall").chmod(0o755)
    for name in ("luci-indexcache.1.json", "luci-modulecache/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    file = written(tmp_path, {"postinst-pkg": script})["postinst-pkg"]
    assert run(file, Path("/image")) == []
    assert (tmp_path / "luci-indexcache.1.json").exists()
    assert run(file, Path(), IPKG_INSTROOT="", programs=programs) == ["killall -HUP rpcd"]
    assert not (tmp_path / "luci-indexcache.1.json").exists()
    assert not (tmp_path / "luci-modulecache").exists()


def test_they_are_clean(packages: Path, read: Read, tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    scripts = list(written(tmp_path, read("cpe-filter").scripts).values())
    scripts += [path for path in (packages / "apk" / "cpe-filter").iterdir() if path.is_file()]
    assert len(scripts) == 8
    # Base-files' functions are the router's.
    done = subprocess.run(["shellcheck", "-e", "SC1091", *map(str, scripts)], capture_output=True, text=True)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("package", "version", "code"),
    [
        ("cpe-filter", "VERSION", 0),
        ("cpe-filter", "0.0.9-r1", 1),
        ("cpe-filter-report", "VERSION", 0),
        ("cpe-filter-explain", "VERSION", 0),
        ("cpe-filter-lang-nl", "VERSION", 0),
        ("cpe-filter-full", "VERSION", 0),
        ("something-else", "1-r1", 0),
    ],
)
def test_the_feeds_test_tells_a_good_package(
    root: Path, read: Read, tmp_path: Path, package: str, version: str, code: int
) -> None:
    """test.sh, with the programs that it calls run from the package."""
    for each in WITH_CODE[1:]:
        read(each).unpack(root)
    programs = tmp_path / "bin"
    programs.mkdir()
    words = light.command(root, (*light.ELSEWHERE,))
    (programs / "cpe-filter").write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    (programs / "python3").write_text(
        f'#!/bin/sh\nPYTHONPATH={light.site_packages(root)} exec {sys.executable} -S "$@"\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    script = PROJECT / "openwrt" / "cpe-filter" / "test.sh"
    done = subprocess.run(
        ["sh", str(script), package, read("cpe-filter").control["Version"] if version == "VERSION" else version],
        capture_output=True,
        text=True,
        env={"PATH": f"{programs}:/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (code, ""), done.stdout


# ── what apk takes ──────────────────────────────────────────────────────────────────────────────────


def test_apk_gets_the_same_files_and_what_opkg_had_beside_them(packages: Path, read: Read) -> None:
    files = packages / "apk" / "cpe-filter" / "files"
    package = read("cpe-filter")
    about = files / "lib" / "apk" / "packages"
    there = {f"/{path.relative_to(files)}" for path in files.rglob("*") if path.is_file()}
    ours = {name for name, member in package.files.items() if member.content is not None}
    lists = {f"/lib/apk/packages/cpe-filter.{kind}" for kind in ("list", "rusers", "conffiles", "conffiles_static")}
    assert there == ours | lists
    for name in ours:
        path = files / name[1:]
        assert path.read_bytes() == package.files[name].content
        assert path.stat().st_mode & 0o7777 == package.files[name].mode
        assert path.stat().st_mtime == package.time
    # As OpenWrt's own: what the list is made of are the files before the configuration's lists are.
    assert (about / "cpe-filter.list").read_text().split() == sorted(ours | {"/lib/apk/packages/cpe-filter.rusers"})
    assert (about / "cpe-filter.conffiles").read_text() == "/etc/config/cpe-filter\n"
    assert re.fullmatch(r"/etc/config/cpe-filter [0-9a-f]{64}\n", (about / "cpe-filter.conffiles_static").read_text())
    assert (about / "cpe-filter.rusers").read_text() == f"{package.control['Require-User']}\n"


def test_apk_is_told_what_opkg_is(packages: Path, read: Read) -> None:
    command = (packages / "apk" / "cpe-filter" / "mkpkg").read_text()
    control = read("cpe-filter").control
    assert f"--info 'depends:{control['Depends'].replace(',', '')}'" in command
    assert f"--info version:{control['Version']}" in command
    assert "--info arch:noarch" in command
    assert f"--output cpe-filter-{control['Version']}.apk" in command
