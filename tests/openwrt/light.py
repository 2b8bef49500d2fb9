"""A router's Python: what python3-light has, the packages that a recipe names, and nothing else.

Knows which modules OpenWrt's packages feed puts where (lang/python/python3, branches 22.03 to main). Runs
programs under this machine's interpreter with `-I -S` and a hook before all imports.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.lab.net import DEADLINE_S

#: Modules of the standard library that python3-light lacks, by the package that has them.
ELSEWHERE = {
    "python3-asyncio": ("asyncio",),
    "python3-codecs": (
        *("unicodedata", "_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp", "_codecs_kr", "_codecs_tw"),
        "_multibytecodec",
    ),
    "python3-ctypes": ("ctypes", "_ctypes"),
    "python3-dbm": ("dbm", "_dbm", "_gdbm"),
    "python3-decimal": ("decimal", "_decimal"),
    "python3-distutils": ("distutils",),
    "python3-email": ("email",),  # in python3-urllib from 3.14 on
    "python3-lib2to3": ("lib2to3",),
    "python3-logging": ("logging",),
    "python3-lzma": ("lzma", "_lzma"),
    "python3-multiprocessing": ("multiprocessing", "_multiprocessing"),
    "python3-ncurses": ("curses", "_curses", "_curses_panel"),
    "python3-openssl": ("_ssl", "_hashlib"),
    "python3-pydoc": ("doctest", "pydoc", "pydoc_data"),
    "python3-readline": ("readline",),
    "python3-sqlite3": ("sqlite3", "_sqlite3"),
    "python3-unittest": ("unittest",),
    "python3-urllib": ("urllib",),
    "python3-uuid": ("uuid", "_uuid"),
    "python3-venv": ("ensurepip", "venv"),
    "python3-xml": ("xml", "xmlrpc", "_elementtree", "pyexpat"),
    "in no package": ("idlelib", "tkinter", "_tkinter", "turtle", "turtledemo", "webbrowser", "test"),
}
#: argv: modules that are not there, the folder of packages, then the program and its arguments.
_PROGRAM = """
import sys
class _Missing:
    names = frozenset(sys.argv[1].split())
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, _Missing())
sys.path.append(sys.argv[2])
sys.dont_write_bytecode = True
del sys.argv[:3]
with open(sys.argv[0]) as _file:
    _code = compile(_file.read(), sys.argv[0], "exec")
exec(_code)
"""


def site_packages(root: Path) -> Path:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return root / "usr" / "lib" / f"python{version}" / "site-packages"


def command(root: Path, packages: tuple[str, ...], *words: str) -> list[str]:
    """How the root's `cpe-filter` is run with these words; of the standard library's packages only those are there."""
    missing = " ".join(name for package, names in ELSEWHERE.items() if package not in packages for name in names)
    program = str(root / "usr" / "bin" / "cpe-filter")
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, missing, str(site_packages(root)), program, *words]


def run(root: Path, packages: tuple[str, ...], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(root, packages, *words),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "COLUMNS": "80"},
    )
