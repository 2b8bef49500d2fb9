"""The wheel as it would be installed: with the report's schema, the store's migrations and the mark of types."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cpe_filter
from tests.lab.net import DEADLINE_S, PROJECT


def run(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=DEADLINE_S,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without a registry, by what is installed here, from a copy: setuptools leaves files where it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((PROJECT / name).read_bytes())
    subprocess.run(["cp", "-r", str(PROJECT / "cpe_filter"), str(source)], check=True)
    build = "import setuptools.build_meta as build, sys; build.build_wheel(sys.argv[1])"
    done = run([sys.executable, "-c", build, str(folder)], source)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment's python, with the wheel, and with the rest of what is installed here behind it."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    others = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "others.pth").write_text(f"{others}\n")
    return folder / "bin" / "python"


def test_what_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    data = {
        path.relative_to(PROJECT).as_posix()
        for path in (PROJECT / "cpe_filter").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so")
    }
    assert {"cpe_filter/py.typed", "cpe_filter/collect/report-v1.schema.json"} <= data
    assert sum(name.endswith(".sql") for name in data) >= 2
    assert {name for name in names if name.startswith("cpe_filter/")} == data
    assert not [name for name in names if name.startswith(("tests", "tools"))]


def test_it_runs(installed: Path, tmp_path: Path) -> None:
    done = run([str(installed), "-m", "cpe_filter", "--version"], tmp_path)
    assert done.stdout.split() == ["cpe-filter", cpe_filter.__version__], done.stderr
    where = run([str(installed), "-c", "import cpe_filter; print(cpe_filter.__file__)"], tmp_path).stdout
    assert Path(where.strip()).is_relative_to(installed.parents[1])


def test_the_collector_finds_its_schema_and_its_tables(installed: Path, tmp_path: Path) -> None:
    program = (
        "import asyncio\n"
        "from cpe_filter.collect import wire\n"
        "from cpe_filter.collect.store.sqlite import SQLite\n"
        "async def main():\n"
        "    store = SQLite('collector.db')\n"
        "    await store.open()\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
        "print('open')\n"
    )
    done = run([str(installed), "-c", program], tmp_path)
    assert done.stdout == "open\n", done.stderr


def test_a_trial_of_the_collector_and_a_replay(installed: Path, tmp_path: Path) -> None:
    """What the documents say of an installation, in a folder that has nothing of the source tree."""
    program = [str(installed), "-m", "cpe_filter"]
    made = run([*program, "collector", "init", "trial"], tmp_path)
    assert made.returncode == 0, made.stderr
    config = ["--config", "trial/collector.toml"]
    assert run([*program, "collector", *config, "check"], tmp_path).returncode == 0
    examined = run([*program, "collector", *config, "doctor"], tmp_path)
    assert examined.returncode == 1, "nothing runs"
    assert examined.stdout.startswith("ok    configuration  ")
    assert "Traceback" not in examined.stderr
    capture = next((PROJECT / "pcaps").glob("bot-*.pcap"))
    replayed = run([*program, "replay", str(capture)], tmp_path)
    assert replayed.returncode == 0, replayed.stderr
    assert "compromised" in replayed.stdout
