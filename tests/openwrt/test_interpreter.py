"""Which Python compiles: one that is installed, or CPython for WebAssembly; its bytecode is the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import LIVE_REQUIRED
from tests.lab.net import PROJECT
from tests.openwrt.conftest import MINOR
from tools.ipk import interpreter
from tools.ipk.error import RecipeError

COMPACT = PROJECT / "openwrt" / "cpe-filter" / "compact.py"


def test_an_installed_one_comes_first() -> None:
    assert interpreter.native(MINOR)
    assert interpreter.command(MINOR) == interpreter.native(MINOR)


def test_every_release_has_its_python() -> None:
    assert interpreter.DEFAULT_RELEASE in interpreter.RELEASES
    current = {python for release, python in interpreter.RELEASES.items() if release >= "23.05"}
    assert current == set(interpreter.PYODIDE)


def test_what_can_neither_be_found_nor_got_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "native", lambda minor: "")
    with pytest.raises(
        RecipeError, match=r"^python3\.10 is not installed, .* 3\.10 for OpenWrt 22\.03, .*3\.11, 3\.13$"
    ):
        interpreter.command("3.10")


def test_without_a_registry_the_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither Node.js nor a package index."""
    monkeypatch.setattr(interpreter, "native", lambda minor: "")
    monkeypatch.setattr(interpreter, "KEPT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, value in {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(RecipeError) as caught:
        interpreter.command("3.13")
    assert str(caught.value).startswith("python3.13 is not installed, and Node.js cannot be got (")
    assert str(caught.value).endswith("); install python3.13, or choose another release of OpenWrt")


def test_another_archive_than_the_expected_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """npm stands for a registry that gives something else."""
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho bad >pyodide-0.25.1.tgz\n")
    npm.chmod(0o755)
    monkeypatch.setattr(interpreter, "native", lambda minor: "")
    monkeypatch.setattr(interpreter, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(interpreter, "_node", lambda: ["node", str(npm)])
    with pytest.raises(RecipeError, match=r"^pyodide@0\.25\.1 is not the expected archive: its SHA-512 is "):
        interpreter.command("3.11")
    assert not list((tmp_path / "kept").iterdir())


def test_bytecode_of_webassembly_is_that_of_the_native_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the byte for 3.11; a part of the sources, to be short. `make stock` compiles all of it."""
    native = interpreter.native("3.11")
    if not native:
        pytest.skip("no python3.11 here to compare with")
    monkeypatch.setattr(interpreter, "native", lambda minor: "")
    try:
        words = interpreter.command("3.11").split()
    except RecipeError as error:
        if LIVE_REQUIRED:
            pytest.fail(str(error))
        pytest.skip(str(error))
    for name, command in (("native", [native]), ("wasm", words)):
        shutil.copytree(
            PROJECT / "cpe_filter" / "detect", tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
        )
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONHASHSEED": "0"}
        subprocess.run([*command, str(COMPACT), str(tmp_path / name)], check=True, env=environment)
    made = sorted(path.name for path in (tmp_path / "native").glob("*.pyc"))
    assert len(made) > 5
    for name in made:
        assert (tmp_path / "native" / name).read_bytes() == (tmp_path / "wasm" / name).read_bytes()


def test_a_script_that_fails_fails_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "native", lambda minor: "")
    try:
        words = interpreter.command("3.11").split()
    except RecipeError as error:
        pytest.skip(str(error))
    (tmp_path / "raises.py").write_text("import sys\nprint(sys.argv[1:], sys.version_info[:2])\n1 / 0\n")
    (tmp_path / "exits.py").write_text("raise SystemExit(3)\n")
    done = subprocess.run([*words, str(tmp_path / "raises.py"), "a"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "['a'] (3, 11)\n")
    assert "ZeroDivisionError" in done.stderr
    assert subprocess.run([*words, str(tmp_path / "exits.py")], capture_output=True).returncode == 3
