"""The container as docs/operate.md has it: built by buildah, run by podman and runc, not root, with a read-only root.

Its base is a bare Debian with Python, made here, because no registry of images is asked: what is tried is the
Containerfile and the process, not python:3.13-slim.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.net import DEADLINE_S, PROJECT
from tests.ports import free_port
from tests.stock import system

NEEDED = ("buildah", "podman", "runc")
PYTHON = "python3 python3-pip python3-setuptools tzdata ca-certificates"


class Engine:
    """Images and containers in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._where = ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "overlay"]

    def buildah(self, *words: str) -> str:
        return self._run(["buildah", *self._where, *words], {"BUILDAH_ISOLATION": "chroot"})

    def podman(self, *words: str) -> str:
        return self._run(["podman", *self._where, "--runtime", "runc", "--cgroup-manager", "cgroupfs", *words], {})

    def _run(self, words: list[str], more: dict[str, str]) -> str:
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **more}, timeout=900)
        assert done.returncode == 0, f"{words}: {done.stderr[-2000:]}"
        return (done.stdout + (done.stderr if "logs" in words else "")).strip()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if os.environ.get("STOCK") != "all":
        pytest.skip("five minutes, in `make stock`")
    missing = [name for name in NEEDED if shutil.which(name, path="/usr/sbin:/usr/bin") is None]
    if missing or system.why_not():
        pytest.skip(f"needs {', '.join(missing)}" if missing else system.why_not())
    folder = tmp_path_factory.mktemp("engine")
    engine = Engine(folder)
    with system.System("bookworm", folder) as bare:
        bare.must(f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {PYTHON}")
        base = engine.buildah("from", "scratch")
        engine.buildah("copy", "--quiet", base, str(bare.root), "/")
        engine.buildah("commit", "--quiet", base, "localhost/python:test")
        engine.buildah("rm", base)
    file = PROJECT / "packaging" / "container" / "Containerfile"
    ignored = ["--ignorefile", str(PROJECT / ".containerignore")]
    begun = time.monotonic()
    engine.buildah("build", "--quiet", "--build-arg", "BASE=localhost/python:test", *ignored,
                   "-f", str(file), "-t", "localhost/cpe-collector", str(PROJECT))  # fmt: skip
    print(f"container: built in {time.monotonic() - begun:.0f} s")
    yield engine
    shutil.rmtree(folder / "root", ignore_errors=True)


def test_it_runs_without_rights(engine: Engine, tmp_path: Path) -> None:
    trial = tmp_path / "trial"
    command = [str(PROJECT / ".venv" / "bin" / "python"), "-m", "cpe_filter", "collector", "init", str(trial)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    text = (trial / "collector.toml").read_text().replace(f"{trial}/collector.db", "/var/lib/cpe-filter/collector.db")
    text = text.replace(str(trial), "/etc/cpe-filter")
    for before in ("127.0.0.1:8443", "127.0.0.1:8080"):
        text = text.replace(before, f"127.0.0.1:{free_port()}")
    (trial / "collector.toml").write_text(f'{text}\n[metrics]\naddress = "127.0.0.1:{free_port()}"\n')
    for path in (trial, *trial.iterdir()):
        os.chown(path, 0, 10001)
        path.chmod(0o750 if path.is_dir() else 0o640)
    rights = ["--read-only", "--cap-drop=all", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp"]
    # What a sandbox allows; an engine's defaults may be more than this machine's.
    rights += ["--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096", "--network=host", "--pull=never"]
    engine.podman(
        "run", "--detach", "--name", "it", *rights, "-v", f"{trial}:/etc/cpe-filter:ro", "localhost/cpe-collector"
    )
    try:
        end = time.monotonic() + DEADLINE_S
        while '"event": "started"' not in engine.podman("logs", "it"):
            assert time.monotonic() < end
            time.sleep(0.5)
        assert engine.podman("exec", "it", "id", "-u") == "10001"
        said = engine.podman("exec", "it", "python3", "-m", "cpe_filter", "collector", "doctor")
        assert " 0 failed" in said, said
        with pytest.raises(AssertionError, match="Read-only file system"):
            engine.podman("exec", "it", "touch", "/x")
        engine.podman("stop", "--time", "30", "it")
        assert engine.podman("inspect", "it", "--format", "{{.State.ExitCode}}") == "0"
    finally:
        subprocess.run(["podman", *engine._where, "rm", "--force", "it"], capture_output=True)
