"""What the guest has in memory: a cpio archive, and copies in it of the host's programs and Python folders.

Knows what the live tests run. A file that is missing here is still found by 9p, only slower.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sysconfig
from pathlib import Path
from typing import IO

from tests.lab.net import PROJECT, PYTHON

PROGRAMS = (
    *(
        "busybox",
        "cat",
        "env",
        "grep",
        "ip",
        "mount",
        "nft",
        "openssl",
        "setpriv",
        "sh",
        "sleep",
    ),
    *("sysctl", "tcpdump"),
)

#: Folders of Python's library and of the virtual environment that no live test imports: big, or not importable.
_LEFT_OUT = re.compile(
    r"test|tests|idlelib|ensurepip|lib2to3|site-packages|turtledemo|tkinter|config-.*|pip|setuptools|pkg_resources"
    r"|mypy|mypyc|librt|ast_serialize|ruff|hypothesis|.*\.dist-info/licenses|\.hypothesis"
)
_LARGEST = 8 << 20


class Archive:
    """A cpio archive being written (format newc: thirteen hexadecimal numbers, the name, the data, padded to 4)."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._there: set[str] = {"."}

    def add(self, name: str, data: bytes, mode: int = 0o644, mtime: int = 0) -> None:
        """A file, with the folders above it."""
        self._add(name, data, stat.S_IFREG | mode, mtime)

    def link(self, name: str, target: str) -> None:
        self._add(name, target.encode(), stat.S_IFLNK | 0o777)

    def end(self) -> None:
        self._write("TRAILER!!!", b"", 0)

    def _add(self, name: str, data: bytes, mode: int, mtime: int = 0) -> None:
        if name in self._there:
            return
        self._there.add(name)
        for folder in reversed(Path(name).parents):
            if str(folder) not in self._there:
                self._there.add(str(folder))
                self._write(str(folder), b"", stat.S_IFDIR | 0o755)
        self._write(name, data, mode, mtime)

    def _write(self, name: str, data: bytes, mode: int, mtime: int = 0) -> None:
        path = name.encode() + b"\0"
        number = len(self._there)  # the inode, which matters only where there are hard links
        fields = (number, mode, 0, 0, 1, mtime, len(data), 0, 0, 0, 0, len(path), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + path
        for part in (header, data):
            self._file.write(part + bytes(-len(part) % 4))


def copy_folders(archive: Archive, below: str) -> list[str]:
    """Python's library, the virtual environment's and the project, whole but for what is left out. Returns which."""
    paths = sysconfig.get_paths()
    # Where they are: in a worktree the environment may be a symbolic link to another's.
    libraries = [os.path.realpath(paths[name]) for name in ("stdlib", "purelib")]
    folders = [*libraries, str(PROJECT / "cpe_filter"), str(PROJECT / "tests")]
    for top in folders:
        for folder, names, files in os.walk(top):
            names[:] = [name for name in names if not _LEFT_OUT.fullmatch(name) or folder.startswith(str(PROJECT))]
            for name in files:
                path = Path(folder, name)
                if ".opt-" not in name and path.is_file() and path.stat().st_size < _LARGEST:
                    info = path.stat()
                    # With its time, or Python compiles it anew.
                    mode, mtime = stat.S_IMODE(info.st_mode), int(info.st_mtime)
                    archive.add(f"{below}{path}", path.read_bytes(), mode, mtime)
    return folders


def copy_programs(archive: Archive, below: str) -> None:
    """Programs, Python, and the libraries that these and Python's extensions need."""
    found = [shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") for name in PROGRAMS]
    programs = [PYTHON, *(path for path in found if path)]
    extensions = [str(path) for part in ("platstdlib", "platlib") for path in _extensions(sysconfig.get_path(part))]
    for path in {*programs, *_libraries([*programs, *extensions])}:
        _copy(archive, below, path)
    for path in ("/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts"):
        _copy(archive, below, path)


def _extensions(folder: str) -> list[Path]:
    return list(Path(folder, "lib-dynload").glob("*.so"))


def _libraries(files: list[str]) -> set[str]:
    said = subprocess.run(["ldd", *files], capture_output=True, text=True).stdout
    return set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", said, re.MULTILINE))


def _copy(archive: Archive, below: str, path: str) -> None:
    """A file under its own name, with every symbolic link on the way to it."""
    parts, here, links = list(Path(path).parts[1:]), "/", 0
    while parts:
        here = os.path.join(here, parts.pop(0))
        if os.path.islink(here) and links < 40:
            links += 1
            target = os.readlink(here)
            archive.link(f"{below}{here}", target)
            parts = list(Path(target).parts) + parts
            here = os.path.dirname(here)
            if target.startswith("/"):
                parts, here = parts[1:], "/"
        here = os.path.normpath(here)
    if os.path.isfile(here):
        archive.add(f"{below}{here}", Path(here).read_bytes(), 0o755 if os.access(here, os.X_OK) else 0o644)
